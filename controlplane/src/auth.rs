//! Who calls: a SPIFFE client certificate, or a service-account token that the API server vouches for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::api::{Api, PostParams};
use mesh_model::identity::SpiffeId;
use sha2::{Digest, Sha256};
use tokio::time::Instant;

use crate::listen::Peer;

/// Audience of workload tokens.
const AUDIENCE: &str = "istio-ca";
/// For how long a review's answer holds.
const CACHED: Duration = Duration::from_secs(60);
/// For how long a refusal holds.
const REFUSED: Duration = Duration::from_secs(5);
/// Most remembered reviews.
const MAX_CACHED: usize = 4096;
/// Longest token that is looked at, bytes.
const MAX_TOKEN: usize = 16 << 10;

/// Why a caller is not let in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Denied {
    #[error("no client certificate and no bearer token")]
    Anonymous,
    #[error("the token is not accepted: {0}")]
    Token(String),
    #[error("the API server cannot review tokens now: {0}")]
    Unavailable(String),
}

impl From<Denied> for tonic::Status {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Unavailable(_) => Self::unavailable(denied.to_string()),
            Denied::Anonymous | Denied::Token(_) => Self::unauthenticated(denied.to_string()),
        }
    }
}

/// Reviews callers. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Authenticator {
    client: kube::Client,
    trust_domain: String,
    reviews: Arc<Mutex<Reviews>>,
    rights: Arc<Mutex<Rights>>,
}

type Fingerprint = [u8; 32];
/// Answers with the time of each.
type Reviews = HashMap<Fingerprint, (Instant, Result<User, Denied>)>;

/// Whether a user has a right, with the time of the answer.
type Rights = HashMap<(User, Right), (Instant, bool)>;

/// Who a token belongs to, as the API server says.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(crate) struct User {
    pub(crate) name: String,
    uid: String,
    groups: Vec<String>,
}

/// A right that the query API asks for beyond being somebody. The resource exists in RBAC only:
/// `apiGroups: [sightline.io], resources: [requests], verbs: [get]` lets read kept requests and spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Right {
    /// Kept requests and traces.
    Requests,
}

impl Right {
    fn attributes(self) -> ResourceAttributes {
        let resource = match self {
            Self::Requests => "requests",
        };
        ResourceAttributes {
            group: Some("sightline.io".into()),
            resource: Some(resource.into()),
            verb: Some("get".into()),
            ..ResourceAttributes::default()
        }
    }
}

impl Authenticator {
    pub(crate) fn new(client: kube::Client, trust_domain: &str) -> Self {
        Self {
            client,
            trust_domain: trust_domain.to_owned(),
            reviews: Arc::default(),
            rights: Arc::default(),
        }
    }

    /// The workload that makes a gRPC call.
    pub(crate) async fn workload<T>(&self, request: &tonic::Request<T>) -> Result<SpiffeId, Denied> {
        let peer = request.extensions().get::<Peer>();
        if let Some(id) = peer.and_then(|peer| peer.identity.clone()) {
            return Ok(id);
        }
        let header = request
            .metadata()
            .get("authorization")
            .and_then(|v| v.to_str().ok());
        let user = self.user(bearer(header)?, &[AUDIENCE]).await?;
        service_account(&user.name, &self.trust_domain)
            .ok_or_else(|| Denied::Token(format!("{} is no service account", user.name)))
    }

