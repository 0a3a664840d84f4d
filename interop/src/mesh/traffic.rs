//! TCP and ping that go on all the time, and what became of them.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::node::Node;
use crate::failure::{Context, Failure, Result, fail};
use crate::process::Process;

/// Octets of a request, and of its echo.
const BLOCK: usize = 4096;
/// Between one echo and the next request.
const PAUSE: Duration = Duration::from_millis(10);
/// What a connection waits for an echo before it counts as broken.
const PATIENCE: Duration = Duration::from_secs(15);
/// TCP port of the echo.
pub(super) const PORT: u16 = 7000;

/// Echoes on a node until the harness ends or its network goes.
pub(super) fn echo_on(node: &Node) -> Result<()> {
    let address = SocketAddr::new(node.address(), PORT);
    let listener = node.namespace.run(move || TcpListener::bind(address).context(address))?;
    node.namespace.spawn(move || serve_all(&listener)).map(drop)
}

/// Echoes at `address` for ever.
pub(crate) fn echo(address: SocketAddr) -> Result<()> {
    serve_all(&TcpListener::bind(address).context(address)?)
}

fn serve_all(listener: &TcpListener) -> Result<()> {
    for stream in listener.incoming() {
        let stream = stream.context("accept")?;
        thread::spawn(move || serve(stream));
    }
    Ok(())
}

fn serve(mut stream: TcpStream) {
    let mut block = [0; BLOCK];
    while stream.read_exact(&mut block).is_ok() && stream.write_all(&block).is_ok() {}
}

/// One TCP connection on which blocks go to and fro without end.
#[derive(Debug)]
pub(super) struct Stream {
    name: String,
    stop: Arc<AtomicBool>,
    work: JoinHandle<Result<Account>>,
}

/// What became of a connection.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Account {
    /// Blocks that came back.
    pub(super) blocks: u64,
    /// The longest that one took.
    pub(super) longest: Duration,
}

impl Stream {
    /// Connects `from` to the echo at `to`.
    pub(super) fn start(from: &Node, to: SocketAddr) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let work = from.namespace.spawn(move || {
            let mut stream = TcpStream::connect_timeout(&to, PATIENCE).context(format!("connect to {to}"))?;
            stream.set_nodelay(true).context("nodelay")?;
            stream.set_read_timeout(Some(PATIENCE)).context("timeout")?;
            let (mut account, mut sent, mut back) = (Account::default(), [0; BLOCK], [0; BLOCK]);
            while !stopped.load(Ordering::Relaxed) {
                sent[..8].copy_from_slice(&account.blocks.to_be_bytes());
                let start = Instant::now();
                stream.write_all(&sent).context("TCP broke")?;
                stream.read_exact(&mut back).context("TCP broke")?;
                if sent != back {
                    fail!("an echo differs from its request");
                }
                account.longest = account.longest.max(start.elapsed());
                account.blocks += 1;
                thread::sleep(PAUSE);
            }
            Ok(account)
        })?;
        Ok(Self { name: format!("{} -> {to}", from.address()), stop, work })
    }

    /// Ends it.
    ///
    /// # Errors
    /// When the connection broke at any time.
    pub(super) fn finish(self) -> Result<(String, Account)> {
        self.stop.store(true, Ordering::Relaxed);
        let account = self.work.join().map_err(|_| Failure::new("a TCP client panicked"))?;
        Ok((self.name.clone(), account.context(&self.name)?))
    }
}

/// A ping that goes on, 50 ms apart.
#[derive(Debug)]
pub(super) struct Pinging {
    process: Process,
    log: PathBuf,
}

/// What became of a ping.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pinged {
    /// Requests.
    pub(super) sent: u64,
    /// Replies.
    pub(super) received: u64,
}

impl Pinging {
    /// Pings `to` from `from`; `folder` takes the log.
    pub(super) fn start(from: &Node, to: std::net::IpAddr, folder: &Path) -> Result<Self> {
        let log = folder.join(format!("ping-{}-{to}.log", from.number));
        let words = ["ping", "-n", "-q", "-i", "0.05", &to.to_string()];
        Ok(Self { process: Process::logged(&mut from.namespace.command(&words), &log)?, log })
    }

    /// Ends it.
    pub(super) fn finish(mut self) -> Result<Pinged> {
        self.process.signal(Signal::SIGINT)?;
        self.process.wait(Duration::from_secs(5))?;
        let text = fs::read_to_string(&self.log).context(self.log.display())?;
        pinged(&text).context(format!("no summary of ping:\n{text}"))
    }
}

/// Reads `123 packets transmitted, 120 received, …`.
fn pinged(text: &str) -> Option<Pinged> {
    let line = text.lines().find(|line| line.contains("packets transmitted"))?;
    let mut numbers = line.split(',').filter_map(|part| part.split_whitespace().next()?.parse().ok());
    Some(Pinged { sent: numbers.next()?, received: numbers.next()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_pings_summary() {
        let text =
            "PING x\n\n--- x ping statistics ---\n123 packets transmitted, 120 received, 2% packet loss, time 5ms\n";
        let pinged = pinged(text).expect("a summary");
        assert_eq!((pinged.sent, pinged.received), (123, 120));
    }
}
