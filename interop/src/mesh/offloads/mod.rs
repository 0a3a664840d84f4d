//! Two gateways between two inner networks, with offloads on and off on either side: TCP segments and UDP datagrams of
//! every size and odd packets cross them, and what comes out is held against what went in and read by tshark.
//!
//! ```text
//!  left ── lan [gateway 1] tun ══ ESP ══ tun [gateway 2] lan ── right
//! ```
//!
//! The kernel leaves checksums undone and segments uncut wherever it can. The last link has no offloads: on it every
//! packet is as a network would see it.
//!
//! | file | holds |
//! |---|---|
//! | `packet` | packets made by hand, and how a network card cuts them |
//! | `plan` | what is sent |
//! | `odd` | what of it is odd |
//! | `link` | the two ends |
//! | `arrivals` | what must arrive, and what did |
//! | `reader` | tshark |
//! | `load` | numbered datagrams and a TCP stream at a moderate rate |

mod arrivals;
mod link;
mod load;
mod odd;
mod packet;
mod plan;
mod reader;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use self::arrivals::Arrivals;
use self::link::{Ends, PacketFile, Task};
use self::packet::Ip;
use self::plan::Plan;
use self::reader::Verdict;
use super::net::{Mesh, address};
use super::node::Node;
use crate::bed::Lab;
use crate::failure::{Context, Result, fail};
use crate::namespace::Namespace;
use crate::process::{self, until};
use crate::scenario::Esp;

/// Of the links, octets: a segment of 9,000 octets with all headers, sealed, fits. The TUN devices' follows from it.
const LINK: &str = "9300";
/// Packets, and octets of them, that are on their way at once.
const PACKETS: usize = 64;
const OCTETS: usize = 256 * 1024;
/// How long one may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// What comes twice comes soon.
const SOON: Duration = Duration::from_millis(200);
/// Address of the first packets, which may be lost.
const FIRST: u8 = 250;

/// Plays it: all four combinations of the two sides, for ESP as it travels here.
pub(super) fn play(lab: &Lab, number: usize, folder: &Path, esp: Esp) -> Result<()> {
    let mut mesh = Mesh::new(lab, number, folder, 2)?;
    networks(&mesh)?;
    let sides = [("all", "all"), ("all", "none"), ("none", "all"), ("none", "none")];
    for (n, (one, two)) in sides.into_iter().enumerate() {
        let name = format!("offloads {one} to {two}");
        for (node, offloads) in mesh.nodes.iter_mut().zip([one, two]) {
            configure(node, esp, offloads)?;
            node.start()?;
        }
        let round = 2 * n + usize::from(esp == Esp::Raw);
        let file = folder.join(format!("arrived-{n}.pcap"));
        let path = file.clone();
        let verdicts = mesh.hub.run(move || cross(round, &path)).context(&name)?;
        frames(&mesh, [one, two], verdicts.len()).context(&name)?;
        reader::check(&file, &verdicts).context(&name)?;
        // Hundreds of megabytes; kept where it fails.
        fs::remove_file(&file).context(file.display())?;
        load::moderate(&mesh).context(&name)?;
        for node in &mut mesh.nodes {
            node.stop()?;
        }
    }
    Ok(())
}

/// Jumbo frames everywhere, and the inner networks at the gateways: 10.N.0.0/16 and 2001:db8:N::/48 on side N.
fn networks(mesh: &Mesh) -> Result<()> {
    for port in ["bridge", "port1", "port2"] {
        mesh.hub.ip(&["link", "set", port, "mtu", LINK])?;
    }
    for (node, end) in mesh.nodes.iter().zip(["left", "right"]) {
        let (space, n) = (&node.namespace, node.number);
        space.ip(&["link", "set", "outer", "mtu", LINK])?;
        let mac = |octets: [u8; 6]| octets.map(|octet| format!("{octet:02x}")).join(":");
        let (gateway, host) = (mac(link::GATEWAY), mac(link::HOST));
        let ends = ["link", "add", "lan", "mtu", LINK, "address", &gateway, "type", "veth"];
        let peer = ["peer", "name", end, "mtu", LINK, "address", &host];
        space.ip(&[&ends[..], &peer, &["netns", mesh.hub.name()]].concat())?;
        mesh.hub.ip(&["link", "set", end, "addrgenmode", "none"])?;
        space.ip(&["link", "set", "lan", "addrgenmode", "none"])?;
        let off = ["tx", "rx", "tso", "gso", "gro", "tx-udp-segmentation"].map(|name| [name, "off"]).concat();
        shell(space, &format!("ethtool -K lan {}", off.join(" ")))?;
        // A router between any two links.
        shell(
            space,
            "cd /proc/sys/net && echo 1 > ipv4/ip_forward && echo 1 > ipv6/conf/all/forwarding
             for link in all default lan outer; do echo 0 > ipv4/conf/$link/rp_filter; done",
        )?;
        mesh.hub.ip(&["link", "set", end, "up"])?;
        space.ip(&["link", "set", "lan", "up"])?;
        space.ip(&["addr", "add", &format!("10.{n}.0.254/16"), "dev", "lan"])?;
        space.ip(&["addr", "add", &format!("2001:db8:{n}::fe/48"), "dev", "lan", "nodad"])?;
        // Nobody answers at the ends.
        let hosts = (1..=FIRST).flat_map(|host| [format!("10.{n}.0.{host}"), format!("2001:db8:{n}::{host:x}")]);
        let known: String = hosts
            .map(|host| format!("neigh replace {host} lladdr {} dev lan nud permanent\n", mac(link::HOST)))
            .collect();
        shell(space, &format!("ip -batch - <<END\n{known}END\n"))?;
    }
    Ok(())
}

