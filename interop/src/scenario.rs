//! Scenario folders: what `scenario.toml` may say, and the cases that its matrix expands to.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

pub(crate) use crate::axes::{Auth, Esn, Esp, Mode, Nat, Outer, Version, Who};
use crate::failure::{Context, Result};
use crate::mesh::Play;

/// A scenario folder.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Scenario {
    /// What it shows, in a sentence.
    pub(crate) about: String,
    /// Each table is a product of its lists; all of them together are the cases.
    #[serde(default)]
    matrix: Vec<Matrix>,
    /// Folder whose configuration files serve where this folder has none.
    #[serde(default)]
    pub(crate) like: Option<String>,
    /// Template values that differ from the defaults, by side.
    #[serde(default)]
    pub(crate) vars: PerSide,
    /// Template values that are in force until the step `correct`.
    #[serde(default)]
    pub(crate) wrong: PerSide,
    /// What is done and expected, in order.
    #[serde(default)]
    pub(crate) steps: Vec<Step>,
    /// With more than two hosts: what is played on them, instead of steps.
    #[serde(default)]
    pub(crate) play: Option<Play>,
    /// The folder.
    #[serde(skip)]
    pub(crate) folder: PathBuf,
    /// Its name.
    #[serde(skip)]
    pub(crate) name: String,
}

/// Template values of both sides.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PerSide {
    /// Cygnet's.
    pub(crate) ours: BTreeMap<String, String>,
    /// strongSwan's.
    pub(crate) theirs: BTreeMap<String, String>,
}

impl PerSide {
    /// The values of one side.
    pub(crate) fn of(&self, who: Who) -> &BTreeMap<String, String> {
        match who {
            Who::Ours => &self.ours,
            Who::Theirs => &self.theirs,
        }
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Matrix {
    initiator: Vec<Who>,
    auth: Vec<Auth>,
    peer: Vec<Version>,
    outer: Vec<Outer>,
    esp: Vec<Esp>,
    mode: Vec<Mode>,
    esn: Vec<Esn>,
    nat: Vec<Nat>,
    algorithms: Vec<String>,
}

impl Default for Matrix {
    fn default() -> Self {
        Self {
            initiator: vec![Who::Ours],
            auth: vec![Auth::Psk],
            peer: vec![Version::V6],
            outer: vec![Outer::V4],
            esp: vec![Esp::Udp],
            mode: vec![Mode::Tunnel],
            esn: vec![Esn::Off],
            nat: vec![Nat::None],
            algorithms: Vec::new(),
        }
    }
}

/// One thing to do or to check.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Step {
    /// The case's initiator brings the tunnel up; both sides report it.
    Up,
    /// Ping both ways; in tunnel mode inner IPv4 and IPv6.
    Ping,
    /// HTTP download and upload, 100 MB each (20 MB with a guest), with equal checksums; in tunnel mode the download
    /// over IPv4, the upload over IPv6.
    Transfer,
    /// The path's MTU drops to so many octets in the midst of a transfer each way, which goes on without a stall.
    Narrow(u16),
    /// UDP datagrams of all sizes, most of them fragmented, are echoed by either side.
    Datagrams,
    /// The outer link carried nothing but IKE, ESP and address resolution.
    NoPlaintext,
    /// Our key log decrypts our IKE messages and the inner packets of ESP.
    Decrypt,
    /// The initiator's attempt fails in time and both logs say why (every text must be found).
    Refused(Told),
    /// Both logs hold these texts.
    Told(Told),
    /// The `wrong` values are corrected; a side that has any is reloaded (theirs) or restarted (ours).
    Correct,
    /// Both kinds of rekeying, each begun by either side, under dense probes of which none is lost.
    Rekey,
    /// Traffic brings up so many Child SAs with the same selectors (RFC 9611), which are rekeyed by either side under
    /// probes of which none is lost; one is deleted and comes back.
    Several(usize),
    /// The peer is killed without a word; our SAs must go within so many seconds.
    KillPeer(u64),
    /// The peer comes back; the tunnel must come back by itself within so many seconds.
    PeerReturns(u64),
    /// A side is killed and started again, then brings the tunnel up; both sides end with one SA.
    Restart(Who),
    /// We stop in good order: the peer is told and nothing is left in our network.
    CleanStop,
    /// The peer's kernel holds the SAs that both sides tell of, with the keys of our key log, and as the case wants them.
    KernelState,
    /// The real `swanctl` lists, initiates, terminates and reads statistics through our control socket.
    Swanctl,
    /// So many mutated messages are sent at us in the peer's name.
    Mutate(usize),
}

/// Texts to find in the logs.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Told {
    /// In ours; `a|b` is satisfied by either.
    pub(crate) ours: Vec<String>,
    /// In theirs.
    pub(crate) theirs: Vec<String>,
}

