//! Explain against what really happens: random configurations, random requests, and for each the rule, the cluster, the
//! status, the flags and the details in the access log are those that explain said before.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use mesh_model::authorization::{Check, Policies, PolicyAction, PolicyRule, RuleSet};
use mesh_model::cluster::{Cluster, Endpoint};
use mesh_model::explain::{Ending, Question};
use mesh_model::listener::{AccessLog, AccessLogFormat, Direction, HttpConnection, RouteSource};
use mesh_model::matching::{HeaderCheck, HeaderMatch, Pattern, QueryMatch, StringMatch};
use mesh_model::request::TypedRequest;
use mesh_model::route::{
    Abort, Action, CorsPolicy, DirectResponse, Domain, Fault, Forward, PathMatch, PathRewrite, PerMillion,
    Redirect, Route, RouteTable, VirtualHost, WeightedDestination,
};
use mesh_model::snapshot::Snapshot;
use sightline_proxy::runtime::{NodeKind, Runtime};
use sightline_proxy::secure::NoTls;

use crate::harness::{
    Answer, DEADLINE, Recorder, cluster, endpoint, exchange, forward, free_address, http, listener, ok,
    route, snapshot, start, to,
};

/// Configurations of each kind of node, and requests of each.
const SNAPSHOTS: u64 = 25;
const REQUESTS: usize = 80;

/// A source of choices that gives the same ones each time.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }
    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(n).unwrap()).unwrap()
    }
    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
    fn of<T: Clone>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())].clone()
    }
    fn several<T>(&mut self, most: usize, mut make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.below(most + 1)).map(|_| make(self)).collect()
    }
}

const PATHS: &[&str] = &[
    "/",
    "/a",
    "/A",
    "/a/b",
    "/ab",
    "/a/../c",
    "/c//d",
    "/%61",
    "/a%2e",
    "/c/x.html",
];
const PREFIXES: &[&str] = &["/", "/a", "/A", "/a/", "/c", "/ab", "/nowhere"];
const HOSTS: &[&str] = &[
    "web",
    "web:80",
    "WEB:8080",
    "api.web",
    "api.web:9999",
    "x.test:8080",
    "other",
];
const VALUES: &[&str] = &["jason", "tom", "1", ""];
/// Clusters that serve (one of them against all odds), that have nobody, and one that does not exist.
const SERVING: &[&str] = &["good", "second", "spill", "panic"];
const FAILING: &[&str] = &["empty", "ill", "missing"];

fn string_match(dice: &mut Dice) -> StringMatch {
    let text = dice
        .of(&["jason", "ja", "m", "/a", "/c", "GET", "web"])
        .to_owned();
    match dice.below(6) {
        0 => StringMatch::Exact(text),
        1 => StringMatch::Prefix(text),
        2 => StringMatch::Suffix(text),
        3 => StringMatch::Regex(Pattern::new(dice.of(&["j.*", "/a.*", "[A-Z]+", ".*web.*"])).unwrap()),
        4 => StringMatch::PrefixIgnoreCase(text),
        _ => StringMatch::Contains(text),
    }
}

fn header_match(dice: &mut Dice) -> HeaderMatch {
    HeaderMatch {
        name: dice
            .of(&[
                "end-user",
                "x-b",
                ":method",
                ":authority",
                "x-forwarded-proto",
                "x-envoy-odd",
            ])
            .to_owned(),
        check: if dice.one_in(3) {
            HeaderCheck::Present(!dice.one_in(3))
        } else {
            HeaderCheck::Value(string_match(dice))
        },
        invert: dice.one_in(5),
        missing_is_empty: dice.one_in(5),
    }
}

fn clusters(backends: &[SocketAddr]) -> Vec<Cluster> {
    let up = |at: usize| endpoint(backends[at], "web-v1");
    let ill = |at: usize| Endpoint {
        healthy: false,
        ..up(at)
    };
    let later = |at: usize| Endpoint {
        priority: 1,
        ..up(at)
    };
    let mut panic = cluster("panic", vec![ill(0)]);
    panic.panic_threshold_percent = 50;
    vec![
        cluster("good", vec![up(0)]),
        cluster("second", vec![up(1), up(0)]),
        cluster("spill", vec![ill(0), later(1)]),
        panic,
        cluster("empty", Vec::new()),
        cluster("ill", vec![ill(0), ill(1)]),
    ]
}

fn onward(dice: &mut Dice) -> Forward {
    if dice.one_in(4) {
        // Chance must not decide whether it fails.
        let weighted = |cluster: &str, weight| WeightedDestination {
            cluster: cluster.into(),
            weight,
            ..WeightedDestination::default()
        };
        return Forward {
            destinations: vec![
                weighted("good", 30),
                weighted("second", 70),
                weighted("missing", 0),
            ],
            ..Forward::default()
        };
    }
    let mut onward = to(if dice.one_in(3) {
        dice.of(FAILING)
    } else {
        dice.of(SERVING)
    });
    if dice.one_in(4) {
        onward.path_rewrite = Some(PathRewrite::Replace("/rewritten".into()));
    }
    onward
}

