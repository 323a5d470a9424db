//! Acknowledge, refuse, come back, restart without a control plane.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::Stream;
use mesh_model::cluster::{
    Balancer, Cluster, Discovery, Endpoint, Endpoints, Limits, Transport, UpstreamProtocol,
};
use mesh_model::listener::{
    Capture, ChainMatch, Codec, ConnectionService, Direction, FilterChain, ForwardClientCert, HttpConnection,
    Listener, RouteSource,
};
use mesh_model::route::{DirectResponse, Domain, RouteTable, VirtualHost};
use mesh_model::snapshot::Snapshot;
use mesh_xds::discovery::{
    AggregatedDiscoveryService, AggregatedDiscoveryServiceServer, DeltaDiscoveryRequest,
    DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse, Node, Resource,
};
use mesh_xds::{Any, TYPE_CLUSTER, TYPE_ENDPOINTS, TYPE_LISTENER, TYPE_ROUTE, encode};
use sightline_proxy::discovery::{Client, Shown, Target};
use sightline_proxy::runtime::Refused;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming};

use super::{plain, soon};

struct Session {
    requests: Streaming<DeltaDiscoveryRequest>,
    responses: mpsc::Sender<Result<DeltaDiscoveryResponse, Status>>,
    nonce: u32,
}

impl Session {
    async fn request(&mut self) -> DeltaDiscoveryRequest {
        soon("a request", self.requests.message()).await.unwrap().unwrap()
    }

    async fn respond(
        &mut self,
        type_url: &str,
        revision: &str,
        resources: Vec<(&str, Any)>,
        removed: &[&str],
    ) {
        self.nonce += 1;
        let response = DeltaDiscoveryResponse {
            system_version_info: revision.into(),
            type_url: type_url.into(),
            nonce: self.nonce.to_string(),
            removed_resources: removed.iter().map(|r| (*r).to_owned()).collect(),
            resources: resources
                .into_iter()
                .map(|(name, any)| Resource {
                    name: name.into(),
                    version: format!("{revision}/{name}"),
                    resource: Some(any),
                    ..Resource::default()
                })
                .collect(),
            ..DeltaDiscoveryResponse::default()
        };
        self.responses.send(Ok(response)).await.unwrap();
    }

    /// The answer to the last response; its error, if it is a refusal.
    async fn answer(&mut self) -> Option<String> {
        let request = self.request().await;
        assert_eq!(request.response_nonce, self.nonce.to_string());
        request.error_detail.map(|e| e.message)
    }
}

struct Fake(mpsc::Sender<Session>);

#[tonic::async_trait]
impl AggregatedDiscoveryService for Fake {
    type StreamAggregatedResourcesStream =
        Pin<Box<dyn Stream<Item = Result<DiscoveryResponse, Status>> + Send>>;
    type DeltaAggregatedResourcesStream = ReceiverStream<Result<DeltaDiscoveryResponse, Status>>;

