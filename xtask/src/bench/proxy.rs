//! The proxy beside its peers: CPU per request, latency, memory and start, on the same bootstrap files.

pub(crate) mod instructions;
mod memory;
mod rivals;
mod round;
mod shapes;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::peers::{Peer, envoy};
use super::{Options, conditions, http};
use round::{HEAD, Round, Scenario, Target, round, rows, tls_args};
use shapes::{Places, Shape, bootstrap};

const BACKEND: &str = "127.0.0.1:19001";
const COLLECTOR: &str = "127.0.0.1:19009";
const SINK: &str = "127.0.0.1:19010";
const SINK_COUNT: &str = "127.0.0.1:19011";

/// What a mesh request looks like.
const MESH: [&str; 10] = [
    "--host",
    "svc7.mesh.local",
    "--header",
    "x-forwarded-client-cert: none",
    "--header",
    "accept-encoding: gzip",
    "--header",
    "cookie: session=0123456789abcdef; theme=dark",
    "--path",
    "/api/items/42",
];

const fn scenario(
    name: &'static str,
    real_time: bool,
    counted: u64,
    args: &'static [&'static str],
) -> Scenario {
    Scenario {
        name,
        real_time,
        args,
        counted,
    }
}

/// A shape, who takes part, and what is asked of it.
struct Group {
    title: &'static str,
    shape: Shape,
    scenarios: &'static [Scenario],
}

const GROUPS: &[Group] = &[
    Group {
        title: "Plain: one HTTP/1 route",
        shape: Shape::Plain,
        scenarios: &[
            scenario("saturated, 64 connections", false, 1, &["--conns", "64"]),
            scenario("2000 rps", true, 1, &["--conns", "64", "--rate", "2000"]),
            scenario("5000 rps", true, 1, &["--conns", "64", "--rate", "5000"]),
            scenario(
                "new connection per request",
                false,
                1,
                &["--conns", "32", "--close"],
            ),
            scenario(
                "64 KiB bodies",
                false,
                1,
                &["--conns", "32", "--path", "/size/65536"],
            ),
            scenario(
                "1 MiB bodies",
                false,
                1,
                &["--conns", "16", "--path", "/size/1048576"],
            ),
        ],
    },
    Group {
        title: "Mesh: 50 hosts × 10 routes, weights, JSON log, 1 % tracing, retries, breakers",
        shape: Shape::Mesh,
        scenarios: &[
            scenario("saturated, 64 connections", false, 1, &["--conns", "64"]),
            scenario("2000 rps", true, 1, &["--conns", "64", "--rate", "2000"]),
            scenario("5000 rps", true, 1, &["--conns", "64", "--rate", "5000"]),
        ],
    },
    Group {
        title: "Pair: HTTP/1 in, HTTP/2 over mutual TLS between the two, mesh shape on both",
        shape: Shape::PairClient,
        scenarios: &[
            scenario("saturated, 64 connections", false, 2, &["--conns", "64"]),
            scenario("2000 rps", true, 2, &["--conns", "64", "--rate", "2000"]),
        ],
    },
    Group {
        title: "TLS 1.3 in front of the backend",
        shape: Shape::Tls,
        scenarios: &[
            scenario("saturated, 64 connections", false, 1, &["--conns", "64"]),
            scenario("handshakes", false, 0, &["--conns", "32", "--hs"]),
        ],
    },
    Group {
        title: "TCP proxy",
        shape: Shape::Tcp,
        scenarios: &[
            scenario("small messages, 64 connections", false, 0, &["--conns", "64"]),
            scenario(
                "1 MiB messages",
                false,
                0,
                &["--conns", "16", "--path", "/size/1048576"],
            ),
        ],
    },
];

/// Everything that the rounds need.
pub(super) struct Rig {
    bins: PathBuf,
    work: PathBuf,
    certificates: PathBuf,
    envoy: PathBuf,
}