/// One run of a scenario.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    /// The scenario.
    pub(crate) scenario: std::sync::Arc<Scenario>,
    /// Who brings the tunnel up.
    pub(crate) initiator: Who,
    /// How both authenticate.
    pub(crate) auth: Auth,
    /// The peer's version.
    pub(crate) peer: Version,
    /// Outer addresses.
    pub(crate) outer: Outer,
    /// How ESP travels.
    pub(crate) esp: Esp,
    /// Mode of the Child SA.
    pub(crate) mode: Mode,
    /// Extended sequence numbers.
    pub(crate) esn: Esn,
    /// Address translation.
    pub(crate) nat: Nat,
    /// IKE and ESP proposal, with a slash between, where it is not the one that goes with `auth`.
    pub(crate) algorithms: Option<String>,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scenario, initiator, auth, peer, outer, esp, mode, esn, nat, algorithms } = self;
        let parts = [initiator.label(), auth.label(), peer.label(), outer.label(), esp.label()];
        write!(f, "{}/{}", scenario.name, parts.join("-"))?;
        // What is ordinary is not told.
        let other = [(*mode != Mode::Tunnel).then(|| mode.label()), (*esn != Esn::Off).then(|| esn.label())];
        other.iter().flatten().try_for_each(|label| write!(f, "-{label}"))?;
        match nat {
            Nat::None => {}
            Nat::Ours | Nat::Theirs => write!(f, "-nat-{}", nat.label())?,
            Nat::Routed => write!(f, "-{}", nat.label())?,
        }
        algorithms.iter().try_for_each(|algorithms| write!(f, "-{}", algorithms.replace('/', "-")))
    }
}

/// All cases of all scenario folders below `root`.
pub(crate) fn load(root: &Path) -> Result<Vec<Case>> {
    let mut folders: Vec<PathBuf> = fs::read_dir(root)
        .context(root.display())?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .filter(|folder| folder.join("scenario.toml").is_file())
        .collect();
    folders.sort();
    let mut cases = Vec::new();
    for folder in folders {
        let file = folder.join("scenario.toml");
        let text = fs::read_to_string(&file).context(file.display())?;
        let mut scenario: Scenario = toml::from_str(&text).context(file.display())?;
        scenario.name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        scenario.folder = folder;
        cases.extend(expand(scenario));
    }
    Ok(cases)
}

fn expand(mut scenario: Scenario) -> Vec<Case> {
    let mut tables = std::mem::take(&mut scenario.matrix);
    if tables.is_empty() {
        tables.push(Matrix::default());
    }
    let scenario = std::sync::Arc::new(scenario);
    let mut cases = Vec::new();
    for matrix in tables {
        let algorithms: Vec<_> = match matrix.algorithms[..] {
            [] => vec![None],
            _ => matrix.algorithms.iter().cloned().map(Some).collect(),
        };
        let plain = Case {
            scenario: scenario.clone(),
            initiator: Who::Ours,
            auth: Auth::Psk,
            peer: Version::V6,
            outer: Outer::V4,
            esp: Esp::Udp,
            mode: Mode::Tunnel,
            esn: Esn::Off,
            nat: Nat::None,
            algorithms: None,
        };
        // The first axis varies slowest.
        let some = vec![plain];
        let some = along(some, &matrix.peer, |case, &peer| Case { peer, ..case });
        let some = along(some, &matrix.outer, |case, &outer| Case { outer, ..case });
        let some = along(some, &matrix.esp, |case, &esp| Case { esp, ..case });
        let some = along(some, &matrix.mode, |case, &mode| Case { mode, ..case });
        let some = along(some, &matrix.esn, |case, &esn| Case { esn, ..case });
        let some = along(some, &matrix.nat, |case, &nat| Case { nat, ..case });
        let some = along(some, &matrix.auth, |case, &auth| Case { auth, ..case });
        let some = along(some, &algorithms, |case, algorithms| Case { algorithms: algorithms.clone(), ..case });
        cases.extend(along(some, &matrix.initiator, |case, &initiator| Case { initiator, ..case }));
    }
    cases
}

/// Each case with each value of an axis.
fn along<T>(cases: Vec<Case>, values: &[T], with: impl Fn(Case, &T) -> Case) -> Vec<Case> {
    cases.iter().flat_map(|case| values.iter().map(|value| with(case.clone(), value))).collect()
}
