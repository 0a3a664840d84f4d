//! Traffic: ICMP echo, and TCP as fast as it goes.

use std::io::{self, Read, Write};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

/// Port of [`serve`].
const PORT: u16 = 5201;
/// Length of a transfer.
const TRANSFER: Duration = Duration::from_secs(3);
/// How long to wait for an answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// Round trips of `count` echo requests that `to` answered.
///
/// # Errors
/// When ICMP sockets are refused, or nothing was answered.
pub(super) fn ping(to: Ipv4Addr, count: u16) -> io::Result<Vec<Duration>> {
    let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4))?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.connect(&SocketAddr::from((to, 0)).into())?;
    let mut trips = Vec::new();
    for sequence in 0..count {
        let begun = Instant::now();
        socket.send(&echo_request(sequence))?;
        if answered(&socket, sequence, begun)? {
            trips.push(begun.elapsed());
        }
        thread::sleep(Duration::from_millis(100));
    }
    if trips.is_empty() { Err(io::Error::new(io::ErrorKind::TimedOut, "no ping was answered")) } else { Ok(trips) }
}

/// Waits for the answer to `sequence`, past anything else that arrives.
fn answered(socket: &Socket, sequence: u16, begun: Instant) -> io::Result<bool> {
    while begun.elapsed() < PATIENCE {
        let mut buffer = [MaybeUninit::<u8>::uninit(); 256];
        let len = match socket.recv(&mut buffer) {
            Ok(len) => len,
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => break,
            Err(error) => return Err(error),
        };
        // SAFETY: the kernel wrote the first `len` octets.
        let packet: Vec<u8> = buffer.iter().take(len).map(|octet| unsafe { octet.assume_init() }).collect();
        // An IPv4 header of 20 octets, then type 0, code 0, checksum, identifier, sequence number (RFC 792).
        if packet.get(20) == Some(&0) && packet.get(26..28) == Some(&sequence.to_be_bytes()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// ICMP echo request (RFC 792) with 56 octets of data.
fn echo_request(sequence: u16) -> [u8; 64] {
    let mut request = [0; 64];
    request[0] = 8;
    request[4..6].copy_from_slice(&0x4379_u16.to_be_bytes());
    request[6..8].copy_from_slice(&sequence.to_be_bytes());
    let words = request.chunks_exact(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    request[2..4].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    request
}

/// Serves transfers until the process ends: the first octet says which way.
pub(super) fn serve(address: Ipv4Addr) {
    let Ok(listener) = TcpListener::bind((address, PORT)) else { return };
    for stream in listener.incoming().flatten() {
        thread::spawn(move || transfer(stream));
    }
}

fn transfer(mut stream: TcpStream) -> io::Result<()> {
    let mut direction = [0];
    stream.read_exact(&mut direction)?;
    match direction {
        [b'u'] => {
            let octets = drain(&mut stream)?;
            stream.write_all(&octets.to_be_bytes())
        }
        _ => pump(&mut stream).map(drop),
    }
}

/// Megabits per second towards `to`: what arrived there, in the time until its word on it came back.
///
/// # Errors
/// When the connection fails.
pub(super) fn upload(to: Ipv4Addr) -> io::Result<f64> {
    let mut stream = connect(to, b'u')?;
    let begun = Instant::now();
    pump(&mut stream)?;
    stream.shutdown(std::net::Shutdown::Write)?;
    let mut octets = [0; 8];
    stream.read_exact(&mut octets)?;
    Ok(rate(u64::from_be_bytes(octets), begun.elapsed()))
}

/// Megabits per second from `to`.
///
/// # Errors
/// When the connection fails.
pub(super) fn download(to: Ipv4Addr) -> io::Result<f64> {
    let mut stream = connect(to, b'd')?;
    let begun = Instant::now();
    let octets = drain(&mut stream)?;
    Ok(rate(octets, begun.elapsed()))
}

fn connect(to: Ipv4Addr, direction: u8) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&(to, PORT).into(), 5 * PATIENCE)?;
    stream.set_read_timeout(Some(10 * PATIENCE))?;
    stream.write_all(&[direction])?;
    Ok(stream)
}

/// Writes for [`TRANSFER`].
fn pump(stream: &mut TcpStream) -> io::Result<u64> {
    let block = vec![0x5a; 1 << 16];
    let (begun, mut octets) = (Instant::now(), 0);
    while begun.elapsed() < TRANSFER {
        octets += stream.write(&block)? as u64;
    }
    Ok(octets)
}

/// Reads to the end.
fn drain(stream: &mut TcpStream) -> io::Result<u64> {
    let mut block = vec![0; 1 << 16];
    let mut octets = 0;
    loop {
        match stream.read(&mut block)? {
            0 => return Ok(octets),
            len => octets += len as u64,
        }
    }
}

pub(super) fn rate(octets: u64, time: Duration) -> f64 {
    octets as f64 * 8.0 / time.as_secs_f64() / 1e6
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_echo_request_has_a_right_checksum() {
        let request = echo_request(0x1234);
        let sum: u32 = request.chunks_exact(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum();
        assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff);
    }
}
