//! Two IKE SAs where both sides started one at the same time: what a single one has to do with that. Which one stays is
//! for the endpoint to say, in [`crate::endpoint`].

use super::IkeSa;
use crate::endpoint::context::{Ctx, Effect};
use crate::event::{DownReason, Event};
use crate::exchange::wish::Wish;
use crate::exchange::{InFlight, Task};
use crate::output::IkeSaId;
use crate::status::ChildState;

impl IkeSa {
    /// Authenticated, and not on its way out.
    pub(crate) fn is_at_work(&self) -> bool {
        self.is_established() && !self.is_deleting()
    }

    /// Whether it is with the same peer under the same connection.
    pub(crate) fn is_sibling(&self, other: &Self) -> bool {
        let name = |sa: &Self| sa.connection.as_ref().map(|connection| connection.name.clone());
        self.id != other.id && self.path.remote.ip() == other.path.remote.ip() && name(self) == name(other)
    }

    /// Whether both are between the same two identities.
    pub(crate) fn is_between_the_same(&self, other: &Self) -> bool {
        let ids = |sa: &Self| sa.phase.established().map(|e| (e.local_id.clone(), e.remote_id.clone()));
        ids(self).is_some() && ids(self) == ids(other)
    }

    /// The peer answered on this SA, so it has it.
    pub(crate) fn confirm(&mut self, cx: &mut Ctx) {
        if self.is_established() && !std::mem::replace(&mut self.confirmed, true) {
            self.use_children(cx);
            if let Some(connection) = &self.connection {
                cx.changed(connection);
            }
        }
    }

    /// The peer sent another request: it has our response to the one before (RFC 7296 §2.3: one at a time), and with it
    /// all pairs there are.
    pub(crate) fn confirm_by_request(&mut self, cx: &mut Ctx) {
        if self.is_established() {
            self.confirm(cx);
            self.use_children(cx);
        }
    }

    /// Sends on all pairs from now on: the peer has them.
    pub(crate) fn use_children(&mut self, cx: &mut Ctx) {
        for child in self.children.iter_mut().filter(|child| child.unconfirmed) {
            child.unconfirmed = false;
            cx.activate(child.id);
        }
    }

    /// Asks the peer anything, so that its answer confirms this SA.
    pub(crate) fn seek_confirmation(&mut self, cx: &mut Ctx) {
        if !self.confirmed {
            self.push(cx, Task::Liveness);
        }
    }

    /// What it has and its twin would have to have, as wishes. Nobody waits for one more beside others (RFC 9611 §5).
    pub(crate) fn wishes(&self) -> Vec<Wish> {
        let serves = |state| matches!(state, ChildState::Installed | ChildState::Rekeying);
        let has = self.children.iter().filter(|child| serves(child.state)).map(Wish::for_traffic_of);
        has.chain(self.coming().filter(|wish| wish.joins().is_none()).cloned()).collect()
    }

    /// Whether it has nothing under way that makes or moves children.
    pub(crate) fn is_settled(&self) -> bool {
        let moves = |exchange: &InFlight| exchange.makes_child() || matches!(exchange, InFlight::RekeyIke(_));
        !self.in_flight.as_ref().is_some_and(moves)
    }

    /// Stops sending, then deletes itself.
    pub(crate) fn give_way(&mut self, cx: &mut Ctx) {
        self.retire_children(cx);
        self.close(cx, DownReason::Redundant);
    }

    /// Sends on none of its pairs any more, for the sake of its twin.
    pub(crate) fn retire_children(&mut self, cx: &mut Ctx) {
        self.children.iter().for_each(|child| cx.retire(child.id));
    }

    /// Leaves its pairs to its twin, for packets that are still under way.
    pub(crate) fn bequeath(&mut self, cx: &mut Ctx, heir: IkeSaId, reason: DownReason) {
        let effect = Effect::Bequest { children: self.children.ids(), heir };
        for child in self.children.take().iter() {
            let Some(connection) = self.connection.clone() else { continue };
            let (id, name) = (child.id, child.template.name.clone());
            cx.event(Event::ChildDown { child: id, ike: self.id, connection, name, reason });
        }
        cx.effect(effect);
    }
}
