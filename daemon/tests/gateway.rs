//! The whole daemon in memory: configuration text in, packets through in-memory TUN and UDP.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cygnet::config;
use cygnet::handle::{Handle, Notice, Status};
use cygnet::net::{Net, Wire};
use cygnet::runtime::{Gateway, Parts};
use cygnet::tun::{MemoryTun, Tun};
use cygnet_ike::{ChildId, Command};
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
    let text = configuration(side, more);
    let config = config::parse(&text, "site.toml", Path::new("")).unwrap_or_else(|report| panic!("{report:?}"));
    let address: IpAddr = [192, 0, 2, side].into();
    let net: Arc<dyn Net> = Arc::new(wire.host(address, config.gateway.ike_port, config.gateway.nat_port));
    let tun = Arc::new(MemoryTun::new("memory"));
    let parts = Parts {
        ike: config.ike,
        policies: config.policies,
        net,
        tun: Arc::clone(&tun) as Arc<dyn Tun>,
        mtu: config.gateway.mtu.into(),
        workers: config.gateway.workers,
        keys: None,
    };
    let gateway = Gateway::assemble(parts).expect("threads");
    let handle = gateway.handle();
    Site { gateway, handle, tun }
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
    let a = site(&wire, 1, "start_action = \"start\"");
    let mut notices = b.handle.events();
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