/// Who runs a shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proxy {
    Envoy,
    Sightline,
}

impl Proxy {
    fn label(self) -> &'static str {
        match self {
            Self::Envoy => "Envoy",
            Self::Sightline => "Sightline",
        }
    }

    fn port(self) -> u16 {
        match self {
            Self::Envoy => 18080,
            Self::Sightline => 18180,
        }
    }
}

impl Rig {
    /// Without a peer to compare with.
    fn prepare_alone() -> Result<Self> {
        Self::with(PathBuf::new())
    }

    fn prepare(options: &Options) -> Result<Self> {
        Self::with(envoy(options.envoy.as_ref())?)
    }

    fn with(envoy: PathBuf) -> Result<Self> {
        let bins = build()?;
        let work = bins.join("bench-work");
        std::fs::create_dir_all(&work)?;
        let certificates = work.join("certificates");
        if !certificates.join("client.pem").exists() {
            make_certificates(&certificates)?;
        }
        Ok(Self {
            envoy,
            bins,
            work,
            certificates,
        })
    }

    fn binary(&self, name: &str) -> String {
        self.bins.join(name).display().to_string()
    }

    /// The command that runs `shape` on `port` with one worker; its configuration is written.
    fn command(&self, proxy: Proxy, shape: Shape, port: u16, backend: &str) -> Result<Vec<String>> {
        let log = self.work.join(format!("access-{port}.log"));
        let places = Places {
            port,
            backend,
            collector: COLLECTOR,
            certificates: &self.certificates,
            log: &log,
        };
        let file = self.work.join(format!("{shape:?}-{port}.json"));
        std::fs::write(&file, serde_json::to_string(&bootstrap(shape, &places))?)?;
        let config = file.display().to_string();
        Ok(match proxy {
            Proxy::Envoy => vec![
                self.envoy.display().to_string(),
                "-c".into(),
                config,
                "--concurrency".into(),
                "1".into(),
                "--base-id".into(),
                port.to_string(),
                "--log-level".into(),
                "error".into(),
                "--disable-hot-restart".into(),
            ],
            Proxy::Sightline => vec![
                self.binary("sightline-proxy"),
                "-c".into(),
                config,
                "--concurrency".into(),
                "1".into(),
                "--telemetry-endpoint".into(),
                format!("http://{SINK}"),
            ],
        })
    }

    fn start(&self, proxy: Proxy, shape: Shape, port: u16, backend: &str) -> Result<Peer> {
        Peer::start(
            proxy.label(),
            &format!("127.0.0.1:{port}"),
            "0",
            &self.work.join(format!("{}-{port}.log", proxy.label())),
            &self.command(proxy, shape, port, backend)?,
        )
    }

    /// The processes of one target; the pair's server side is a second process.
    fn target(&self, proxy: Proxy, shape: Shape) -> Result<Target> {
        let port = proxy.port();
        let mut peers = Vec::new();
        let mut backend = BACKEND.to_owned();
        if shape == Shape::PairClient {
            let inner = port + 10;
            peers.push(self.start(proxy, Shape::PairServer, inner, BACKEND)?);
            backend = format!("127.0.0.1:{inner}");
        }
        peers.push(self.start(proxy, shape, port, &backend)?);
        Ok(Target {
            label: proxy.label(),
            address: format!("127.0.0.1:{port}"),
            peers,
        })
    }

