//! Pods as network namespaces of this machine, joined by veth pairs to a node that routes between them.
//!
//! The node is a namespace too, that of the test itself ([`enter`]); every namespace lives as long as a process in it,
//! so that none is left behind however the test ends.

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::IpAddr;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use nix::sched::{CloneFlags, setns};

/// Set once the test is in its own namespace.
const INSIDE: &str = "SIGHTLINE_TEST_NODE";
/// The node as pods see it.
pub const NODE: [&str; 2] = ["10.244.0.1", "fd00:244::1"];
/// What has to be there, with the package that has it.
const PROGRAMS: [(&str, &str); 8] = [
    ("unshare", "util-linux"),
    ("nsenter", "util-linux"),
    ("setpriv", "util-linux"),
    ("mount", "mount"),
    ("ip", "iproute2"),
    ("iptables-restore", "iptables"),
    ("ip6tables-restore", "iptables"),
    ("iptables-save", "iptables"),
];

/// Begins the program anew in a network namespace of its own, in which it is the node; comes back when it is there.
/// To be called first of all.
pub fn enter() -> anyhow::Result<()> {
    if std::env::var_os(INSIDE).is_none() {
        ensure!(
            nix::unistd::geteuid().is_root(),
            "tests with captured traffic make network namespaces: run them as root"
        );
        let path = std::env::var_os("PATH").unwrap_or_default();
        for (program, package) in PROGRAMS {
            let found = std::env::split_paths(&path).any(|folder| folder.join(program).is_file());
            ensure!(found, "{program} is missing: install the package {package}");
        }
        let test = std::env::current_exe().context("cannot find the running test")?;
        let error = Command::new("unshare")
            .args(["--net", "--mount", "--propagation", "private", "--"])
            .arg(test)
            .args(std::env::args_os().skip(1))
            .env(INSIDE, "1")
            .exec();
        return Err(error).context("unshare");
    }
    settings(&[
        ("ipv4/ip_forward", "1"),
        ("ipv6/conf/all/forwarding", "1"),
        ("ipv4/conf/all/rp_filter", "0"),
        ("ipv4/conf/default/rp_filter", "0"),
    ])?;
    let unreachable = "link set lo up\naddr add 10.244.0.1/32 dev lo\nroute add unreachable default\nroute add unreachable ::/0\n";
    batch(Command::new("ip"), unreachable).context("the node's interfaces")
}

/// Kernel settings of the namespace that this thread is in.
fn settings(values: &[(&str, &str)]) -> anyhow::Result<()> {
    for (name, value) in values {
        let path = Path::new("/proc/sys/net").join(name);
        std::fs::write(&path, value).with_context(|| format!("set {}", path.display()))?;
    }
    Ok(())
}

/// Runs several `ip` commands at once.
fn batch(mut ip: Command, commands: &str) -> anyhow::Result<()> {
    ip.args(["-batch", "-"]);
    input(ip, commands)
}

