//! decode(encode(x)) == x for what the control plane sends; refusals with their path.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mesh_model::authorization::*;
use mesh_model::cluster::*;
use mesh_model::listener::*;
use mesh_model::matching::*;
use mesh_model::retry::RetryPolicy;
use mesh_model::route::*;
use mesh_model::secret::Secret;
use mesh_model::token::*;
use mesh_model::workload::{ServiceName, Workload};
use mesh_xds::{Any, decode, encode};
use prost::Message;

fn edits() -> HeaderEdits {
    HeaderEdits {
        set: vec![("x-set".into(), "1".into())],
        add: vec![("x-add".into(), "%REQ(a)%".into())],
        remove: vec!["x-gone".into()],
    }
}

fn forward() -> Forward {
    Forward {
        destinations: vec![
            WeightedDestination {
                cluster: "outbound|9080|v1|reviews.default.svc.cluster.local".into(),
                weight: 80,
                ..WeightedDestination::default()
            },
            WeightedDestination {
                cluster: "outbound|9080|v2|reviews.default.svc.cluster.local".into(),
                weight: 20,
                request_headers: edits(),
                response_headers: edits(),
                host_rewrite: Some("b.example".into()),
            },
        ],
        timeout: None,
        retry: Some(RetryPolicy {
            retriable_statuses: vec![503, 418],
            per_try_timeout: Some(Duration::from_millis(1500)),
            ..RetryPolicy::default()
        }),
        path_rewrite: Some(PathRewrite::Regex {
            pattern: "^/a/(.*)".into(),
            substitution: "/b/\\1".into(),
        }),
        host_rewrite: Some("x.example".into()),
        mirrors: vec![Mirror {
            cluster: "shadow".into(),
            per_million: 12_500,
            keeps_host: true,
        }],
        hash: vec![
            HashSource::Header("x-user".into()),
            HashSource::Cookie {
                name: "c".into(),
                path: "/".into(),
                ttl: Some(Duration::ZERO),
                attributes: vec![("SameSite".into(), "Lax".into())],
            },
            HashSource::SourceIp,
            HashSource::Query("q".into()),
        ],
        max_grpc_timeout: Some(Duration::ZERO),
    }
}

fn route(path: PathMatch, action: Action) -> Route {
    Route {
        name: "r.m".into(),
        matches: RouteMatch {
            path,
            path_ignore_case: false,
            headers: Vec::new(),
            query: Vec::new(),
            claims: Vec::new(),
        },
        action,
        request_headers: HeaderEdits::default(),
        response_headers: HeaderEdits::default(),
        fault: None,
        cors: None,
        operation: None,
        origin: None,
    }
}

fn full_route() -> Route {
    let header = |check, invert| HeaderMatch {
        name: ":method".into(),
        check,
        invert,
        missing_is_empty: invert,
    };
    Route {
        matches: RouteMatch {
            path: PathMatch::Regex(Pattern::new("/x/[a-z]+").unwrap()),
            path_ignore_case: true,
            headers: vec![
                header(HeaderCheck::Present(false), false),
                header(
                    HeaderCheck::Value(StringMatch::PrefixIgnoreCase("g".into())),
                    true,
                ),
                header(
                    HeaderCheck::Value(StringMatch::Regex(Pattern::new("a|b").unwrap())),
                    false,
                ),
            ],
            query: vec![
                QueryMatch {
                    name: "a".into(),
                    value: None,
                },
                QueryMatch {
                    name: "B".into(),
                    value: Some(StringMatch::Exact("1".into())),
                },
            ],
            claims: vec![
                ClaimMatch {
                    path: vec!["request.auth.claims".into(), "groups".into()],
                    value: Some(StringMatch::Exact("a".into())),
                    invert: true,
                },
                ClaimMatch {
                    path: vec!["request.auth.claims".into(), "a".into(), "b".into()],
                    value: None,
                    invert: false,
                },
            ],
        },
        request_headers: edits(),
        response_headers: edits(),
        fault: Some(Fault {
            delay: Some((Duration::from_secs(7), PerMillion(1_000_000))),
            abort: Some((Abort::Http(418), PerMillion(1))),
        }),
        cors: Some(CorsPolicy {
            allow_origins: vec![StringMatch::Exact("https://a".into())],
            allow_methods: "GET,POST".into(),
            max_age: "86400".into(),
            allow_credentials: true,
            ..CorsPolicy::default()
        }),
        operation: Some("reviews.default:9080/*".into()),
        origin: Some(RouteOrigin {
            virtual_service: "default/reviews".into(),
            route: "r".into(),
            match_name: "m".into(),
            revision: "abc".into(),
        }),
        ..route(PathMatch::Exact("/".into()), Action::Forward(Box::new(forward())))
    }
}

