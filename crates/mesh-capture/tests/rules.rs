//! Rules against what a real injected pod has, and plans against what is there.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use mesh_capture::{Dns, Family, Mode, Ports, Present, Ranges, Settings, plan, removal, tables};

fn lines(settings: &Settings, family: Family, table: &str) -> Vec<String> {
    tables(settings, family)
        .iter()
        .filter(|t| t.name == table)
        .flat_map(|t| &t.rules)
        .map(|rule| format!("{} {}", rule.chain, rule.text))
        .collect()
}

/// The `-A` lines of a pod with Istio's own init container, by chain as they are saved.
const RECORDED: &str = "\
PREROUTING -p tcp -j ISTIO_INBOUND
OUTPUT -j ISTIO_OUTPUT
ISTIO_INBOUND -p tcp -m tcp --dport 15008 -j RETURN
ISTIO_INBOUND -p tcp -m tcp --dport 15090 -j RETURN
ISTIO_INBOUND -p tcp -m tcp --dport 15021 -j RETURN
ISTIO_INBOUND -p tcp -m tcp --dport 15020 -j RETURN
ISTIO_INBOUND -p tcp -j ISTIO_IN_REDIRECT
ISTIO_IN_REDIRECT -p tcp -j REDIRECT --to-ports 15006
ISTIO_OUTPUT -s 127.0.0.6/32 -o lo -j RETURN
ISTIO_OUTPUT ! -d 127.0.0.1/32 -o lo -p tcp -m tcp ! --dport 15008 -m owner --uid-owner 1337 -j ISTIO_IN_REDIRECT
ISTIO_OUTPUT -o lo -m owner ! --uid-owner 1337 -j RETURN
ISTIO_OUTPUT -m owner --uid-owner 1337 -j RETURN
ISTIO_OUTPUT ! -d 127.0.0.1/32 -o lo -p tcp -m tcp ! --dport 15008 -m owner --gid-owner 1337 -j ISTIO_IN_REDIRECT
ISTIO_OUTPUT -o lo -m owner ! --gid-owner 1337 -j RETURN
ISTIO_OUTPUT -m owner --gid-owner 1337 -j RETURN
ISTIO_OUTPUT -d 127.0.0.1/32 -j RETURN
ISTIO_OUTPUT -j ISTIO_REDIRECT
ISTIO_REDIRECT -p tcp -j REDIRECT --to-ports 15001";

#[test]
fn the_rules_of_a_real_pod() {
    let mut made = lines(&Settings::default(), Family::V4, "nat");
    let chain = |line: &String| line.split(' ').next().unwrap().to_owned();
    let order = [
        "PREROUTING",
        "OUTPUT",
        "ISTIO_INBOUND",
        "ISTIO_IN_REDIRECT",
        "ISTIO_OUTPUT",
        "ISTIO_REDIRECT",
    ];
    made.sort_by_key(|line| order.iter().position(|name| *name == chain(line)));
    assert_eq!(made, RECORDED.lines().collect::<Vec<_>>());
    assert_eq!(
        tables(&Settings::default(), Family::V4).len(),
        1,
        "nothing outside nat"
    );
}

#[test]
fn ipv6_has_its_own_loopback() {
    let made = lines(&Settings::default(), Family::V6, "nat").join("\n");
    assert!(made.contains("-s ::6/128 -o lo -j RETURN"));
    assert!(made.contains("-d ::1/128 -j RETURN"));
    assert!(!made.contains("127.0.0"), "{made}");
}

/// Which rules appear, which do not, in which order.
fn check(what: &str, change: impl FnOnce(&mut Settings), table: &str, expected: &[&str], absent: &[&str]) {
    let mut settings = Settings::default();
    change(&mut settings);
    let made = lines(&settings, Family::V4, table);
    let mut from = 0;
    for line in expected {
        let at = made.iter().skip(from).position(|m| m == line);
        let at = at.unwrap_or_else(|| {
            panic!(
                "{what}: {line:?} is not in (or not in this order):\n{}",
                made.join("\n")
            )
        });
        from += at + 1;
    }
    for line in absent {
        assert!(
            !made.iter().any(|m| m == line),
            "{what}: {line:?} is in:\n{}",
            made.join("\n")
        );
    }
}

