//! The reverse path filter of IPv4 (RFC 3704 §2.2), which knows nothing of our mark.
//!
//! Strict (`rp_filter` = 1), an interface drops what comes from an address whose route leads elsewhere, and does not
//! even answer that address's ARP. The routes into the TUN device make an elsewhere of every steered destination that
//! also sends outside the tunnel: a peer in transport mode, and everybody from whom clear traffic is accepted.
//! Loose (2) is enough, which is what most distributions set today.

use std::fs;
use std::io;

use rtnetlink::Handle;

use super::kernel;
use super::plan::{Plan, Route, Target};

/// Destinations looked at: those of one plan mostly share an interface.
const ENOUGH: usize = 64;

/// Warns about every interface whose filter would drop what comes from a steered destination.
pub(super) async fn check(netlink: &Handle, plan: &Plan) {
    let outside = |route: &&Route| {
        route.destination.address.is_ipv4() && matches!(route.target, Target::Tun { outside: true, .. })
    };
    let mut told = Vec::new();
    for route in plan.routes.iter().filter(outside).take(ENOUGH) {
        let Ok(way) = kernel::way(netlink, None, route.destination.address, plan.fwmark).await else { continue };
        let Ok(link) = kernel::link(netlink, way.interface).await else { continue };
        if told.contains(&link.name) || !is_strict(&link.name) {
            continue;
        }
        tracing::warn!(
            "{name} drops what comes from {destination} outside the tunnel, ARP included, because its reverse path \
             filter is strict: set net.ipv4.conf.{name}.rp_filter = 2 (loose)",
            name = link.name,
            destination = route.destination,
        );
        told.push(link.name);
    }
}

/// The larger one of the interface's own setting and that of all counts.
fn is_strict(name: &str) -> bool {
    let setting = |of: &str| -> io::Result<u8> {
        let text = fs::read_to_string(format!("/proc/sys/net/ipv4/conf/{of}/rp_filter"))?;
        text.trim().parse().map_err(io::Error::other)
    };
    let of = |name| setting(name).unwrap_or(0);
    of("all").max(of(name)) == 1
}
