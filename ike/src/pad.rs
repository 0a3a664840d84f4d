//! The Peer Authorization Database (RFC 4301 §4.4.3): which peer may claim which identity, how it must prove it, and
//! what it may then negotiate.
//!
//! Its entries are the configured [`Connection`]s in order; it is searched twice. Before the peer is known, by
//! addresses, for what IKE_SA_INIT needs; once it has said who it is, by identity, for how it must authenticate.

use std::net::IpAddr;
use std::sync::Arc;

use crate::config::{Config, Connection};
use crate::identity::Identity;

/// A view of the configured connections as the Peer Authorization Database.
#[derive(Debug, Clone, Copy)]
pub struct Pad<'a> {
    connections: &'a [Arc<Connection>],
}

impl<'a> Pad<'a> {
    /// The database of `config`.
    pub fn new(config: &'a Config) -> Self {
        Self { connections: &config.connections }
    }

    /// Entries for a peer at `remote` that reached us at `local`: those that name the addresses before those that
    /// accept any, otherwise in configured order.
    pub fn by_addresses(&self, local: IpAddr, remote: IpAddr) -> Vec<&'a Arc<Connection>> {
        let mut found: Vec<_> = self.connections.iter().filter(|entry| covers(entry, local, remote)).collect();
        // A stable sort keeps configured order among equals.
        found.sort_by_key(|entry| (entry.remote_addrs.is_empty(), entry.local_addrs.is_empty()));
        found
    }

    /// Entries for a peer that claims `idi` and, perhaps, asks for us as `idr` (RFC 7296 §1.2, §2.15): those that
    /// name its identity or, only where none does, those that accept any: who holds the secret of the latter may not
    /// pass for somebody whom we know otherwise.
    ///
    /// The first is the one to use. What it asks as proof is in [`Connection::peer`].
    pub fn by_identity(
        &self,
        local: IpAddr,
        remote: IpAddr,
        idi: &Identity,
        idr: Option<&Identity>,
    ) -> Vec<&'a Arc<Connection>> {
        let mut found = self.by_addresses(local, remote);
        let is_named = found.iter().any(|entry| entry.peer.id.exact() == Some(idi));
        found.retain(|entry| if is_named { entry.peer.id.exact() == Some(idi) } else { entry.peer.id.matches(idi) });
        found.retain(|entry| idr.is_none_or(|idr| entry.local.id == *idr));
        found
    }
}

fn covers(entry: &Connection, local: IpAddr, remote: IpAddr) -> bool {
    (entry.local_addrs.is_empty() || entry.local_addrs.contains(&local))
        && (entry.remote_addrs.is_empty() || entry.remote_addrs.iter().any(|range| range.contains(remote)))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::{Local, LocalAuth, Peer, PeerAuth, Retransmit};
    use crate::proposal::{Proposal, Protocol};
    use crate::secret::Secret;

    fn connection(name: &str, remote: &[&str], peer: &str) -> Arc<Connection> {
        let secret = Arc::new(Secret::new(b"secret".to_vec()));
        Arc::new(Connection {
            name: name.into(),
            local_addrs: Vec::new(),
            remote_addrs: remote.iter().map(|range| range.parse().unwrap()).collect(),
            proposals: Proposal::defaults(Protocol::Ike),
            local: Local { id: "us.example".parse().unwrap(), auth: LocalAuth::Psk(secret.clone()) },
            peer: Peer { id: peer.parse().unwrap(), auth: PeerAuth::Psk(secret) },
            children: Vec::new(),
            rekey_time: None,
            rekey_jitter: Duration::ZERO,
            over_time: Duration::ZERO,
            dpd_delay: None,
            retransmit: None,
            force_encap: false,
            fragment_size: None,
            retry: (Duration::ZERO, Duration::ZERO),
        })
    }

    #[test]
    fn the_most_specific_entry_comes_first() {
        let config = Config {
            connections: vec![
                connection("anyone", &[], "%any"),
                connection("net", &["192.0.2.0/24"], "%any"),
                connection("b", &["192.0.2.7"], "b.example"),
                connection("roaming-c", &[], "c.example"),
            ],
            retransmit: Retransmit::default(),
            cookie_threshold: 0,
            max_half_open: 0,
            ike_port: 500,
            nat_port: 4500,
            raw_esp: false,
            workers: 1,
            report_keys: false,
        };
        let pad = Pad::new(&config);
        let names = |found: Vec<&Arc<Connection>>| found.iter().map(|entry| entry.name.clone()).collect::<Vec<_>>();
        let (us, peer) = ("198.51.100.1".parse().unwrap(), "192.0.2.7".parse().unwrap());
        assert_eq!(names(pad.by_addresses(us, peer)), ["net", "b", "anyone", "roaming-c"]);

        let id = |s: &str| s.parse::<Identity>().unwrap();
        assert_eq!(names(pad.by_identity(us, peer, &id("b.example"), None)), ["b"]);
        assert_eq!(names(pad.by_identity(us, peer, &id("d.example"), None)), ["net", "anyone"]);
        assert_eq!(names(pad.by_identity(us, peer, &id("c.example"), Some(&id("us.example"))))[0], "roaming-c");
        assert!(pad.by_identity(us, peer, &id("b.example"), Some(&id("them.example"))).is_empty());
    }
}
