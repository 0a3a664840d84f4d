//! ike.
#![forbid(unsafe_code)]

pub mod auth;
pub mod crypto;
pub mod identity;
pub mod proposal;
pub mod secret;
