//! Which protocol a port speaks.

/// Istio's port protocols.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Protocol {
    Http,
    Http2,
    Grpc,
    GrpcWeb,
    Https,
    Tls,
    Tcp,
    Mongo,
    Udp,
    /// Not declared: found out from the first bytes.
    Auto,
}

impl Protocol {
    /// Of a Kubernetes Service port: `appProtocol`, then the name's prefix, then well-known TCP ports.
    pub(crate) fn of_service_port(port: u16, name: &str, app_protocol: &str, transport: &str) -> Self {
        if transport == "UDP" {
            return Self::Udp;
        }
        let declared = if app_protocol.is_empty() {
            Self::by_prefix(name)
        } else {
            match app_protocol {
                "kubernetes.io/h2c" => Some(Self::Http2),
                "kubernetes.io/ws" => Some(Self::Http),
                "kubernetes.io/wss" => Some(Self::Https),
                other => Self::by_name(other),
            }
        };
        declared.unwrap_or(match port {
            // Server-first protocols that are well known.
            25 | 53 | 3306 | 27017 => Self::Tcp,
            _ => Self::Auto,
        })
    }

    /// Of a word like `HTTP2`, as in Gateways and ServiceEntries; empty or unknown is `None`.
    pub(crate) fn by_name(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "http" | "http1" => Self::Http,
            "http2" | "h2c" => Self::Http2,
            "grpc" => Self::Grpc,
            "grpc-web" => Self::GrpcWeb,
            "https" => Self::Https,
            "tls" => Self::Tls,
            "tcp" | "redis" | "mysql" => Self::Tcp,
            "mongo" => Self::Mongo,
            "udp" => Self::Udp,
            _ => return None,
        })
    }

    fn by_prefix(name: &str) -> Option<Self> {
        if name == "grpc-web" || name.starts_with("grpc-web-") {
            return Some(Self::GrpcWeb);
        }
        Self::by_name(name.split('-').next().unwrap_or(name))
    }

    /// Whether requests are routed by HTTP rules.
    pub(crate) fn is_http(self) -> bool {
        matches!(self, Self::Http | Self::Http2 | Self::Grpc | Self::GrpcWeb)
    }

    /// HTTP, or possibly so.
    pub(crate) fn may_be_http(self) -> bool {
        self.is_http() || self == Self::Auto
    }

    /// HTTP/2 by declaration.
    pub(crate) fn is_http2(self) -> bool {
        matches!(self, Self::Http2 | Self::Grpc | Self::GrpcWeb)
    }
}

#[cfg(test)]
mod tests {
    use super::Protocol;

    #[test]
    fn declared_names_decide() {
        for (port, name, app, expected) in [
            (80, "http", "", Protocol::Http),
            (80, "http-alt", "", Protocol::Http),
            (80, "http2-h2c", "", Protocol::Http2),
            (80, "grpc-web", "", Protocol::GrpcWeb),
            (80, "grpc-web-x", "", Protocol::GrpcWeb),
            (80, "grpc", "", Protocol::Grpc),
            (80, "web", "", Protocol::Auto),
            (80, "", "", Protocol::Auto),
            (80, "httpx", "", Protocol::Auto),
            (3306, "", "", Protocol::Tcp),
            (3306, "http", "", Protocol::Http),
            (80, "tcp", "http", Protocol::Http),
            (80, "", "kubernetes.io/h2c", Protocol::Http2),
        ] {
            assert_eq!(
                Protocol::of_service_port(port, name, app, "TCP"),
                expected,
                "{port} {name} {app}"
            );
        }
    }
}
