//! Numbered datagrams of several flows, and a TCP stream, at a moderate rate: nothing is lost, overtaken or doubled.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::socket::{setsockopt, sockopt};

use super::super::net::Mesh;
use crate::failure::{Context, Failure, Result, fail};
use crate::namespace::Namespace;
use crate::process;

/// Flows of datagrams, half of them over IPv6.
const FLOWS: u16 = 8;
/// Datagrams of each flow.
const DATAGRAMS: u32 = 1500;
/// How many of them go together, as an application sends that has some to send.
const TOGETHER: u32 = 4;
/// Between one handful and the next.
const PACE: Duration = Duration::from_millis(8);
/// Octets of the stream, given to the kernel so many at a time.
const STREAM: usize = 12 << 20;
const PIECE: usize = 32 * 1024;
/// What the receivers' sockets keep, octets: they may have to wait for a processor.
const BUFFER: usize = 16 << 20;
const PORT: u16 = 5000;
const PATIENCE: Duration = Duration::from_secs(10);

fn inside(n: u8, v6: bool) -> IpAddr {
    match v6 {
        false => Ipv4Addr::new(10, n, 0, 254).into(),
        true => Ipv6Addr::new(0x2001, 0xdb8, n.into(), 0, 0, 0, 0, 0xfe).into(),
    }
}

/// Sends all of it from the left gateway to the right one, all at once.
pub(super) fn moderate(mesh: &Mesh) -> Result<()> {
    let [from, to] = &mesh.nodes[..] else { fail!("two nodes") };
    // Else TCP sends its last segment again as soon as an answer is slower than usual (RFC 8985 §7), which on a machine
    // with other work to do says nothing about losses.
    process::run(&mut from.namespace.command(&["sysctl", "-qw", "net.ipv4.tcp_early_retrans=0"]), PATIENCE)?;
    let before = (counts(&from.namespace)?, counts(&to.namespace)?);
    let mut work = Vec::new();
    for flow in 0..FLOWS {
        let v6 = flow % 2 == 1;
        let (here, there) = (SocketAddr::new(inside(1, v6), 0), SocketAddr::new(inside(2, v6), PORT + flow));
        let receiver = to.namespace.run(move || UdpSocket::bind(there).context(there))?;
        setsockopt(&receiver, sockopt::RcvBufForce, &BUFFER).context("buffer")?;
        work.push(to.namespace.spawn(move || receive(&receiver).context(format!("flow {flow}")))?);
        work.push(from.namespace.spawn(move || send(here, there).context(format!("flow {flow}")))?);
    }
    let there = SocketAddr::new(inside(2, false), PORT);
    let listener = to.namespace.run(move || TcpListener::bind(there).context(there))?;
    work.push(to.namespace.spawn(move || take_stream(&listener))?);
    work.push(from.namespace.spawn(move || give_stream(there))?);
    let join = |work: JoinHandle<Result<()>>| work.join().map_err(|_| Failure::new("a thread panicked"))?;
    // All of them end, whatever became of the first.
    let outcomes: Vec<Result<()>> = work.into_iter().map(join).collect();
    outcomes.into_iter().collect::<Result<Vec<()>>>()?;
    let after = (counts(&from.namespace)?, counts(&to.namespace)?);
    let Counts { sent_again, in_vain, disorder } = after.0.since(&before.0);
    let arrived = after.1.since(&before.1);
    // What was sent again because an answer was slow, and had come already, was not lost.
    if sent_again > in_vain || disorder + arrived.disorder > 0 {
        fail!("TCP found losses or disorder: before {before:?}, after {after:?}");
    }
    Ok(())
}

/// The length of datagram `n`: short and long ones, in runs of one length as of an application's, each with its number.
fn len(n: u32) -> usize {
    [200, 1200, 64, 1200, 1400, 8000][(n / 16 % 6) as usize]
}

