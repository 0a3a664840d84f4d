//! No tunnel: the limit of the test bed.

use std::net::Ipv4Addr;

use super::{Peer, Tools};
use crate::bed::{Bed, Side};
use crate::daemon::Daemon;
use crate::failure::Result;

pub(super) struct Veth;

impl Peer for Veth {
    fn name(&self) -> &'static str {
        "veth"
    }

    fn look(&self, _: &Tools) -> Result<String> {
        Ok("the link itself, no tunnel".to_owned())
    }

    fn start(&self, _: &Bed, _: &Tools) -> Result<Vec<Daemon>> {
        Ok(Vec::new())
    }

    fn address(&self) -> fn(Side) -> Ipv4Addr {
        Side::outer
    }
}
