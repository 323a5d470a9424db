//! Tokens (JWT): found, verified and taken off the request; what they say is for policies.

use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, JwkSet};
use jsonwebtoken::{Algorithm, DecodingKey};
use mesh_model::explain::TokenAnswer;
use mesh_model::flags::ResponseFlags;
use mesh_model::matching::query_value;
use mesh_model::request::RequestView as _;
use mesh_model::token::{Claim, TokenRule, TokenRules};
use serde_json::Value;

use crate::call::Call;
use crate::codec::head::Request;
use crate::refusal::Refusal;

/// Longest token that is looked at.
const TOKEN_MAX: usize = 16 * 1024;
/// Claims that are always lists separated by spaces.
const SPACED: [&str; 2] = ["scope", "permission"];

/// Token rules with their keys made ready.
pub(crate) struct Tokens(Vec<Rule>);

struct Rule {
    config: TokenRule,
    keys: Vec<Key>,
}

struct Key {
    id: Option<String>,
    kind: KeyKind,
    key: DecodingKey,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum KeyKind {
    Rsa,
    Curve,
    Edwards,
    Secret,
}

/// Where a token was found.
enum Place {
    Header(String),
    Parameter(String),
    Cookie,
}

/// Why a token is not believed, in Envoy's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fault(&'static str);

const FORM: Fault = Fault("Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections");
const HEADER: Fault = Fault("Jwt header is an invalid JSON");
const PAYLOAD: Fault = Fault("Jwt payload is an invalid JSON");
const ALGORITHM: Fault = Fault("Jwt header [alg] is not supported");
const ISSUER: Fault = Fault("Jwt issuer is not configured");
const EXPIRED: Fault = Fault("Jwt is expired");
const NOT_YET: Fault = Fault("Jwt not yet valid");
const AUDIENCE: Fault = Fault("Audiences in Jwt are not allowed");
const SIGNATURE: Fault = Fault("Jwt verification fails");

impl Tokens {
    /// Keys that cannot be read verify nothing: tokens that need them are refused.
    pub(crate) fn new(rules: &TokenRules) -> Self {
        let rules = rules.rules.iter().map(|config| {
            let set: JwkSet = serde_json::from_str(&config.jwks).unwrap_or_else(|error| {
                tracing::warn!(issuer = %config.issuer, %error, "the keys of this issuer cannot be read");
                JwkSet { keys: Vec::new() }
            });
            Rule {
                keys: set.keys.iter().filter_map(Key::new).collect(),
                config: config.clone(),
            }
        });
        Self(rules.collect())
    }

    /// Verifies what the request carries. No token is no fault; a bad one is, unless another is good.
    fn check(&self, request: &mut Request, now: SystemTime) -> Result<Option<Claim>, Fault> {
        for rule in &self.0 {
            // Only we say what a token says.
            let written = rule.config.claim_headers.iter().map(|(header, _)| header);
            for header in written.chain(&rule.config.payload_header) {
                request.fields.remove_named(header.as_bytes());
            }
        }
        let mut fault = None;
        let mut good: Option<Verified> = None;
        for rule in &self.0 {
            for (place, token) in found(request, &rule.config) {
                let verified = self.verify(&token, &place, now);
                match verified {
                    Ok(verified) if good.is_none() => {
                        if !verified.rule.config.forward {
                            take_off(request, &place);
                        }
                        good = Some(verified);
                    }
                    Ok(_) => {}
                    Err(error) => fault = fault.or(Some(error)),
                }
            }
        }
        match (good, fault) {
            (Some(verified), _) => {
                verified.write(request);
                Ok(Some(verified.claims()))
            }
            (None, Some(fault)) => Err(fault),
            (None, None) => Ok(None),
        }
    }

