//! As much DER as keys and signatures need: one element at a time, lengths checked.

/// Tag of INTEGER.
pub(crate) const INTEGER: u8 = 0x02;
/// Tag of OCTET STRING.
pub(crate) const OCTET_STRING: u8 = 0x04;
/// Tag of OBJECT IDENTIFIER.
pub(crate) const OID: u8 = 0x06;
/// Tag of SEQUENCE.
pub(crate) const SEQUENCE: u8 = 0x30;
/// Tag of the curve parameters in an ECPrivateKey (RFC 5915 §3).
pub(crate) const CONTEXT_0: u8 = 0xa0;

/// Takes one element with `tag` off the front of `input`, and yields its content.
pub(crate) fn take<'a>(input: &mut &'a [u8], tag: u8) -> Option<&'a [u8]> {
    let (&[found, first], rest) = input.split_first_chunk::<2>()?;
    if found != tag {
        return None;
    }
    let (len, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (octets, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (octets.iter().fold(0, |len, octet| len << 8 | usize::from(*octet)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(len)?;
    *input = rest;
    Some(content)
}

/// One element.
pub(crate) fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    match content.len() {
        len @ 0..=0x7f => out.push(len as u8),
        len => {
            let octets = (len as u64).to_be_bytes();
            let octets = &octets[octets.iter().take_while(|octet| **octet == 0).count()..];
            out.push(0x80 | octets.len() as u8);
            out.extend_from_slice(octets);
        }
    }
    out.extend_from_slice(content);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_round_trip() {
        for len in [0, 1, 127, 128, 255, 256, 70_000] {
            let content = vec![7; len];
            let der = element(OCTET_STRING, &content);
            let mut input = &der[..];
            assert_eq!(take(&mut input, OCTET_STRING), Some(&content[..]));
            assert!(input.is_empty());
            assert_eq!(take(&mut &der[..der.len() - 1], OCTET_STRING), None);
            assert_eq!(take(&mut &der[..], INTEGER), None);
        }
    }
}
