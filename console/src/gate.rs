//! Who is asking, from where, and whether they may.

use std::time::Instant;

use http::{HeaderMap, Method, StatusCode, header};

use crate::answer::Failure;
use crate::routes::{Action, Permission, Route};
use crate::session::{User, cookie_name};
use crate::state::Console;

/// Where a request says that it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// From the console's own page.
    Same,
    /// Typed into the address bar, or a bookmark.
    Typed,
    /// From another site's page.
    Cross,
    /// No browser, or a very old one.
    Untold,
}

/// Judges `Origin` and `Sec-Fetch-Site` against the host that was asked for.
pub fn origin(headers: &HeaderMap, host: &str) -> Origin {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let site = text("sec-fetch-site");
    if !matches!(site, None | Some("same-origin" | "none")) {
        return Origin::Cross;
    }
    match (text("origin"), site) {
        (Some(origin), _) => {
            let bare = origin
                .strip_prefix("http://")
                .or_else(|| origin.strip_prefix("https://"));
            if bare.is_some_and(|bare| bare.eq_ignore_ascii_case(host)) {
                Origin::Same
            } else {
                Origin::Cross
            }
        }
        (None, Some("same-origin")) => Origin::Same,
        (None, Some(_)) => Origin::Typed,
        (None, None) => Origin::Untold,
    }
}

/// Hosts by which browsers may reach the console. Others are refused, so that a name that an attacker points at
/// this address (DNS rebinding) finds nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hosts(Vec<String>);

impl Hosts {
    /// Loopback names where the console listens on loopback, the address itself, and what the flags add.
    pub fn new(listen: std::net::SocketAddr, added: &[String]) -> Self {
        let mut hosts = vec![listen.to_string()];
        if listen.ip().is_loopback() {
            hosts.extend(["127.0.0.1", "[::1]", "localhost"].map(|name| format!("{name}:{}", listen.port())));
        }
        hosts.extend(added.iter().map(|host| host.to_ascii_lowercase()));
        Self(hosts)
    }

    /// Whether the console answers to this `Host`.
    pub fn allow(&self, host: &str) -> bool {
        let host = host.to_ascii_lowercase();
        self.0.contains(&host)
    }
}

/// Who is asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// Nobody signed in.
    Anonymous,
    /// By the page's cookie.
    Cookie(User),
    /// By a token in the request.
    Bearer(User),
}

impl Identity {
    /// The user, if one is signed in.
    pub fn user(&self) -> Option<&User> {
        match self {
            Self::Anonymous => None,
            Self::Cookie(user) | Self::Bearer(user) => Some(user),
        }
    }

    /// For the audit log.
    pub fn name(&self) -> &str {
        self.user().map_or("anonymous", |user| &user.name)
    }
}

/// Finds out who is asking; a token that is not valid is refused, not ignored.
pub async fn identify(console: &Console, headers: &HeaderMap) -> Result<Identity, Failure> {
    if let Some(token) = bearer(headers) {
        let Some(name) = console
            .reviews
            .name(&console.cluster, token, Instant::now())
            .await?
        else {
            return Err(Failure::new(
                StatusCode::UNAUTHORIZED,
                "the API server does not know this token",
            )
            .remedy("sign in with a token that is valid now"));
        };
        return Ok(Identity::Bearer(User {
            name,
            token: token.to_owned(),
        }));
    }
    let user =
        session_id(headers, console.config.secure()).and_then(|id| console.sessions.find(id, Instant::now()));
    Ok(user.map_or(Identity::Anonymous, Identity::Cookie))
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers
        .get(header::AUTHORIZATION)?
        .to_str()
        .ok()?
        .split_once(' ')?;
    scheme
        .eq_ignore_ascii_case("bearer")
        .then(|| token.trim())
        .filter(|token| !token.is_empty())
}

/// The session named by the cookie.
pub fn session_id(headers: &HeaderMap, secure: bool) -> Option<&str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .find_map(|pair| pair.trim().strip_prefix(cookie_name(secure))?.strip_prefix('='))
}

/// Checks that hold before anyone is identified.
pub fn admit(route: &Route, method: &Method, headers: &HeaderMap, origin: Origin) -> Result<(), Failure> {
    let safe = matches!(*method, Method::GET | Method::HEAD);
    if safe {
        let stream = route.action == Action::Stream;
        return if stream && origin == Origin::Cross {
            Err(foreign())
        } else {
            Ok(())
        };
    }
    let told = match origin {
        Origin::Same => true,
        // Without a browser there is no foreign page, but a cookie alone must not do.
        Origin::Untold => headers.contains_key(header::AUTHORIZATION) || route.permission != Permission::Edit,
        Origin::Typed | Origin::Cross => false,
    };
    if !told {
        return Err(foreign());
    }
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let json = kind
        .split(';')
        .next()
        .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"));
    if route.request.is_some() && !json {
        return Err(
            Failure::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the body must be JSON")
                .remedy("send it with `Content-Type: application/json`"),
        );
    }
    Ok(())
}

fn foreign() -> Failure {
    Failure::new(
        StatusCode::FORBIDDEN,
        "this request does not come from the console's own page",
    )
    .remedy("open the console itself; programs send `Authorization: Bearer`")
}

/// Whether this identity may use the route at all.
pub fn permit(route: &Route, identity: &Identity, anonymous_may_read: bool) -> Result<(), Failure> {
    match route.permission {
        Permission::Public => Ok(()),
        Permission::Read if anonymous_may_read || identity.user().is_some() => Ok(()),
        Permission::Records | Permission::Edit if identity.user().is_some() => Ok(()),
        Permission::Read | Permission::Records | Permission::Edit => Err(Failure::unauthenticated()),
    }
}

#[cfg(test)]
mod tests;
