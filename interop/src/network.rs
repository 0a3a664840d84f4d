//! The outer network of a case: a link between the hosts, or a link each to a router that translates addresses.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::addresses::{ROUTER, outer};
use crate::failure::{Context, Result};
use crate::namespace::{Namespace, PREFIX, connect};
use crate::process;
use crate::scenario::{Case, Outer, Who};
use crate::side::Side;

/// Joins the hosts and gives them their outer addresses; the router, if there is one, lives as long as its handle.
pub(crate) fn join(case: &Case, number: usize, ours: &Side, theirs: &Side) -> Result<Option<Namespace>> {
    let router = match case.nat.inside() {
        None => {
            connect((ours.namespace(), "outer"), (theirs.namespace(), "outer"))?;
            None
        }
        Some(inside) => {
            let router = Namespace::new(&format!("{PREFIX}{}-{number}-router", std::process::id()))?;
            for side in [ours, theirs] {
                let link = if side.who == inside { "inside" } else { "outside" };
                connect((side.namespace(), "outer"), (&router, link))?;
            }
            translate(&router, case, inside)?;
            Some(router)
        }
    };
    for side in [ours, theirs] {
        side.join_link()?;
        for (family, bits) in [(Outer::V4, "/24"), (Outer::V6, "/64")] {
            let address = outer(case.nat, side.who, family) + bits;
            side.ip(&["addr", "add", &address, "dev", "outer", "nodad"])?;
        }
        if case.nat.inside() == Some(side.who) {
            side.ip(&["route", "add", "default", "via", ROUTER[0]])?;
        }
    }
    Ok(router)
}

/// Ports change, as they do behind a router that many hosts share; if the side outside begins, the ports of IKE are
/// forwarded to the one inside.
fn translate(router: &Namespace, case: &Case, inside: Who) -> Result<()> {
    for (link, address) in ["inside", "outside"].into_iter().zip(ROUTER) {
        router.ip(&["addr", "add", &format!("{address}/24"), "dev", link])?;
    }
    let host: Ipv4Addr = outer(case.nat, inside, Outer::V4).parse().context("address")?;
    let forward = match case.initiator == inside {
        true => String::new(),
        false => format!("iifname outside udp dport {{ 500, 4500 }} dnat to {host}"),
    };
    let rules = format!(
        "table ip nat {{
            chain before {{ type nat hook prerouting priority dstnat; {forward}; }}
            chain after {{
                type nat hook postrouting priority srcnat
                oifname outside meta l4proto udp masquerade to :20000-30000
            }}
        }}"
    );
    let script = ["sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward && exec nft \"$0\"", &rules];
    process::run(&mut router.command(&script), Duration::from_secs(10)).map(drop)
}
