//! Bodies of the fuzz targets, as functions: `cargo test` replays their corpus.

use cygnet_esp::Encr;

use super::chain::Chain;
use super::numbers::PayloadType;
use super::sealed::{OpenError, Opener, Reassembled, Received, Sealer};
use super::{ExchangeType, Flags, Header, IkeSpi, Message, MessageBuilder, MessageId, Payload, Version};

/// Whatever the octets: as a datagram, in the clear or under our keys; as what an authenticated peer protected; as
/// the body of any payload.
///
/// # Panics
/// If a law is broken.
pub fn message(octets: &[u8]) {
    clear(octets);
    forged(octets);
    content(octets);
    payload(octets);
}

/// Reading a datagram ends, and what was read is written as a message that reads the same.
///
/// # Panics
/// If a law is broken.
pub fn clear(octets: &[u8]) {
    let _ = Header::peek(octets);
    if let Ok(message) = Message::decode(octets) {
        round_trip(&message.header, &message.payloads);
    }
}

/// Without the keys nobody makes a datagram that opens.
///
/// # Panics
/// If a law is broken.
pub fn forged(octets: &[u8]) {
    for (_, opener) in keys() {
        let mut octets = octets.to_vec();
        let opened = opener.open(&mut octets);
        assert!(matches!(opened, Err(OpenError::Envelope(_) | OpenError::Integrity)), "nobody sealed this");
    }
}

/// What an authenticated peer protects, whole and in fragments: first octet the first payload's type, then payloads.
///
/// # Panics
/// If a law is broken.
pub fn content(octets: &[u8]) {
    let Some((&first, content)) = octets.split_first() else { return };
    let header = Header::new(IkeSpi(1), IkeSpi(2), ExchangeType::INFORMATIONAL, Flags::request(true), MessageId(3));
    let inner = MessageBuilder::from_content(header, PayloadType(first), content);
    for (mut sealer, opener) in keys() {
        for max in [150, usize::MAX] {
            let Ok(datagrams) = sealer.seal_fragmented(&inner, max) else { continue };
            let mut fragments = Vec::new();
            for mut datagram in datagrams {
                assert!(datagram.len() <= max);
                match opener.open(&mut datagram) {
                    Ok(Received::Whole(opened)) => round_trip(opened.header(), opened.payloads()),
                    Ok(Received::Fragment(fragment)) => fragments.push(fragment),
                    Err(OpenError::Content(_)) => {}
                    Err(error) => panic!("we sealed it: {error}"),
                }
            }
            if !fragments.is_empty() {
                let whole = Reassembled::new(&fragments).expect("our own fragments fit together");
                assert_eq!(whole.content(), content);
                if let Ok(opened) = whole.opened() {
                    round_trip(opened.header(), opened.payloads());
                }
            }
        }
    }
}

/// A payload by its body: first octet its type.
///
/// # Panics
/// If a law is broken.
pub fn payload(octets: &[u8]) {
    let Some((&kind, body)) = octets.split_first() else { return };
    let _ = Payload::decode(PayloadType(kind), false, body);
}

fn round_trip(header: &Header, payloads: &Chain<'_>) {
    // A minor version is ignored on receipt.
    let mut builder = MessageBuilder::new(Header { version: Version::V2, ..*header });
    payloads.iter().for_each(|payload| {
        builder.push(payload);
    });
    let datagram = builder.encode();
    let again = Message::decode(&datagram).expect("what was read can be written and read");
    assert_eq!(&again.payloads, payloads);
}

/// An AEAD and a cipher with a separate MAC, under fixed keys.
fn keys() -> impl Iterator<Item = (Sealer, Opener)> {
    let rows = [Encr::find(20, Some(128), None), Encr::find(12, Some(128), Some(12))];
    rows.into_iter().flatten().filter_map(|encr| {
        let (encryption, integrity) = (vec![1; encr.encryption_len()], vec![2; encr.integ_key_len]);
        Some((Sealer::new(encr, &encryption, &integrity).ok()?, Opener::new(encr, &encryption, &integrity).ok()?))
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_corpus_holds() {
        let corpus = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/message")).unwrap();
        let replayed = corpus.map(|entry| super::message(&std::fs::read(entry.unwrap().path()).unwrap())).count();
        assert!(replayed > 0, "the corpus is empty");
    }
}
