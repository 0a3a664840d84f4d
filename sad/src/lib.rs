//! The Security Association Database (RFC 4301 §4.4.2): *with which SA* a packet is protected.
//!
//! | file | holds |
//! |---|---|
//! | `sad.rs` | [`Sad`]: the writer's side: publishing, deadlines |
//! | `edit.rs` | [`Edit`]: install, activate, retire, move, remove |
//! | `tables.rs` | [`Tables`]: the readers' side: SPI → inbound SA, policy and flow → outbound SA |
//! | `pair.rs` | [`Pair`]: what both directions of a Child SA share: selector, path |
//! | `resource.rs` | several pairs with the same selectors, each for one worker (RFC 9611) |
//! | `state.rs` | active, expired, and what was told of it |
//! | `generation.rs` | when cached look-ups are out of date |
//! | `turns.rs` | threads that share an SA send in the order of its sequence numbers |
//! | `lifetime.rs` | soft and hard limits, and what a batch of traffic set off |
//! | `counters.rs` | traffic and drops per SA |
//! | `sharded.rs`, `prefix.rs` | the persistent map below the tables, and its keys |
//!
//! ```text
//!   install / remove ──► next Tables ──publish──► ArcSwap ◄──snapshot── workers, once per batch
//!   worker ──count──► atomics in the Pair ──Usage──► rekey, delete: told once
//! ```
//!
//! Readers allocate nothing, and take no lock but that of the [`Turn`] in which a batch leaves: a snapshot is one atomic load, a look-up one or two hash probes, however
//! many SAs there are. A writer copies only the shards it changes and publishes them together. What was removed lives
//! as long as the last snapshot that shows it; then its keys are wiped. No clock is read here: time is an argument.
#![forbid(unsafe_code)]

mod counters;
mod edit;
mod generation;
mod lifetime;
mod pair;
mod prefix;
mod resource;
mod sad;
mod sharded;
mod state;
mod tables;
mod turns;

pub use counters::{InboundDrop, OutboundDrop, Traffic};
pub use edit::{Activation, Edit, InstallError, NewPair};
pub use lifetime::{Lifetime, Limit, Limits, Usage};
pub use pair::{Origin, OriginalAddresses, Pair, PairId, PairStatus, Path};
pub use resource::Resource;
pub use sad::{Expiry, Sad};
pub use state::Standing;
pub use tables::{InboundSa, OutboundSa, Snapshot, Tables};
pub use turns::Turn;

#[cfg(test)]
mod tests;
