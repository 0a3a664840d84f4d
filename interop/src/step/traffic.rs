//! Traffic through the tunnel, and what the outer link showed of it.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::addresses::{Way, ways};
use crate::bed::Bed;
use crate::capture;
use crate::failure::{Context, Failure, Result, fail};
use crate::probes::RUNNING;
use crate::process::{self, Process, until};
use crate::scenario::{Esp, Version, Who};

/// Sizes of datagrams, octets: one that fits, one that is fragmented once, and many times.
const SIZES: [&str; 5] = ["20", "2000", "8000", "40000", "60000"];
const PATIENCE: Duration = Duration::from_secs(60);
/// Requests by each way.
const PINGS: usize = 3;

/// Ping from either side, by all ways, one request at a time: of several, ping gives the last one less time than `-W`
/// says.
pub(super) fn ping(bed: &Bed<'_>) -> Result<()> {
    for who in [Who::Ours, Who::Theirs] {
        for Way { from, to, .. } in ways(&bed.case, who) {
            let words = ["ping", "-n", "-c", "1", "-W", "5", "-I", &from, &to];
            for _ in 0..PINGS {
                let finished = process::finish(&mut bed.side(who).command(&words), Duration::from_secs(15))?;
                if !finished.text.contains(" 0% packet loss") {
                    fail!("{} pings {to}:\n{}", who.label(), finished.text);
                }
            }
        }
    }
    Ok(())
}

/// Probes that run beside other steps; every one must come back.
#[derive(Debug)]
pub(super) struct Probing {
    // Dropped first: nobody probes an echo that has gone.
    probe: Process,
    _echo: Process,
    who: Who,
    log: PathBuf,
}

impl Probing {
    /// Probes from `who` until [`Probing::finish`], by our first way or the peer's last; the first one is back already.
    pub(super) fn start(bed: &Bed<'_>, who: Who) -> Result<Self> {
        let mut ways = ways(&bed.case, who);
        let last = ways.len() - 1;
        let way = ways.swap_remove(if who == Who::Ours { 0 } else { last });
        let echo = Process::start(&mut tool(bed, who.other(), &["echo", &endpoint(&way.at, 7)]))?;
        let log = bed.side(who).folder.join("probes");
        let _ = fs::remove_file(&log);
        let mut probe = tool(bed, who, &["probe", &way.from, &endpoint(&way.to, 7)]);
        let mut probing = Self { probe: Process::logged(&mut probe, &log)?, _echo: echo, who, log };
        let running = until("the first probe", PATIENCE, || {
            let runs = fs::read_to_string(&probing.log).is_ok_and(|text| text.contains(RUNNING));
            (runs || !probing.probe.is_running()).then_some(runs)
        });
        if running? { Ok(probing) } else { fail!("{}", probing.told()) }
    }

    fn told(&self) -> String {
        format!("{} probes: {}", self.who.label(), fs::read_to_string(&self.log).unwrap_or_default())
    }

    /// Ends it.
    ///
    /// # Errors
    /// When a probe was lost.
    pub(super) fn finish(mut self) -> Result<()> {
        match self.probe.stop(PATIENCE)?.success() {
            true => Ok(()),
            false => fail!("{}", self.told()),
        }
    }
}

/// A command of `who` that is one of this harness's own tools.
fn tool(bed: &Bed<'_>, who: Who, words: &[&str]) -> Command {
    bed.side(who).command(&[&[&*bed.lab.tool.to_string_lossy(), "tool"], words].concat())
}

/// `address`, with brackets around IPv6.
fn endpoint(address: &str, port: u16) -> String {
    if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") }
}

/// Downloads by our first way and uploads by our last, from a server on the peer's host.
pub(super) fn transfer(bed: &Bed<'_>) -> Result<()> {
    // A guest's kernel has a tenth of the pace.
    let size = if bed.case.peer == Version::Kernel { 20_000_000 } else { 100_000_000 };
    Transfer::both(bed, size).iter().try_for_each(|transfer| transfer.start(bed)?.finish())
}

/// A transfer to come.
#[derive(Debug)]
pub(super) struct Transfer {
    way: Way,
    size: String,
    name: &'static str,
}

impl Transfer {
    /// One of `size` octets in each direction: the download by our first way, the upload by our last.
    pub(super) fn both(bed: &Bed<'_>, size: usize) -> Vec<Self> {
        let ways = ways(&bed.case, Who::Ours);
        let named = |way: Option<&Way>, name| way.map(|way| Self { way: way.clone(), size: size.to_string(), name });
        [named(ways.first(), "download"), named(ways.last(), "upload")].into_iter().flatten().collect()
    }

