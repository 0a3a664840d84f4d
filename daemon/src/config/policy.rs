//! `[policies.NAME]`: traffic that passes in the clear or is dropped, and the order of the whole SPD
//! (RFC 4301 §4.4.1).

use cygnet_spd::{Action, Policies, Policy, Selector, Terms, TrafficSelector};

use super::child::selectors;
use super::reader::Section;

/// Priority of the policies of children: smaller numbers come before them, as exceptions; larger ones after.
const PROTECT_PRIORITY: u64 = 1000;

/// Reads the table and puts the policies of the children, `protect`, between its entries.
pub(super) fn read(root: &Section<'_>, protect: Vec<Policy>) -> Policies {
    let mut entries: Vec<(u64, Policy)> = protect.into_iter().map(|policy| (PROTECT_PRIORITY, policy)).collect();
    for (name, section) in root.sections("policies", "policy") {
        let action = section.word("action", &[("bypass", Action::Bypass), ("discard", Action::Discard)]);
        if action.is_none() && !section.has("action") {
            section.mistake("action", "no action", "what shall happen?", "action = \"bypass\" or \"discard\"");
        }
        let any = || ["0.0.0.0/0", "::/0"].map(|all| all.parse::<TrafficSelector>().expect("a literal")).to_vec();
        let local = selectors(&section, "local_ts", None).unwrap_or_else(any);
        let remote = selectors(&section, "remote_ts", None).unwrap_or_else(any);
        let priority = section.integer("priority", 0..=1_000_000).unwrap_or(100);
        let selector = Selector { local, remote };
        let policy = Policy {
            name: name.value.to_owned(),
            selector,
            action: action.unwrap_or(Action::Discard),
            terms: Terms::default(),
        };
        entries.push((priority, policy));
        section.finish();
    }
    entries.sort_by_key(|(priority, _)| *priority);
    Policies::new(entries.into_iter().map(|(_, policy)| policy).collect())
}
