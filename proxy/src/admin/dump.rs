//! `/config_dump` and `/certs`.

use std::time::SystemTime;

use hyper::StatusCode;
use mesh_tls::IdentityWatch;
use mesh_xds::json::{Descriptors, JsonError};
use mesh_xds::{Any, encode};
use serde_json::{Map, Value, json};
use x509_parser::extensions::GeneralName;

use super::Admin;
use crate::discovery::View;
use crate::discovery::state::Held;
use crate::serve::{Answer, Asked};

const TYPE_PREFIX: &str = "type.googleapis.com/envoy.admin.v3.";

pub(super) fn config_dump(admin: &Admin, asked: &Asked) -> Answer {
    let include_endpoints = asked.parameter("include_eds").is_some();
    let dumped = Descriptors::load().and_then(|d| dumps(admin, &d, include_endpoints));
    let configs = match dumped {
        Ok(configs) => configs,
        Err(error) => return Answer::text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    };
    let Some(wanted) = asked.parameter("resource") else {
        return Answer::json(&json!({ "configs": configs }));
    };
    // The items of one list, each with its type, as Envoy does.
    for config in &configs {
        if let Some(items) = config.get(wanted) {
            let items = items.as_array().cloned().unwrap_or_else(|| vec![items.clone()]);
            return Answer::json(&json!({ "configs": items }));
        }
    }
    let known = configs
        .iter()
        .any(|c| c.as_object().is_some_and(|o| o.contains_key(wanted)));
    if known || wanted.starts_with("dynamic_") || wanted.starts_with("static_") {
        return Answer::json(&json!({}));
    }
    Answer::text(
        StatusCode::NOT_FOUND,
        format!("{wanted:?} is not a field of the dump, for example dynamic_listeners\n"),
    )
}

fn timestamp(at: SystemTime) -> Value {
    prost_types::Timestamp::from(at).to_string().into()
}

fn dump(name: &str, fields: Vec<(&str, Value)>) -> Value {
    let mut object = Map::new();
    object.insert("@type".into(), format!("{TYPE_PREFIX}{name}").into());
    for (key, value) in fields {
        let empty = value.as_array().is_some_and(Vec::is_empty) || value.as_str() == Some("");
        if !empty {
            object.insert(key.into(), value);
        }
    }
    Value::Object(object)
}

fn dumps(admin: &Admin, descriptors: &Descriptors, endpoints: bool) -> Result<Vec<Value>, JsonError> {
    let view = admin
        .facts
        .discovery
        .as_ref()
        .map(|d| d.get())
        .unwrap_or_default();
    let started = timestamp(SystemTime::now() - admin.started.elapsed());
    let updated = view.applied_at.map_or_else(|| started.clone(), timestamp);
    let bootstrap = &admin.config.bootstrap;
    let fixed = |any: Any, field: &str| -> Result<Value, JsonError> {
        Ok(json!({ field: descriptors.any_to_json(&any)?, "last_updated": started }))
    };
    let mut bootstrap_json = descriptors.any_to_json(&bootstrap.message)?;
    if let Some(object) = bootstrap_json.as_object_mut() {
        object.shift_remove("@type");
    }
    let static_clusters = bootstrap
        .clusters
        .iter()
        .map(|c| fixed(encode::cluster(&without_key(c)), "cluster"))
        .collect::<Result<Vec<_>, _>>()?;
    let static_listeners = bootstrap
        .listeners
        .iter()
        .map(|l| fixed(encode::listener(&listener_without_key(l)), "listener"))
        .collect::<Result<Vec<_>, _>>()?;
    let mut all = vec![
        dump(
            "BootstrapConfigDump",
            vec![("bootstrap", bootstrap_json), ("last_updated", started.clone())],
        ),
        dump(
            "ClustersConfigDump",
            vec![
                ("version_info", view.state.revision.clone().into()),
                ("static_clusters", static_clusters.into()),
                (
                    "dynamic_active_clusters",
                    held(descriptors, view.state.clusters.values(), "cluster", &updated)?,
                ),
            ],
        ),
    ];
    if endpoints {
        let values = held(
            descriptors,
            view.state.endpoints.values(),
            "endpoint_config",
            &updated,
        )?;
        all.push(dump(
            "EndpointsConfigDump",
            vec![("dynamic_endpoint_configs", values)],
        ));
    }
    all.push(dump(
        "ListenersConfigDump",
        vec![
            ("version_info", view.state.revision.clone().into()),
            ("static_listeners", static_listeners.into()),
            ("dynamic_listeners", listeners(descriptors, &view, &updated)?),
        ],
    ));
    let routes = held(descriptors, view.state.routes.values(), "route_config", &updated)?;
    all.push(dump("RoutesConfigDump", vec![("dynamic_route_configs", routes)]));
    all.push(dump(
        "SecretsConfigDump",
        vec![("dynamic_active_secrets", secrets(admin))],
    ));
    Ok(all)
}

/// An inline key stays out of every dump.
fn without_key(cluster: &mesh_model::cluster::Cluster) -> mesh_model::cluster::Cluster {
    use mesh_model::cluster::Transport;
    let mut cluster = cluster.clone();
    if let Transport::Tls(tls) | Transport::Auto(tls) = &mut cluster.transport {
        redact(&mut tls.certificate);
    }
    cluster
}

