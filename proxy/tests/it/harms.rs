//! Where Istio harms its users: each of these must hold here.

use std::io::Write as _;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mesh_model::authorization::{Check, Policies, PolicyAction, PolicyRule, RuleSet};
use mesh_model::listener::{Direction, RouteSource};
use mesh_model::token::{TokenRule, TokenRules};
use sightline_proxy::runtime::NodeKind;

use crate::harness::*;

fn policies(action: PolicyAction, check: Check) -> Policies {
    Policies(vec![RuleSet {
        action,
        enforced: Some(vec![PolicyRule {
            name: "ns[default]-policy[p]-rule[0]".into(),
            permissions: vec![Check::Any],
            principals: vec![check],
        }]),
        shadow: None,
    }])
}

fn guarded(policies: Policies) -> mesh_model::listener::HttpConnection {
    let rule = route("r", prefix("/"), forward(to("web")));
    let mut connection = http(RouteSource::Inline(Arc::new(table(vec![rule]))));
    connection.policies = policies;
    connection
}

#[test]
fn a_forged_forwarded_for_opens_no_door() {
    let upstream = Recorder::new(|_| ok("x"));
    let only = Check::RemoteIp("9.9.9.0/24".parse().unwrap());
    let proxy = Proxy::with(
        NodeKind::Sidecar,
        vec![cluster("web", vec![endpoint(upstream.address, "web-v1")])],
        guarded(policies(PolicyAction::Allow, only)),
    );
    for forged in [
        "",
        "x-forwarded-for: 9.9.9.9\r\n",
        "X-Forwarded-For: 1.1.1.1, 9.9.9.9\r\n",
    ] {
        let answer = proxy.get("/", forged);
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (403, "RBAC: access denied"),
            "{forged}"
        );
    }
    assert_eq!(upstream.messages().len(), 0);
}

#[test]
fn a_new_policy_holds_for_the_next_request_of_an_open_connection() {
    let upstream = Recorder::new(|_| ok("x"));
    let clusters = || vec![cluster("web", vec![endpoint(upstream.address, "web-v1")])];
    let open = guarded(Policies::default());
    let proxy = Proxy::with(NodeKind::Sidecar, clusters(), open);
    let mut stream = connect(proxy.address);
    let mut ask = || {
        write!(stream, "GET / HTTP/1.1\r\nHost: web\r\n\r\n").unwrap();
        read_answer(&mut stream).status
    };
    assert_eq!(ask(), 200);
    let closed = guarded(policies(PolicyAction::Deny, Check::Any));
    let listener = listener(proxy.address, Direction::Outbound, closed);
    let next = snapshot(vec![listener], clusters());
    proxy.runtime.apply(Arc::new(next)).unwrap();
    // A worker looks at the new configuration when it next runs.
    eventually("403", || ask() == 403);
    let before = upstream.messages().len();
    assert_eq!(ask(), 403);
    assert_eq!(upstream.messages().len(), before);
}

#[test]
fn a_refused_token_is_not_repeated() {
    let upstream = Recorder::new(|_| ok("x"));
    let key = URL_SAFE_NO_PAD.encode(b"a secret of thirty-two bytes....");
    let mut connection = guarded(Policies::default());
    connection.tokens = Some(Box::new(TokenRules {
        rules: vec![TokenRule {
            name: "origins-0".into(),
            issuer: "me".into(),
            jwks: format!(r#"{{"keys": [{{"kty": "oct", "k": "{key}", "alg": "HS256"}}]}}"#),
            parameters: vec!["access_token".into()],
            ..TokenRule::default()
        }],
    }));
    let clusters = vec![cluster("web", vec![endpoint(upstream.address, "web-v1")])];
    let proxy = Proxy::with(NodeKind::Sidecar, clusters, connection);
    let answer = proxy.get("/p?a=1&access_token=se.cr.et", "");
    assert_eq!(answer.status, 401);
    let said = answer.header("www-authenticate").unwrap();
    assert_eq!(said, "Bearer realm=\"http://web/p\", error=\"invalid_token\"");
    assert!(!format!("{answer:?}").contains("se.cr.et"));
}
