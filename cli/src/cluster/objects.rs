//! Applies YAML where it is absent, and leaves alone what is there.

use kube::Client;
use kube::api::{Api, DynamicObject, ObjectMeta, PostParams};
use kube::core::{ApiResource, GroupVersionKind, TypeMeta};
use serde_json::Value;

use crate::failure::{Code, Failure, Tried};

/// Creates each object of a YAML stream that does not exist yet; answers how many were created.
pub(crate) async fn create_absent(client: &Client, file: &str, yaml: &str) -> Result<usize, Failure> {
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(yaml).tried_as(Code::Configuration, || format!("{file} is not YAML"))?;
    let mut created = 0;
    for document in documents {
        let object: DynamicObject = serde_json::from_value(document).tried_as(Code::Configuration, || {
            format!("{file} holds something that is not a Kubernetes object")
        })?;
        if create(client, file, object).await? {
            created += 1;
        }
    }
    Ok(created)
}

/// Creates a namespace where it is absent.
pub(crate) async fn namespace(client: &Client, name: &str) -> Result<(), Failure> {
    let yaml = format!("apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {name}\n");
    create_absent(client, name, &yaml).await.map(|_| ())
}

async fn create(client: &Client, file: &str, object: DynamicObject) -> Result<bool, Failure> {
    let types = object.types.clone().unwrap_or_default();
    let name = object.metadata.name.clone().unwrap_or_default();
    let what = || format!("cannot create {} {name} of {file}", types.kind);
    let api = api(client, &types, &object.metadata)?;
    if api.get_opt(&name).await.tried(what)?.is_some() {
        return Ok(false);
    }
    match api.create(&PostParams::default(), &object).await {
        Ok(_) => Ok(true),
        // Somebody was faster: theirs counts.
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
        Err(error) => Err(error).tried(what),
    }
}

fn api(client: &Client, types: &TypeMeta, metadata: &ObjectMeta) -> Result<Api<DynamicObject>, Failure> {
    let kind = GroupVersionKind::try_from(types).tried_as(Code::Configuration, || {
        format!("apiVersion {:?} cannot be understood", types.api_version)
    })?;
    let resource = ApiResource::from_gvk(&kind);
    Ok(match &metadata.namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    })
}
