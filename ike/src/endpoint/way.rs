//! With which peer: where a connection says so, or where traffic goes.
//!
//! In transport mode the peer is the very host that packets are for. So a connection whose `remote_addrs` are whole
//! networks has an IKE SA with each of their hosts that traffic goes to, or that starts one itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use cygnet_spd::{Flow, Mode};

use crate::config::{Child, Config, Connection};
use crate::output::Path;
use crate::sa::IkeSa;

/// Which IKE SAs of a connection are meant, and where a new one is dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Way {
    local: Option<IpAddr>,
    remote: Option<IpAddr>,
}

/// Why traffic leads to no peer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Undialled {
    /// It is for ourselves, or for nobody in particular.
    Own,
    /// It is between hosts that the connection is not about.
    Foreign(String),
}

impl Way {
    /// The connection's one peer, and whoever else it has an SA with.
    pub(crate) fn configured() -> Self {
        Self { local: None, remote: None }
    }

    /// Whose SAs keep `child` up: in transport mode only those with the host that is dialled for it.
    pub(crate) fn upkeep(connection: &Connection, child: &Child) -> Self {
        let remote = host(connection).filter(|_| child.mode == Mode::Transport);
        Self { local: None, remote }
    }

    /// The way of `flow`.
    ///
    /// # Errors
    /// It leads to no peer of this connection.
    pub(crate) fn of(config: &Config, connection: &Connection, child: &Child, flow: &Flow) -> Result<Self, Undialled> {
        let Flow { local, remote, .. } = *flow;
        if child.mode == Mode::Tunnel {
            return Ok(Self::configured());
        }
        let own = || config.connections.iter().any(|connection| connection.local_addrs.contains(&remote));
        let nobody = remote.is_unspecified() || remote.is_multicast() || remote == IpAddr::from(Ipv4Addr::BROADCAST);
        if remote == local || remote.is_loopback() || nobody || own() {
            return Err(Undialled::Own);
        }
        let addresses = &connection.remote_addrs;
        if !addresses.is_empty() && !addresses.iter().any(|range| range.contains(remote)) {
            return Err(Undialled::Foreign(format!("a packet to {remote}")));
        }
        if !connection.local_addrs.is_empty() && !connection.local_addrs.contains(&local) {
            return Err(Undialled::Foreign(format!("a packet from {local}")));
        }
        Ok(Self { local: Some(local), remote: Some(remote) })
    }

    /// Whether `sa` goes this way.
    pub(crate) fn is_of(&self, sa: &IkeSa) -> bool {
        let at = sa.path.local.ip();
        self.remote.is_none_or(|remote| sa.path.remote.ip() == remote)
            && self.local.is_none_or(|local| at == local || at.is_unspecified())
    }

    /// From and to where an initiator sends. `None` if nobody is named.
    pub(crate) fn path(&self, port: u16, connection: &Connection) -> Option<Path> {
        let remote = self.remote.or_else(|| host(connection))?;
        let any: IpAddr = match remote {
            IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let configured = || connection.local_addrs.iter().find(|ip| ip.is_ipv4() == remote.is_ipv4()).copied();
        let local = self.local.or_else(configured).unwrap_or(any);
        Some(Path { local: (local, port).into(), remote: (remote, port).into(), marker: false })
    }
}

/// The first of the configured addresses that is a single host.
fn host(connection: &Connection) -> Option<IpAddr> {
    connection.remote_addrs.iter().find(|range| range.is_host()).map(|range| range.start())
}
