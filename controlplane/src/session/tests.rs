#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;
use std::time::Duration;

use mesh_xds::discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, Status};
use tokio::time::Instant;

use super::{GATE, Received, Session, State};
use crate::publish::{Kind, Published};

const C: Kind = Kind::Clusters;
const E: Kind = Kind::Endpoints;
const L: Kind = Kind::Listeners;
const R: Kind = Kind::Routes;

/// A proxy that plays against the session and writes down what it is sent.
struct Script {
    session: Session,
    now: Instant,
    generations: u64,
}

impl Script {
    fn new() -> Self {
        Self {
            session: Session::default(),
            now: Instant::now(),
            generations: 0,
        }
    }

    fn want(&mut self, kinds: &[(Kind, &[(&str, &str)])]) {
        self.generations += 1;
        let published = Published::of_versions(self.generations, kinds);
        self.session.want(Arc::new(published), self.now);
    }

    fn ask(&mut self, kind: Kind, names: &[&str]) -> Received {
        let request = DeltaDiscoveryRequest {
            resource_names_subscribe: names.iter().map(|n| (*n).to_owned()).collect(),
            ..DeltaDiscoveryRequest::default()
        };
        self.session.receive(kind, &request)
    }

    fn answer(&mut self, response: &DeltaDiscoveryResponse, refusal: Option<&str>) -> Received {
        let request = DeltaDiscoveryRequest {
            response_nonce: response.nonce.clone(),
            error_detail: refusal.map(|message| Status {
                message: message.into(),
                ..Status::default()
            }),
            ..DeltaDiscoveryRequest::default()
        };
        self.session
            .receive(Kind::of(&response.type_url).unwrap(), &request)
    }

    fn next(&mut self) -> Option<DeltaDiscoveryResponse> {
        self.session.next(self.now)
    }

    /// The next response in short form: `cds a=1 b=2 -c`.
    #[track_caller]
    fn sent(&mut self, wanted: &str) -> DeltaDiscoveryResponse {
        let response = self.next().unwrap_or_default();
        let mut text = Kind::of(&response.type_url)
            .map_or("nothing", Kind::label)
            .to_owned();
        for resource in &response.resources {
            text += &format!(" {}={}", resource.name, resource.version);
        }
        for name in &response.removed_resources {
            text += &format!(" -{name}");
        }
        assert_eq!(text, wanted);
        response
    }

    /// The next response, acknowledged.
    #[track_caller]
    fn takes(&mut self, wanted: &str) {
        let response = self.sent(wanted);
        assert!(matches!(self.answer(&response, None), Received::Acknowledged(_)));
    }

    #[track_caller]
    fn idle(&mut self) {
        assert!(self.next().is_none(), "nothing more to send");
    }
}

/// A proxy that has subscribed to everything and runs one service.
fn running() -> Script {
    let mut s = Script::new();
    s.want(&[
        (C, &[("a", "1")]),
        (E, &[("a", "1")]),
        (L, &[("l", "1")]),
        (R, &[("80", "1")]),
    ]);
    s.ask(C, &[]);
    s.takes("cds a=1");
    s.ask(E, &["a"]);
    s.ask(L, &[]);
    s.takes("eds a=1");
    s.takes("lds l=1");
    s.ask(R, &["80"]);
    s.takes("rds 80=1");
    s.idle();
    assert_eq!(s.session.state(), State::Synced);
    assert_eq!(s.session.acknowledged().unwrap().generation, 1);
    s
}

#[test]
fn a_new_cluster_is_ready_before_a_rule_uses_it_and_goes_after() {
    let mut s = running();
    s.want(&[
        (C, &[("b", "1")]),
        (E, &[("b", "1")]),
        (L, &[("l", "1")]),
        (R, &[("80", "2")]),
    ]);
    let clusters = s.sent("cds b=1");
    s.idle();
    assert_eq!(s.session.state(), State::Stale);
    s.answer(&clusters, None);
    // Its endpoints are not asked for yet, so the rule waits.
    s.idle();
    s.ask(E, &["b"]);
    s.takes("eds b=1");
    s.takes("rds 80=2");
    s.takes("cds -a");
    s.takes("eds -a");
    s.idle();
    assert_eq!(s.session.state(), State::Synced);
    assert_eq!(s.session.acknowledged().unwrap().generation, 2);
}

#[test]
fn a_proxy_that_acknowledges_in_its_own_order_is_not_blocked() {
    let mut s = running();
    s.want(&[
        (C, &[("a", "2")]),
        (E, &[("a", "1")]),
        (L, &[("l", "1")]),
        (R, &[("80", "2")]),
    ]);
    let clusters = s.sent("cds a=2");
    s.now += GATE - Duration::from_millis(1);
    s.idle();
    s.now += Duration::from_millis(1);
    s.takes("rds 80=2");
    assert_eq!(s.session.state(), State::Stale);
    s.answer(&clusters, None);
    assert_eq!(s.session.state(), State::Synced);
}