fn table() -> RouteTable {
    let simple = Forward {
        destinations: vec![WeightedDestination {
            cluster: "c".into(),
            weight: 1,
            ..WeightedDestination::default()
        }],
        timeout: Some(Duration::from_secs(3)),
        path_rewrite: Some(PathRewrite::Replace("/new".into())),
        ..Forward::default()
    };
    RouteTable {
        name: "9080".into(),
        virtual_hosts: vec![
            Arc::new(VirtualHost {
                name: "reviews.default.svc.cluster.local:9080".into(),
                domains: vec![
                    Domain::Exact("reviews.default.svc.cluster.local".into()),
                    Domain::Exact("10.0.0.1".into()),
                    Domain::Suffix(".example.com".into()),
                    Domain::Prefix("shop.".into()),
                ],
                routes: vec![
                    Arc::new(full_route()),
                    Arc::new(route(
                        PathMatch::SegmentPrefix("/seg".into()),
                        Action::Redirect(Box::new(Redirect {
                            status: 308,
                            path: Some("/p".into()),
                            host: Some("h".into()),
                            port: Some(8443),
                            scheme: Some("https".into()),
                            strip_query: true,
                            prefix_rewrite: None,
                        })),
                    )),
                    Arc::new(route(
                        PathMatch::Prefix("/".into()),
                        Action::Forward(Box::new(simple)),
                    )),
                ],
                require_tls: true,
                include_attempt_count: true,
            }),
            Arc::new(VirtualHost {
                name: "block_all".into(),
                domains: vec![Domain::Any],
                routes: vec![Arc::new(route(
                    PathMatch::Prefix("/".into()),
                    Action::Respond(DirectResponse {
                        status: 502,
                        body: b"no".to_vec(),
                    }),
                ))],
                ..VirtualHost::default()
            }),
        ],
    }
}

#[test]
fn route_tables() {
    let it = table();
    assert_eq!(decode::route_table(&encode::route_table(&it)).unwrap(), it);
}

#[test]
fn equal_tables_are_equal_bytes() {
    let first = encode::route_table(&table());
    for _ in 0..20 {
        assert_eq!(encode::route_table(&table()), first);
    }
}

fn upstream_tls() -> UpstreamTls {
    UpstreamTls {
        sni: Some("outbound_.9080_._.reviews.default.svc.cluster.local".into()),
        alpn: vec!["istio-peer-exchange".into(), "istio".into()],
        certificate: CertificateSource::Workload,
        validation: PeerValidation {
            roots: RootSource::Mesh,
            subject_alt_names: vec!["spiffe://cluster.local/ns/default/sa/reviews".into()],
        },
    }
}

fn cluster(name: &str) -> Cluster {
    Cluster {
        name: name.into(),
        discovery: Discovery::Eds(name.into()),
        balancer: Balancer::LeastRequest,
        connect_timeout: Duration::from_secs(10),
        protocol: UpstreamProtocol::Unspecified,
        limits: Limits::default(),
        outlier: None,
        transport: Transport::Plain,
        max_requests_per_connection: None,
        idle_timeout: Some(Duration::from_secs(3600)),
        service: None,
        bind: None,
        panic_threshold_percent: 0,
    }
}

fn endpoints() -> Endpoints {
    let one = |address: &str, priority, locality: &str| Endpoint {
        address: address.parse().unwrap(),
        healthy: priority == 0,
        weight: 1 + priority,
        priority,
        locality: locality.into(),
        mutual_tls: priority == 0,
        workload: (priority == 0).then(|| Workload {
            namespace: "default".into(),
            name: "reviews-v1".into(),
            app: "reviews".into(),
            version: "v1".into(),
            cluster: "Kubernetes".into(),
        }),
    };
    Endpoints(vec![
        one("127.64.3.2:9080", 0, "r/z/s"),
        one("127.64.4.2:9080", 0, "r/z"),
        one("[::1]:9080", 1, ""),
        one("127.64.5.2:9080", 0, "r/z/s"),
    ])
}