/// Runs a program that reads its orders from its standard input.
pub fn input(mut command: Command, text: &str) -> anyhow::Result<()> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("{command:?}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(text.as_bytes())?;
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        bail!("{command:?}: {}\n{text}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

/// A pod: its namespace, for as long as this lives.
#[derive(Debug)]
pub struct Pod {
    /// IPv4, then IPv6.
    pub addresses: [IpAddr; 2],
    /// The namespace.
    pub namespace: Namespace,
    holder: Child,
}

/// A network namespace, in which sockets can be opened.
#[derive(Debug, Clone)]
pub struct Namespace {
    file: Arc<File>,
    pid: u32,
}

impl Pod {
    /// Makes the pod with this number (its last octet). `guard` ties processes to this one; `resolver` is its name server.
    ///
    /// To be called on a thread that lives as long as the pod shall.
    pub fn start(number: u8, guard: &Path, resolver: &str, folder: &Path) -> anyhow::Result<Self> {
        let addresses: [IpAddr; 2] = [
            format!("10.244.0.{number}").parse()?,
            format!("fd00:244::{number:x}").parse()?,
        ];
        let file = folder.join(format!("resolv-{number}"));
        std::fs::write(
            &file,
            format!(
                "nameserver {resolver}\nsearch demo.svc.cluster.local svc.cluster.local cluster.local\noptions ndots:5\n"
            ),
        )?;
        let hold = format!(
            "mount --bind {} /etc/resolv.conf && ip link set lo up && echo ready && exec sleep infinity",
            file.display()
        );
        let mut holder = Command::new(guard)
            .args([
                "guard",
                "--",
                "unshare",
                "--net",
                "--mount",
                "--propagation",
                "private",
            ])
            .args(["--", "sh", "-c", &hold])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("start a pod")?;
        let mut line = String::new();
        if let Some(output) = holder.stdout.take() {
            BufReader::new(output).read_line(&mut line)?;
        }
        ensure!(line == "ready\n", "pod {number} did not start: {line:?}");
        let pid = holder.id();
        let pod = Self {
            addresses,
            namespace: Namespace {
                file: Arc::new(File::open(format!("/proc/{pid}/ns/net"))?),
                pid,
            },
            holder,
        };
        pod.wire(number)?;
        Ok(pod)
    }

    fn wire(&self, number: u8) -> anyhow::Result<()> {
        let [v4, v6] = self.addresses;
        let [node4, node6] = NODE;
        let device = format!("v{number}");
        let node = format!(
            "link add {device} type veth peer name eth0 netns {pid}\n\
             addr add {node4}/32 dev {device}\naddr add {node6}/128 dev {device} nodad\n\
             link set {device} up\nroute add {v4}/32 dev {device}\nroute add {v6}/128 dev {device}\n",
            pid = self.namespace.pid
        );
        batch(Command::new("ip"), &node).context("the node's end of a pod")?;
        let inside = format!(
            "addr add {v4}/32 dev eth0\naddr add {v6}/128 dev eth0 nodad\nlink set eth0 up\n\
             route add {node4} dev eth0\nroute add default via {node4}\n\
             route add {node6} dev eth0\nroute add ::/0 via {node6}\n"
        );
        batch(self.namespace.command("ip"), &inside).context("a pod's interfaces")?;
        self.namespace.run(|| {
            settings(&[
                ("ipv4/conf/all/rp_filter", "0"),
                ("ipv4/conf/eth0/rp_filter", "0"),
                ("ipv4/conf/lo/rp_filter", "0"),
            ])
        })?
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

impl Namespace {
    /// A program in the pod, as the user of the test.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(self.arguments()).arg(program);
        command
    }

    fn arguments(&self) -> [String; 5] {
        let pid = self.pid.to_string();
        [
            "-t".to_owned(),
            pid,
            "-n".to_owned(),
            "-m".to_owned(),
            "--".to_owned(),
        ]
    }

    /// Program and arguments that run `program` in the pod as the sidecar's user; `transparent` = with the right to
    /// open transparent sockets.
    #[must_use]
    pub fn as_sidecar(
        &self,
        program: &Path,
        arguments: &[String],
        transparent: bool,
    ) -> (PathBuf, Vec<String>) {
        let mut all = self.arguments().to_vec();
        let user = [
            "setpriv",
            "--reuid=1337",
            "--regid=1337",
            "--clear-groups",
            "--pdeathsig=KILL",
        ];
        all.extend(user.map(str::to_owned));
        if transparent {
            all.extend(["--inh-caps=+net_admin", "--ambient-caps=+net_admin"].map(str::to_owned));
        }
        all.push(program.display().to_string());
        all.extend_from_slice(arguments);
        ("nsenter".into(), all)
    }

    /// Program and arguments that run `program` in the pod as the user of the test.
    #[must_use]
    pub fn as_application(&self, program: &Path, arguments: &[String]) -> (PathBuf, Vec<String>) {
        let mut all = self.arguments().to_vec();
        all.push(program.display().to_string());
        all.extend_from_slice(arguments);
        ("nsenter".into(), all)
    }

    /// Does something in the namespace, on a thread of its own. A socket that it opens stays in the namespace.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> anyhow::Result<T> {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                setns(self.file.as_ref(), CloneFlags::CLONE_NEWNET).context("enter a pod's namespace")?;
                Ok(work())
            });
            thread
                .join()
                .unwrap_or_else(|_| bail!("the work in a pod panicked"))
        })
    }
}

/// What kube-proxy does: connections to a service's address go to one of its pods.
#[derive(Debug, Default)]
pub struct ServiceRules {
    v4: Vec<String>,
    v6: Vec<String>,
    refused: Vec<String>,
}

impl ServiceRules {
    /// A port of a service; without pods connections are refused.
    pub fn add(&mut self, vip: IpAddr, port: u16, pods: &[(IpAddr, u16)]) {
        let rules = if vip.is_ipv4() { &mut self.v4 } else { &mut self.v6 };
        if pods.is_empty() && vip.is_ipv4() {
            self.refused.push(format!(
                "-A FORWARD -d {vip} -p tcp --dport {port} -j REJECT --reject-with icmp-port-unreachable"
            ));
        }
        for (left, (ip, target)) in (1..=pods.len()).rev().zip(pods) {
            let share = if left > 1 {
                format!("-m statistic --mode nth --every {left} --packet 0 ")
            } else {
                String::new()
            };
            let to = if ip.is_ipv4() {
                format!("{ip}:{target}")
            } else {
                format!("[{ip}]:{target}")
            };
            rules.push(format!(
                "-A PREROUTING -d {vip} -p tcp --dport {port} {share}-j DNAT --to-destination {to}"
            ));
        }
    }

    /// Puts the rules in force on the node. `silent` takes packets and never answers.
    pub fn apply(self, silent: &str) -> anyhow::Result<()> {
        let nat = |rules: &[String]| format!("*nat\n{}\nCOMMIT\n", rules.join("\n"));
        let filter = format!(
            "*filter\n-A FORWARD -d {silent} -j DROP\n{}\nCOMMIT\n",
            self.refused.join("\n")
        );
        input(Command::new("iptables-restore"), &(nat(&self.v4) + &filter))?;
        // A service address has a route, so that it comes as far as the rules.
        batch(
            Command::new("ip"),
            "route add 10.96.0.0/12 dev lo\nroute add 10.244.0.250 dev lo\n",
        )?;
        if self.v6.is_empty() {
            return Ok(());
        }
        input(Command::new("ip6tables-restore"), &nat(&self.v6))
    }
}

/// A copy of a program where every user may run it.
pub fn shared(program: &Path, folder: &Path) -> anyhow::Result<PathBuf> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::create_dir_all(folder)?;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o755))?;
    let name: OsString = program.file_name().context("a program has a name")?.to_owned();
    let copy = folder.join(name);
    if std::fs::hard_link(program, &copy).is_err() {
        std::fs::copy(program, &copy).with_context(|| format!("copy {}", program.display()))?;
    }
    Ok(copy)
}
