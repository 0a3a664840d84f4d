//! The kernel's routes: traffic for a protected network goes into the TUN device, our own sockets' traffic never does.
//!
//! ```text
//! ip rule:  not from all fwmark MARK lookup TABLE        our sockets carry MARK
//! TABLE:    10.2.0.0/16 dev cygnet0 src 10.1.0.1         one per remote selector of a PROTECT policy
//!           throw 10.2.9.0/24                            one per BYPASS policy for whole networks: go on with main
//! ```
//!
//! A protected network is routed here whether or not its SA is up, so nothing leaves in the clear while it is not.
//! Nor when the device is gone, and its routes with it, because somebody removed it or the gateway was killed: behind
//! each route there is an `unreachable` one, which stays until a gateway stops cleanly or starts again.

use std::io;
use std::net::IpAddr;

use cygnet_spd::{Action, AddrRange, Policies, PortRange, TrafficSelector};
use futures_util::TryStreamExt;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::AddressAttribute;
use rtnetlink::packet_route::route::{RouteAttribute, RouteMessage, RouteScope, RouteType};
use rtnetlink::packet_route::rule::{RuleAction, RuleAttribute, RuleFlags, RuleMessage};
use rtnetlink::{Handle, IpVersion, RouteMessageBuilder};
use tokio::task::JoinHandle;

/// Priority of our rules: before `main` (32766), after `local` (0).
const PRIORITY: u32 = 7296;

/// Metric of the routes behind those into the device: the highest, used when there is no other.
const LAST_RESORT: u32 = u32::MAX;

/// What to tell the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Name of the TUN device.
    pub tun: String,
    /// Our own routing table.
    pub table: u32,
    /// Mark of our own sockets.
    pub fwmark: u32,
    /// Its routes.
    pub routes: Vec<Route>,
}

/// One route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// First address of the destination.
    pub destination: IpAddr,
    /// Prefix length of the destination.
    pub len: u8,
    /// Where it leads.
    pub target: Target,
}

/// Where a route leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Into the tunnel. The host's own packets take a source address of its own that lies in one of these, if it has
    /// one: else the other side's selectors would not let them pass.
    Tun(Vec<AddrRange>),
    /// On with the next rule.
    Throw,
}

impl Plan {
    /// The routes that `policies` need.
    pub fn new(tun: &str, table: u32, fwmark: u32, policies: &Policies) -> Self {
        let mut routes: Vec<Route> = Vec::new();
        for policy in policies.iter() {
            let target = match policy.action {
                Action::Protect(_) => {
                    Target::Tun(policy.selector.local.iter().map(|selector| selector.addresses).collect())
                }
                Action::Bypass if policy.selector.local.iter().all(any_address) => Target::Throw,
                Action::Bypass | Action::Discard => continue,
            };
            let whole = |selector: &&TrafficSelector| {
                target != Target::Throw || selector.protocol == 0 && selector.ports == PortRange::ANY
            };
            for selector in policy.selector.remote.iter().filter(whole) {
                for (destination, len) in prefixes(&selector.addresses) {
                    // Policies are ordered: the first to speak for a destination wins.
                    if !routes.iter().any(|route| (route.destination, route.len) == (destination, len)) {
                        routes.push(Route { destination, len, target: target.clone() });
                    }
                }
            }
        }
        Self { tun: tun.to_owned(), table, fwmark, routes }
    }
}

fn any_address(selector: &TrafficSelector) -> bool {
    selector.protocol == 0 && [AddrRange::ANY_V4, AddrRange::ANY_V6].contains(&selector.addresses)
}

/// The fewest prefixes that make up `range`.
pub fn prefixes(range: &AddrRange) -> Vec<(IpAddr, u8)> {
    let (bits, start, end) = match (range.start(), range.end()) {
        (IpAddr::V4(start), IpAddr::V4(end)) => (32, u128::from(u32::from(start)), u128::from(u32::from(end))),
        (IpAddr::V6(start), IpAddr::V6(end)) => (128, u128::from(start), u128::from(end)),
        _ => return Vec::new(),
    };
    let address = |value: u128| match bits {
        32 => IpAddr::from((value as u32).to_be_bytes()),
        _ => IpAddr::from(value.to_be_bytes()),
    };
    let mut all = Vec::new();
    let mut next = start;
    loop {
        // The largest block that begins at `next` and does not reach beyond `end`.
        let mut host = next.trailing_zeros().min(bits);
        while host > 0 && last_of(next, host) > end {
            host -= 1;
        }
        all.push((address(next), (bits - host) as u8));
        match last_of(next, host).checked_add(1) {
            Some(following) if following <= end => next = following,
            _ => return all,
        }
    }
}

