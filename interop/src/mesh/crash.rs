//! A daemon is killed (SIGKILL): what `require` protects stays shut, and what a policy discards, everything else goes
//! on; the next start recovers; `cleanup` and a clean stop leave nothing.

use std::path::Path;
use std::time::Duration;

use super::net::{Mesh, address};
use super::node::Node;
use crate::bed::Lab;
use crate::failure::{Context, Result, fail};
use crate::process::{sh, until};

const SECRET: &str = "[secrets.all]\nfile = \"psk\"\n";
/// A host to which no PROTECT policy steers anything, and nothing shall be sent.
const REFUSED: &str = "10.77.0.201";

/// Plays it, in transport mode and in tunnel mode.
pub(super) fn play(lab: &Lab, number: usize, folder: &Path) -> Result<()> {
    let mut mesh = Mesh::new(lab, number, folder, 3)?;
    for node in &mesh.nodes {
        node.write("psk", "a secret of test machines, known to all\n")?;
        // An inner address each, for tunnel mode.
        node.namespace.ip(&["addr", "add", &format!("10.{}.0.1/32", node.number), "dev", "lo"])?;
    }
    // A host that has nothing to do with IPsec.
    mesh.hub.ip(&["addr", "add", "10.77.0.200/24", "dev", "bridge"])?;
    mesh.hub.ip(&["addr", "add", &format!("{REFUSED}/24"), "dev", "bridge"])?;
    transport(&mut mesh).context("transport mode")?;
    tunnel(&mut mesh).context("tunnel mode")
}

/// Node 1 requires protection towards node 2, and uses it towards node 3.
fn transport(mesh: &mut Mesh) -> Result<()> {
    let [one, two, three] = &mut mesh.nodes[..] else { fail!("three nodes") };
    let connection = |local: u8, remote: u8, level: &str| {
        format!(
            "[connections.to{remote}]\nlocal_addrs = \"{}\"\nremote_addrs = \"{}\"\n\
             children.host = {{ mode = \"transport\", level = \"{level}\", start_action = \"trap\" }}\n",
            address(local),
            address(remote)
        )
    };
    let never = format!("[policies.never]\naction = \"discard\"\nremote_ts = \"{REFUSED}\"\n");
    one.configure("", &[&connection(1, 2, "require"), &connection(1, 3, "use"), SECRET, &never].concat())?;
    let refused = REFUSED.parse().context("address")?;
    two.configure("", &[&connection(2, 1, "require"), SECRET].concat())?;
    three.configure("", &[&connection(3, 1, "use"), SECRET].concat())?;
    let untouched = footprint(one)?;
    for node in [&mut *one, two, three] {
        node.start()?;
    }
    reached(one, address(2))?;
    reached(one, address(3))?;
    // RFC 4301 §5.1, also where the tunnel device never sees the packet.
    if one.reaches(refused) {
        fail!("what a policy discards was answered");
    }
    let spd = one.cygnet(&["spd", "--json"])?;
    if !spd.split("\"clear_dropped_out\":").skip(1).any(|rest| !rest.trim_start_matches([' ', '"']).starts_with('0')) {
        fail!("what a policy discards was not counted:\n{spd}");
    }

    mended(one).context("somebody else's changes")?;
    broken(one).context("the gateway loses its device")?;
    one.start()?;
    reached(one, address(2))?;

    one.kill();
    three.kill();
    if !one.reaches("10.77.0.200".parse().context("address")?) {
        fail!("the killed daemon's host cannot reach a host that no policy is about");
    }
    until("clear traffic under `use` after both daemons died", Duration::from_secs(5), || {
        one.reaches(address(3)).then_some(())
    })?;
    if one.reaches(address(2)) || one.reaches(refused) {
        fail!("what requires protection, or is discarded, passes after the daemon died");
    }

    one.fails_without_filter()?;
    if one.reaches(address(2)) || one.reaches(refused) {
        fail!("a start that failed opened what the killed daemon had left shut");
    }

    three.start()?;
    one.start()?;
    reached(one, address(2))?;
    reached(one, address(3))?;
    one.kill();
    one.cygnet_offline(&["cleanup"])?;
    same(&untouched, &footprint(one)?).context("after `cleanup`")?;
    reached(one, refused)?;
    one.fails_without_filter()?;
    same(&untouched, &footprint(one)?).context("after a start that failed")?;
    one.start()?;
    reached(one, address(2))?;
    for node in [&mut *one, two, three] {
        node.stop()?;
    }
    same(&untouched, &footprint(one)?).context("after a clean stop")
}

