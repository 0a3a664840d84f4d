//! Every test of the workspace behind one command.

use std::process::Command;

use crate::Options;
use crate::failure::{Context, Result};
use crate::run::{self, Tally, echo};

/// Runs the workspace's own tests, then the interoperability tests; the tally counts both.
pub(crate) fn run(options: &Options) -> Result<Option<Tally>> {
    let mut tally = Tally::default();
    let mut cargo = Command::new(run::cargo());
    let status = echo(cargo.args(["test", "--workspace", "--no-fail-fast"]), |line| {
        if let Some(counts) = line.strip_prefix("test result: ") {
            tally += Tally::from_counts(counts);
        }
    })
    .context("cargo test")?;
    if !status.success() && tally.failed == 0 {
        // A test that does not compile, or one that aborted, is in no count.
        tally.failed = 1;
    }
    tally += run::interop(options)?.unwrap_or_default();
    Ok(Some(tally))
}