fn action(dice: &mut Dice) -> Action {
    match dice.below(8) {
        0 => Action::Redirect(Box::new(Redirect {
            status: dice.of(&[301, 302, 307]),
            path: Some("/elsewhere".into()),
            ..Redirect::default()
        })),
        1 => Action::Respond(DirectResponse {
            status: dice.of(&[200, 204, 404, 503]),
            body: b"direct".to_vec(),
        }),
        _ => forward(onward(dice)),
    }
}

fn rule(dice: &mut Dice) -> Arc<Route> {
    let text = dice.of(PREFIXES).to_owned();
    let path = match dice.below(5) {
        0 => PathMatch::Exact(dice.of(PATHS).to_owned()),
        1 => PathMatch::Regex(Pattern::new(dice.of(&["/a.*", "/.*\\.html", "/[a-z]+"])).unwrap()),
        2 => PathMatch::SegmentPrefix(text),
        _ => PathMatch::Prefix(text),
    };
    let name = format!("rule-{}", dice.next() % 1_000_000);
    let action = action(dice);
    let mut made = route(if dice.one_in(8) { "" } else { &name }, path, action);
    made.matches.path_ignore_case = dice.one_in(4);
    if dice.one_in(2) {
        made.matches.headers = dice.several(2, header_match);
    }
    if dice.one_in(4) {
        let value = (!dice.one_in(3)).then(|| string_match(dice));
        made.matches.query = vec![QueryMatch {
            name: "q".into(),
            value,
        }];
    }
    if dice.one_in(8) {
        let abort = dice.of(&[Abort::Http(418), Abort::Http(503), Abort::Grpc(7)]);
        made.fault = Some(Fault {
            delay: None,
            abort: Some((abort, PerMillion(dice.of(&[0, 1_000_000])))),
        });
    }
    if dice.one_in(5) {
        made.cors = Some(CorsPolicy {
            allow_origins: vec![StringMatch::Exact("http://good.test".into())],
            forward_unmatched_preflights: dice.one_in(2),
            ..CorsPolicy::default()
        });
    }
    Arc::new(made)
}

fn table(dice: &mut Dice, name: &str) -> RouteTable {
    let virtual_hosts = (0..1 + dice.below(4)).map(|at| {
        let domains = (0..1 + dice.below(2)).map(|_| match dice.below(5) {
            0 | 1 => Domain::Any,
            2 => Domain::Exact("web".into()),
            3 => Domain::Suffix(".web".into()),
            _ => Domain::Prefix("x.".into()),
        });
        Arc::new(VirtualHost {
            name: format!("{name}-{at}"),
            domains: domains.collect(),
            routes: (0..1 + dice.below(6)).map(|_| rule(dice)).collect(),
            require_tls: dice.one_in(12),
            include_attempt_count: false,
        })
    });
    RouteTable {
        name: name.to_owned(),
        virtual_hosts: virtual_hosts.collect(),
    }
}

fn check(dice: &mut Dice) -> Check {
    match dice.below(9) {
        0 => Check::Any,
        1 => Check::Not(Box::new(Check::Path(string_match(dice)))),
        2 => Check::Header(header_match(dice)),
        3 => Check::Principal(None),
        4 => Check::SourceIp(dice.of(&["127.0.0.0/8", "10.0.0.0/8"]).parse().unwrap()),
        5 => Check::RemoteIp(dice.of(&["127.0.0.0/8", "10.0.0.0/8"]).parse().unwrap()),
        6 => Check::OneOf(vec![Check::DestinationPort(1), Check::Path(string_match(dice))]),
        _ => Check::Path(string_match(dice)),
    }
}

fn policies(dice: &mut Dice) -> Policies {
    let mut sets = Vec::new();
    for action in [PolicyAction::Deny, PolicyAction::Allow, PolicyAction::Audit] {
        if !dice.one_in(3) {
            continue;
        }
        let rules = |dice: &mut Dice| {
            (0..1 + dice.below(3))
                .map(|at| PolicyRule {
                    name: format!("ns[default]-policy[p{}]-rule[{at}]", dice.below(9)),
                    permissions: vec![check(dice)],
                    principals: vec![if dice.one_in(2) { Check::Any } else { check(dice) }],
                })
                .collect::<Vec<_>>()
        };
        sets.push(RuleSet {
            action,
            enforced: Some(rules(dice)),
            shadow: dice.one_in(3).then(|| rules(dice)),
        });
    }
    Policies(sets)
}

