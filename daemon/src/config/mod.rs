//! Configuration: TOML text to a [`Config`] whose every value is legal.
//!
//! ```toml
//! [connections.site-b]
//! local_addrs  = "192.0.2.1"
//! remote_addrs = "192.0.2.2"
//! children.net = { local_ts = "10.1.0.0/16", remote_ts = "10.2.0.0/16", start_action = "start" }
//! [secrets.site-b]
//! file = "site-b.psk"
//! ```
//!
//! | file | reads |
//! |---|---|
//! | `gateway` | `[gateway]`: sockets, TUN, control socket, retransmission |
//! | `connection` | `[connections.NAME]`: the peers and how both sides authenticate |
//! | `child` | `[connections.NAME.children.NAME]`: what is protected, and the SPD entry for it |
//! | `selectors` | which traffic; what `dynamic` stands for |
//! | `terms` | mode, level, what happens without an SA, headers |
//! | `manual` | `[manual.NAME]`: SAs without IKE |
//! | `names` | ids of policies that stay over reloads |
//! | `credentials` | `[secrets.NAME]`, `[authorities.NAME]` |
//! | `policy` | `[policies.NAME]`: traffic that passes or is dropped |
//! | `reader` | one key at a time, from the spanned tree |
//! | `problem` | mistakes: file, line, caret, cause, remedy |
//! | `files` | the files that a configuration names |
//!
//! One run reports every mistake that it can see. Secrets never appear in a report: they are blotted out of the text
//! that it quotes.

mod child;
mod connection;
mod credentials;
mod files;
mod gateway;
mod manual;
mod names;
mod policy;
mod problem;
mod reader;
mod selectors;
mod terms;

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use cygnet_esp::Encr;
use cygnet_ike::proposal::Proposal;
use cygnet_spd::{Policies, Policy};
use miette::{IntoDiagnostic, Report, WrapErr};
use toml::de::{DeTable, DeValue};
use zeroize::Zeroizing;

pub use gateway::{DEFAULT_CONTROL, Gateway, IcmpError, Mtu};
pub use manual::{Algorithm, Half, ManualSa};
pub use names::PolicyNames;

use files::{Disk, Files, Nowhere};
use problem::Problems;
use reader::{Context, Section};

/// Longest configuration file, octets.
const MAX_CONFIG: u64 = 16 * 1024 * 1024;

/// A whole configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// What belongs to this host, not to a peer.
    pub gateway: Gateway,
    /// Connections, for the IKE endpoint.
    pub ike: cygnet_ike::Config,
    /// The Security Policy Database (RFC 4301 §4.4.1).
    pub policies: Policies,
    /// SAs without IKE.
    pub manual: Vec<ManualSa>,
    /// Legal, but worth a look.
    pub warnings: Vec<String>,
    /// The file that it was read from, if it was one.
    pub file: Option<PathBuf>,
    /// Where each policy stands, by name: lines of the text, from 1.
    pub lines: HashMap<String, usize>,
}

impl Config {
    /// What SAs may be sealed with; some more than once.
    pub fn ciphers(&self) -> impl Iterator<Item = &'static Encr> {
        let children = self.ike.connections.iter().flat_map(|connection| &connection.children);
        let negotiated = children.flat_map(|child| &child.proposals).flat_map(Proposal::ciphers);
        negotiated.chain(self.manual.iter().map(|sa| sa.algorithm.0))
    }

    /// What of `new` needs other sockets, another device, table, threads or keys than this: nothing that a running
    /// gateway can take over. The policies of both have their ids from the same names.
    pub fn needs_restart(&self, new: &Self) -> Vec<String> {
        let keys = self.gateway.needs_restart(&new.gateway).into_iter().map(|key| format!("gateway.{key}"));
        keys.chain((self.manual != new.manual).then(|| "manual".to_owned())).collect()
    }
}

/// Reads the configuration file at `path` and the files that it names.
///
/// # Errors
/// A report of every mistake: file, line, caret, cause, remedy.
pub fn load(path: &Path) -> Result<Config, Report> {
    let about = std::fs::metadata(path)
        .into_diagnostic()
        .wrap_err_with(|| format!("the configuration file {} can't be read", path.display()))?;
    if about.len() > MAX_CONFIG {
        return Err(miette::miette!("the configuration file {} is longer than {MAX_CONFIG} octets", path.display()));
    }
    let text = std::fs::read_to_string(path)
        .into_diagnostic()
        .wrap_err_with(|| format!("the configuration file {} can't be read", path.display()))?;
    let base = path.parent().unwrap_or(Path::new("")).to_owned();
    let private = about.mode() & 0o077 == 0;
    let config = read(&Zeroizing::new(text), &path.display().to_string(), &base, private, &Disk)?;
    Ok(Config { file: Some(path.to_owned()), ..config })
}

