//! The command line. Commands for a running daemon speak vici to its control socket, as `swanctl` does.
//!
//! | file | commands |
//! |---|---|
//! | `run` | `run`, `check`, `cleanup` |
//! | `sa` | `status`, `up`, `down`, `reload` |
//! | `dump` | `sad`, `spd`, `explain flow`, `policy readiness` |
//! | `keygen` | `keygen psk` |
//! | `log` | where the log goes |
//! | `table` | SAs for people and for programs |

mod dump;
mod keygen;
mod log;
mod run;
mod sa;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};
use miette::Report;
use tracing_subscriber::EnvFilter;

use crate::config::DEFAULT_CONTROL;
use crate::demo;

/// Where the configuration is when nothing else is said.
pub const DEFAULT_CONFIG: &str = "/etc/cygnet/cygnet.toml";

/// IKEv2 and IPsec in userspace.
#[derive(Debug, Parser)]
#[command(name = "cygnet", version, about = "IKEv2 and IPsec in userspace", propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    global: Global,
}

#[derive(Debug, Args)]
struct Global {
    /// Control socket of the running gateway [default: /run/cygnet/vici.sock].
    #[arg(long, global = true, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// What is logged, e.g. `info` or `cygnet=debug`; otherwise RUST_LOG decides.
    #[arg(long, global = true, value_name = "FILTER")]
    log: Option<String>,
    /// How the log is written.
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object per line.
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway.
    Run {
        /// Configuration file.
        #[arg(long, short, value_name = "PATH", default_value = DEFAULT_CONFIG)]
        config: PathBuf,
    },
    /// Show a tunnel between two hosts that exist only for this demonstration.
    Demo {
        /// Both sides share a secret (the default).
        #[arg(long, conflicts_with = "cert")]
        psk: bool,
        /// Both sides show certificates.
        #[arg(long)]
        cert: bool,
    },
    /// One host of the demonstration, started by it.
    #[command(hide = true)]
    DemoHost {
        /// Which one.
        side: demo::Side,
    },
    /// Show the security associations of the running gateway.
    Status {
        /// For programs: one JSON document.
        #[arg(long)]
        json: bool,
    },
    /// Bring up a connection, or one of its children, and wait until it is up.
    Up {
        /// CONNECTION or CONNECTION/CHILD.
        name: String,
        /// Give up after so many seconds.
        #[arg(long, value_name = "SECONDS")]
        timeout: Option<u32>,
    },
    /// Take down a connection, or one of its children.
    Down {
        /// CONNECTION or CONNECTION/CHILD.
        name: String,
        /// Give up after so many seconds.
        #[arg(long, value_name = "SECONDS")]
        timeout: Option<u32>,
        /// Do not wait for the peer to confirm.
        #[arg(long)]
        force: bool,
    },
    /// Have the running gateway read its configuration file again. SAs of what stays live on.
    Reload,
    /// Show every pair of ESP SAs with all that is known of it.
    Sad {
        /// For programs: one JSON document.
        #[arg(long)]
        json: bool,
    },
    /// Show every policy in its order, with what went through it.
    Spd {
        /// For programs: one JSON document.
        #[arg(long)]
        json: bool,
    },
    /// Say what happens, and why.
    Explain {
        #[command(subcommand)]
        what: Explain,
    },
    /// About policies.
    Policy {
        #[command(subcommand)]
        what: PolicyQuestion,
    },
    /// Remove what a killed gateway left in this host's routing and filters, without starting one.
    Cleanup {
        /// Its configuration file.
        #[arg(long, short, value_name = "PATH", default_value = DEFAULT_CONFIG)]
        config: PathBuf,
    },
    /// Check a configuration and do nothing else.
    Check {
        /// Configuration file.
        #[arg(long, short, value_name = "PATH", default_value = DEFAULT_CONFIG)]
        config: PathBuf,
    },
    /// Make secrets.
    Keygen {
        #[command(subcommand)]
        what: keygen::Keygen,
    },
}

