//! What the kernel leaves to a network card, and so to us: cutting large packets into segments, checksums; and, the
//! other way, packets of one flow put together, so that the kernel handles many at the price of one.
//!
//! ```text
//!  outbound   TUN ─► Head + frame of up to 64 KiB ─► Segments ─► packets of the TUN's MTU ─► ESP
//!  inbound    ESP ─► packets ─► Merger ─► Head + frame, in pieces ─► TUN
//! ```
//!
//! | file | holds |
//! |---|---|
//! | `head.rs` | [`Head`]: what is still to be done with a frame, as the kernel says it |
//! | `kind.rs` | [`Offload`]: what can be switched |
//! | `segments.rs` | [`Segments`]: a frame cut into packets |
//! | `merge.rs` | [`Merger`]: packets put together |
//! | `segment_header.rs` | the headers that both look at |
//!
//! Nothing here does IO or allocates per packet. What is cut and what is put together are each other's inverse: neither
//! changes what the ends of the connection see.

mod head;
mod kind;
mod merge;
mod segment_header;
mod segments;

pub use self::head::{Head, Kind, Partial};
pub use self::kind::Offload;
pub use self::merge::{Group, Headers, MAX_GROUP, Merger};
pub use self::segments::{Malformed, Segments, complete};

/// Which large packets a device takes and gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Offloads {
    /// TCP segments together, both address families.
    pub tcp: bool,
    /// UDP datagrams of one size together (`UDP_SEGMENT`), both address families.
    pub udp: bool,
}

impl Offloads {
    /// Those of `offloads` that concern the device.
    pub fn among(offloads: &[Offload]) -> Self {
        Self { tcp: offloads.contains(&Offload::TunTcp), udp: offloads.contains(&Offload::TunUdp) }
    }

    /// By name.
    pub fn all(self) -> impl Iterator<Item = Offload> {
        let known = [(self.tcp, Offload::TunTcp), (self.udp, Offload::TunUdp)];
        known.into_iter().filter_map(|(on, offload)| on.then_some(offload))
    }
}

#[cfg(test)]
mod tests;
