//! The outer network of a case: a link between the hosts, a router that translates addresses, or two routers.

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::addresses::{ROUTED, ROUTER, Routed, outer};
use crate::failure::{Context, Result};
use crate::namespace::{Namespace, PREFIX, connect};
use crate::process;
use crate::scenario::{Case, Nat, Outer, Who};
use crate::side::Side;

/// What is between the hosts; it lives as long as this.
#[derive(Debug)]
pub(crate) struct Between {
    routers: Vec<Namespace>,
}

impl Between {
    /// Joins the hosts of `case`, number `number` of this run, and gives them their outer addresses.
    pub(crate) fn new(case: &Case, number: usize, ours: &Side, theirs: &Side) -> Result<Self> {
        let router = |which: &str| Namespace::new(&format!("{PREFIX}{}-{number}-{which}", std::process::id()));
        let mut routers = Vec::new();
        match (case.nat, case.nat.inside()) {
            (_, Some(inside)) => {
                let router = router("router")?;
                for side in [ours, theirs] {
                    let link = if side.who == inside { "inside" } else { "outside" };
                    connect((side.namespace(), "outer"), (&router, link))?;
                }
                translate(&router, case, inside)?;
                routers.push(router);
            }
            (Nat::Routed, None) => {
                let (near, far) = (router("near")?, router("far")?);
                connect((ours.namespace(), "outer"), (&near, "host"))?;
                connect((theirs.namespace(), "outer"), (&far, "host"))?;
                connect((&near, "middle"), (&far, "middle"))?;
                for (router, addresses) in [&near, &far].into_iter().zip(&ROUTED) {
                    forward(router, addresses)?;
                }
                routers.extend([near, far]);
            }
            (_, None) => connect((ours.namespace(), "outer"), (theirs.namespace(), "outer"))?,
        }
        for side in [ours, theirs] {
            side.join_link()?;
            for (family, bits) in [(Outer::V4, "/24"), (Outer::V6, "/64")] {
                let address = outer(case.nat, side.who, family) + bits;
                side.ip(&["addr", "add", &address, "dev", "outer", "nodad"])?;
            }
            match (case.nat, side.who) {
                (nat, who) if nat.inside() == Some(who) => {
                    side.ip(&["route", "add", "default", "via", ROUTER[0]])?;
                }
                (Nat::Routed, who) => {
                    let Routed { host: [v4, v6], .. } = ROUTED[if who == Who::Ours { 0 } else { 1 }];
                    side.ip(&["route", "add", "default", "via", v4])?;
                    side.ip(&["-6", "route", "add", "default", "via", v6])?;
                }
                _ => {}
            }
        }
        Ok(Self { routers })
    }

    /// From now on the link between the routers, which neither host sees, carries packets of at most `mtu` octets.
    pub(crate) fn narrow(&self, mtu: u16) -> Result<()> {
        self.routers
            .iter()
            .try_for_each(|router| router.ip(&["link", "set", "middle", "mtu", &mtu.to_string()]).map(drop))
    }

    /// The router on our side, where there are two.
    pub(crate) fn near(&self) -> Result<&Namespace> {
        self.routers.first().context("the hosts share a link")
    }
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

/// A router between the link of a host and the middle.
fn forward(router: &Namespace, addresses: &Routed) -> Result<()> {
    for (link, [v4, v6]) in [("host", addresses.host), ("middle", addresses.middle)] {
        router.ip(&["addr", "add", &format!("{v4}/24"), "dev", link])?;
        router.ip(&["addr", "add", &format!("{v6}/64"), "dev", link, "nodad"])?;
    }
    let [v4, v6] = addresses.next;
    router.ip(&["route", "add", "default", "via", v4])?;
    router.ip(&["-6", "route", "add", "default", "via", v6])?;
    // A router that answers every packet that is too big: none of them may be lost on a sender that is slow to learn.
    let settings = "cd /proc/sys/net && echo 1 > ipv4/ip_forward && echo 1 > ipv6/conf/all/forwarding
        echo 0 > ipv4/icmp_ratelimit; echo 0 > ipv6/icmp/ratelimit";
    process::run(&mut router.command(&["sh", "-c", settings]), Duration::from_secs(10)).map(drop)
}