#[test]
fn clusters() {
    let mut all = vec![cluster("outbound|9080||reviews.default.svc.cluster.local")];
    all.push(Cluster {
        discovery: Discovery::Static(endpoints()),
        balancer: Balancer::Maglev { table_size: 65537 },
        protocol: UpstreamProtocol::Http2,
        limits: Limits {
            max_connections: 1,
            max_pending: 0,
            max_requests: 7,
            max_retries: 2,
        },
        outlier: Some(OutlierDetection {
            consecutive_5xx: 0,
            consecutive_gateway_errors: 3,
            consecutive_local_origin: 4,
            split_local_origin: true,
            interval: Duration::from_secs(1),
            base_ejection: Duration::from_secs(180),
            max_ejection_percent: 100,
        }),
        transport: Transport::Auto(Box::new(upstream_tls())),
        max_requests_per_connection: Some(10),
        idle_timeout: None,
        service: Some(ServiceName {
            host: "reviews.default.svc.cluster.local".into(),
            name: "reviews".into(),
            namespace: "default".into(),
        }),
        bind: Some("127.0.0.6".parse().unwrap()),
        panic_threshold_percent: 30,
        ..cluster("a")
    });
    all.push(Cluster {
        discovery: Discovery::StrictDns(vec![("a.example".into(), 80), ("b.example".into(), 81)]),
        balancer: Balancer::RingHash { minimum_ring_size: 9 },
        protocol: UpstreamProtocol::UseDownstream,
        transport: Transport::Tls(Box::new(UpstreamTls {
            sni: None,
            validation: PeerValidation {
                roots: RootSource::File("/ca".into()),
                subject_alt_names: vec!["a.example".into()],
            },
            certificate: CertificateSource::Secret("kubernetes://x".into()),
            alpn: Vec::new(),
        })),
        ..cluster("b")
    });
    all.push(Cluster {
        discovery: Discovery::OriginalDestination,
        balancer: Balancer::Passthrough,
        idle_timeout: None,
        ..cluster("PassthroughCluster")
    });
    all.push(Cluster {
        discovery: Discovery::LogicalDns("a".into(), 1),
        balancer: Balancer::Random,
        protocol: UpstreamProtocol::Http1,
        ..cluster("c")
    });
    all.push(Cluster {
        discovery: Discovery::Eds("other".into()),
        balancer: Balancer::RoundRobin,
        ..cluster("BlackHoleCluster")
    });
    for it in all {
        assert_eq!(decode::cluster(&encode::cluster(&it)).unwrap(), it);
    }
}

#[test]
fn endpoints_keep_their_order_and_facts() {
    let it = endpoints();
    let (name, got) = decode::endpoints(&encode::endpoints("c", &it)).unwrap();
    assert_eq!((name.as_str(), got), ("c", it));
}

fn http(routes: RouteSource) -> HttpConnection {
    HttpConnection {
        stat_prefix: "outbound_0.0.0.0_9080".into(),
        routes,
        codec: Codec::Auto,
        server_name: None,
        server_name_if_absent: false,
        use_remote_address: false,
        trusted_hops: 1,
        forward_client_cert: ForwardClientCert::AppendForward,
        accept_http_10: true,
        normalize_path: true,
        merge_slashes: true,
        preserve_external_request_id: true,
        generate_request_id: true,
        stream_idle_timeout: None,
        request_headers_timeout: Some(Duration::from_secs(10)),
        idle_timeout: None,
        max_request_headers_kib: 60,
        max_headers_count: 100,
        access_logs: vec![
            AccessLog {
                path: "/dev/stdout".into(),
                format: AccessLogFormat::IstioJson,
                filter: Some(mesh_model::expression::Expression::new("response.code >= 400").unwrap()),
            },
            AccessLog {
                path: "/tmp/x".into(),
                format: AccessLogFormat::IstioText,
                filter: None,
            },
            AccessLog {
                path: "/tmp/y".into(),
                format: AccessLogFormat::Json(vec![("a".into(), "%PROTOCOL%".into())]),
                filter: None,
            },
        ],
        tracing: Some(Tracing {
            sampling_percent: 1.5,
            collector_cluster: Some("jaeger".into()),
            max_path_tag: 256,
            custom_tags: vec![
                CustomTag {
                    name: "a".into(),
                    value: TagSource::Literal("b".into()),
                },
                CustomTag {
                    name: "c".into(),
                    value: TagSource::Header {
                        name: "x-d".into(),
                        default: "e".into(),
                    },
                },
                CustomTag {
                    name: "f".into(),
                    value: TagSource::Environment {
                        name: "G".into(),
                        default: String::new(),
                    },
                },
            ],
        }),
        scheme_from_transport: false,
        metrics: vec![MetricRule {
            metric: "REQUEST_COUNT".into(),
            disabled: Some(true),
            remove: vec!["a".into()],
            set: vec![("b".into(), "c".into())],
        }],
        external: external(),
        tokens: Some(Box::new(tokens())),
        policies: policies(),
    }
}

