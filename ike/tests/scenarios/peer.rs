//! Peers that break a rule or read it otherwise than we do: the test holds the keys and writes A's messages itself.

use cygnet_esp::Spi;
use cygnet_ike::message::payload::{Delete, Ke, Nonce, Notify, Proposal, Sa, Transform, Ts, WireSpi};
use cygnet_ike::message::*;
use cygnet_ike::proposal::Protocol;
use cygnet_ike::status::ChildStatus;
use cygnet_ike::testing::scenario::{NETS, proposals, selectors};
use cygnet_ike::testing::{Kind, Packet, Side, at};
use cygnet_ike::{Event, SessionKeys};

use super::*;

/// Plays side A, which initiated the IKE SA, against B.
struct Forger {
    pair: Pair,
    spis: (IkeSpi, IkeSpi),
    sealer: [Sealer; 2],
    opener: Opener,
    next: u32,
}

impl Forger {
    /// A tunnel whose keys are known; B's configuration bent.
    fn new(bend: impl Fn(&mut Scenario)) -> Self {
        let pair = tunnel(1, Side::A, |_, scenario| {
            scenario.config.report_keys = true;
            bend(scenario);
        });
        let keys = pair.a.events.iter().find_map(|event| match event {
            Event::Keys(SessionKeys::Ike { spi_i, spi_r, sk_ei, sk_er, .. }) => {
                Some(((*spi_i, *spi_r), sk_ei.expose().to_vec(), sk_er.expose().to_vec()))
            }
            _ => None,
        });
        let (spis, sk_ei, sk_er) = keys.expect("keys are reported");
        let encr = pair.a.ike_sas()[0].algorithms.unwrap().encr;
        let sealer = [&sk_ei, &sk_er].map(|key| Sealer::new(encr, key, &[]).unwrap());
        Self { pair, spis, sealer, opener: Opener::new(encr, &sk_er, &[]).unwrap(), next: 2 }
    }

    fn header(&self, exchange: ExchangeType, flags: Flags, id: u32) -> Header {
        Header::new(self.spis.0, self.spis.1, exchange, flags, MessageId(id))
    }

