//! Captures of the outer link: what was on it, and that nothing was on it in the clear.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::failure::{Context, Result, fail};
use crate::namespace::Namespace;
use crate::process::{self, Process, until};

/// Everything but IKE, ESP, neighbour discovery and multicast membership, and the "no such protocol" by which Linux
/// answers ESP while a raw socket's queue is full, which quotes ESP. A non-first fragment has no port: it is shown.
const PLAINTEXT: &str = "not (udp port 500 or udp port 4500 or ip proto 50 or ip6 proto 50 or arp \
     or (icmp6 and ip6[40] >= 133 and ip6[40] <= 137) or ip6 host ff02::16 \
     or (icmp[0] = 3 and icmp[1] = 2 and icmp[17] = 50) or (icmp6 and ip6[40] = 4 and ip6[54] = 50))";
/// Any fragment: what it is a fragment of is seen once all of them are there.
const FRAGMENT: &str = "(ip[6:2] & 0x3fff != 0) or (ip6 and ip6[6] = 44)";
/// What is not plaintext: IKE and ESP once they are whole, and the fragments that became a whole packet. Those of
/// protocol 50 are ESP even if some of them were lost; so is what an ICMP error quotes of it. A complaint that fragments
/// did not become whole in time is none either: it comes a minute later, when the host is another case's.
const PROTECTED: &str = "udp.port == 500 || udp.port == 4500 || ip.proto == 50 || ipv6.nxt == 50 \
     || ipv6.fraghdr.nxt == 50 || ip.reassembled_in || ipv6.reassembled.in \
     || (icmp.type == 11 && icmp.code == 1) || (icmpv6.type == 3 && icmpv6.code == 1)";
/// A capture file's header, octets: one that is no longer holds no packet.
const EMPTY: u64 = 24;

/// Octets of each packet that are kept, as many as a link carries; what was left to be segmented is longer. Each place
/// in the capture's ring has so many.
const SNAPLEN: &str = "2000";

/// A running tcpdump.
#[derive(Debug)]
pub(crate) struct Capture {
    tcpdump: Process,
    file: PathBuf,
    log: PathBuf,
}

impl Capture {
    /// Writes the first `packets` packets to `file`.
    pub(crate) fn first(namespace: &Namespace, file: &Path, packets: usize) -> Result<Self> {
        Self::start(namespace, "outer", file, &["-s", SNAPLEN, "-c", &packets.to_string()])
    }

    /// Writes every packet that should not be there to `file`.
    pub(crate) fn plaintext(namespace: &Namespace, file: &Path) -> Result<Self> {
        Self::start(namespace, "outer", file, &["-s", SNAPLEN, &format!("{PLAINTEXT} or {FRAGMENT}")])
    }

    /// Writes the heads of all packets of `link` to `file`.
    pub(crate) fn sizes(namespace: &Namespace, link: &str, file: &Path) -> Result<Self> {
        Self::start(namespace, link, file, &["-s", "64"])
    }

    fn start(namespace: &Namespace, link: &str, file: &Path, words: &[&str]) -> Result<Self> {
        let log = file.with_extension("log");
        let path = file.to_string_lossy();
        // -Z root: tcpdump would otherwise write as a user who may not reach the folder. Without immediate mode the
        // kernel hands packets over a second late, and not at all those of the last second.
        let base = ["tcpdump", "-i", link, "-n", "-U", "--immediate-mode", "-B", "65536", "-Z", "root", "-w", &path];
        let tcpdump = Process::logged(&mut namespace.command(&[&base[..], words].concat()), &log)?;
        until("tcpdump's start", Duration::from_secs(10), || {
            fs::read_to_string(&log).is_ok_and(|text| text.contains("listening on")).then_some(())
        })?;
        Ok(Self { tcpdump, file: file.to_owned(), log })
    }

    /// Its file, growing while it runs.
    pub(crate) fn file(&self) -> &Path {
        &self.file
    }

    /// Ends the capture; gives the file.
    ///
    /// # Errors
    /// When packets were lost to the capture, since then it proves nothing.
    pub(crate) fn finish(mut self) -> Result<PathBuf> {
        if self.tcpdump.is_running() {
            // What has just passed is still on its way to the file.
            thread::sleep(Duration::from_millis(100));
            self.tcpdump.stop(Duration::from_secs(5))?;
        }
        let log = fs::read_to_string(&self.log).context("tcpdump's log")?;
        if !log.contains("\n0 packets dropped by kernel") {
            fail!("the capture lost packets:\n{log}");
        }
        Ok(self.file)
    }
}