    async fn stream_aggregated_resources(
        &self,
        _: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Status> {
        Err(Status::unimplemented("delta only"))
    }

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        let (responses, receiver) = mpsc::channel(8);
        let session = Session {
            requests: request.into_inner(),
            responses,
            nonce: 0,
        };
        self.0.send(session).await.unwrap();
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

async fn control_plane() -> (u16, mpsc::Receiver<Session>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, sessions) = mpsc::channel(8);
    tokio::spawn(
        tonic::transport::Server::builder()
            .add_service(AggregatedDiscoveryServiceServer::new(Fake(sender)))
            .serve_with_incoming(TcpListenerStream::new(listener)),
    );
    (port, sessions)
}

/// Records what it is given; refuses clusters named `refuse-me`.
struct Recorder(mpsc::Sender<Arc<Snapshot>>);

impl Target for Recorder {
    fn apply(&self, snapshot: Arc<Snapshot>) -> Result<(), Vec<Refused>> {
        if snapshot.clusters.contains_key("refuse-me") {
            return Err(vec![Refused {
                resource: "cluster refuse-me".into(),
                reason: "as its name says".into(),
            }]);
        }
        self.0.try_send(snapshot).unwrap();
        Ok(())
    }
}

fn client(
    port: u16,
    state_dir: Option<&std::path::Path>,
) -> (Client<Recorder>, mpsc::Receiver<Arc<Snapshot>>, Shown) {
    let (sender, applied) = mpsc::channel(64);
    let node = Node {
        id: "sidecar~127.0.0.2~a.b~b.svc.cluster.local".into(),
        ..Node::default()
    };
    let client = Client::new(
        plain(port),
        node,
        Arc::new(Recorder(sender)),
        Snapshot::default(),
        state_dir.map(std::path::Path::to_path_buf),
    );
    let shown = client.shown.clone();
    (client, applied, shown)
}

fn cluster(name: &str) -> Any {
    encode::cluster(&Cluster {
        name: name.into(),
        discovery: Discovery::Eds(name.into()),
        balancer: Balancer::LeastRequest,
        connect_timeout: Duration::from_secs(1),
        protocol: UpstreamProtocol::Http1,
        limits: Limits::default(),
        outlier: None,
        transport: Transport::Plain,
        max_requests_per_connection: None,
        idle_timeout: None,
        service: None,
        bind: None,
        panic_threshold_percent: 0,
    })
}

fn endpoints(name: &str, port: u16) -> Any {
    let endpoint = Endpoint {
        address: ([127, 0, 0, 1], port).into(),
        healthy: true,
        weight: 1,
        priority: 0,
        locality: String::new(),
        mutual_tls: false,
        workload: None,
    };
    encode::endpoints(name, &Endpoints(vec![endpoint]))
}

fn listener() -> Any {
    let http = HttpConnection {
        stat_prefix: "t".into(),
        routes: RouteSource::Named("80".into()),
        codec: Codec::Auto,
        server_name: None,
        server_name_if_absent: false,
        use_remote_address: false,
        trusted_hops: 0,
        forward_client_cert: ForwardClientCert::Sanitize,
        accept_http_10: false,
        normalize_path: true,
        merge_slashes: false,
        preserve_external_request_id: false,
        generate_request_id: true,
        stream_idle_timeout: None,
        request_headers_timeout: None,
        idle_timeout: None,
        max_request_headers_kib: 60,
        max_headers_count: 100,
        access_logs: Vec::new(),
        tracing: None,
        scheme_from_transport: false,
        metrics: Vec::new(),
        external: Vec::new(),
        tokens: None,
        policies: mesh_model::authorization::Policies::default(),
    };
    encode::listener(&Listener {
        name: "l".into(),
        address: "127.0.0.1:9".parse().unwrap(),
        direction: Direction::Outbound,
        chains: vec![FilterChain {
            name: String::new(),
            matches: ChainMatch::default(),
            tls: None,
            service: ConnectionService::Http(Box::new(http)),
        }],
        default_chain: None,
        detection_timeout: None,
        bind_to_port: true,
        capture: Capture::default(),
    })
}

fn routes(status: u16) -> Any {
    let route = mesh_model::route::Route {
        name: String::new(),
        matches: mesh_model::route::RouteMatch {
            path: mesh_model::route::PathMatch::Prefix("/".into()),
            path_ignore_case: false,
            headers: Vec::new(),
            query: Vec::new(),
            claims: Vec::new(),
        },
        action: mesh_model::route::Action::Respond(DirectResponse {
            status,
            body: Vec::new(),
        }),
        request_headers: Default::default(),
        response_headers: Default::default(),
        fault: None,
        cors: None,
        operation: None,
        origin: None,
    };
    encode::route_table(&RouteTable {
        name: "80".into(),
        virtual_hosts: vec![Arc::new(VirtualHost {
            name: "v".into(),
            domains: vec![Domain::Any],
            routes: vec![Arc::new(route)],
            ..VirtualHost::default()
        })],
    })
}

/// Plays the first push; answers the snapshot that it makes.
async fn first_push(session: &mut Session, applied: &mut mpsc::Receiver<Arc<Snapshot>>) -> Arc<Snapshot> {
    let first = session.request().await;
    assert_eq!(first.type_url, TYPE_CLUSTER);
    assert!(first.node.is_some_and(|n| n.id.starts_with("sidecar~")));
    assert!(first.resource_names_subscribe.is_empty(), "wildcard");
    let second = session.request().await;
    assert_eq!(second.type_url, TYPE_LISTENER);
    assert!(second.node.is_none(), "the node is sent once");

    session
        .respond(TYPE_CLUSTER, "r1", vec![("c", cluster("c"))], &[])
        .await;
    assert_eq!(session.answer().await, None);
    let subscribe = session.request().await;
    assert_eq!(
        (subscribe.type_url.as_str(), &*subscribe.resource_names_subscribe),
        (TYPE_ENDPOINTS, &["c".to_owned()][..])
    );
    session
        .respond(TYPE_LISTENER, "r1", vec![("l", listener())], &[])
        .await;
    assert_eq!(session.answer().await, None);
    let subscribe = session.request().await;
    assert_eq!(
        (subscribe.type_url.as_str(), &*subscribe.resource_names_subscribe),
        (TYPE_ROUTE, &["80".to_owned()][..])
    );
    session
        .respond(TYPE_ENDPOINTS, "r1", vec![("c", endpoints("c", 1))], &[])
        .await;
    assert_eq!(session.answer().await, None);
    assert!(
        applied.try_recv().is_err(),
        "nothing is applied before it is whole"
    );
    session
        .respond(TYPE_ROUTE, "r1", vec![("80", routes(200))], &[])
        .await;
    assert_eq!(session.answer().await, None);
    soon("the first configuration", applied.recv()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whole_configurations_are_applied_and_bad_ones_refused_by_path() {
    let (port, mut sessions) = control_plane().await;
    let (client, mut applied, shown) = client(port, None);
    tokio::spawn(client.run());
    let mut session = soon("a stream", sessions.recv()).await.unwrap();
    let snapshot = first_push(&mut session, &mut applied).await;
    assert_eq!(snapshot.revision, "r1");
    assert_eq!(snapshot.endpoints["c"].0.len(), 1);
    assert_eq!(snapshot.routes["80"].virtual_hosts.len(), 1);

    // Two bad resources and a good one: all bad ones are named, nothing is taken.
    let bad = |name: &str| {
        let mut any = cluster(name);
        any.value.extend([0xc2, 0x3e, 0x00]);
        any
    };
    session
        .respond(
            TYPE_CLUSTER,
            "r2",
            vec![("x", bad("x")), ("y", bad("y")), ("z", cluster("z"))],
            &[],
        )
        .await;
    let refusal = session.answer().await.expect("a refusal");
    assert!(
        refusal.contains("Cluster(x).") && refusal.contains("Cluster(y)."),
        "{refusal}"
    );
    assert!(shown.get().refused.len() == 1 && shown.get().state.clusters.len() == 1);

    // What the data plane refuses is refused too, and the last good configuration stays.
    session
        .respond(TYPE_CLUSTER, "r3", vec![("refuse-me", cluster("refuse-me"))], &[])
        .await;
    // Its endpoints are needed first.
    assert_eq!(session.answer().await, None);
    let subscribe = session.request().await;
    assert_eq!(subscribe.resource_names_subscribe, ["refuse-me"]);
    session
        .respond(
            TYPE_ENDPOINTS,
            "r3",
            vec![("refuse-me", endpoints("refuse-me", 2))],
            &[],
        )
        .await;
    let refusal = session.answer().await.expect("a refusal");
    assert!(refusal.contains("as its name says"), "{refusal}");
    assert!(applied.try_recv().is_err());

    // A removal makes it whole and good again; what nothing refers to is unsubscribed.
    session.respond(TYPE_CLUSTER, "r4", vec![], &["refuse-me"]).await;
    assert_eq!(session.answer().await, None);
    let unsubscribe = session.request().await;
    assert_eq!(unsubscribe.resource_names_unsubscribe, ["refuse-me"]);
    let snapshot = soon("r4", applied.recv()).await.unwrap();
    assert_eq!((snapshot.revision.as_str(), snapshot.clusters.len()), ("r4", 1));
    assert!(
        shown
            .get()
            .refused
            .contains_key(&sightline_proxy::discovery::state::Kind::Endpoints)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_comes_back_with_what_it_has_and_serves_after_a_restart_without_control_plane() {
    let folder = tempfile::tempdir().unwrap();
    let (port, mut sessions) = control_plane().await;
    let (first, mut applied, shown) = client(port, Some(folder.path()));
    let running = tokio::spawn(first.run());
    let mut session = soon("a stream", sessions.recv()).await.unwrap();
    first_push(&mut session, &mut applied).await;
    assert_eq!(shown.age(SystemTime::now()), Some(Duration::ZERO));

    drop(session);
    let mut session = soon("a new stream", sessions.recv()).await.unwrap();
    let expected = [
        (TYPE_CLUSTER, "c", vec![]),
        (TYPE_ENDPOINTS, "c", vec!["c".to_owned()]),
        (TYPE_LISTENER, "l", vec![]),
        (TYPE_ROUTE, "80", vec!["80".to_owned()]),
    ];
    for (type_url, name, subscribed) in expected {
        let request = session.request().await;
        assert_eq!(request.type_url, type_url);
        assert_eq!(request.initial_resource_versions[name], format!("r1/{name}"));
        assert_eq!(request.resource_names_subscribe, subscribed);
    }
    running.abort();
    drop(session);

    // Another process of the same node, and nobody listens at that port.
    let saved = folder.path().join("configuration.pb");
    soon("the saved file", async {
        while !saved.exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    let (mut second, mut applied, shown) = client(1, Some(folder.path()));
    second.restore().await;
    let snapshot = applied.try_recv().expect("the saved configuration");
    assert_eq!(
        (snapshot.revision.as_str(), snapshot.endpoints["c"].0.len()),
        ("r1", 1)
    );
    assert!(shown.get().from_disk);
    let later = SystemTime::now() + Duration::from_secs(60);
    assert!(
        shown.age(later).unwrap() >= Duration::from_secs(59),
        "says how old it is"
    );
}
