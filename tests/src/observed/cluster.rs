//! A client of the Kubernetes API that shows what admission says: status, message, causes, warnings.

use std::net::SocketAddr;

use anyhow::{Context, bail};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::client::{Answer, Call, HttpCall, Session, Way};
use super::fixture::name_of;

/// API group with version, and plural, of the kinds that cases and fixture use.
const KINDS: &[(&str, &str, &str)] = &[
    ("Namespace", "api/v1", "namespaces"),
    ("Service", "api/v1", "services"),
    ("ServiceAccount", "api/v1", "serviceaccounts"),
    ("Pod", "api/v1", "pods"),
    ("ConfigMap", "api/v1", "configmaps"),
    ("EndpointSlice", "apis/discovery.k8s.io/v1", "endpointslices"),
    ("VirtualService", "apis/networking.istio.io/v1", "virtualservices"),
    (
        "DestinationRule",
        "apis/networking.istio.io/v1",
        "destinationrules",
    ),
    ("Gateway", "apis/networking.istio.io/v1", "gateways"),
    ("ServiceEntry", "apis/networking.istio.io/v1", "serviceentries"),
    (
        "PeerAuthentication",
        "apis/security.istio.io/v1",
        "peerauthentications",
    ),
    ("Sidecar", "apis/networking.istio.io/v1", "sidecars"),
    (
        "AuthorizationPolicy",
        "apis/security.istio.io/v1",
        "authorizationpolicies",
    ),
    (
        "PeerAuthentication",
        "apis/security.istio.io/v1",
        "peerauthentications",
    ),
];

/// The API server, as an administrator.
pub struct Cluster {
    session: Mutex<Session>,
    token: String,
}

/// What a write led to.
#[derive(Debug, Clone)]
pub enum Written {
    /// The object as stored, and the warnings.
    Stored(Box<Value>, Vec<String>),
    /// Refused: HTTP status and text.
    Refused(u16, String),
}

impl Cluster {
    /// Talks to the API server at this address with this bearer token.
    #[must_use]
    pub fn new(address: SocketAddr, token: String) -> Self {
        let way = Way {
            source: address.ip(),
            first: address,
            tunnel: None,
            pod: None,
            tls: Some("localhost".to_owned()),
        };
        Self {
            session: Mutex::new(Session::new(way)),
            token,
        }
    }

    /// Creates an object; a refusal is an outcome, not an error.
    pub async fn create(&self, object: &Value) -> anyhow::Result<Written> {
        let path = format!(
            "{}?fieldValidation=Strict&fieldManager=observed",
            collection(object)?
        );
        let answer = self.call("POST", &path, Some(object)).await?;
        match answer.status {
            Some(200..300) => Ok(Written::Stored(
                Box::new(serde_json::from_str(&answer.body).context("stored object")?),
                warnings(&answer),
            )),
            Some(status) => Ok(Written::Refused(status, refusal(&answer.body))),
            None => bail!("POST {path}: {:?}", answer.error),
        }
    }

    /// Creates an object that must be taken.
    pub async fn must_create(&self, object: &Value) -> anyhow::Result<Value> {
        match self.create(object).await? {
            Written::Stored(stored, _) => Ok(*stored),
            Written::Refused(status, message) => {
                bail!("{} {:?}: {status} {message}", object["kind"], name_of(object))
            }
        }
    }

    /// Merges a patch into an object, whatever its version.
    pub async fn patch(&self, object: &Value, merge: &Value) -> anyhow::Result<Value> {
        self.expect("PATCH", &path(object)?, Some(merge)).await
    }

    /// Merges a patch into what is at a path.
    pub async fn patch_path(&self, path: &str, merge: &Value) -> anyhow::Result<Value> {
        self.expect("PATCH", path, Some(merge)).await
    }

    /// Deletes an object; one that is not there is fine.
    pub async fn delete(&self, object: &Value) -> anyhow::Result<()> {
        let path = path(object)?;
        let answer = self.call("DELETE", &path, None).await?;
        match answer.status {
            Some(200..300 | 404) => Ok(()),
            other => bail!("DELETE {path}: {other:?} {}{:?}", answer.body, answer.error),
        }
    }

    /// Reads any path.
    pub async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.expect("GET", path, None).await
    }

    /// A token of a service account, for these audiences.
    pub async fn token(&self, namespace: &str, account: &str, audiences: &[&str]) -> anyhow::Result<String> {
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token");
        let request = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "spec": {"audiences": audiences, "expirationSeconds": 86400},
        });
        let answer = self.expect("POST", &path, Some(&request)).await?;
        let token = answer["status"]["token"].as_str();
        Ok(token.context("TokenRequest answered no token")?.to_owned())
    }

    async fn expect(&self, method: &str, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        let answer = self.call(method, path, body).await?;
        match answer.status {
            Some(200..300) => serde_json::from_str(&answer.body).with_context(|| format!("{method} {path}")),
            status => bail!("{method} {path}: {status:?} {} {:?}", answer.body, answer.error),
        }
    }

    async fn call(&self, method: &str, path: &str, body: Option<&Value>) -> anyhow::Result<Answer> {
        let content = match method {
            "PATCH" => "application/merge-patch+json",
            _ => "application/json",
        };
        let call = Call::Http(HttpCall {
            method: method.to_owned(),
            target: path.to_owned(),
            authority: "localhost".to_owned(),
            headers: vec![
                ("authorization".to_owned(), format!("Bearer {}", self.token)),
                ("content-type".to_owned(), content.to_owned()),
                ("accept".to_owned(), "application/json".to_owned()),
            ],
            body: body.map(ToString::to_string).unwrap_or_default(),
            http2: false,
            close: false,
        });
        Ok(self.session.lock().await.call(&call).await)
    }
}

/// Path of an object.
pub fn path(object: &Value) -> anyhow::Result<String> {
    let (_, name) = name_of(object);
    Ok(format!("{}/{name}", collection(object)?))
}

fn collection(object: &Value) -> anyhow::Result<String> {
    let kind = object["kind"].as_str().unwrap_or_default();
    let (_, group, plural) = KINDS
        .iter()
        .find(|(known, ..)| *known == kind)
        .with_context(|| format!("the runner does not know kind {kind:?}; add it to KINDS"))?;
    // The object's own version goes into the path: another one is refused by the server.
    let version = object["apiVersion"].as_str().unwrap_or_default();
    let group = match version.split_once('/') {
        Some(_) => format!("apis/{version}"),
        None => (*group).to_owned(),
    };
    Ok(match name_of(object).0 {
        "" => format!("/{group}/{plural}"),
        namespace => format!("/{group}/namespaces/{namespace}/{plural}"),
    })
}

fn warnings(answer: &Answer) -> Vec<String> {
    let text = answer.headers.get("warning").map_or("", String::as_str);
    text.split(" | ")
        .filter(|text| !text.is_empty())
        .map(|text| text.replace("\\\"", "\""))
        .collect()
}

/// Message of a Status, and the fields of its causes.
fn refusal(body: &str) -> String {
    let Ok(status) = serde_json::from_str::<Value>(body) else {
        return body.to_owned();
    };
    let mut text = status["message"].as_str().unwrap_or_default().to_owned();
    for cause in status["details"]["causes"].as_array().into_iter().flatten() {
        let part = |name: &str| cause[name].as_str().unwrap_or_default();
        text.push_str(&format!(" [{}: {}]", part("field"), part("message")));
    }
    text
}
