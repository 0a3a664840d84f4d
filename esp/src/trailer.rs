//! The ESP trailer: padding, pad length, next header (RFC 4303 §2.4–2.6).

use crate::NextHeader;
use crate::packet::{NoRoom, PacketBuf};

/// Octets of pad length and next header.
pub(crate) const FIXED_LEN: usize = 2;

/// Octets of trailer that make a payload of `len` octets end on a multiple of `align`, a power of two.
#[inline]
pub(crate) fn len(payload: usize, align: usize) -> usize {
    FIXED_LEN + ((payload + FIXED_LEN).wrapping_neg() & (align - 1))
}

/// Appends a trailer of `len` octets (at most 257): padding 1, 2, 3, …, its length, `next`.
#[inline]
pub(crate) fn append(packet: &mut PacketBuf, len: usize, next: NextHeader) -> Result<(), NoRoom> {
    let trailer = packet.append(len)?;
    if let [padding @ .., pad_len, next_header] = trailer {
        *pad_len = padding.len() as u8;
        *next_header = next.0;
        for (octet, value) in padding.iter_mut().zip(1..=u8::MAX) {
            *octet = value;
        }
    }
    Ok(())
}

/// The trailer is not one that a sender may write; after decryption with a verified ICV this is the peer's mistake.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadTrailer;

/// Removes the trailer. The padding must be the default content, which RFC 4303 §2.4 says the receiver SHOULD inspect.
#[inline]
pub(crate) fn strip(packet: &mut PacketBuf) -> Result<NextHeader, BadTrailer> {
    let [payload @ .., pad_len, next] = packet.data() else { return Err(BadTrailer) };
    let (pad_len, next) = (*pad_len as usize, NextHeader(*next));
    let start = payload.len().checked_sub(pad_len).ok_or(BadTrailer)?;
    if payload[start..].iter().zip(1..=u8::MAX).any(|(&octet, expected)| octet != expected) {
        return Err(BadTrailer);
    }
    packet.truncate(start);
    Ok(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pads_to_the_alignment() {
        for (payload, align, expected) in [
            (0, 4, vec![1, 2, 2, 4]),
            (1, 4, vec![1, 1, 4]),
            (2, 4, vec![0, 4]),
            (3, 4, vec![1, 2, 3, 3, 4]),
            (14, 16, vec![0, 4]),
            (15, 16, vec![1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 15, 4]),
        ] {
            let mut packet = PacketBuf::new(64, 0);
            packet.append(payload).unwrap();
            append(&mut packet, len(payload, align), NextHeader::IPV4).unwrap();
            assert_eq!(packet.data()[payload..], expected, "{payload} octets to {align}");
            assert_eq!(packet.len() % align, 0);
            assert_eq!(strip(&mut packet), Ok(NextHeader::IPV4));
            assert_eq!(packet.len(), payload);
        }
    }

    #[test]
    fn accepts_any_legal_length_of_padding() {
        let mut packet = PacketBuf::new(512, 0);
        packet.extend(&[0xaa; 3]).unwrap();
        packet.extend(&Vec::from_iter(1..=255)).unwrap();
        packet.extend(&[255, 59]).unwrap();
        assert_eq!(strip(&mut packet), Ok(NextHeader::NONE));
        assert_eq!(packet.data(), [0xaa; 3]);
    }

    #[test]
    fn refuses_wrong_padding() {
        for octets in [&[][..], &[4], &[1, 4], &[0, 1, 4], &[1, 3, 2, 4], &[1, 2, 3, 5, 4, 4], &[9, 0, 0, 3, 4]] {
            let mut packet = PacketBuf::new(16, 0);
            packet.extend(octets).unwrap();
            assert_eq!(strip(&mut packet), Err(BadTrailer), "{octets:?}");
            assert_eq!(packet.data(), octets);
        }
    }
}