#[derive(Debug, Subcommand)]
enum Explain {
    /// What happens to a packet and to its answer: which policy, which SA or why none.
    Flow {
        /// SRC DST [PROTO [SPORT DPORT]]; without PROTO an ICMP echo request, for ICMP type and code.
        #[arg(num_args = 2..=5, required = true, value_name = "WORD")]
        words: Vec<String>,
        /// For programs: one JSON document.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Subcommand)]
enum PolicyQuestion {
    /// Whether policies of level `use` can be switched to `require`, peer by peer.
    Readiness {
        /// For programs: one JSON document.
        #[arg(long)]
        json: bool,
    },
}

impl Command {
    /// Whether it goes to the control socket of a running gateway.
    fn asks_a_gateway(&self) -> bool {
        !matches!(
            self,
            Self::Run { .. }
                | Self::Check { .. }
                | Self::Cleanup { .. }
                | Self::Demo { .. }
                | Self::DemoHost { .. }
                | Self::Keygen { .. }
        )
    }
}

impl Cli {
    /// Carries out the command.
    pub fn execute(self) -> ExitCode {
        let log = self.log();
        let code = self.run();
        if let Some(log) = log {
            log.flush();
        }
        code
    }

    fn run(self) -> ExitCode {
        let Self { command, global } = self;
        if global.socket.is_some() && !command.asks_a_gateway() {
            eprintln!("--socket names the socket of a running gateway, which this command does not ask: leave it out");
            eprintln!("(where a gateway listens is `control` in `[gateway]` of its configuration)");
            return ExitCode::FAILURE;
        }
        let socket = global.socket.unwrap_or_else(|| DEFAULT_CONTROL.into());
        let result = match command {
            Command::Run { config } => run::run(&config),
            Command::Check { config } => run::check(&config),
            Command::Demo { cert, .. } => demo::run(cert).map_err(|error| miette::miette!("{error}")),
            Command::DemoHost { side } => return demo::host(side),
            Command::Status { json } => sa::status(&socket, json),
            Command::Up { name, timeout } => sa::up(&socket, &name, timeout),
            Command::Down { name, timeout, force } => sa::down(&socket, &name, timeout, force),
            Command::Sad { json } => dump::sad(&socket, json),
            Command::Spd { json } => dump::spd(&socket, json),
            Command::Explain { what: Explain::Flow { words, json } } => dump::explain(&socket, &words, json),
            Command::Policy { what: PolicyQuestion::Readiness { json } } => dump::readiness(&socket, json),
            Command::Cleanup { config } => run::cleanup(&config),
            Command::Reload => sa::reload(&socket),
            Command::Keygen { what } => keygen::keygen(what),
        };
        match result {
            Ok(()) => ExitCode::SUCCESS,
            Err(report) => {
                eprintln!("{report:?}");
                ExitCode::FAILURE
            }
        }
    }

    /// Logs go to standard error: standard output is for what was asked.
    fn log(&self) -> Option<log::Log> {
        // Host a and b of the demonstration leave for other namespaces, which only a process of one thread can.
        if let Command::DemoHost { .. } = self.command {
            self.log_to(std::io::stderr);
            return None;
        }
        let log = log::Log::to(std::io::stderr()).ok()?;
        self.log_to(log.clone());
        Some(log)
    }

    fn log_to<W: for<'a> tracing_subscriber::fmt::MakeWriter<'a> + Send + Sync + 'static>(&self, writer: W) {
        let noisy = match self.command {
            Command::Run { .. } => "info",
            _ => "warn",
        };
        let filter = match &self.global.log {
            Some(filter) => EnvFilter::try_new(filter).unwrap_or_else(|error| {
                eprintln!("--log {filter}: {error}; logging at {noisy}");
                EnvFilter::new(noisy)
            }),
            None => EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(noisy)),
        };
        let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
        let installed = match self.global.log_format {
            LogFormat::Text => builder.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init(),
            LogFormat::Json => builder.json().flatten_event(true).try_init(),
        };
        // Already installed by a test that runs several commands.
        let _ = installed;
    }
}

/// Prints what was asked. A reader that has seen enough (`| head`) is no error.
fn print(text: std::fmt::Arguments<'_>) -> Result<(), Report> {
    match std::io::Write::write_fmt(&mut std::io::stdout().lock(), format_args!("{text}\n")) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(miette::miette!("standard output can't be written: {error}"))
        }
        _ => Ok(()),
    }
}

/// One thread is enough for a client.
fn client_runtime() -> Result<tokio::runtime::Runtime, Report> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| miette::miette!("no runtime: {error}"))
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    #[test]
    fn the_command_tree_is_consistent() {
        super::Cli::command().debug_assert();
    }

    #[test]
    fn a_socket_is_for_those_who_ask_a_gateway() {
        let asks = |words: &str| super::Cli::parse_from(words.split(' ')).command.asks_a_gateway();
        assert!(
            asks("cygnet status") && asks("cygnet explain flow 10.0.0.1 10.0.0.2 tcp 1 2") && asks("cygnet reload")
        );
        assert!(!asks("cygnet run") && !asks("cygnet check") && !asks("cygnet cleanup"));
    }
}