fn request(dice: &mut Dice, id: usize) -> TypedRequest {
    let mut headers = vec![("x-request-id".to_owned(), id.to_string())];
    let mut push = |name: &str, value: &str| headers.push((name.to_owned(), value.to_owned()));
    if dice.one_in(2) {
        push("end-user", dice.of(VALUES));
    }
    if dice.one_in(3) {
        push("x-b", dice.of(VALUES));
        if dice.one_in(3) {
            push("x-b", dice.of(VALUES));
        }
    }
    if dice.one_in(6) {
        push("x-envoy-odd", "1");
    }
    if dice.one_in(6) {
        push(
            "x-forwarded-for",
            dice.of(&["10.1.2.3", "10.1.2.3,127.0.0.1", "odd"]),
        );
    }
    if dice.one_in(8) {
        push(
            "content-type",
            dice.of(&["application/grpc", "application/grpc+proto", "text/plain"]),
        );
    }
    if dice.one_in(10) {
        push("connection", "close, upgrade");
        push("upgrade", "h2x");
    }
    let mut method = dice.of(&["GET", "GET", "DELETE", "OPTIONS"]);
    if dice.one_in(8) {
        method = "OPTIONS";
        push("origin", dice.of(&["http://good.test", "http://bad.test"]));
        push("access-control-request-method", "GET");
    }
    TypedRequest {
        method: method.to_owned(),
        scheme: "http".into(),
        authority: dice.of(HOSTS).to_owned(),
        target: format!(
            "{}{}",
            dice.of(PATHS),
            dice.of(&["", "", "?q", "?q=jason&x=1", "?x=1"])
        ),
        headers,
    }
}

fn log_to(path: &Path) -> Vec<AccessLog> {
    let field = |name: &str, format: &str| (name.to_owned(), format.to_owned());
    vec![AccessLog {
        path: path.display().to_string(),
        format: AccessLogFormat::Json(vec![
            field("id", "%REQ(X-REQUEST-ID)%"),
            field("route", "%ROUTE_NAME%"),
            field("cluster", "%UPSTREAM_CLUSTER%"),
            field("status", "%RESPONSE_CODE%"),
            field("flags", "%RESPONSE_FLAGS%"),
            field("details", "%RESPONSE_CODE_DETAILS%"),
        ]),
        filter: None,
    }]
}

/// A configuration of a sidecar's HTTP proxy port, or of a gateway.
fn configuration(
    dice: &mut Dice,
    kind: NodeKind,
    address: SocketAddr,
    log: &Path,
    backends: &[SocketAddr],
) -> Snapshot {
    let mut tables = BTreeMap::new();
    let routes = if kind == NodeKind::Sidecar {
        for name in ["80", "8080", "rest"] {
            // A table that is named and not there is a case too.
            if !dice.one_in(10) {
                tables.insert(name.to_owned(), Arc::new(table(dice, name)));
            }
        }
        RouteSource::ByAuthorityPort {
            tables: [(80, "80".to_owned()), (8080, "8080".to_owned())].into(),
            fallback: "rest".into(),
            listeners: BTreeMap::new(),
        }
    } else {
        RouteSource::Inline(Arc::new(table(dice, "http.80")))
    };
    let edge = kind == NodeKind::Edge;
    let connection = HttpConnection {
        access_logs: log_to(log),
        policies: policies(dice),
        use_remote_address: edge,
        preserve_external_request_id: true,
        trusted_hops: u32::from(edge && dice.one_in(2)),
        merge_slashes: dice.one_in(2),
        normalize_path: !dice.one_in(4),
        ..http(routes)
    };
    let direction = if edge {
        Direction::Unspecified
    } else {
        Direction::Outbound
    };
    let mut made = snapshot(vec![listener(address, direction, connection)], clusters(backends));
    made.routes = tables;
    made.revision = dice.next().to_string();
    made
}

fn send(address: SocketAddr, request: &TypedRequest) -> Answer {
    let mut text = format!(
        "{} {} HTTP/1.1\r\nhost: {}\r\n",
        request.method, request.target, request.authority
    );
    let closes = request.headers.iter().any(|(name, _)| name == "connection");
    for (name, value) in &request.headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    if !closes {
        text.push_str("connection: close\r\n");
    }
    text.push_str("\r\n");
    Answer::parse(&exchange(address, text.as_bytes()))
}

