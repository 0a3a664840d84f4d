//! The kernel's routes: traffic for a protected network goes into the TUN device, our own sockets' traffic never does.
//!
//! ```text
//! ip rule:  not from all fwmark MARK lookup TABLE        our sockets carry MARK
//! TABLE:    10.2.0.0/16 dev cygnet0 src 10.1.0.1         per remote selector of a PROTECT policy
//!           unreachable 10.2.0.0/16 metric 4294967295    behind it, if the policy has level `require`
//!           throw 10.2.9.0/24                            an earlier BYPASS for a whole network: go on with main
//! ```
//!
//! A protected network is routed here whether or not its SA is up: what happens to its packets is for the policies to
//! say. When the device is gone, and its routes with it, because somebody removed it or the gateway was killed, traffic
//! that must be protected finds the `unreachable` route, which stays until a gateway stops cleanly or starts again;
//! what only should be (`use`) finds none, and leaves in the clear.
//!
//! Transport mode needs nothing else: the peer's own address is routed like a network behind it. What we seal for it
//! carries our mark and takes the host's own routes; so do packets that a policy lets pass. This host's addresses, its
//! broadcasts and multicast groups are in the table `local`, which comes first; what else belongs to the link is
//! excepted in `plan`. ARP and neighbour discovery know no such routes. One thing gets in the way: see `reverse`.

mod kernel;
mod plan;
mod prefix;
mod reverse;

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;

use cygnet_spd::AddrRange;
use rtnetlink::Handle;
use tokio::task::JoinHandle;

use self::kernel::{Key, Kind};
pub(super) use self::kernel::{link, way};
pub use self::plan::{Behind, Plan, Route, Target};
pub use self::prefix::{Prefix, prefixes};

/// Metric of the routes into the device: not 0, of which IPv6 makes another.
const FIRST: u32 = 1;
/// Metric of the routes behind those into the device: the highest, used when there is no other.
const LAST_RESORT: u32 = u32::MAX;

/// The kernel's side of a running gateway.
#[derive(Debug)]
pub struct Routing {
    netlink: Handle,
    connection: JoinHandle<()>,
    plan: Plan,
}

impl Routing {
    /// For `plan`, of which nothing is carried out yet. Inside a tokio runtime.
    ///
    /// # Errors
    /// When there is no netlink.
    pub fn open(plan: Plan) -> io::Result<Self> {
        let (connection, netlink, _) = rtnetlink::new_connection()?;
        Ok(Self { netlink, connection: tokio::spawn(connection), plan })
    }

    /// Whether a gateway that was killed left something in the table.
    pub async fn is_left_behind(&self) -> bool {
        let (netlink, table) = (&self.netlink, self.plan.table);
        !kernel::routes(netlink, table).await.is_empty()
            || !kernel::rules(netlink, true, table).await.is_empty()
            || !kernel::rules(netlink, false, table).await.is_empty()
    }

    /// Carries out the plan. What a gateway that was killed left behind in the same table is replaced without a gap.
    ///
    /// # Errors
    /// Without CAP_NET_ADMIN, or when the device is gone. Some of it may be carried out then.
    pub async fn install(&mut self) -> io::Result<()> {
        self.carry_out().await
    }

    /// Carries out another plan, or the same once more: every route is set again, in one step and in the place of
    /// whatever somebody else made of it, and what is new comes before what is old goes.
    ///
    /// # Errors
    /// As for [`install`](Self::install); the routes of both plans may be there then, and another `apply` mends that.
    pub async fn apply(&mut self, plan: Plan) -> io::Result<()> {
        let old = std::mem::replace(&mut self.plan, plan);
        self.carry_out().await?;
        if old.table != self.plan.table {
            clean(&self.netlink, old.table).await;
        }
        Ok(())
    }

    /// Removes everything that was installed.
    pub async fn remove(self) {
        clean(&self.netlink, self.plan.table).await;
        self.connection.abort();
    }

