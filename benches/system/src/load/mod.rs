//! Traffic between the two hosts, made by this process itself: its sockets are opened in their namespaces, so that no
//! other program is needed and both ends share a clock.

pub(crate) mod ping;
pub(crate) mod tcp;
pub(crate) mod udp;

use std::net::Ipv4Addr;

use crate::bed::{Bed, Namespace, Side};

/// Where traffic goes from and to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Route<'b> {
    pub(crate) from: (&'b Namespace, Ipv4Addr),
    pub(crate) to: (&'b Namespace, Ipv4Addr),
}

impl<'b> Route<'b> {
    /// From this side to the other; `address` gives that of each.
    pub(crate) fn from(bed: &'b Bed, side: Side, address: fn(Side) -> Ipv4Addr) -> Self {
        let end = |side| (bed.namespace(side), address(side));
        Self { from: end(side), to: end(side.other()) }
    }
}
