#![allow(clippy::unwrap_used, reason = "tests")]

use proptest::prelude::*;

use super::*;

#[track_caller]
fn check(sent: &str, recorded: &str) {
    assert_eq!(url(sent.as_bytes(), 1024), recorded, "{sent}");
}

#[test]
fn values_of_queries_are_left_out() {
    check("/", "/");
    check("/a/b", "/a/b");
    check("/a?", "/a?");
    check("/a?x=1", "/a?x=");
    check("/a?x=1&y=2", "/a?x=&y=");
    check("/a?x=&y", "/a?x=&");
    check("/a?s3cr3t", "/a?");
    check("/a?x=1=2&y=3", "/a?x=&y=");
    check("/a?x=1;y=2", "/a?x=");
    check("/a?x=b?c=d&e=f", "/a?x=&e=");
    check("/a?next=/b/c&t=%26x%3D1", "/a?next=&t=");
    check("/a?x=1&&y=2", "/a?x=&&y=");
    check("/a?token=a/b/c", "/a?token=");
    check("/a?=v", "/a?=");
    check("/a#access_token=1", "/a");
    check("/a?x=1#access_token=2", "/a?x=");
    check("/a;jsessionid=1234/b;v=2?x=1", "/a;jsessionid=/b;v=?x=");
    check("/a=b/c", "/a=b/c");
    check("http://user:pass@host/a?x=1", "http://host/a?x=");
    check("http://user:p@ss@host", "http://host");
    check("https://host/@me", "https://host/@me");
    check("/a\r\nx: y\0", "/a??x: y?");
    check("*", "*");
}

#[test]
fn texts_are_cut_between_characters() {
    assert_eq!(printable("aéé".as_bytes(), 4), "aé");
    assert_eq!(printable("aéé".as_bytes(), 3), "aé");
    assert_eq!(printable("aéé".as_bytes(), 2), "a");
    assert_eq!(printable(b"\xff\xfe", 9), "??");
    assert_eq!(
        authority(b"user:pass@shop.example.com:80", 255),
        "shop.example.com:80"
    );
}

fn recorded(policy: &Policy, headers: &[(&str, &str)]) -> Vec<(String, String)> {
    policy.headers(headers.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())))
}

#[test]
fn secret_headers_are_named_and_no_more() {
    let policy = Policy {
        secret: vec!["x-customer".into()],
    };
    for name in [
        "authorization",
        "Authorization",
        "proxy-authorization",
        "cookie",
        "set-cookie",
        "x-api-key",
        "x-auth-token",
        "x-amz-security-token",
        "x-csrf-token",
        "x-session-id",
        "my-password",
        "x-customer",
        "X-CUSTOMER",
        "x-forwarded-client-cert",
    ] {
        let got = recorded(&policy, &[(name, "s3cr3t")]);
        assert_eq!(got, [(name.to_owned(), REDACTED.to_owned())]);
    }
    let open = [
        ("accept", "a/b;q=0.9, */*"),
        ("referer", "http://a/b?t=s3cr3t"),
        ("x-request-id", "1"),
    ];
    let got = recorded(&policy, &open);
    let wanted = [
        ("accept", "a/b;q=0.9, */*"),
        ("referer", "http://a/b?t="),
        ("x-request-id", "1"),
    ];
    assert_eq!(got, wanted.map(|(n, v)| (n.to_owned(), v.to_owned())));
}

#[test]
fn recorded_headers_are_bounded() {
    let long = "v".repeat(1000);
    let many: Vec<(String, &str)> = (0..100).map(|n| (format!("x-{n}"), long.as_str())).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(n, v)| (n.as_str(), *v)).collect();
    let got = recorded(&Policy::default(), &many);
    assert!(got.len() <= HEADERS && got.iter().map(|(n, v)| n.len() + v.len()).sum::<usize>() <= BYTES);
    assert!(got.iter().all(|(_, v)| v.len() <= VALUE));
    let small: Vec<(&str, &str)> = vec![("a", "b"); 100];
    assert_eq!(recorded(&Policy::default(), &small).len(), HEADERS);
    let name = "n".repeat(NAME + 1);
    assert!(recorded(&Policy::default(), &[(&name, "v"), (":path", "/")]).is_empty());
}

proptest! {
    #[test]
    fn no_query_value_survives(path in "/[a-z/]{0,8}", pairs in proptest::collection::vec(("[a-z]{1,4}", "[A-Z0-9%/=?.:@+-]{1,12}"), 1..6)) {
        let query: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let got = url(format!("{path}?{}", query.join("&")).as_bytes(), 1024);
        prop_assert!(!got.chars().any(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '%'), "{}", got);
    }

    #[test]
    fn any_bytes_become_bounded_text(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(url(&bytes, 256).len() <= 256);
        prop_assert!(!url(&bytes, 256).chars().any(char::is_control));
    }
}
