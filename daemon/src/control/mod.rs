//! The control socket: strongSwan's vici protocol, so that `swanctl`, its client libraries and the exporters built on
//! them drive this daemon unchanged. Our own command line speaks it too: there is no second channel.
//!
//! | file | knows |
//! |---|---|
//! | [`vici`] | the wire format, nothing of IKE |
//! | [`server`](serve) | connections: requests, subscriptions, bounded queues |
//! | `commands` | which command answers what |
//! | `actions` | `initiate`, `terminate`, `rekey`: commands that wait for their outcome |
//! | `dumps` | policies and SAs in full, and what follows from them for a packet |
//! | `events` | what happens, as events for any number of subscribers |
//! | `render` | SAs and connections as messages, in strongSwan's words |
//! | [`client`] | the other side, for our command line |

mod actions;
pub mod client;
mod commands;
mod dumps;
mod events;
mod render;
mod server;
pub mod vici;

pub use server::{bind, serve};

#[cfg(test)]
mod tests;
