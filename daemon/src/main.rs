//! The `cygnet` command.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    cygnet::cli::Cli::parse().execute()
}
