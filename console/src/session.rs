//! Who is signed in: a bounded table in memory. A restart signs everyone out, and nothing is on disk.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use rand::RngCore;

/// More sessions than people; the longest unused one makes room.
const LIMIT: usize = 4096;
/// A working day.
const LIFETIME: Duration = Duration::from_secs(12 * 3600);

/// A signed-in user.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    /// Name, as the API server says.
    pub name: String,
    /// Kubernetes bearer token that the user acts with.
    pub token: String,
}

impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("User")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

struct Entry {
    user: User,
    created: Instant,
    used: Instant,
}

/// The table. Locked for a look-up only, never across an await.
#[derive(Default)]
pub struct Sessions {
    entries: Mutex<HashMap<String, Entry>>,
}

impl Sessions {
    /// Signs a user in; answers the cookie's value.
    pub fn create(&self, user: User, now: Instant) -> String {
        let mut bytes = [0_u8; 32];
        rand::rng().fill_bytes(&mut bytes);
        let id = URL_SAFE_NO_PAD.encode(bytes);
        let mut entries = self.entries.lock();
        entries.retain(|_, entry| now.duration_since(entry.created) < LIFETIME);
        if entries.len() >= LIMIT
            && let Some(oldest) = entries
                .iter()
                .min_by_key(|(_, entry)| entry.used)
                .map(|(id, _)| id.clone())
        {
            entries.remove(&oldest);
        }
        entries.insert(
            id.clone(),
            Entry {
                user,
                created: now,
                used: now,
            },
        );
        id
    }

    /// Who the cookie stands for.
    pub fn find(&self, id: &str, now: Instant) -> Option<User> {
        let mut entries = self.entries.lock();
        let entry = entries.get_mut(id)?;
        if now.duration_since(entry.created) >= LIFETIME {
            entries.remove(id);
            return None;
        }
        entry.used = now;
        Some(entry.user.clone())
    }

    /// Signs out.
    pub fn end(&self, id: &str) {
        self.entries.lock().remove(id);
    }
}

/// Over TLS browsers hold the cookie to its origin by its prefix.
pub fn cookie_name(secure: bool) -> &'static str {
    if secure { "__Host-sightline" } else { "sightline" }
}

/// `Set-Cookie` of a new session.
pub fn set_cookie(id: &str, secure: bool) -> String {
    let suffix = if secure { "; Secure" } else { "" };
    format!(
        "{}={id}; Path=/; HttpOnly; SameSite=Lax; Max-Age={}{suffix}",
        cookie_name(secure),
        LIFETIME.as_secs()
    )
}

/// `Set-Cookie` that removes it.
pub fn clear_cookie(secure: bool) -> String {
    let suffix = if secure { "; Secure" } else { "" };
    format!(
        "{}=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0{suffix}",
        cookie_name(secure)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user() -> User {
        User {
            name: "ada".into(),
            token: "secret".into(),
        }
    }

    #[test]
    fn a_session_ends_after_its_lifetime() {
        let (sessions, start) = (Sessions::default(), Instant::now());
        let id = sessions.create(user(), start);
        assert_eq!(
            sessions.find(&id, start + LIFETIME - Duration::from_secs(1)),
            Some(user())
        );
        assert_eq!(sessions.find(&id, start + LIFETIME), None);
    }

    #[test]
    fn the_longest_unused_makes_room() {
        let (sessions, start) = (Sessions::default(), Instant::now());
        let first = sessions.create(user(), start);
        let second = sessions.create(user(), start + Duration::from_secs(1));
        sessions.find(&first, start + Duration::from_secs(2));
        for _ in 2..=LIMIT {
            sessions.create(user(), start + Duration::from_secs(3));
        }
        let now = start + Duration::from_secs(4);
        assert!(sessions.find(&first, now).is_some());
        assert!(sessions.find(&second, now).is_none());
    }

    #[test]
    fn a_token_is_never_printed() {
        assert!(!format!("{:?}", user()).contains("secret"));
    }

    #[test]
    fn cookies_over_tls_are_bound_to_their_host() {
        assert!(set_cookie("x", true).starts_with("__Host-sightline=x; Path=/; HttpOnly; SameSite=Lax"));
        assert!(set_cookie("x", true).ends_with("; Secure"));
        assert!(set_cookie("x", false).starts_with("sightline=x; Path=/; HttpOnly; SameSite=Lax"));
        assert!(!set_cookie("x", false).contains("Secure"));
    }
}