    fn verify(&self, token: &str, place: &Place, now: SystemTime) -> Result<Verified<'_>, Fault> {
        let (message, signature) = token.rsplit_once('.').ok_or(FORM)?;
        let (header, payload) = message.split_once('.').ok_or(FORM)?;
        if payload.contains('.') || token.len() > TOKEN_MAX {
            return Err(FORM);
        }
        let json = |part: &str, fault| {
            let bytes = URL_SAFE_NO_PAD
                .decode(part.trim_end_matches('='))
                .map_err(|_| fault)?;
            serde_json::from_slice::<Value>(&bytes)
                .ok()
                .filter(Value::is_object)
                .ok_or(fault)
        };
        let (header, claims) = (json(header, HEADER)?, json(payload, PAYLOAD)?);
        let algorithm: Algorithm = text(&header, "alg").parse().map_err(|_| ALGORITHM)?;
        let issuer = text(&claims, "iss");
        let rule = self
            .0
            .iter()
            .filter(|rule| rule.config.reads(place))
            .find(|rule| rule.config.issuer.is_empty() || rule.config.issuer == issuer)
            .ok_or(ISSUER)?;
        in_time(&claims, now, rule.config.clock_skew)?;
        if !rule.config.audiences.is_empty() {
            let ours = |text: &str| rule.config.audiences.iter().any(|ours| same_audience(ours, text));
            let allowed = match claims.get("aud") {
                Some(Value::String(one)) => ours(one),
                Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).any(ours),
                _ => false,
            };
            if !allowed {
                return Err(AUDIENCE);
            }
        }
        let id = text(&header, "kid");
        let fits = |key: &&Key| {
            key.kind == kind_of(algorithm) && (id.is_empty() || key.id.as_deref().is_none_or(|own| own == id))
        };
        let signed = rule.keys.iter().filter(fits).any(|key| {
            jsonwebtoken::crypto::verify(signature, message.as_bytes(), &key.key, algorithm).unwrap_or(false)
        });
        if !signed {
            return Err(SIGNATURE);
        }
        Ok(Verified {
            rule,
            payload: payload.to_owned(),
            claims,
        })
    }
}

fn text<'a>(of: &'a Value, name: &str) -> &'a str {
    of.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn in_time(claims: &Value, now: SystemTime, skew: Duration) -> Result<(), Fault> {
    let now = now
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs_f64();
    let skew = skew.as_secs_f64();
    let time = |name: &str| claims.get(name).and_then(Value::as_f64);
    // A time that is none must not count as "for ever".
    let odd = |name: &str| claims.get(name).is_some_and(|value| !value.is_number());
    if odd("exp") || odd("nbf") {
        return Err(PAYLOAD);
    }
    if time("exp").is_some_and(|end| end + skew < now) {
        return Err(EXPIRED);
    }
    if time("nbf").is_some_and(|start| start > now + skew) {
        return Err(NOT_YET);
    }
    Ok(())
}

/// Scheme and final slash do not tell audiences apart, as in Envoy.
fn same_audience(a: &str, b: &str) -> bool {
    fn bare(text: &str) -> &str {
        let text = text
            .strip_prefix("https://")
            .or_else(|| text.strip_prefix("http://"))
            .unwrap_or(text);
        text.strip_suffix('/').unwrap_or(text)
    }
    bare(a) == bare(b)
}

fn kind_of(algorithm: Algorithm) -> KeyKind {
    match algorithm {
        Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => KeyKind::Secret,
        Algorithm::ES256 | Algorithm::ES384 => KeyKind::Curve,
        Algorithm::EdDSA => KeyKind::Edwards,
        _ => KeyKind::Rsa,
    }
}

impl Key {
    fn new(jwk: &Jwk) -> Option<Self> {
        Some(Self {
            id: jwk.common.key_id.clone(),
            kind: match &jwk.algorithm {
                AlgorithmParameters::RSA(_) => KeyKind::Rsa,
                AlgorithmParameters::EllipticCurve(_) => KeyKind::Curve,
                AlgorithmParameters::OctetKeyPair(_) => KeyKind::Edwards,
                AlgorithmParameters::OctetKey(_) => KeyKind::Secret,
            },
            key: DecodingKey::from_jwk(jwk).ok()?,
        })
    }
}