fn tokens() -> TokenRules {
    TokenRules {
        rules: vec![TokenRule {
            name: "origins-0".into(),
            issuer: "https://issuer".into(),
            audiences: vec!["shop".into()],
            jwks: "{\"keys\":[]}".into(),
            headers: vec![("authorization".into(), "Bearer ".into())],
            parameters: vec!["access_token".into()],
            cookies: vec!["token".into()],
            forward: true,
            payload_header: Some("x-payload".into()),
            claim_headers: vec![("x-sub".into(), "sub".into())],
            space_delimited: vec!["groups".into()],
            clock_skew: Duration::from_secs(60),
        }],
    }
}

fn policies() -> Policies {
    let text = |t: &str| StringMatch::Prefix(t.into());
    let everything = PolicyRule {
        name: "ns[default]-policy[p]-rule[0]".into(),
        permissions: vec![
            Check::Any,
            Check::All(vec![
                Check::Path(text("/a")),
                Check::DestinationIp("10.0.0.0/8".parse().unwrap()),
                Check::DestinationPort(9080),
                Check::ServerName(StringMatch::Exact("x".into())),
            ]),
            Check::Header(HeaderMatch {
                name: ":method".into(),
                check: HeaderCheck::Value(StringMatch::Exact("GET".into())),
                invert: false,
                missing_is_empty: false,
            }),
        ],
        principals: vec![
            Check::OneOf(vec![
                Check::Principal(None),
                Check::Principal(Some(text("spiffe://cluster.local/"))),
            ]),
            Check::Not(Box::new(Check::SourceIp("127.0.0.0/8".parse().unwrap()))),
            Check::RemoteIp("10.0.0.1/32".parse().unwrap()),
            Check::Claim {
                path: vec!["request.auth.claims".into(), "groups".into()],
                value: Some(text("a")),
            },
            Check::Claim {
                path: vec!["request.auth.principal".into()],
                value: None,
            },
        ],
    };
    Policies(vec![
        RuleSet {
            action: PolicyAction::Deny,
            enforced: None,
            shadow: Some(vec![everything.clone()]),
        },
        RuleSet {
            action: PolicyAction::Allow,
            enforced: Some(vec![everything]),
            shadow: None,
        },
        RuleSet {
            action: PolicyAction::Allow,
            enforced: Some(Vec::new()),
            shadow: None,
        },
    ])
}

#[test]
fn secrets() {
    for secret in [
        Secret::Certificate {
            chain: "C".into(),
            key: "K".into(),
        },
        Secret::Roots("R".into()),
    ] {
        let any = encode::secret("kubernetes://shop", &secret);
        assert_eq!(
            decode::secret(&any).unwrap(),
            ("kubernetes://shop".to_owned(), secret)
        );
    }
}