fn shell(space: &Namespace, script: &str) -> Result<()> {
    process::run(&mut space.command(&["sh", "-ec", script]), Duration::from_secs(20)).map(drop)
}

fn configure(node: &Node, esp: Esp, offloads: &str) -> Result<()> {
    node.write("psk", "a secret of test machines, known to all\n")?;
    let (us, them) = (node.number, 3 - node.number);
    let nets = |n: u8| format!("[\"10.{n}.0.0/16\", \"2001:db8:{n}::/48\"]");
    let (raw, udp) = (esp == Esp::Raw, esp == Esp::Udp);
    node.configure(
        &format!("offloads = \"{offloads}\"\nraw_esp = {raw}"),
        &format!(
            "[connections.peer]\nlocal_addrs = \"{}\"\nremote_addrs = \"{}\"\nencap = {udp}\n\
             children.net = {{ local_ts = {}, remote_ts = {}, start_action = \"trap\", \
             esp_proposals = \"aes128gcm16\" }}\n[secrets.all]\nfile = \"psk\"\n",
            address(us),
            address(them),
            nets(us),
            nets(them)
        ),
    )
}

/// Fails unless each daemon had packets together exactly where it should: of `packets` that crossed, the devices counted
/// fewer with offloads, and all without.
fn frames(mesh: &Mesh, offloads: [&str; 2], packets: usize) -> Result<()> {
    for ((node, offloads), count) in mesh.nodes.iter().zip(offloads).zip(["tx_packets", "rx_packets"]) {
        let file = format!("/sys/class/net/cygnet0/statistics/{count}");
        let text = process::run(&mut node.namespace.command(&["cat", &file]), PATIENCE)?;
        let counted: usize = text.trim().parse().context(count)?;
        if (offloads == "none") != (counted >= packets) {
            fail!("gateway {}: {counted} {count} of {packets} packets", node.number);
        }
    }
    Ok(())
}

/// Sends all of a round from the left to the right; what arrived is in `file`, and what the reader must find there.
fn cross(round: usize, file: &Path) -> Result<Vec<Verdict>> {
    let mut ends = Ends::open()?;
    connect(&mut ends)?;
    let mut out = Crossing { file: PacketFile::create(file)?, arrivals: Arrivals::default(), verdicts: Vec::new() };
    for shipment in Plan::new(round).shipments() {
        let octets: usize = shipment.packets.iter().map(|packet| packet.octets.len()).sum();
        let packets = shipment.packets.len();
        while out.arrivals.missing() + packets > PACKETS || out.arrivals.octets_missing() + octets > OCTETS {
            if out.arrivals.missing() == 0 {
                break;
            }
            out.take(&mut ends, PATIENCE)?;
        }
        shipment.packets.iter().for_each(|packet| out.arrivals.expect(packet));
        ends.send(shipment.task, &shipment.octets)?;
    }
    while out.arrivals.missing() > 0 {
        out.take(&mut ends, PATIENCE)?;
    }
    let end = Instant::now() + SOON;
    while let Some(packet) = ends.receive(end.saturating_duration_since(Instant::now()))? {
        out.arrivals.arrived(packet)?;
    }
    out.file.finish()?;
    Ok(out.verdicts)
}

/// What crosses.
struct Crossing {
    file: PacketFile,
    arrivals: Arrivals,
    verdicts: Vec<Verdict>,
}

impl Crossing {
    /// Takes the next packet that arrives.
    fn take(&mut self, ends: &mut Ends, patience: Duration) -> Result<()> {
        let Some(packet) = ends.receive(patience)? else {
            self.arrivals.finish()?;
            fail!("nothing arrives")
        };
        self.file.add(packet)?;
        let checksum = self.arrivals.arrived(packet)?;
        self.verdicts.push(Verdict::of(packet, checksum));
        Ok(())
    }
}

/// Sends until a first packet arrives through the SA, and the ones behind it did, too.
fn connect(ends: &mut Ends) -> Result<()> {
    let first = packet::datagram(&Ip::new(false, FIRST), b"first");
    until("a first packet through the SA", Duration::from_secs(20), || {
        ends.send(Task::Nothing, &first).ok()?;
        ends.receive(SOON).ok()?.map(drop)
    })?;
    while ends.receive(2 * SOON)?.is_some() {}
    Ok(())
}
