//! Kinds of security.istio.io in typed form.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::networking::Selector;

/// `PeerAuthentication.spec`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PeerAuthentication {
    /// Workloads; none = the namespace, or the mesh in the root namespace.
    pub selector: Option<Selector>,
    /// Mode.
    pub mtls: Option<MutualTls>,
    /// Mode by workload port.
    pub port_level_mtls: BTreeMap<String, MutualTls>,
}

/// A mode holder.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MutualTls {
    /// Mode.
    pub mode: MutualTlsMode,
}

/// What inbound connections are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum MutualTlsMode {
    /// As the next wider policy says.
    #[default]
    Unset,
    /// Plaintext.
    Disable,
    /// Both.
    Permissive,
    /// Mutual TLS only.
    Strict,
}

impl MutualTlsMode {
    /// Istio's word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unset => "UNSET",
            Self::Disable => "DISABLE",
            Self::Permissive => "PERMISSIVE",
            Self::Strict => "STRICT",
        }
    }
}

/// `AuthorizationPolicy.spec`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AuthorizationPolicy {
    /// Workloads; none = the namespace, or the mesh in the root namespace.
    pub selector: Option<Selector>,
    /// Objects that it is attached to instead.
    pub target_refs: Vec<TargetRef>,
    /// The one object that it is attached to (older form).
    pub target_ref: Option<TargetRef>,
    /// What a match means.
    pub action: PolicyActionSpec,
    /// Who is asked by CUSTOM.
    pub provider: Option<PolicyProvider>,
    /// Rules; none match nothing.
    pub rules: Vec<PolicyRuleSpec>,
}

/// `provider`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PolicyProvider {
    /// `extensionProviders[].name`.
    pub name: String,
}

/// `targetRefs[]`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TargetRef {
    /// API group; empty = core.
    pub group: String,
    /// Kind.
    pub kind: String,
    /// Name, in the policy's namespace.
    pub name: String,
}

/// `action`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum PolicyActionSpec {
    /// Let through.
    #[default]
    Allow,
    /// Refuse.
    Deny,
    /// Note.
    Audit,
    /// Ask somebody else.
    Custom,
}

/// `rules[]`: one of `from`, one of `to`, all of `when`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PolicyRuleSpec {
    /// Who.
    pub from: Vec<PolicyFrom>,
    /// What.
    pub to: Vec<PolicyTo>,
    /// Further conditions.
    pub when: Vec<PolicyCondition>,
}

/// `from[]`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PolicyFrom {
    /// Source.
    pub source: PolicySource,
}

/// `to[]`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PolicyTo {
    /// Operation.
    pub operation: PolicyOperation,
}

/// `from[].source`: each list is "one of", the lists together "all of".
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "Istio's names, each with its negation")]
pub struct PolicySource {
    pub principals: Vec<String>,
    pub not_principals: Vec<String>,
    pub request_principals: Vec<String>,
    pub not_request_principals: Vec<String>,
    pub namespaces: Vec<String>,
    pub not_namespaces: Vec<String>,
    pub service_accounts: Vec<String>,
    pub not_service_accounts: Vec<String>,
    pub trust_domains: Vec<String>,
    pub not_trust_domains: Vec<String>,
    pub ip_blocks: Vec<String>,
    pub not_ip_blocks: Vec<String>,
    pub remote_ip_blocks: Vec<String>,
    pub not_remote_ip_blocks: Vec<String>,
}

/// `to[].operation`, likewise.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[expect(missing_docs, reason = "Istio's names, each with its negation")]
pub struct PolicyOperation {
    pub hosts: Vec<String>,
    pub not_hosts: Vec<String>,
    pub ports: Vec<String>,
    pub not_ports: Vec<String>,
    pub methods: Vec<String>,
    pub not_methods: Vec<String>,
    pub paths: Vec<String>,
    pub not_paths: Vec<String>,
}

/// `when[]`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PolicyCondition {
    /// `request.headers[x]`, `source.ip`, ...
    pub key: String,
    /// One of these.
    pub values: Vec<String>,
    /// None of these.
    pub not_values: Vec<String>,
}

/// `RequestAuthentication.spec`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RequestAuthentication {
    /// Workloads; none = the namespace, or the mesh in the root namespace.
    pub selector: Option<Selector>,
    /// Objects that it is attached to instead.
    pub target_refs: Vec<TargetRef>,
    /// The one object that it is attached to (older form).
    pub target_ref: Option<TargetRef>,
    /// Issuers.
    pub jwt_rules: Vec<JwtRule>,
}

/// `jwtRules[]`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct JwtRule {
    /// `iss`.
    pub issuer: String,
    /// One of `aud`.
    pub audiences: Vec<String>,
    /// Where the keys are.
    #[serde(alias = "jwks_uri")]
    pub jwks_uri: String,
    /// The keys.
    pub jwks: String,
    /// Headers with tokens.
    pub from_headers: Vec<JwtHeader>,
    /// Query parameters with tokens.
    pub from_params: Vec<String>,
    /// Cookies with tokens.
    pub from_cookies: Vec<String>,
    /// The payload goes there.
    pub output_payload_to_header: String,
    /// Claims go there.
    pub output_claim_to_headers: Vec<ClaimToHeader>,
    /// The token stays on the request.
    pub forward_original_token: bool,
    /// Claims that are lists separated by spaces.
    pub space_delimited_claims: Vec<String>,
}

/// `fromHeaders[]`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct JwtHeader {
    /// Name.
    pub name: String,
    /// What stands before the token.
    pub prefix: String,
}

/// `outputClaimToHeaders[]`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClaimToHeader {
    /// Header.
    pub header: String,
    /// Claim, nested by dots.
    pub claim: String,
}
