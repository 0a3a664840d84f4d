//! Traffic through the tunnel, and what the outer link showed of it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use crate::bed::Bed;
use crate::capture;
use crate::failure::{Context, Failure, Result, fail};
use crate::http;
use crate::namespace::Namespace;
use crate::process;
use crate::scenario::{Esp, Outer, Who};
use crate::side::inner;

/// Octets each way.
const SIZE: usize = 100_000_000;

/// Ping from either side, inner IPv4 and IPv6.
pub(super) fn ping(bed: &Bed<'_>) -> Result<()> {
    for who in [Who::Ours, Who::Theirs] {
        for family in [Outer::V4, Outer::V6] {
            let (from, to) = (inner(who, family), inner(who.other(), family));
            let words = ["ping", "-n", "-c", "3", "-i", "0.1", "-W", "2", "-I", &from, &to];
            let finished = process::finish(&mut bed.side(who).namespace.command(&words), Duration::from_secs(15))?;
            if !finished.text.contains(" 0% packet loss") {
                fail!("{} pings {to}:\n{}", who.label(), finished.text);
            }
        }
    }
    Ok(())
}

/// A dense ping that runs beside other steps and must lose nothing.
#[derive(Debug)]
pub(super) struct DensePing {
    stop: Arc<AtomicBool>,
    work: thread::JoinHandle<Result<()>>,
}

impl DensePing {
    /// Pings from `who`, 10 ms apart, until [`DensePing::finish`]: round after round, each of which runs to its end,
    /// so that every request has its reply.
    pub(super) fn start(bed: &Bed<'_>, who: Who, family: Outer) -> Self {
        let (from, to) = (inner(who, family), inner(who.other(), family));
        let words = ["ping", "-n", "-q", "-i", "0.01", "-c", "200", "-W", "2", "-I", &from, &to];
        let mut command = bed.side(who).namespace.command(&words);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let work = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let text = process::finish(&mut command, Duration::from_secs(30))?.text;
                if !text.contains(" 0% packet loss") || text.contains("errors") || text.contains("duplicates") {
                    fail!("the dense ping lost packets:\n{text}");
                }
            }
            Ok(())
        });
        Self { stop, work }
    }

    /// Ends with the round under way.
    ///
    /// # Errors
    /// When a packet was lost in any round.
    pub(super) fn finish(self) -> Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        self.work.join().map_err(|_| Failure::new("the dense ping panicked"))?
    }
}

/// Downloads over inner IPv4 and uploads over inner IPv6 from a server on the peer's host.
pub(super) fn transfer(bed: &Bed<'_>) -> Result<()> {
    let (ours, theirs) = (&bed.ours.namespace, &bed.theirs.namespace);
    let address = |family| -> Result<SocketAddr> {
        let ip = inner(Who::Theirs, family).parse().context("address")?;
        Ok(SocketAddr::new(ip, 80))
    };
    let (v4, v6) = (address(Outer::V4)?, address(Outer::V6)?);
    exchange(ours, theirs, v4, move || http::download(v4).map(drop))?;
    exchange(ours, theirs, v6, move || http::upload(v6, SIZE))
}

fn exchange(
    client: &Namespace,
    server: &Namespace,
    address: SocketAddr,
    work: impl FnOnce() -> Result<()> + Send + 'static,
) -> Result<()> {
    let serving = http::serve(server, address, SIZE)?;
    client.run(work)?;
    serving.join().map_err(|_| Failure::new("the HTTP server panicked"))?
}

/// The outer link carried nothing in the clear; and it carried ESP in the way that the case is about.
pub(super) fn no_plaintext(bed: &mut Bed<'_>) -> Result<()> {
    let file = bed.plaintext.take().context("this capture is over")?.finish()?;
    capture::must_be_empty(&file)?;
    let Some(packets) = bed.packets.as_ref() else { return Ok(()) };
    let esp = match bed.case.esp {
        Esp::Udp => "udp.port == 4500 && esp",
        Esp::Raw => "(ip.proto == 50 || ipv6.nxt == 50) && esp && !udp",
    };
    if capture::decrypted(packets.file(), bed.ours.folder.join("no-keys").as_path(), esp, &["frame.number"])?.is_empty()
    {
        fail!("the capture shows no {} ESP", bed.case.esp.label());
    }
    Ok(())
}

/// With our key log tshark reads the IKE_AUTH exchange and the inner pings of both families and directions.
pub(super) fn decrypt(bed: &mut Bed<'_>) -> Result<()> {
    if bed.is_self_check() {
        return Ok(());
    }
    let file = bed.packets.take().context("this capture is over")?.finish()?;
    let keys = bed.ours.folder.join("keys");
    // Exchange type 35 is IKE_AUTH; payload 39 (AUTH) is seen only where its SK payload was decrypted.
    let auth =
        capture::decrypted(&file, &keys, "isakmp.exchangetype == 35 && isakmp.typepayload == 39", &["frame.number"])?;
    if auth.len() < 2 {
        fail!("tshark decrypts {} of the two IKE_AUTH messages", auth.len());
    }
    for (what, request, reply) in [
        ("IPv4", "esp && icmp.type == 8", "esp && icmp.type == 0"),
        ("IPv6", "esp && icmpv6.type == 128", "esp && icmpv6.type == 129"),
    ] {
        for filter in [request, reply] {
            // Either side pinged three times, so that six requests and six replies passed.
            let seen = capture::decrypted(&file, &keys, filter, &["frame.number"])?.len();
            if seen < 6 {
                fail!("tshark decrypts {seen} of 6 inner {what} packets ({filter})");
            }
        }
    }
    Ok(())
}
