//! The demonstration without namespaces: both gateways in this process, their networks in memory.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::setup::Secrets;
use super::{DemoError, Side, host, measure, report};
use crate::net::{Net, Wire};
use crate::runtime::{Gateway, Parts};
use crate::tun::{MemoryTun, Tun};

/// Octets of a bulk packet.
const BULK: usize = 1400;
/// Length of a transfer.
const TRANSFER: Duration = Duration::from_secs(3);

/// Both hosts, from beginning to end.
pub(super) fn run(secrets: &Secrets) -> Result<(), DemoError> {
    let runtime = tokio::runtime::Runtime::new().map_err(|error| DemoError::new("no threads", error))?;
    runtime.block_on(show(secrets))
}

async fn show(secrets: &Secrets) -> Result<(), DemoError> {
    let wire = Wire::new();
    let (b, tun_b) = gateway(secrets, Side::B, &wire)?;
    let (a, tun_a) = gateway(secrets, Side::A, &wire)?;
    report::step("negotiating IKEv2 between two endpoints in memory");
    host::until_up(&a.handle()).await?;
    report::step("the tunnel is up; sending packets there and back through ESP");
    let traffic = tokio::task::spawn_blocking(move || {
        let trips: Vec<_> = (0..10).filter_map(|_| round_trip(&tun_a, &tun_b)).collect();
        report::pings(&trips);
        report::step("sending as fast as it goes, three seconds each way");
        let up = bulk(&tun_a, &tun_b, Side::A);
        let down = bulk(&tun_b, &tun_a, Side::B);
        report::throughput(up, down);
        trips.is_empty()
    });
    let silent = traffic.await.map_err(|error| DemoError::new("measuring failed", error))?;
    for (side, gateway) in [(Side::A, &a), (Side::B, &b)] {
        if let Ok(status) = gateway.handle().status().await {
            report::side(side, &status);
        }
    }
    a.shutdown().await;
    b.shutdown().await;
    if silent { Err(DemoError::new("no traffic through the tunnel", "no packet came back")) } else { Ok(()) }
}

fn gateway(secrets: &Secrets, side: Side, wire: &Arc<Wire>) -> Result<(Gateway, Arc<MemoryTun>), DemoError> {
    let config = secrets.config(side)?;
    let host = wire.host(IpAddr::V4(side.outer()), config.gateway.ike_port, config.gateway.nat_port);
    let tun = Arc::new(MemoryTun::new("memory"));
    let parts =
        Parts { config, net: Arc::new(host) as Arc<dyn Net>, tun: Arc::clone(&tun) as Arc<dyn Tun>, keys: None };
    let gateway = Gateway::assemble(parts).map_err(|error| DemoError::new("a gateway did not start", error))?;
    Ok((gateway, tun))
}

/// An IPv4 packet of an experimental protocol (RFC 3692) with nothing in it.
fn packet(from: Ipv4Addr, to: Ipv4Addr, len: usize) -> Vec<u8> {
    let mut packet = vec![0; len];
    packet[0] = 0x45;
    packet[2..4].copy_from_slice(&u16::try_from(len).unwrap_or(u16::MAX).to_be_bytes());
    (packet[8], packet[9]) = (64, 253);
    packet[12..16].copy_from_slice(&from.octets());
    packet[16..20].copy_from_slice(&to.octets());
    packet
}

fn round_trip(a: &MemoryTun, b: &MemoryTun) -> Option<Duration> {
    let begun = Instant::now();
    a.inject(&packet(Side::A.inner(), Side::B.inner(), 84));
    b.take(Duration::from_secs(1), |_| ())?;
    b.inject(&packet(Side::B.inner(), Side::A.inner(), 84));
    a.take(Duration::from_secs(1), |_| ())?;
    Some(begun.elapsed())
}

/// Megabits per second that arrive.
fn bulk(from: &Arc<MemoryTun>, to: &MemoryTun, side: Side) -> f64 {
    let done = Arc::new(AtomicBool::new(false));
    let (source, stop) = (Arc::clone(from), Arc::clone(&done));
    let sender = thread::spawn(move || {
        let packet = packet(side.inner(), side.other().inner(), BULK);
        while !stop.load(Ordering::Relaxed) {
            if !source.inject(&packet) {
                source.wait_room(64, Duration::from_millis(10));
            }
        }
    });
    let (begun, mut octets) = (Instant::now(), 0);
    while begun.elapsed() < TRANSFER {
        octets += to.take(Duration::from_millis(100), |packet| packet.len() as u64).unwrap_or(0);
    }
    done.store(true, Ordering::Relaxed);
    let _ = sender.join();
    // What is still under way is not to be taken for the next transfer's.
    while to.take(Duration::from_millis(50), |_| ()).is_some() {}
    measure::rate(octets, TRANSFER)
}