/// Lines of the access log by request id.
fn logged(path: &Path, wanted: usize) -> HashMap<String, serde_json::Value> {
    let began = Instant::now();
    loop {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let lines: HashMap<_, _> = text
            .lines()
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
            .map(|line| (line["id"].as_str().unwrap_or_default().to_owned(), line))
            .collect();
        if lines.len() >= wanted {
            return lines;
        }
        assert!(
            began.elapsed() < DEADLINE,
            "only {} of {wanted} lines were logged",
            lines.len()
        );
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

fn told(line: &serde_json::Value, field: &str) -> String {
    match &line[field] {
        serde_json::Value::String(text) if text == "-" => String::new(),
        serde_json::Value::String(text) => text.clone(),
        serde_json::Value::Null => String::new(),
        other => other.to_string(),
    }
}

struct Expected {
    request: TypedRequest,
    explained: mesh_model::explain::Answer,
    answer: Answer,
}

fn judge(expected: &Expected, line: &serde_json::Value) {
    let outcome = &expected.explained.outcome;
    let context = || {
        format!(
            "{:?}\nexplained: {outcome:#?}\nlogged: {line}\n{:#?}",
            expected.request, expected.explained.decisions
        )
    };
    let status = outcome.status.unwrap_or(200);
    assert_eq!(expected.answer.status, status, "status of {}", context());
    assert_eq!(
        told(line, "status"),
        status.to_string(),
        "logged status of {}",
        context()
    );
    let flags = outcome.flags.to_string();
    assert_eq!(
        told(line, "flags"),
        flags.trim_matches('-'),
        "flags of {}",
        context()
    );
    assert_eq!(told(line, "route"), outcome.route, "route of {}", context());
    let details = if outcome.action == Ending::Forward {
        "via_upstream"
    } else {
        &outcome.details
    };
    assert_eq!(told(line, "details"), details, "details of {}", context());
    let cluster = told(line, "cluster");
    let may: Vec<&str> = outcome
        .clusters
        .iter()
        .filter(|(_, percent)| *percent > 0.0)
        .map(|(name, _)| name.as_str())
        .collect();
    let fits = if may.is_empty() {
        // The log of a refused request names the cluster that it was on its way to.
        cluster.is_empty() || outcome.action == Ending::Refuse
    } else {
        may.contains(&cluster.as_str())
    };
    assert!(fits, "cluster {cluster:?} of {}", context());
}

fn run(kind: NodeKind, seed: u64) -> usize {
    let folder = tempfile::tempdir().unwrap();
    let backends: Vec<Recorder> = (0..2).map(|_| Recorder::new(|_| ok("there"))).collect();
    let at: Vec<SocketAddr> = backends.iter().map(|b| b.address).collect();
    let runtime: Runtime = start(kind, "client-v1", Arc::new(NoTls));
    let mut dice = Dice(seed);
    let mut endings: BTreeMap<String, usize> = BTreeMap::new();
    for round in 0..SNAPSHOTS {
        let address = free_address();
        let log = folder.path().join(format!("{round}.log"));
        let configured = configuration(&mut dice, kind, address, &log, &at);
        runtime.apply(Arc::new(configured)).unwrap();
        let mut all = Vec::with_capacity(REQUESTS);
        for id in 0..REQUESTS {
            let request = request(&mut dice, id);
            let question = Question {
                direction: if kind == NodeKind::Edge {
                    Direction::Unspecified
                } else {
                    Direction::Outbound
                },
                destination: address,
                listener: None,
                source: IpAddr::V4(Ipv4Addr::LOCALHOST),
                principal: None,
                tls: false,
                server_name: None,
                protocols: vec![b"http/1.1".to_vec()],
                from_gateway: false,
                request: request.clone(),
                edge: kind == NodeKind::Edge,
            };
            let explained = runtime.explain(&question).unwrap();
            let answer = send(address, &request);
            let outcome = &explained.outcome;
            *endings
                .entry(format!(
                    "{:?} {} {}",
                    outcome.action, outcome.flags, outcome.details
                ))
                .or_default() += 1;
            all.push(Expected {
                request,
                explained,
                answer,
            });
        }
        let lines = logged(&log, REQUESTS);
        for (id, expected) in all.iter().enumerate() {
            judge(expected, &lines[&id.to_string()]);
        }
    }
    // Every way to end was met: otherwise the generator tests nothing.
    for ending in [
        "Forward",
        "Redirect",
        "Respond",
        "NR",
        "UH",
        "NC",
        "FI",
        "rbac",
        "upgrade_failed",
        "cors",
    ] {
        assert!(
            endings.keys().any(|met| met.contains(ending)),
            "{ending} is not in {endings:#?}"
        );
    }
    endings.values().sum()
}

#[test]
fn a_sidecar_does_what_explain_says() {
    assert_eq!(run(NodeKind::Sidecar, 0x5eed), 2_000);
}

#[test]
fn a_gateway_does_what_explain_says() {
    assert_eq!(run(NodeKind::Edge, 0xfeed), 2_000);
}
