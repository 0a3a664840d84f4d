//! Ids of policies by name, so that a policy keeps its id, and with it its SAs, over reloads.

use std::collections::HashMap;
use std::sync::Arc;

use cygnet_spd::{Action, Policies, Policy, PolicyId};

use super::Config;

/// The id of every policy of this gateway so far. An id is never given to another name: an SA that still serves a
/// policy that is gone can't come to serve a new one.
#[derive(Debug, Default)]
pub struct PolicyNames {
    ids: HashMap<String, PolicyId>,
}

impl PolicyNames {
    /// No names yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives the policies and children of `config` the ids of their names, `CONNECTION/CHILD`.
    pub fn adopt(&mut self, config: &mut Config) {
        for connection in &mut config.ike.connections {
            let connection = Arc::make_mut(connection);
            for child in &mut connection.children {
                let id = self.id(&format!("{}/{}", connection.name, child.name));
                if child.policy != id {
                    Arc::make_mut(child).policy = id;
                }
            }
        }
        for sa in &mut config.manual {
            sa.policy = self.id(&format!("manual/{}", sa.name));
        }
        let mut entry = |policy: &Policy| match policy.action {
            Action::Protect(_) => Policy { action: Action::Protect(self.id(&policy.name)), ..policy.clone() },
            Action::Bypass | Action::Discard => policy.clone(),
        };
        config.policies = Policies::new(config.policies.iter().map(&mut entry).collect());
    }

    fn id(&mut self, name: &str) -> PolicyId {
        if let Some(id) = self.ids.get(name) {
            return *id;
        }
        let id = PolicyId(u32::try_from(self.ids.len()).expect("fewer than 2^32 names fit into memory"));
        self.ids.insert(name.to_owned(), id);
        id
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn config(children: &[&str]) -> Config {
        let mut text = "secrets.a.psk = \"a long enough secret\"\n[connections.c]\nlocal_addrs = \"192.0.2.1\"\n\
                        remote_addrs = \"192.0.2.2\"\n"
            .to_owned();
        for (n, name) in children.iter().enumerate() {
            text += &format!("children.{name} = {{ local_ts = \"10.1.{n}.0/24\", remote_ts = \"10.2.{n}.0/24\" }}\n");
        }
        super::super::parse(&text, "test.toml", Path::new("")).unwrap_or_else(|report| panic!("{report:?}"))
    }

    fn ids(config: &Config) -> Vec<(String, PolicyId)> {
        let children = config.ike.connections.iter().flat_map(|connection| &connection.children);
        let ids: Vec<_> = children.map(|child| (child.name.clone(), child.policy)).collect();
        for (name, id) in &ids {
            let named = |policy: &&Policy| policy.name == format!("c/{name}");
            let policy = config.policies.iter().find(named).expect("each child has a policy");
            assert_eq!(policy.action, Action::Protect(*id));
        }
        ids
    }

    #[test]
    fn a_name_keeps_its_id_and_gone_ids_stay_gone() {
        let mut names = PolicyNames::new();
        let mut before = config(&["a", "b"]);
        names.adopt(&mut before);
        let before = ids(&before);
        let mut after = config(&["new", "b"]);
        names.adopt(&mut after);
        let after = ids(&after);
        let of = |list: &[(String, PolicyId)], name| list.iter().find(|(n, _)| n == name).expect("there").1;
        assert_eq!(of(&before, "b"), of(&after, "b"));
        assert!(before.iter().all(|(_, id)| *id != of(&after, "new")));
    }
}
