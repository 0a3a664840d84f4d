//! What the hosts of a case run: servers and clients of traffic, and the two ends of [`crate::remote`].

use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;

use clap::Subcommand;

use crate::failure::Result;
use crate::{datagrams, http, mesh, probes, remote};

/// A program of a host.
#[derive(Debug, Subcommand)]
pub(crate) enum Tool {
    /// Runs programs for clients.
    Agent { address: SocketAddr },
    /// Has a program run by the agent at `address`.
    Remote {
        address: SocketAddr,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
    /// Serves one HTTP request.
    Serve { address: SocketAddr, size: usize },
    /// Downloads and compares checksums.
    Download { server: SocketAddr },
    /// Uploads and compares checksums.
    Upload { server: SocketAddr, size: usize },
    /// Sends datagrams back where they came from.
    Echo { address: SocketAddr },
    /// Sends back what comes on TCP connections, block by block.
    EchoBlocks { address: SocketAddr },
    /// Sends datagrams of these sizes to an echo and compares what comes back.
    Datagrams { from: IpAddr, echo: SocketAddr, sizes: Vec<usize> },
    /// Sends small datagrams to an echo, without end, and misses none of them.
    Probe { from: IpAddr, echo: SocketAddr },
}

/// Runs a program of a host.
pub(crate) fn run(tool: Tool) -> ExitCode {
    match perform(tool) {
        Ok(code) => ExitCode::from(code),
        Err(cause) => {
            eprintln!("{cause}");
            ExitCode::FAILURE
        }
    }
}

fn perform(tool: Tool) -> Result<u8> {
    match tool {
        Tool::Agent { address } => remote::agent(address)?,
        // Exit statuses are octets.
        Tool::Remote { address, words } => return remote::client(address, &words).map(|code| code as u8),
        Tool::Serve { address, size } => http::serve(address, size)?,
        Tool::Download { server } => http::download(server).map(drop)?,
        Tool::Upload { server, size } => http::upload(server, size)?,
        Tool::Echo { address } => datagrams::echo(address)?,
        Tool::EchoBlocks { address } => mesh::echo(address)?,
        Tool::Datagrams { from, echo, sizes } => datagrams::compare(from, echo, &sizes)?,
        Tool::Probe { from, echo } => probes::probe(from, echo)?,
    }
    Ok(0)
}
