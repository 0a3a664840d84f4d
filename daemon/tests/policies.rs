//! Policies end to end: configuration text in, and what becomes of packets with a peer, before there is one, and
//! when it refuses.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cygnet::config;
use cygnet::handle::{Handle, Status};
use cygnet::net::{MemoryNet, Net, Wire};
use cygnet::runtime::{Gateway, Parts};
use cygnet::tun::{MemoryTun, Tun};
use cygnet_ike::Command;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(20);
const SOON: Duration = Duration::from_millis(100);

struct Site {
    gateway: Gateway,
    handle: Handle,
    net: Arc<MemoryNet>,
    tun: Arc<MemoryTun>,
}

/// Site `side` of two, with this child table and secret.
fn site(wire: &Arc<Wire>, side: u8, child: &str, psk: &str) -> Site {
    let other = 3 - side;
    let text = format!(
        r#"
        [connections.site]
        local_addrs = ["192.0.2.{side}"]
        remote_addrs = ["192.0.2.{other}"]
        retry_min = "30s"
        local = {{ id = "gw{side}.example", auth = "psk" }}
        remote = {{ id = "gw{other}.example", auth = "psk" }}
        [connections.site.children.net]
        {child}
        [secrets.both]
        ids = ["gw1.example", "gw2.example"]
        psk = "{psk}"
        "#
    );
    let config = config::parse(&text, "site.toml", Path::new("")).unwrap_or_else(|report| panic!("{report:?}"));
    let net = Arc::new(wire.host([192, 0, 2, side].into(), 500, 4500));
    let tun = Arc::new(MemoryTun::new("memory"));
    let parts =
        Parts { config, net: Arc::clone(&net) as Arc<dyn Net>, tun: Arc::clone(&tun) as Arc<dyn Tun>, keys: None };
    let gateway = Gateway::assemble(parts).expect("threads");
    Site { handle: gateway.handle(), gateway, net, tun }
}

/// The child of side `side`: networks, and more of it.
fn nets(side: u8, more: &str) -> String {
    let other = 3 - side;
    format!("local_ts = [\"10.{side}.0.0/16\"]\nremote_ts = [\"10.{other}.0.0/16\"]\n{more}")
}

/// A UDP packet with DF.
fn packet(from: [u8; 4], to: [u8; 4], len: u16, mark: u8) -> Vec<u8> {
    let mut packet = vec![mark; len.into()];
    packet[..12].copy_from_slice(&[0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 17, 0, 0]);
    packet[2..4].copy_from_slice(&len.to_be_bytes());
    packet[12..16].copy_from_slice(&from);
    packet[16..20].copy_from_slice(&to);
    packet
}

fn inner(mark: u8) -> Vec<u8> {
    packet([10, 1, 0, 1], [10, 2, 0, 1], 100, mark)
}

