//! The pages, built by `cargo xtask ui` and carried in the binary.

use axum::body::Body;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use rand::RngCore;
use rust_embed::RustEmbed;

use crate::answer::Failure;

#[derive(RustEmbed)]
#[folder = "../console-ui/dist"]
struct Dist;

/// The page for every path that belongs to it.
pub fn page() -> Response<Body> {
    let Some(file) = Dist::get("index.html") else {
        return plain(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the pages were not built in: run `cargo xtask ui`",
        );
    };
    let mut random = [0_u8; 16];
    rand::rng().fill_bytes(&mut random);
    let nonce = STANDARD_NO_PAD.encode(random);
    let html = String::from_utf8_lossy(&file.data).replace("{{nonce}}", &nonce);
    let mut response = Response::new(Body::from(html));
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/html; charset=utf-8"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(policy) = HeaderValue::try_from(content_security_policy(&nonce)) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    response
}

fn content_security_policy(nonce: &str) -> String {
    format!(
        "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self' 'nonce-{nonce}'; font-src 'self'; \
         img-src 'self' data:; connect-src 'self'; worker-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
    )
}

/// A file below `/assets/`: its name carries a hash of its content, so that it never changes.
pub fn asset(path: &str, request: &HeaderMap) -> Result<Response<Body>, Failure> {
    let name = format!("assets/{path}");
    let accepted = request
        .get(header::ACCEPT_ENCODING)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let twin = [("br", ".br"), ("gzip", ".gz")]
        .into_iter()
        .filter(|(encoding, _)| accepts(accepted, encoding))
        .find_map(|(encoding, extension)| Some((Some(encoding), Dist::get(&format!("{name}{extension}"))?)));
    let found = twin.or_else(|| Some((None, Dist::get(&name)?)));
    let Some((encoding, file)) = found.filter(|_| !name.ends_with(".br") && !name.ends_with(".gz")) else {
        return Err(Failure::new(StatusCode::NOT_FOUND, "no such file")
            .remedy("reload the page: the console was updated"));
    };
    let mut response = Response::new(Body::from(file.data.into_owned()));
    let headers = response.headers_mut();
    if let Ok(kind) = HeaderValue::try_from(mime_guess::from_path(&name).first_or_octet_stream().as_ref()) {
        headers.insert(header::CONTENT_TYPE, kind);
    }
    // The notices keep their name, whatever they say.
    let hashed = !name.ends_with(".txt");
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static(if hashed {
            "public, max-age=31536000, immutable"
        } else {
            "no-cache"
        }),
    );
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    if let Some(encoding) = encoding {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
    }
    Ok(response)
}

/// Whether `Accept-Encoding` lists an encoding and does not refuse it by `q=0`.
fn accepts(header: &str, encoding: &str) -> bool {
    header.split(',').any(|item| {
        let mut parts = item.split(';').map(str::trim);
        let refused = |parameter: &str| {
            parameter
                .strip_prefix("q=")
                .is_some_and(|q| q.parse() == Ok(0.0_f32))
        };
        parts
            .next()
            .is_some_and(|name| name.eq_ignore_ascii_case(encoding))
            && !parts.any(refused)
    })
}

fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use super::accepts;

    #[test]
    fn encodings() {
        for (header, encoding, expected) in [
            ("gzip, deflate, br", "br", true),
            ("gzip, deflate", "br", false),
            ("br;q=0, gzip", "br", false),
            ("br; q=0.5", "br", true),
            ("GZIP", "gzip", true),
            ("", "gzip", false),
        ] {
            assert_eq!(accepts(header, encoding), expected, "{header:?} {encoding}");
        }
    }
}