    /// nginx and HAProxy in the plain shape.
    fn rivals(&self) -> Result<Vec<Target>> {
        let (nginx, haproxy) = (18280, 18380);
        let nginx_file = self.work.join("nginx.conf");
        std::fs::write(&nginx_file, rivals::nginx(nginx, BACKEND, &self.work))?;
        let haproxy_file = self.work.join("haproxy.cfg");
        std::fs::write(&haproxy_file, rivals::haproxy(haproxy, BACKEND))?;
        let start = |label: &'static str, port: u16, command: [&str; 4], config: &Path| {
            let mut command: Vec<String> = command
                .iter()
                .filter(|a| !a.is_empty())
                .map(ToString::to_string)
                .collect();
            command.push(config.display().to_string());
            let address = format!("127.0.0.1:{port}");
            let log = self.work.join(format!("{label}.log"));
            let peer = Peer::start(label, &address, "0", &log, &command)
                .map_err(|e| e.context(format!("{label}: install the package of that name")))?;
            Ok::<_, anyhow::Error>(Target {
                label,
                address,
                peers: vec![peer],
            })
        };
        Ok(vec![
            start("nginx", nginx, ["nginx", "-c", "", ""], &nginx_file)?,
            start("haproxy", haproxy, ["haproxy", "-db", "-f", ""], &haproxy_file)?,
        ])
    }
}

/// Runs every group and returns the Markdown section.
pub(super) fn measure(options: &Options) -> Result<String> {
    let rig = Rig::prepare(options)?;
    let backend = Peer::start(
        "backend",
        BACKEND,
        "1",
        &rig.work.join("backend.log"),
        &[rig.binary("bench-backend"), BACKEND.into()],
    )?;
    let collector = Peer::start(
        "collector",
        COLLECTOR,
        "1",
        &rig.work.join("collector.log"),
        &[rig.binary("bench-backend"), COLLECTOR.into()],
    )?;
    let _sink = Peer::start(
        "sink",
        SINK_COUNT,
        "1",
        &rig.work.join("sink.log"),
        &[rig.binary("bench-otlp-sink"), SINK.into()],
    )?;
    let mut report = String::from("## Proxy beside its peers\n\n");
    report.push_str(&conditions(&versions(&rig.envoy)));
    let _ = writeln!(
        report,
        "Both run the same bootstrap file with one worker on core 0; backend and generator share core 1. Ours pushes \
         telemetry (OTLP, every 250 ms: metrics, spans, kept requests) to a sink during every round; the run fails \
         unless the sink's count equals the generator's. {} interleaved rounds of {} s, medians. \"Added\" is latency \
         minus that of the backend without a proxy.\n",
        options.rounds, options.seconds
    );
    let _ = writeln!(
        report,
        "Load average of the machine at the start: {} (other work shares both cores when it is above 2; CPU time per \
         request stands, rates and latencies suffer, except those at a fixed rate, where proxies, backend and \
         generator run in real time (SCHED_FIFO)).\n",
        load_average()
    );
    let wanted = |group: &Group| {
        options.shape.is_empty()
            || options
                .shape
                .iter()
                .any(|s| format!("{:?}", group.shape).eq_ignore_ascii_case(s))
    };
    let mut answered = 0;
    for group in GROUPS.iter().filter(|g| wanted(g)) {
        report.push_str(&measure_group(
            &rig,
            group,
            options,
            &[&backend, &collector],
            &mut answered,
        )?);
    }
    if options.shape.is_empty() || options.shape.iter().any(|s| s == "memory") {
        report.push_str(&memory::measure(&rig, options)?);
    }
    Ok(report)
}

