//! ike.
#![forbid(unsafe_code)]

pub mod auth;
pub mod config;
pub mod crypto;
pub mod identity;
pub mod limits;
pub mod message;
pub mod pad;
pub mod proposal;
pub mod secret;
