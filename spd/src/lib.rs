//! The Security Policy Database (RFC 4301 §4.4.1): *whether* traffic is protected. No cryptography, no SPIs, no IO.
//!
//! | module | holds | section |
//! |---|---|---|
//! | [`range`](AddrRange) | inclusive address ranges | RFC 4301 §4.4.1.1 |
//! | [`ports`](PortRange) | port ranges, ANY and OPAQUE | RFC 7296 §3.13.1 |
//! | [`traffic_selector`](TrafficSelector) | one side of a selector, as in a TS payload | RFC 7296 §3.13.1 |
//! | [`flow`](Flow) | what of a packet a policy looks at | RFC 4301 §4.4.1.1 |
//! | `icmp_error` | whose packet an ICMP error is about | RFC 4301 §6 |
//! | [`selector`](Selector) | both sides; matching and narrowing | RFC 4301 §4.4.1.2, RFC 7296 §2.9 |
//! | [`policy`](Policies) | ordered policies and the two look-ups | RFC 4301 §4.4.1, §5.1, §5.2 |
//! | `index` | the same look-up without asking all policies | RFC 4301 §4.4.1 |
//! | [`reassembly`] | packets from fragments, where ports decide | RFC 4301 §7, RFC 8200 §4.5 |
//! | [`terms`](Terms) | mode, level, and what happens without an SA | RFC 4301 §3.2, §4.4.1.2 |
//! | [`cache`](FlowCache) | what was decided for the flows seen last | RFC 4301 §4.4.1 |
//! | [`pfp`](Pfp) | selectors that an SA takes from its first packet | RFC 4301 §4.4.1.2, §4.4.2.2 |
//!
//! The primitive is the inclusive range; prefixes are only a way to write some of them.
#![forbid(unsafe_code)]

mod cache;
mod flow;
mod fragment;
pub mod fuzz;
pub mod hash;
mod index;
mod pfp;
mod policy;
mod ports;
mod protocol;
mod range;
pub mod reassembly;
mod selector;
mod terms;
mod traffic_selector;

pub use cache::FlowCache;
pub use flow::{Direction, Flow, FlowError, MAX_EXTENSION_HEADERS, Ports};
pub use pfp::Pfp;
pub use policy::{Action, Policies, Policy, PolicyId};
pub use ports::PortRange;
pub use range::{AddrRange, ParseAddrRangeError};
pub use selector::{Selector, narrow};
pub use terms::{Acquire, AfterFailure, Level, Levels, Mode, Outcome, SaState, Terms, WhileNegotiating};
pub use traffic_selector::{ParseTrafficSelectorError, TrafficSelector};
