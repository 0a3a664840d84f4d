//! ICMP echo, which the other host's kernel answers: nothing but the tunnel is woken up.

use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::Route;
use crate::failure::{Context, Result};

/// Between requests.
const INTERVAL: Duration = Duration::from_millis(10);
/// After so long an answer counts as lost, and is given this time.
const PATIENCE: Duration = Duration::from_secs(1);
const IDENTIFIER: u16 = 0x4379;

fn open(route: Route<'_>) -> Result<Socket> {
    let socket = route.from.0.open(|| {
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4))?;
        socket.bind(&SocketAddr::from((route.from.1, 0)).into())?;
        Ok(socket)
    })?;
    socket.set_read_timeout(Some(PATIENCE)).context("ICMP")?;
    Ok(socket)
}

fn to(route: Route<'_>) -> SockAddr {
    SocketAddr::from((route.to.1, 0)).into()
}

/// Waits until one is answered.
pub(crate) fn until_answered(
    route: Route<'_>,
    patience: Duration,
    mut check: impl FnMut() -> Result<()>,
) -> Result<()> {
    let socket = open(route)?;
    socket.set_read_timeout(Some(Duration::from_millis(100))).context("ICMP")?;
    let begun = Instant::now();
    for sequence in 0.. {
        let sent = Instant::now();
        // No route yet is no answer yet.
        if socket.send_to(&request(sequence), &to(route)).is_ok() && answered(&socket, sequence, sent)? {
            return Ok(());
        }
        check()?;
        if begun.elapsed() > patience {
            break;
        }
        thread::sleep(Duration::from_millis(50));
    }
    Err(crate::failure::Failure("no traffic passed the tunnel".to_owned()))
}

/// Round trips, milliseconds, until `count` are made or `end` says so.
pub(crate) fn ping(route: Route<'_>, count: usize, end: &AtomicBool) -> Result<Vec<f64>> {
    let socket = open(route)?;
    let mut trips = Vec::new();
    for sequence in 0..count {
        if end.load(Ordering::Relaxed) {
            break;
        }
        let begun = Instant::now();
        socket.send_to(&request(sequence as u16), &to(route)).context("ping")?;
        let answered = answered(&socket, sequence as u16, begun)?;
        let trip = if answered { begun.elapsed() } else { PATIENCE };
        trips.push(trip.as_secs_f64() * 1e3);
        thread::sleep(INTERVAL.saturating_sub(begun.elapsed()));
    }
    Ok(trips)
}

/// Waits for the answer, past anything else that arrives.
fn answered(socket: &Socket, sequence: u16, begun: Instant) -> Result<bool> {
    while begun.elapsed() < PATIENCE {
        let mut buffer = [MaybeUninit::<u8>::uninit(); 256];
        let len = match socket.recv(&mut buffer) {
            Ok(len) => len,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => break,
            Err(error) => return Err(error).context("ping"),
        };
        // SAFETY: the kernel wrote the first `len` octets.
        let octet = |at: usize| buffer.get(at).filter(|_| at < len).map(|octet| unsafe { octet.assume_init() });
        // An IPv4 header of 20 octets, then type 0, code 0, checksum, identifier, sequence number (RFC 792).
        let word = |at: usize| Some(u16::from_be_bytes([octet(at)?, octet(at + 1)?]));
        if octet(20) == Some(0) && word(24) == Some(IDENTIFIER) && word(26) == Some(sequence) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// An echo request (RFC 792) with 56 octets of data.
fn request(sequence: u16) -> [u8; 64] {
    let mut request = [0; 64];
    request[0] = 8;
    request[4..6].copy_from_slice(&IDENTIFIER.to_be_bytes());
    request[6..8].copy_from_slice(&sequence.to_be_bytes());
    let sum: u32 = u32::from(IDENTIFIER) + u32::from(sequence) + 0x0800;
    let folded = (sum & 0xffff) + (sum >> 16);
    request[2..4].copy_from_slice(&(!(folded as u16)).to_be_bytes());
    request
}
