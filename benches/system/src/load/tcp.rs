//! TCP as fast as it goes: writes of 128 KiB, a thread for each end of each stream.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

use super::Route;
use crate::failure::{Context, Result};

const PORT: u16 = 5201;
/// Octets of a read or write.
const BLOCK: usize = 128 << 10;
/// What is not counted: until the windows have opened.
const WARM_UP: Duration = Duration::from_secs(1);
/// How long nothing may happen.
const PATIENCE: Duration = Duration::from_secs(10);

/// What was transferred.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Transfer {
    /// Gbit/s that arrived, but for the beginning.
    pub(crate) rate: f64,
    /// All octets that arrived.
    pub(crate) octets: u64,
}

/// Transfers over `streams` connections for so long; then `meanwhile` tells that it is over.
pub(crate) fn transfer(route: Route<'_>, streams: usize, time: Duration, meanwhile: &AtomicBool) -> Result<Transfer> {
    let pairs = connect(route, streams)?;
    let octets = AtomicU64::new(0);
    let counted = thread::scope(|scope| {
        for (from, to) in &pairs {
            scope.spawn(|| pump(from, time + WARM_UP));
            scope.spawn(|| drain(to, &octets));
        }
        thread::sleep(WARM_UP);
        let (begun, before) = (Instant::now(), octets.load(Ordering::Relaxed));
        thread::sleep(time);
        let during = octets.load(Ordering::Relaxed) - before;
        let rate = during as f64 * 8.0 / begun.elapsed().as_secs_f64() / 1e9;
        meanwhile.store(true, Ordering::Relaxed);
        rate
    });
    Ok(Transfer { rate: counted, octets: octets.into_inner() })
}

/// Connections, each as its two ends.
fn connect(route: Route<'_>, streams: usize) -> Result<Vec<(TcpStream, TcpStream)>> {
    let tcp = || Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP));
    let listener = route.to.0.open(|| {
        let socket = tcp()?;
        socket.set_reuse_address(true)?;
        socket.bind(&SocketAddr::from((route.to.1, PORT)).into())?;
        socket.listen(streams as i32)?;
        Ok(socket)
    })?;
    listener.set_read_timeout(Some(PATIENCE)).context("TCP")?;
    let pair = |_| {
        let socket = route.from.0.open(|| {
            let socket = tcp()?;
            socket.bind(&SocketAddr::from((route.from.1, 0)).into())?;
            socket.connect_timeout(&SocketAddr::from((route.to.1, PORT)).into(), PATIENCE)?;
            Ok(socket)
        })?;
        let (accepted, _) = listener.accept().context("no connection arrived")?;
        for end in [&socket, &accepted] {
            end.set_read_timeout(Some(PATIENCE)).context("TCP")?;
            end.set_write_timeout(Some(PATIENCE)).context("TCP")?;
        }
        Ok((socket.into(), accepted.into()))
    };
    (0..streams).map(pair).collect()
}

fn pump(mut stream: &TcpStream, time: Duration) -> io::Result<()> {
    let block = vec![0x5a; BLOCK];
    let begun = Instant::now();
    while begun.elapsed() < time {
        stream.write_all(&block)?;
    }
    stream.shutdown(Shutdown::Write)
}

fn drain(mut stream: &TcpStream, octets: &AtomicU64) -> io::Result<()> {
    let mut block = vec![0; BLOCK];
    loop {
        match stream.read(&mut block)? {
            0 => return Ok(()),
            len => octets.fetch_add(len as u64, Ordering::Relaxed),
        };
    }
}
