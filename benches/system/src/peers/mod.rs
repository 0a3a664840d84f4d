//! What is measured: Cygnet, its peers, and the limits on both sides of them.

mod cygnet;
mod forwarder;
mod strongswan;
mod tools;
mod veth;
mod wireguard;

use std::net::Ipv4Addr;

pub(crate) use self::tools::Tools;

use crate::bed::{Bed, Side};
use crate::daemon::Daemon;
use crate::failure::Result;
use crate::forwarder::Cipher;

/// Something that carries packets between the hosts.
pub(crate) trait Peer {
    /// As the tables and `--only` name it.
    fn name(&self) -> &'static str;

    /// What exactly it is: program, version, algorithms.
    ///
    /// # Errors
    /// Why it can't be run here, and what to install.
    fn look(&self, tools: &Tools) -> Result<String>;

    /// Starts it on both sides.
    fn start(&self, bed: &Bed, tools: &Tools) -> Result<Vec<Daemon>>;

    /// The addresses between which it is measured.
    fn address(&self) -> fn(Side) -> Ipv4Addr {
        Side::inner
    }

    /// The kind of Cygnet that it is compared with.
    fn compared_with(&self) -> &'static str {
        CYGNET
    }
}

/// Cygnet as most run it.
pub(crate) const CYGNET: &str = "cygnet";

/// All of them, in the order in which they take turns: neighbours are compared.
pub(crate) fn all() -> Vec<Box<dyn Peer>> {
    use self::cygnet::Cygnet;
    use self::forwarder::Forwarder;
    use self::strongswan::StrongSwan;
    use self::wireguard::WireGuard;
    vec![
        Box::new(veth::Veth),
        Box::new(Forwarder { name: "forwarder, no crypto", cipher: Cipher::None }),
        Box::new(Forwarder { name: "forwarder", cipher: Cipher::Aes128 }),
        Box::new(Cygnet { name: CYGNET, esp: "aes128gcm16", raw: false, workers: None }),
        Box::new(Cygnet { name: cygnet::SINGLE, esp: "aes128gcm16", raw: false, workers: Some(1) }),
        Box::new(Cygnet { name: cygnet::AES256, esp: "aes256gcm16", raw: false, workers: None }),
        Box::new(Forwarder { name: "forwarder aes256", cipher: Cipher::Aes256 }),
        Box::new(WireGuard::Go),
        Box::new(WireGuard::GotaTun),
        Box::new(WireGuard::BoringTun),
        Box::new(StrongSwan { name: "strongswan", raw: false }),
        Box::new(Cygnet { name: cygnet::RAW, esp: "aes128gcm16", raw: true, workers: None }),
        Box::new(StrongSwan { name: "strongswan raw", raw: true }),
    ]
}