#[test]
fn a_slow_proxy_gets_the_newest_only() {
    let mut s = running();
    let rules = |version| [("80", version)];
    for version in ["2", "3", "4"] {
        s.want(&[
            (C, &[("a", "1")]),
            (E, &[("a", "1")]),
            (L, &[("l", "1")]),
            (R, &rules(version)),
        ]);
        if version == "2" {
            let response = s.sent("rds 80=2");
            s.want(&[
                (C, &[("a", "1")]),
                (E, &[("a", "1")]),
                (L, &[("l", "1")]),
                (R, &rules("2")),
            ]);
            s.idle();
            s.answer(&response, None);
        }
    }
    s.takes("rds 80=4");
    s.idle();
}

#[test]
fn a_refused_version_is_not_sent_again_and_a_better_one_heals() {
    let mut s = running();
    let world = |s: &mut Script, version: &str| {
        s.want(&[
            (C, &[("a", "1")]),
            (E, &[("a", "1")]),
            (L, &[("l", "1")]),
            (R, &[("80", version)]),
        ]);
    };
    world(&mut s, "2");
    let response = s.sent("rds 80=2");
    assert_eq!(
        s.answer(&response, Some("no such cluster")),
        Received::Refused("no such cluster".into())
    );
    s.idle();
    assert_eq!(s.session.state(), State::Refused("no such cluster".into()));
    assert_eq!(s.session.acknowledged().unwrap().generation, 1);
    // Another change does not heal it.
    world(&mut s, "2");
    s.idle();
    s.session.settle();
    assert_eq!(s.session.state(), State::Refused("no such cluster".into()));
    world(&mut s, "3");
    s.takes("rds 80=3");
    assert_eq!(s.session.state(), State::Synced);
    assert_eq!(s.session.acknowledged().unwrap().generation, 4);
}

#[test]
fn one_bad_resource_harms_only_itself() {
    let mut s = running();
    let clusters = [("a", "1"), ("b", "1"), ("c", "1"), ("d", "bad"), ("e", "1")];
    s.want(&[
        (C, &clusters),
        (E, &[("a", "1")]),
        (L, &[("l", "1")]),
        (R, &[("80", "1")]),
    ]);
    let response = s.sent("cds b=1 c=1 d=bad e=1");
    s.answer(&response, Some("d"));
    s.takes("cds b=1 c=1");
    let response = s.sent("cds d=bad e=1");
    s.answer(&response, Some("d"));
    let response = s.sent("cds d=bad");
    s.answer(&response, Some("d"));
    s.takes("cds e=1");
    s.idle();
    assert_eq!(s.session.state(), State::Refused("d".into()));
    let healed = clusters.map(|(name, _)| (name, "1"));
    s.want(&[
        (C, &healed),
        (E, &[("a", "1")]),
        (L, &[("l", "1")]),
        (R, &[("80", "1")]),
    ]);
    s.takes("cds d=1");
    s.idle();
    assert_eq!(s.session.state(), State::Synced);
}

#[test]
fn a_reconnecting_proxy_gets_only_what_differs() {
    let mut s = Script::new();
    s.want(&[(C, &[("a", "1"), ("b", "2")]), (L, &[("l", "1")])]);
    let request = |pairs: &[(&str, &str)]| DeltaDiscoveryRequest {
        initial_resource_versions: pairs
            .iter()
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
            .collect(),
        ..DeltaDiscoveryRequest::default()
    };
    s.session
        .receive(C, &request(&[("a", "1"), ("b", "1"), ("c", "1")]));
    s.session.receive(L, &request(&[("l", "1")]));
    s.takes("cds b=2");
    // Every first request is answered, so that the proxy knows that it is current.
    s.takes("lds");
    s.takes("cds -c");
    s.idle();
    assert_eq!(s.session.state(), State::Synced);
}

#[test]
fn names_that_do_not_exist_are_said_to_be_absent_until_they_come() {
    let mut s = Script::new();
    s.want(&[(R, &[("80", "1")])]);
    s.ask(R, &["80", "90"]);
    s.takes("rds 80=1 -90");
    s.idle();
    s.want(&[(R, &[("80", "1"), ("90", "1")])]);
    s.takes("rds 90=1");
    // Asking again for what it has means that it wants it again.
    s.ask(R, &["80"]);
    s.takes("rds 80=1");
    let request = DeltaDiscoveryRequest {
        resource_names_unsubscribe: vec!["80".into()],
        ..DeltaDiscoveryRequest::default()
    };
    s.session.receive(R, &request);
    s.want(&[(R, &[("80", "2"), ("90", "1")])]);
    s.idle();
}

#[test]
fn an_answer_to_nothing_changes_nothing() {
    let mut s = running();
    let strange = DeltaDiscoveryResponse {
        nonce: "77".into(),
        type_url: R.type_url().into(),
        ..DeltaDiscoveryResponse::default()
    };
    assert_eq!(s.answer(&strange, None), Received::Stale);
    assert_eq!(s.answer(&strange, Some("no")), Received::Stale);
    assert_eq!(s.session.state(), State::Synced);
}
