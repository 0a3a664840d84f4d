//! `cygnet demo`: two hosts, a negotiation, and traffic through the tunnel, with nothing configured and nothing left
//! behind.
//!
//! ```text
//!   host a                        wire (veth)                        host b
//!   10.77.1.1 ─ cygnet0 ─ 192.0.2.1 ═══════ ESP ═══════ 192.0.2.2 ─ cygnet0 ─ 10.77.2.1
//! ```
//!
//! Each host is this program again, in a network namespace of its own (`stage.rs`): as root directly, as an ordinary
//! user inside a user namespace. Namespaces, links, routes and TUN devices live as long as those two processes, and
//! these as long as ours: whatever ends the demonstration, the kernel cleans up. Where no namespace is to be had,
//! both hosts are threads of one process and the packets are made up (`memory.rs`).

mod host;
mod measure;
mod memory;
mod report;
mod setup;
mod stage;

use std::process::ExitCode;

pub use self::host::Side;

/// Why there was no demonstration.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct DemoError(String);

impl DemoError {
    fn new(what: &str, error: impl std::fmt::Display) -> Self {
        Self(format!("{what}: {error}"))
    }
}

/// Shows everything, with certificates or a pre-shared key. Blocks for some ten seconds.
///
/// # Errors
/// In words: what did not work.
pub fn run(cert: bool) -> Result<(), DemoError> {
    let proof = if cert { "ECDSA P-256 certificates of a CA made for this run" } else { "a random pre-shared key" };
    println!("Cygnet demonstration: two hosts, authenticated by {proof}");
    let secrets = setup::Secrets::generate(cert)?;
    match stage::run(&secrets)? {
        stage::Outcome::Done => Ok(()),
        stage::Outcome::Unavailable => {
            println!("So no hosts of their own: both endpoints run in this process, without TUN, sockets or kernel.");
            memory::run(&secrets)
        }
    }
}

/// The hidden command that [`run`] starts this program with: being one of the hosts.
pub fn host(side: Side) -> ExitCode {
    stage::be(side)
}
