//! The highest rate of small UDP datagrams that arrive all but one in a hundred.
//!
//! The sender is paced: what has become due leaves in bursts of up to 64, one `sendmmsg` each, a quarter of a
//! millisecond apart at low rates; without GSO, so that every datagram is a packet of its own for the tunnel.

use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::libc;
use socket2::{Domain, Protocol, Socket, Type};

use super::Route;
use crate::failure::{Context, Result};
use crate::mmsg::Batch;

const PORT: u16 = 5202;
/// Octets of a datagram.
const DATAGRAM: usize = 200;
/// Datagrams in one system call.
const BURST: usize = 64;
/// Between bursts at low rates.
const PACE: Duration = Duration::from_micros(250);
/// What may get lost.
const LOSS: f64 = 0.01;
/// What the sender must reach of a rate, or it is the bottleneck.
const KEPT: f64 = 0.9;
/// First rate tried, datagrams per second; factor to the next; how often the gap is halved then.
const FIRST: f64 = 8_000.0;
const FACTOR: f64 = 1.6;
const HALVINGS: usize = 4;
/// How many rates in a row must fail for higher ones to be given up.
const MISSES: usize = 2;
/// How often a rate is tried.
const TRIALS: usize = 3;
/// How long stragglers are waited for.
const STRAGGLERS: Duration = Duration::from_millis(100);
/// Requested receive buffer, octets: the receiver is to be no bottleneck.
const RECEIVE_BUFFER: usize = 16 << 20;

/// How one attempt went.
#[derive(Debug, Clone, Copy)]
struct Trial {
    /// Datagrams per second that left.
    sent: f64,
    /// Of them, those that did not arrive.
    loss: f64,
}

/// Datagrams per second. Each rate is tried for `time`, and again if it fails: a moment in which the machine was busy
/// elsewhere is not the tunnel's doing.
pub(crate) fn highest_rate(route: Route<'_>, time: Duration) -> Result<f64> {
    let (from, to) = sockets(route)?;
    let mut number = 0;
    let mut holds = |rate: f64| -> Result<Option<Trial>> {
        let mut slow = None;
        for _ in 0..TRIALS {
            number += 1;
            let trial = attempt(&from, &to, rate, time, number)?;
            if trial.loss <= LOSS && trial.sent >= KEPT * rate {
                return Ok(Some(trial));
            }
            slow = slow.or(Some(trial).filter(|trial| trial.loss <= LOSS));
        }
        Ok(slow)
    };
    let (mut good, mut best) = (0.0_f64, 0.0_f64);
    let (mut rate, mut misses) = (FIRST, 0);
    while misses < MISSES {
        match holds(rate)? {
            Some(trial) => {
                best = best.max(trial.sent * (1.0 - trial.loss));
                // The sender itself can't go faster.
                if trial.sent < KEPT * rate {
                    return Ok(best);
                }
                (good, misses) = (rate, 0);
            }
            None => misses += 1,
        }
        rate *= FACTOR;
    }
    let mut bad = if good > 0.0 { good * FACTOR } else { FIRST };
    for _ in 0..HALVINGS {
        let middle = if good > 0.0 { (good * bad).sqrt() } else { bad / 2.0 };
        match holds(middle)? {
            Some(trial) => {
                best = best.max(trial.sent * (1.0 - trial.loss));
                good = middle;
            }
            None => bad = middle,
        }
    }
    Ok(best)
}

fn sockets(route: Route<'_>) -> Result<(UdpSocket, UdpSocket)> {
    let open = |from: (_, SocketAddr), to: SocketAddr| {
        let (namespace, from): (&crate::bed::Namespace, SocketAddr) = from;
        namespace.open(|| {
            let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
            socket.bind(&from.into())?;
            socket.connect(&to.into())?;
            Ok(socket)
        })
    };
    let [here, there] = [route.from.1, route.to.1].map(|address| SocketAddr::from((address, PORT)));
    let from = open((route.from.0, here), there)?;
    let to = open((route.to.0, there), here)?;
    force_receive_buffer(&to);
    to.set_read_timeout(Some(Duration::from_millis(50))).context("UDP")?;
    Ok((from.into(), to.into()))
}

