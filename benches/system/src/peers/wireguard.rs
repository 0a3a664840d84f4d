//! WireGuard in userspace. All are configured through their own sockets (`wg` is not needed).

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use x25519_dalek::{PublicKey, StaticSecret};

use super::tools::line_of;
use super::{Peer, Tools};
use crate::bed::{Bed, Side};
use crate::daemon::Daemon;
use crate::failure::{Context, Failure, Result};

/// Of the TUN device: what all of them recommend for Ethernet, good for IPv6 too.
const MTU: u16 = 1420;
const PORT: u16 = 51820;
/// How long the daemon may take until it listens.
const PATIENCE: Duration = Duration::from_secs(10);

/// Which one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WireGuard {
    Go,
    BoringTun,
    GotaTun,
}

impl WireGuard {
    fn program(self, tools: &Tools) -> Result<PathBuf> {
        match self {
            Self::Go => tools.find("wireguard-go", "Debian: apt-get install wireguard-go, from trixie on"),
            Self::BoringTun => tools.find("boringtun-cli", "cargo install boringtun-cli"),
            Self::GotaTun => tools.find("gotatun", "cargo install gotatun-cli"),
        }
    }

    /// In the foreground, without giving up the right to read packets.
    fn options(self) -> &'static [&'static str] {
        match self {
            Self::Go => &["--foreground"],
            Self::BoringTun => &["--foreground", "--disable-drop-privileges"],
            Self::GotaTun => &["--foreground", "--disable-drop-privileges"],
        }
    }
}

impl Peer for WireGuard {
    fn name(&self) -> &'static str {
        match self {
            Self::Go => "wireguard-go",
            Self::BoringTun => "boringtun",
            Self::GotaTun => "gotatun",
        }
    }

    fn look(&self, tools: &Tools) -> Result<String> {
        let program = self.program(tools)?;
        let mut text = line_of(Command::new(&program).arg("--version"), self.name());
        if *self == Self::Go {
            // Releases since 2023 read and write several packets per call; their own version often lags behind. The
            // names of functions stay in a Go binary.
            let code = fs::read(&program).context(program.display())?;
            let name = b"splitCoalescedMessages";
            let offload = code.windows(name.len()).any(|window| window == name);
            text += if offload { ", with TUN and UDP offload" } else { ", an old one WITHOUT OFFLOAD" };
        }
        Ok(text)
    }

    fn start(&self, bed: &Bed, tools: &Tools) -> Result<Vec<Daemon>> {
        let program = self.program(tools)?;
        let mut daemons = Vec::new();
        for side in Side::BOTH {
            // Their sockets have the device's name, in one folder for all namespaces and benchmarks.
            let device = format!("wg{}-{}", std::process::id(), side.letter());
            let mut command = bed.namespace(side).command(&program);
            command.args(self.options()).arg(&device).env("LOG_LEVEL", "error").env("WG_LOG_LEVEL", "error");
            let mut daemon = Daemon::start(command, &bed.folder(side)?)?;
            let begun = Instant::now();
            while let Err(error) = configure(side, &device) {
                daemon.check()?;
                if begun.elapsed() > PATIENCE {
                    return Err(error);
                }
                thread::sleep(Duration::from_millis(50));
            }
            bed.route(side, &device, Some(MTU))?;
            daemons.push(daemon);
        }
        Ok(daemons)
    }
}

/// The key of one side: any 32 octets are one (RFC 7748 §5).
fn key(side: Side) -> StaticSecret {
    StaticSecret::from([side.number(); 32])
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// Sets keys and peer (www.wireguard.com/xplatform).
fn configure(side: Side, device: &str) -> Result<()> {
    let other = side.other();
    let request = format!(
        "set=1\nprivate_key={}\nlisten_port={PORT}\nreplace_peers=true\npublic_key={}\nendpoint={}:{PORT}\n\
         replace_allowed_ips=true\nallowed_ip={}/32\n\n",
        hex(&key(side).to_bytes()),
        hex(PublicKey::from(&key(other)).as_bytes()),
        other.outer(),
        other.inner(),
    );
    let path = Path::new("/var/run/wireguard").join(format!("{device}.sock"));
    let mut stream = UnixStream::connect(&path).context(path.display())?;
    stream.set_read_timeout(Some(PATIENCE)).context(path.display())?;
    stream.write_all(request.as_bytes()).context(path.display())?;
    let mut answer = Vec::new();
    let mut block = [0; 256];
    while !answer.ends_with(b"\n\n") {
        match stream.read(&mut block).context(path.display())? {
            0 => break,
            len => answer.extend_from_slice(block.get(..len).unwrap_or_default()),
        }
    }
    let answer = String::from_utf8_lossy(&answer);
    if answer.contains("errno=0") { Ok(()) } else { Err(Failure(format!("{}: {answer:?}", path.display()))) }
}
