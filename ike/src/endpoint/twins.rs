//! Both sides start at once, and two IKE SAs come up where one was wanted. As for rekeys that cross (RFC 7296 §2.8.1), the
//! one with the lowest of the four nonces goes, and the side that started it deletes it.
//!
//! ```text
//! we started the one that goes            we started the one that stays
//!   the peer has the other one?             (answers the question)
//!   the other one has all children?         (makes what is missing)
//!   stop sending: RetireChild
//!   Delete  ------------------------------> stop sending: RetireChild
//!                                   <------ response
//!   receive for a while more (LINGER)       receive for a while more (LINGER)
//! ```
//!
//! So there is a pair to send on at any time, and one to receive on for what was sent. A peer that does not do its part
//! leaves both SAs in place, which harms nothing: nobody here deletes what the peer started.

use std::time::Duration;

use super::Endpoint;
use crate::event::DownReason;
use crate::limits::LINGER;
use crate::output::{ChildId, IkeSaId};
use crate::sa::IkeSa;

/// How long after the first of two IKE SAs was authenticated the second may begin, and still count as started at the same
/// time: about as long as a lost IKE_SA_INIT request takes to be sent again. What begins later was meant to.
const AT_ONCE: Duration = Duration::from_secs(3);

impl Endpoint {
    /// IKE_AUTH of `id` is done: looks for another SA with the same peer.
    pub(super) fn authenticated(&mut self, id: IkeSaId) {
        let Some(sa) = self.sas.get(&id).filter(|sa| sa.is_at_work()) else { return };
        let siblings = self.sas.values().filter(|other| other.is_at_work() && other.is_sibling(sa));
        let siblings: Vec<IkeSaId> = siblings.map(IkeSa::id).collect();
        for other in siblings {
            self.pair_up(id, other);
        }
        self.drop_superfluous_dials(id);
        self.take_into_use(id);
        self.see_to_twins();
    }

    /// Where another SA serves or is about to, the children of this one are used once the peer surely has them; else at
    /// once, as there is nothing better.
    fn take_into_use(&mut self, id: IkeSaId) {
        let Some(sa) = self.sas.get(&id) else { return };
        let is_rival = |other: &IkeSa| other.is_sibling(sa) && (other.is_at_work() || other.is_proving());
        match self.sas.values().any(is_rival) {
            true => self.with_sa(id, IkeSa::seek_confirmation),
            false => self.with_sa(id, IkeSa::use_children),
        }
    }

    /// Decides which of the two stays, if both sides started one at the same time.
    fn pair_up(&mut self, a: IkeSaId, b: IkeSaId) {
        let (Some(one), Some(other)) = (self.sas.get(&a), self.sas.get(&b)) else { return };
        let began_by = |sa: &IkeSa, other: &IkeSa| other.birth.done.is_some_and(|done| sa.birth.at <= done + AT_ONCE);
        let at_once = began_by(one, other) && began_by(other, one);
        if one.birth.ours == other.birth.ours || !one.is_between_the_same(other) || !at_once {
            return;
        }
        let goes = if one.birth.lowest_nonce < other.birth.lowest_nonce { (a, b) } else { (b, a) };
        let Some(loser) = self.sas.get_mut(&goes.0).filter(|loser| loser.twin.is_none()) else { return };
        loser.twin = Some(goes.1);
        if loser.birth.ours {
            self.twins.insert(goes.0);
            self.with_sa(goes.1, IkeSa::seek_confirmation);
        }
    }

    /// The peer was faster: what we have only begun to dial is not needed, and what was wanted of it is asked of `id`.
    fn drop_superfluous_dials(&mut self, id: IkeSaId) {
        let Some(sa) = self.sas.get(&id).filter(|sa| !sa.birth.ours) else { return };
        // Behind one address of a NAT there may be several hosts; only an identity tells them apart.
        let known = sa.connection().is_some_and(|connection| connection.peer.id.exact().is_some());
        if sa.nat.remote && !known {
            return;
        }
        let dials = self.sas.values().filter(|other| other.is_dialling() && other.is_sibling(sa));
        for dial in dials.map(IkeSa::id).collect::<Vec<_>>() {
            let wishes = self.sas.get(&dial).map(IkeSa::wishes).unwrap_or_default();
            self.with_sa(dial, |sa, cx| sa.abandon(cx, DownReason::Redundant));
            self.with_sa(id, |sa, cx| wishes.into_iter().for_each(|wish| sa.want(cx, wish)));
        }
    }

    /// Takes SAs that have to go a step further, if it is time.
    pub(super) fn see_to_twins(&mut self) {
        for id in self.twins.iter().copied().collect::<Vec<_>>() {
            self.see_to_twin(id);
        }
    }

    fn see_to_twin(&mut self, id: IkeSaId) {
        let Some(loser) = self.sas.get(&id).filter(|sa| sa.is_at_work()) else {
            self.twins.remove(&id);
            return;
        };
        let winner = loser.twin.and_then(|twin| self.sas.get(&twin)).filter(|sa| sa.is_at_work());
        let Some(winner) = winner else { return self.keep(id) };
        if !winner.confirmed || !loser.is_settled() {
            return;
        }
        let missing: Vec<_> = loser.wishes().into_iter().filter(|wish| !wish.is_met(&winner.children)).collect();
        if missing.is_empty() {
            self.twins.remove(&id);
            return self.with_sa(id, IkeSa::give_way);
        }
        if missing.iter().any(|wish| winner.expects_for(wish)) {
            return;
        }
        if loser.twin_asked {
            // The peer does not grant there what it granted here.
            return self.keep(id);
        }
        let winner = winner.id();
        if let Some(loser) = self.sas.get_mut(&id) {
            loser.twin_asked = true;
        }
        self.with_sa(winner, |sa, cx| missing.into_iter().for_each(|wish| sa.want(cx, wish)));
    }

    /// It does not have to go after all.
    fn keep(&mut self, id: IkeSaId) {
        self.twins.remove(&id);
        if let Some(sa) = self.sas.get_mut(&id) {
            sa.twin = None;
        }
    }

    /// A rekeyed SA is what its predecessor was.
    pub(super) fn twin_rekeyed(&mut self, old: IkeSaId, new: IkeSaId) {
        if self.twins.remove(&old) {
            self.twins.insert(new);
        }
        for sa in self.sas.values_mut().filter(|sa| sa.twin == Some(old)) {
            sa.twin = Some(new);
        }
    }

    /// Pairs that nobody sends on any more; what is under way on them gets in for a while.
    pub(super) fn bequest(&mut self, children: Vec<ChildId>, heir: IkeSaId) {
        let until = self.cx.now.instant + LINGER;
        let Some(sa) = self.sas.get_mut(&heir).filter(|sa| sa.is_at_work()) else {
            return children.into_iter().for_each(|child| self.cx.remove(child));
        };
        for child in children {
            self.cx.adopt(child, heir);
            sa.children.retire(child, until);
        }
        self.with_sa(heir, IkeSa::confirm);
    }
}
