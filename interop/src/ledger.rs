//! The conformance ledger: what the RFCs demand, where it is met, what shows it.
//!
//! `interop/ledger/rfcNNNN.toml` lists the demands of one RFC, in our own words. A demand that is met names the files
//! that meet it, each of which must cite the section, and the tests that show it, which must exist; one that is not
//! met says why. `cargo run -p cygnet-interop -- ledger` writes `ike/CONFORMANCE.md` from them; a test fails while that
//! is stale, or while a citation or a test is missing.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use serde::Deserialize;

use crate::failure::{Context, Result, fail};

/// The ledger, from the root of the workspace.
const LEDGER: &str = "ike/CONFORMANCE.md";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rfc {
    /// Its number.
    rfc: u32,
    /// Its title.
    title: String,
    /// What it demands, in the order of its sections.
    requirement: Vec<Requirement>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Requirement {
    /// Section: `4.4.1`.
    section: String,
    /// `MUST`, `MUST NOT`, `SHOULD`, `SHOULD NOT`.
    level: Level,
    /// In our own words.
    text: String,
    /// Files that meet it.
    #[serde(default)]
    met: Vec<String>,
    /// Tests that show it: `FILE: FUNCTION`, or `interop: SCENARIO`.
    #[serde(default)]
    shown: Vec<String>,
    /// Why it is not met.
    not: Option<String>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
enum Level {
    #[serde(rename = "MUST")]
    Must,
    #[serde(rename = "MUST NOT")]
    MustNot,
    #[serde(rename = "SHOULD")]
    Should,
    #[serde(rename = "SHOULD NOT")]
    ShouldNot,
}

impl Level {
    fn label(self) -> &'static str {
        match self {
            Self::Must => "MUST",
            Self::MustNot => "MUST NOT",
            Self::Should => "SHOULD",
            Self::ShouldNot => "SHOULD NOT",
        }
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// Writes the ledger anew.
///
/// # Errors
/// When a citation or a test that it names is not there.
pub(crate) fn write() -> Result<()> {
    let text = generate()?;
    fs::write(root().join(LEDGER), text).context(LEDGER)
}

fn generate() -> Result<String> {
    let folder = root().join("interop/ledger");
    let mut files: Vec<_> =
        fs::read_dir(&folder).context(folder.display())?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    files.sort();
    let mut text =
        "# Conformance\n\nWhat the RFCs demand, in our words; where it is met and which tests show it, or why it \
                    is not. Written by `cargo run -p cygnet-interop -- ledger` from `interop/ledger`: change those \
                    files, not this one.\n"
            .to_owned();
    let mut wrong = Vec::new();
    for file in files {
        let rfc: Rfc = toml::from_str(&fs::read_to_string(&file).context(file.display())?).context(file.display())?;
        wrong.extend(rfc.requirement.iter().flat_map(|requirement| requirement.mistakes(rfc.rfc)));
        rfc.render(&mut text);
    }
    if !wrong.is_empty() {
        fail!("the ledger claims what is not so:\n{}", wrong.join("\n"));
    }
    Ok(text)
}

impl Rfc {
    fn render(&self, text: &mut String) {
        let Self { rfc, title, requirement } = self;
        let open = requirement.iter().filter(|one| one.not.is_some()).count();
        let all = requirement.len();
        let _ = write!(text, "\n## RFC {rfc}: {title}\n\n{} of {all} met.\n\n", all - open);
        text.push_str("| § | | what | where | shown by |\n|---|---|---|---|---|\n");
        for one in requirement {
            let list = |items: &[String]| items.iter().map(|item| format!("`{item}`")).collect::<Vec<_>>().join(", ");
            let (place, shown) = match &one.not {
                Some(reason) => (format!("**not met**: {reason}"), String::new()),
                None => (list(&one.met), list(&one.shown)),
            };
            let _ = writeln!(text, "| {} | {} | {} | {place} | {shown} |", one.section, one.level.label(), one.text);
        }
    }
}

impl Requirement {
    /// What this entry claims wrongly.
    fn mistakes(&self, rfc: u32) -> Vec<String> {
        let here = format!("RFC {rfc} §{} ({})", self.section, self.text);
        let mut wrong = Vec::new();
        if self.not.is_some() == (!self.met.is_empty() || !self.shown.is_empty()) {
            wrong.push(format!("{here}: says either where it is met and what shows it, or why not"));
        }
        if self.not.is_none() && (self.met.is_empty() || self.shown.is_empty()) {
            wrong.push(format!("{here}: needs a place and a test"));
        }
        for file in &self.met {
            if !cites(&fs::read_to_string(root().join(file)).unwrap_or_default(), rfc, &self.section) {
                wrong.push(format!("{here}: {file} does not cite it"));
            }
        }
        wrong.extend(self.shown.iter().filter(|test| !exists(test)).map(|test| format!("{here}: no test {test}")));
        wrong
    }
}

/// Whether `text` cites the section or a part of it: `RFC 4301 §5.1` is cited by `RFC 4301 §5.1.2` too, and by
/// `RFC 4301 §4.4.1, §5.1`.
fn cites(text: &str, rfc: u32, section: &str) -> bool {
    let name = format!("RFC {rfc} ");
    text.match_indices(&name).any(|(at, _)| {
        let rest = &text[at + name.len()..];
        rest.split(", ").map_while(|part| part.strip_prefix('§')).any(|cited| {
            cited.strip_prefix(section).is_some_and(|more| !more.starts_with(|c: char| c.is_ascii_digit()))
        })
    })
}

fn exists(test: &str) -> bool {
    match test.split_once(": ") {
        Some(("interop", scenario)) => root().join("interop/scenarios").join(scenario).join("scenario.toml").is_file(),
        Some((file, function)) => {
            fs::read_to_string(root().join(file)).is_ok_and(|text| text.contains(&format!("fn {function}(")))
        }
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ledger_is_true_and_fresh() {
        let text = generate().unwrap_or_else(|wrong| panic!("{wrong}"));
        let written = fs::read_to_string(root().join(LEDGER)).unwrap_or_default();
        assert!(text == written, "{LEDGER} is stale: run `cargo run -p cygnet-interop -- ledger`");
    }

    #[test]
    fn a_citation_names_the_section_or_a_part_of_it() {
        let text = "(RFC 4301 §4.4.1, §5.1.2, and RFC 7296 §2.9)";
        assert!(cites(text, 4301, "4.4.1") && cites(text, 4301, "5.1") && cites(text, 7296, "2.9"));
        assert!(!cites(text, 4301, "4.4.1.1") && !cites(text, 4301, "2.9") && !cites(text, 4301, "5.11"));
        assert!(!cites("RFC 4301 §4.4.10", 4301, "4.4.1"));
    }
}
