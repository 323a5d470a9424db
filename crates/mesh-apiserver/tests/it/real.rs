//! The same table on the real kube-apiserver, started by `tests/cluster/up.sh`.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::client::Client;
use crate::conformance::{finish, play};

/// A running kube-apiserver; stopped when dropped.
struct Real {
    scripts: PathBuf,
    folder: PathBuf,
    _parent: tempfile::TempDir,
    address: SocketAddr,
}

impl Real {
    fn start() -> Self {
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/cluster");
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("real");
        let ports: Vec<u16> = {
            let listeners: Vec<TcpListener> = (0..3)
                .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
                .collect();
            listeners.iter().map(|l| l.local_addr().unwrap().port()).collect()
        };
        let address = SocketAddr::from(([127, 0, 0, 1], *ports.last().unwrap()));
        let real = Self {
            scripts,
            folder,
            _parent: parent,
            address,
        };
        let output = Command::new(real.scripts.join("up.sh"))
            .arg(&real.folder)
            .args(ports.iter().map(u16::to_string))
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "the real kube-apiserver does not start (`cargo xtask cluster` builds it): {}",
            String::from_utf8_lossy(&output.stderr)
        );
        real
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        let _ = Command::new(self.scripts.join("down.sh"))
            .arg(&self.folder)
            .status();
    }
}

/// The whole table, but for what only a mesh's webhook refuses, on the real server.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_real_server_passes_the_table() {
    let real = Real::start();
    let read = |name: &str| std::fs::read_to_string(real.folder.join(name)).unwrap();
    let client = Client::new(real.address, &read("ca.crt"), read("token").trim());
    let report = play(&client, "").await;
    finish(&report, "real");
}
