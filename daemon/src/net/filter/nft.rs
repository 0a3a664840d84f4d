//! The program `nft`: rules go in as text, answers come out as JSON.
//!
//! As text, because the crate `nftables`, which writes JSON, knows no counters of set elements, and those are what
//! tells an operator which peers still send in the clear.

use std::io;
use std::process::Stdio;

use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// Where it is looked for: in PATH, then where it is when PATH is an ordinary user's.
const PROGRAMS: [&str; 3] = ["nft", "/usr/sbin/nft", "/sbin/nft"];

/// Why rules are not in place.
#[derive(Debug, thiserror::Error)]
pub enum NftError {
    /// There is no such program.
    #[error("the program `nft` is not installed")]
    Missing,
    /// It says so.
    #[error("nft: {0}")]
    Refused(String),
    /// It can't be run, or what it says can't be read.
    #[error("nft: {0}")]
    Io(#[from] io::Error),
}

/// Carries out a script, all of it or nothing.
pub(super) async fn carry_out(script: &str) -> Result<(), NftError> {
    run(&["-f", "-"], script).await.map(drop)
}

/// The names of all tables of our family.
pub(super) async fn tables() -> Result<Vec<String>, NftError> {
    let output = run(&["list", "tables", "inet"], "").await?;
    let text = String::from_utf8_lossy(&output);
    Ok(text.lines().filter_map(|line| line.trim().strip_prefix("table inet ")).map(str::to_owned).collect())
}

/// All counters of a table, and its named sets with their elements: one object per counter and per set.
pub(super) async fn list(table: &str) -> Result<Vec<Value>, NftError> {
    let mut objects = Vec::new();
    // One thing at a time: nft 1.0.6 loses its way among several of one batch.
    for what in ["counters", "sets"] {
        let output = run(&["-j", "list", what, "table", "inet", table], "").await?;
        let mut answer: Value = serde_json::from_slice(&output).map_err(io::Error::from)?;
        if let Some(Value::Array(found)) = answer.get_mut("nftables").map(Value::take) {
            objects.extend(found);
        }
    }
    Ok(objects)
}

async fn run(arguments: &[&str], input: &str) -> Result<Vec<u8>, NftError> {
    for program in PROGRAMS {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error.into()),
        };
        let stdin = child.stdin.take();
        let feed = async {
            if let Some(mut stdin) = stdin {
                // It stops reading when it does not like what it reads, and then says why.
                let _ = stdin.write_all(input.as_bytes()).await;
            }
        };
        let (output, ()) = tokio::join!(child.wait_with_output(), feed);
        let output = output?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        let text = String::from_utf8_lossy(&output.stderr);
        return Err(NftError::Refused(text.lines().next().unwrap_or("it failed").to_owned()));
    }
    Err(NftError::Missing)
}