#[test]
fn settings_make_rules() {
    check(
        "excluded outbound ports come first",
        |s| s.outbound_excluded_ports = vec![3306],
        "nat",
        &[
            "ISTIO_OUTPUT -p tcp -m tcp --dport 3306 -j RETURN",
            "ISTIO_OUTPUT -s 127.0.0.6/32 -o lo -j RETURN",
        ],
        &[],
    );
    check(
        "included ports hold for excluded ranges no more than Istio's",
        |s| {
            s.outbound = Ranges::Only(vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()]);
            s.outbound_excluded = vec!["10.1.0.0/16".parse().unwrap()];
            s.outbound_ports = vec![25];
        },
        "nat",
        &[
            "ISTIO_OUTPUT -d 127.0.0.1/32 -j RETURN",
            "ISTIO_OUTPUT -d 10.1.0.0/16 -j RETURN",
            "ISTIO_OUTPUT -p tcp -m tcp --dport 25 -j ISTIO_REDIRECT",
            "ISTIO_OUTPUT -d 10.0.0.0/8 -j ISTIO_REDIRECT",
        ],
        &[
            "ISTIO_OUTPUT -j ISTIO_REDIRECT",
            "ISTIO_OUTPUT -d fd00::/8 -j ISTIO_REDIRECT",
        ],
    );
    check(
        "a loopback range is captured for the application too",
        |s| s.outbound = "127.0.0.0/8".parse().unwrap(),
        "nat",
        &["ISTIO_OUTPUT -d 127.0.0.0/8 -j ISTIO_REDIRECT"],
        &["ISTIO_OUTPUT -o lo -m owner ! --uid-owner 1337 -j RETURN"],
    );
    check(
        "some inbound ports",
        |s| s.inbound = Ports::Only(vec![80]),
        "nat",
        &["ISTIO_INBOUND -p tcp -m tcp --dport 80 -j ISTIO_IN_REDIRECT"],
        &[
            "ISTIO_INBOUND -p tcp -j ISTIO_IN_REDIRECT",
            "ISTIO_INBOUND -p tcp -m tcp --dport 15090 -j RETURN",
        ],
    );
    check(
        "no inbound port",
        |s| s.inbound = Ports::Only(Vec::new()),
        "nat",
        &["OUTPUT -j ISTIO_OUTPUT"],
        &["PREROUTING -p tcp -j ISTIO_INBOUND"],
    );
    check(
        "lookups to one server",
        |s| s.dns = Dns::Servers(vec!["10.96.0.10".parse().unwrap(), "fd00::a".parse().unwrap()]),
        "nat",
        &[
            "ISTIO_OUTPUT -o lo -p tcp -m tcp ! --dport 53 -m owner ! --uid-owner 1337 -j RETURN",
            "ISTIO_OUTPUT -d 10.96.0.10/32 -p tcp -m tcp --dport 53 -j REDIRECT --to-ports 15053",
            "ISTIO_OUTPUT -d 127.0.0.1/32 -j RETURN",
            "ISTIO_OUTPUT_DNS -p udp -m udp --dport 53 -m owner --uid-owner 1337 -j RETURN",
            "ISTIO_OUTPUT_DNS -d 10.96.0.10/32 -p udp -m udp --dport 53 -j REDIRECT --to-ports 15053",
        ],
        &["ISTIO_OUTPUT_DNS -d fd00::a/128 -p udp -m udp --dport 53 -j REDIRECT --to-ports 15053"],
    );
    check(
        "forwarded lookups have a zone of their own",
        |s| s.dns = Dns::All,
        "raw",
        &[
            "ISTIO_OUTPUT_DNS -p udp -m udp --dport 53 -m owner --uid-owner 1337 -j CT --zone 1",
            "ISTIO_OUTPUT_DNS -p udp -m udp --dport 53 -j CT --zone 2",
            "ISTIO_INBOUND -p udp -m udp --sport 53 -j CT --zone 1",
        ],
        &[],
    );
    check(
        "TPROXY",
        |s| s.mode = Mode::Tproxy,
        "mangle",
        &[
            "ISTIO_TPROXY ! -d 127.0.0.1/32 -p tcp -j TPROXY --on-port 15006 --tproxy-mark 1337/0xffffffff",
            "ISTIO_INBOUND -s 127.0.0.6/32 -i lo -p tcp -j RETURN",
            "ISTIO_INBOUND -p tcp -m tcp --dport 15090 -j RETURN",
            "ISTIO_INBOUND -p tcp -m conntrack --ctstate RELATED,ESTABLISHED -j ISTIO_DIVERT",
            "ISTIO_INBOUND -p tcp -j ISTIO_TPROXY",
        ],
        &[],
    );
    check(
        "groups",
        |s| s.owner_groups = vec!["a".into(), "b".into()],
        "nat",
        &["ISTIO_OUTPUT -m owner ! --gid-owner a -m owner ! --gid-owner b -j RETURN"],
        &[],
    );
}

