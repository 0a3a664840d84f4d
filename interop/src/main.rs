//! Interoperability tests of Cygnet against strongSwan: two network namespaces as hosts, Cygnet on the one, charon
//! in a container or in a guest with a Linux kernel of its own on the other, and scenario folders that say what
//! happens (`interop/scenarios`).
//!
//! `cargo run -p cygnet-interop` runs them all, `-- --list` names them, `-- --filter TEXT` picks some;
//! `cargo everything` runs all other tests too.

mod addresses;
mod axes;
mod bed;
mod capture;
mod configuration;
mod control;
mod datagrams;
mod engine;
mod everything;
mod failure;
mod guest;
mod host;
mod http;
mod ledger;
mod mesh;
mod namespace;
mod network;
mod pki;
mod probes;
mod process;
mod remote;
mod run;
mod scenario;
mod side;
mod step;
mod tally;
mod template;
mod tool;
mod xfrm;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Interoperability tests of Cygnet against strongSwan.
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    options: Options,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Every test of the workspace, unit to interop; installs what they need.
    All,
    /// What the hosts of a case run.
    #[command(subcommand, hide = true)]
    Tool(tool::Tool),
    /// Writes the conformance ledger, `ike/CONFORMANCE.md`, anew.
    Ledger,
}

/// What to run, and how.
#[derive(Debug, Clone, clap::Args)]
struct Options {
    /// Only cases whose name contains this; may be given several times.
    #[arg(long)]
    filter: Vec<String>,
    /// Print the cases' names and end.
    #[arg(long)]
    list: bool,
    /// Cases at a time.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// A test that cannot run is a failure (always so where CI=true).
    #[arg(long)]
    require: bool,
    /// Put strongSwan on both sides: does the test bed itself work?
    #[arg(long)]
    self_check: bool,
    /// Keep the files of all cases, logs and captures, not only of those that fail.
    #[arg(long)]
    keep: bool,
    /// The daemon's binary, instead of building it.
    #[arg(long)]
    daemon: Option<PathBuf>,
}

fn main() -> ExitCode {
    let Cli { command, mut options } = Cli::parse();
    options.require |= std::env::var("CI").is_ok_and(|ci| ci == "true");
    let tally = match command {
        Some(Command::All) => everything::run(&options),
        Some(Command::Tool(tool)) => return tool::run(tool),
        Some(Command::Ledger) => ledger::write().map(|()| None),
        None => run::interop(&options),
    };
    match tally {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(tally)) => {
            println!("{tally}");
            if tally.is_good(&options) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(cause) => {
            eprintln!("{cause}");
            ExitCode::FAILURE
        }
    }
}
