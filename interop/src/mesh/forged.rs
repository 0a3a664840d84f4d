//! An attacker on the Ethernet sends in a peer's name: clear packets against `require`, and spoiled ESP. All of them
//! are dropped and counted by reason, and the peer's own traffic does not notice.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr, SocketAddrV4};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::time::Duration;

use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, sendto, socket};

use super::net::{Mesh, address};
use super::node::Node;
use super::traffic::{self, PORT, Stream};
use crate::bed::Lab;
use crate::capture::{self, Capture};
use crate::failure::{Context, Result, fail};
use crate::process::until;

/// Packets of each wave.
const WAVE: usize = 10_000;
/// Port of ESP in UDP.
const NAT_T: u16 = 4500;

/// Plays it.
pub(super) fn play(lab: &Lab, number: usize, folder: &Path) -> Result<()> {
    let mut mesh = Mesh::new(lab, number, folder, 2)?;
    mesh.hub.ip(&["addr", "add", "10.77.0.200/24", "dev", "bridge"])?;
    for node in &mut mesh.nodes {
        node.write("psk", "a secret of test machines, known to all\n")?;
        let (us, them) = (node.address(), address(3 - node.number));
        // Without extended sequence numbers, which would take an old packet for one of the far future; without offloads,
        // so that what is captured and spoiled are single packets.
        node.configure(
            "offloads = \"none\"",
            &format!(
                "[connections.peer]\nlocal_addrs = \"{us}\"\nremote_addrs = \"{them}\"\n\
                 children.host = {{ mode = \"transport\", start_action = \"trap\", \
                 esp_proposals = \"aes128gcm16\" }}\n[secrets.all]\nfile = \"psk\"\n"
            ),
        )?;
        node.start()?;
    }
    let [victim, peer] = &mesh.nodes[..] else { fail!("two nodes") };
    traffic::echo_on(peer)?;
    let genuine = Capture::first(&victim.namespace, &folder.join("esp.pcap"), 200)?;
    until("an answer through the SA", Duration::from_secs(20), || victim.reaches(peer.address()).then_some(()))?;
    let stream = Stream::start(victim, SocketAddr::new(peer.address(), PORT))?;
    std::thread::sleep(Duration::from_secs(2));

    clear(&mesh, victim, peer)?;
    let esp: Vec<Vec<u8>> = capture::udp_payloads(&genuine.finish()?)?
        .into_iter()
        .filter(|(port, payload)| *port == NAT_T && payload.len() > 60 && payload[..4] != [0; 4])
        .map(|(_, payload)| payload)
        .collect();
    spoiled(&mesh, victim, peer, &esp)?;
    let (_, account) = stream.finish()?;
    if account.longest > Duration::from_secs(1) {
        fail!("the peer's own traffic stalled for {:?}", account.longest);
    }
    Ok(())
}

/// Clear packets of three protocols: each is dropped, and counted as one of the policy.
fn clear(mesh: &Mesh, victim: &Node, peer: &Node) -> Result<()> {
    let before = dropped_clear(victim)?;
    let packets: Vec<Vec<u8>> = (0..WAVE)
        .map(|n| {
            let (protocol, upper) = match n % 3 {
                0 => (17, vec![0x30, 0x39, 0, 9, 0, 12, 0, 0, 1, 2, 3, 4]),
                1 => (6, [&[0x30, 0x39, 0x1b, 0x58, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 4, 0, 0, 0, 0, 0][..]].concat()),
                _ => (1, vec![8, 0, 0xf7, 0xff, 0, 0, 0, 0]),
            };
            ipv4(peer.address(), victim.address(), protocol, &upper)
        })
        .collect();
    send(mesh, victim, packets)?;
    let sent = WAVE as u64;
    until("the forged clear packets in the policy's count", Duration::from_secs(10), || {
        (dropped_clear(victim).ok()? >= before + sent).then_some(())
    })
}

