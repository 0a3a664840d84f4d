//! Every test of the workspace behind one command.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::Options;
use crate::failure::{Context, Result};
use crate::host;
use crate::process;
use crate::run::{self, echo};
use crate::tally::Tally;

/// The demonstration promises less than a minute; a busy machine gets more.
const DEMO: Duration = Duration::from_secs(180);

/// Runs the workspace's own tests, the instruction counts, the demonstration and the interoperability tests; the tally
/// counts all of them.
pub(crate) fn run(options: &Options) -> Result<Option<Tally>> {
    if options.list {
        return run::interop(options);
    }
    // Some of the workspace's own tests use these programs too; what is missing is said where it counts.
    if host::is_root()
        && let Err(cause) = host::prepare().and(host::prepare_counting())
    {
        println!("{cause}");
    }
    let mut tally = own_tests()?;
    tally += instructions()?;
    let daemon = options.daemon.clone().map_or_else(run::build, Ok)?;
    for how in ["--psk", "--cert"] {
        let start = Instant::now();
        let finished = process::finish(Command::new(&daemon).args(["demo", how]), DEMO);
        let seconds = start.elapsed().as_secs_f32();
        match finished {
            Ok(finished) if finished.status.success() => {
                println!("pass  demo {how}  {seconds:.1} s");
                tally.passed += 1;
            }
            other => {
                println!("FAIL  demo {how}  {seconds:.1} s");
                println!("{}", other.map_or_else(|cause| cause.to_string(), |finished| finished.text));
                tally.failed += 1;
            }
        }
    }
    tally += run::interop(&Options { daemon: Some(daemon), ..options.clone() })?.unwrap_or_default();
    Ok(Some(tally))
}

fn own_tests() -> Result<Tally> {
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
    Ok(tally)
}

/// Compares instructions per packet with their record. That is one test; without valgrind it fails, and says so.
fn instructions() -> Result<Tally> {
    let mut cargo = Command::new(run::cargo());
    let status = echo(cargo.args(["bench", "-p", "cygnet-benches", "--bench", "instructions"]), |_| {});
    let passed = status.context("cargo bench")?.success();
    println!("{}  instructions per packet", if passed { "pass" } else { "FAIL" });
    Ok(Tally { passed: passed.into(), failed: (!passed).into(), skipped: 0 })
}