/// The last address of a block of `host` bits.
fn last_of(start: u128, host: u32) -> u128 {
    start | u128::MAX.checked_shr(128 - host).unwrap_or(0)
}

/// The kernel's side of a running gateway.
#[derive(Debug)]
pub struct Routing {
    netlink: Handle,
    connection: JoinHandle<()>,
    plan: Plan,
}

impl Routing {
    /// Carries out `plan`, after removing what a gateway that was killed left behind.
    ///
    /// # Errors
    /// Without CAP_NET_ADMIN, or when the device is gone.
    pub async fn install(plan: Plan) -> io::Result<Self> {
        let (connection, netlink, _) = rtnetlink::new_connection()?;
        let routing = Self { netlink, connection: tokio::spawn(connection), plan };
        routing.clean().await;
        match routing.add().await {
            Ok(()) => Ok(routing),
            Err(error) => {
                routing.remove().await;
                Err(error)
            }
        }
    }

    /// Removes everything that [`install`](Self::install) added.
    pub async fn remove(self) {
        self.clean().await;
        self.connection.abort();
    }

    async fn add(&self) -> io::Result<()> {
        let tun = self.device().await?;
        let own = self.addresses().await?;
        for route in &self.plan.routes {
            let message = self.route(route, tun, &own)?;
            let result = self.netlink.route().add(message).replace().execute().await;
            result.map_err(|error| context(&error, &format!("route to {}/{}", route.destination, route.len)))?;
            if let Target::Tun(_) = route.target {
                let builder = RouteMessageBuilder::<IpAddr>::new().table_id(self.plan.table).priority(LAST_RESORT);
                let builder = builder.destination_prefix(route.destination, route.len).map_err(io::Error::other)?;
                let message = builder.kind(RouteType::Unreachable).build();
                let result = self.netlink.route().add(message).replace().execute().await;
                result.map_err(|error| context(&error, &format!("end of {}/{}", route.destination, route.len)))?;
            }
        }
        for v4 in [true, false] {
            if self.plan.routes.iter().any(|route| route.destination.is_ipv4() == v4) {
                self.add_rule(v4).await.map_err(|error| context(&error, "routing rule"))?;
            }
        }
        Ok(())
    }

    async fn add_rule(&self, v4: bool) -> Result<(), rtnetlink::Error> {
        let add = self.netlink.rule().add();
        let add = add.table_id(self.plan.table).priority(PRIORITY).fw_mark(self.plan.fwmark);
        let mut add = add.action(RuleAction::ToTable);
        add.message_mut().header.flags |= RuleFlags::Invert;
        if v4 { add.v4().execute().await } else { add.v6().execute().await }
    }

    fn route(&self, route: &Route, tun: u32, own: &[IpAddr]) -> io::Result<RouteMessage> {
        let builder = RouteMessageBuilder::<IpAddr>::new().table_id(self.plan.table);
        let builder = builder.destination_prefix(route.destination, route.len).map_err(io::Error::other)?;
        let Target::Tun(local) = &route.target else { return Ok(builder.kind(RouteType::Throw).build()) };
        let mut builder = builder.output_interface(tun);
        if route.destination.is_ipv4() {
            builder = builder.scope(RouteScope::Link);
        }
        let family = |address: &&IpAddr| address.is_ipv4() == route.destination.is_ipv4();
        let inside = |address: &&IpAddr| local.iter().any(|range| range.contains(**address));
        if let Some(source) = own.iter().filter(family).find(inside) {
            builder = builder.pref_source(*source).map_err(io::Error::other)?;
        }
        Ok(builder.build())
    }

    async fn device(&self) -> io::Result<u32> {
        let mut links = self.netlink.link().get().match_name(self.plan.tun.clone()).execute();
        let link = links.try_next().await.map_err(io::Error::other)?;
        link.map(|link| link.header.index).ok_or_else(|| io::Error::other(format!("no device {}", self.plan.tun)))
    }

    /// The addresses of this host, loopback and link-local ones last: they are seldom meant.
    async fn addresses(&self) -> io::Result<Vec<IpAddr>> {
        let messages: Vec<_> = self.netlink.address().get().execute().try_collect().await.map_err(io::Error::other)?;
        let mut own: Vec<IpAddr> = messages
            .iter()
            .flat_map(|message| &message.attributes)
            .filter_map(|attribute| match attribute {
                AddressAttribute::Local(address) => Some(*address),
                AddressAttribute::Address(address) if address.is_ipv6() => Some(*address),
                _ => None,
            })
            .collect();
        let seldom = |address: &IpAddr| match address {
            IpAddr::V4(v4) => v4.is_loopback() || v4.is_link_local(),
            IpAddr::V6(v6) => v6.is_loopback() || v6.is_unicast_link_local(),
        };
        own.sort_by_key(seldom);
        Ok(own)
    }

