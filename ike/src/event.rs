//! What an [`Endpoint`](crate::Endpoint) reports. The core never logs: the daemon writes events, tests assert on them.

use std::sync::Arc;

use cygnet_esp::Spi;

use crate::config::Connection;
use crate::message::IkeSpi;
use crate::output::{ChildId, IkeSaId, Path};
use crate::secret::Secret;

/// Something that happened.
#[derive(Debug)]
pub enum Event {
    /// An IKE SA is established: both sides are authenticated.
    IkeUp(IkeSaId),
    /// An IKE SA was replaced by a new one that took over its children (RFC 7296 §2.8).
    IkeRekeyed {
        /// The SA that is deleted.
        old: IkeSaId,
        /// Its successor.
        new: IkeSaId,
    },
    /// An IKE SA ended. Its children were removed before.
    IkeDown {
        /// Which.
        ike: IkeSaId,
        /// Its connection, if it got so far as to have one.
        connection: Option<Arc<Connection>>,
        /// Why.
        reason: DownReason,
    },
    /// A Child SA was negotiated.
    ChildUp(ChildId),
    /// A Child SA was replaced.
    ChildRekeyed {
        /// The pair that is deleted.
        old: ChildId,
        /// Its successor.
        new: ChildId,
    },
    /// A Child SA ended.
    ChildDown {
        /// Which.
        child: ChildId,
        /// The IKE SA above it.
        ike: IkeSaId,
        /// Its connection.
        connection: Arc<Connection>,
        /// The template's name.
        name: String,
        /// Why.
        reason: DownReason,
    },
    /// A negotiation failed; nothing that was established is lost by it.
    Failed(Failure),
    /// A request went unanswered and was sent again.
    Retransmitted {
        /// The IKE SA.
        ike: IkeSaId,
        /// How often by now.
        attempt: u32,
    },
    /// The peer dropped a packet that came out of a Child SA and is outside its selectors, as it says
    /// (INVALID_SELECTORS, RFC 7296 §3.10.1). Nothing changes by that.
    InvalidSelectors {
        /// The IKE SA.
        ike: IkeSaId,
        /// The Child SA.
        child: ChildId,
        /// The start of the packet, as the peer gives it.
        packet: Vec<u8>,
    },
    /// The peer makes no more Child SAs with the selectors of this one (TS_MAX_QUEUE, RFC 9611 §6.2, or another error).
    /// Those that are there carry all traffic, and none is asked for within
    /// [`RESOURCE_SA_RETRY`](crate::limits::RESOURCE_SA_RETRY).
    NoMoreResources {
        /// The IKE SA.
        ike: IkeSaId,
        /// The first of them.
        child: ChildId,
        /// The notification that says so.
        notify: u16,
    },
    /// More Child SAs with the selectors of this one may be asked for again, after the peer refused or deleted one: the
    /// resources that send without one of their own may ask once more.
    ResourcesAgain {
        /// The first of them.
        child: ChildId,
        /// The resource, if it is about one alone.
        resource: Option<u32>,
    },
    /// A datagram was dropped.
    Dropped {
        /// Where it came from.
        path: Path,
        /// Why.
        reason: DropReason,
        /// See [`Failure::by_stranger`].
        by_stranger: bool,
    },
    /// Session keys, only with [`Config::report_keys`](crate::Config::report_keys).
    Keys(SessionKeys),
}

/// Why an SA ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DownReason {
    /// A command of ours.
    Command,
    /// The peer deleted it.
    PeerDeleted,
    /// The peer stopped answering (RFC 7296 §2.4).
    PeerUnreachable,
    /// The peer started afresh (INITIAL_CONTACT, RFC 7296 §2.4).
    PeerRestarted,
    /// Its hard lifetime ended.
    Expired,
    /// Its negotiation failed; a [`Event::Failed`] went before.
    Failed,
    /// A successor took over.
    Rekeyed,
    /// A new configuration has no place for it.
    Reconfigured,
    /// Both sides had started, and what the other one started stays (RFC 7296 §2.8.1).
    Redundant,
}

