//! `[policies.NAME]`: traffic that passes in the clear or is dropped, and the order of the whole SPD
//! (RFC 4301 §4.4.1).

use cygnet_spd::{Action, Policy, Selector, Terms, TrafficSelector};

use super::Entry;
use super::reader::Section;
use super::selectors::selectors;

/// `pass` is what libreswan and strongSwan call it.
const ACTIONS: [(&str, Action); 3] =
    [("bypass", Action::Bypass), ("pass", Action::Bypass), ("discard", Action::Discard)];

/// Reads the table and puts the policies of the children, `entries`, between its own.
pub(super) fn read(root: &Section<'_>, mut entries: Vec<Entry>) -> Vec<Entry> {
    for (name, section) in root.sections("policies", "policy") {
        let action = section.word("action", &ACTIONS);
        if action.is_none() && !section.has("action") {
            section.mistake("action", "no action", "what shall happen?", "action = \"bypass\" or \"discard\"");
        }
        let any = || ["0.0.0.0/0", "::/0"].map(|all| all.parse::<TrafficSelector>().expect("a literal")).to_vec();
        let local = selectors(&section, "local_ts", &[]).unwrap_or_else(any);
        let remote = selectors(&section, "remote_ts", &[]).unwrap_or_else(any);
        let priority = section.integer("priority", 0..=1_000_000).unwrap_or(100);
        let selector = Selector { local, remote };
        let policy = Policy {
            name: name.value.to_owned(),
            selector,
            action: action.unwrap_or(Action::Discard),
            terms: Terms::default(),
        };
        entries.push(Entry { priority, offset: name.span.start, policy });
        section.finish();
    }
    entries.sort_by_key(|entry| entry.priority);
    entries
}