/// What the rules of a plan look like when they are saved.
fn saved(settings: &Settings) -> String {
    let mut text = String::new();
    for table in tables(settings, Family::V4) {
        text.push_str(&format!("*{}\n:OUTPUT ACCEPT [0:0]\n", table.name));
        let mut chains: Vec<_> = table
            .rules
            .iter()
            .map(|r| r.chain)
            .filter(|c| c.starts_with("ISTIO_"))
            .collect();
        chains.sort_unstable();
        chains.dedup();
        for chain in chains {
            text.push_str(&format!(":{chain} - [0:0]\n"));
        }
        for rule in &table.rules {
            text.push_str(&format!("-A {} {}\n", rule.chain, rule.text));
        }
        text.push_str("-A OUTPUT -p tcp -j SOMEBODY_ELSES\nCOMMIT\n");
    }
    text
}

#[test]
fn a_second_plan_replaces_the_first() {
    let settings = Settings {
        excluded_interfaces: vec!["eth1".into()],
        ..Settings::default()
    };
    let present = Present {
        v4: saved(&settings),
        v6: String::new(),
    };
    let steps = plan(&settings, false, &present);
    let [step] = steps.as_slice() else {
        panic!("{steps:?}")
    };
    let first = &plan(&settings, false, &Present::default())[0].input;
    let removed: Vec<_> = step.input.lines().filter(|l| l.starts_with("-D ")).collect();
    assert_eq!(
        removed,
        [
            "-D PREROUTING -i eth1 -m comment --comment istio-capture -j RETURN",
            "-D OUTPUT -o eth1 -m comment --comment istio-capture -j RETURN",
            "-D PREROUTING -p tcp -j ISTIO_INBOUND",
            "-D OUTPUT -j ISTIO_OUTPUT",
        ]
    );
    let rest: String = step
        .input
        .lines()
        .filter(|l| !l.starts_with("-D "))
        .map(|l| format!("{l}\n"))
        .collect();
    assert_eq!(rest, *first, "but for what it removes it is the first");
}

#[test]
fn removal_leaves_what_others_made() {
    let settings = Settings {
        mode: Mode::Tproxy,
        ..Settings::default()
    };
    let present = Present {
        v4: saved(&settings),
        v6: String::new(),
    };
    let steps = removal(&settings, false, &present);
    let input = &steps[0].input;
    assert!(!input.contains("SOMEBODY"), "{input}");
    assert!(!input.contains("\n-A "), "{input}");
    for chain in ["ISTIO_TPROXY", "ISTIO_DIVERT", "ISTIO_INBOUND", "ISTIO_OUTPUT"] {
        assert!(
            input.contains(&format!("-X {chain}\n")),
            "{chain} stays:\n{input}"
        );
    }
    let routes: Vec<_> = steps[1..].iter().map(ToString::to_string).collect();
    assert_eq!(routes.len(), 2, "{routes:?}");
    assert!(
        removal(&settings, false, &Present::default()).is_empty(),
        "nothing there, nothing to do"
    );
}
