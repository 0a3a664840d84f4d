//! The one error type: a sentence for the person who reads the report.

use std::fmt;

/// Why a case, or the whole run, failed.
#[derive(Debug)]
pub(crate) struct Failure(String);

/// A result whose error is a sentence.
pub(crate) type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    /// A failure told by `message`.
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Returns early with a [`Failure`] made by `format!`.
macro_rules! fail {
    ($($arg:tt)*) => { return Err($crate::failure::Failure::new(format!($($arg)*))) };
}
pub(crate) use fail;

/// Adds what was being done to an error of any kind.
pub(crate) trait Context<T> {
    /// Puts `what` before the cause.
    fn context(self, what: impl fmt::Display) -> Result<T>;
}

impl<T, E: fmt::Display> Context<T> for std::result::Result<T, E> {
    fn context(self, what: impl fmt::Display) -> Result<T> {
        self.map_err(|cause| Failure(format!("{what}: {cause}")))
    }
}

impl<T> Context<T> for Option<T> {
    fn context(self, what: impl fmt::Display) -> Result<T> {
        self.ok_or_else(|| Failure(what.to_string()))
    }
}
