//! Which chain serves a connection: the one function that proxy and explain call.

use std::net::SocketAddr;

use super::{ChainMatch, Listener};
use crate::why::{Considered, NoWhy, Why};

/// What is known about a connection before a chain is chosen.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionFacts<'a> {
    /// TLS.
    pub tls: bool,
    /// SNI.
    pub server_name: Option<&'a str>,
    /// ALPN offered, or the protocol detected.
    pub protocols: &'a [Vec<u8>],
    /// Where the client connected to.
    pub destination: SocketAddr,
}

/// How closely a chain fits, greater is closer; Envoy's order: port, address range, server name, transport,
/// application protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Closeness {
    port: bool,
    range: u8,
    name: usize,
    transport: bool,
    protocol: bool,
}

/// A condition of a chain that a connection does not meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChainUnmet {
    /// Destination port.
    Port,
    /// The chain is for any port, and this one has chains of its own: they serve it, or nothing does.
    OwnChains,
    /// TLS or plaintext.
    Transport,
    /// Destination address.
    Range,
    /// Server name.
    Name,
    /// Application protocol.
    Protocol,
}

/// A chain of a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChosenChain {
    /// By position.
    Chain(usize),
    /// The one that serves what no chain matches.
    Default,
}

impl ChainMatch {
    /// How closely the chain fits, or which condition it fails first.
    pub fn closeness(&self, facts: &ConnectionFacts<'_>) -> Result<Closeness, ChainUnmet> {
        if self
            .destination_port
            .is_some_and(|port| port != facts.destination.port())
        {
            return Err(ChainUnmet::Port);
        }
        if self.tls.is_some_and(|tls| tls != facts.tls) {
            return Err(ChainUnmet::Transport);
        }
        let range = if self.destination_ranges.is_empty() {
            0
        } else {
            let address = facts.destination.ip();
            let covering = self.destination_ranges.iter().filter(|r| r.contains(&address));
            let longest = covering.map(|range| range.prefix_len() + 1).max();
            longest.ok_or(ChainUnmet::Range)?
        };
        let name = if self.server_names.is_empty() {
            0
        } else {
            let asked = facts.server_name.ok_or(ChainUnmet::Name)?;
            let fitting = self.server_names.iter().filter_map(|name| name_rank(name, asked));
            fitting.max().ok_or(ChainUnmet::Name)?
        };
        let wanted = &self.application_protocols;
        let offered = |wanted: &String| facts.protocols.iter().any(|p| p == wanted.as_bytes());
        if !wanted.is_empty() && !wanted.iter().any(offered) {
            return Err(ChainUnmet::Protocol);
        }
        Ok(Closeness {
            port: self.destination_port.is_some(),
            range,
            name,
            transport: self.tls.is_some(),
            protocol: !wanted.is_empty(),
        })
    }
}

fn name_rank(name: &str, asked: &str) -> Option<usize> {
    match name.strip_prefix('*') {
        Some("") => Some(1),
        Some(suffix) => (asked.len() > suffix.len() && asked.ends_with(suffix)).then(|| suffix.len() + 1),
        None => name.eq_ignore_ascii_case(asked).then_some(usize::MAX),
    }
}

impl Listener {
    /// The chain that serves a connection: the closest of those that fit, the first of equals.
    #[must_use]
    pub fn choose(&self, facts: &ConnectionFacts<'_>) -> Option<ChosenChain> {
        self.choose_noting(facts, &mut NoWhy)
    }

