//! The bare forwarder of this package.

use super::{Peer, Tools, cygnet};
use crate::bed::{Bed, Side};
use crate::daemon::Daemon;
use crate::failure::Result;
use crate::forwarder::Cipher;

/// Name of its TUN device.
const DEVICE: &str = "bare";

pub(super) struct Forwarder {
    pub(super) name: &'static str,
    pub(super) cipher: Cipher,
}

impl Forwarder {
    fn cipher(&self) -> &'static str {
        match self.cipher {
            Cipher::Aes128 => "aes128",
            Cipher::Aes256 => "aes256",
            Cipher::None => "none",
        }
    }
}

impl Peer for Forwarder {
    fn name(&self) -> &'static str {
        self.name
    }

    fn look(&self, _: &Tools) -> Result<String> {
        let what = match self.cipher {
            Cipher::Aes128 => "AES-128-GCM",
            Cipher::Aes256 => "AES-256-GCM",
            Cipher::None => "nothing protected",
        };
        Ok(format!("TUN and UDP with all offloads, fixed keys, no IPsec; {what}"))
    }

    fn start(&self, bed: &Bed, _: &Tools) -> Result<Vec<Daemon>> {
        let mut daemons = Vec::new();
        for side in Side::BOTH {
            let mut command = bed.namespace(side).command(&Tools::this()?);
            let [local, remote] = [side, side.other()].map(|side| side.outer().to_string());
            command.args(["forward", "--tun", DEVICE, "--local", &local, "--remote", &remote]);
            command.args(["--cipher", self.cipher()]);
            let mut daemon = Daemon::start(command, &bed.folder(side)?)?;
            daemon.wait_for_device(bed.namespace(side), DEVICE)?;
            bed.route(side, DEVICE, None)?;
            daemons.push(daemon);
        }
        Ok(daemons)
    }

    fn compared_with(&self) -> &'static str {
        if self.cipher == Cipher::Aes256 { cygnet::AES256 } else { super::CYGNET }
    }
}