    /// Sends a request as A; gives B's answer to `read`.
    fn ask<T>(
        &mut self,
        exchange: ExchangeType,
        write: impl FnOnce(&mut MessageBuilder),
        read: impl FnOnce(&Chain<'_>) -> T,
    ) -> T {
        let mut message = MessageBuilder::new(self.header(exchange, Flags::request(true), self.next));
        self.next += 1;
        write(&mut message);
        let bytes = self.sealer[0].seal(&message).unwrap();
        let before = self.pair.b.sent.len();
        self.pair.link.cut = true;
        let (from, to) = (at(Side::A, 500), at(Side::B, 500));
        self.pair.inject(Side::B, Packet { from, to, kind: Kind::Ike { marker: false }, bytes });
        let mut answer = self.pair.b.sent.get(before).expect("an answer").clone();
        match self.opener.open(&mut answer).unwrap() {
            Received::Whole(opened) => read(opened.payloads()),
            Received::Fragment(_) => panic!("no fragment expected"),
        }
    }

    /// Answers A's outstanding request in B's place.
    fn answer(&mut self, exchange: ExchangeType, id: u32, write: impl FnOnce(&mut MessageBuilder)) {
        let mut message = MessageBuilder::new(self.header(exchange, Flags::response(false), id));
        write(&mut message);
        let bytes = self.sealer[1].seal(&message).unwrap();
        let (from, to) = (at(Side::B, 500), at(Side::A, 500));
        self.pair.inject(Side::A, Packet { from, to, kind: Kind::Ike { marker: false }, bytes });
    }
}

fn errors(payloads: &Chain<'_>) -> Vec<NotifyType> {
    payloads.notifies().map(|notify| notify.kind).collect()
}

/// A request for a Child SA of the configured kind.
fn create_child(message: &mut MessageBuilder, esp: &str, spi: u32, ke: Option<Ke<'_>>) {
    let offer = &proposals(Protocol::Esp, esp)[0];
    message.push(&Payload::Sa(Sa { proposals: vec![offer.to_wire(1, WireSpi::Esp(Spi(spi)))] }));
    message.push(&Payload::Nonce(Nonce(&[7; 32])));
    if let Some(ke) = ke {
        message.push(&Payload::Ke(ke));
    }
    message.push(&Payload::TsI(Ts::from(selectors(&[NETS[0]]))));
    message.push(&Payload::TsR(Ts::from(selectors(&[NETS[1]]))));
}

#[test]
fn a_second_child_is_made() {
    let mut peer = Forger::new(|_| {});
    let errors = peer.ask(ExchangeType::CREATE_CHILD_SA, |m| create_child(m, "aes128gcm16", 4711, None), errors);
    assert_eq!(errors, []);
    assert_eq!(peer.pair.b.children().len(), 2);
}

/// RFC 7296 §2.21.3: INVALID_SYNTAX ends the IKE SA on both sides, without a Delete.
#[test]
fn invalid_syntax_ends_the_sa_of_who_says_it() {
    let mut peer = Forger::new(|scenario| scenario.child.proposals = proposals(Protocol::Esp, "aes128gcm16-x25519"));
    // A public value too short for its group.
    let ke = Ke { method: KeId::CURVE_25519, data: &[9; 31] };
    let errors =
        peer.ask(ExchangeType::CREATE_CHILD_SA, |m| create_child(m, "aes128gcm16-x25519", 4711, Some(ke)), errors);
    assert_eq!(errors, [NotifyType::INVALID_SYNTAX]);
    assert_eq!(ike_downs(&peer.pair.b), [DownReason::Failed]);
    assert_eq!(peer.pair.b.installed(), (0, 0));
}

/// RFC 7296 §2.21.3, the other side.
#[test]
fn invalid_syntax_ends_the_sa_of_who_hears_it() {
    for rekey_ike in [true, false] {
        let mut peer = Forger::new(|_| {});
        peer.pair.link.cut = true;
        let (ike, child) = (the_ike(&peer.pair.a), peer.pair.a.children()[0].id);
        peer.pair.command(Side::A, if rekey_ike { Command::RekeyIke(ike) } else { Command::RekeyChild(child) });
        peer.answer(ExchangeType::CREATE_CHILD_SA, 2, |m| {
            m.notify(NotifyType::INVALID_SYNTAX, &[]);
        });
        assert_eq!(ike_downs(&peer.pair.a), [DownReason::Failed]);
        assert_eq!(peer.pair.a.installed(), (0, 0));
        assert!(!failures(&peer.pair.a).is_empty());
    }
}

/// SPIs below 256 are reserved (RFC 4303 §2.1); zero would look like IKE on port 4500 (RFC 3948 §2.2).
#[test]
fn a_child_without_a_usable_spi_is_refused() {
    for spi in [0, 255] {
        let mut peer = Forger::new(|_| {});
        let errors = peer.ask(ExchangeType::CREATE_CHILD_SA, |m| create_child(m, "aes128gcm16", spi, None), errors);
        assert_eq!(errors, [NotifyType::NO_PROPOSAL_CHOSEN]);
        assert_eq!(peer.pair.b.installed(), (1, 1));
    }
}

/// RFC 7296 §2.5: named in the answer, and nothing else happens.
#[test]
fn an_unknown_critical_payload_fails_its_request_alone() {
    let mut peer = Forger::new(|_| {});
    let kind = PayloadType(200);
    let named = peer.ask(
        ExchangeType::INFORMATIONAL,
        |m| {
            m.push(&Payload::Unknown { kind, critical: true, body: &[1, 2] });
        },
        |payloads| payloads.notify(NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD).map(|notify| notify.data.to_vec()),
    );
    assert_eq!(named, Some(vec![200]));
    let ignored = |m: &mut MessageBuilder| {
        m.push(&Payload::Unknown { kind, critical: false, body: &[1, 2] });
    };
    assert!(peer.ask(ExchangeType::INFORMATIONAL, ignored, |p| p.is_empty()));
    assert_eq!(peer.pair.b.children().len(), 1);
}

/// RFC 7296 §1.4.1: the answer names our half; SPIs that are not the peer's own are nobody's.
#[test]
fn a_delete_that_names_both_halves_deletes_one_pair() {
    let mut peer = Forger::new(|_| {});
    let child = peer.pair.b.children().remove(0);
    let both = [child.spi_in, child.spi_out];
    let write = |m: &mut MessageBuilder| {
        m.push(&Payload::Delete(Delete::esp(both)));
    };
    let read = |p: &Chain<'_>| p.deletes().flat_map(Delete::esp_spis).collect::<Vec<_>>();
    assert_eq!(peer.ask(ExchangeType::INFORMATIONAL, write, read), [child.spi_in]);
    assert_eq!(peer.pair.b.installed(), (0, 0));
}

/// RFC 7296 §2.25: CHILD_SA_NOT_FOUND with the SPI as given.
#[test]
fn a_rekey_of_an_unknown_child_is_told_so() {
    let mut peer = Forger::new(|_| {});
    let named = peer.ask(
        ExchangeType::CREATE_CHILD_SA,
        |m| {
            create_child(m, "aes128gcm16", 4711, None);
            // Behind the others: payloads have no order.
            m.push(&Payload::Notify(Notify::about_esp(NotifyType::REKEY_SA, Spi(0x1234_5678))));
        },
        |p| p.notify(NotifyType::CHILD_SA_NOT_FOUND).and_then(|notify| notify.spi.esp()),
    );
    assert_eq!(named, Some(Spi(0x1234_5678)));
    assert_eq!(peer.pair.b.children().len(), 1);
}

/// RFC 7296 §3.3.6: a transform type that we do not understand is no reason to act as if it were not there.
#[test]
fn a_proposal_with_an_unknown_transform_type_is_not_chosen() {
    for attributes in [vec![], vec![payload::Attribute::Short(AttributeType(99), 1)]] {
        let mut peer = Forger::new(|_| {});
        let errors = peer.ask(
            ExchangeType::CREATE_CHILD_SA,
            |m| {
                let known = &proposals(Protocol::Esp, "aes128gcm16")[0];
                let mut wire: Proposal<'_> = known.to_wire(1, WireSpi::Esp(Spi(4711)));
                wire.transforms.push(Transform { kind: TransformType(6), id: 35, attributes: attributes.clone() });
                m.push(&Payload::Sa(Sa { proposals: vec![wire] }));
                m.push(&Payload::Nonce(Nonce(&[7; 32])));
                m.push(&Payload::TsI(Ts::from(selectors(&[NETS[0]]))));
                m.push(&Payload::TsR(Ts::from(selectors(&[NETS[1]]))));
            },
            errors,
        );
        assert_eq!(errors, [NotifyType::NO_PROPOSAL_CHOSEN]);
    }
}

/// What fits no TS payload is left out: any subset of what was proposed will do (RFC 7296 §2.9).
#[test]
fn narrowing_never_grants_more_selectors_than_a_payload_holds() {
    let net = |n: u8| format!("10.2.{n}.0/24");
    let mut peer = Forger::new(|scenario| {
        let nets: Vec<String> = (0..4).map(net).collect();
        let nets: Vec<&str> = nets.iter().map(String::as_str).collect();
        scenario.connection.fragment_size = None;
        match scenario.child.local_ts == selectors(&[NETS[1]]) {
            true => scenario.child.local_ts = selectors(&nets),
            false => scenario.child.remote_ts = selectors(&nets),
        }
    });
    let granted = peer.ask(
        ExchangeType::CREATE_CHILD_SA,
        |m| {
            let offer = &proposals(Protocol::Esp, "aes128gcm16")[0];
            m.push(&Payload::Sa(Sa { proposals: vec![offer.to_wire(1, WireSpi::Esp(Spi(4711)))] }));
            m.push(&Payload::Nonce(Nonce(&[7; 32])));
            m.push(&Payload::TsI(Ts::from(selectors(&[NETS[0]]))));
            let wanted: Vec<String> = (1..=100).map(|protocol| format!("10.2.0.0/16[{protocol}]")).collect();
            m.push(&Payload::TsR(Ts::from(selectors(&wanted.iter().map(String::as_str).collect::<Vec<_>>()))));
        },
        |p| p.ts_r().map(|ts| ts.selectors.clone()),
    );
    let granted = granted.unwrap();
    assert_eq!(granted.len(), 128);
    assert_eq!(peer.pair.b.children()[1].local_ts, granted);
}

/// RFC 9611 §7: TS_MAX_QUEUE, not NO_ADDITIONAL_SAS, for one that is not wanted; without SA_RESOURCE_INFO, a second SA is
/// an ordinary one (RFC 7296 §2.8).
#[test]
fn a_second_child_for_a_resource_is_made_where_several_are_wanted() {
    for wanted in [false, true] {
        let mut peer = Forger::new(|scenario| scenario.child.per_resource_sas = wanted);
        let mut ask = |spi: u32, number: Option<&[u8]>| {
            let request = |m: &mut MessageBuilder| {
                if let Some(number) = number {
                    m.notify(NotifyType::SA_RESOURCE_INFO, number);
                }
                create_child(m, "aes128gcm16", spi, None);
            };
            peer.ask(ExchangeType::CREATE_CHILD_SA, request, errors)
        };
        let answer = if wanted { NotifyType::SA_RESOURCE_INFO } else { NotifyType::TS_MAX_QUEUE };
        // Whatever the peer calls it.
        let names: [&[u8]; 3] = [&[], &[0, 0, 0, 7], &[b'x'; 200]];
        for (spi, name) in (4711..).zip(names) {
            assert_eq!(ask(spi, Some(name)), [answer]);
        }
        assert_eq!(ask(815, None), []);
        assert_eq!(peer.pair.b.children().len(), if wanted { 5 } else { 2 });
        let numbered = |child: &ChildStatus| child.resource.is_some_and(|r| r.number.is_some());
        assert_eq!(peer.pair.b.children().iter().filter(|child| numbered(child)).count(), if wanted { 3 } else { 0 });
    }
}

#[test]
fn there_is_a_bound_to_what_a_peer_may_ask_for_its_resources() {
    let ask = |peer: &mut Forger, spi: u32, resource: bool| {
        let request = |m: &mut MessageBuilder| {
            if resource {
                m.notify(NotifyType::SA_RESOURCE_INFO, &[]);
            }
            create_child(m, "aes128gcm16", spi, None);
        };
        peer.ask(ExchangeType::CREATE_CHILD_SA, request, errors)
    };
    // Twice the workers, at least; and half of all places stay for what is not for one resource.
    let half = cygnet_ike::limits::MAX_CHILDREN as u32 / 2;
    for (workers, others, bound) in [(1, 0, 64), (40, 0, 80), (64, 0, 128), (64, 100, half - 100)] {
        let mut peer = Forger::new(|scenario| {
            scenario.child.per_resource_sas = true;
            scenario.config.workers = workers;
        });
        for spi in 10_000..10_000 + others {
            assert_eq!(ask(&mut peer, spi, false), []);
        }
        for spi in 1000..1000 + bound {
            assert_eq!(ask(&mut peer, spi, true), [NotifyType::SA_RESOURCE_INFO]);
        }
        assert_eq!(ask(&mut peer, 5000, true), [NotifyType::TS_MAX_QUEUE]);
        assert_eq!(ask(&mut peer, 5001, false), []);
        assert_eq!(peer.pair.b.children().len() as u32, 1 + others + bound + 1);
    }
}

/// What nothing depends on keeps nothing else waiting, and is not asked for without end (RFC 7296 §2.25).
#[test]
fn a_peer_that_can_never_make_one_more_for_a_resource_is_asked_a_few_times_and_rekeys_go_on() {
    let mut peer = Forger::new(|scenario| scenario.child.per_resource_sas = true);
    peer.pair.link.cut = true;
    let child = peer.pair.a.children()[0].id;
    for resource in [0, 1] {
        peer.pair.command(Side::A, Command::AddResource { child, resource });
    }
    peer.pair.command(Side::A, Command::RekeyChild(child));
    let mut asked = Vec::new();
    while asked.len() < 15 {
        if let Some(task) = peer.pair.a.ike_sas()[0].active_task {
            asked.push(task);
            let id = 1 + asked.len() as u32;
            peer.answer(ExchangeType::CREATE_CHILD_SA, id, |m| {
                m.notify(NotifyType::TEMPORARY_FAILURE, &[]);
            });
        } else {
            peer.pair.run_for(SECOND / 10);
        }
    }
    assert_eq!(asked[..2], ["CHILD_CREATE", "CHILD_REKEY"]);
    assert_eq!(asked.iter().filter(|task| **task == "CHILD_CREATE").count(), 4);
    let is_over = |event: &&Event| matches!(event, Event::NoMoreResources { notify: 43, .. });
    assert_eq!(peer.pair.a.events.iter().filter(is_over).count(), 1);
}

/// RFC 9611 §4: who makes one more for a resource says so. What comes without is used, and is the last.
#[test]
fn an_answer_that_does_not_say_that_it_is_for_a_resource_ends_the_asking() {
    for says in [true, false] {
        let mut peer = Forger::new(|scenario| scenario.child.per_resource_sas = true);
        peer.pair.link.cut = true;
        let child = peer.pair.a.children()[0].id;
        peer.pair.command(Side::A, Command::AddResource { child, resource: 0 });
        peer.answer(ExchangeType::CREATE_CHILD_SA, 2, |m| {
            if says {
                m.notify(NotifyType::SA_RESOURCE_INFO, &[]);
            }
            create_child(m, "aes128gcm16", 4711, None);
        });
        assert_eq!(peer.pair.a.children().len(), 2);
        peer.pair.command(Side::A, Command::AddResource { child, resource: 1 });
        assert_eq!(peer.pair.a.ike_sas()[0].active_task.is_some(), says);
    }
}