    async fn carry_out(&mut self) -> io::Result<()> {
        let (netlink, table) = (&self.netlink, self.plan.table);
        let wanted = self.wanted().await?;
        let mut old = kernel::routes(netlink, table).await;
        // All of them: somebody may have removed or replaced some, or taken the device down, and its routes with it.
        for (&key, &kind) in &wanted {
            kernel::set_route(netlink, table, key, kind).await?;
        }
        for v4 in [true, false] {
            let needed = wanted.keys().any(|key| key.destination.address.is_ipv4() == v4);
            let rules = kernel::rules(netlink, v4, table).await;
            let mut kept = 0;
            if needed && !rules.iter().any(|rule| kernel::excepts(rule, self.plan.fwmark)) {
                kernel::add_rule(netlink, v4, table, self.plan.fwmark).await?;
                kept = 1;
            }
            for rule in rules {
                if needed && kept == 0 && kernel::excepts(&rule, self.plan.fwmark) {
                    kept = 1;
                } else {
                    kernel::delete_rule(netlink, rule).await;
                }
            }
        }
        // A route into the device goes after the one behind it, so that nothing meets that one alone.
        old.sort_by_key(|(key, _)| std::cmp::Reverse(key.metric));
        for (_, route) in old.into_iter().filter(|(key, _)| !wanted.contains_key(key)) {
            kernel::delete_route(netlink, route).await;
        }
        reverse::check(netlink, &self.plan).await;
        Ok(())
    }

    /// The plan in the words of the kernel.
    async fn wanted(&self) -> io::Result<BTreeMap<Key, Kind>> {
        let Plan { tun, fwmark, routes, .. } = &self.plan;
        let own = kernel::addresses(&self.netlink).await?;
        let index = kernel::index(&self.netlink, tun).await?;
        let mut wanted = BTreeMap::new();
        for Route { destination, target } in routes {
            let key = |metric| Key { destination: *destination, metric };
            let Target::Tun { local, behind, .. } = target else {
                wanted.insert(key(FIRST), Kind::Throw);
                continue;
            };
            let source = self.source(*destination, local, &own, *fwmark).await;
            wanted.insert(key(FIRST), Kind::Device { index, source });
            match behind {
                Behind::Nothing => {}
                Behind::Throw => drop(wanted.insert(key(LAST_RESORT), Kind::Throw)),
                Behind::Unreachable => drop(wanted.insert(key(LAST_RESORT), Kind::Unreachable)),
            }
        }
        Ok(wanted)
    }

    /// The source address for the host's own packets: one in `local`; of several, the one it would take anyway.
    async fn source(&self, destination: Prefix, local: &[AddrRange], own: &[IpAddr], mark: u32) -> Option<IpAddr> {
        let family = |address: &&IpAddr| address.is_ipv4() == destination.address.is_ipv4();
        let inside = |address: &&IpAddr| local.iter().any(|range| range.contains(**address));
        let fitting: Vec<IpAddr> = own.iter().filter(family).filter(inside).copied().collect();
        let first = *fitting.first()?;
        if fitting.len() == 1 {
            return Some(first);
        }
        let way = kernel::way(&self.netlink, None, destination.address, mark).await.ok();
        way.and_then(|way| way.source).filter(|source| fitting.contains(source)).or(Some(first))
    }
}

/// Removes every route of a table of ours, and our rules that lead there.
///
/// # Errors
/// When there is no netlink.
pub async fn cleanup(table: u32) -> io::Result<()> {
    let (connection, netlink, _) = rtnetlink::new_connection()?;
    let connection = tokio::spawn(connection);
    clean(&netlink, table).await;
    connection.abort();
    Ok(())
}

async fn clean(netlink: &Handle, table: u32) {
    for v4 in [true, false] {
        for rule in kernel::rules(netlink, v4, table).await {
            kernel::delete_rule(netlink, rule).await;
        }
    }
    for (_, route) in kernel::routes(netlink, table).await {
        kernel::delete_route(netlink, route).await;
    }
}
