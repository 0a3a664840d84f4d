//! What AUTH covers (RFC 7296 §2.15).

use crate::crypto::key_schedule::SkP;

/// `InitiatorSignedOctets = RealMessage1 | NonceRData | MACedIDForI`, and the responder's mirror image.
///
/// `real_message` is the signer's IKE_SA_INIT message as sent last, from its first octet on; `peer_nonce` the other
/// side's nonce data; `sk_p` and `id_body` (ID Type, RESERVED, Identification Data, as on the wire) the signer's.
pub fn signed_octets(real_message: &[u8], peer_nonce: &[u8], sk_p: &SkP, id_body: &[u8]) -> Vec<u8> {
    [real_message, peer_nonce, sk_p.mac(id_body).expose()].concat()
}
