//! Our schemas against Istio's own CustomResourceDefinitions.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

#[test]
#[ignore = "needs SIGHTLINE_ISTIO_CRDS = customresourcedefinitions.gen.yaml of the Go module istio.io/api"]
fn schemas_agree_with_the_official_file() {
    let path = std::env::var("SIGHTLINE_ISTIO_CRDS")
        .expect("set SIGHTLINE_ISTIO_CRDS to kubernetes/customresourcedefinitions.gen.yaml of istio.io/api");
    let text = std::fs::read_to_string(path).unwrap();
    let mut differences = Vec::new();
    let mut seen = 0;
    for document in text.split("\n---\n") {
        let value: Option<serde_json::Value> = serde_saphyr::from_str(document).unwrap();
        if let Some(crd) = value.filter(|v| v.is_object()) {
            seen += 1;
            differences.extend(mesh_crd::schema::differences(&crd));
        }
    }
    assert_eq!(seen, mesh_crd::kinds::ALL.len());
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}
