//! Path normalisation (Istio BASE, and merged slashes): what is matched is what is forwarded.

/// What became of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Normalized {
    /// As it was.
    Same,
    /// Changed.
    Changed(Vec<u8>),
    /// Holds an escaped NUL (or is no path): answered 400 `path_normalization_failed`.
    Refused,
}

/// Resolves `.` and `..` (escaped too), turns `\` into `/`, decodes escapes of unreserved characters; with
/// `merge_slashes`, runs of `/` become one. `%2F`, `%5C`, broken escapes and everything after `?` stay as they are.
#[must_use]
pub fn normalize(path_and_query: &[u8], merge_slashes: bool) -> Normalized {
    let (path, query) = crate::request::split_query(path_and_query);
    if path.first() != Some(&b'/') {
        return Normalized::Refused;
    }
    if !needs_work(path, merge_slashes) {
        return Normalized::Same;
    }
    let Some(decoded) = decode_unreserved(path) else {
        return Normalized::Refused;
    };
    let mut out = resolve_dots(&decoded, merge_slashes);
    if out == path {
        return Normalized::Same;
    }
    if let Some(query) = query {
        out.push(b'?');
        out.extend_from_slice(query);
    }
    Normalized::Changed(out)
}

fn needs_work(path: &[u8], merge_slashes: bool) -> bool {
    let mut before = 0;
    path.iter().any(|byte| {
        let hit = matches!(byte, b'%' | b'\\')
            || (before == b'/' && (*byte == b'.' || (merge_slashes && *byte == b'/')));
        before = *byte;
        hit
    })
}

fn decode_unreserved(path: &[u8]) -> Option<Vec<u8>> {
    let hex = |byte: Option<&u8>| byte.and_then(|b| char::from(*b).to_digit(16));
    let mut out = Vec::with_capacity(path.len());
    let mut at = 0;
    while let Some(byte) = path.get(at) {
        if *byte == b'%'
            && let (Some(high), Some(low)) = (hex(path.get(at + 1)), hex(path.get(at + 2)))
        {
            let value = u8::try_from(high * 16 + low).ok()?;
            match value {
                0 => return None,
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(value),
                _ => out.extend_from_slice(path.get(at..at + 3)?),
            }
            at += 3;
            continue;
        }
        out.push(if *byte == b'\\' { b'/' } else { *byte });
        at += 1;
    }
    Some(out)
}

fn resolve_dots(path: &[u8], merge_slashes: bool) -> Vec<u8> {
    let mut out: Vec<u8> = Vec::with_capacity(path.len());
    let mut segments = path.split(|b| *b == b'/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            b"." => {
                if last {
                    out.push(b'/');
                }
            }
            b".." => {
                let up = out.iter().rposition(|b| *b == b'/').unwrap_or(0);
                out.truncate(up);
                if last {
                    out.push(b'/');
                }
            }
            b"" if merge_slashes && !last => {}
            _ => {
                out.push(b'/');
                out.extend_from_slice(segment);
            }
        }
    }
    if out.is_empty() {
        out.push(b'/');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{Normalized, normalize};

    #[track_caller]
    fn check(path: &str, merge: bool, expected: &str) {
        match normalize(path.as_bytes(), merge) {
            Normalized::Same => assert_eq!(path, expected),
            Normalized::Changed(got) => assert_eq!(String::from_utf8_lossy(&got), expected, "{path}"),
            Normalized::Refused => assert_eq!("refused", expected, "{path}"),
        }
    }

    #[test]
    fn base() {
        for (path, expected) in [
            ("/", "/"),
            ("/a/b?x=/../y", "/a/b?x=/../y"),
            ("/a/./b", "/a/b"),
            ("/a/../b?q", "/b?q"),
            ("/a/%2e%2E/b", "/b"),
            ("/a/..", "/"),
            ("/a/b/..", "/a/"),
            ("/a/.", "/a/"),
            ("/../../x", "/x"),
            ("/..", "/"),
            ("/a\\b", "/a/b"),
            ("/a/..\\b", "/b"),
            ("/%61dmin", "/admin"),
            ("/a//b", "/a//b"),
            ("/a%2Fb", "/a%2Fb"),
            ("/a%5Cb", "/a%5Cb"),
            ("/a%20b;x", "/a%20b;x"),
            ("/%zz", "/%zz"),
            ("/%", "/%"),
            ("/a%252e", "/a%252e"),
            ("/...", "/..."),
            ("/.a/..b", "/.a/..b"),
            ("/%00", "refused"),
            ("a", "refused"),
            ("", "refused"),
        ] {
            check(path, false, expected);
        }
    }

    #[test]
    fn merged() {
        check("/a//b///c", true, "/a/b/c");
        check("//", true, "/");
        check("/a//", true, "/a/");
        check("/a/..//b", true, "/b");
    }
}
