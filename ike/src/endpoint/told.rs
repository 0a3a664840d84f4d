//! What was reported last of each peer, so that the same failure is known for what it is when it comes again.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

use crate::event::{Failure, FailureCause};
use crate::limits::REMEMBERED_FAILURES;

/// The last failure per connection and peer.
#[derive(Debug, Default)]
pub(crate) struct Told(HashMap<(String, IpAddr), (FailureCause, Option<String>)>);

impl Told {
    /// Whether this is what was told last; remembers it. What strangers set off is not remembered.
    pub(crate) fn again(&mut self, failure: &Failure) -> bool {
        let Some(connection) = failure.connection.clone().filter(|_| !failure.by_stranger) else { return false };
        if self.0.len() >= REMEMBERED_FAILURES {
            self.0.clear();
        }
        let peer = match failure.cause {
            FailureCause::Limit | FailureCause::NoConnection => ANY_PEER,
            _ => failure.path.remote.ip(),
        };
        let now = (failure.cause, failure.child.clone());
        self.0.insert((connection, peer), now.clone()) == Some(now)
    }

    /// It worked.
    pub(crate) fn forget(&mut self, connection: &str, peer: IpAddr) {
        if !self.0.is_empty() {
            self.0.remove(&(connection.to_owned(), peer));
            self.0.remove(&(connection.to_owned(), ANY_PEER));
        }
    }
}

/// Stands for all peers where what is wrong is not about one.
const ANY_PEER: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