/// A failed negotiation, told so that an operator knows what to change.
#[derive(Debug, Clone)]
pub struct Failure {
    /// The connection, if one was found.
    pub connection: Option<String>,
    /// The child, if the failure is about one.
    pub child: Option<String>,
    /// The IKE SA.
    pub ike: Option<IkeSaId>,
    /// Between whom.
    pub path: Path,
    /// What happened, as one clause: `no common proposal`, `the peer rejected our PSK or identity`.
    pub cause: FailureCause,
    /// What was offered, by whom, in configuration syntax.
    pub offered: String,
    /// What was wanted instead.
    pub wanted: String,
    /// The change that makes it work.
    pub remedy: String,
    /// The peer began, and had not authenticated itself: whoever can send us datagrams can set this off, as often as it
    /// likes, so that reports of it need a limit.
    pub by_stranger: bool,
    /// The same, with the same peer, was the last that was told of this connection: once is enough for a log.
    pub repeated: bool,
}

/// The kinds of failed negotiation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureCause {
    /// NO_PROPOSAL_CHOSEN (RFC 7296 §2.7), sent or received.
    NoProposal,
    /// No configured connection matches addresses or identities.
    NoConnection,
    /// AUTHENTICATION_FAILED (RFC 7296 §2.21.2), sent or received.
    Authentication,
    /// The peer's certificate was refused.
    Certificate,
    /// TS_UNACCEPTABLE (RFC 7296 §2.9), sent or received.
    Selectors,
    /// One side wants transport mode, the other tunnel mode (USE_TRANSPORT_MODE, RFC 7296 §1.3.1).
    Mode,
    /// INVALID_SYNTAX or a message that breaks the protocol.
    Protocol,
    /// No answer.
    Timeout,
    /// Too many peers are dialled at once ([`limits::DIALLING`](crate::limits::DIALLING)).
    Limit,
    /// Another error notification from the peer.
    Notified(u16),
}

/// Why a datagram was dropped. Unauthenticated ones change nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DropReason {
    /// Not an IKEv2 message.
    Malformed,
    /// No such IKE SA.
    UnknownSpi,
    /// Integrity check failed.
    Integrity,
    /// Message ID outside the window (RFC 7296 §2.3).
    MessageId,
    /// Too many half-open SAs.
    Overload,
    /// An exchange that the SA's state does not allow.
    Unexpected,
    /// A fragment that fits nothing (RFC 7383).
    Fragment,
}

/// Keys in the shape that capture analysers take. Handle as the secrets they are.
#[derive(Debug)]
pub enum SessionKeys {
    /// Of an IKE SA.
    Ike {
        /// Initiator's SPI.
        spi_i: IkeSpi,
        /// Responder's SPI.
        spi_r: IkeSpi,
        /// Name of the cipher as Wireshark writes it, e.g. `AES-GCM-256 with 16 octet ICV [RFC5282]`.
        encr: &'static str,
        /// SK_ei, salt included.
        sk_ei: Secret,
        /// SK_er, salt included.
        sk_er: Secret,
        /// Name of the integrity algorithm as Wireshark writes it.
        integ: &'static str,
        /// SK_ai; empty for AEAD.
        sk_ai: Secret,
        /// SK_ar; empty for AEAD.
        sk_ar: Secret,
    },
    /// Of one direction of a Child SA.
    Esp {
        /// Sender and receiver.
        path: Path,
        /// Whether we send on it.
        outbound: bool,
        /// Its SPI.
        spi: Spi,
        /// Name of the cipher as Wireshark writes it, e.g. `AES-GCM with 16 octet ICV [RFC4106]`.
        encr: &'static str,
        /// Encryption key, salt included.
        encr_key: Secret,
        /// Name of the integrity algorithm as Wireshark writes it.
        integ: &'static str,
        /// Integrity key; empty for AEAD.
        integ_key: Secret,
    },
}