trait Reads {
    /// Whether tokens of this place are for the rule.
    fn reads(&self, place: &Place) -> bool;
}

impl Reads for TokenRule {
    fn reads(&self, place: &Place) -> bool {
        match place {
            Place::Header(name) => self.headers.iter().any(|(own, _)| own == name),
            Place::Parameter(name) => self.parameters.contains(name),
            Place::Cookie => !self.cookies.is_empty(),
        }
    }
}

/// Every token in the places of a rule.
fn found(request: &Request, rule: &TokenRule) -> Vec<(Place, String)> {
    let mut tokens = Vec::new();
    let mut add = |place: Place, value: &[u8]| {
        if let Ok(token) = std::str::from_utf8(value)
            && !token.trim().is_empty()
        {
            tokens.push((place, token.trim().to_owned()));
        }
    };
    for (name, prefix) in &rule.headers {
        for value in request.fields.values(name.as_bytes()) {
            if let Some(rest) = value.strip_prefix(prefix.as_bytes()) {
                // What follows the token (a comma, a space) is not part of it.
                let end = rest
                    .iter()
                    .position(|b| !(b.is_ascii_alphanumeric() || b"._-=+/".contains(b)));
                add(
                    Place::Header(name.clone()),
                    rest.get(..end.unwrap_or(rest.len())).unwrap_or_default(),
                );
            }
        }
    }
    for name in &rule.parameters {
        if let Some(value) = query_value(request.query(), name.as_bytes()) {
            add(Place::Parameter(name.clone()), value);
        }
    }
    for name in &rule.cookies {
        for value in request.fields.values(b"cookie") {
            let pairs = value.split(|b| *b == b';');
            for pair in pairs {
                let pair = pair.trim_ascii();
                let rest = pair.strip_prefix(name.as_bytes());
                if let Some(value) = rest.and_then(|rest| rest.strip_prefix(b"=")) {
                    add(Place::Cookie, value);
                }
            }
        }
    }
    tokens
}

/// A verified token is not for the application, unless it is to be forwarded.
fn take_off(request: &mut Request, place: &Place) {
    match place {
        Place::Header(name) => request.fields.remove_named(name.as_bytes()),
        Place::Parameter(name) => {
            let target = request.target_bytes();
            let Some(at) = target.iter().position(|b| *b == b'?') else {
                return;
            };
            let (path, query) = target.split_at(at);
            let kept: Vec<&[u8]> = query
                .get(1..)
                .unwrap_or_default()
                .split(|b| *b == b'&')
                .filter(|pair| pair.split(|b| *b == b'=').next() != Some(name.as_bytes()))
                .collect();
            let mut next = path.to_vec();
            if !kept.is_empty() {
                next.push(b'?');
                next.extend_from_slice(&kept.join(&b'&'));
            }
            request.set_target(&next);
        }
        Place::Cookie => {}
    }
}

/// A token that holds.
struct Verified<'a> {
    rule: &'a Rule,
    payload: String,
    claims: Value,
}

