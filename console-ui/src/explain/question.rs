//! What is asked, as the URL and the API write it. Pure.

use mesh_api::requests::KeptRequest;

use crate::requests::percent_encode;

/// Headers that every proxy writes anew, or that say nothing about a route.
const UNSAID: [&str; 9] = [
    ":authority",
    ":method",
    ":path",
    "content-length",
    "traceparent",
    "tracestate",
    "x-b3-spanid",
    "x-b3-traceid",
    "x-request-id",
];

/// A request that is asked about; empty fields are not said.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Question {
    /// `namespace/workload`; empty = from outside the mesh.
    pub source: String,
    /// Gateway by which it enters.
    pub gateway: String,
    /// Method.
    pub method: String,
    /// Authority.
    pub host: String,
    /// Port.
    pub port: String,
    /// Path with query.
    pub path: String,
    /// `name: value` lines.
    pub headers: String,
}

impl Question {
    /// Reads the page's parameters.
    pub fn read(one: impl Fn(&str) -> String) -> Self {
        Self {
            source: one("source"),
            gateway: one("gateway"),
            method: one("method"),
            host: one("host"),
            port: one("port"),
            path: one("path"),
            headers: one("headers"),
        }
    }

    fn pairs(&self) -> [(&'static str, &str); 7] {
        [
            ("source", &self.source),
            ("gateway", &self.gateway),
            ("method", &self.method),
            ("host", &self.host),
            ("port", &self.port),
            ("path", &self.path),
            ("headers", &self.headers),
        ]
    }

    /// The page's parameters.
    pub fn parameters(&self) -> Vec<(&'static str, Option<String>)> {
        self.pairs()
            .into_iter()
            .map(|(name, value)| (name, (!value.is_empty()).then(|| value.to_owned())))
            .collect()
    }

    /// The page that answers it.
    pub fn page(&self) -> String {
        let said: Vec<String> = self
            .pairs()
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| format!("{name}={}", percent_encode(value)))
            .collect();
        format!("/explain?{}", said.join("&"))
    }

    /// The question to the API.
    pub fn path_at_the_api(&self) -> String {
        let mut path = format!("/api/explain?host={}", percent_encode(&self.host));
        let named = [
            ("from", &self.source),
            ("gateway", &self.gateway),
            ("method", &self.method),
            ("port", &self.port),
            ("path", &self.path),
        ];
        for (name, value) in named {
            if !value.is_empty() {
                path.push_str(&format!("&{name}={}", percent_encode(value)));
            }
        }
        for line in self
            .headers
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
        {
            path.push_str(&format!("&header={}", percent_encode(line)));
        }
        path
    }

    /// The same request as a kept one. What a gateway reported came from outside and entered there: from it, when it
    /// is the source.
    pub fn of(request: &KeptRequest) -> Option<Self> {
        if request.authority.is_empty() || request.protocol == "tcp" {
            return None;
        }
        let known = |id: &str| {
            if id.contains('/') {
                id.to_owned()
            } else {
                String::new()
            }
        };
        let headers: Vec<String> = request
            .headers
            .iter()
            .filter(|(name, _)| !UNSAID.contains(&name.to_ascii_lowercase().as_str()))
            .map(|(name, value)| format!("{name}: {value}"))
            .collect();
        let (source, gateway) = match known(&request.source) {
            source if source.contains("gateway") && request.reporter == "source" => (String::new(), source),
            source if source.is_empty() && request.destination.contains("gateway") => {
                (source, known(&request.destination))
            }
            source => (source, String::new()),
        };
        Some(Self {
            source,
            gateway,
            method: request.method.clone(),
            port: port(request),
            host: request.authority.clone(),
            path: request.path.clone(),
            headers: headers.join("\n"),
        })
    }
}

/// The port of `outbound|9080|v1|reviews.default.svc.cluster.local`, where the authority names none.
fn port(request: &KeptRequest) -> String {
    let own = request
        .authority
        .rsplit_once(':')
        .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let mut parts = request.upstream_cluster.split('|');
    match (parts.next(), parts.next()) {
        // A gateway's own port is not that of the service behind it.
        (Some("outbound"), Some(port)) if !own && !request.source.contains("gateway") => port.to_owned(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept() -> KeptRequest {
        KeptRequest {
            source: "default/productpage-v1".into(),
            destination: "default/reviews-v1".into(),
            reporter: "source".into(),
            protocol: "http".into(),
            method: "GET".into(),
            authority: "reviews".into(),
            path: "/reviews/1".into(),
            upstream_cluster: "outbound|9080|v1|reviews.default.svc.cluster.local".into(),
            headers: vec![
                ("end-user".into(), "jason & co".into()),
                ("X-Request-Id".into(), "1".into()),
            ],
            ..KeptRequest::default()
        }
    }

    #[track_caller]
    fn check(change: impl FnOnce(&mut KeptRequest), page: Option<&str>) {
        let mut request = kept();
        change(&mut request);
        assert_eq!(
            Question::of(&request).map(|question| question.page()).as_deref(),
            page
        );
    }

    #[test]
    fn a_kept_request_fills_in_the_form() {
        check(
            |_| {},
            Some(
                "/explain?source=default%2Fproductpage-v1&method=GET&host=reviews&port=9080&path=%2Freviews%2F1&headers=end-user%3A%20jason%20%26%20co",
            ),
        );
        check(
            |request| request.authority = "reviews:81".into(),
            Some(
                "/explain?source=default%2Fproductpage-v1&method=GET&host=reviews%3A81&path=%2Freviews%2F1&headers=end-user%3A%20jason%20%26%20co",
            ),
        );
        check(
            |request| {
                request.source = "istio-system/istio-ingressgateway".into();
                request.headers.clear();
            },
            Some(
                "/explain?gateway=istio-system%2Fistio-ingressgateway&method=GET&host=reviews&path=%2Freviews%2F1",
            ),
        );
        check(|request| request.protocol = "tcp".into(), None);
        check(|request| request.authority.clear(), None);
    }

    #[test]
    fn each_header_is_a_parameter_of_its_own() {
        let question = Question {
            source: "a/b".into(),
            host: "x".into(),
            headers: "a: 1\n\n b: 2 ".into(),
            ..Question::default()
        };
        assert_eq!(
            question.path_at_the_api(),
            "/api/explain?host=x&from=a%2Fb&header=a%3A%201&header=b%3A%202"
        );
    }

    #[test]
    fn the_url_is_read_as_it_was_written() {
        let question = Question::of(&kept()).unwrap_or_default();
        let parameters = question.parameters();
        let read = Question::read(|name| {
            parameters
                .iter()
                .find(|(known, _)| *known == name)
                .and_then(|(_, value)| value.clone())
                .unwrap_or_default()
        });
        assert_eq!(read, question);
    }
}
