//! Compiles `crates/mesh-xds/descriptors.binpb.gz`: Envoy's message descriptors, pruned to what the proxy's JSON
//! pages and bootstrap need, from the envoy-types package that Cargo.lock names.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, anyhow};
use prost::Message;
use prost_types::{DescriptorProto, FileDescriptorProto, FileDescriptorSet};

/// Where the result goes, from the repository's root.
const OUTPUT: &str = "crates/mesh-xds/descriptors.binpb.gz";

/// Messages that are kept with everything they reach: resources, what their `Any`s may hold, admin pages.
const ROOTS: &[&str] = &[
    "envoy.config.bootstrap.v3.Bootstrap",
    "envoy.config.listener.v3.Listener",
    "envoy.config.cluster.v3.Cluster",
    "envoy.config.endpoint.v3.ClusterLoadAssignment",
    "envoy.config.route.v3.RouteConfiguration",
    "envoy.extensions.transport_sockets.tls.v3.Secret",
    "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
    "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
    "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer",
    "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
    "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy",
    "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector",
    "envoy.extensions.filters.listener.http_inspector.v3.HttpInspector",
    "envoy.extensions.filters.listener.original_dst.v3.OriginalDst",
    "envoy.extensions.filters.http.router.v3.Router",
    "envoy.extensions.filters.http.fault.v3.HTTPFault",
    "envoy.extensions.filters.http.cors.v3.Cors",
    "envoy.extensions.filters.http.cors.v3.CorsPolicy",
    "envoy.extensions.filters.http.ext_authz.v3.ExtAuthz",
    "envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter",
    "envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol",
    "envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport",
    "envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
    "envoy.extensions.filters.http.rbac.v3.RBAC",
    "envoy.extensions.filters.network.rbac.v3.RBAC",
    "envoy.extensions.filters.http.grpc_stats.v3.FilterConfig",
    "envoy.extensions.access_loggers.file.v3.FileAccessLog",
    "envoy.extensions.access_loggers.stream.v3.StdoutAccessLog",
    "envoy.extensions.access_loggers.stream.v3.StderrAccessLog",
    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
    "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate",
    "envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig",
    "envoy.config.trace.v3.OpenTelemetryConfig",
    "envoy.config.trace.v3.ZipkinConfig",
    "envoy.admin.v3.ConfigDump",
    "envoy.admin.v3.BootstrapConfigDump",
    "envoy.admin.v3.ListenersConfigDump",
    "envoy.admin.v3.ClustersConfigDump",
    "envoy.admin.v3.RoutesConfigDump",
    "envoy.admin.v3.EndpointsConfigDump",
    "envoy.admin.v3.SecretsConfigDump",
    "envoy.admin.v3.Clusters",
    "envoy.admin.v3.Listeners",
    "envoy.admin.v3.Certificates",
    "envoy.admin.v3.ServerInfo",
    "google.protobuf.BoolValue",
    "google.protobuf.Struct",
];

/// Writes the descriptor set.
pub(crate) fn run(repository: &Path) -> Result<ExitCode> {
    let source = package_folder(repository)?.join("src/generated/types.bin");
    let bytes = std::fs::read(&source).with_context(|| format!("reading {}", source.display()))?;
    let all = FileDescriptorSet::decode(bytes.as_slice()).context("envoy-types' descriptor set")?;
    let pruned = prune(all)?;
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(&pruned.encode_to_vec())?;
    let packed = gzip.finish()?;
    let output = repository.join(OUTPUT);
    std::fs::write(&output, &packed).with_context(|| format!("writing {}", output.display()))?;
    println!("{OUTPUT}: {} files, {} bytes", pruned.file.len(), packed.len());
    Ok(ExitCode::SUCCESS)
}

fn package_folder(repository: &Path) -> Result<PathBuf> {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["metadata", "--format-version", "1", "--locked", "--offline"])
        .current_dir(repository)
        .output()
        .context("running cargo metadata")?;
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)
        .context("cargo metadata gave no JSON; run cargo fetch first")?;
    metadata["packages"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|p| p["name"] == "envoy-types")
        .and_then(|p| p["manifest_path"].as_str())
        .and_then(|p| Path::new(p).parent())
        .map(Path::to_path_buf)
        .ok_or_else(|| anyhow!("envoy-types is not a dependency of this workspace"))
}

/// Which message uses which types, by full name with leading dot.
fn uses(files: &[FileDescriptorProto]) -> BTreeMap<String, BTreeSet<String>> {
    fn add(prefix: &str, message: &DescriptorProto, uses: &mut BTreeMap<String, BTreeSet<String>>) {
        let name = format!("{prefix}.{}", message.name());
        let direct = message
            .field
            .iter()
            .filter(|f| !f.type_name().is_empty())
            .map(|f| f.type_name().to_owned())
            .collect();
        uses.insert(name.clone(), direct);
        for inner in &message.nested_type {
            add(&name, inner, uses);
        }
    }
    let mut found = BTreeMap::new();
    for file in files {
        for message in &file.message_type {
            add(&format!(".{}", file.package()), message, &mut found);
        }
    }
    found
}

fn prune(all: FileDescriptorSet) -> Result<FileDescriptorSet> {
    let uses = uses(&all.file);
    let mut kept: BTreeSet<String> = BTreeSet::new();
    let mut open: Vec<String> = Vec::new();
    for root in ROOTS {
        let name = format!(".{root}");
        if !uses.contains_key(&name) {
            return Err(anyhow!("{root} is not in envoy-types"));
        }
        open.push(name);
    }
    while let Some(name) = open.pop() {
        if kept.insert(name.clone()) {
            open.extend(uses.get(&name).into_iter().flatten().cloned());
        }
    }
    let mut files: Vec<FileDescriptorProto> = all
        .file
        .into_iter()
        .map(|f| prune_file(f, &kept))
        .filter(|f| !f.message_type.is_empty() || !f.enum_type.is_empty())
        .collect();
    let names: BTreeSet<String> = files.iter().map(|f| f.name().to_owned()).collect();
    for file in &mut files {
        file.dependency.retain(|d| names.contains(d));
    }
    Ok(FileDescriptorSet { file: files })
}

fn prune_file(mut file: FileDescriptorProto, kept: &BTreeSet<String>) -> FileDescriptorProto {
    let package = format!(".{}", file.package());
    file.source_code_info = None;
    file.options = None;
    file.service.clear();
    file.extension.clear();
    file.public_dependency.clear();
    file.weak_dependency.clear();
    file.message_type.retain_mut(|m| prune_message(&package, m, kept));
    file.enum_type
        .retain(|e| kept.contains(&format!("{package}.{}", e.name())));
    file
}

/// Whether the message stays: it, or anything nested in it, is used.
fn prune_message(prefix: &str, message: &mut DescriptorProto, kept: &BTreeSet<String>) -> bool {
    let name = format!("{prefix}.{}", message.name());
    message.extension.clear();
    message.nested_type.retain_mut(|m| prune_message(&name, m, kept));
    message
        .enum_type
        .retain(|e| kept.contains(&format!("{name}.{}", e.name())));
    if let Some(options) = &mut message.options {
        options.uninterpreted_option.clear();
    }
    let used = kept.contains(&name);
    if !used {
        message.field.clear();
        message.oneof_decl.clear();
    }
    used || !message.nested_type.is_empty() || !message.enum_type.is_empty()
}
