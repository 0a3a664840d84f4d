//! What the owner of an [`Endpoint`](crate::Endpoint) asks of it.

use cygnet_spd::{Flow, PolicyId};

use crate::config::Config;
use crate::output::{ChildId, IkeSaId};

/// A request to the endpoint. Its effects come out of the output queue; its outcome is an
/// [`Event`](crate::Event) that names the same connection or SA.
#[derive(Debug, Clone)]
pub enum Command {
    /// Bring up a child (and the IKE SA below it, unless one is there). Without a child: the IKE SA with all its
    /// `Start` children, or with the first child where none is. What is up already is reported up once more.
    Initiate {
        /// Connection name.
        connection: String,
        /// Child name.
        child: Option<String>,
    },
    /// A packet met a policy that has no SA (RFC 4301 §5.1). Repeats while the child is coming up are ignored.
    Acquire {
        /// The policy it met.
        policy: PolicyId,
        /// The packet, as it becomes the first traffic selector (RFC 7296 §2.9).
        flow: Flow,
    },
    /// Rekey an IKE SA (RFC 7296 §1.3.2).
    RekeyIke(IkeSaId),
    /// Rekey a Child SA (RFC 7296 §1.3.3): commanded, or because a soft byte or packet limit was reached.
    RekeyChild(ChildId),
    /// Negotiate one more SA with the selectors of this one, for a resource that has none of its own (RFC 9611 §4).
    /// Nothing waits for it. Ignored unless the peer agreed to have more, and where there is one or it is coming.
    AddResource {
        /// One of those with these selectors.
        child: ChildId,
        /// Number of the resource, below [`limits::RESOURCE_SAS`](crate::limits::RESOURCE_SAS).
        resource: u32,
    },
    /// Delete an IKE SA and its children (RFC 7296 §1.4.1). Its `Start` children stay down until initiated again.
    DeleteIke(IkeSaId),
    /// Delete a Child SA. A `Start` child stays down until it is initiated again.
    DeleteChild(ChildId),
    /// A Child SA reached a hard byte or packet limit: delete it. A `Start` child comes back.
    ExpireChild(ChildId),
    /// Traffic arrived on a new inbound Child SA: the peer has it, so its outbound half may be used
    /// (RFC 7296 §2.8).
    ChildUsed(ChildId),
    /// A packet came out of this Child SA that is outside its selectors, and was dropped: tell the peer so
    /// (INVALID_SELECTORS, RFC 4301 §5.2, RFC 7296 §3.10.1). At most one in a while per IKE SA; others are ignored.
    InvalidSelectors {
        /// The SA it came through.
        child: ChildId,
        /// Its start; what exceeds [`limits::OFFENDING_PACKET`](crate::limits::OFFENDING_PACKET) is left out.
        packet: Vec<u8>,
    },
    /// Authenticated ESP traffic arrived from the peer: proof of liveness (RFC 7296 §2.4).
    PeerAlive(IkeSaId),
    /// Another configuration takes over, by difference; connections and children are known by their names.
    ///
    /// SAs of what stays live on, and take their next lifetimes, proposals and proofs from the new values. SAs of a
    /// connection or child that is gone, that has another peer, or that selects other traffic, are deleted
    /// ([`DownReason::Reconfigured`](crate::DownReason::Reconfigured)). New `Start` children are initiated. A
    /// negotiation under way is brought to its end on the terms it began with.
    ///
    /// What belongs to sockets stays as it was: [`Config::ike_port`], [`Config::nat_port`], [`Config::raw_esp`],
    /// [`Config::workers`].
    Reconfigure(Box<Config>),
    /// Stop initiating and delete every IKE SA, telling the peers.
    Shutdown,
}
