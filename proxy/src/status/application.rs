//! The application's own metrics, as its pod's annotations `prometheus.io/*` tell where they are.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::rt::TokioIo;
use mesh_xds::discovery::Struct;
use tokio::net::TcpStream;

use crate::record::settings::{annotation, text};

/// Longest wait for an application; a scrape must not fail because of it.
const DEADLINE: Duration = Duration::from_secs(2);
/// Most bytes of an application's metrics.
const MOST: usize = 8 * 1024 * 1024;

/// Where an application serves its metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Address.
    pub address: SocketAddr,
    /// Path.
    pub path: String,
}

impl Target {
    /// `prometheus.io/scrape: "true"` with `prometheus.io/port` (80 unless told) and `prometheus.io/path` (`/metrics`
    /// unless told), at the application's address.
    #[must_use]
    pub fn of(metadata: Option<&Struct>) -> Option<Self> {
        if annotation(metadata, "prometheus.io/scrape") != Some("true") {
            return None;
        }
        let port = annotation(metadata, "prometheus.io/port").map_or(Some(80), |port| port.parse().ok());
        let Some(port) = port else {
            tracing::warn!(
                "annotation prometheus.io/port: is not a port; the application's metrics are left out"
            );
            return None;
        };
        let path = annotation(metadata, "prometheus.io/path").unwrap_or("/metrics");
        let ip = text(metadata, "SIGHTLINE_APPLICATION_ADDRESS")
            .and_then(|ip| ip.parse().ok())
            .unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        Some(Self {
            address: SocketAddr::new(ip, port),
            path: if path.starts_with('/') {
                path.to_owned()
            } else {
                format!("/{path}")
            },
        })
    }

    /// The application's metrics now.
    pub async fn scrape(&self) -> Result<String, String> {
        self.scrape_within(DEADLINE).await
    }

    async fn scrape_within(&self, deadline: Duration) -> Result<String, String> {
        tokio::time::timeout(deadline, self.fetch())
            .await
            .map_err(|_| format!("no answer within {deadline:?}"))?
    }

    async fn fetch(&self) -> Result<String, String> {
        let stream = TcpStream::connect(self.address)
            .await
            .map_err(|e| e.to_string())?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|e| e.to_string())?;
        let request = hyper::Request::get(&self.path)
            .header("host", self.address.to_string())
            .header("accept", "text/plain;version=0.0.4")
            .header("connection", "close")
            .body(Empty::<Bytes>::new())
            .map_err(|e| e.to_string())?;
        let answer = async {
            let answer = sender.send_request(request).await.map_err(|e| e.to_string())?;
            if !answer.status().is_success() {
                return Err(format!("status {}", answer.status()));
            }
            let body = Limited::new(answer.into_body(), MOST)
                .collect()
                .await
                .map_err(|e| e.to_string())?
                .to_bytes();
            String::from_utf8(body.into()).map_err(|_| "the metrics are no text".to_owned())
        };
        let (answer, _) = tokio::join!(answer, connection);
        answer
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use mesh_xds::discovery::{Value, value::Kind};

    use super::*;

    fn metadata(annotations: &[(&str, &str)], address: Option<&str>) -> Struct {
        let text = |text: &str| Value {
            kind: Some(Kind::StringValue(text.into())),
        };
        let annotations = Struct {
            fields: annotations
                .iter()
                .map(|(name, value)| ((*name).to_owned(), text(value)))
                .collect(),
        };
        let mut fields = std::collections::HashMap::from([(
            "ANNOTATIONS".to_owned(),
            Value {
                kind: Some(Kind::StructValue(annotations)),
            },
        )]);
        if let Some(address) = address {
            fields.insert("SIGHTLINE_APPLICATION_ADDRESS".into(), text(address));
        }
        Struct {
            fields: fields.into_iter().collect(),
        }
    }

    #[track_caller]
    fn check(annotations: &[(&str, &str)], address: Option<&str>, wanted: Option<(&str, &str)>) {
        let got = Target::of(Some(&metadata(annotations, address)));
        let got = got.map(|t| (t.address.to_string(), t.path));
        assert_eq!(got, wanted.map(|(a, p)| (a.to_owned(), p.to_owned())));
    }

    #[test]
    fn annotations_say_where() {
        let on = ("prometheus.io/scrape", "true");
        let port = ("prometheus.io/port", "9102");
        check(&[], None, None);
        check(&[port], None, None);
        check(&[("prometheus.io/scrape", "false"), port], None, None);
        check(&[on], None, Some(("127.0.0.1:80", "/metrics")));
        check(
            &[on, port],
            Some("127.64.3.1"),
            Some(("127.64.3.1:9102", "/metrics")),
        );
        check(
            &[on, port, ("prometheus.io/path", "m")],
            None,
            Some(("127.0.0.1:9102", "/m")),
        );
        check(&[on, ("prometheus.io/port", "http")], None, None);
        assert_eq!(Target::of(None), None);
    }

    /// Serves one answer and says where.
    async fn application(answer: &'static str) -> Target {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = [0; 1024];
            let n = stream.read(&mut asked).await.unwrap();
            assert!(asked[..n].starts_with(b"GET /metrics HTTP/1.1\r\n"));
            stream.write_all(answer.as_bytes()).await.unwrap();
            if answer.is_empty() {
                // Never answers: the caller's patience must end.
                std::future::pending::<()>().await;
            }
        });
        Target {
            address,
            path: "/metrics".into(),
        }
    }

    #[tokio::test]
    async fn an_application_is_scraped() {
        let good = application("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\na 1\n").await;
        assert_eq!(good.scrape().await.unwrap(), "a 1\n");
        let bad = application("HTTP/1.1 500 No\r\ncontent-length: 0\r\n\r\n").await;
        assert!(bad.scrape().await.unwrap_err().contains("500"));
    }

    #[tokio::test]
    async fn a_silent_application_does_not_hold_a_scrape_up() {
        let silent = application("").await;
        assert!(
            silent
                .scrape_within(Duration::from_millis(50))
                .await
                .unwrap_err()
                .contains("no answer within")
        );
    }

    #[tokio::test]
    async fn a_missing_application_is_said_to_be_missing() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let target = Target {
            address,
            path: "/metrics".into(),
        };
        assert!(target.scrape().await.is_err());
    }
}
