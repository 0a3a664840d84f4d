//! Arbitrary payloads. Payloads borrow, so what is generated is an owned twin that lends itself.

use std::borrow::Cow;
use std::net::IpAddr;

use cygnet_esp::Spi;
use cygnet_spd::{AddrRange, PortRange, TrafficSelector};
use proptest::collection::vec;
use proptest::prelude::*;

use super::super::payload::*;
use super::super::*;

type Octets = Vec<u8>;

/// Type, identifier, attributes in short or long form.
type OwnedTransform = (u8, u16, Vec<(u16, Result<u16, Octets>)>);

/// Proposal number is its place.
#[derive(Debug, Clone)]
pub(super) struct OwnedProposal {
    protocol: u8,
    spi: Octets,
    transforms: Vec<OwnedTransform>,
}

#[derive(Debug, Clone)]
pub(super) enum Owned {
    Sa(Vec<OwnedProposal>),
    Ke(u16, Octets),
    Id(bool, u8, [u8; 3], Octets),
    Cert(bool, u8, Octets),
    Auth(u8, Octets),
    Nonce(Octets),
    Notify(u8, Octets, u16, Octets),
    Delete(Option<Vec<u32>>),
    VendorId(Octets),
    Ts(bool, Vec<TrafficSelector>, Vec<(u8, u8, Octets)>),
    Cp(u8, Vec<(u16, Octets)>),
    Eap(u8, Octets),
    Unknown(u8, Octets),
}

impl Owned {
    pub(super) fn borrow(&self) -> Payload<'_> {
        match self {
            Self::Sa(proposals) => {
                Payload::Sa(Sa { proposals: (1..).zip(proposals).map(|(number, p)| p.borrow(number)).collect() })
            }
            Self::Ke(method, data) => Payload::Ke(Ke { method: KeId(*method), data }),
            Self::Id(initiator, kind, reserved, data) => {
                let id = Id { kind: IdType(*kind), reserved: *reserved, data };
                if *initiator { Payload::IdI(id) } else { Payload::IdR(id) }
            }
            Self::Cert(true, encoding, data) => Payload::Cert(Cert { encoding: CertEncoding(*encoding), data }),
            Self::Cert(false, encoding, authorities) => {
                Payload::CertReq(CertReq { encoding: CertEncoding(*encoding), authorities })
            }
            Self::Auth(method, data) => Payload::Auth(Auth { method: AuthMethod(*method), data }),
            Self::Nonce(nonce) => Payload::Nonce(Nonce(nonce)),
            Self::Notify(protocol, spi, kind, data) => {
                let protocol = ProtocolId(*protocol);
                Payload::Notify(Notify { protocol, spi: wire_spi(spi), kind: NotifyType(*kind), data })
            }
            Self::Delete(None) => Payload::Delete(Delete::ike()),
            Self::Delete(Some(spis)) => Payload::Delete(Delete::esp(spis.iter().copied().map(Spi))),
            Self::VendorId(id) => Payload::VendorId(VendorId(id)),
            Self::Ts(initiator, selectors, unknown) => {
                let unknown = unknown.iter().map(|(kind, protocol, body)| UnknownSelector {
                    kind: TsType(*kind),
                    protocol: *protocol,
                    body,
                });
                let ts = Ts { selectors: selectors.clone(), unknown: unknown.collect() };
                if *initiator { Payload::TsI(ts) } else { Payload::TsR(ts) }
            }
            Self::Cp(kind, attributes) => {
                let attributes =
                    attributes.iter().map(|(kind, value)| CfgAttribute { kind: CfgAttributeType(*kind), value });
                Payload::Cp(Cp { kind: CfgType(*kind), attributes: attributes.collect() })
            }
            Self::Eap(identifier, data) => Payload::Eap(Eap { code: EapCode::RESPONSE, identifier: *identifier, data }),
            Self::Unknown(kind, body) => Payload::Unknown { kind: PayloadType(*kind), critical: false, body },
        }
    }
}

impl OwnedProposal {
    fn borrow(&self, number: u8) -> Proposal<'_> {
        let transforms = self.transforms.iter().map(|(kind, id, attributes)| Transform {
            kind: TransformType(*kind),
            id: *id,
            attributes: attributes
                .iter()
                .map(|(kind, value)| match value {
                    Ok(value) => Attribute::Short(AttributeType(*kind), *value),
                    Err(value) => Attribute::Long(AttributeType(*kind), value),
                })
                .collect(),
        });
        let spi = wire_spi(&self.spi);
        Proposal { number, protocol: ProtocolId(self.protocol), spi, transforms: transforms.collect() }
    }
}

