//! The independent reader: tshark computes every checksum anew.

use std::path::Path;
use std::time::Duration;

use super::packet::{TCP, UDP};
use super::plan::Checksum;
use crate::failure::{Result, fail};
use crate::process::{self, command};

/// IPv6 fragment header (RFC 8200 §4.5).
const FRAGMENT: u8 = 44;
const MINUTES: Duration = Duration::from_secs(300);

/// What the reader must find in a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Verdict {
    v4: bool,
    /// The protocol whose checksum it shows.
    protocol: Option<u8>,
    /// That checksum's state.
    checksum: Checksum,
}

impl Verdict {
    /// Of an IP packet that is known to be as it should, with this checksum. Of fragments, the last one shows it.
    pub(super) fn of(packet: &[u8], checksum: Checksum) -> Self {
        let v4 = packet[0] >> 4 == 4;
        let (mut next, mut at) = if v4 { (packet[9], 0) } else { (packet[6], 40) };
        while !v4 && matches!(next, 0 | 60) {
            (next, at) = (packet[at], at + 8 + usize::from(packet[at + 1]) * 8);
        }
        let more = match (v4, next) {
            (true, _) => packet[6] & 0x20 != 0,
            (false, FRAGMENT) => {
                next = packet[at];
                packet[at + 3] & 1 != 0
            }
            _ => false,
        };
        Self { v4, protocol: (!more).then_some(next), checksum }
    }

    /// Whether a line of tshark says so: states of the checksums of IPv4, TCP and UDP.
    fn is(self, line: &str) -> bool {
        let mut fields = line.split('\t');
        let mut field = || fields.next().unwrap_or_default();
        let (ip, tcp, udp) = (field(), field(), field());
        let state = |protocol: u8| if self.protocol == Some(protocol) { said(self.checksum) } else { "" };
        ip == if self.v4 { said(Checksum::Good) } else { "" } && tcp == state(TCP) && udp == state(UDP)
    }
}

/// How tshark says it.
fn said(checksum: Checksum) -> &'static str {
    match checksum {
        Checksum::Bad => "0",
        Checksum::Good => "1",
        Checksum::None => "3",
    }
}

/// Has tshark read `file`, whose packets must be as `verdicts` say.
pub(super) fn check(file: &Path, verdicts: &[Verdict]) -> Result<()> {
    let path = file.to_string_lossy();
    let mut words = vec!["tshark", "-n", "-r", &path, "-T", "fields"];
    // The payload is nothing that it could know.
    words.extend(["-d", "tcp.port==54321,echo", "-d", "udp.port==54321,echo"]);
    let options = [
        "ip.check_checksum:TRUE",
        "tcp.check_checksum:TRUE",
        "udp.check_checksum:TRUE",
        "ip.defragment:TRUE",
        "ipv6.defragment:TRUE",
        "tcp.analyze_sequence_numbers:FALSE",
        "tcp.desegment_tcp_streams:FALSE",
    ];
    words.extend(options.iter().flat_map(|option| ["-o", option]));
    words.extend(FIELDS.iter().flat_map(|field| ["-e", field]));
    let text = process::run(&mut command(&words), MINUTES)?;
    let lines = text.lines().count();
    if lines != verdicts.len() {
        fail!("tshark read {lines} packets, {} arrived", verdicts.len());
    }
    let mut all = text.lines().zip(verdicts).enumerate();
    match all.find(|(_, (line, verdict))| !verdict.is(line)) {
        None => Ok(()),
        Some((n, (line, verdict))) => {
            fail!("packet {} of {path}: tshark says {line:?} of its checksums, not {verdict:?}", n + 1)
        }
    }
}

const FIELDS: [&str; 3] = ["ip.checksum.status", "tcp.checksum.status", "udp.checksum.status"];
