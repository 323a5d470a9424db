//! Who sees what: `exportTo`.

/// Whether an object of `namespace` with this `exportTo` is visible in `viewer`. An empty list means the mesh
/// default, whose empty list means everyone.
pub(crate) fn exported(export_to: &[String], default: &[String], namespace: &str, viewer: &str) -> bool {
    let list = if export_to.is_empty() { default } else { export_to };
    list.is_empty()
        || list.iter().any(|to| match to.trim() {
            "*" => true,
            "." => namespace == viewer,
            other => other == viewer,
        })
}

/// Istio's three drawers, nearest first: private to the viewer's own namespace, exported to it by name, public.
pub(crate) fn drawer(export_to: &[String], default: &[String], namespace: &str, viewer: &str) -> u8 {
    let list = if export_to.is_empty() { default } else { export_to };
    if list.is_empty() || list.iter().any(|to| to == "*") {
        2
    } else if namespace == viewer {
        0
    } else {
        1
    }
}

/// Reads the annotation `networking.istio.io/exportTo` of a Service.
pub(crate) fn annotation(text: Option<&String>) -> Vec<String> {
    text.into_iter()
        .flat_map(|t| t.split(','))
        .map(|t| t.trim().to_owned())
        .filter(|t| !t.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::exported;

    #[test]
    fn export_to() {
        for (list, viewer, yes) in [
            (&[][..], "b", true),
            (&["*"][..], "b", true),
            (&["."][..], "a", true),
            (&["."][..], "b", false),
            (&["~"][..], "a", false),
            (&["b", "c"][..], "b", true),
            (&["b", "c"][..], "a", false),
        ] {
            let list: Vec<String> = list.iter().map(|s| (*s).to_owned()).collect();
            assert_eq!(exported(&list, &[], "a", viewer), yes, "{list:?} {viewer}");
        }
    }
}
