//! ike.
#![forbid(unsafe_code)]

pub mod limits;
pub mod message;