fn wire_spi(octets: &[u8]) -> WireSpi<'_> {
    match octets.len() {
        0 => WireSpi::None,
        4 => WireSpi::Esp(Spi(u32::from_be_bytes(octets.try_into().unwrap()))),
        8 => WireSpi::Ike(IkeSpi(u64::from_be_bytes(octets.try_into().unwrap()))),
        _ => WireSpi::Other(octets),
    }
}

fn octets(max: usize) -> impl Strategy<Value = Octets> {
    vec(any::<u8>(), 0..=max)
}

fn proposal() -> impl Strategy<Value = OwnedProposal> {
    let protocol_and_spi = prop_oneof![
        Just((1, vec![])),
        any::<[u8; 8]>().prop_map(|spi| (1, spi.to_vec())),
        (2..=3_u8, any::<[u8; 4]>()).prop_map(|(protocol, spi)| (protocol, spi.to_vec())),
        (4..=255_u8, octets(12)),
    ];
    let value = prop_oneof![any::<u16>().prop_map(Ok), octets(8).prop_map(Err)];
    let transform = (any::<u8>(), any::<u16>(), vec((0..0x8000_u16, value), 0..4));
    (protocol_and_spi, vec(transform, 0..6)).prop_map(|((protocol, spi), transforms)| OwnedProposal {
        protocol,
        spi,
        transforms,
    })
}

fn selector() -> impl Strategy<Value = TrafficSelector> {
    let range = |(a, b): (IpAddr, IpAddr)| AddrRange::new(a.min(b), a.max(b)).unwrap();
    let v4 = any::<([u8; 4], [u8; 4])>().prop_map(move |(a, b)| range((a.into(), b.into())));
    let v6 = any::<([u8; 16], [u8; 16])>().prop_map(move |(a, b)| range((a.into(), b.into())));
    let ports = prop_oneof![
        Just(PortRange::OPAQUE),
        any::<(u16, u16)>().prop_map(|(a, b)| PortRange { start: a.min(b), end: a.max(b) }),
    ];
    (prop_oneof![v4, v6], any::<u8>(), ports).prop_map(|(addresses, protocol, ports)| TrafficSelector {
        addresses,
        protocol,
        ports,
    })
}

fn payload() -> impl Strategy<Value = Owned> {
    let not_address_range = prop_oneof![0..7_u8, 9..=255_u8];
    let unknown_kind = any::<u8>().prop_filter("known, or the envelope", |kind| {
        let kind = PayloadType(*kind);
        !Payload::is_known(kind) && ![PayloadType::NONE, PayloadType::SK, PayloadType::SKF].contains(&kind)
    });
    prop_oneof![
        vec(proposal(), 1..4).prop_map(Owned::Sa),
        (any::<u16>(), octets(64)).prop_map(|(method, data)| Owned::Ke(method, data)),
        (any::<bool>(), any::<u8>(), any::<[u8; 3]>(), octets(40)).prop_map(|(i, k, r, d)| Owned::Id(i, k, r, d)),
        (any::<bool>(), any::<u8>(), octets(64)).prop_map(|(cert, encoding, data)| Owned::Cert(cert, encoding, data)),
        (any::<u8>(), octets(64)).prop_map(|(method, data)| Owned::Auth(method, data)),
        vec(any::<u8>(), 16..=256).prop_map(Owned::Nonce),
        (any::<u8>(), octets(12), any::<u16>(), octets(40)).prop_map(|(p, s, k, d)| Owned::Notify(p, s, k, d)),
        prop::option::of(vec(any::<u32>(), 0..8)).prop_map(Owned::Delete),
        octets(32).prop_map(Owned::VendorId),
        (any::<bool>(), vec(selector(), 0..4), vec((not_address_range, any::<u8>(), octets(16)), 0..3))
            .prop_map(|(initiator, known, unknown)| Owned::Ts(initiator, known, unknown)),
        (any::<u8>(), vec((0..0x8000_u16, octets(20)), 0..5)).prop_map(|(kind, list)| Owned::Cp(kind, list)),
        (any::<u8>(), vec(any::<u8>(), 1..40)).prop_map(|(identifier, data)| Owned::Eap(identifier, data)),
        (unknown_kind, octets(32)).prop_map(|(kind, body)| Owned::Unknown(kind, body)),
    ]
}

/// Up to `max` payloads.
pub(super) fn payloads(max: usize) -> impl Strategy<Value = Vec<Owned>> {
    vec(payload(), 0..=max)
}

#[test]
fn a_delete_is_equal_borrowed_or_owned() {
    let owned = Delete::esp([Spi(1)]);
    let borrowed = Delete { spis: Cow::Borrowed(&[0, 0, 0, 1]), ..owned.clone() };
    assert_eq!(owned, borrowed);
}
