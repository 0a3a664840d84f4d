//! Collecting the fragments of one message (RFC 7383 §2.6). Only authenticated fragments get here, one message at a
//! time and direction, so what a peer can make us hold is bounded by one message.

use crate::limits::MESSAGE_LEN;
use crate::message::{Fragment, MessageId, Reassembled};

/// A message being put together.
#[derive(Debug, Default)]
pub(crate) struct Reassembly {
    id: MessageId,
    parts: Vec<Option<Fragment>>,
    octets: usize,
}

impl Reassembly {
    /// Takes a fragment; gives the message when it was the last one missing. Fragments that fit nothing are ignored.
    pub(crate) fn add(&mut self, fragment: Fragment) -> Option<Reassembled> {
        let (id, total) = (fragment.header().message_id, usize::from(fragment.total()));
        let index = usize::from(fragment.number()).checked_sub(1)?;
        // Another message, or the same one cut anew because smaller fragments get through (RFC 7383 §2.5.2).
        if self.id != id || total > self.parts.len() {
            *self = Self { id, parts: vec![None; total], octets: 0 };
        }
        if total != self.parts.len() {
            return None;
        }
        let part = self.parts.get_mut(index).filter(|part| part.is_none())?;
        self.octets += fragment.len();
        if self.octets > MESSAGE_LEN {
            *self = Self::default();
            return None;
        }
        *part = Some(fragment);
        if self.parts.iter().any(Option::is_none) {
            return None;
        }
        let done = std::mem::take(self);
        Reassembled::new(done.parts.iter().flatten()).ok()
    }
}

#[cfg(test)]
mod tests {
    use cygnet_esp::ENCR;

    use super::*;
    use crate::message::{ExchangeType, Flags, Header, IkeSpi, MessageBuilder, NotifyType, Opener, Received, Sealer};

    /// A message of this ID in fragments of at most `max` octets.
    fn fragments(id: u32, max: usize) -> Vec<Fragment> {
        let (mut sealer, opener) =
            (Sealer::new(&ENCR[0], &[1; 20], &[]).unwrap(), Opener::new(&ENCR[0], &[1; 20], &[]).unwrap());
        let header = Header::new(IkeSpi(1), IkeSpi(2), ExchangeType::IKE_AUTH, Flags::request(true), MessageId(id));
        let mut message = MessageBuilder::new(header);
        message.notify(NotifyType(40_000), &[7; 200]);
        let open = |mut datagram: Vec<u8>| match opener.open(&mut datagram).unwrap() {
            Received::Fragment(fragment) => fragment,
            Received::Whole(_) => panic!("not fragmented"),
        };
        sealer.seal_fragmented(&message, max).unwrap().into_iter().map(open).collect()
    }

    fn payloads(message: &Reassembled) -> usize {
        message.opened().unwrap().payloads().len()
    }

    #[test]
    fn any_order_and_duplicates() {
        let [a, b, c] = fragments(1, 140).try_into().unwrap();
        let mut reassembly = Reassembly::default();
        assert!(reassembly.add(c).is_none());
        assert!(reassembly.add(a.clone()).is_none());
        assert!(reassembly.add(a).is_none());
        assert_eq!(payloads(&reassembly.add(b).unwrap()), 1);
    }

    #[test]
    fn smaller_fragments_replace_larger_ones_and_not_the_reverse() {
        let [a, b] = fragments(1, 180).try_into().unwrap();
        let [x, y, z] = fragments(1, 140).try_into().unwrap();
        let mut reassembly = Reassembly::default();
        assert!(reassembly.add(a).is_none());
        assert!(reassembly.add(x).is_none());
        assert!(reassembly.add(b).is_none());
        assert!(reassembly.add(z).is_none());
        assert_eq!(payloads(&reassembly.add(y).unwrap()), 1);
    }

    #[test]
    fn another_message_replaces_an_unfinished_one() {
        let [a, b] = fragments(1, 180).try_into().unwrap();
        let [x, y] = fragments(2, 180).try_into().unwrap();
        let mut reassembly = Reassembly::default();
        assert!(reassembly.add(a).is_none());
        assert!(reassembly.add(x).is_none());
        assert!(reassembly.add(y).is_some());
        assert!(reassembly.add(b).is_none());
    }
}
