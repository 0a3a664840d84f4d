//! Snapshots of what an [`Endpoint`](crate::Endpoint) holds, for people and management protocols.

use std::sync::Arc;
use std::time::Instant;

use cygnet_esp::{Encr, Spi};
use cygnet_spd::{Mode, TrafficSelector};

use crate::config::{Child, Connection};
use crate::identity::Identity;
use crate::message::IkeSpi;
use crate::output::{ChildId, IkeSaId, Path, Resource};

/// An IKE SA and its children, as of now.
#[derive(Debug, Clone)]
pub struct IkeStatus {
    /// Its name within the endpoint.
    pub id: IkeSaId,
    /// Its connection; a responder learns it with the peer's identity.
    pub connection: Option<Arc<Connection>>,
    /// Where it stands.
    pub state: IkeState,
    /// Whether we sent the first request of this SA (RFC 7296 §2.2).
    pub initiator: bool,
    /// Initiator's SPI.
    pub spi_i: IkeSpi,
    /// Responder's SPI; zero until it answered.
    pub spi_r: IkeSpi,
    /// Addresses and ports in use.
    pub path: Path,
    /// Our identity.
    pub local_id: Option<Identity>,
    /// The peer's identity, once authenticated.
    pub remote_id: Option<Identity>,
    /// Negotiated algorithms, once IKE_SA_INIT is done.
    pub algorithms: Option<IkeAlgorithms>,
    /// When it was established.
    pub established: Option<Instant>,
    /// When we rekey it.
    pub rekey_at: Option<Instant>,
    /// When we close it at the latest.
    pub expires_at: Option<Instant>,
    /// What NAT detection found (RFC 7296 §2.23).
    pub nat: NatStatus,
    /// Names of the exchange that waits for the peer's answer, if any.
    pub active_task: Option<&'static str>,
    /// Names of the exchanges that wait for their turn.
    pub queued_tasks: Vec<&'static str>,
    /// Its Child SAs.
    pub children: Vec<ChildStatus>,
}

/// Where an IKE SA stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IkeState {
    /// IKE_SA_INIT or IKE_AUTH is under way.
    Connecting,
    /// Both sides are authenticated.
    Established,
    /// A successor is being negotiated.
    Rekeying,
    /// A Delete was sent.
    Deleting,
}

/// The algorithms of an IKE SA.
#[derive(Debug, Clone, Copy)]
pub struct IkeAlgorithms {
    /// Cipher of the SK payloads, and its integrity algorithm where it is not an AEAD.
    pub encr: &'static Encr,
    /// IANA number of the pseudorandom function.
    pub prf: u16,
    /// IANA number of the key exchange method.
    pub group: u16,
}

/// What NAT detection found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NatStatus {
    /// We are behind a NAT.
    pub local: bool,
    /// The peer is behind a NAT, or says so to get UDP encapsulation.
    pub remote: bool,
    /// We pretended to be behind a NAT.
    pub faked: bool,
}

/// A Child SA, as of now.
#[derive(Debug, Clone)]
pub struct ChildStatus {
    /// Its name within the endpoint.
    pub id: ChildId,
    /// Its template.
    pub child: Arc<Child>,
    /// Where it stands.
    pub state: ChildState,
    /// SPI of the packets we receive.
    pub spi_in: Spi,
    /// SPI of the packets we send.
    pub spi_out: Spi,
    /// Cipher.
    pub encr: &'static Encr,
    /// IANA number of the key exchange method that gave it forward secrecy, if one did.
    pub group: Option<u16>,
    /// Extended sequence numbers.
    pub esn: bool,
    /// ESP in UDP.
    pub udp_encapsulation: bool,
    /// Selectors of our side.
    pub local_ts: Vec<TrafficSelector>,
    /// Selectors of the peer's side.
    pub remote_ts: Vec<TrafficSelector>,
    /// What ESP wraps.
    pub mode: Mode,
    /// Its place among several with the same selectors (RFC 9611).
    pub resource: Option<Resource>,
    /// When it was installed.
    pub installed: Instant,
    /// When we rekey it, by time.
    pub rekey_at: Option<Instant>,
    /// When we delete it, by time.
    pub expires_at: Option<Instant>,
}

/// Where a Child SA stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChildState {
    /// In use.
    Installed,
    /// A successor is being negotiated.
    Rekeying,
    /// A successor took over; the Delete is still to come.
    Rekeyed,
    /// A Delete was sent.
    Deleting,
}