fn measure_group(
    rig: &Rig,
    group: &Group,
    options: &Options,
    helpers: &[&Peer],
    answered: &mut u64,
) -> Result<String> {
    let mut targets = vec![
        rig.target(Proxy::Envoy, group.shape)?,
        rig.target(Proxy::Sightline, group.shape)?,
    ];
    if group.shape == Shape::Plain {
        targets.extend(rig.rivals()?);
    }
    let direct = Target {
        label: "none",
        address: BACKEND.into(),
        peers: Vec::new(),
    };
    let load = rig.bins.join("bench-load");
    let mut extra: Vec<String> = Vec::new();
    if group.shape.is_mesh() {
        extra.extend(MESH.map(String::from));
    }
    if group.shape == Shape::Tls {
        extra.extend(tls_args(&rig.certificates, false));
    }
    let mut report = format!("### {}\n\n{HEAD}", group.title);
    for scenario in group.scenarios {
        println!("{}: {}", group.title, scenario.name);
        helpers.iter().for_each(|p| p.real_time(scenario.real_time));
        targets.iter().for_each(|t| t.real_time(scenario.real_time));
        let mut measured: Vec<(&'static str, Vec<Round>)> =
            targets.iter().map(|t| (t.label, Vec::new())).collect();
        let mut without = Vec::new();
        for _ in 0..options.rounds {
            for (target, (label, rounds)) in targets.iter().zip(&mut measured) {
                let one = round(&load, target, scenario, &extra, options.seconds)?;
                if *label == Proxy::Sightline.label() {
                    *answered += one.answered * scenario.counted;
                }
                rounds.push(one);
            }
            if scenario.real_time && group.shape != Shape::Tls {
                without.push(round(&load, &direct, scenario, &extra, options.seconds)?);
            }
        }
        let rows = rows(scenario.name, &measured, &without);
        print!("{rows}");
        report.push_str(&rows);
    }
    let counted = wait_for_count(*answered)?;
    let memory: Vec<String> = targets
        .iter()
        .map(|t| format!("{} {:.1} MiB", t.label, t.rss_mib()))
        .collect();
    let _ = writeln!(
        report,
        "\nThe sink counted {counted} requests so far, the generator {answered}. Resident memory after the rounds: {}.\n",
        memory.join(", ")
    );
    Ok(report)
}

fn versions(envoy: &Path) -> String {
    let version = super::output(&envoy.display().to_string(), &["--version"]);
    let version = version
        .rsplit("version: ")
        .next()
        .and_then(|v| v.split('/').nth(1))
        .unwrap_or("unknown")
        .to_owned();
    let haproxy = super::output("sh", &["-c", "haproxy -v 2>/dev/null | head -1 | cut -d' ' -f3"]);
    let nginx = super::output("sh", &["-c", "nginx -v 2>&1 | cut -d/ -f2"]);
    format!(", Envoy {version}, nginx {nginx}, HAProxy {haproxy}")
}

/// One-minute load average.
fn load_average() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or("unknown").to_owned()
}

fn build() -> Result<PathBuf> {
    let ok = crate::root::cargo()
        .args([
            "build",
            "--release",
            "-p",
            "sightline-proxy",
            "-p",
            "sightline-bench",
        ])
        .status()?
        .success();
    ensure!(ok, "the release build failed");
    Ok(crate::root::target().join("release"))
}

/// A test authority with an ECDSA P-256 server and client certificate, valid 30 days.
fn make_certificates(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    let script = r"set -e
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -keyout ca.key -out ca.pem -subj /CN=bench-ca
for who in server client; do
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout $who.key -out $who.csr -subj /CN=$who
  printf 'subjectAltName=URI:spiffe://mesh.local/ns/default/sa/%s\nkeyUsage=digitalSignature\nextendedKeyUsage=serverAuth,clientAuth\nbasicConstraints=CA:false\n' $who > $who.ext
  openssl x509 -req -in $who.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 30 -extfile $who.ext -out $who.pem
done";
    let out = Command::new("sh")
        .args(["-c", script])
        .current_dir(folder)
        .output()?;
    ensure!(
        out.status.success(),
        "openssl could not make the certificates: {}",
        String::from_utf8_lossy(&out.stderr)
    );
    Ok(())
}

fn wait_for_count(wanted: u64) -> Result<u64> {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        let counted: u64 = http::get(SINK_COUNT, "/")?.trim().parse()?;
        if counted == wanted {
            return Ok(counted);
        }
        ensure!(
            Instant::now() < deadline,
            "the sink counted {counted} requests, the generator {wanted}"
        );
        std::thread::sleep(Duration::from_millis(100));
    }
}
