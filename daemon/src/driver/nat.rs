//! Mappings of NATs, kept alive (RFC 3948 §4).

use std::time::Instant;

use cygnet_esp::udp::KEEPALIVE;
use cygnet_ike::IkeSaId;

use super::Driver;
use crate::install::pair_id;
use crate::net::Channel;

impl Driver {
    /// Keeps the mapping of a NAT before us alive (RFC 3948 §4): only from behind it, only when nothing else was sent.
    pub(super) fn refresh_nat_mappings(&mut self) {
        let Some(patience) = self.nat_keepalive else { return };
        let behind: Vec<IkeSaId> = self.ikes.values().filter(|ike| ike.nat.local).map(|ike| ike.id).collect();
        let now = Instant::now();
        for ike in behind {
            let Some(status) = self.endpoint.ike_sa(ike) else { continue };
            let path = status.path;
            if !path.marker {
                continue;
            }
            let by_esp = |child: &cygnet_ike::status::ChildStatus| {
                self.path.sad.status(pair_id(child.id)).and_then(|status| status.outbound.last_used)
            };
            let by_ike = *self.sent.entry((path.local, path.remote)).or_insert(now);
            let last = status.children.iter().filter_map(by_esp).fold(by_ike, Instant::max);
            if now.saturating_duration_since(last) >= patience {
                self.send(Channel::NatT, path.local, path.remote, &KEEPALIVE);
                self.sent.insert((path.local, path.remote), now);
            }
        }
    }
}
