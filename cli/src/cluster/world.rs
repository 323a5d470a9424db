//! Everything that the API server has and a mesh acts on, parsed.

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Client;
use kube::api::{Api, DynamicObject, ListParams};
use kube::core::ApiResource;
use mesh_crd::mesh_config::MeshConfig;
use mesh_crd::{kinds, parse_value};
use mesh_translate::World;

use crate::failure::{Failure, Tried};
use crate::mesh::host::SYSTEM;

/// Group, version, kind, plural of the core kinds that are read.
const CORE: &[(&str, &str, &str, &str)] = &[
    ("", "v1", "Service", "services"),
    ("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices"),
    ("", "v1", "Pod", "pods"),
    ("", "v1", "Namespace", "namespaces"),
];

/// ConfigMap of the mesh settings, and its key.
const SETTINGS: (&str, &str) = ("istio", "mesh");

/// Reads it all.
pub(crate) async fn live(client: &Client) -> Result<World, Failure> {
    let mut world = World::default();
    let istio = kinds::ALL
        .iter()
        .map(|kind| (kind.group, kind.storage_version, kind.kind, kind.plural));
    for (group, version, kind, plural) in CORE.iter().copied().chain(istio) {
        for object in list(client, &resource(group, version, kind, plural)).await? {
            world.apply(parse_value(&object));
        }
    }
    if let Some(settings) = settings(client).await? {
        world.set_mesh(settings);
    }
    Ok(world)
}

fn resource(group: &str, version: &str, kind: &str, plural: &str) -> ApiResource {
    let api_version = if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    };
    ApiResource {
        group: group.to_owned(),
        version: version.to_owned(),
        api_version,
        kind: kind.to_owned(),
        plural: plural.to_owned(),
    }
}

/// All objects of a kind; none if the server does not have the kind.
async fn list(client: &Client, resource: &ApiResource) -> Result<Vec<serde_json::Value>, Failure> {
    let what = || format!("cannot list the {}", resource.plural);
    let api: Api<DynamicObject> = Api::all_with(client.clone(), resource);
    let listed = match api.list(&ListParams::default()).await {
        Err(kube::Error::Api(status)) if status.code == 404 => return Ok(Vec::new()),
        listed => listed.tried(what)?,
    };
    listed
        .into_iter()
        .map(|object| {
            let mut value = serde_json::to_value(object).tried(what)?;
            // Items of a list do not say what they are.
            value["apiVersion"] = resource.api_version.clone().into();
            value["kind"] = resource.kind.clone().into();
            Ok(value)
        })
        .collect()
}

async fn settings(client: &Client) -> Result<Option<MeshConfig>, Failure> {
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), SYSTEM);
    let map = maps
        .get_opt(SETTINGS.0)
        .await
        .tried(|| "cannot read the mesh settings".to_owned())?;
    // Settings that cannot be read are the control plane's to report; the defaults apply meanwhile.
    Ok(map
        .and_then(|map| map.data?.remove(SETTINGS.1))
        .and_then(|text| MeshConfig::parse(&text).ok()))
}
