//! One Ethernet, and the nodes on it.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use super::node::Node;
use crate::bed::Lab;
use crate::failure::{Context, Result};
use crate::namespace::{Namespace, PREFIX};

/// The network of the nodes.
pub(super) const NETWORK: &str = "10.77.0.0/24";

/// The address of node `n`, from 1 on.
pub(super) fn address(n: u8) -> IpAddr {
    Ipv4Addr::new(10, 77, 0, n).into()
}

/// The Ethernet: a bridge in a namespace of its own.
#[derive(Debug)]
pub(super) struct Mesh {
    // The nodes go before the hub, which their links end in.
    /// Cygnet's nodes.
    pub(super) nodes: Vec<Node>,
    /// Where the bridge is; hosts that are no nodes may be put here.
    pub(super) hub: Namespace,
}

impl Mesh {
    /// Makes `count` nodes that run nothing yet.
    pub(super) fn new(lab: &Lab, number: usize, folder: &Path, count: u8) -> Result<Self> {
        fs::create_dir_all(folder).context(folder.display())?;
        let name = |part: &str| format!("{PREFIX}{}-{number}-{part}", std::process::id());
        let hub = Namespace::new(&name("hub"))?;
        hub.ip(&["link", "add", "bridge", "type", "bridge"])?;
        hub.ip(&["link", "set", "bridge", "up"])?;
        let daemon = lab.daemon.as_deref().context("these scenarios are about Cygnet alone")?;
        let mut nodes = Vec::new();
        for n in 1..=count {
            let namespace = Namespace::new(&name(&format!("n{n}")))?;
            let port = format!("port{n}");
            hub.ip(&["link", "add", &port, "type", "veth", "peer", "name", "outer", "netns", namespace.name()])?;
            hub.ip(&["link", "set", &port, "master", "bridge", "up"])?;
            // A link-local address would appear some time after the link is up.
            namespace.ip(&["link", "set", "outer", "addrgenmode", "none"])?;
            namespace.ip(&["addr", "add", &format!("{}/24", address(n)), "dev", "outer"])?;
            namespace.ip(&["link", "set", "outer", "up"])?;
            nodes.push(Node::new(n, namespace, folder.join(format!("n{n}")), daemon)?);
        }
        Ok(Self { nodes, hub })
    }
}
