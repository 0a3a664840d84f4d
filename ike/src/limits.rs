//! Bounds on what an unauthenticated or hostile peer can make us do, in one place.
//!
//! Each constant says what an attacker would gain without it.

use std::time::Duration;

/// Longest IKE message accepted, octets: a UDP payload, or the same reassembled (RFC 7383 §2.6). Without it the
/// 32-bit length field would let one peer claim gigabytes of reassembly buffer.
pub const MESSAGE_LEN: usize = 65_535;

/// Payloads in one message. Without it a datagram of empty payloads costs 16,000 allocations.
pub const PAYLOADS: usize = 128;

/// Proposals in one SA payload. The field is one octet, numbered from 1. Without it selection, which compares every
/// offered with every configured proposal, becomes a CPU sink.
pub const PROPOSALS: usize = 128;

/// Transforms in one proposal. The field is one octet; real peers send fewer than forty. Without it 255 transforms
/// in each of 128 proposals multiply the same work.
pub const TRANSFORMS: usize = 128;

/// Attributes of one transform; only Key Length exists (RFC 7296 §3.3.5). Without it each transform could carry
/// thousands.
pub const TRANSFORM_ATTRIBUTES: usize = 8;

/// Traffic selectors in one TS payload; the field is one octet. Without a tighter bound narrowing, which intersects
/// every pair, costs 255 times the configured selectors per request.
pub const TRAFFIC_SELECTORS: usize = 128;

/// Attributes in one configuration payload. Without it a message can hold 16,000 empty ones.
pub const CONFIGURATION_ATTRIBUTES: usize = 128;

/// SPIs in one Delete payload. The field has 16 bits; without a bound each costs a look-up.
pub const DELETE_SPIS: usize = 1_024;

/// Certificates (CERT payloads) in one message. Without it path building is handed an arbitrarily large graph.
pub const CERTIFICATES: usize = 16;

/// CERTREQ payloads in one message. Without it each would be compared with all our authorities.
pub const CERTIFICATE_REQUESTS: usize = 32;

/// Fragments of one message (RFC 7383 §2.5). Without it one octet per fragment makes 65,535 buffers.
pub const FRAGMENTS: usize = 128;

// Of SAs and endpoints.

/// How long a responder waits for IKE_AUTH. Without it, each IKE_SA_INIT would hold its state for ever.
pub const HALF_OPEN_LIFETIME: Duration = Duration::from_secs(30);

/// Half-open SAs with one IPv4 address or IPv6 /64 prefix, once cookies are asked for. Without it, one host that returns
/// its cookies takes every place there is, and nobody else gets in.
pub const HALF_OPEN_PER_ADDRESS: usize = 16;

/// Longest IKE_SA_INIT request, octets. AUTH covers it, so it is kept until IKE_AUTH (RFC 7296 §2.15); real ones stay
/// below 2 KiB. Without it, each stranger could make us keep 64 KiB.
pub const INIT_LEN: usize = 8 * 1024;

/// Child SAs of one IKE SA, both halves of a rekey counted. Without it, a peer could fill memory with SAs.
pub const MAX_CHILDREN: usize = 256;

/// Child SAs with the same selectors, each for one resource (RFC 9611), or twice the workers if that is more, as RFC 9611
/// §7 recommends; further ones get TS_MAX_QUEUE, and so do all while more than half of [`MAX_CHILDREN`] are there. Without
/// it, a peer could fill the places of its other children, and of rekeys.
pub const RESOURCE_SAS: usize = 64;

/// How long a Child SA of one resource has to live if its resource may ask for another one after the peer deleted it.
/// Without it, two sides that disagree would make and delete it without end (RFC 9611 §7).
pub const RESOURCE_SA_PATIENCE: Duration = Duration::from_secs(10);

/// How long none is asked for again after the peer refused one more, or deleted one before that time. Without it, each
/// rekey would bring a request of each worker to a peer that wants none (RFC 9611 §7).
pub const RESOURCE_SA_RETRY: Duration = Duration::from_secs(600);

/// How often one more Child SA for a resource is asked for that the peer could not make just then (TEMPORARY_FAILURE).
/// Without it, one that never can would be asked without end.
pub const RESOURCE_SA_TRIES: u8 = 4;

/// Exchanges waiting for their turn on one IKE SA. Without it, commands to a silent peer would pile up.
pub const MAX_QUEUED: usize = 512;

/// Octets of a packet that INVALID_SELECTORS quotes, as much as an ICMP error would (RFC 792, RFC 1812 §4.3.2.3). Without
/// it, a peer that sends large packets makes us send large messages.
pub const OFFENDING_PACKET: usize = 548;

/// How long after INVALID_SELECTORS none is sent on the same IKE SA, nor another one of the peer's reported. Without it,
/// each packet that a peer sends outside its selectors costs us an exchange, or each message a line of our log.
pub const INVALID_SELECTORS_PAUSE: Duration = Duration::from_secs(10);

/// Times an initiator starts IKE_SA_INIT over because of COOKIE or INVALID_KE_PAYLOAD (RFC 7296 §2.6). Without it, a
/// spoofed answer could make two honest sides play ping-pong.
pub const MAX_INIT_RETRIES: u32 = 4;

/// Answers to datagrams of unknown senders (INVALID_IKE_SPI, INVALID_MAJOR_VERSION; RFC 7296 §2.21.4) per second.
/// Without it, we would be a reflector.
pub const UNKNOWN_ANSWERS_PER_SECOND: u32 = 10;

/// Longest COOKIE (RFC 7296 §2.6).
pub const MAX_COOKIE: usize = 64;

/// Life of a cookie secret; cookies of the previous one are accepted for as long again (RFC 7296 §2.6).
pub const COOKIE_SECRET_LIFETIME: Duration = Duration::from_secs(60);

/// How long an exchange that the peer could not take just now (TEMPORARY_FAILURE, RFC 7296 §2.25) waits before it is
/// tried again, at least; up to as much again is added at random, so that two sides do not meet again.
pub const TEMPORARY_FAILURE_WAIT: Duration = Duration::from_secs(2);

/// How long a deleted SA lingers: an IKE SA to repeat its last response, a replaced Child SA for packets under way.
pub const LINGER: Duration = Duration::from_secs(5);

/// How long a rekey that the peer refused waits before it is tried again, at least.
pub const REKEY_RETRY: Duration = Duration::from_secs(30);

/// Peers that are dialled for traffic at once, of those that have not answered yet. Without it, a scan of a protected /16
/// would make 65,000 half-open SAs of our own. All of a /24 fit.
pub const DIALLING: usize = 256;

/// How long a peer has to answer at least before another one may take its place, when too many are dialled. Without it,
/// peers that do not exist would keep those that do from being dialled for as long as retransmission goes on.
pub const DIALLING_PATIENCE: Duration = Duration::from_secs(4);

/// Failures that are known again when they repeat. Without it, a scan would make us remember each address.
pub const REMEMBERED_FAILURES: usize = 1_024;
