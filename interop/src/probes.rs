//! Probes: numbered datagrams, 10 ms apart, to an echo. Every one must come back, once.
//!
//! Not `ping`: once its last request is out it waits for twice the longest round trip so far, whatever `-W` says as soon
//! as there was any reply, and counts as lost what takes longer. A guest that has to share its processor stands still for
//! longer than that now and then: ping tells of losses, and the captures show every reply. Neither ESP nor UDP sends
//! anything again, so that a probe which comes back late was not lost.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use nix::sys::signal::{SigSet, Signal};

use crate::datagrams::roomy;
use crate::failure::{Context, Result, fail};

/// Between one probe and the next.
const PACE: Duration = Duration::from_millis(10);
/// How long it may take until a first one is back, and until the last ones are.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between one first probe and the next.
const AGAIN: Duration = Duration::from_millis(200);
/// What is said once the first probe is back.
pub(crate) const RUNNING: &str = "probes come back";

/// Probes from `from` to `echo` until SIGTERM comes.
///
/// # Errors
/// When a probe is lost, comes back twice, or cannot be sent.
pub(crate) fn probe(from: IpAddr, echo: SocketAddr) -> Result<()> {
    let mut ends = SigSet::empty();
    ends.add(Signal::SIGTERM);
    // Before the thread starts that waits for it.
    ends.thread_block().context("signals")?;
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = stop.clone();
    thread::spawn(move || {
        let _ = ends.wait();
        stop.store(true, Ordering::Relaxed);
    });
    let socket = UdpSocket::bind((from, 0)).context(from)?;
    socket.connect(echo).context(echo)?;
    let mut probes = Probes::new(socket)?;
    probes.first()?;
    println!("{RUNNING}");
    probes.run(&stopped, PATIENCE)
}

#[derive(Debug)]
struct Probes {
    socket: UdpSocket,
    /// The number of the next one.
    next: u64,
    /// Those that count: from this one on.
    counted: u64,
    /// Those that are not back, and when they were sent.
    missing: BTreeMap<u64, (Instant, SystemTime)>,
    /// The longest way there and back.
    longest: Duration,
}

impl Probes {
    fn new(socket: UdpSocket) -> Result<Self> {
        roomy(&socket)?;
        Ok(Self { socket, next: 0, counted: 0, missing: BTreeMap::new(), longest: Duration::ZERO })
    }

    /// Probes until one is back. None of these counts: the echo may not listen yet.
    fn first(&mut self) -> Result<()> {
        let start = Instant::now();
        self.socket.set_read_timeout(Some(AGAIN)).context("timeout")?;
        while start.elapsed() < PATIENCE {
            let sent = self.socket.send(&self.next.to_be_bytes());
            self.next += 1;
            match sent.and_then(|_| self.socket.recv(&mut [0; 8])) {
                Ok(_) => {
                    self.counted = self.next;
                    return Ok(());
                }
                Err(cause) if cause.kind() == ErrorKind::ConnectionRefused => thread::sleep(PACE),
                Err(cause) if is_nothing(&cause) => {}
                Err(cause) => fail!("the first probe: {cause}"),
            }
        }
        fail!("no probe came back within {PATIENCE:?}")
    }

    /// Probes until `stop`, then waits `patience` for the last ones.
    fn run(mut self, stop: &AtomicBool, patience: Duration) -> Result<()> {
        let mut due = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            self.socket.send(&self.next.to_be_bytes()).context(format!("probe {}", self.next))?;
            self.missing.insert(self.next, (Instant::now(), SystemTime::now()));
            self.next += 1;
            // After a standstill nothing is made up for.
            due = (due + PACE).max(Instant::now());
            while self.receive(due)? {}
        }
        let last = Instant::now() + patience;
        while !self.missing.is_empty() && self.receive(last)? {}
        // What comes twice comes soon.
        let twice = Instant::now() + 10 * PACE;
        while self.receive(twice)? {}
        self.judge()
    }

    fn judge(&self) -> Result<()> {
        let sent = self.next - self.counted;
        if self.missing.is_empty() {
            println!("{sent} probes, all back, the slowest after {:?}", self.longest);
            return Ok(());
        }
        let told = self.missing.iter().map(|(number, (_, at))| {
            let at = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            format!("{number} (sent at {:.3})", at.as_secs_f64())
        });
        fail!("lost {} of {sent} probes: {}", self.missing.len(), told.collect::<Vec<_>>().join(", "))
    }

    /// Takes what comes back first, if before `deadline`; whether anything did.
    fn receive(&mut self, deadline: Instant) -> Result<bool> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(false);
        }
        self.socket.set_read_timeout(Some(left)).context("timeout")?;
        let mut number = [0; 8];
        match self.socket.recv(&mut number) {
            Ok(_) => {}
            Err(cause) if is_nothing(&cause) => return Ok(false),
            // An ICMP error: somebody refused a probe.
            Err(cause) => fail!("after {} probes: {cause}", self.next - self.counted),
        }
        let number = u64::from_be_bytes(number);
        match self.missing.remove(&number) {
            Some((sent, _)) => self.longest = self.longest.max(sent.elapsed()),
            None if number < self.counted => {}
            None => fail!("probe {number} came back twice"),
        }
        Ok(true)
    }
}

/// Whether a read ended because nothing came.
fn is_nothing(cause: &io::Error) -> bool {
    matches!(cause.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of an echo that answers each probe as often as `copies` says, and the last ones late.
    fn outcome(copies: impl Fn(u64) -> usize + Send + 'static) -> Result<()> {
        let echo = UdpSocket::bind("127.0.0.1:0").expect("bind");
        let socket = UdpSocket::bind("127.0.0.1:0").expect("bind");
        socket.connect(echo.local_addr().expect("address")).expect("connect");
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        thread::spawn(move || {
            let mut number = [0; 8];
            while let Ok((_, client)) = echo.recv_from(&mut number) {
                let count = u64::from_be_bytes(number);
                if count == 9 {
                    stop.store(true, Ordering::Relaxed);
                    thread::sleep(20 * PACE);
                }
                for _ in 0..copies(count) {
                    echo.send_to(&number, client).expect("send");
                }
            }
        });
        let mut probes = Probes::new(socket)?;
        probes.first()?;
        probes.run(&stopped, 50 * PACE)
    }

    #[test]
    fn a_late_answer_is_no_loss() {
        outcome(|_| 1).expect("all back");
    }

    #[test]
    fn a_loss_is_told_with_its_number() {
        let cause = outcome(|number| usize::from(number != 5)).expect_err("one is lost");
        let cause = cause.to_string();
        assert!(cause.starts_with("lost 1 of ") && cause.contains(" probes: 5 (sent at "), "{cause}");
    }

    #[test]
    fn an_answer_that_comes_twice_is_told() {
        let cause = outcome(|number| if number == 3 { 2 } else { 1 }).expect_err("one comes twice");
        assert_eq!(cause.to_string(), "probe 3 came back twice");
    }
}