    /// `download` or `upload`.
    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    /// Begins it.
    pub(super) fn start(&self, bed: &Bed<'_>) -> Result<Transferring> {
        let (at, to) = (endpoint(&self.way.at, 80), endpoint(&self.way.to, 80));
        let server = Process::start(&mut tool(bed, Who::Theirs, &["serve", &at, &self.size]))?;
        let words = if self.name == "upload" { &[self.name, &*to, &self.size][..] } else { &[self.name, &*to] };
        let mut command = tool(bed, Who::Ours, words);
        let client = thread::spawn(move || process::run(&mut command, PATIENCE).map(drop));
        Ok(Transferring { server, client })
    }
}

/// A transfer under way.
#[derive(Debug)]
pub(super) struct Transferring {
    server: Process,
    client: thread::JoinHandle<Result<()>>,
}

impl Transferring {
    /// Waits for its end.
    ///
    /// # Errors
    /// When it breaks, stalls, or the checksums differ.
    pub(super) fn finish(mut self) -> Result<()> {
        self.client.join().map_err(|_| Failure::new("the HTTP client panicked"))??;
        self.server
            .wait(Duration::from_secs(5))?
            .filter(|status| status.success())
            .context("the HTTP server failed")?;
        Ok(())
    }
}

/// Either side sends datagrams of all sizes, by all ways, and gets them back as they were.
pub(super) fn datagrams(bed: &Bed<'_>) -> Result<()> {
    for who in [Who::Ours, Who::Theirs] {
        for way in ways(&bed.case, who) {
            let (at, to) = (endpoint(&way.at, 7), endpoint(&way.to, 7));
            let _echo = Process::start(&mut tool(bed, who.other(), &["echo", &at]))?;
            let words = [&["datagrams", &way.from, &to][..], &SIZES].concat();
            process::run(&mut tool(bed, who, &words), PATIENCE).context(who.label())?;
        }
    }
    Ok(())
}

/// The outer link carried nothing in the clear; and it carried ESP in the way that the case is about.
pub(super) fn no_plaintext(bed: &mut Bed<'_>) -> Result<()> {
    let file = bed.plaintext.take().context("this capture is over")?.finish()?;
    capture::must_be_empty(&file)?;
    let Some(packets) = bed.packets.as_ref() else { return Ok(()) };
    // ESP begins with an SPI, IKE on the same port with four zero octets (RFC 3948 §2.2).
    let esp = match bed.case.esp {
        Esp::Udp => "udp port 4500 and (udp[8:4] != 0 or (ip6 and ip6[48:4] != 0))",
        Esp::Raw => "ip proto 50 or ip6 proto 50",
    };
    let file = packets.file().to_string_lossy();
    match process::sh(&["tcpdump", "-n", "-c", "1", "-r", &file, esp])?.is_empty() {
        true => fail!("the capture shows no {} ESP", bed.case.esp.label()),
        false => Ok(()),
    }
}

/// With our key log tshark reads the IKE_AUTH exchange and the inner pings of both families and directions.
pub(super) fn decrypt(bed: &mut Bed<'_>) -> Result<()> {
    if bed.is_self_check() {
        return Ok(());
    }
    let file = bed.packets.take().context("this capture is over")?.finish()?;
    let keys = bed.ours.folder.join("keys");
    // Exchange type 35 is IKE_AUTH; payload 39 (AUTH) is seen only where its SK payload was decrypted.
    let filter = "(isakmp.exchangetype == 35 && isakmp.typepayload == 39) || (esp && (icmp || icmpv6))";
    let fields = ["isakmp.exchangetype", "icmp.type", "icmpv6.type"];
    let lines = capture::decrypted(&file, &keys, filter, &fields)?;
    let count = |column: usize, value: &str| {
        lines.iter().filter(|line| line.split('\t').nth(column).is_some_and(|field| field == value)).count()
    };
    let auth = count(0, "35");
    if auth < 2 {
        fail!("tshark decrypts {auth} of the two IKE_AUTH messages");
    }
    for Way { to, .. } in ways(&bed.case, Who::Ours) {
        let (column, kinds) = if to.contains(':') { (2, ["128", "129"]) } else { (1, ["8", "0"]) };
        for kind in kinds {
            // Either side pinged, so that as many requests and replies passed from both.
            let (seen, passed) = (count(column, kind), 2 * PINGS);
            if seen < passed {
                fail!("tshark decrypts {seen} of {passed} packets ({} {kind})", fields[column]);
            }
        }
    }
    Ok(())
}
