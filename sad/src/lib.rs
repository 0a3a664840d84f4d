//! sad.
#![forbid(unsafe_code)]
