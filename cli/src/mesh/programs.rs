//! Command lines of the mesh's own programs.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::folder::Folder;
use crate::mesh::options::MeshOptions;
use crate::supervisor::{Kind, Spec, Stage};

/// The folder of the programs: this program's own.
#[derive(Debug, Clone)]
pub(crate) struct Programs {
    binaries: PathBuf,
}

impl Programs {
    /// Binaries lie beside this program.
    pub(crate) fn new(this_program: &Path) -> Self {
        Self {
            binaries: this_program.parent().map(Path::to_path_buf).unwrap_or_default(),
        }
    }

    /// Fails with what is missing, and how to get it.
    pub(crate) fn check(&self, names: &[&str]) -> Result<(), Failure> {
        match names
            .iter()
            .map(|name| self.program(name))
            .find(|program| !program.is_file())
        {
            Some(missing) => Err(Failure::unavailable(format!(
                "{} is missing; build all binaries with `cargo build`, or start with `cargo xtask demo`",
                missing.display()
            ))),
            None => Ok(()),
        }
    }

    /// A program's file.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.binaries.join(name)
    }

    /// The control plane.
    pub(crate) fn controlplane(&self, options: &MeshOptions, folder: &Folder, kubeconfig: &Path) -> Spec {
        let mut given = arguments([
            ("--kubeconfig", kubeconfig.as_os_str().to_owned()),
            ("--discovery-address", text(options.discovery_address)),
            ("--query-address", text(options.query_address)),
            ("--metrics-address", text(options.metrics_address)),
            ("--data", folder.controlplane().into_os_string()),
            // Issuers of tokens may be workloads of this mesh.
            ("--jwks-allow", text(options.address_base)),
        ]);
        given.extend(repeated("--otlp-endpoint", &options.otlp_endpoint));
        given.extend(repeated("--zipkin-endpoint", &options.zipkin_endpoint));
        given.extend(repeated("--database", options.database.as_slice()));
        self.spec(
            "controlplane",
            "sightline-controlplane",
            given,
            Stage::ControlPlane,
            options.discovery_address,
        )
    }

    /// The console.
    pub(crate) fn console(&self, options: &MeshOptions, folder: &Folder, kubeconfig: &Path) -> Spec {
        let mut given = arguments([
            ("--listen", text(options.console_address)),
            ("--kubeconfig", kubeconfig.as_os_str().to_owned()),
            (
                "--controlplane",
                text(format!("https://{}", options.query_address)),
            ),
            ("--controlplane-ca", folder.root_certificate().into_os_string()),
            ("--token-path", folder.console_token().into_os_string()),
            ("--local-user-token", folder.admin_token().into_os_string()),
        ]);
        given.extend(repeated("--link", &options.link));
        self.spec(
            "console",
            "sightline-console",
            given,
            Stage::Console,
            options.console_address,
        )
    }

    fn spec(
        &self,
        name: &str,
        program: &str,
        arguments: Vec<OsString>,
        stage: Stage,
        at: SocketAddr,
    ) -> Spec {
        Spec {
            name: name.to_owned(),
            program: self.program(program),
            arguments,
            environment: Vec::new(),
            stage,
            kind: Kind::Service,
            address: at.to_string(),
        }
    }
}

/// As an argument.
pub(crate) fn text(value: impl ToString) -> OsString {
    OsString::from(value.to_string())
}

/// Flags with their values.
pub(crate) fn arguments<const N: usize>(pairs: [(&str, OsString); N]) -> Vec<OsString> {
    pairs
        .into_iter()
        .flat_map(|(flag, value)| [OsString::from(flag), value])
        .collect()
}

/// One flag for each value.
fn repeated<'a>(flag: &'a str, values: &'a [String]) -> impl Iterator<Item = OsString> + 'a {
    values
        .iter()
        .flat_map(move |value| [OsString::from(flag), OsString::from(value)])
}
