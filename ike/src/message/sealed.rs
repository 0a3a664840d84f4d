//! The envelope: SK (RFC 7296 §3.14, RFC 5282 for AEADs) and SKF (RFC 7383 §2.5).
//!
//! ```text
//!  ├──────────────── associated data ───────────────┤
//!  header ─ (clear payloads) ─ SK generic header     │ IV │ payloads ─ padding ─ pad length │ ICV
//!  header ─ (clear payloads) ─ SKF generic header    │ IV │ part     ─ padding ─ pad length │ ICV
//!                              number, total         │    ├────────── encrypted ───────────┤
//! ```
//!
//! The associated data runs from the IKE header to the SK generic header inclusive (RFC 5282 §5.1), for SKF to its
//! fragment numbers inclusive (RFC 7383 §2.5). A cipher with a separate MAC covers the same octets, the IV and the
//! ciphertext (RFC 7296 §3.14).
//!
//! [`Opened`] and [`Fragment`] have no constructor outside of this module: to hold one is to know that the integrity
//! check succeeded. Payloads in front of SK or SKF are authenticated but not confidential, and no exchange has any:
//! they are walked, not shown.

mod open;
mod seal;
#[cfg(test)]
mod tests;

pub use open::{Fragment, OpenError, Opened, Opener, Reassembled, Received};
pub use seal::{SealError, Sealer};
