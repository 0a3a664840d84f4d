//! Laws of the codec, and octets that strongSwan's own tools exchange.

use proptest::prelude::*;
use zeroize::Zeroizing;

use super::message::{MAX_DEPTH, MAX_ELEMENTS};
use super::*;

/// `terminate {ike=gw timeout=1000}` as `swanctl --terminate --ike gw --timeout 1` sends it.
const TERMINATE: &[u8] = b"\x00\x09terminate\x03\x03ike\x00\x02gw\x03\x07timeout\x00\x041000";

#[test]
fn a_recorded_request_decodes_and_encodes_to_itself() {
    let arguments = Message::new().with("ike", "gw").with("timeout", 1000);
    let packet = Packet::Request { command: "terminate".into(), arguments };
    assert_eq!(Packet::decode(TERMINATE), Ok(packet.clone()));
    assert_eq!(packet.encode().unwrap(), TERMINATE);
}

#[test]
fn order_is_kept_and_lookups_find_each_kind() {
    let message = Message::new()
        .with("b", 1)
        .with_list("list", ["x", "y"])
        .with_section("", Message::new().with("inner", "yes"))
        .with("a", 2);
    let mut octets = Vec::new();
    message.encode(&mut octets).unwrap();
    let back = Message::decode(&octets).unwrap();
    assert_eq!(back.entries().map(|(name, _)| name).collect::<Vec<_>>(), ["b", "list", "", "a"]);
    assert_eq!(back.text("a"), Some("2"));
    assert_eq!(back.list("list"), ["x", "y"]);
    assert!(back.section("").unwrap().flag("inner"));
    assert_eq!(back.text("list"), None);
}

#[test]
fn duplicate_names_are_an_error_both_ways() {
    let twice = b"\x03\x01k\x00\x00\x04\x01k\x06";
    assert_eq!(Message::decode(twice), Err(DecodeError::DuplicateName("k".into())));
    let message = Message::new().with("k", 1).with("k", 2);
    assert_eq!(message.encode(&mut Vec::new()), Err(EncodeError::DuplicateName("k".into())));
}

#[test]
fn nesting_is_bounded_both_ways() {
    let nested = |depth: usize| [b"\x01\x01s".repeat(depth), b"\x02".repeat(depth)].concat();
    assert!(Message::decode(&nested(MAX_DEPTH)).is_ok());
    assert_eq!(Message::decode(&nested(MAX_DEPTH + 1)), Err(DecodeError::TooDeep));
    assert_eq!(Message::decode(&nested(100_000)), Err(DecodeError::TooDeep));
    let deep = |depth| (0..depth).fold(Message::new(), |inner, _| Message::new().with_section("s", inner));
    assert!(deep(MAX_DEPTH).encode(&mut Vec::new()).is_ok());
    assert_eq!(deep(MAX_DEPTH + 1).encode(&mut Vec::new()), Err(EncodeError::TooDeep));
}

#[test]
fn elements_are_bounded_both_ways() {
    let list = |n: usize| [&b"\x04\x01l"[..], &b"\x05\x00\x00".repeat(n), b"\x06"].concat();
    assert!(Message::decode(&list(MAX_ELEMENTS - 1)).is_ok());
    assert_eq!(Message::decode(&list(MAX_ELEMENTS)), Err(DecodeError::TooManyElements));
    let message = Message::new().with_list("l", vec![""; MAX_ELEMENTS]);
    assert_eq!(message.encode(&mut Vec::new()), Err(EncodeError::TooManyElements));
}

#[test]
fn long_names_and_values_are_refused_not_truncated() {
    let out = &mut Vec::new();
    assert!(matches!(Message::new().with("n".repeat(256), "").encode(out), Err(EncodeError::NameTooLong(_))));
    let long = "v".repeat(65536);
    assert_eq!(Message::new().with("n", &long).encode(out), Err(EncodeError::ValueTooLong("n".into())));
    assert!(Message::new().with("n", &long[1..]).encode(out).is_ok());
    let many = (0..9).fold(Message::new(), |m, i| m.with(i.to_string(), &long[1..]));
    assert_eq!(Packet::Response(many).encode(), Err(EncodeError::TooLong));
}

#[test]
fn misplaced_elements_are_refused() {
    for (octets, error) in [
        (&b"\x02"[..], DecodeError::Misplaced(2)),
        (b"\x05\x00\x00", DecodeError::Misplaced(5)),
        (b"\x06", DecodeError::Misplaced(6)),
        (b"\x04\x01l\x03\x01k\x00\x00\x06", DecodeError::Misplaced(3)),
        (b"\x04\x01l", DecodeError::Unclosed),
        (b"\x01\x01s", DecodeError::Unclosed),
        (b"\x07", DecodeError::UnknownType(7)),
        (b"\x03\x01\xff\x00\x00", DecodeError::Name),
    ] {
        assert_eq!(Message::decode(octets), Err(error), "{octets:?}");
    }
}

#[tokio::test]
async fn a_frame_beyond_the_cap_is_refused_before_its_buffer_is_allocated() {
    let mut stream = &b"\xff\xff\xff\xff"[..];
    assert_eq!(read_frame(&mut stream).await.unwrap_err().kind(), std::io::ErrorKind::InvalidData);
    let mut stream = &b"\x00\x00\x00\x05ab"[..];
    assert_eq!(read_frame(&mut stream).await.unwrap_err().kind(), std::io::ErrorKind::UnexpectedEof);
    let mut stream = &b"\x00\x00"[..];
    assert_eq!(read_frame(&mut stream).await.unwrap_err().kind(), std::io::ErrorKind::UnexpectedEof);
    assert!(read_frame(&mut &b""[..]).await.unwrap().is_none());
}

#[test]
fn every_truncation_and_bit_flip_of_a_request_is_an_error_or_a_value() {
    for end in 0..TERMINATE.len() {
        fuzz(&TERMINATE[..end]);
    }
    for bit in 0..TERMINATE.len() * 8 {
        let mut octets = TERMINATE.to_vec();
        octets[bit / 8] ^= 1 << (bit % 8);
        fuzz(&octets);
    }
}

fn messages() -> impl Strategy<Value = Message> {
    let octets = || prop::collection::vec(any::<u8>(), 0..40).prop_map(Zeroizing::new);
    let leaf =
        prop_oneof![octets().prop_map(Value::Scalar), prop::collection::vec(octets(), 0..5).prop_map(Value::List)];
    let value = leaf.prop_recursive(6, 64, 6, |inner| {
        prop::collection::btree_map(".{0,8}", inner, 0..6).prop_map(|entries| Value::Section(collect(entries)))
    });
    prop::collection::btree_map(".{0,8}", value, 0..6).prop_map(collect)
}

fn collect(entries: impl IntoIterator<Item = (String, Value)>) -> Message {
    let mut message = Message::new();
    entries.into_iter().for_each(|(name, value)| message.push(name, value));
    message
}

proptest! {
    #[test]
    fn decode_undoes_encode(message in messages(), name in ".{0,20}") {
        for packet in [
            Packet::Request { command: name.clone(), arguments: message.clone() },
            Packet::Event { name, details: message.clone() },
            Packet::Response(message),
        ] {
            prop_assert_eq!(Packet::decode(&packet.encode().unwrap()), Ok(packet));
        }
    }

    #[test]
    fn any_octets_are_an_error_or_a_value(octets in prop::collection::vec(0_u8..9, 0..200)) {
        fuzz(&octets);
    }
}
