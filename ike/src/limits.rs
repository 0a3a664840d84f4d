//! Bounds on what an unauthenticated or hostile peer can make us do, in one place.
//!
//! Each constant says what an attacker would gain without it.

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
