//! What we ask of rtnetlink: one function per question or change.

use std::io;
use std::net::IpAddr;

use futures_util::TryStreamExt;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::AddressAttribute;
use rtnetlink::packet_route::link::LinkAttribute;
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteMetric, RouteScope, RouteType};
use rtnetlink::packet_route::rule::{RuleAction, RuleAttribute, RuleFlags, RuleMessage};
use rtnetlink::{Handle, IpVersion, RouteMessageBuilder};

use super::prefix::Prefix;

/// Priority of our rules: before `main` (32766), after `local` (0).
pub(super) const PRIORITY: u32 = 7296;

/// What tells routes of a table apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) destination: Prefix,
    /// Smaller ones are preferred.
    pub(super) metric: u32,
}

/// A route as the kernel has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Device { index: u32, source: Option<IpAddr> },
    Throw,
    Unreachable,
}

/// How a packet of ours would travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::net) struct Way {
    /// Index of the interface.
    pub(in crate::net) interface: u32,
    /// Source address.
    pub(in crate::net) source: Option<IpAddr>,
    /// MTU that somebody configured for the route, octets.
    pub(in crate::net) mtu: Option<u32>,
}

/// An interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::net) struct Link {
    pub(in crate::net) name: String,
    /// Octets.
    pub(in crate::net) mtu: u32,
}

/// The interface of this name or index.
pub(in crate::net) async fn link(netlink: &Handle, index: u32) -> io::Result<Link> {
    let mut links = netlink.link().get().match_index(index).execute();
    let link = links.try_next().await.map_err(io::Error::other)?.ok_or(io::ErrorKind::NotFound)?;
    let mut found = Link { name: String::new(), mtu: 0 };
    for attribute in link.attributes {
        match attribute {
            LinkAttribute::IfName(name) => found.name = name,
            LinkAttribute::Mtu(mtu) => found.mtu = mtu,
            _ => {}
        }
    }
    Ok(found)
}

/// The index of the interface `name`.
pub(super) async fn index(netlink: &Handle, name: &str) -> io::Result<u32> {
    let mut links = netlink.link().get().match_name(name.to_owned()).execute();
    let link = links.try_next().await.map_err(io::Error::other)?;
    link.map(|link| link.header.index).ok_or_else(|| io::Error::other(format!("no device {name}")))
}

/// The addresses of this host, loopback and link-local ones last: they are seldom meant.
pub(super) async fn addresses(netlink: &Handle) -> io::Result<Vec<IpAddr>> {
    let messages: Vec<_> = netlink.address().get().execute().try_collect().await.map_err(io::Error::other)?;
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

/// How a packet with `mark` travels to `destination`.
pub(in crate::net) async fn way(
    netlink: &Handle,
    source: Option<IpAddr>,
    destination: IpAddr,
    mark: u32,
) -> io::Result<Way> {
    let bits = if destination.is_ipv4() { 32 } else { 128 };
    let builder = RouteMessageBuilder::<IpAddr>::new().mark(mark);
    let mut builder = builder.destination_prefix(destination, bits).map_err(io::Error::other)?;
    if let Some(source) = source {
        builder = builder.source_prefix(source, bits).map_err(io::Error::other)?;
    }
    let mut question = builder.build();
    // The builder asks about routes of `main`, of unicast type; the kernel shall say which.
    question.header.table = 0;
    question.header.scope = RouteScope::Universe;
    let mut answers = netlink.route().get(question).execute();
    let answer = answers.try_next().await.map_err(io::Error::other)?.ok_or(io::ErrorKind::NotFound)?;
    let (mut interface, mut source, mut mtu, mut learned) = (None, None, None, false);
    for attribute in answer.attributes {
        match attribute {
            RouteAttribute::Oif(index) => interface = Some(index),
            RouteAttribute::PrefSource(address) => source = ip(&address),
            RouteAttribute::Metrics(metrics) => {
                mtu = metrics.iter().find_map(|metric| match metric {
                    RouteMetric::Mtu(mtu) => Some(*mtu),
                    _ => None,
                });
            }
            // From an ICMP error: not configured, and not checked by anybody.
            RouteAttribute::CacheInfo(info) => learned = info.expires != 0,
            _ => {}
        }
    }
    let interface = interface.ok_or(io::ErrorKind::HostUnreachable)?;
    Ok(Way { interface, source, mtu: mtu.filter(|_| !learned) })
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(v4) => Some((*v4).into()),
        RouteAddress::Inet6(v6) => Some((*v6).into()),
        _ => None,
    }
}

