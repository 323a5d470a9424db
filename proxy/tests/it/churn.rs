//! Configuration that changes without end, and certificates too, while clients ask: no request may fail.
//! `SIGHTLINE_LONG` asks for the long runs, whose figures are in docs/performance.md.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use mesh_model::cluster::UpstreamProtocol;
use mesh_model::listener::{Direction, RouteSource};
use mesh_model::route::WeightedDestination;
use mesh_model::snapshot::Snapshot;
use mesh_tls::CertificateAuthority;
use sightline_proxy::runtime::NodeKind;
use sightline_proxy::secure::NoTls;

use crate::harness::{
    Recorder, cluster, connect, endpoint, forward, free_address, http, listener, ok, prefix, read_answer,
    route, snapshot, start, table, to,
};
use crate::mesh::{Contexts, pair_with};

/// How often, and the pause between two.
fn plan(short: (u32, u64), long: (u32, u64)) -> (u32, Duration) {
    let (times, pause) = if std::env::var_os("SIGHTLINE_LONG").is_some() {
        long
    } else {
        short
    };
    (times, Duration::from_millis(pause))
}

/// Asks on kept connections until told to stop, at most so many times a second; requests sent, and those that failed.
fn ask(address: SocketAddr, host: &str, stop: &AtomicBool, sent: &AtomicU64, failed: &AtomicU64) {
    let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
    while !stop.load(Ordering::Relaxed) {
        let mut stream = connect(address);
        while !stop.load(Ordering::Relaxed) {
            stream.write_all(request.as_bytes()).unwrap();
            sent.fetch_add(1, Ordering::Relaxed);
            let answer = read_answer(&mut stream);
            if answer.status != 200 {
                eprintln!("failed: {answer:?}");
                failed.fetch_add(1, Ordering::Relaxed);
            }
            if answer.header("connection") == Some("close") {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Runs `churn` while three clients ask; how many requests there were.
fn under_load(what: &str, address: SocketAddr, host: &str, churn: impl FnOnce()) {
    let (stop, sent, failed) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| ask(address, host, &stop, &sent, &failed));
        }
        churn();
        stop.store(true, Ordering::Relaxed);
    });
    let (sent, failed) = (sent.into_inner(), failed.into_inner());
    eprintln!(
        "{what}: {sent} requests in {:.1} s, {failed} failed",
        began.elapsed().as_secs_f64()
    );
    assert!(sent > 100, "only {sent} requests");
    assert_eq!(failed, 0, "of {sent} requests");
}

fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// The n-th configuration: names, weights, endpoints, policies of connections and other listeners change.
fn configuration(n: u32, address: SocketAddr, others: &[SocketAddr], backends: &[SocketAddr; 2]) -> Snapshot {
    let weighted = |cluster: &str, weight| WeightedDestination {
        cluster: cluster.into(),
        weight,
        ..WeightedDestination::default()
    };
    let mut onward = to("one");
    if n.is_multiple_of(2) {
        onward.destinations = vec![weighted("one", 1 + n % 7), weighted("two", 1 + n % 5)];
    }
    let mut routes = vec![route(&format!("rule-{n}"), prefix("/"), forward(onward))];
    if n.is_multiple_of(3) {
        routes.insert(0, route("never", prefix("/never"), forward(to("one"))));
    }
    let to_all = http(RouteSource::Inline(Arc::new(table(routes))));
    let mut listeners = vec![listener(address, Direction::Outbound, to_all.clone())];
    let other = others[usize::try_from(n).unwrap() % others.len()];
    listeners.push(listener(other, Direction::Outbound, to_all));
    let all = backends.map(|at| endpoint(at, "web-v1"));
    let mut one = cluster(
        "one",
        if n % 3 == 1 {
            all.to_vec()
        } else {
            vec![all[0].clone()]
        },
    );
    one.connect_timeout = Duration::from_millis(2000 + u64::from(n % 4));
    let mut made = snapshot(listeners, vec![one, cluster("two", vec![all[1].clone()])]);
    made.revision = n.to_string();
    made
}

#[test]
fn no_request_fails_while_the_configuration_changes() {
    let (changes, pause) = plan((150, 2), (10_000, 58));
    let backends = [Recorder::new(|_| ok("one")), Recorder::new(|_| ok("two"))];
    let at = [backends[0].address, backends[1].address];
    let address = free_address();
    let others: Vec<SocketAddr> = (0..3).map(|_| free_address()).collect();
    let runtime = start(NodeKind::Sidecar, "client-v1", Arc::new(NoTls));
    let apply = |n| {
        let began = Instant::now();
        runtime
            .apply(Arc::new(configuration(n, address, &others, &at)))
            .unwrap();
        began.elapsed()
    };
    apply(0);
    let before = open_descriptors();
    let mut slowest = Duration::ZERO;
    under_load(&format!("{changes} changes"), address, "web", || {
        for n in 1..=changes {
            slowest = slowest.max(apply(n));
            std::thread::sleep(pause);
        }
    });
    eprintln!(
        "slowest change {slowest:?}; descriptors {before} before, {} after",
        open_descriptors()
    );
    assert_eq!(runtime.revision().as_deref(), Some(changes.to_string().as_str()));
}

#[test]
fn no_request_fails_while_certificates_rotate() {
    let (rotations, pause) = plan((20, 10), (1_000, 100));
    let authority = CertificateAuthority::create("cluster.local", SystemTime::now()).unwrap();
    let server = Contexts::new(&authority, "reviews");
    let client = Contexts::new(&authority, "productpage");
    let pair = pair_with(UpstreamProtocol::Http2, Arc::clone(&server), Arc::clone(&client));
    under_load(
        &format!("{rotations} rotations"),
        pair.outbound,
        "reviews:9080",
        || {
            for _ in 0..rotations {
                server.rotate(&authority, "reviews");
                pair.server.refresh_tls();
                client.rotate(&authority, "productpage");
                pair.client.refresh_tls();
                std::thread::sleep(pause);
            }
        },
    );
}
