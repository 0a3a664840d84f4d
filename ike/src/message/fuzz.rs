//! Bodies of the fuzz targets, as functions: `cargo test` runs them too.

use cygnet_esp::Encr;

use super::chain::Chain;
use super::numbers::PayloadType;
use super::sealed::{Opener, Reassembled, Received, Sealer};
use super::{ExchangeType, Flags, Header, IkeSpi, Message, MessageBuilder, MessageId, Payload};

/// Any datagram: reading it ends, and what was read encodes to a message that reads the same.
///
/// # Panics
/// If a law is broken.
pub fn message(datagram: &[u8]) {
    let _ = Header::peek(datagram);
    if let Ok(message) = Message::decode(datagram) {
        round_trip(&message.header, &message.payloads);
    }
}

/// Any datagram, to an endpoint with keys; and any content, from a peer that has them.
///
/// # Panics
/// If a law is broken.
pub fn sealed(octets: &[u8]) {
    for encr in [Encr::find(20, Some(128), None), Encr::find(12, Some(128), Some(12))].into_iter().flatten() {
        let (encryption, integrity) = (vec![1; encr.encryption_len()], vec![2; encr.integ_key_len]);
        let (Ok(opener), Ok(mut sealer)) =
            (Opener::new(encr, &encryption, &integrity), Sealer::new(encr, &encryption, &integrity))
        else {
            continue;
        };
        let _ = opener.open(&mut octets.to_vec());

        let Some((&first, content)) = octets.split_first() else { continue };
        let header = Header::new(IkeSpi(1), IkeSpi(2), ExchangeType::INFORMATIONAL, Flags::request(true), MessageId(3));
        let inner = MessageBuilder::from_content(header, PayloadType(first), content);
        for max in [128, 65_535] {
            let Ok(datagrams) = sealer.seal_fragmented(&inner, max) else { continue };
            let mut fragments = Vec::new();
            for mut datagram in datagrams {
                match opener.open(&mut datagram) {
                    Ok(Received::Whole(opened)) => round_trip(opened.header(), opened.payloads()),
                    Ok(Received::Fragment(fragment)) => fragments.push(fragment),
                    Err(error) => assert!(matches!(error, super::OpenError::Content(_)), "{error}"),
                }
            }
            if !fragments.is_empty() {
                let whole = Reassembled::new(&fragments).expect("our own fragments fit together");
                assert_eq!(whole.content(), content);
                let _ = whole.opened();
            }
        }
    }
}

/// Any payload body of any type.
///
/// # Panics
/// If a law is broken.
pub fn payload(octets: &[u8]) {
    if let Some((&kind, body)) = octets.split_first() {
        let _ = Payload::decode(PayloadType(kind), false, body);
    }
}

fn round_trip(header: &Header, payloads: &Chain<'_>) {
    let mut builder = MessageBuilder::new(*header);
    payloads.iter().for_each(|payload| {
        builder.push(payload);
    });
    let datagram = builder.encode();
    let again = Message::decode(&datagram).expect("what was read can be written and read");
    assert_eq!(&again.payloads, payloads);
}