impl Verified<'_> {
    /// Headers for the application.
    fn write(&self, request: &mut Request) {
        if let Some(header) = &self.rule.config.payload_header {
            request.fields.push(header.as_bytes(), self.payload.as_bytes());
        }
        for (header, claim) in &self.rule.config.claim_headers {
            let mut value = &self.claims;
            let mut there = true;
            for key in claim.split('.') {
                match value.get(key) {
                    Some(inner) => value = inner,
                    None => there = false,
                }
            }
            let text = match value {
                _ if !there => continue,
                Value::Null => continue,
                Value::String(text) => text.clone(),
                Value::Bool(_) | Value::Number(_) => value.to_string(),
                Value::Array(_) | Value::Object(_) => STANDARD.encode(value.to_string()),
            };
            // Line breaks in a claim must not become headers.
            let safe: Vec<u8> = text
                .bytes()
                .filter(|b| (0x20..0x7f).contains(b) || *b >= 0x80)
                .collect();
            request.fields.push(header.as_bytes(), &safe);
        }
    }

    /// In Istio's form.
    fn claims(&self) -> Claim {
        let own = text(&self.claims, "sub");
        let mut facts = std::collections::BTreeMap::new();
        let mut put = |name: &str, claim: Claim| facts.insert(format!("request.auth.{name}"), claim);
        put(
            "principal",
            Claim::Text(format!("{}/{own}", text(&self.claims, "iss"))),
        );
        if let Some(audiences) = self.claims.get("aud") {
            put("audiences", claim(audiences));
        }
        if let Some(presenter) = self.claims.get("azp") {
            put("presenter", claim(presenter));
        }
        let mut all = claim(&self.claims);
        if let Claim::Map(entries) = &mut all {
            for (name, value) in entries.iter_mut() {
                let spaced =
                    SPACED.contains(&name.as_str()) || self.rule.config.space_delimited.contains(name);
                if let Claim::Text(text) = value
                    && spaced
                {
                    let words = text.split_whitespace().map(|word| Claim::Text(word.to_owned()));
                    *value = Claim::List(words.collect());
                }
            }
        }
        put("claims", all);
        Claim::Map(facts)
    }
}

fn claim(value: &Value) -> Claim {
    match value {
        Value::Null => Claim::Null,
        Value::Bool(value) => Claim::Bool(*value),
        Value::Number(value) => Claim::Number(value.as_f64().unwrap_or(f64::NAN)),
        Value::String(text) => Claim::Text(text.clone()),
        Value::Array(values) => Claim::List(values.iter().map(claim).collect()),
        Value::Object(entries) => Claim::Map(
            entries
                .iter()
                .map(|(name, value)| (name.clone(), claim(value)))
                .collect(),
        ),
    }
}

/// Whether a request carries a token that these rules believe; `Err` says why it is refused, in Envoy's words.
pub fn token_passes(
    rules: &TokenRules,
    request: &mut Request,
    now: SystemTime,
) -> Result<bool, &'static str> {
    let verdict = Tokens::new(rules).check(request, now);
    verdict.map(|claim| claim.is_some()).map_err(|Fault(text)| text)
}

/// Verifies the request's tokens; what a good one says.
pub(crate) fn check(call: &mut Call) -> Result<Option<Claim>, Refusal> {
    let context = std::rc::Rc::clone(&call.context);
    let Some(tokens) = &context.http.tokens else {
        return Ok(None);
    };
    match tokens.check(&mut call.heads.request, SystemTime::now()) {
        Ok(claims) => Ok(claims),
        Err(fault) => Err(refuse(&call.heads.request, fault)),
    }
}

/// Verifies a request's tokens for explain; `verified` sees the request as it goes on.
pub(crate) fn explain(
    rules: &TokenRules,
    request: &mut Request,
    now: SystemTime,
    verified: impl FnOnce(&Request),
) -> TokenAnswer {
    match Tokens::new(rules).check(request, now) {
        Ok(None) => TokenAnswer::None,
        Ok(Some(claims)) => {
            verified(request);
            TokenAnswer::Good(claims)
        }
        Err(fault) => {
            let refusal = refuse(request, fault);
            TokenAnswer::Refused(
                refusal.status,
                refusal.details.into_owned(),
                refusal.body.into_owned(),
            )
        }
    }
}

