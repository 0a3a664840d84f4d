//! IKEv2 (RFC 7296) as a sans-IO state machine: *who agreed to what*. No sockets, no clock, no async, no logging.
//!
//! Datagrams, commands and timer expiries go into an [`Endpoint`] with the time; everything that happens comes out of
//! one ordered queue of [`Output`]s.
//!
//! | module | holds | section |
//! |---|---|---|
//! | [`endpoint`] | the surface; SPI to SA; admission of strangers | RFC 7296 §2.6, §2.21.4 |
//! | `sa` | one IKE SA: phase, message IDs, timers, children | RFC 7296 §2.1-§2.4, §2.8 |
//! | `exchange` | one file per exchange, both roles | RFC 7296 §1.2-§1.4 |
//! | [`message`] | messages on the wire | RFC 7296 §3, RFC 7383 |
//! | [`crypto`] | algorithms and the key schedule | RFC 7296 §2.13, §2.14, §2.17 |
//! | [`auth`], [`identity`] | proofs and names | RFC 7296 §2.15, §3.5, RFC 7427 |
//! | [`pad`] | the Peer Authorization Database | RFC 4301 §4.4.3 |
//! | [`proposal`] | what is offered, what is chosen | RFC 7296 §2.7, §3.3 |
//! | [`config`], [`command`] | what goes in | |
//! | [`output`], [`event`], [`status`] | what comes out | |
//! | [`limits`] | what a peer can make us hold | |
#![forbid(unsafe_code)]

pub mod auth;
pub mod command;
pub mod config;
pub mod crypto;
pub mod endpoint;
pub mod event;
mod exchange;
#[doc(hidden)]
pub mod fuzz;
pub mod identity;
pub mod limits;
pub mod message;
pub mod output;
pub mod pad;
pub mod proposal;
mod sa;
pub mod secret;
pub mod status;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use command::Command;
pub use config::Config;
pub use endpoint::{Endpoint, Now};
pub use event::{DownReason, DropReason, Event, Failure, FailureCause, SessionKeys};
pub use output::{Activation, ChildId, ChildInstall, HalfSa, IkeSaId, Output, Path, Resource, Transmit};
