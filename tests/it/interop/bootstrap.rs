//! One table of Envoy bootstrap files, each run by Envoy and by our proxy.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use mesh_stories::observed::access_log::AccessLog;
use mesh_stories::observed::children::{Process, Programs};
use mesh_stories::observed::client::{Call, HttpCall, Session, Way};
use mesh_stories::observed::world::envoy;
use serde::Deserialize;

use crate::case::Ask;
use crate::outcome::{Outcome, difference, line};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/interop/bootstraps");
const UPSTREAM: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(127, 84, 0, 1));
const STARTED: Duration = Duration::from_secs(30);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    file: String,
    requests: Vec<Ask>,
}

/// A proxy that runs the file.
struct Running {
    name: &'static str,
    ip: IpAddr,
    log: AccessLog,
    _process: Process,
}

impl Running {
    async fn start(name: &'static str, last: u8, file: &str, programs: &Programs) -> Self {
        let ip = IpAddr::from([127, 84, 0, last]);
        let text = std::fs::read_to_string(Path::new(FOLDER).join(format!("{file}.yaml"))).unwrap();
        let text = text
            .replace("$IP", &ip.to_string())
            .replace("$UPSTREAM", &UPSTREAM.to_string());
        let path = programs.logs.join(format!("{name}-{file}.yaml"));
        std::fs::write(&path, text).unwrap();
        let mut arguments = vec![
            "-c".to_owned(),
            path.display().to_string(),
            "--concurrency".to_owned(),
            "1".to_owned(),
        ];
        let program = if name == "envoy" {
            let more = ["--disable-hot-restart", "--file-flush-interval-msec", "50"];
            arguments.extend(more.map(str::to_owned));
            envoy::binary().unwrap()
        } else {
            programs.binary("sightline-proxy").unwrap()
        };
        let log = AccessLog::default();
        let process = programs
            .start(&format!("{name}-{file}"), &program, &arguments, log.clone())
            .unwrap();
        wait_for(SocketAddr::new(ip, 10000), programs).await;
        Self {
            name,
            ip,
            log,
            _process: process,
        }
    }

    async fn outcome(&self, file: &str, at: usize, ask: &Ask) -> Outcome {
        let key = format!("{file}-{at}-{}", self.name);
        let mut headers: Vec<(String, String)> = ask.headers.clone().into_iter().collect();
        headers.push(("user-agent".to_owned(), key.clone()));
        let call = Call::Http(HttpCall {
            method: ask.method.clone(),
            target: ask.path.replace("$KEY", &key),
            authority: "web.test".to_owned(),
            headers,
            body: ask.body.clone(),
            http2: ask.http2,
            close: !ask.http2,
        });
        let way = Way {
            source: IpAddr::from([127, 84, 0, 9]),
            first: SocketAddr::new(self.ip, 10000),
            tunnel: None,
            pod: None,
            tls: None,
        };
        let answer = Session::new(way).call(&call).await;
        let lines = if file == "tcp" {
            Vec::new()
        } else {
            vec![line(&self.log, &key).await]
        };
        Outcome::of(&answer, lines, &self.ip.to_string(), &key)
    }
}

async fn wait_for(address: SocketAddr, programs: &Programs) {
    let until = tokio::time::Instant::now() + STARTED;
    while tokio::net::TcpStream::connect(address).await.is_err() {
        assert!(
            tokio::time::Instant::now() < until,
            "nothing listens on {address}; logs in {}",
            programs.logs.display()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn bootstrap_files_run_on_both() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(play());
}

async fn play() {
    let logs = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("interop-bootstraps");
    let _ = std::fs::remove_dir_all(&logs);
    std::fs::create_dir_all(&logs).unwrap();
    let test = std::env::current_exe().unwrap();
    let programs = Programs {
        echo: PathBuf::from(env!("CARGO_BIN_EXE_rtecho")),
        // .../PROFILE/deps/test-hash
        folder: test.parent().unwrap().parent().unwrap().to_path_buf(),
        logs,
    };
    let serve = [
        "serve",
        "-service",
        "web",
        "-version",
        "v1",
        "--bind",
        &UPSTREAM.to_string(),
    ]
    .map(str::to_owned);
    let _echo = programs
        .start("echo", &programs.echo.clone(), &serve, AccessLog::default())
        .unwrap();
    wait_for(SocketAddr::new(UPSTREAM, 8080), &programs).await;
    let table = std::fs::read_to_string(Path::new(FOLDER).join("requests.yaml")).unwrap();
    let files: Vec<File> = serde_saphyr::from_str(&table).unwrap();
    let mut problems = Vec::new();
    // Addresses of their own: Envoy shares a port with one that is on its way out.
    for (number, File { file, requests }) in (10..).step_by(2).zip(&files) {
        let theirs = Running::start("envoy", number, file, &programs).await;
        let ours = Running::start("sightline", number + 1, file, &programs).await;
        for (at, ask) in requests.iter().enumerate() {
            let wanted = theirs.outcome(file, at, ask).await;
            let got = ours.outcome(file, at, ask).await;
            if let Some(text) = difference(&wanted, &got) {
                problems.push(format!("{file} {} {}: {text}", ask.method, ask.path));
            }
        }
    }
    assert!(
        problems.is_empty(),
        "{} problems:\n{}",
        problems.len(),
        problems.join("\n")
    );
}