#[test]
fn listeners() {
    let chain = |name: &str, service| FilterChain {
        name: name.into(),
        matches: ChainMatch::default(),
        tls: None,
        service,
    };
    let outbound = RouteSource::ByAuthorityPort {
        tables: BTreeMap::from([(80, "80".into()), (9080, "9080".into())]),
        fallback: "http_proxy".into(),
        listeners: BTreeMap::from([("db:5432".into(), "127.64.3.20_5432".into())]),
    };
    let it = Listener {
        name: "outbound".into(),
        address: "127.64.3.3:15001".parse().unwrap(),
        direction: Direction::Outbound,
        chains: vec![chain("", ConnectionService::Http(Box::new(http(outbound))))],
        default_chain: None,
        detection_timeout: None,
        bind_to_port: true,
        capture: Capture::default(),
    };
    assert_eq!(decode::listener(&encode::listener(&it)).unwrap(), it);

    let mut mutual = chain(
        "mtls",
        ConnectionService::Http(Box::new(HttpConnection {
            server_name: Some("istio-envoy".into()),
            server_name_if_absent: true,
            use_remote_address: true,
            scheme_from_transport: false,
            ..http(RouteSource::Inline(Arc::new(table())))
        })),
    );
    mutual.matches = ChainMatch {
        tls: Some(true),
        application_protocols: vec!["istio".into()],
        server_names: vec!["*.example.com".into()],
        destination_port: Some(9080),
        destination_ranges: vec!["10.0.0.0/8".parse().unwrap()],
    };
    mutual.tls = Some(DownstreamTls {
        certificates: vec![CertificateSource::Workload],
        validation: PeerValidation {
            roots: RootSource::Mesh,
            subject_alt_names: Vec::new(),
        },
        require_client_certificate: true,
        alpn: vec!["h2".into(), "http/1.1".into()],
    });
    let it = Listener {
        name: "virtualInbound".into(),
        address: "127.64.3.2:9080".parse().unwrap(),
        direction: Direction::Inbound,
        chains: vec![mutual],
        default_chain: Some(chain(
            "tcp",
            ConnectionService::Tcp(TcpProxy {
                stat_prefix: "t".into(),
                clusters: vec![("a".into(), 1), ("b".into(), 2)],
                idle_timeout: None,
                max_duration: Some(Duration::from_secs(60)),
                hash_source_ip: true,
                origin: Some(RouteOrigin {
                    virtual_service: "default/db".into(),
                    route: String::new(),
                    match_name: String::new(),
                    revision: "r".into(),
                }),
                policies: policies(),
                access_logs: Vec::new(),
            }),
        )),
        detection_timeout: Some(Duration::from_secs(5)),
        bind_to_port: false,
        capture: Capture {
            original_destination: true,
            hand_off: true,
            transparent: true,
            names: Some(Arc::new(mesh_model::names::NameTable {
                hosts: BTreeMap::from([
                    (
                        "db.default.svc.cluster.local".into(),
                        vec!["10.96.0.1".parse().unwrap(), "fd00::1".parse().unwrap()],
                    ),
                    ("*.example.com".into(), vec!["240.240.0.1".parse().unwrap()]),
                ]),
            })),
        },
    };
    assert_eq!(decode::listener(&encode::listener(&it)).unwrap(), it);
}

#[test]
fn refusals_name_their_path() {
    #[track_caller]
    fn check<T: std::fmt::Debug>(got: Result<T, mesh_xds::Invalid>, path: &str) {
        assert_eq!(got.expect_err(path).path, path);
    }
    // A field newer than the table: number 1000 of a virtual host.
    let mut table_bytes = encode::route_table(&table());
    let mut message =
        envoy_types::pb::envoy::config::route::v3::RouteConfiguration::decode(table_bytes.value.as_slice())
            .unwrap();
    message.virtual_hosts[1].rate_limits.push(Default::default());
    table_bytes.value = message.encode_to_vec();
    check(
        decode::route_table(&table_bytes),
        "RouteConfiguration(9080).virtual_hosts[1].rate_limits",
    );
    let mut strange = encode::cluster(&cluster("c"));
    strange.value.extend([0xc2, 0x3e, 0x00]);
    check(decode::cluster(&strange), "Cluster(c).<field number 1000>");

    message.virtual_hosts[1].rate_limits.clear();
    message.virtual_hosts[1].domains = vec!["10.0.0.1:99".into()];
    table_bytes.value = message.encode_to_vec();
    check(
        decode::route_table(&table_bytes),
        "RouteConfiguration(9080).virtual_hosts[1].domains[0]",
    );
    check(
        decode::listener(&Any {
            type_url: mesh_xds::TYPE_CLUSTER.into(),
            value: Vec::new(),
        }),
        "type_url",
    );
}