/// Beyond the system's limit, as root may.
fn force_receive_buffer(socket: &Socket) {
    use nix::sys::socket::{setsockopt, sockopt::RcvBufForce};
    let _ = setsockopt(socket, RcvBufForce, &RECEIVE_BUFFER);
}

/// Sends at `rate` for `time` and counts what arrives. Each datagram begins with the `number` of the attempt and one of
/// its own.
fn attempt(from: &UdpSocket, to: &UdpSocket, rate: f64, time: Duration, number: u64) -> Result<Trial> {
    let done = AtomicBool::new(false);
    let (sent, arrived) = thread::scope(|scope| {
        let receiver = scope.spawn(|| receive(to, number, &done));
        let sent = send(from, rate, time, number);
        thread::sleep(STRAGGLERS);
        done.store(true, Ordering::Relaxed);
        (sent, receiver.join().unwrap_or(0))
    });
    let (sent, took) = sent?;
    let loss = 1.0 - arrived as f64 / sent.max(1) as f64;
    Ok(Trial { sent: sent as f64 / took.as_secs_f64(), loss: loss.max(0.0) })
}

/// Returns how many datagrams left, and in what time.
fn send(socket: &UdpSocket, rate: f64, time: Duration, number: u64) -> Result<(u64, Duration)> {
    // The kernel may otherwise sleep 50 µs longer.
    let _ = nix::sys::prctl::set_timerslack(1);
    let mut batch = Batch::new(BURST, DATAGRAM);
    let (begun, mut sent, mut skipped) = (Instant::now(), 0_u64, 0_u64);
    while begun.elapsed() < time {
        let due = ((begun.elapsed().as_secs_f64() * rate) as u64).saturating_sub(sent + skipped);
        if due == 0 {
            let next = (sent + skipped + 1) as f64 / rate;
            let wait = Duration::from_secs_f64(next).saturating_sub(begun.elapsed());
            thread::sleep(wait.max(PACE));
            continue;
        }
        // More than a few bursts behind: the machine was busy elsewhere, and a flood would measure that.
        let late = due.saturating_sub(8 * BURST as u64);
        skipped += late;
        let count = (due - late).min(BURST as u64) as usize;
        for (datagram, sequence) in batch.buffers().take(count).zip(sent..) {
            let numbers = [number.to_be_bytes(), sequence.to_be_bytes()];
            datagram.iter_mut().zip(numbers.as_flattened()).for_each(|(octet, value)| *octet = *value);
        }
        match batch.send(socket, count) {
            Ok(count) => sent += count as u64,
            Err(error) if matches!(error.raw_os_error(), Some(libc::ECONNREFUSED | libc::ENOBUFS)) => {}
            Err(error) => return Err(error).context("sending UDP"),
        }
    }
    Ok((sent, begun.elapsed()))
}

/// How many datagrams of this attempt arrived, each counted once.
fn receive(socket: &UdpSocket, number: u64, done: &AtomicBool) -> u64 {
    let mut batch = Batch::new(BURST, DATAGRAM);
    let mut seen = Vec::new();
    while !done.load(Ordering::Relaxed) {
        // With a timeout, so that the end is noticed.
        let count = batch.receive(socket, libc::MSG_WAITFORONE).unwrap_or(0);
        for datagram in batch.buffers().take(count) {
            let (numbers, _) = datagram.as_chunks::<8>();
            if let [attempt, sequence, ..] = *numbers
                && u64::from_be_bytes(attempt) == number
            {
                seen.push(u64::from_be_bytes(sequence));
            }
        }
    }
    seen.sort_unstable();
    seen.dedup();
    seen.len() as u64
}
