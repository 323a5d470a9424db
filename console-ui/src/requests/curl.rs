//! A kept request as a command. Pure.

use mesh_api::requests::KeptRequest;

/// Headers that curl writes itself.
const ITS_OWN: [&str; 6] = [
    "host",
    "content-length",
    "connection",
    "transfer-encoding",
    "accept-encoding",
    "user-agent",
];

/// The request as a command for a shell. Every recorded text is quoted, so that none of it is run.
pub fn curl(request: &KeptRequest) -> String {
    let path = if request.path.starts_with('/') {
        request.path.clone()
    } else {
        format!("/{}", request.path)
    };
    let mut parts = vec!["curl".to_owned(), "-i".to_owned()];
    if !matches!(request.method.as_str(), "GET" | "") {
        parts.push(format!("-X {}", quoted(&request.method)));
    }
    if !request.user_agent.is_empty() {
        parts.push(format!("-A {}", quoted(&request.user_agent)));
    }
    for (name, value) in &request.headers {
        let lower = name.to_ascii_lowercase();
        if !name.starts_with(':') && !ITS_OWN.contains(&lower.as_str()) {
            parts.push(format!("-H {}", quoted(&format!("{name}: {value}"))));
        }
    }
    parts.push(quoted(&format!("http://{}{path}", request.authority)));
    parts.join(" ")
}

/// In single quotes; control characters, which no header or path may have, become spaces.
fn quoted(text: &str) -> String {
    let clean: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    format!("'{}'", clean.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(method: &str, path: &str, headers: &[(&str, &str)], expected: &str) {
        let request = KeptRequest {
            method: method.into(),
            authority: "shop.example".into(),
            path: path.into(),
            headers: headers
                .iter()
                .map(|(name, value)| ((*name).into(), (*value).into()))
                .collect(),
            ..KeptRequest::default()
        };
        assert_eq!(curl(&request), expected);
    }

    #[test]
    fn commands() {
        check("GET", "/a", &[], "curl -i 'http://shop.example/a'");
        check(
            "POST",
            "b",
            &[(":path", "/b"), ("Host", "x"), ("x-user", "it's")],
            r"curl -i -X 'POST' -H 'x-user: it'\''s' 'http://shop.example/b'",
        );
        check(
            "GET",
            "/'; rm -rf /;'",
            &[("x", "a\r\ny: b")],
            r"curl -i -H 'x: a  y: b' 'http://shop.example/'\''; rm -rf /;'\'''",
        );
    }
}
