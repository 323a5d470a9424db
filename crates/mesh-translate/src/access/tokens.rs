//! RequestAuthentication: the tokens that a workload understands.

use std::time::Duration;

use mesh_crd::security::{JwtRule, RequestAuthentication};
use mesh_model::token::{TokenRule, TokenRules};

use crate::{KeySource, World};

/// Clocks of issuers may differ by this much, as in Istio.
const CLOCK_SKEW: Duration = Duration::from_secs(60);
/// Keys that verify nothing, for rules whose keys are not there.
const NO_KEYS: &str = r#"{"keys":[]}"#;

/// The rules of all policies together; `None` when there is none.
pub(super) fn rules<'a>(
    world: &World,
    policies: impl Iterator<Item = &'a RequestAuthentication>,
) -> Option<Box<TokenRules>> {
    let rules: Vec<TokenRule> = policies
        .flat_map(|policy| &policy.jwt_rules)
        .enumerate()
        .map(|(i, rule)| token_rule(world, i, rule))
        .collect();
    (!rules.is_empty()).then(|| Box::new(TokenRules { rules }))
}

fn token_rule(world: &World, number: usize, rule: &JwtRule) -> TokenRule {
    let (mut headers, mut parameters): (Vec<(String, String)>, Vec<String>) = (
        rule.from_headers
            .iter()
            .map(|h| (h.name.to_ascii_lowercase(), h.prefix.clone()))
            .collect(),
        rule.from_params.clone(),
    );
    if headers.is_empty() && parameters.is_empty() && rule.from_cookies.is_empty() {
        headers.push(("authorization".to_owned(), "Bearer ".to_owned()));
        parameters.push("access_token".to_owned());
    }
    TokenRule {
        // By name on the wire: the order of numbers is that of texts.
        name: format!("origins-{number:04}"),
        issuer: rule.issuer.clone(),
        audiences: rule.audiences.clone(),
        jwks: match KeySource::of(rule) {
            None => rule.jwks.clone(),
            // There are no default keys.
            Some(source) => world
                .keys(&source)
                .and_then(|set| set.keys.clone())
                .unwrap_or_else(|| NO_KEYS.to_owned()),
        },
        headers,
        parameters,
        cookies: rule.from_cookies.clone(),
        forward: rule.forward_original_token,
        payload_header: Some(rule.output_payload_to_header.clone()).filter(|h| !h.is_empty()),
        claim_headers: rule
            .output_claim_to_headers
            .iter()
            .map(|c| (c.header.to_ascii_lowercase(), c.claim.clone()))
            .collect(),
        space_delimited: rule.space_delimited_claims.clone(),
        clock_skew: CLOCK_SKEW,
    }
}
