//! Who asks: the admin token, or a service account's token whose account (and pod) still exist.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use subtle::ConstantTimeEq;

use crate::App;
use crate::object::meta;
use crate::registry::{Core, of};
use crate::status::Refusal;
use crate::store::Key;
use crate::token::{Claims, ISSUER};

/// The caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) uid: String,
    pub(crate) groups: Vec<String>,
    pub(crate) extra: BTreeMap<String, Vec<String>>,
}

impl User {
    /// The user of the admin token.
    pub(crate) fn admin() -> Self {
        Self {
            name: "kubernetes-admin".into(),
            uid: String::new(),
            groups: vec!["system:masters".into(), "system:authenticated".into()],
            extra: BTreeMap::new(),
        }
    }

    /// As reviews print users.
    pub(crate) fn info(&self) -> Value {
        let mut info = json!({"username": self.name});
        if let Some(map) = info.as_object_mut() {
            if !self.uid.is_empty() {
                map.insert("uid".into(), self.uid.clone().into());
            }
            map.insert("groups".into(), self.groups.clone().into());
            if !self.extra.is_empty() {
                map.insert("extra".into(), json!(self.extra));
            }
        }
        info
    }
}

/// The user behind an `Authorization` header.
pub(crate) async fn authenticate(app: &App, header: Option<&str>) -> Result<User, Refusal> {
    let token = header.and_then(|h| {
        let (scheme, token) = h.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
    });
    let Some(token) = token.filter(|t| !t.is_empty()) else {
        return Err(Refusal::unauthorized());
    };
    match identify(app, token, &[]).await? {
        Ok((user, _)) => Ok(user),
        Err(_) => Err(Refusal::unauthorized()),
    }
}

/// The user and matching audiences of a token; the inner error says why it is not taken.
pub(crate) async fn identify(
    app: &App,
    token: &str,
    audiences: &[String],
) -> Result<Result<(User, Vec<String>), String>, Refusal> {
    let own = [ISSUER.to_owned()];
    let wanted: &[String] = if audiences.is_empty() { &own } else { audiences };
    if bool::from(token.as_bytes().ct_eq(app.admin_token.as_bytes())) {
        // The admin token is no service-account token: it is good for this server only.
        return Ok(match wanted.iter().any(|a| a == ISSUER) {
            true => Ok((User::admin(), vec![ISSUER.to_owned()])),
            false => Err("invalid bearer token".into()),
        });
    }
    let Some(claims) = app.signer.verify(token, jiff::Timestamp::now().as_second()) else {
        return Ok(Err("invalid bearer token".into()));
    };
    let common: Vec<String> = wanted
        .iter()
        .filter(|a| claims.aud.contains(a))
        .cloned()
        .collect();
    if common.is_empty() {
        return Ok(Err(format!(
            "[invalid bearer token, token audiences {:?} is invalid for the target audiences {wanted:?}]",
            claims.aud
        )));
    }
    if let Err(why) = still_there(app, &claims).await? {
        return Ok(Err(why));
    }
    Ok(Ok((service_account(&claims), common)))
}

async fn still_there(app: &App, claims: &Claims) -> Result<Result<(), String>, Refusal> {
    let bound = &claims.kubernetes;
    let account = Key {
        resource: of(Core::ServiceAccount).storage,
        namespace: bound.namespace.clone(),
        name: bound.serviceaccount.name.clone(),
    };
    let found = app.store.get(&account).await?;
    if found.is_none_or(|o| meta(&o, "uid") != bound.serviceaccount.uid) {
        return Ok(Err(
            "invalid bearer token, service account token has been invalidated".into(),
        ));
    }
    if let Some(pod) = &bound.pod {
        let key = Key {
            resource: of(Core::Pod).storage,
            namespace: bound.namespace.clone(),
            name: pod.name.clone(),
        };
        let found = app.store.get(&key).await?;
        if found.is_none_or(|o| meta(&o, "uid") != pod.uid) {
            return Ok(Err(
                "invalid bearer token, service account token has been invalidated".into(),
            ));
        }
    }
    Ok(Ok(()))
}

fn service_account(claims: &Claims) -> User {
    let bound = &claims.kubernetes;
    let mut extra = BTreeMap::new();
    let mut add = |key: &str, value: &str| {
        extra.insert(
            format!("authentication.kubernetes.io/{key}"),
            vec![value.to_owned()],
        );
    };
    add("credential-id", &format!("JTI={}", claims.jti));
    if let Some(pod) = &bound.pod {
        add("pod-name", &pod.name);
        add("pod-uid", &pod.uid);
    }
    User {
        name: format!(
            "system:serviceaccount:{}:{}",
            bound.namespace, bound.serviceaccount.name
        ),
        uid: bound.serviceaccount.uid.clone(),
        groups: vec![
            "system:serviceaccounts".into(),
            format!("system:serviceaccounts:{}", bound.namespace),
            "system:authenticated".into(),
        ],
        extra,
    }
}