#[test]
fn an_unknown_filter_is_refused_and_istios_own_are_native() {
    use envoy_types::pb::envoy::config::listener::v3 as l;
    let it = Listener {
        name: "x".into(),
        address: "127.0.0.1:80".parse().unwrap(),
        direction: Direction::Inbound,
        chains: vec![FilterChain {
            name: String::new(),
            matches: ChainMatch::default(),
            tls: None,
            service: ConnectionService::Tcp(TcpProxy {
                stat_prefix: "t".into(),
                clusters: vec![("a".into(), 1)],
                idle_timeout: None,
                max_duration: Some(Duration::from_secs(60)),
                hash_source_ip: true,
                origin: Some(RouteOrigin {
                    virtual_service: "default/db".into(),
                    route: String::new(),
                    match_name: String::new(),
                    revision: "r".into(),
                }),
                policies: policies(),
                access_logs: Vec::new(),
            }),
        }],
        default_chain: None,
        detection_timeout: None,
        bind_to_port: true,
        capture: Capture::default(),
    };
    let with = |name: &str| {
        let mut any = encode::listener(&it);
        let mut message = l::Listener::decode(any.value.as_slice()).unwrap();
        message.filter_chains[0].filters.insert(
            0,
            l::Filter {
                name: name.into(),
                config_type: Some(l::filter::ConfigType::TypedConfig(Any {
                    type_url: "type.googleapis.com/x.Y".into(),
                    value: Vec::new(),
                })),
            },
        );
        any.value = message.encode_to_vec();
        any
    };
    let refused = decode::listener(&with("envoy.filters.network.rbac")).unwrap_err();
    assert_eq!(refused.path, "Listener(x).filter_chains[0].filters[0]");
    assert!(refused.reason.contains("rbac"), "{refused}");
    assert_eq!(decode::listener(&with("istio.stats")).unwrap(), it);
    assert!(!decode::ignored(&with("istio.stats")).is_empty());
}

#[test]
fn resources_print_as_envoys_json() {
    let descriptors = mesh_xds::json::Descriptors::load().unwrap();
    let json = descriptors.any_to_json(&encode::cluster(&cluster("c"))).unwrap();
    assert_eq!(json["@type"], mesh_xds::TYPE_CLUSTER);
    assert_eq!(
        json["eds_cluster_config"]["eds_config"]["resource_api_version"],
        "V3"
    );
    assert_eq!(json["connect_timeout"], "10s");
    let json = descriptors.any_to_json(&encode::route_table(&table())).unwrap();
    let route = &json["virtual_hosts"][0]["routes"][0];
    assert_eq!(
        route["metadata"]["filter_metadata"]["sightline"]["virtual_service"],
        "default/reviews"
    );
    assert_eq!(
        route["typed_per_filter_config"]["envoy.filters.http.fault"]["abort"]["http_status"],
        418
    );
}

fn external() -> Vec<mesh_model::authorization::External> {
    use mesh_model::authorization::{CheckBody, CheckProtocol, External, HttpCheck};
    let grpc = External {
        provider: "opa".into(),
        when: None,
        cluster: "outbound|9191||opa.app.svc.cluster.local".into(),
        protocol: CheckProtocol::Grpc {
            authority: "opa.app.svc.cluster.local".into(),
        },
        timeout: Duration::from_millis(500),
        fail_open: true,
        status_on_error: 503,
        body: Some(CheckBody {
            max_bytes: 1024,
            allow_partial: true,
            as_bytes: true,
        }),
        clear_route_cache: true,
    };
    let http = External {
        provider: "oauth".into(),
        when: Some(vec![mesh_model::authorization::PolicyRule {
            name: "istio-ext-authz-oauth-ns[app]-policy[p]-rule[0]".into(),
            permissions: vec![mesh_model::authorization::Check::Any],
            principals: vec![mesh_model::authorization::Check::Any],
        }]),
        protocol: CheckProtocol::Http(Box::new(HttpCheck {
            path_prefix: "/auth".into(),
            shown: vec![
                StringMatch::Exact("cookie".into()),
                StringMatch::Prefix("x-a-".into()),
            ],
            add: vec![("x-b".into(), "c".into())],
            to_upstream: vec![StringMatch::Suffix("-user".into())],
            to_client_on_deny: vec![StringMatch::Exact("x-why".into())],
            to_client_on_allow: vec![StringMatch::Exact("set-cookie".into())],
        })),
        body: None,
        fail_open: false,
        clear_route_cache: false,
        ..grpc.clone()
    };
    vec![grpc, http]
}