/// Fails if a capture of plaintext holds any; fragments of what is protected are none.
pub(crate) fn must_be_empty(file: &Path) -> Result<()> {
    if fs::metadata(file).context("capture")?.len() == EMPTY {
        return Ok(());
    }
    let shown = process::sh(&["tshark", "-n", "-2", "-r", &file.to_string_lossy(), "-Y", &format!("!({PROTECTED})")])?;
    match shown.lines().count() {
        0 => Ok(()),
        count => {
            fail!("{count} packets of plaintext on the outer link:\n{}", shown.lines().take(5).collect::<String>())
        }
    }
}

/// The UDP payloads of a capture of Ethernet frames with IPv4: destination port and octets.
pub(crate) fn udp_payloads(file: &Path) -> Result<Vec<(u16, Vec<u8>)>> {
    let bytes = fs::read(file).context(file.display())?;
    Ok(frames(&bytes)?.into_iter().filter_map(|frame| udp_payload(frame.octets)).collect())
}

/// When the packets of a capture were seen, in seconds of the host's clock, and how long they were, in octets.
pub(crate) fn seen(file: &Path) -> Result<Vec<(f64, usize)>> {
    let bytes = fs::read(file).context(file.display())?;
    Ok(frames(&bytes)?.into_iter().map(|frame| (frame.time, frame.length)).collect())
}

struct Frame<'a> {
    /// Seconds.
    time: f64,
    /// Octets on the link; the capture may hold fewer.
    length: usize,
    octets: &'a [u8],
}

/// The frames of a capture file that are in it to their end.
fn frames(bytes: &[u8]) -> Result<Vec<Frame<'_>>> {
    let mut rest = bytes.get(24..).context("a capture file without header")?;
    let mut frames = Vec::new();
    while let Some((header, after)) = rest.split_at_checked(16) {
        let field = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let Some((octets, after)) = after.split_at_checked(field(8) as usize) else { break };
        let time = f64::from(field(0)) + f64::from(field(4)) / 1e6;
        frames.push(Frame { time, length: field(12) as usize, octets });
        rest = after;
    }
    Ok(frames)
}

fn udp_payload(frame: &[u8]) -> Option<(u16, Vec<u8>)> {
    let packet = frame.get(12..)?.strip_prefix(&[0x08, 0x00])?;
    let header = usize::from(packet.first()? & 15) * 4;
    let udp = packet.get(header..).filter(|_| packet[9] == 17)?;
    let length = usize::from(u16::from_be_bytes([*udp.get(4)?, *udp.get(5)?]));
    Some((u16::from_be_bytes([udp[2], udp[3]]), udp.get(8..length)?.to_vec()))
}

/// Runs tshark over `file` with the keys in `keys` (a folder that serves as Wireshark's configuration); gives one
/// line per packet that `filter` matches, with `fields` separated by tabs.
pub(crate) fn decrypted(file: &Path, keys: &Path, filter: &str, fields: &[&str]) -> Result<Vec<String>> {
    let path = file.to_string_lossy();
    let mut words =
        vec!["tshark", "-n", "-r", &path, "-o", "esp.enable_encryption_decode:TRUE", "-Y", filter, "-T", "fields"];
    words.extend(fields.iter().flat_map(|field| ["-e", field]));
    let mut command = process::command(&words);
    command.env("WIRESHARK_CONFIG_DIR", keys);
    let text = process::run(&mut command, Duration::from_secs(60))?;
    Ok(text.lines().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_udp_payloads_in_frames() {
        let mut frame = vec![0; 12];
        frame.extend([0x08, 0x00, 0x45, 0, 0, 33, 0, 0, 0, 0, 64, 17, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]);
        frame.extend([0x01, 0xf4, 0x11, 0x94, 0, 13, 0, 0]);
        frame.extend(b"hello, padding");
        assert_eq!(udp_payload(&frame), Some((4500, b"hello".to_vec())));
        frame[23] = 6;
        assert_eq!(udp_payload(&frame), None);
        assert_eq!(udp_payload(&frame[..20]), None);
    }
}
