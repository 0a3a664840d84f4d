//! Certificate and Certificate Request payloads (RFC 7296 §3.6, §3.7).
//!
//! ```text
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! | Cert Encoding |                                               |
//! +-+-+-+-+-+-+-+-+                                               |
//! ~              Certificate Data, Certification Authority        ~
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```

use super::super::numbers::CertEncoding;
use super::super::{Decode, DecodeError, Encode, Reader, Writer};

/// A certificate. The first of a message holds the key that signs AUTH.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cert<'a> {
    /// How to read `data`; DER for [`CertEncoding::X509_SIGNATURE`].
    pub encoding: CertEncoding,
    /// The certificate.
    pub data: &'a [u8],
}

/// Which certificates the sender can use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CertReq<'a> {
    /// The encoding it wants.
    pub encoding: CertEncoding,
    /// Trusted authorities: concatenated SHA-1 hashes of their SubjectPublicKeyInfo.
    pub authorities: &'a [u8],
}

impl<'a> CertReq<'a> {
    /// The hashes of the trusted authorities' public keys. An incomplete last one is left out.
    pub fn key_hashes(&self) -> impl Iterator<Item = &'a [u8; 20]> {
        self.authorities.as_chunks::<20>().0.iter()
    }
}

impl<'a> Decode<'a> for Cert<'a> {
    fn decode(r: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(Self { encoding: CertEncoding(r.u8()?), data: r.rest() })
    }
}

impl Encode for Cert<'_> {
    fn encode(&self, w: &mut Writer) {
        w.u8(self.encoding.0);
        w.bytes(self.data);
    }
}

impl<'a> Decode<'a> for CertReq<'a> {
    fn decode(r: &mut Reader<'a>) -> Result<Self, DecodeError> {
        Ok(Self { encoding: CertEncoding(r.u8()?), authorities: r.rest() })
    }
}

impl Encode for CertReq<'_> {
    fn encode(&self, w: &mut Writer) {
        w.u8(self.encoding.0);
        w.bytes(self.authorities);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_octets() {
        let cert = Cert::decode(&mut Reader::new(&[4, 0x30, 0])).unwrap();
        assert_eq!(cert, Cert { encoding: CertEncoding::X509_SIGNATURE, data: &[0x30, 0] });
        assert_eq!(Cert::decode(&mut Reader::new(&[])), Err(DecodeError::Truncated));
    }

    #[test]
    fn a_request_lists_hashes() {
        let octets: Vec<u8> = std::iter::once(4).chain([1; 20]).chain([2; 20]).chain([3; 5]).collect();
        let request = CertReq::decode(&mut Reader::new(&octets)).unwrap();
        assert_eq!(request.key_hashes().collect::<Vec<_>>(), [&[1; 20], &[2; 20]]);
        let mut w = Writer::new();
        request.encode(&mut w);
        assert_eq!(w.as_slice(), octets);
    }
}
