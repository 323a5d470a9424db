//! More clients than descriptors: the proxy lives, its pages answer, and a well-behaved client is served.

use std::net::TcpStream;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use super::SOON;
use super::hot_restart::{backend, bootstrap, free, get, wait_for};

/// Descriptors of the proxy, and clients that want one each.
const DESCRIPTORS: u32 = 256;
const CLIENTS: usize = 500;

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn idle_clients_without_end_do_not_take_the_proxy_down() {
    let folder = tempfile::tempdir().unwrap();
    let (listen, admin) = (free(), free());
    let config = bootstrap(folder.path(), listen, admin, backend());
    let program = env!("CARGO_BIN_EXE_sightline-proxy");
    let command = format!(
        "ulimit -n {DESCRIPTORS} && exec {program} -c {} --concurrency 2 -l error",
        config.display()
    );
    let mut proxy = Running(Command::new("sh").args(["-c", &command]).spawn().unwrap());
    wait_for("the start", || {
        get(admin, "/ready").is_some_and(|answer| answer.contains("LIVE"))
    });
    let explained = get(admin, "/explain?host=web&path=/x&listener=web").unwrap();
    assert!(explained.contains("\"action\": \"forward\""), "{explained}");
    let refused = get(admin, "/explain?path=/x").unwrap();
    assert!(refused.contains("host: give the authority"), "{refused}");
    // The first look at the limits comes with the start.
    wait_for("the limit", || {
        get(admin, "/stats").is_some_and(|stats| stats.contains("sightline.overload.most_connections"))
    });
    let held: Vec<TcpStream> = (0..CLIENTS)
        .filter_map(|_| TcpStream::connect_timeout(&listen, Duration::from_secs(5)).ok())
        .collect();
    assert!(
        held.len() > usize::try_from(DESCRIPTORS).unwrap(),
        "only {} connected",
        held.len()
    );
    let began = Instant::now();
    assert!(get(admin, "/ready").is_some_and(|answer| answer.contains("LIVE")));
    assert!(
        began.elapsed() < Duration::from_secs(2),
        "the admin page took {:?}",
        began.elapsed()
    );
    // Those that idle make room for one that asks.
    wait_for("an answer among idle clients", || {
        get(listen, "/").is_some_and(|answer| answer.starts_with("HTTP/1.1 200"))
    });
    drop(held);
    let began = Instant::now();
    wait_for("an answer afterwards", || {
        get(listen, "/").is_some_and(|answer| answer.starts_with("HTTP/1.1 200"))
    });
    assert!(began.elapsed() < SOON);
    assert!(proxy.0.try_wait().unwrap().is_none(), "the proxy has ended");
}
