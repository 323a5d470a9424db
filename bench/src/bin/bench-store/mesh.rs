//! A mesh that reports: workloads, edges whose traffic follows Zipf's law, latencies that spread.

use mesh_model::edge::{Batch, Reporter, RequestProtocol, SeriesDelta, SeriesKey, WindowDelta};
use mesh_model::flags::ResponseFlags;
use mesh_model::route::RouteOrigin;
use mesh_model::workload::{ServiceName, Workload};

/// Requests per second of the whole mesh.
const RATE: f64 = 10_000.0;
const WORKLOADS: usize = 1000;

/// xorshift64*: the same mesh in every run.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// About normal: the sum of twelve uniform ones.
    pub(crate) fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.unit()).sum::<f64>() - 6.0
    }
}

fn workload(number: usize) -> Workload {
    Workload {
        namespace: format!("team-{}", number % 40),
        name: format!("service-{number}-v1"),
        app: format!("service-{number}"),
        version: "v1".into(),
        cluster: "Kubernetes".into(),
    }
}

/// The series of an edge.
pub(crate) fn key(source: usize, target: usize, reporter: Reporter, response_code: u16) -> SeriesKey {
    let destination = workload(target);
    let spiffe = |w: &Workload| format!("spiffe://cluster.local/ns/{}/sa/{}", w.namespace, w.app);
    let source = workload(source);
    SeriesKey {
        reporter,
        source_principal: spiffe(&source),
        source,
        service: ServiceName {
            host: format!("{}.{}.svc.cluster.local", destination.app, destination.namespace),
            name: destination.app.clone(),
            namespace: destination.namespace.clone(),
        },
        destination_principal: spiffe(&destination),
        protocol: RequestProtocol::Http,
        response_code,
        grpc_status: None,
        flags: ResponseFlags::NONE,
        mutual_tls: true,
        origin: RouteOrigin {
            virtual_service: format!("{}/{}", destination.namespace, destination.app),
            route: "main".into(),
            match_name: String::new(),
            revision: "4711".into(),
        },
        destination,
    }
}

/// One direction of a pair of workloads, with its rate.
struct Edge {
    source: usize,
    keys: [SeriesKey; 2],
    failing: SeriesKey,
    rate: f64,
    median_ms: f64,
}

pub(crate) struct Mesh {
    edges: Vec<Vec<Edge>>,
    random: Random,
    sequence: u64,
}

impl Mesh {
    pub(crate) fn new(edges: usize) -> Self {
        let mut random = Random(0x1234_5678_9abc_def1);
        let harmonic: f64 = (1..=edges).map(|rank| 1.0 / rank as f64).sum();
        let mut by_source: Vec<Vec<Edge>> = (0..WORKLOADS).map(|_| Vec::new()).collect();
        for number in 0..edges {
            // Every pair once: source rises, the step to the target grows with each round.
            let source = number * 7919 % WORKLOADS;
            let target = (source + 1 + number / WORKLOADS * 13) % WORKLOADS;
            by_source[source].push(Edge {
                source,
                keys: [
                    key(source, target, Reporter::Source, 200),
                    key(source, target, Reporter::Destination, 200),
                ],
                failing: key(source, target, Reporter::Source, 503),
                rate: RATE / harmonic / (number + 1) as f64,
                median_ms: 2.0 + 40.0 * random.unit(),
            });
        }
        Self {
            edges: by_source,
            random,
            sequence: 0,
        }
    }

    /// What all proxies report for a window: one batch each.
    pub(crate) fn window(&mut self, window: u64) -> Vec<Batch> {
        self.sequence += 1;
        let (sequence, random) = (self.sequence, &mut self.random);
        self.edges
            .iter()
            .filter_map(|edges| {
                let mut series = Vec::new();
                let source = edges.first()?.source;
                for edge in edges {
                    let expected = edge.rate * 10.0;
                    let requests = expected.floor() as u64 + u64::from(random.unit() < expected.fract());
                    if requests == 0 {
                        continue;
                    }
                    let delta = delta(random, requests, edge.median_ms);
                    series.push((edge.keys[0].clone(), delta.clone()));
                    series.push((edge.keys[1].clone(), delta));
                    if requests >= 20 {
                        let failed = self::delta(random, requests / 20, edge.median_ms);
                        series.push((edge.failing.clone(), failed));
                    }
                }
                Some(Batch {
                    proxy: format!("sidecar~10.0.{}.{}~service-{source}", source / 250, source % 250),
                    epoch: 1,
                    sequence,
                    cut_at_ms: (window + 10) * 1000,
                    windows: vec![WindowDelta { window, series }],
                    overflowed: 0,
                })
            })
            .collect()
    }
}

fn delta(random: &mut Random, requests: u64, median_ms: f64) -> SeriesDelta {
    let mut delta = SeriesDelta {
        requests,
        attempts: requests,
        request_bytes: requests * 300,
        response_bytes: requests * (500 + random.below(4000)),
        ..SeriesDelta::default()
    };
    for _ in 0..requests {
        delta.duration.record(median_ms * (0.5 * random.normal()).exp());
    }
    delta
}
