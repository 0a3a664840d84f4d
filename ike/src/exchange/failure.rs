//! Outcomes of exchanges that did not work out, for the peer ([`Failure`]) and for an operator ([`Report`]).

use crate::endpoint::context::Ctx;
use crate::event::{self, DropReason, FailureCause};
use crate::message::{DecodeError, NotifyType};
use crate::sa::IkeSa;

/// What becomes of an authentic message that an exchange cannot serve (RFC 7296 §2.21). Exchanges decide; only the
/// SA acts on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Say nothing.
    Drop(DropReason),
    /// Answer with this notification and its data; the SA lives on.
    Notify(NotifyType, Vec<u8>),
    /// Answer with this notification and its data; the SA ends.
    Fatal(NotifyType, Vec<u8>),
}

impl From<DecodeError> for Failure {
    /// An unknown critical payload fails its request; broken syntax under our keys ends the SA (RFC 7296 §2.21.3).
    fn from(error: DecodeError) -> Self {
        match error {
            DecodeError::UnsupportedCriticalPayload(_) => Self::Notify(error.notify(), error.notify_data()),
            _ => Self::Fatal(error.notify(), error.notify_data()),
        }
    }
}

/// A notification without data that fails a request and leaves the SA alone.
pub(crate) fn notify(kind: NotifyType) -> Failure {
    Failure::Notify(kind, Vec::new())
}

/// What breaks the protocol: INVALID_SYNTAX, which ends the SA on both sides (RFC 7296 §2.21.3).
pub(crate) fn broken() -> Failure {
    Failure::Fatal(NotifyType::INVALID_SYNTAX, Vec::new())
}

/// Builds an [`event::Failure`]: what was offered, what was wanted, what to change.
pub(crate) struct Report(event::Failure);

impl Report {
    pub(crate) fn new(sa: &IkeSa, cause: FailureCause) -> Self {
        Self(event::Failure {
            connection: sa.connection.as_ref().map(|c| c.name.clone()),
            child: None,
            ike: Some(sa.id),
            path: sa.path,
            cause,
            offered: String::new(),
            wanted: String::new(),
            remedy: String::new(),
            by_stranger: !sa.initiator && !sa.is_established(),
            repeated: false,
        })
    }

    pub(crate) fn child(mut self, name: &str) -> Self {
        self.0.child = Some(name.to_owned());
        self
    }

    pub(crate) fn offered(mut self, text: impl Into<String>) -> Self {
        self.0.offered = text.into();
        self
    }

    pub(crate) fn wanted(mut self, text: impl Into<String>) -> Self {
        self.0.wanted = text.into();
        self
    }

    pub(crate) fn remedy(mut self, text: impl Into<String>) -> Self {
        self.0.remedy = text.into();
        self
    }

    pub(crate) fn send(self, cx: &mut Ctx) {
        cx.failed(self.0);
    }
}

/// `a, b, c`, or `nothing`.
pub(crate) fn list<T: std::fmt::Display>(items: impl IntoIterator<Item = T>) -> String {
    let items: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    if items.is_empty() { "nothing".to_owned() } else { items.join(", ") }
}
