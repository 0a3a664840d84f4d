//! Algorithms of IKEv2 and the key schedule over them.
//!
//! One algorithm is one file with its vectors and one row: [`prf`] (transform type 2), [`kex`] (type 4), [`sign`]
//! (authentication); ENCR and INTEG rows live in `cygnet_esp`, because ESP and IKE share the registry.
//! [`registry`] alone sees all rows; [`key_schedule`] turns a shared secret into keys.

pub mod kex;
pub mod key_schedule;
pub mod prf;
pub mod registry;
pub mod sign;

#[cfg(test)]
pub(crate) mod testing;