fn send(here: SocketAddr, there: SocketAddr) -> Result<()> {
    let socket = UdpSocket::bind(here).context(here)?;
    socket.connect(there).context(there)?;
    let (start, mut payload) = (Instant::now(), [0x5a; 9000]);
    for n in 0..DATAGRAMS {
        let due = PACE * (n / TOGETHER);
        std::thread::sleep(due.saturating_sub(start.elapsed()));
        payload[..4].copy_from_slice(&n.to_be_bytes());
        socket.send(&payload[..len(n)]).context(format!("datagram {n}"))?;
    }
    Ok(())
}

fn receive(socket: &UdpSocket) -> Result<()> {
    let mut payload = [0; 9001];
    socket.set_read_timeout(Some(PATIENCE)).context("timeout")?;
    for n in 0..DATAGRAMS {
        let got = socket.recv(&mut payload).context(format!("datagram {n} of {DATAGRAMS}"))?;
        let number = u32::from_be_bytes([payload[0], payload[1], payload[2], payload[3]]);
        if number != n || got != len(n) {
            fail!("datagram {number} of {got} octets came where number {n} of {} octets should", len(n));
        }
    }
    // What comes twice comes soon.
    socket.set_read_timeout(Some(super::SOON)).context("timeout")?;
    match socket.recv(&mut payload) {
        Err(cause) if matches!(cause.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(()),
        other => fail!("after the last one came {other:?}"),
    }
}

fn octet(at: usize) -> u8 {
    (at as u32).wrapping_mul(0x9e37_79b1).to_be_bytes()[0]
}

fn give_stream(there: SocketAddr) -> Result<()> {
    let mut stream = TcpStream::connect_timeout(&there, PATIENCE).context(there)?;
    let start = Instant::now();
    let all: Vec<u8> = (0..STREAM).map(octet).collect();
    let pieces = all.chunks(PIECE);
    // As long as the datagrams take.
    let pace = PACE * (DATAGRAMS / TOGETHER) / pieces.len() as u32;
    for (n, piece) in (0..).zip(pieces) {
        std::thread::sleep((pace * n).saturating_sub(start.elapsed()));
        stream.write_all(piece).context("stream")?;
    }
    Ok(())
}

fn take_stream(listener: &TcpListener) -> Result<()> {
    let (mut stream, _) = listener.accept().context("accept")?;
    stream.set_read_timeout(Some(PATIENCE)).context("timeout")?;
    let mut all = Vec::with_capacity(STREAM);
    stream.read_to_end(&mut all).context("stream")?;
    match all.iter().enumerate().position(|(at, &got)| got != octet(at)) {
        None if all.len() == STREAM => Ok(()),
        None => fail!("{} of {STREAM} octets of the stream", all.len()),
        Some(at) => fail!("octet {at} of the stream differs"),
    }
}

/// What the kernel counts of TCP.
#[derive(Debug)]
struct Counts {
    /// Segments sent again.
    sent_again: u64,
    /// Of those, what the peer told that it had come twice (RFC 2883).
    in_vain: u64,
    /// Segments that came before one that they follow, or were thought to.
    disorder: u64,
}

impl Counts {
    fn since(&self, before: &Self) -> Self {
        Self {
            sent_again: self.sent_again - before.sent_again,
            in_vain: self.in_vain - before.in_vain,
            disorder: self.disorder - before.disorder,
        }
    }
}

fn counts(space: &Namespace) -> Result<Counts> {
    let text = process::run(&mut space.command(&["nstat", "-asz"]), PATIENCE)?;
    let count = |name: &str| -> Result<u64> {
        let line = text.lines().find(|line| line.split_whitespace().next() == Some(name));
        let number = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
        number.context(format!("nstat does not tell {name}"))
    };
    Ok(Counts {
        sent_again: count("TcpRetransSegs")?,
        in_vain: count("TcpExtTCPDSACKRecv")?,
        disorder: count("TcpExtTCPOFOQueue")? + count("TcpExtTCPSACKReorder")?,
    })
}