/// Reads a configuration from `text`, called `name` in reports. Relative paths start at `base`. The text may hold
/// secrets: it is up to the caller that nobody else reads it.
///
/// # Errors
/// As [`load`].
pub fn parse(text: &str, name: &str, base: &Path) -> Result<Config, Report> {
    read(text, name, base, true, &Disk)
}

/// The body of the fuzz target for the configuration: whatever `octets` are, reading them returns, and a report can
/// be shown. No file is opened.
pub fn fuzz(octets: &[u8]) {
    let Ok(text) = std::str::from_utf8(octets) else { return };
    if let Err(report) = read(text, "fuzz.toml", Path::new(""), true, &Nowhere) {
        let mut shown = String::new();
        let handler = miette::GraphicalReportHandler::new_themed(miette::GraphicalTheme::none());
        handler.render_report(&mut shown, report.as_ref()).expect("writing to a string");
    }
}

fn read(text: &str, name: &str, base: &Path, private: bool, files: &dyn Files) -> Result<Config, Report> {
    let problems = Problems::default();
    let (tree, errors) = DeTable::parse_recoverable(text);
    let shown = Zeroizing::new(blot_out_secrets(text, tree.get_ref()));
    if !errors.is_empty() {
        for error in errors {
            let span = error.span().unwrap_or(0..0);
            problems.add(span, "this is not TOML", error.message(), "see https://toml.io for the syntax");
        }
        problems.finish(name, &shown)?;
        unreachable!("problems were added");
    }
    let cx = Context { source: text, problems: &problems, files, base: base.to_owned(), private };
    let root = Section::new(&cx, tree.get_ref(), 0..0, "the configuration".to_owned());
    let parts = sections(&root);
    root.finish();
    let (gateway, ike, manual, entries) = parts;
    let warnings = problems.finish(name, &shown)?;
    let lines = lines(text, &entries);
    let policies = Policies::new(entries.into_iter().map(|entry| entry.policy).collect());
    Ok(Config { gateway, ike, policies, manual, warnings, file: None, lines })
}

/// Every part in turn; values that stand in for wrong ones are never used, as the mistakes are reported instead.
fn sections(root: &Section<'_>) -> (Gateway, cygnet_ike::Config, Vec<ManualSa>, Vec<Entry>) {
    let (gateway, mut ike) = gateway::read(root);
    let credentials = credentials::read(root);
    let mut protect = Vec::new();
    ike.connections = connection::read(root, &credentials, &mut protect);
    ike.report_keys = gateway.key_log.is_some();
    if let Some(directory) = &gateway.key_log {
        let directory = directory.display();
        root.context()
            .problems
            .warn(format!("session keys are written to {directory}: who reads them reads all traffic"));
    }
    let manual = manual::read(root, &gateway, &mut protect);
    let entries = policy::read(root, protect);
    (gateway, ike, manual, entries)
}

/// An SPD entry on its way into the database.
struct Entry {
    priority: u64,
    /// Where its name stands, octets.
    offset: usize,
    policy: Policy,
}

/// The line of each entry.
fn lines(text: &str, entries: &[Entry]) -> HashMap<String, usize> {
    let starts: Vec<usize> = text.match_indices('\n').map(|(at, _)| at).collect();
    let line = |entry: &Entry| (entry.policy.name.clone(), starts.partition_point(|&at| at < entry.offset) + 1);
    entries.iter().map(line).collect()
}

/// Keys whose values are secret.
const SECRETS: [&str; 3] = ["psk", "keys_in", "keys_out"];

/// The text with every secret value replaced by asterisks of the same length: what a report may quote.
fn blot_out_secrets(text: &str, tree: &DeTable<'_>) -> String {
    let mut octets = text.as_bytes().to_vec();
    let mut blot = |span: std::ops::Range<usize>| {
        for octet in octets.get_mut(span).into_iter().flatten().filter(|octet| !matches!(octet, b'\n' | b'\r')) {
            *octet = b'*';
        }
    };
    let mut tables = vec![tree];
    while let Some(table) = tables.pop() {
        for (key, value) in table {
            match value.get_ref() {
                DeValue::Table(inner) => tables.push(inner),
                _ if SECRETS.contains(&key.get_ref().as_ref()) => blot(value.span()),
                _ => {}
            }
        }
    }
    // Where the syntax is broken the tree is incomplete: then the rest of any line that sets one.
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        for (at, key) in SECRETS.iter().flat_map(|key| line.match_indices(key)) {
            let rest = &line[at + key.len()..];
            let after = rest.trim_start_matches(['"', '\'', ' ', '\t']);
            if after.starts_with('=') {
                let from = start + at + key.len() + (rest.len() - after.len()) + 1;
                blot(from..start + line.trim_end_matches(['\r', '\n']).len());
            }
        }
        start += line.len();
    }
    String::from_utf8(octets).unwrap_or_default()
}

#[cfg(test)]
mod tests;
