//! SA payloads (RFC 7296 §3.3): our offers, and both sides' choice among offered proposals.

use cygnet_esp::Spi;

use crate::message::TransformType;
use crate::message::payload::{self, Sa, WireSpi};
use crate::proposal::{self, Chosen, NoProposal, Proposal, Suite};

/// An offer: `proposals`, numbered from 1, all with our `spi`.
pub(crate) fn offer<'a>(proposals: &[Proposal], spi: WireSpi<'a>) -> Sa<'a> {
    Sa { proposals: (1..=u8::MAX).zip(proposals).map(|(number, proposal)| proposal.to_wire(number, spi)).collect() }
}

/// A responder's choice.
pub(crate) struct Choice<'a, S> {
    /// Number and transforms of the accepted proposal.
    number: u8,
    answer: Proposal,
    /// Its algorithms.
    pub(crate) suite: S,
    /// The peer's SPI.
    pub(crate) spi: WireSpi<'a>,
}

impl<S> Choice<'_, S> {
    /// The SA payload of the response, with our `spi`.
    pub(crate) fn answer<'b>(&self, spi: WireSpi<'b>) -> Sa<'b> {
        Sa { proposals: vec![self.answer.to_wire(self.number, spi)] }
    }
}

/// What the peer offered, as far as we know the protocols. An ESP SPI is one that packets can carry: the reserved ones
/// would be taken for IKE or for nothing (RFC 4303 §2.1, RFC 3948 §2.2).
pub(crate) fn read<'s, 'a>(sa: &'s Sa<'a>) -> (Vec<&'s payload::Proposal<'a>>, Vec<Proposal>) {
    let usable = |wire: &&payload::Proposal<'a>| wire.spi.esp().is_none_or(|spi| spi >= Spi::MIN);
    sa.proposals.iter().filter(usable).filter_map(|wire| Some((wire, Proposal::from_wire(wire)?))).unzip()
}

/// The same offer without key exchange methods.
pub(crate) fn without_groups<'a>(sa: &Sa<'a>) -> Sa<'a> {
    let mut sa = sa.clone();
    for proposal in &mut sa.proposals {
        proposal.transforms.retain(|transform| transform.kind != TransformType::KE);
    }
    sa
}

/// Chooses from an offer (RFC 7296 §2.7).
///
/// # Errors
/// Nothing offered fits.
pub(crate) fn choose<'a, S: Suite>(sa: &Sa<'a>, configured: &[Proposal]) -> Result<Choice<'a, S>, NoProposal> {
    let (wire, offered) = read(sa);
    let Chosen { index, answer, suite } = proposal::select(&offered, configured)?;
    Ok(Choice { number: wire[index].number, answer, suite, spi: wire[index].spi })
}

/// Takes the responder's answer to our offer of `ours`: algorithms and its SPI. `None` unless it is exactly one of the
/// combinations offered (RFC 7296 §2.7).
pub(crate) fn accept<'a, S: Suite>(sa: &Sa<'a>, ours: &[Proposal]) -> Option<(S, WireSpi<'a>)> {
    let [wire] = sa.proposals.as_slice() else { return None };
    let offered = ours.get(usize::from(wire.number).checked_sub(1)?)?;
    let suite = proposal::accept(offered, &Proposal::from_wire(wire)?).ok()?;
    Some((suite, wire.spi))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::ProtocolId;
    use crate::proposal::{EspSuite, Protocol};

    fn esp(text: &str) -> Vec<Proposal> {
        Proposal::parse(Protocol::Esp, text).unwrap()
    }

    #[test]
    fn a_choice_answers_with_the_number_that_was_offered() {
        let theirs = [esp("aes256-sha256"), esp("aes128gcm16")].concat();
        let mut sent = offer(&theirs, WireSpi::Esp(Spi(4711)));
        // A protocol we do not know shifts no number.
        sent.proposals[0].protocol = ProtocolId(77);
        let choice: Choice<'_, EspSuite> = choose(&sent, &esp("aes128gcm16")).unwrap();
        assert_eq!(choice.spi, WireSpi::Esp(Spi(4711)));
        let reply = choice.answer(WireSpi::Esp(Spi(815)));
        assert_eq!(reply.proposals[0].number, 2);
        let (suite, spi): (EspSuite, _) = accept(&reply, &theirs).unwrap();
        assert_eq!((suite, spi), (choice.suite, WireSpi::Esp(Spi(815))));
    }

    #[test]
    fn groups_can_be_left_out_of_an_offer() {
        let (theirs, ours) = (esp("aes128gcm16-x25519"), esp("aes128gcm16"));
        let sent = offer(&theirs, WireSpi::Esp(Spi(4711)));
        assert!(choose::<EspSuite>(&sent, &ours).is_err());
        let stripped = without_groups(&sent);
        let choice: Choice<'_, EspSuite> = choose(&stripped, &ours).unwrap();
        assert_eq!(choice.answer(WireSpi::None).proposals[0].transforms.len(), 2);
    }

    #[test]
    fn an_answer_is_one_proposal_that_was_offered() {
        let ours = esp("aes128gcm16");
        let none = WireSpi::Esp(Spi(815));
        let accepts = |sa: &Sa<'_>| accept::<EspSuite>(sa, &ours).is_some();
        assert!(accepts(&offer(&ours, none)));
        assert!(!accepts(&offer(&[ours.clone(), ours.clone()].concat(), none)));
        assert!(!accepts(&offer(&esp("aes256gcm16"), none)));
        for number in [0, 2] {
            assert!(!accepts(&Sa { proposals: vec![ours[0].to_wire(number, none)] }));
        }
    }
}
