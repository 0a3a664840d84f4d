//! The real `swanctl`, of the peer's own strongSwan version, against our control socket.

use crate::bed::Bed;
use crate::failure::{Result, fail};

/// Lists, initiates, terminates and reads statistics.
pub(super) fn swanctl(bed: &Bed<'_>) -> Result<()> {
    let uri = format!("unix://{}", bed.ours.folder.join("vici.sock").display());
    let talk = |words: &[&str], expected: &[&str]| -> Result<()> {
        let words = [&["swanctl"], words, &["--uri", &uri]].concat();
        let text = bed.theirs.container()?.exec(&words)?;
        match expected.iter().find(|part| !text.contains(**part)) {
            Some(missing) => fail!("{words:?} does not print {missing:?}:\n{text}"),
            None => Ok(()),
        }
    };
    talk(
        &["--list-conns"],
        &["tunnel: IKEv2", "192.0.2.1", "192.0.2.2", "ours.test", "theirs.test", "net: TUNNEL", "10.1.0.0/24"],
    )?;
    talk(&["--stats"], &["uptime:", "IKE_SAs: 0 total"])?;
    talk(&["--initiate", "--child", "net"], &["completed successfully"])?;
    let sas = [
        "tunnel: #",
        "ESTABLISHED, IKEv2",
        "ours.test",
        "theirs.test",
        "AES_GCM_16-256/PRF_HMAC_SHA2_384/CURVE_25519",
        "net: #",
        "INSTALLED, TUNNEL",
        "AES_GCM_16-128",
        "10.1.0.0/24",
        "fd00:2::/64",
    ];
    talk(&["--list-sas"], &sas)?;
    talk(&["--stats"], &["IKE_SAs: 1 total, 0 half-open"])?;
    talk(&["--rekey", "--child", "net"], &["completed successfully"])?;
    talk(&["--terminate", "--child", "net"], &["completed successfully"])?;
    talk(&["--initiate", "--child", "net"], &["completed successfully"])?;
    talk(&["--terminate", "--ike", "tunnel"], &["completed successfully"])?;
    if bed.ours.control.list()?.is_empty() { Ok(()) } else { fail!("--terminate left an SA") }
}