fn listener_without_key(listener: &mesh_model::listener::Listener) -> mesh_model::listener::Listener {
    let mut listener = listener.clone();
    for chain in listener.chains.iter_mut().chain(&mut listener.default_chain) {
        for certificate in chain.tls.iter_mut().flat_map(|t| &mut t.certificates) {
            redact(certificate);
        }
    }
    listener
}

fn redact(certificate: &mut mesh_model::cluster::CertificateSource) {
    if let mesh_model::cluster::CertificateSource::Inline { key, .. } = certificate {
        "[redacted]".clone_into(key);
    }
}

fn held<'a, T: 'a>(
    descriptors: &Descriptors,
    resources: impl Iterator<Item = &'a Held<T>>,
    field: &str,
    updated: &Value,
) -> Result<Value, JsonError> {
    resources
        .map(|one| {
            Ok(json!({
                "version_info": one.version,
                field: descriptors.any_to_json(&one.any)?,
                "last_updated": updated,
            }))
        })
        .collect()
}

fn listeners(descriptors: &Descriptors, view: &View, updated: &Value) -> Result<Value, JsonError> {
    view.state
        .listeners
        .iter()
        .map(|(name, one)| {
            Ok(json!({
                "name": name,
                "active_state": {
                    "version_info": one.version,
                    "listener": descriptors.any_to_json(&one.any)?,
                    "last_updated": updated,
                },
            }))
        })
        .collect()
}

fn pem(certificate: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(certificate);
    let mut out = String::from("-----BEGIN CERTIFICATE-----\n");
    for (i, c) in text.chars().enumerate() {
        if i != 0 && i % 64 == 0 {
            out.push('\n');
        }
        out.push(c);
    }
    out.push_str("\n-----END CERTIFICATE-----\n");
    out
}

/// The workload's certificate and roots as SDS secrets; the key never.
fn secrets(admin: &Admin) -> Value {
    use base64::Engine as _;
    let Some(identity) = admin.facts.identity.as_ref().and_then(IdentityWatch::current) else {
        return json!([]);
    };
    let inline = |certificates: &mut dyn Iterator<Item = &[u8]>| {
        let text: String = certificates.map(pem).collect();
        json!({ "inline_bytes": base64::engine::general_purpose::STANDARD.encode(text) })
    };
    let chain = inline(&mut identity.certified.cert.iter().map(AsRef::as_ref));
    let roots = inline(&mut identity.root_certificates.iter().map(AsRef::as_ref));
    let secret_type = mesh_xds::TYPE_SECRET;
    let since = timestamp(identity.not_before);
    json!([
        {
            "name": "default",
            "last_updated": since,
            "secret": {
                "@type": secret_type,
                "name": "default",
                "tls_certificate": {
                    "certificate_chain": chain,
                    "private_key": { "inline_bytes": base64::engine::general_purpose::STANDARD.encode("[redacted]") },
                },
            },
        },
        {
            "name": "ROOTCA",
            "last_updated": since,
            "secret": {
                "@type": secret_type,
                "name": "ROOTCA",
                "validation_context": { "trusted_ca": roots },
            },
        },
    ])
}

pub(super) fn certificates(admin: &Admin) -> Value {
    let Some(identity) = admin.facts.identity.as_ref().and_then(IdentityWatch::current) else {
        return json!({ "certificates": [] });
    };
    let details = |certificates: &mut dyn Iterator<Item = &[u8]>| -> Vec<Value> {
        certificates.filter_map(certificate_details).collect()
    };
    json!({ "certificates": [{
        "ca_cert": details(&mut identity.root_certificates.iter().map(AsRef::as_ref)),
        "cert_chain": details(&mut identity.certified.cert.iter().map(AsRef::as_ref)),
    }] })
}

fn certificate_details(der: &[u8]) -> Option<Value> {
    let (_, certificate) = x509_parser::parse_x509_certificate(der).ok()?;
    let at = |seconds: i64| {
        let seconds = u64::try_from(seconds).unwrap_or(0);
        SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(seconds)
    };
    let validity = certificate.validity();
    let (from, to) = (
        at(validity.not_before.timestamp()),
        at(validity.not_after.timestamp()),
    );
    let left = to.duration_since(SystemTime::now()).unwrap_or_default();
    let names: Vec<Value> = certificate
        .subject_alternative_name()
        .ok()
        .flatten()
        .iter()
        .flat_map(|e| &e.value.general_names)
        .filter_map(|name| match name {
            GeneralName::URI(uri) => Some(json!({ "uri": uri })),
            GeneralName::DNSName(dns) => Some(json!({ "dns": dns })),
            _ => None,
        })
        .collect();
    let serial: String = certificate
        .raw_serial()
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    Some(json!({
        "path": "<inline>",
        "serial_number": serial,
        "subject_alt_names": names,
        "days_until_expiration": (left.as_secs() / 86_400).to_string(),
        "valid_from": timestamp(from),
        "expiration_time": timestamp(to),
    }))
}