    /// Whether a user has a right, as RBAC says. What is answered holds as long as a review.
    pub(crate) async fn may(&self, user: &User, right: Right) -> Result<bool, Denied> {
        let asked = (user.clone(), right);
        {
            let rights = self.rights.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((at, allowed)) = rights.get(&asked) {
                let holds = if *allowed { CACHED } else { REFUSED };
                if at.elapsed() < holds {
                    return Ok(*allowed);
                }
            }
        }
        let review = SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: Some(user.name.clone()),
                uid: Some(user.uid.clone()).filter(|uid| !uid.is_empty()),
                groups: Some(user.groups.clone()),
                resource_attributes: Some(right.attributes()),
                ..SubjectAccessReviewSpec::default()
            },
            ..SubjectAccessReview::default()
        };
        let api: Api<SubjectAccessReview> = Api::all(self.client.clone());
        let answer = api
            .create(&PostParams::default(), &review)
            .await
            .map_err(|e| Denied::Unavailable(e.to_string()))?;
        let allowed = answer.status.is_some_and(|status| status.allowed);
        let mut rights = self.rights.lock().unwrap_or_else(PoisonError::into_inner);
        if rights.len() >= MAX_CACHED {
            rights.retain(|_, (at, _)| at.elapsed() < REFUSED);
        }
        if rights.len() < MAX_CACHED {
            rights.insert(asked, (Instant::now(), allowed));
        }
        Ok(allowed)
    }

    /// The user of a token, as the API server names it.
    pub(crate) async fn user(&self, token: &str, audiences: &[&str]) -> Result<User, Denied> {
        if token.is_empty() || token.len() > MAX_TOKEN {
            return Err(Denied::Token("it is empty or too long".into()));
        }
        let fingerprint = fingerprint(token, audiences);
        if let Some(known) = self.remembered(&fingerprint) {
            return known;
        }
        let outcome = self.review(token, audiences).await;
        if !matches!(outcome, Err(Denied::Unavailable(_))) {
            self.remember(fingerprint, outcome.clone());
        }
        outcome
    }

    async fn review(&self, token: &str, audiences: &[&str]) -> Result<User, Denied> {
        let review = TokenReview {
            spec: TokenReviewSpec {
                token: Some(token.to_owned()),
                audiences: (!audiences.is_empty())
                    .then(|| audiences.iter().map(|a| (*a).to_owned()).collect()),
            },
            ..TokenReview::default()
        };
        let api: Api<TokenReview> = Api::all(self.client.clone());
        let answer = api
            .create(&PostParams::default(), &review)
            .await
            .map_err(|e| Denied::Unavailable(e.to_string()))?;
        let status = answer.status.unwrap_or_default();
        if status.authenticated != Some(true) {
            let why = status
                .error
                .unwrap_or_else(|| "the API server does not know it".into());
            return Err(Denied::Token(why));
        }
        let heard = status.audiences.unwrap_or_default();
        if !audiences.is_empty() && !heard.iter().any(|a| audiences.contains(&a.as_str())) {
            return Err(Denied::Token(format!(
                "it is not for the audience {}",
                audiences.join(", ")
            )));
        }
        status
            .user
            .map(|user| User {
                name: user.username.unwrap_or_default(),
                uid: user.uid.unwrap_or_default(),
                groups: user.groups.unwrap_or_default(),
            })
            .filter(|user| !user.name.is_empty())
            .ok_or_else(|| Denied::Token("it names no user".into()))
    }

    fn remembered(&self, fingerprint: &Fingerprint) -> Option<Result<User, Denied>> {
        let reviews = self.reviews.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, outcome) = reviews.get(fingerprint)?;
        let holds = if outcome.is_ok() { CACHED } else { REFUSED };
        (at.elapsed() < holds).then(|| outcome.clone())
    }

    fn remember(&self, fingerprint: Fingerprint, outcome: Result<User, Denied>) {
        let mut reviews = self.reviews.lock().unwrap_or_else(PoisonError::into_inner);
        if reviews.len() >= MAX_CACHED {
            reviews.retain(|_, (at, _)| at.elapsed() < REFUSED);
        }
        if reviews.len() < MAX_CACHED {
            reviews.insert(fingerprint, (Instant::now(), outcome));
        }
    }
}

/// The token of an `Authorization` header.
pub(crate) fn bearer(header: Option<&str>) -> Result<&str, Denied> {
    let (scheme, token) = header.and_then(|h| h.split_once(' ')).ok_or(Denied::Anonymous)?;
    if scheme.eq_ignore_ascii_case("bearer") {
        Ok(token.trim())
    } else {
        Err(Denied::Anonymous)
    }
}

fn fingerprint(token: &str, audiences: &[&str]) -> Fingerprint {
    let mut hash = Sha256::new();
    hash.update(token);
    for audience in audiences {
        hash.update([0]);
        hash.update(audience);
    }
    hash.finalize().into()
}

fn service_account(user: &str, trust_domain: &str) -> Option<SpiffeId> {
    let (namespace, name) = user.strip_prefix("system:serviceaccount:")?.split_once(':')?;
    SpiffeId::parse(&format!("spiffe://{trust_domain}/ns/{namespace}/sa/{name}"))
}

#[cfg(test)]
mod tests {
    use super::{Denied, bearer, service_account};

    #[test]
    fn only_bearer_headers_carry_tokens() {
        assert_eq!(bearer(Some("Bearer abc")), Ok("abc"));
        assert_eq!(bearer(Some("bearer  abc")), Ok("abc"));
        for header in [None, Some(""), Some("abc"), Some("Basic abc")] {
            assert_eq!(bearer(header), Err(Denied::Anonymous), "{header:?}");
        }
    }

    #[test]
    fn only_service_accounts_are_workloads() {
        let id = service_account("system:serviceaccount:default:reviews", "cluster.local");
        assert_eq!(
            id.map(|id| id.to_string()).as_deref(),
            Some("spiffe://cluster.local/ns/default/sa/reviews")
        );
        for user in [
            "admin",
            "system:serviceaccount:default",
            "system:serviceaccount:a:b:c",
            "system:node:x",
        ] {
            assert_eq!(service_account(user, "cluster.local"), None, "{user}");
        }
    }
}