/// Somebody flushes the filter, which comes back by itself, and routes and rules, which a reload brings back.
fn mended(one: &mut Node) -> Result<()> {
    let refused = REFUSED.parse().context("address")?;
    let name = one.namespace.name().to_owned();
    for what in [&["flush", "ruleset"][..], &["flush", "table", "inet", "cygnet_7296"]] {
        sh(&[&["ip", "netns", "exec", &name, "nft"], what].concat())?;
        until("the filter again", Duration::from_secs(5), || {
            let rules = sh(&["ip", "netns", "exec", &name, "nft", "list", "table", "inet", "cygnet_7296"]).ok()?;
            rules.contains("goto refuse_out").then_some(())
        })?;
        if one.reaches(refused) {
            fail!("what a policy discards was answered");
        }
    }
    one.namespace.ip(&["route", "flush", "table", "7296"])?;
    one.namespace.ip(&["rule", "del", "table", "7296"])?;
    let steered = || -> Result<()> {
        one.cygnet(&["reload"])?;
        let routes = sh(&["ip", "netns", "exec", &name, "ip", "route", "get", &address(2).to_string()])?;
        if !routes.contains("cygnet0") {
            fail!("after a reload, routes and rules are not there again: {routes}");
        }
        Ok(())
    };
    steered()?;
    // The same destination, elsewhere.
    let to = format!("{}/32", address(2));
    one.namespace.ip(&["route", "replace", &to, "dev", "lo", "metric", "1", "table", "7296"])?;
    steered()?;
    reached(one, address(2))
}

/// Without its device a gateway can't go on. It ends, and leaves shut what must be protected.
fn broken(one: &mut Node) -> Result<()> {
    one.namespace.ip(&["link", "del", "cygnet0"])?;
    until("the end of the daemon", Duration::from_secs(15), || one.must_run().is_err().then_some(()))?;
    if one.reaches(address(2)) || one.reaches(REFUSED.parse().context("address")?) {
        fail!("a gateway that broke opened what must be protected");
    }
    one.kill();
    Ok(())
}

/// Node 1 and node 2 protect their inner networks.
fn tunnel(mesh: &mut Mesh) -> Result<()> {
    let [one, two, _] = &mut mesh.nodes[..] else { fail!("three nodes") };
    for (node, local, remote) in [(&*one, 1, 2), (&*two, 2, 1)] {
        let (us, them) = (address(local), address(remote));
        let connection = format!(
            "[connections.net]\nlocal_addrs = \"{us}\"\nremote_addrs = \"{them}\"\n\
             children.net = {{ local_ts = \"10.{local}.0.0/16\", remote_ts = \"10.{remote}.0.0/16\", \
             start_action = \"trap\" }}\n{SECRET}"
        );
        node.configure("", &connection)?;
    }
    let untouched = footprint(one)?;
    one.start()?;
    two.start()?;
    let inner = "10.2.0.1".parse().context("address")?;
    reached(one, inner)?;
    one.kill();
    if !one.reaches(address(2)) {
        fail!("the peer's outer address is not reached after the daemon died");
    }
    if one.reaches(inner) {
        fail!("what requires protection passes after the daemon died");
    }
    one.start()?;
    reached(one, inner)?;
    one.stop()?;
    two.stop()?;
    same(&untouched, &footprint(one)?).context("after a clean stop")
}

fn reached(from: &Node, to: std::net::IpAddr) -> Result<()> {
    let what = format!("an answer from {to} to node {}", from.number);
    until(&what, Duration::from_secs(20), || from.reaches(to).then_some(()))
}

/// Links, addresses, rules, routes and packet filter of a node.
fn footprint(node: &Node) -> Result<String> {
    let filter = sh(&["ip", "netns", "exec", node.namespace.name(), "nft", "list", "ruleset"])?;
    Ok(node.namespace.footprint()? + &filter)
}

fn same(before: &str, after: &str) -> Result<()> {
    let extra: Vec<&str> = after.lines().filter(|line| !before.lines().any(|old| old == *line)).collect();
    if extra.is_empty() { Ok(()) } else { fail!("left behind:\n{}", extra.join("\n")) }
}