fn refuse(request: &Request, fault: Fault) -> Refusal {
    let status = if fault == AUDIENCE { 403 } else { 401 };
    let details = format!("jwt_authn_access_denied{{{}}}", fault.0.replace(' ', "_"));
    let mut refusal = Refusal::new(status, ResponseFlags::NONE, details).with_body(fault.0);
    // The query may hold the token: it is not repeated.
    let mut realm = b"Bearer realm=\"".to_vec();
    realm.extend_from_slice(request.scheme());
    realm.extend_from_slice(b"://");
    let safe = |bytes: &[u8]| bytes.iter().copied().filter(|b| *b != b'"').collect::<Vec<u8>>();
    realm.extend(safe(request.authority_bytes()));
    realm.extend(safe(request.path()));
    realm.extend_from_slice(b"\", error=\"invalid_token\"");
    refusal.authenticate = Some(realm);
    refusal
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use jsonwebtoken::{EncodingKey, Header, encode};
    use serde_json::json;

    use super::*;

    const SECRET: &[u8] = b"a secret of thirty-two bytes....";

    fn tokens(change: impl Fn(&mut TokenRule)) -> Tokens {
        let key = URL_SAFE_NO_PAD.encode(SECRET);
        let mut rule = TokenRule {
            name: "origins-0".into(),
            issuer: "me".into(),
            jwks: json!({"keys": [{"kty": "oct", "k": key, "alg": "HS256"}]}).to_string(),
            headers: vec![("authorization".into(), "Bearer ".into())],
            parameters: vec!["access_token".into()],
            clock_skew: Duration::from_secs(60),
            ..TokenRule::default()
        };
        change(&mut rule);
        Tokens::new(&TokenRules { rules: vec![rule] })
    }

    fn signed(claims: &Value) -> String {
        encode(
            &Header::new(Algorithm::HS256),
            claims,
            &EncodingKey::from_secret(SECRET),
        )
        .unwrap()
    }

    fn request(target: &str, headers: &[(&str, &str)]) -> Request {
        let mut request = Request::default();
        request.set_target(target.as_bytes());
        for (name, value) in headers {
            request.fields.push(name.as_bytes(), value.as_bytes());
        }
        request
    }

    #[track_caller]
    fn verdict(tokens: &Tokens, header: &str, expected: Result<bool, Fault>) {
        let mut request = request("/", &[("authorization", header)]);
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        let got = tokens.check(&mut request, now).map(|claims| claims.is_some());
        assert_eq!(got, expected, "{header}");
        let kept = request.fields.get_named(b"authorization").is_some();
        assert_eq!(kept, got != Ok(true), "a verified token is taken off");
    }

    #[test]
    fn faults_have_envoys_words() {
        let plain = tokens(|_| {});
        let bearer = |claims: Value| format!("Bearer {}", signed(&claims));
        verdict(&plain, &bearer(json!({"iss": "me", "sub": "a"})), Ok(true));
        verdict(&plain, &bearer(json!({"iss": "me", "exp": 950})), Ok(true));
        verdict(&plain, &bearer(json!({"iss": "me", "exp": 900})), Err(EXPIRED));
        verdict(&plain, &bearer(json!({"iss": "me", "nbf": 1100})), Err(NOT_YET));
        verdict(&plain, &bearer(json!({"iss": "other"})), Err(ISSUER));
        verdict(&plain, "Bearer x.y", Err(FORM));
        verdict(&plain, "Bearer e30.e30.x", Err(ALGORITHM));
        let mut forged = bearer(json!({"iss": "me"}));
        forged.truncate(forged.len() - 2);
        verdict(&plain, &forged, Err(SIGNATURE));
        // Neither of these is a token.
        verdict(&plain, "bearer abc", Ok(false));
        verdict(&plain, "Bearer ", Ok(false));
        let shop = tokens(|rule| rule.audiences = vec!["shop".into()]);
        verdict(
            &shop,
            &bearer(json!({"iss": "me", "aud": ["x", "shop"]})),
            Ok(true),
        );
        verdict(&shop, &bearer(json!({"iss": "me"})), Err(AUDIENCE));
        let nothing = tokens(|rule| rule.jwks = "{}".into());
        verdict(&nothing, &bearer(json!({"iss": "me"})), Err(SIGNATURE));
    }

    /// A token of these texts, signed by HMAC with this secret.
    fn forge(header: &str, payload: &str, secret: &[u8]) -> String {
        let message = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header),
            URL_SAFE_NO_PAD.encode(payload)
        );
        let key = EncodingKey::from_secret(secret);
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
        format!("{message}.{signature}")
    }

    #[track_caller]
    fn refused(tokens: &Tokens, token: &str) {
        let value = format!("Bearer {token}");
        let mut request = request("/", &[("authorization", &value)]);
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
        // One that is cut where it stops looking like a token may be none at all; it is never a good one.
        let got = tokens.check(&mut request, now);
        assert!(!matches!(got, Ok(Some(_))), "{token}");
    }

    const HEADER_256: &str = r#"{"alg":"HS256"}"#;
    const ADMIN: &str = r#"{"iss":"me","sub":"admin"}"#;

    #[test]
    fn forged_headers_are_refused() {
        let plain = tokens(|_| {});
        let good = forge(HEADER_256, ADMIN, SECRET);
        verdict(&plain, &format!("Bearer {good}"), Ok(true));
        for header in [
            r#"{"alg":"none"}"#,
            r#"{"alg":"None"}"#,
            r#"{"alg":"NONE"}"#,
            r#"{"alg":"nOnE"}"#,
            r#"{"alg":""}"#,
            r#"{"alg":"hs256"}"#,
            r#"{"alg":"HS256 "}"#,
            r#"{"alg":"HS256\u0000"}"#,
            r#"{"alg":null}"#,
            r#"{"alg":["HS256"]}"#,
            r#"{"alg":256}"#,
            r#"{"alg":"HS384"}"#,
            r#"{"alg":"HS512"}"#,
            r#"{"alg":"RS256"}"#,
            r#"{"alg":"ES256"}"#,
            r#"{"alg":"PS256"}"#,
            r#"{"alg":"EdDSA"}"#,
            r#"{"typ":"JWT"}"#,
            "{}",
            "[]",
            "null",
            "",
            r#""HS256""#,
            r#"{"alg":"HS256""#,
        ] {
            let token = forge(header, ADMIN, SECRET);
            refused(&plain, &token);
            // Without a signature, too.
            let (message, _) = token.rsplit_once('.').unwrap();
            refused(&plain, &format!("{message}."));
        }
        // Keys that the token itself brings or names are nobody's.
        let own = URL_SAFE_NO_PAD.encode(b"the forger's own secret");
        for header in [
            format!(r#"{{"alg":"HS256","jwk":{{"kty":"oct","k":"{own}"}}}}"#),
            r#"{"alg":"HS256","jku":"https://evil.test/keys"}"#.to_owned(),
            r#"{"alg":"HS256","x5u":"https://evil.test/chain"}"#.to_owned(),
            r#"{"alg":"HS256","kid":"../../../../dev/null"}"#.to_owned(),
            r#"{"alg":"HS256","kid":"' OR 1=1 --"}"#.to_owned(),
        ] {
            refused(&plain, &forge(&header, ADMIN, b"the forger's own secret"));
            refused(&plain, &forge(&header, ADMIN, b""));
        }
    }

    #[test]
    fn forged_payloads_and_forms_are_refused() {
        let plain = tokens(|_| {});
        let good = forge(HEADER_256, ADMIN, SECRET);
        for payload in [
            r#"{"iss":"you","sub":"admin"}"#,
            r#"{"iss":"ME","sub":"admin"}"#,
            r#"{"iss":"me ","sub":"admin"}"#,
            r#"{"iss":["me"],"sub":"admin"}"#,
            r#"{"iss":null}"#,
            r#"{"sub":"admin"}"#,
            r#"{"iss":"me","exp":"never"}"#,
            r#"{"iss":"me","exp":null}"#,
            r#"{"iss":"me","exp":0}"#,
            r#"{"iss":"me","exp":-1}"#,
            r#"{"iss":"me","nbf":99999}"#,
            r#"{"iss":"me","nbf":"now"}"#,
            r#"["me"]"#,
            "7",
            "",
            r#"{"iss":"me""#,
        ] {
            refused(&plain, &forge(HEADER_256, payload, SECRET));
        }
        let parts: Vec<&str> = good.split('.').collect();
        let [header, payload, signature] = parts.as_slice() else {
            panic!("{good}")
        };
        let other = URL_SAFE_NO_PAD.encode(r#"{"iss":"me","sub":"root"}"#);
        for token in [
            format!("{header}.{other}.{signature}"),
            format!("{header}.{payload}"),
            format!("{header}.{payload}."),
            format!(".{payload}.{signature}"),
            format!("{header}..{signature}"),
            format!("{header}.{payload}.{signature}.{signature}"),
            format!("{header}.{payload}.{signature}.{signature}.{signature}"),
            format!("{payload}.{header}.{signature}"),
            format!("{header}.{payload}.{signature}A"),
            format!("{header}.{payload}.{}", signature.to_lowercase()),
            "...".to_owned(),
            ".".to_owned(),
            "a.b.c".to_owned(),
            format!("{header}.{payload}.{}", "A".repeat(TOKEN_MAX)),
            forge(HEADER_256, ADMIN, b""),
            forge(HEADER_256, ADMIN, b"secret"),
        ] {
            refused(&plain, &token);
        }
        // A change of any character of the signature, but for bits that say nothing.
        for at in 0..signature.len() - 1 {
            let mut changed = signature.as_bytes().to_vec();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            refused(&plain, &format!("{header}.{payload}.{changed}"));
        }
        let nested = format!(r#"{{"iss":"me","a":{}{}}}"#, "[".repeat(200), "]".repeat(200));
        refused(&plain, &forge(HEADER_256, &nested, SECRET));
        // An issuer without keys has no default ones.
        let bare = tokens(|rule| rule.jwks = r#"{"keys":[]}"#.into());
        refused(&bare, &good);
    }

    #[test]
    fn a_public_key_is_no_secret() {
        let x = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU";
        let y = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0";
        let public = json!({"keys": [{"kty": "EC", "crv": "P-256", "x": x, "y": y}]}).to_string();
        let rule = tokens(|rule| {
            rule.jwks.clone_from(&public);
            rule.issuer = "joe".into();
        });
        // The example of RFC 7515, A.3.
        let good = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.\
                    DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
        verdict(&rule, &format!("Bearer {good}"), Ok(true));
        let joe = r#"{"iss":"joe"}"#;
        for secret in [x.as_bytes(), y.as_bytes(), public.as_bytes(), b""] {
            refused(&rule, &forge(HEADER_256, joe, secret));
            refused(&rule, &forge(r#"{"alg":"ES256"}"#, joe, secret));
        }
    }

    #[test]
    fn a_parameter_goes_and_claims_become_headers() {
        let tokens = tokens(|rule| {
            rule.claim_headers = vec![
                ("x-sub".into(), "sub".into()),
                ("x-level".into(), "deep.level".into()),
                ("x-groups".into(), "groups".into()),
                ("x-none".into(), "nothing".into()),
            ];
        });
        let claims =
            json!({"iss": "me", "sub": "a\r\nb", "deep": {"level": 7}, "groups": ["g"], "scope": "r w"});
        let target = format!("/p?a=1&access_token={}&b=2", signed(&claims));
        let mut request = request(&target, &[("x-none", "forged")]);
        let found = tokens
            .check(&mut request, SystemTime::UNIX_EPOCH)
            .unwrap()
            .unwrap();
        assert_eq!(request.target_bytes(), b"/p?a=1&b=2");
        for (name, value) in [
            ("x-sub", Some("ab")),
            ("x-level", Some("7")),
            ("x-groups", Some("WyJnIl0=")),
            ("x-none", None),
        ] {
            let got = request.fields.get_named(name.as_bytes());
            assert_eq!(got, value.map(str::as_bytes), "{name}");
        }
        let path = ["request.auth.claims".to_owned(), "scope".to_owned()];
        let words = vec![Claim::Text("r".into()), Claim::Text("w".into())];
        assert_eq!(found.at(&path), Some(&Claim::List(words)));
    }
}