    /// [`Listener::choose`], with a note for each chain; the default chain has the position after the last.
    #[must_use]
    pub fn choose_noting<W: Why>(&self, facts: &ConnectionFacts<'_>, why: &mut W) -> Option<ChosenChain> {
        let port = Some(facts.destination.port());
        let has_own = self
            .chains
            .iter()
            .any(|chain| chain.matches.destination_port == port);
        let closeness = |matches: &ChainMatch| {
            if has_own && matches.destination_port.is_none() {
                return Err(ChainUnmet::OwnChains);
            }
            matches.closeness(facts)
        };
        let mut best: Option<(Closeness, usize)> = None;
        for (position, chain) in self.chains.iter().enumerate() {
            if let Ok(fit) = closeness(&chain.matches)
                && best.is_none_or(|(so_far, _)| fit > so_far)
            {
                best = Some((fit, position));
            }
        }
        if W::ON {
            for (position, chain) in self.chains.iter().enumerate() {
                why.note(|| match closeness(&chain.matches) {
                    Ok(_) if best.is_some_and(|(_, at)| at == position) => {
                        Considered::won(position, "the closest chain that fits")
                    }
                    Ok(_) => Considered::lost(position, "fits, but another chain is closer"),
                    Err(unmet) => Considered::lost(position, unmet.reason(&chain.matches, facts)),
                });
            }
            if self.default_chain.is_some() {
                let position = self.chains.len();
                why.note(|| match best {
                    None => Considered::won(position, "no other chain fits"),
                    Some(_) => Considered::lost(position, "serves only what no chain fits"),
                });
            }
        }
        match best {
            Some((_, position)) => Some(ChosenChain::Chain(position)),
            None => self.default_chain.as_ref().map(|_| ChosenChain::Default),
        }
    }
}

impl ChainUnmet {
    /// What was wanted and what was there.
    #[must_use]
    pub fn reason(self, wanted: &ChainMatch, facts: &ConnectionFacts<'_>) -> String {
        match self {
            Self::Port => format!(
                "wanted: port {}; it is {}",
                wanted.destination_port.unwrap_or_default(),
                facts.destination.port()
            ),
            Self::OwnChains => format!(
                "serves any port; port {} has chains of its own",
                facts.destination.port()
            ),
            Self::Transport if facts.tls => "wanted: plaintext; the connection is TLS".into(),
            Self::Transport => "wanted: TLS; the connection is plaintext".into(),
            Self::Range => format!(
                "wanted: an address in {}; it is {}",
                joined(wanted.destination_ranges.iter()),
                facts.destination.ip()
            ),
            Self::Name => format!(
                "wanted: server name {}; {}",
                wanted.server_names.join(" or "),
                facts
                    .server_name
                    .map_or_else(|| "there is none".into(), |name| format!("it is {name}"))
            ),
            Self::Protocol => format!(
                "wanted: protocol {}; there is {}",
                wanted.application_protocols.join(" or "),
                joined(facts.protocols.iter().map(|p| String::from_utf8_lossy(p)))
            ),
        }
    }
}

fn joined<T: std::fmt::Display>(of: impl Iterator<Item = T>) -> String {
    let texts: Vec<String> = of.map(|one| one.to_string()).collect();
    if texts.is_empty() {
        "none".into()
    } else {
        texts.join(" or ")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[track_caller]
    fn check(
        matches: &ChainMatch,
        tls: bool,
        name: Option<&str>,
        protocol: &str,
        expected: Result<(), ChainUnmet>,
    ) {
        let protocols = [protocol.as_bytes().to_vec()];
        let facts = ConnectionFacts {
            tls,
            server_name: name,
            protocols: &protocols,
            destination: "10.1.2.3:9080".parse().unwrap(),
        };
        assert_eq!(matches.closeness(&facts).map(|_| ()), expected, "{matches:?}");
    }

    #[test]
    fn the_first_unmet_condition_is_named() {
        let any = ChainMatch::default();
        check(&any, false, None, "http/1.1", Ok(()));
        let full = ChainMatch {
            tls: Some(true),
            application_protocols: vec!["istio".into()],
            server_names: vec!["*.test".into()],
            destination_port: Some(9080),
            destination_ranges: vec!["10.1.0.0/16".parse().unwrap()],
        };
        check(&full, true, Some("a.test"), "istio", Ok(()));
        check(&full, false, Some("a.test"), "istio", Err(ChainUnmet::Transport));
        check(&full, true, None, "istio", Err(ChainUnmet::Name));
        check(&full, true, Some(".test"), "istio", Err(ChainUnmet::Name));
        check(&full, true, Some("a.test"), "h2", Err(ChainUnmet::Protocol));
        let elsewhere = ChainMatch {
            destination_ranges: vec!["10.2.0.0/16".parse().unwrap()],
            ..full.clone()
        };
        check(&elsewhere, true, Some("a.test"), "istio", Err(ChainUnmet::Range));
        let port = ChainMatch {
            destination_port: Some(9081),
            ..full
        };
        check(&port, true, Some("a.test"), "istio", Err(ChainUnmet::Port));
    }
}