    /// Removes every route of our table, and the rules that lead there. What is not there needs no removing, and
    /// what can't be removed is no reason not to stop: errors are for the log.
    async fn clean(&self) {
        for family in [IpVersion::V4, IpVersion::V6] {
            let rules: Vec<RuleMessage> =
                self.netlink.rule().get(family).execute().try_collect().await.unwrap_or_default();
            for rule in rules.into_iter().filter(|rule| self.is_ours(rule)) {
                if let Err(error) = self.netlink.rule().del(rule).execute().await {
                    tracing::warn!("a routing rule could not be removed: {error}");
                }
            }
        }
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut all = RouteMessage::default();
            all.header.address_family = family;
            let routes: Vec<RouteMessage> =
                self.netlink.route().get(all).execute().try_collect().await.unwrap_or_default();
            for route in routes.into_iter().filter(|route| table_of(route) == self.plan.table) {
                if let Err(error) = self.netlink.route().del(route).execute().await {
                    tracing::warn!("a route could not be removed: {error}");
                }
            }
        }
    }

    fn is_ours(&self, rule: &RuleMessage) -> bool {
        let has = |wanted: RuleAttribute| rule.attributes.contains(&wanted);
        let table = has(RuleAttribute::Table(self.plan.table)) || u32::from(rule.header.table) == self.plan.table;
        table && has(RuleAttribute::Priority(PRIORITY))
    }
}

fn table_of(route: &RouteMessage) -> u32 {
    let attribute = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Table(table) => Some(*table),
        _ => None,
    });
    attribute.unwrap_or_else(|| u32::from(route.header.table))
}

fn context(error: &rtnetlink::Error, what: &str) -> io::Error {
    io::Error::other(format!("{what}: {error}"))
}

#[cfg(test)]
mod tests {
    use cygnet_spd::{Policy, PolicyId, Selector, Terms};

    use super::*;

    fn split(range: &str) -> Vec<String> {
        let range = range.parse().expect("a range");
        prefixes(&range).iter().map(|(address, len)| format!("{address}/{len}")).collect()
    }

    #[test]
    fn a_range_becomes_the_fewest_prefixes() {
        assert_eq!(split("10.0.0.0/8"), ["10.0.0.0/8"]);
        assert_eq!(split("0.0.0.0-255.255.255.255"), ["0.0.0.0/0"]);
        assert_eq!(split("::/0"), ["::/0"]);
        assert_eq!(split("10.0.0.1-10.0.0.6"), ["10.0.0.1/32", "10.0.0.2/31", "10.0.0.4/31", "10.0.0.6/32"]);
        assert_eq!(split("255.255.255.254-255.255.255.255"), ["255.255.255.254/31"]);
        assert_eq!(split("2001:db8::-2001:db8::1:ffff"), ["2001:db8::/111"]);
        assert_eq!(split("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), ["ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/128"]);
    }

    #[test]
    fn policies_become_routes_in_order() {
        let selector = |local: &str, remote: &str| Selector {
            local: vec![local.parse().expect("selector")],
            remote: vec![remote.parse().expect("selector")],
        };
        let policy = |local, remote, action| Policy {
            name: String::new(),
            selector: selector(local, remote),
            action,
            terms: Terms::default(),
        };
        let policies = Policies::new(vec![
            policy("0.0.0.0/0", "10.2.9.0/24", Action::Bypass),
            policy("0.0.0.0/0", "10.2.8.0/24[tcp/22]", Action::Bypass),
            policy("10.1.0.0/16", "10.2.0.0/16", Action::Protect(PolicyId(1))),
            policy("10.3.0.0/16", "10.2.0.0/16", Action::Protect(PolicyId(2))),
            policy("0.0.0.0/0", "10.4.0.0/16", Action::Discard),
        ]);
        let plan = Plan::new("t0", 7, 8, &policies);
        let seen: Vec<_> = plan.routes.iter().map(|route| (route.destination.to_string(), route.len)).collect();
        assert_eq!(seen, [("10.2.9.0".to_owned(), 24), ("10.2.0.0".to_owned(), 16)]);
        assert_eq!(plan.routes[0].target, Target::Throw);
        assert_eq!(plan.routes[1].target, Target::Tun(vec!["10.1.0.0/16".parse().expect("a range")]));
    }
}
