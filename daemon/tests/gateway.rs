//! The whole daemon in memory: configuration text in, packets through in-memory TUN and UDP.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cygnet::config::{self, Config};
use cygnet::handle::{Handle, Notice, Status};
use cygnet::inspect::explain;
use cygnet::inspect::readiness::readiness;
use cygnet::narrate;
use cygnet::net::{Buffers, Channel, MemoryNet, Net, Outgoing, PathMtus, Received, Unsent, Wire};
use cygnet::offload::{Head, Offloads};
use cygnet::runtime::{Gateway, Parts, RunError};
use cygnet::tun::{Frame, MemoryTun, Tun, Wait};
use cygnet_ike::{ChildId, Command, SessionKeys};
use cygnet_spd::Level;
use tokio::time::timeout;

const PATIENCE: Duration = Duration::from_secs(20);

struct Site {
    gateway: Gateway,
    handle: Handle,
    tun: Arc<MemoryTun>,
}

/// Site `side` of two, with `more` in the child's table.
fn configuration(side: u8, more: &str) -> String {
    let other = 3 - side;
    format!(
        r#"
        [connections.site]
        local_addrs = ["192.0.2.{side}"]
        remote_addrs = ["192.0.2.{other}"]
        local = {{ id = "gw{side}.example", auth = "psk" }}
        remote = {{ id = "gw{other}.example", auth = "psk" }}
        [connections.site.children.net]
        local_ts = ["10.{side}.0.0/16"]
        remote_ts = ["10.{other}.0.0/16"]
        {more}
        [secrets.both]
        ids = ["gw1.example", "gw2.example"]
        psk = "a secret that both sides share"
        "#
    )
}

fn site(wire: &Arc<Wire>, side: u8, more: &str) -> Site {
    site_with_queues(wire, side, more, 1)
}

fn site_with_queues(wire: &Arc<Wire>, side: u8, more: &str, queues: usize) -> Site {
    let net = Arc::new(wire.host_with_queues([192, 0, 2, side].into(), 500, 4500, queues));
    let tun = Arc::new(MemoryTun::with_queues("memory", Offloads::default(), queues));
    let gateway = gateway(&configuration(side, more), net, Arc::clone(&tun) as Arc<dyn Tun>);
    let handle = gateway.handle();
    Site { gateway, handle, tun }
}

fn gateway(text: &str, net: Arc<dyn Net>, tun: Arc<dyn Tun>) -> Gateway {
    Gateway::assemble(Parts { config: parsed(text), net, tun, keys: None }).expect("threads")
}

/// A UDP packet from 10.`from`.0.1 to 10.`to`.0.1.
fn packet(from: u8, to: u8, mark: u8) -> Vec<u8> {
    let mut packet = vec![mark; 100];
    packet[..20].copy_from_slice(&[0x45, 0, 0, 100, 0, 0, 0, 0, 64, 17, 0, 0, 10, from, 0, 1, 10, to, 0, 1]);
    packet
}

