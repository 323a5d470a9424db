//! Values of header edits: Envoy format strings.

/// Facts that a format string may name.
pub trait FormatFacts {
    /// Appends the value of `%NAME%` or `%NAME(argument)%`; `false` = not known or absent.
    fn fact(&self, name: &str, argument: &str, out: &mut Vec<u8>) -> bool;
}

/// Appends `template` with its `%NAME(argument)%` tokens replaced; an absent fact adds nothing (`-` where the
/// format stands alone is the caller's business), `%%` is a percent sign, an unfinished token stays as it is.
pub fn write_value(template: &str, facts: &dyn FormatFacts, out: &mut Vec<u8>) {
    let mut rest = template;
    while let Some(at) = rest.find('%') {
        let (before, token) = rest.split_at(at);
        out.extend_from_slice(before.as_bytes());
        let token = token.get(1..).unwrap_or_default();
        if let Some(after) = token.strip_prefix('%') {
            out.push(b'%');
            rest = after;
            continue;
        }
        // The argument may hold percent signs of its own (`%START_TIME(%s)%`).
        let end = match (token.find('%'), token.find('(')) {
            (Some(percent), Some(open)) if open < percent => token
                .find(')')
                .and_then(|close| Some(close + token.get(close..)?.find('%')?)),
            (percent, _) => percent,
        };
        let Some(end) = end else {
            out.push(b'%');
            out.extend_from_slice(token.as_bytes());
            return;
        };
        let (name, after) = token.split_at(end);
        let (name, argument) = match name.split_once('(') {
            Some((name, argument)) => (name, argument.strip_suffix(')').unwrap_or(argument)),
            None => (name, ""),
        };
        facts.fact(name, argument, out);
        rest = after.get(1..).unwrap_or_default();
    }
    out.extend_from_slice(rest.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::{FormatFacts, write_value};

    struct Facts;
    impl FormatFacts for Facts {
        fn fact(&self, name: &str, argument: &str, out: &mut Vec<u8>) -> bool {
            if name == "GONE" {
                return false;
            }
            out.extend_from_slice(format!("<{name}:{argument}>").as_bytes());
            true
        }
    }

    #[track_caller]
    fn check(template: &str, expected: &str) {
        let mut out = Vec::new();
        write_value(template, &Facts, &mut out);
        assert_eq!(String::from_utf8_lossy(&out), expected, "{template}");
    }

    #[test]
    fn tokens_are_replaced() {
        check("plain", "plain");
        check("%PROTOCOL%", "<PROTOCOL:>");
        check("a%REQ(x-y)%b", "a<REQ:x-y>b");
        check("100%%", "100%");
        check("%GONE%x", "x");
        check("%START_TIME(%s)%!", "<START_TIME:%s>!");
        check("%REQ(a?b):3%!", "<REQ:a?b):3>!");
        check("50% off", "50% off");
        check("%REQ(x", "%REQ(x");
    }
}
