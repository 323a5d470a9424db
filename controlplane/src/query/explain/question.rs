//! The question, read from query parameters.

use mesh_model::request::TypedRequest;
use mesh_model::route::split_port;

use crate::query::Failure;

const REMEDY: &str =
    "for example ?from=default/productpage-v1&host=reviews:9080&method=GET&path=/&header=end-user:%20jason";
/// Most headers.
const HEADERS: usize = 100;
/// Longest value.
const LONGEST: usize = 16 * 1024;

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Workload that the request comes from; `None` = from outside the mesh.
    pub(super) from: Option<String>,
    /// Gateway where it enters.
    pub(super) gateway: Option<String>,
    /// Port of the service or server.
    pub(super) port: u16,
    /// The request.
    pub(super) request: TypedRequest,
}

impl Wanted {
    pub(super) fn read(raw: &str) -> Result<Self, Failure> {
        let mut wanted = Self {
            from: None,
            gateway: None,
            port: 0,
            request: TypedRequest {
                method: "GET".into(),
                scheme: "http".into(),
                authority: String::new(),
                target: "/".into(),
                headers: Vec::new(),
            },
        };
        let mut port = None;
        for (name, value) in form_urlencoded::parse(raw.as_bytes()) {
            let value = value.into_owned();
            if value.len() > LONGEST || value.contains(['\r', '\n', '\0']) {
                return Err(Failure::bad(
                    format!("{name} is too long or has line breaks"),
                    REMEDY,
                ));
            }
            let request = &mut wanted.request;
            match name.as_ref() {
                "from" => wanted.from = Some(value).filter(|v| !v.is_empty()),
                "gateway" => wanted.gateway = Some(value).filter(|v| !v.is_empty()),
                "host" => request.authority = value,
                "method" => request.method = value,
                "path" => request.target = value,
                "scheme" => request.scheme = value,
                "port" => {
                    let read = value.parse::<u16>().ok().filter(|port| *port != 0);
                    port = Some(read.ok_or_else(|| Failure::bad(format!("port {value:?} is none"), REMEDY))?);
                }
                "header" if request.headers.len() < HEADERS => request.headers.push(header(&value)?),
                "header" => return Err(Failure::bad(format!("more than {HEADERS} headers"), REMEDY)),
                other => return Err(Failure::bad(format!("there is no parameter {other:?}"), REMEDY)),
            }
        }
        let request = &mut wanted.request;
        if request.authority.is_empty() {
            return Err(Failure::bad("host is missing", REMEDY));
        }
        if !request.target.starts_with('/') {
            return Err(Failure::bad(
                format!("path {:?} does not begin with /", request.target),
                REMEDY,
            ));
        }
        if !matches!(request.scheme.as_str(), "http" | "https") {
            return Err(Failure::bad(
                format!("scheme {:?} is neither http nor https", request.scheme),
                REMEDY,
            ));
        }
        let said = split_port(request.authority.as_bytes()).1;
        let usual = if request.scheme == "https" { 443 } else { 80 };
        wanted.port = port.or(said).unwrap_or(usual);
        if let (Some(port), None) = (port, said)
            && port != usual
        {
            // Where the port counts is the authority.
            request.authority = format!("{}:{port}", request.authority);
        }
        Ok(wanted)
    }
}

fn header(text: &str) -> Result<(String, String), Failure> {
    let read = text.split_once(':').filter(|(name, _)| !name.trim().is_empty());
    let (name, value) =
        read.ok_or_else(|| Failure::bad(format!("header {text:?} is not NAME: VALUE"), REMEDY))?;
    Ok((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::Wanted;

    #[track_caller]
    fn check(raw: &str, expected: Option<(u16, &str)>) {
        let read = Wanted::read(raw).ok().map(|w| (w.port, w.request.authority));
        let expected = expected.map(|(port, authority)| (port, authority.to_owned()));
        assert_eq!(read, expected, "{raw}");
    }

    #[test]
    fn questions() {
        check("host=reviews:9080", Some((9080, "reviews:9080")));
        check("host=reviews&port=9080", Some((9080, "reviews:9080")));
        check("host=reviews", Some((80, "reviews")));
        check("host=reviews&scheme=https", Some((443, "reviews")));
        check("host=reviews&port=0", None);
        check("host=reviews&path=x", None);
        check("path=/", None);
        check("host=a&header=x", None);
        check("host=a&odd=1", None);
        let wanted =
            Wanted::read("host=a&from=default/b&header=End-User:+jason&header=x:y&path=/p?q").unwrap();
        assert_eq!(wanted.from.as_deref(), Some("default/b"));
        assert_eq!(
            wanted.request.headers,
            [
                ("end-user".to_owned(), "jason".to_owned()),
                ("x".to_owned(), "y".to_owned())
            ]
        );
    }
}