/// Sets a route, in the place of one with the same key.
pub(super) async fn set_route(netlink: &Handle, table: u32, key: Key, kind: Kind) -> io::Result<()> {
    let Key { destination, metric } = key;
    let builder = RouteMessageBuilder::<IpAddr>::new().table_id(table).priority(metric);
    let builder = builder.destination_prefix(destination.address, destination.len).map_err(io::Error::other)?;
    let message = match kind {
        Kind::Throw => builder.kind(RouteType::Throw).build(),
        Kind::Unreachable => builder.kind(RouteType::Unreachable).build(),
        Kind::Device { index, source } => {
            let mut builder = builder.output_interface(index);
            if destination.address.is_ipv4() {
                builder = builder.scope(RouteScope::Link);
            }
            if let Some(source) = source {
                builder = builder.pref_source(source).map_err(io::Error::other)?;
            }
            builder.build()
        }
    };
    let result = netlink.route().add(message).replace().execute().await;
    result.map_err(|error| io::Error::other(format!("{kind:?} for {destination}: {error}")))
}

/// All routes of a table.
pub(super) async fn routes(netlink: &Handle, table: u32) -> Vec<(Key, RouteMessage)> {
    let mut found = Vec::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut all = RouteMessage::default();
        all.header.address_family = family;
        // A family that the system does not have has no routes.
        let routes: Vec<RouteMessage> = netlink.route().get(all).execute().try_collect().await.unwrap_or_default();
        let ours = routes.into_iter().filter(|route| table_of(route) == table);
        found.extend(ours.map(|route| (key_of(&route, family), route)));
    }
    found
}

fn key_of(route: &RouteMessage, family: AddressFamily) -> Key {
    let any = if family == AddressFamily::Inet { IpAddr::from([0; 4]) } else { IpAddr::from([0; 16]) };
    let (mut address, mut metric) = (any, 0);
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Destination(destination) => address = ip(destination).unwrap_or(any),
            RouteAttribute::Priority(priority) => metric = *priority,
            _ => {}
        }
    }
    Key { destination: Prefix { address, len: route.header.destination_prefix_length }, metric }
}

fn table_of(route: &RouteMessage) -> u32 {
    let attribute = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Table(table) => Some(*table),
        _ => None,
    });
    attribute.unwrap_or_else(|| u32::from(route.header.table))
}

/// Deletes a route. What can't be removed is no reason not to go on: errors are for the log.
pub(super) async fn delete_route(netlink: &Handle, route: RouteMessage) {
    if let Err(error) = netlink.route().del(route).execute().await {
        tracing::warn!("a route could not be removed: {error}");
    }
}

/// Our rules of one family that lead to `table`.
pub(super) async fn rules(netlink: &Handle, v4: bool, table: u32) -> Vec<RuleMessage> {
    let family = if v4 { IpVersion::V4 } else { IpVersion::V6 };
    let rules: Vec<RuleMessage> = netlink.rule().get(family).execute().try_collect().await.unwrap_or_default();
    let ours = |rule: &RuleMessage| {
        let has = |wanted: RuleAttribute| rule.attributes.contains(&wanted);
        (has(RuleAttribute::Table(table)) || u32::from(rule.header.table) == table)
            && has(RuleAttribute::Priority(PRIORITY))
    };
    rules.into_iter().filter(ours).collect()
}

/// Whether `rule` sends everything but packets with `mark` to its table.
pub(super) fn excepts(rule: &RuleMessage, mark: u32) -> bool {
    rule.header.flags.contains(RuleFlags::Invert) && rule.attributes.contains(&RuleAttribute::FwMark(mark))
}

/// Sends everything but packets with `mark` to `table`.
pub(super) async fn add_rule(netlink: &Handle, v4: bool, table: u32, mark: u32) -> io::Result<()> {
    let add = netlink.rule().add().table_id(table).priority(PRIORITY).fw_mark(mark);
    let mut add = add.action(RuleAction::ToTable);
    add.message_mut().header.flags |= RuleFlags::Invert;
    let result = if v4 { add.v4().execute().await } else { add.v6().execute().await };
    result.map_err(|error| io::Error::other(format!("routing rule: {error}")))
}

/// Deletes a rule; see [`delete_route`].
pub(super) async fn delete_rule(netlink: &Handle, rule: RuleMessage) {
    if let Err(error) = netlink.rule().del(rule).execute().await {
        tracing::warn!("a routing rule could not be removed: {error}");
    }
}
