//! What is answered here, and how; pure.

use std::net::IpAddr;

use mesh_model::names::NameTable;
use simple_dns::rdata::{A, AAAA, CNAME, RData};
use simple_dns::{CLASS, Name, OPCODE, Packet, PacketFlag, QTYPE, RCODE, ResourceRecord, TYPE};

/// Seconds for which clients may keep an answer (Istio's).
const TTL: u32 = 30;
/// Most addresses in an answer: it stays within what every client takes over UDP.
const MOST: usize = 25;

/// What becomes of a message.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is answered here.
    Answer(Vec<u8>),
    /// It is for the upstream name servers.
    Forward,
    /// It is no query.
    Ignore,
}

/// Judges a message by the names that are known. `search` are the pod's search domains.
#[must_use]
pub fn judge(query: &[u8], names: &NameTable, search: &[String]) -> Verdict {
    let Ok(packet) = Packet::parse(query) else {
        return Verdict::Ignore;
    };
    if packet.has_flags(PacketFlag::RESPONSE) {
        return Verdict::Ignore;
    }
    let [question] = packet.questions.as_slice() else {
        return refused(&packet, RCODE::FormatError);
    };
    if packet.opcode() != OPCODE::StandardQuery {
        return refused(&packet, RCODE::NotImplemented);
    }
    let wanted = match question.qtype {
        QTYPE::TYPE(TYPE::A) => IpAddr::is_ipv4,
        QTYPE::TYPE(TYPE::AAAA) => IpAddr::is_ipv6,
        _ => return Verdict::Forward,
    };
    let asked = question.qname.to_string();
    let Some(found) = names.find(&asked, search) else {
        return Verdict::Forward;
    };
    let mut reply = Packet::new_reply(packet.id());
    reply.set_flags(PacketFlag::AUTHORITATIVE_ANSWER | PacketFlag::RECURSION_AVAILABLE);
    if packet.has_flags(PacketFlag::RECURSION_DESIRED) {
        reply.set_flags(PacketFlag::RECURSION_DESIRED);
    }
    reply.questions.push(question.clone());
    let mut owner = question.qname.clone();
    if let Some(alias) = &found.alias
        && let Ok(name) = Name::new(alias)
    {
        let name = name.into_owned();
        let data = RData::CNAME(CNAME(name.clone()));
        reply
            .answers
            .push(ResourceRecord::new(owner, CLASS::IN, TTL, data));
        owner = name;
    }
    for address in found.addresses.iter().filter(|ip| wanted(ip)).take(MOST) {
        let data = match address {
            IpAddr::V4(ip) => RData::A(A {
                address: (*ip).into(),
            }),
            IpAddr::V6(ip) => RData::AAAA(AAAA {
                address: (*ip).into(),
            }),
        };
        reply
            .answers
            .push(ResourceRecord::new(owner.clone(), CLASS::IN, TTL, data));
    }
    encode(&reply)
}

/// SERVFAIL to a query.
pub(super) fn failure(query: &[u8]) -> Option<Vec<u8>> {
    let packet = Packet::parse(query).ok()?;
    match refused(&packet, RCODE::ServerFailure) {
        Verdict::Answer(answer) => Some(answer),
        Verdict::Forward | Verdict::Ignore => None,
    }
}

fn refused(packet: &Packet<'_>, code: RCODE) -> Verdict {
    let mut reply = Packet::new_reply(packet.id());
    *reply.rcode_mut() = code;
    reply.set_flags(PacketFlag::RECURSION_AVAILABLE);
    reply.questions.clone_from(&packet.questions);
    encode(&reply)
}

fn encode(reply: &Packet<'_>) -> Verdict {
    reply
        .build_bytes_vec_compressed()
        .map_or(Verdict::Ignore, Verdict::Answer)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
    use std::collections::BTreeMap;

    use simple_dns::{QCLASS, Question};

    use super::*;

    fn query(name: &str, kind: TYPE) -> Vec<u8> {
        let mut packet = Packet::new_query(7);
        packet.set_flags(PacketFlag::RECURSION_DESIRED);
        let name = Name::new(name).unwrap().into_owned();
        packet.questions.push(Question::new(
            name,
            QTYPE::TYPE(kind),
            QCLASS::CLASS(CLASS::IN),
            false,
        ));
        packet.build_bytes_vec().unwrap()
    }

    fn names() -> NameTable {
        NameTable {
            hosts: BTreeMap::from([
                (
                    "web.app.svc.cluster.local".to_owned(),
                    vec!["10.96.0.1".parse().unwrap()],
                ),
                (
                    "api.example.com".to_owned(),
                    vec!["240.240.0.9".parse().unwrap(), "fd00::9".parse().unwrap()],
                ),
            ]),
        }
    }

    /// Types of the records of the answer, or what else became of it.
    fn check(name: &str, kind: TYPE, expected: &str) {
        let search = ["app.svc.cluster.local".to_owned()];
        let got = match judge(&query(name, kind), &names(), &search) {
            Verdict::Forward => "forward".to_owned(),
            Verdict::Ignore => "ignore".to_owned(),
            Verdict::Answer(bytes) => {
                let packet = Packet::parse(&bytes).unwrap();
                assert_eq!((packet.id(), packet.rcode()), (7, RCODE::NoError), "{name}");
                assert_eq!(packet.questions.len(), 1);
                let record = |r: &ResourceRecord<'_>| match &r.rdata {
                    RData::A(a) => std::net::Ipv4Addr::from(a.address).to_string(),
                    RData::AAAA(a) => std::net::Ipv6Addr::from(a.address).to_string(),
                    RData::CNAME(name) => format!("cname {}", name.0),
                    other => format!("{other:?}"),
                };
                packet.answers.iter().map(record).collect::<Vec<_>>().join(" ")
            }
        };
        assert_eq!(got, expected, "{name} {kind:?}");
    }

    #[test]
    fn lookups() {
        check("web.app.svc.cluster.local", TYPE::A, "10.96.0.1");
        check("web.app.svc.cluster.local", TYPE::AAAA, "");
        check("WEB.app.svc.cluster.LOCAL", TYPE::A, "10.96.0.1");
        check("web", TYPE::A, "cname web.app.svc.cluster.local 10.96.0.1");
        check(
            "api.example.com.app.svc.cluster.local",
            TYPE::A,
            "cname api.example.com 240.240.0.9",
        );
        check("api.example.com", TYPE::AAAA, "fd00::9");
        check("other.example.com", TYPE::A, "forward");
        check("web.app.svc.cluster.local", TYPE::TXT, "forward");
    }

    #[test]
    fn what_is_no_query() {
        let none = NameTable::default();
        assert_eq!(judge(b"", &none, &[]), Verdict::Ignore);
        let Verdict::Answer(bytes) = judge(&[0; 12], &none, &[]) else {
            panic!("a query without question is answered");
        };
        assert_eq!(Packet::parse(&bytes).unwrap().rcode(), RCODE::FormatError);
        let asked = query("a.b", TYPE::A);
        let mut reply = Packet::new_reply(1);
        reply.questions = Packet::parse(&asked).unwrap().questions;
        let reply = reply.build_bytes_vec().unwrap();
        assert_eq!(judge(&reply, &none, &[]), Verdict::Ignore);
    }
}
