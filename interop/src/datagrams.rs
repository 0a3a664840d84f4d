//! UDP datagrams of any size, most of them fragmented, sent there and back and compared.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt};

use crate::failure::{Context, Result, fail};

/// The largest that IPv4 allows, octets.
const LARGEST: usize = 65507;
/// Between a datagram and the same again: one that was lost.
const AGAIN: Duration = Duration::from_millis(500);
/// Octets that wait in a socket, as the kernel counts them: 2304 or so for a small datagram.
const ROOM: usize = 8 << 20;
const PATIENCE: Duration = Duration::from_secs(10);

/// Sends every datagram back where it came from, for ever.
pub(crate) fn echo(address: SocketAddr) -> Result<()> {
    let socket = UdpSocket::bind(address).context(address)?;
    roomy(&socket)?;
    let mut datagram = vec![0; LARGEST];
    loop {
        // An error concerns an answer sent earlier: its client has gone.
        if let Ok((length, client)) = socket.recv_from(&mut datagram) {
            let _ = socket.send_to(&datagram[..length], client);
        }
    }
}

/// Gives a socket room for what comes while its program waits for a processor. In a guest on a busy machine that has been
/// 1.7 s; the room there is by default was full after 92 small datagrams, and the kernel threw the next ones away.
pub(crate) fn roomy(socket: &UdpSocket) -> Result<()> {
    // Beyond the host's limit, if we may.
    let forced = setsockopt(socket, sockopt::RcvBufForce, &ROOM);
    forced.or_else(|_| setsockopt(socket, sockopt::RcvBuf, &ROOM)).context("receive buffer")
}

/// Sends a datagram of each of `sizes` octets from `from`; each must come back as it was.
///
/// # Errors
/// When one does not come back at all within ten seconds and as many attempts as fit, or comes back changed.
pub(crate) fn compare(from: IpAddr, echo: SocketAddr, sizes: &[usize]) -> Result<()> {
    let socket = UdpSocket::bind((from, 0)).context(from)?;
    socket.connect(echo).context(echo)?;
    socket.set_read_timeout(Some(AGAIN)).context("timeout")?;
    sizes.iter().try_for_each(|&size| exchange(&socket, size).context(format!("a datagram of {size} octets")))
}

fn exchange(socket: &UdpSocket, size: usize) -> Result<()> {
    let sent: Vec<u8> = (0..size as u64).map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as u8).collect();
    let mut received = vec![0; LARGEST];
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        match socket.send(&sent).and_then(|_| socket.recv(&mut received)) {
            Ok(length) if length == size && received[..size] == sent => return Ok(()),
            // The answer to an earlier attempt with another size.
            Ok(length) if length != size => {}
            Ok(_) => fail!("its content changed"),
            // The path is narrower than it was when the last one was sent: the next one is cut accordingly.
            Err(cause) if cause.raw_os_error() == Some(Errno::EMSGSIZE as i32) => {}
            // Nobody listens yet, or it was lost.
            Err(cause) if cause.kind() == ErrorKind::ConnectionRefused => std::thread::sleep(AGAIN / 10),
            Err(cause) if matches!(cause.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(cause) => fail!("{cause}"),
        }
    }
    fail!("did not come back within {PATIENCE:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_echoed_is_the_same() {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("bind");
        let address = socket.local_addr().expect("address");
        drop(socket);
        std::thread::spawn(move || echo(address));
        compare(address.ip(), address, &[20, 2000, 60000]).expect("echoed");
    }
}
