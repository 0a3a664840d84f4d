//! Cygnet measured beside other userspace tunnels, on one machine: in turn, round by round, so that what disturbs a
//! round disturbs neighbours alike.
//!
//! | file | holds |
//! |---|---|
//! | `bed.rs` | two network namespaces and the link between them |
//! | `daemon.rs` | a peer's process: its processor time and memory |
//! | `peers/` | how each peer is found, started and configured |
//! | `forwarder/` | the limit: everything but IPsec |
//! | `load/`, `mmsg.rs` | traffic |
//! | `turn.rs`, `metric.rs` | the tests of one peer's turn, and their values |
//! | `report.rs`, `plot.rs` | tables, JSON, SVG |

mod bed;
mod daemon;
mod failure;
mod forwarder;
mod load;
mod machine;
mod metric;
mod mmsg;
mod peers;
mod plot;
mod report;
mod turn;

use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use clap::{Parser, Subcommand};
use nix::sys::signal::{SigSet, Signal};

use self::failure::{Context, Failure, Result};
use self::machine::Machine;
use self::metric::Metric;
use self::peers::{Peer, Tools};
use self::report::{Line, Report, number};
use self::turn::{Plan, Test};

/// Measures Cygnet beside other userspace tunnels, between two network namespaces. Needs root and iproute2.
///
/// Peers, where they are installed: strongSwan with kernel-libipsec (Debian: charon-systemd strongswan-swanctl
/// libcharon-extra-plugins libstrongswan-standard-plugins), wireguard-go (Debian, from trixie on), boringtun (cargo
/// install boringtun-cli), gotatun (cargo install gotatun-cli). What is not installed is named as not run.
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    part: Option<Part>,
    /// How often every peer has its turn.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Length of each transfer.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Only these peers (a name, or its beginning and `*`); `list` lists them.
    #[arg(long, value_delimiter = ',', value_name = "PEER")]
    only: Vec<String>,
    /// Only these tests.
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["tcp1", "tcp4", "udp", "ping", "load"])]
    tests: Vec<Test>,
    /// Where to look for peers' programs before the usual folders.
    #[arg(long, global = true, value_delimiter = ',', value_name = "FOLDER")]
    path: Vec<PathBuf>,
    /// The daemon to measure; without, that of this workspace is built.
    #[arg(long, global = true, value_name = "FILE")]
    cygnet: Option<PathBuf>,
    /// A root file system with strongSwan 6, for raw ESP where the system has 5.9 (mmdebstrap --include=charon-systemd,…
    /// trixie FOLDER).
    #[arg(long, global = true, value_name = "FOLDER")]
    strongswan_root: Option<PathBuf>,
    /// Draw the medians.
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    /// Write every round's values.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Part {
    /// The bare forwarder: one end of it.
    #[command(hide = true)]
    Forward(forwarder::Forward),
    /// Lists the peers, and which can be run.
    List,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match &cli.part {
        Some(Part::Forward(forward)) => forward.run(),
        Some(Part::List) => {
            cli.list();
            Ok(())
        }
        None => cli.measure(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

impl Cli {
    fn tools(&self) -> Tools {
        Tools::new(&self.path, self.cygnet.clone()).with_strongswan_root(self.strongswan_root.clone())
    }

    /// # Errors
    /// For a name that no peer has.
    fn wanted(&self) -> Result<Vec<Box<dyn Peer>>> {
        let is = |pattern: &str, peer: &dyn Peer| match pattern.strip_suffix('*') {
            Some(beginning) => peer.name().starts_with(beginning),
            None => peer.name() == pattern,
        };
        let mut peers = peers::all();
        if let Some(nobody) = self.only.iter().find(|pattern| !peers.iter().any(|peer| is(pattern, &**peer))) {
            return Err(Failure(format!("--only {nobody}: there is no such peer (see `list`)")));
        }
        if !self.only.is_empty() {
            peers.retain(|peer| self.only.iter().any(|pattern| is(pattern, &**peer)));
        }
        Ok(peers)
    }

    fn list(&self) {
        let tools = self.tools();
        for peer in peers::all() {
            match peer.look(&tools) {
                Ok(about) => println!("{:22}{about}", peer.name()),
                Err(why) => println!("{:22}not to be run: {why}", peer.name()),
            }
        }
    }

    fn measure(&self) -> Result<()> {
        if !nix::unistd::geteuid().is_root() {
            return Err(Failure("network namespaces and TUN devices need root".to_owned()));
        }
        if cfg!(debug_assertions) {
            return Err(Failure("without optimisation there is nothing to learn: cargo run --release".to_owned()));
        }
        let wanted = self.wanted()?;
        let machine = Machine::look();
        let tools = self.tools();
        tidy_up_when_told_to_end()?;
        bed::sweep();
        println!("{machine}\n");
        let mut report = Report { machine, seconds: self.seconds, lines: Vec::new(), not_run: Vec::new() };
        let mut runners = Vec::new();
        for peer in wanted {
            let (name, compared_with) = (peer.name(), peer.compared_with());
            match peer.look(&tools) {
                Ok(about) => {
                    report.lines.push(Line { name, about, compared_with, turns: Vec::new() });
                    runners.push(peer);
                }
                Err(why) => report.not_run.push((name, why.to_string())),
            }
        }
        if runners.is_empty() {
            return Err(Failure("there is nothing to measure (see `list`)".to_owned()));
        }
        let plan = Plan { tests: self.tests.clone(), time: Duration::from_secs_f64(self.seconds) };
        for round in 1..=self.rounds {
            for (peer, line) in runners.iter().zip(&mut report.lines) {
                let (turn, failures) = turn::take(&**peer, &tools, &plan);
                let values = Metric::ALL.iter().filter_map(|metric| {
                    let [what, unit] = metric.head();
                    Some(format!("{what} {} {unit}", number(turn.value(*metric)?)))
                });
                println!("round {round}, {}: {}", line.name, values.collect::<Vec<_>>().join("; "));
                failures.iter().for_each(|failure| println!("  {failure}"));
                line.turns.push(turn);
            }
        }
        println!("\n{}", report.text());
        if let Some(file) = &self.json {
            std::fs::write(file, format!("{:#}\n", report.json())).context(file.display())?;
        }
        if let Some(file) = &self.svg {
            std::fs::write(file, plot::svg(&report)).context(file.display())?;
        }
        Ok(())
    }
}

/// On SIGINT and SIGTERM, removes namespaces and daemons first.
fn tidy_up_when_told_to_end() -> Result<()> {
    let signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
    // Inherited by every thread that is started later; programs are started without.
    signals.thread_block().context("signals")?;
    thread::spawn(move || {
        let signal = signals.wait();
        bed::abandon();
        std::process::exit(128 + signal.map_or(0, |signal| signal as i32));
    });
    Ok(())
}