async fn until<T>(handle: &Handle, look: impl Fn(&Status) -> Option<T>) -> T {
    let polling = async {
        loop {
            if let Some(found) = look(&handle.status().await.expect("running")) {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, polling).await.expect("in time")
}

/// Until a counter shows at least `count`.
async fn counted(handle: &Handle, name: &str, count: u64) {
    let of = |status: &Status| status.packets.iter().find(|(counter, _)| *counter == name).map(|(_, count)| *count);
    until(handle, |status| of(status).filter(|&seen| seen >= count)).await;
}

fn is_up(status: &Status) -> Option<()> {
    status.ike_sas.iter().any(|ike| !ike.children.is_empty()).then_some(())
}

async fn stop(sites: impl IntoIterator<Item = Site>) {
    for site in sites {
        timeout(PATIENCE, site.gateway.shutdown()).await.expect("a stop is bounded");
    }
}

/// What arrives within a short while of each other.
fn taken(take: impl Fn(Duration) -> Option<Vec<u8>>, first: Duration) -> Vec<Vec<u8>> {
    std::iter::successors(take(first), |_| take(SOON)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn required_packets_wait_and_arrive_in_their_order() {
    let wire = Wire::new();
    let b = site(&wire, 2, &nets(2, ""), "the same");
    let a = site(&wire, 1, &nets(1, "start_action = \"trap\""), "the same");
    let packets: Vec<_> = (0..20).map(inner).collect();
    packets.iter().for_each(|packet| assert!(a.tun.inject(packet)));
    let sink = Arc::clone(&b.tun);
    let arrived = tokio::task::spawn_blocking(move || taken(|wait| sink.take(wait, <[u8]>::to_vec), PATIENCE)).await;
    assert_eq!(arrived.expect("no panic"), packets);
    assert_eq!(a.net.take_clear(Duration::ZERO, |_| ()), None);
    stop([a, b]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_level_use_every_packet_arrives_before_and_after_the_peer_is_there() {
    let wire = Wire::new();
    let a = site(&wire, 1, &nets(1, "start_action = \"trap\"\nlevel = \"use\""), "the same");
    let before: Vec<_> = (0..10).map(inner).collect();
    before.iter().for_each(|packet| assert!(a.tun.inject(packet)));
    let clear = taken(|wait| a.net.take_clear(wait, <[u8]>::to_vec), PATIENCE);
    assert_eq!(clear, before);
    let b = site(&wire, 2, &nets(2, "level = \"use\""), "the same");
    // One way or the other, until it is the protected one: IKE repeats its first message after two seconds.
    let started = Instant::now();
    let mut mark = 0u8;
    loop {
        assert!(started.elapsed() < PATIENCE, "never protected");
        mark = mark.wrapping_add(1);
        assert!(a.tun.inject(&inner(mark)));
        let clear = || a.net.take_clear(Duration::from_millis(10), <[u8]>::to_vec).map(|packet| (packet, false));
        let protected = || b.tun.take(Duration::from_millis(10), <[u8]>::to_vec).map(|packet| (packet, true));
        let (packet, protected) = (0..500).find_map(|_| clear().or_else(protected)).expect("it is lost");
        assert_eq!(packet, inner(mark));
        if protected {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    until(&b.handle, is_up).await;
    stop([a, b]).await;
}

/// RFC 4301 §5.1 lets a packet set off a negotiation; `start_action = "none"` says that it does not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_start_action_a_command_brings_up_what_packets_do_not() {
    for (more, counter, in_the_clear) in [("", "outbound.failed", 0), ("level = \"use\"", "outbound.clear", 3)] {
        let wire = Wire::new();
        let b = site(&wire, 2, &nets(2, more), "the same");
        let a = site(&wire, 1, &nets(1, &format!("start_action = \"none\"\n{more}")), "the same");
        (0..3).for_each(|n| assert!(a.tun.inject(&inner(n))));
        counted(&a.handle, counter, 3).await;
        let clear = taken(|wait| a.net.take_clear(wait, <[u8]>::to_vec), SOON);
        assert_eq!(clear, (0..in_the_clear).map(inner).collect::<Vec<_>>(), "{more}");
        assert!(a.handle.status().await.expect("running").ike_sas.is_empty(), "a packet asked for an SA");

        let up = Command::Initiate { connection: "site".into(), child: Some("net".into()) };
        a.handle.command(up).await.expect("running");
        until(&a.handle, is_up).await;
        assert!(a.tun.inject(&inner(9)));
        assert_eq!(b.tun.take(PATIENCE, <[u8]>::to_vec), Some(inner(9)));
        stop([a, b]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_refusal_packets_meet_what_their_policy_says() {
    for (more, counter, in_the_clear) in [
        ("", "outbound.failed", 0),
        ("level = \"use\"\nwhile_negotiating = \"hold\"", "outbound.clear", 5),
        ("level = \"use\"\nwhile_negotiating = \"hold\"\nafter_failure = \"drop\"", "outbound.failed", 0),
    ] {
        let wire = Wire::new();
        let b = site(&wire, 2, &nets(2, ""), "one secret");
        let a = site(&wire, 1, &nets(1, &format!("start_action = \"trap\"\n{more}")), "another secret");
        (0..3).for_each(|n| assert!(a.tun.inject(&inner(n))));
        counted(&a.handle, counter, 3).await;
        // The next attempt is not due.
        (3..5).for_each(|n| assert!(a.tun.inject(&inner(n))));
        counted(&a.handle, counter, 5).await;
        let clear = taken(|wait| a.net.take_clear(wait, <[u8]>::to_vec), SOON);
        assert_eq!(clear, (0..in_the_clear).map(inner).collect::<Vec<_>>(), "{more}");
        stop([a, b]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transport_mode_protects_between_the_hosts_themselves() {
    let wire = Wire::new();
    let child = "mode = \"transport\"\nstart_action = \"trap\"";
    let b = site(&wire, 2, child, "the same");
    let a = site(&wire, 1, child, "the same");
    let packets: Vec<_> = (0..5).map(|mark| packet([192, 0, 2, 1], [192, 0, 2, 2], 200, mark)).collect();
    packets.iter().for_each(|packet| assert!(a.tun.inject(packet)));
    let sink = Arc::clone(&b.tun);
    let arrived = tokio::task::spawn_blocking(move || taken(|wait| sink.take(wait, <[u8]>::to_vec), PATIENCE)).await;
    let arrived = arrived.expect("no panic");
    assert_eq!(arrived.len(), 5);
    for (got, sent) in arrived.iter().zip(&packets) {
        assert_eq!((&got[12..], got[9]), (&sent[12..], sent[9]));
    }
    let back = packet([192, 0, 2, 2], [192, 0, 2, 1], 300, 9);
    assert!(b.tun.inject(&back));
    assert_eq!(a.tun.take(PATIENCE, |got| got[20..].to_vec()), Some(back[20..].to_vec()));
    let status = a.handle.status().await.expect("running");
    assert_eq!(status.ike_sas.len(), 1);
    stop([a, b]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn senders_learn_of_a_path_that_became_narrower() {
    let wire = Wire::new();
    let b = site(&wire, 2, &nets(2, ""), "the same");
    let a = site(&wire, 1, &nets(1, "start_action = \"start\""), "the same");
    until(&a.handle, is_up).await;
    let large = packet([10, 1, 0, 1], [10, 2, 0, 1], 1380, 1);
    assert!(a.tun.inject(&large));
    assert_eq!(b.tun.take(PATIENCE, <[u8]>::to_vec).as_deref(), Some(&large[..]));

    wire.set_mtu(1300);
    // The first one is lost on the wire, which says so; of the next, the sender hears.
    let told = (0..100).find_map(|_| {
        assert!(a.tun.inject(&large));
        a.tun.take(SOON, <[u8]>::to_vec)
    });
    let told = told.expect("an answer");
    assert_eq!(told[20..22], [3, 4]);
    let mtu = u16::from_be_bytes([told[26], told[27]]);
    assert!((1200..1300).contains(&mtu), "{mtu}");
    let fitting = packet([10, 1, 0, 1], [10, 2, 0, 1], mtu, 2);
    assert!(a.tun.inject(&fitting));
    assert_eq!(b.tun.take(PATIENCE, <[u8]>::to_vec), Some(fitting));
    stop([a, b]).await;
}
