//! Checksums of packets whose addresses a NAT changed, unseen inside ESP (RFC 3948 §3.1.2).

use std::net::IpAddr;

use crate::checksum::{Sum, update};
use crate::ip::protocol::{DCCP, ICMPV6, MOBILITY, TCP, UDP, UDP_LITE};

/// The next layer header ends before its checksum.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooShort;

/// Corrects the checksum of a next layer packet, computed with a pseudo-header of the `original` source and
/// destination, for the `actual` ones. Protocols without a pseudo-header, such as ICMP over IPv4 and SCTP, and unknown
/// ones are left alone; so are addresses inside payloads.
///
/// The update is incremental, so that damage that the checksum would have shown it still shows.
///
/// # Errors
/// [`TooShort`]; nothing is changed then.
#[inline]
pub(super) fn correct(
    protocol: u8,
    v6: bool,
    upper: &mut [u8],
    original: (IpAddr, IpAddr),
    actual: (IpAddr, IpAddr),
) -> Result<(), TooShort> {
    // Partial coverage of UDP-Lite and DCCP still includes the pseudo-header (RFC 3828 §3.1, RFC 4340 §9.2).
    let at = match protocol {
        TCP => 16,
        UDP | UDP_LITE | DCCP => 6,
        ICMPV6 if v6 => 2,
        MOBILITY if v6 => 4,
        _ => return Ok(()),
    };
    let field = upper.get_mut(at..at + 2).and_then(<[u8]>::as_mut_array).ok_or(TooShort)?;
    let old = u16::from_be_bytes(*field);
    // None was computed (RFC 768, RFC 6935).
    if protocol == UDP && old == 0 {
        return Ok(());
    }
    let new = update(old, Sum::addresses(original.0, original.1), Sum::addresses(actual.0, actual.1));
    // Zero would say that none was computed; in ones' complement it has a second form (RFC 768, RFC 3828 §3.1).
    let new = if new == 0 && matches!(protocol, UDP | UDP_LITE) { 0xffff } else { new };
    *field = new.to_be_bytes();
    Ok(())
}