/// Spoiled copies of the peer's ESP: unknown SPI, wrong ICV, replayed, cut at every length.
fn spoiled(mesh: &Mesh, victim: &Node, peer: &Node, esp: &[Vec<u8>]) -> Result<()> {
    // The victim's own packets were captured, too: those meet no SA of its own.
    let genuine = esp.iter().find(|payload| payload.len() > 100).context("no ESP of any size was captured")?;
    let before = counters(victim)?;
    let forge = |change: &dyn Fn(usize, &mut Vec<u8>)| -> Vec<Vec<u8>> {
        let spoil = |(n, payload): (usize, &Vec<u8>)| {
            let mut payload = payload.clone();
            change(n, &mut payload);
            udp(peer.address(), victim.address(), &payload)
        };
        esp.iter().cycle().enumerate().take(WAVE / 4).map(spoil).collect()
    };
    let mut packets = forge(&|n, payload| payload[..4].copy_from_slice(&(0x4000_0000 + n as u32).to_be_bytes()));
    packets.extend(forge(&|n, payload| {
        // A sequence number not seen yet, so that the ICV is what is looked at.
        payload[4..8].copy_from_slice(&(1_000_000 + n as u32).to_be_bytes());
        *payload.last_mut().expect("not empty") ^= 1;
    }));
    packets.extend(forge(&|_, _| {}));
    packets.extend(
        (1..genuine.len())
            .cycle()
            .take(WAVE / 4)
            .map(|length| udp(peer.address(), victim.address(), &genuine[..length])),
    );
    send(mesh, victim, packets)?;
    for reason in ["inbound.unknown_spi", "inbound.forged", "inbound.replayed"] {
        until(&format!("a count of {reason}"), Duration::from_secs(10), || {
            let count = |counters: &BTreeMap<String, u64>| counters.get(reason).copied().unwrap_or_default();
            (count(&counters(victim).ok()?) > count(&before) + 100).then_some(())
        })?;
    }
    Ok(())
}

/// Clear packets that the victim's policies dropped.
fn dropped_clear(node: &Node) -> Result<u64> {
    let text = node.cygnet(&["spd", "--json"])?;
    // One number per policy, whatever surrounds it.
    let counts = text.split("\"clear_dropped_in\":").skip(1).filter_map(|rest| {
        let digits: String = rest.trim_start_matches([' ', '"']).chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<u64>().ok()
    });
    Ok(counts.sum())
}

/// The counters of the data path.
fn counters(node: &Node) -> Result<BTreeMap<String, u64>> {
    let text = node.control.swanctl(&["--stats", "--raw"])?;
    let pairs = text.split([' ', '{', '}']).filter_map(|word| word.split_once('='));
    Ok(pairs.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect())
}

/// Sends whole IP packets from the hub, a little at a time so that queues hold them.
fn send(mesh: &Mesh, victim: &Node, packets: Vec<Vec<u8>>) -> Result<()> {
    let IpAddr::V4(to) = victim.address() else { fail!("an IPv4 address") };
    mesh.hub.run(move || {
        let raw = socket(AddressFamily::Inet, SockType::Raw, SockFlag::empty(), SockProtocol::Raw).context("socket")?;
        let to = SockaddrIn::from(SocketAddrV4::new(to, 0));
        for (n, packet) in packets.iter().enumerate() {
            sendto(raw.as_raw_fd(), packet, &to, MsgFlags::empty()).context("send")?;
            if n % 50 == 49 {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        Ok(())
    })
}

/// A UDP datagram between the NAT traversal ports; without checksum, as ESP in UDP may be (RFC 3948 §2.1).
fn udp(from: IpAddr, to: IpAddr, payload: &[u8]) -> Vec<u8> {
    let length = (8 + payload.len()) as u16;
    let header = [NAT_T.to_be_bytes(), NAT_T.to_be_bytes(), length.to_be_bytes(), [0, 0]].concat();
    ipv4(from, to, 17, &[&header[..], payload].concat())
}

/// An IPv4 packet; the kernel fills in its checksum, as it does for every raw socket.
fn ipv4(from: IpAddr, to: IpAddr, protocol: u8, upper: &[u8]) -> Vec<u8> {
    let length = (20 + upper.len()) as u16;
    let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, protocol, 0, 0];
    packet[2..4].copy_from_slice(&length.to_be_bytes());
    for address in [from, to] {
        let IpAddr::V4(address) = address else { continue };
        packet.extend(address.octets());
    }
    packet.extend(upper);
    packet
}