/// Sends until something arrives, as a host would that retransmits.
async fn crosses(from: &Site, to: &Site, packet: Vec<u8>) {
    let (source, sink) = (Arc::clone(&from.tun), Arc::clone(&to.tun));
    let arrived = tokio::task::spawn_blocking(move || {
        (0..100).find_map(|_| {
            source.inject(&packet);
            sink.take(Duration::from_millis(100), |got| got == packet)
        })
    });
    assert_eq!(arrived.await.expect("no panic"), Some(true));
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

fn child(status: &Status) -> Option<ChildId> {
    status.ike_sas.iter().flat_map(|ike| &ike.children).map(|child| child.id).max()
}

/// Whether every packet seen has found its counter: between batches, always.
fn counters_sum(status: &Status) -> bool {
    let total = |direction: &str, seen: bool| -> u64 {
        let of = |name: &str| name.starts_with(direction) && name.ends_with(".seen") == seen;
        status.packets.iter().filter(|(name, _)| of(name)).map(|(_, count)| count).sum()
    };
    ["outbound.", "inbound."].iter().all(|direction| total(direction, true) == total(direction, false))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tunnel_comes_up_carries_packets_and_goes_down() {
    let wire = Wire::new();
    let b = site(&wire, 2, "");
    // Before the other side is there to say anything.
    let mut notices = b.handle.events();
    let a = site(&wire, 1, "start_action = \"start\"");
    until(&a.handle, child).await;
    crosses(&a, &b, packet(1, 2, 7)).await;
    crosses(&b, &a, packet(2, 1, 8)).await;

    // Packets are counted after they were delivered: by when they are, both sides know of both.
    let used = |status: &Status| {
        let traffic = status.traffic(child(status)?);
        (traffic.packets_in > 0 && traffic.packets_out > 0).then(|| status.clone())
    };
    until(&b.handle, used).await;
    let status = until(&a.handle, used).await;
    assert_eq!(status.ike_sas.len(), 1);
    until(&a.handle, |status| counters_sum(status).then_some(())).await;

    // A clean stop tells the peer.
    timeout(PATIENCE, a.gateway.shutdown()).await.expect("a stop is bounded");
    until(&b.handle, |status| status.ike_sas.is_empty().then_some(())).await;
    let mut ups = 0;
    loop {
        match &*timeout(PATIENCE, notices.recv()).await.expect("in time").expect("running") {
            Notice::ChildUp { .. } => ups += 1,
            Notice::ChildDown { traffic, .. } => assert!(traffic.packets_in > 0 && traffic.packets_out > 0),
            Notice::IkeDown { connection, .. } => {
                assert_eq!(connection.as_deref(), Some("site"));
                break;
            }
            _ => {}
        }
    }
    assert_eq!(ups, 1);
    let stopped = a.handle.status().await;
    assert!(stopped.is_err(), "a handle outlives its gateway harmlessly");
    timeout(PATIENCE, b.gateway.shutdown()).await.expect("nobody to tell");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn traffic_brings_up_a_trap_and_its_limit_rekeys_it() {
    let wire = Wire::new();
    let b = site(&wire, 2, "");
    let a = site(&wire, 1, "start_action = \"trap\"\nrekey_packets = 50\nlife_packets = 100000");
    assert!(a.handle.status().await.expect("running").ike_sas.is_empty());
    crosses(&a, &b, packet(1, 2, 1)).await;
    let first = until(&a.handle, child).await;
    for mark in 0..120 {
        crosses(&a, &b, packet(1, 2, mark)).await;
    }
    until(&a.handle, |status| child(status).filter(|&child| child > first)).await;
    crosses(&a, &b, packet(1, 2, 200)).await;
    crosses(&b, &a, packet(2, 1, 201)).await;
    timeout(PATIENCE, b.gateway.shutdown()).await.expect("a stop is bounded");
    timeout(PATIENCE, a.gateway.shutdown()).await.expect("a stop is bounded");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_rekey_both_kinds_of_sa_without_losing_traffic() {
    let wire = Wire::new();
    let b = site(&wire, 2, "");
    let a = site(&wire, 1, "start_action = \"start\"");
    let first = until(&a.handle, child).await;
    crosses(&a, &b, packet(1, 2, 1)).await;
    a.handle.command(Command::RekeyChild(first)).await.expect("running");
    until(&a.handle, |status| child(status).filter(|&child| child > first)).await;
    crosses(&a, &b, packet(1, 2, 2)).await;
    crosses(&b, &a, packet(2, 1, 3)).await;

    let ike = a.handle.status().await.expect("running").ike_sas[0].id;
    b.handle
        .command(Command::RekeyIke(b.handle.status().await.expect("running").ike_sas[0].id))
        .await
        .expect("running");
    until(&a.handle, |status| status.ike_sas.iter().find(|sa| sa.id != ike && !sa.children.is_empty()).map(|_| ()))
        .await;
    crosses(&a, &b, packet(1, 2, 4)).await;
    crosses(&b, &a, packet(2, 1, 5)).await;
    timeout(PATIENCE, a.gateway.shutdown()).await.expect("a stop is bounded");
    timeout(PATIENCE, b.gateway.shutdown()).await.expect("a stop is bounded");
}

fn parsed(text: &str) -> Config {
    config::parse(text, "site.toml", Path::new("")).unwrap_or_else(|report| panic!("{report:?}"))
}

/// Other levels, other lifetimes, another connection beside: nothing of it disturbs the SA that is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_loses_no_packet_and_no_sa() {
    const ROUNDS: u8 = 20;
    let wire = Wire::new();
    let b = site(&wire, 2, "");
    let a = site(&wire, 1, "start_action = \"start\"");
    let first = until(&a.handle, child).await;
    crosses(&a, &b, packet(1, 2, 0)).await;
    while b.tun.take(Duration::from_millis(100), |_| ()).is_some() {}
    for round in 0..ROUNDS {
        let level = ["use", "require"][usize::from(round % 2)];
        let more = format!(
            "start_action = \"start\"\nlevel = \"{level}\"\nrekey_time = \"{}h\"\n[connections.more{round}]\n\
             local_addrs = \"192.0.2.1\"\nremote_addrs = \"192.0.2.9\"\nlocal.id = \"gw1.example\"\n\
             remote.id = \"gw2.example\"\nchildren.net = {{ local_ts = \"10.1.0.0/16\", remote_ts = \"10.9.{round}.0/24\" }}",
            1 + round
        );
        let (source, mark) = (Arc::clone(&a.tun), round + 1);
        let sender = tokio::task::spawn_blocking(move || {
            for _ in 0..20 {
                assert!(source.inject(&packet(1, 2, mark)));
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        a.handle.reload(parsed(&configuration(1, &more))).await.expect("a legal configuration");
        sender.await.expect("no panic");
        let config = a.handle.config();
        let policy = config.policies.iter().find(|policy| policy.name == "site/net").expect("the child's");
        assert_eq!(policy.terms.levels.outbound == Level::Use, round % 2 == 0);
        assert!(config.policies.iter().any(|policy| policy.name == format!("more{round}/net")));
    }
    let sink = Arc::clone(&b.tun);
    let arrived = tokio::task::spawn_blocking(move || {
        let mut arrived = vec![0_u32; usize::from(ROUNDS) + 1];
        while let Some(mark) = sink.take(Duration::from_secs(1), |got| got[50]) {
            arrived[usize::from(mark)] += 1;
        }
        arrived
    });
    assert_eq!(arrived.await.expect("no panic")[1..], [20; ROUNDS as usize]);
    assert_eq!(child(&a.handle.status().await.expect("running")), Some(first), "the very same SA");

    let error = a.handle.reload(parsed(&configuration(1, "[gateway]\nworkers = 3"))).await.expect_err("a restart");
    assert!(error.to_string().contains("`gateway.workers` can't change"), "{error}");
    assert_eq!(a.handle.config().ike.connections.len(), 2, "nothing changed");
    // What is gone takes its SA along, and the peer is told.
    let gone = configuration(1, "").replace("children.net", "children.other").replace("10.2.", "10.8.");
    a.handle.reload(parsed(&gone)).await.expect("a legal configuration");
    until(&b.handle, |status| child(status).is_none().then_some(())).await;
    timeout(PATIENCE, a.gateway.shutdown()).await.expect("a stop is bounded");
    timeout(PATIENCE, b.gateway.shutdown()).await.expect("a stop is bounded");
}

/// How an operator switches protection on: `use`, look whether it holds, `require`; and what is said on the way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn levels_are_switched_by_reload_and_explained() {
    let wire = Wire::new();
    let b = site(&wire, 2, "level = \"use\"");
    let a = site(&wire, 1, "level = \"use\"");
    let asked = explain::flow(&["10.1.0.1", "10.2.0.1", "udp", "4000", "53"]).expect("a flow");
    let told = async || explain::explain(&a.handle.inspect().await.expect("running"), &asked);
    let before = told().await;
    assert_eq!((before.name.as_deref(), before.outbound, before.inbound_clear), (Some("site/net"), "clear", "clear"));
    assert!(before.policy.contains("tunnel, level use") && before.sa.contains("no connection is up"), "{before:?}");

    a.handle.command(Command::Initiate { connection: "site".into(), child: None }).await.expect("running");
    let first = until(&a.handle, child).await;
    crosses(&a, &b, packet(1, 2, 1)).await;
    let up = told().await;
    assert_eq!((up.outbound, up.inbound_clear), ("protected", "clear"));
    assert!(up.sa.contains("site[") && up.fate.contains("sent to 192.0.2.2"), "{up:?}");
    let inspection = a.handle.inspect().await.expect("running");
    let [row] = &readiness(&inspection)[..] else { panic!("one policy, one peer") };
    assert!(row.protected.is_some() && !row.required);
    let [pair] = &inspection.pairs[..] else { panic!("one pair") };
    assert!(pair.outbound.packets > 0 && inspection.negotiated(pair).is_some());

    a.handle.reload(parsed(&configuration(1, "level = \"require\""))).await.expect("a legal configuration");
    let required = told().await;
    assert_eq!((required.outbound, required.inbound_clear), ("protected", "dropped"));
    assert_eq!(required.sa.split(',').next(), up.sa.split(',').next(), "the very same SA");
    assert_eq!(child(&a.handle.status().await.expect("running")), Some(first));
    assert!(readiness(&a.handle.inspect().await.expect("running"))[0].ready);
    crosses(&a, &b, packet(1, 2, 2)).await;
    crosses(&b, &a, packet(2, 1, 3)).await;
    timeout(PATIENCE, a.gateway.shutdown()).await.expect("a stop is bounded");
    timeout(PATIENCE, b.gateway.shutdown()).await.expect("a stop is bounded");
}

/// SAs with keys from the configuration need no IKE at all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn manual_sas_carry_packets_without_ike() {
    let wire = Wire::new();
    let manual = |side: u8| {
        let (other, keys) = (3 - side, |n: u8| format!("{n:02x}").repeat(48));
        let text = format!(
            "[gateway]\nmanual_sas = true\n[manual.lab]\nlocal = \"192.0.2.{side}\"\nremote = \"192.0.2.{other}\"\n\
             local_ts = \"10.{side}.0.0/16\"\nremote_ts = \"10.{other}.0.0/16\"\nesp = \"aes128-sha256\"\n\
             spi_in = {}\nspi_out = {}\nkeys_in = \"{}\"\nkeys_out = \"{}\"\n",
            1000 + u32::from(side),
            1000 + u32::from(other),
            keys(side),
            keys(other)
        );
        let tun = Arc::new(MemoryTun::new("memory"));
        let net = Arc::new(wire.host([192, 0, 2, side].into(), 500, 4500));
        let gateway = gateway(&text, net, Arc::clone(&tun) as Arc<dyn Tun>);
        let handle = gateway.handle();
        Site { gateway, handle, tun }
    };
    let (a, b) = (manual(1), manual(2));
    crosses(&a, &b, packet(1, 2, 1)).await;
    crosses(&b, &a, packet(2, 1, 2)).await;
    // After a restart the numbers begin again, and are taken.
    timeout(PATIENCE, a.gateway.shutdown()).await.expect("a stop is bounded");
    let a = manual(1);
    crosses(&a, &b, packet(1, 2, 3)).await;
    let asked = explain::flow(&["10.1.0.1", "10.2.0.1"]).expect("a flow");
    let told = explain::explain(&a.handle.inspect().await.expect("running"), &asked);
    assert!(told.sa.contains("keyed by hand") && told.policy.contains("manual/lab"), "{told:?}");
    assert!(a.handle.status().await.expect("running").ike_sas.is_empty());
    timeout(PATIENCE, a.gateway.shutdown()).await.expect("a stop is bounded");
    timeout(PATIENCE, b.gateway.shutdown()).await.expect("a stop is bounded");
}

/// Of several flows, each packet once, and the packets of each flow in order: no thread overtakes another. And no thread
/// sends numbers that the others' have long left behind: the window is short.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_workers_keep_the_order_of_each_flow() {
    const FLOWS: u8 = 5;
    const PACKETS: usize = 600;
    let wire = Wire::new();
    let b = site_with_queues(&wire, 2, "replay_window = 64", 2);
    let a = site_with_queues(&wire, 1, "start_action = \"start\"", 2);
    until(&a.handle, child).await;
    crosses(&a, &b, packet(1, 2, 0)).await;
    // What was sent until the first arrived.
    while b.tun.take(Duration::from_millis(100), |_| ()).is_some() {}
    let (source, sink) = (Arc::clone(&a.tun), Arc::clone(&b.tun));
    let arrived = tokio::task::spawn_blocking(move || {
        let mut arrived = [0; FLOWS as usize];
        for n in 0..PACKETS {
            for flow in 0..FLOWS {
                let mut packet = packet(1, 2, flow);
                packet[15] = flow;
                packet[30..38].copy_from_slice(&n.to_be_bytes());
                assert!(source.wait_room(1, PATIENCE) && source.inject(&packet));
            }
            // No queue overflows; and enough are under way for threads to meet.
            for _ in 0..if n < 100 { 0 } else { usize::from(FLOWS) } {
                sink.take(PATIENCE, |got| note(got, &mut arrived)).expect("it arrives");
            }
        }
        while sink.take(Duration::from_millis(200), |got| note(got, &mut arrived)).is_some() {}
        arrived
    });
    assert_eq!(arrived.await.expect("no panic"), [PACKETS; FLOWS as usize]);
    until(&b.handle, |status| counters_sum(status).then_some(())).await;
    timeout(PATIENCE, a.gateway.shutdown()).await.expect("a stop is bounded");
    timeout(PATIENCE, b.gateway.shutdown()).await.expect("a stop is bounded");
}

/// A numbered packet of a flow, which must be the next one.
fn note(packet: &[u8], arrived: &mut [usize]) {
    let number = usize::from_be_bytes(packet[30..38].try_into().expect("eight octets"));
    let next = &mut arrived[usize::from(packet[15])];
    assert_eq!(number, *next, "flow {}", packet[15]);
    *next += 1;
}

/// A device that somebody removed.
struct Removed;

impl Tun for Removed {
    fn wait(&self, _: usize, _: Option<Duration>) -> io::Result<Wait> {
        Ok(Wait::Ready)
    }
    fn read(&self, _: usize, _: &mut [u8]) -> io::Result<Option<Frame>> {
        Err(io::Error::other("file descriptor in bad state"))
    }
    fn write(&self, _: usize, _: &[u8]) -> io::Result<()> {
        Err(io::Error::other("file descriptor in bad state"))
    }
    fn write_frame(&self, _: usize, _: &Head, _: &[io::IoSlice<'_>]) -> io::Result<()> {
        Err(io::Error::other("file descriptor in bad state"))
    }
    fn offloads(&self) -> Offloads {
        Offloads::default()
    }
    fn name(&self) -> &str {
        "removed"
    }
    fn stop(&self) {}
}

/// A network that makes its reader panic.
#[derive(Default)]
struct Trap(PathMtus);

impl Net for Trap {
    fn receive(&self, _: usize, _: &mut Buffers, _: &mut dyn FnMut(Received<'_>)) -> io::Result<bool> {
        panic!("a bug")
    }
    fn send(&self, _: &Outgoing<'_>) -> Result<(), Unsent> {
        Ok(())
    }
    fn path_mtus(&self) -> &PathMtus {
        &self.0
    }
    fn stop(&self) {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_whose_worker_ends_says_so_and_can_be_stopped() {
    let net = Arc::new(Wire::new().host([192, 0, 2, 1].into(), 500, 4500));
    let tun = Arc::new(MemoryTun::new("memory"));
    for (mut gateway, worker, cause) in [
        (gateway(&configuration(1, ""), net, Arc::new(Removed)), "cygnet-out-0", "bad state"),
        (gateway(&configuration(1, ""), Arc::new(Trap::default()), tun), "cygnet-in-0", "panicked"),
    ] {
        let mut notices = gateway.handle().events();
        let error = timeout(PATIENCE, gateway.stopped()).await.expect("in time").expect_err("it can't go on");
        let text = error.to_string();
        assert!(matches!(error, RunError::Worker(_)) && text.contains(worker) && text.contains(cause), "{text}");
        timeout(PATIENCE, gateway.shutdown()).await.expect("a stop is bounded");
        assert!(matches!(&*notices.recv().await.expect("a last word"), Notice::Stopping));
    }
}

/// A gateway that broke tells its peers, its own people and nobody twice, as one that is stopped; what it leaves in the
/// kernel, the scenario `crash` looks at.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abandoned_gateway_takes_its_leave_of_its_peers() {
    let wire = Wire::new();
    let b = site(&wire, 2, "");
    let a = site(&wire, 1, "start_action = \"start\"");
    until(&b.handle, child).await;
    let mut notices = a.handle.events();
    timeout(PATIENCE, a.gateway.abandon()).await.expect("a stop is bounded");
    until(&b.handle, |status| status.ike_sas.is_empty().then_some(())).await;
    assert!(a.handle.status().await.is_err(), "it is gone");
    let mut last_words = 0;
    while let Ok(notice) = notices.try_recv() {
        last_words += u32::from(matches!(*notice, Notice::Stopping));
    }
    assert_eq!(last_words, 1);
    timeout(PATIENCE, b.gateway.shutdown()).await.expect("a stop is bounded");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_was_stopped_is_not_broken() {
    let wire = Wire::new();
    let mut a = site(&wire, 1, "");
    let handle = a.handle.clone();
    let stop = tokio::spawn(async move { handle.shutdown().await });
    timeout(PATIENCE, a.gateway.stopped()).await.expect("in time").expect("stopped, not broken");
    stop.await.expect("no panic");
    timeout(PATIENCE, a.gateway.shutdown()).await.expect("a stop is bounded");
}

/// A host that knows itself by an address that nobody else sees.
struct BehindNat {
    outside: MemoryNet,
    inside: IpAddr,
}

impl Net for BehindNat {
    fn receive(&self, queue: usize, buffers: &mut Buffers, each: &mut dyn FnMut(Received<'_>)) -> io::Result<bool> {
        self.outside.receive(queue, buffers, &mut |received| {
            let local = SocketAddr::new(self.inside, received.local.port());
            each(Received { local, ..received });
        })
    }
    fn send(&self, outgoing: &Outgoing<'_>) -> Result<(), Unsent> {
        self.outside.send(outgoing)
    }
    fn path_mtus(&self) -> &PathMtus {
        self.outside.path_mtus()
    }
    fn stop(&self) {
        self.outside.stop();
    }
}

fn packets(status: &Status, name: &str) -> u64 {
    status.packets.iter().find(|(counter, _)| *counter == name).map_or(0, |(_, count)| *count)
}

/// RFC 3948 §4: only the side behind the NAT, only after idle time, and not beside traffic.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_gateway_behind_a_nat_keeps_its_mapping() {
    let wire = Wire::new();
    let b = configuration(2, "[gateway]\nnat_keepalive = \"1s\"").replace("192.0.2.1", "198.51.100.9");
    let b = gateway(&b, Arc::new(wire.host([192, 0, 2, 2].into(), 500, 4500)), Arc::new(MemoryTun::new("b")));
    let nat = BehindNat { outside: wire.host([198, 51, 100, 9].into(), 500, 4500), inside: [192, 0, 2, 1].into() };
    let tun = Arc::new(MemoryTun::new("a"));
    let text = configuration(1, "start_action = \"start\"\n[gateway]\nnat_keepalive = \"3s\"");
    let a = gateway(&text, Arc::new(nat), Arc::clone(&tun) as Arc<dyn Tun>);
    until(&a.handle(), child).await;
    let keepalives = |status: &Status| packets(status, "inbound.keepalive");

    // Traffic refreshes the mapping by itself.
    for _ in 0..16 {
        tun.inject(&packet(1, 2, 1));
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    assert_eq!(keepalives(&b.handle().status().await.expect("running")), 0);
    until(&b.handle(), |status| (keepalives(status) >= 1).then_some(())).await;
    until(&b.handle(), |status| (keepalives(status) >= 2).then_some(())).await;
    // The side without a NAT before it sends none.
    assert_eq!(keepalives(&a.handle().status().await.expect("running")), 0);
    timeout(PATIENCE, a.shutdown()).await.expect("a stop is bounded");
    timeout(PATIENCE, b.shutdown()).await.expect("a stop is bounded");
}

/// RFC 4301 §5.2: what comes out of an SA and is outside its selectors is dropped, and its sender hears of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_sends_outside_its_selectors_is_told() {
    let wire = Wire::new();
    let b = site(&wire, 2, "esp_proposals = [\"aes256gcm16-noesn\"]");
    let (found, mut keys) = tokio::sync::mpsc::unbounded_channel();
    let mut config = parsed(&configuration(1, "start_action = \"start\"\nesp_proposals = [\"aes256gcm16-noesn\"]"));
    config.ike.report_keys = true;
    let sink = Box::new(move |keys: &SessionKeys| {
        if let SessionKeys::Esp { outbound: true, spi, encr_key, .. } = keys {
            found.send((*spi, encr_key.expose().to_vec())).expect("the test waits");
        }
    });
    let net = Arc::new(wire.host([192, 0, 2, 1].into(), 500, 4500));
    let tun = Arc::new(MemoryTun::new("a"));
    let a = Gateway::assemble(Parts { config, net, tun, keys: Some(sink) }).expect("threads");
    let mut notices = a.handle().events();
    until(&a.handle(), child).await;
    until(&b.handle, child).await;

    // The peer's program has gone wrong, or somebody has its keys.
    let (spi, key) = timeout(PATIENCE, keys.recv()).await.expect("in time").expect("keys");
    let gcm = cygnet_esp::Encr::find(20, Some(256), None).expect("AES-GCM-256");
    let sa = cygnet_esp::Outbound::new(spi, gcm, &key, &[], false).expect("key lengths");
    let mut wrong = cygnet_esp::PacketBuf::for_mtu(1400);
    wrong.extend(&packet(9, 2, 1)).expect("room");
    sa.reserve(1).expect("numbers").seal(cygnet_esp::NextHeader::IPV4, &mut wrong).expect("room");
    let thief = wire.host([192, 0, 2, 66].into(), 500, 4500);
    let (local, remote) = (([192, 0, 2, 66], 4500).into(), ([192, 0, 2, 2], 4500).into());
    let (contents, channel) = (wrong.data(), Channel::NatT);
    let out =
        Outgoing { datagrams: &[io::IoSlice::new(contents)], channel, local, remote, traffic_class: 0, df: false };
    thief.send(&out).expect("on the wire");

    let told = async {
        loop {
            let notice = notices.recv().await.expect("running");
            if let Notice::InvalidSelectors { packet, .. } = &*notice {
                return (packet.clone(), narrate::lines(&notice).remove(0).text);
            }
        }
    };
    let (start, line) = timeout(PATIENCE, told).await.expect("in time");
    assert_eq!(start, packet(9, 2, 1)[..96]);
    assert!(line.contains("10.9.0.1") && line.contains("10.2.0.1"), "{line}");
    let status = b.handle.status().await.expect("running");
    assert_eq!(packets(&status, "inbound.selector"), 1);
    assert!(child(&status).is_some(), "nothing else changes");
    timeout(PATIENCE, a.shutdown()).await.expect("a stop is bounded");
    timeout(PATIENCE, b.gateway.shutdown()).await.expect("a stop is bounded");
}

/// RFC 9611: each worker that sends gets an SA of its own, which a worker of the other side takes for its own, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn workers_that_send_get_sas_of_their_own_where_both_sides_want_it() {
    for (ours, theirs) in [(true, true), (true, false)] {
        let wire = Wire::new();
        let more = |wanted: bool| format!("start_action = \"trap\"\nper_resource_sas = {wanted}");
        let a = site_with_queues(&wire, 1, &more(ours), 2);
        let b = site_with_queues(&wire, 2, &more(theirs), 2);
        // The ports decide which worker sends.
        let flows = [0, 1].map(|port| {
            let mut packet = packet(1, 2, 7);
            packet[21] = port;
            packet
        });
        for _ in 0..2 {
            // What was held until there was an SA belongs to no worker; the next packet does.
            for flow in &flows {
                crosses(&a, &b, flow.clone()).await;
            }
        }
        let wanted: &[_] = if ours && theirs { &[None, Some(0), Some(1)] } else { &[None] };
        let of_workers = |status: &Status| {
            let mut children: Vec<_> = status.ike_sas.iter().flat_map(|ike| ike.children.clone()).collect();
            children.sort_by_key(|child| child.resource.and_then(|of| of.number));
            let numbers: Vec<_> = children.iter().map(|child| child.resource.and_then(|of| of.number)).collect();
            (numbers == wanted).then_some(children)
        };
        for site in [&a, &b] {
            for child in until(&site.handle, of_workers).await {
                // What the peer sends on it is received by the worker of the same number.
                let number = child.resource.and_then(|of| of.number);
                assert!(number.is_none_or(|number| child.spi_in.0 % 2 == number));
            }
        }
        for flow in &flows {
            crosses(&a, &b, flow.clone()).await;
        }
        crosses(&b, &a, packet(2, 1, 4)).await;
        let all_used = |status: &Status| {
            let children = of_workers(status)?;
            let mut own = children.iter().skip(usize::from(children.len() > 1));
            own.all(|child| status.traffic(child.id).packets_out > 0).then_some(())
        };
        until(&a.handle, all_used).await;
        a.gateway.shutdown().await;
        b.gateway.shutdown().await;
    }
}
