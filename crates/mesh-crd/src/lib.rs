//! Kubernetes-shaped objects: parse, defaults, validation, analysis.
