//! spd.
#![forbid(unsafe_code)]
