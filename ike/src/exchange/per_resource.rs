//! Several Child SAs with the same selectors, each for one resource (RFC 9611): here, an outbound worker.
//!
//! ```text
//! HDR, SK {..., N(SA_RESOURCE_INFO), SA, [Ni,] TSi, TSr} -->            the first one: may there be more?
//!        <-- HDR, SK {..., N(SA_RESOURCE_INFO), SA, [Nr,] TSi, TSr}     yes; without the notification, no
//! HDR, SK {N(SA_RESOURCE_INFO, number), SA, Ni, [KEi,] TSi, TSr} -->    one more, alike in all but keys
//!        <-- HDR, SK {N(SA_RESOURCE_INFO, number), SA, Nr, [KEr,] TSi, TSr}
//!                                                                 responder: receives on it, sends on the others
//!                                                                 initiator: receives and sends on it
//!     or <-- HDR, SK {N(TS_MAX_QUEUE)}                                  no more with these selectors
//! ESP on it -->                                                         responder: sends on it, too
//! ```
//!
//! The first one belongs to no resource: it carries what those send that have none of their own, so that nothing waits
//! for the others. They are asked for when a resource has something to send, and each side decides by itself which of
//! its resources an SA belongs to: the numbers that are told mean nothing to the other one (RFC 9611 §4). Each of them
//! stands for itself: it is rekeyed in its place, and if one is deleted, even the first, the others go on.

use cygnet_esp::Encr;
use cygnet_spd::{Mode, Selector, TrafficSelector};

use crate::config::Child;
use crate::endpoint::context::Ctx;
use crate::event::Event;
use crate::exchange::Task;
use crate::exchange::child::Agreed;
use crate::exchange::failure::{Failure, notify};
use crate::exchange::wish::Wish;
use crate::limits::{MAX_CHILDREN, RESOURCE_SA_PATIENCE, RESOURCE_SA_RETRY, RESOURCE_SAS};
use crate::message::{Chain, MessageBuilder, NotifyType};
use crate::output::{ChildId, Resource};
use crate::proposal::Proposal;
use crate::sa::IkeSa;
use crate::sa::children::ChildSa;

/// The part of a Child SA among several with the same selectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// The first one.
    First,
    /// One of those that there are, or the successor of one.
    Of(Resource),
}

impl Part {
    /// Its place, once it is called `id`.
    pub(crate) fn of(self, id: ChildId) -> Resource {
        match self {
            Self::First => Resource { group: id, number: None },
            Self::Of(resource) => resource,
        }
    }

    pub(crate) fn number(self) -> Option<u32> {
        match self {
            Self::First => None,
            Self::Of(resource) => resource.number,
        }
    }

    /// SA_RESOURCE_INFO, with the number of its resource for people to read (RFC 9611 §6.1).
    pub(crate) fn push(self, message: &mut MessageBuilder) {
        let data = self.number().map(u32::to_be_bytes);
        message.notify(NotifyType::SA_RESOURCE_INFO, data.as_ref().map_or(&[], |data| &data[..]));
    }
}

/// A resource sends on `child` for want of one of its own: asks for one, unless the peer will not or it is coming.
pub(crate) fn want(cx: &mut Ctx, sa: &mut IkeSa, child: ChildId, number: u32) {
    let Some(child) = sa.children.find(child).filter(|child| child.template.per_resource_sas) else { return };
    let Some(wish) = Wish::beside(child, number) else { return };
    let Some(with) = wish.joins().filter(|_| number < RESOURCE_SAS as u32) else { return };
    if !has_room(sa, with.group, cx.config.workers) {
        // Perhaps there is later on.
        return unwanted(cx, sa, Resource { number: None, ..with });
    }
    if is_possible(cx, sa, &wish, with) && !wish.is_met(&sa.children) && !sa.expects_for(&wish) {
        sa.push(cx, Task::CreateChild(wish));
    }
}

/// Whether `wish` can be asked for now, which may not be so any more when its turn comes: there is something to join,
/// with room beside it; the peer did not refuse; several are still configured, and so are the algorithms of those that
/// there are. If those are not, the successors will have others.
pub(crate) fn is_possible(cx: &Ctx, sa: &IkeSa, wish: &Wish, with: Resource) -> bool {
    let Resource { group, number } = with;
    let is_there = sa.children.of_group(group).next().is_some() && has_room(sa, group, cx.config.workers);
    let is_configured = wish.template.per_resource_sas && wish.has_algorithms();
    is_there && is_configured && !sa.children.is_shut(group, number, cx.now.instant)
}

/// Whether one more of `group` is within bounds: twice the workers, since both sides may ask for each (RFC 9611 §7), and
/// no more than leaves half of all places to other children and to rekeys. Those that are not for one resource do not
/// count.
fn has_room(sa: &IkeSa, group: ChildId, workers: u32) -> bool {
    let numbered = sa.children.of_group(group).filter(|child| child.resource.is_some_and(|r| r.number.is_some()));
    numbered.count() < RESOURCE_SAS.max(2 * workers as usize) && sa.children.len() <= MAX_CHILDREN / 2
}

/// Whether `child` is for one resource, and others with its selectors stay when it goes.
pub(crate) fn is_beside_others(sa: &IkeSa, child: ChildId) -> bool {
    let resource = sa.children.find(child).and_then(|child| child.resource);
    let Some(Resource { group, number: Some(_) }) = resource else { return false };
    sa.children.of_group(group).any(|other| other.id != child && !sa.is_about_to_delete(other.id))
}

/// The peer makes no more of `group`, for a while. What is there serves on.
pub(crate) fn refused(cx: &mut Ctx, sa: &mut IkeSa, group: ChildId, kind: NotifyType) {
    let now = cx.now.instant;
    if sa.children.shut(group, None, now, now + RESOURCE_SA_RETRY) {
        cx.event(Event::NoMoreResources { ike: sa.id, child: group, notify: kind.0 });
    }
    // Others may have waited for the exchange to end.
    if let Some(connection) = &sa.connection {
        cx.changed(connection);
    }
}

/// The peer does not want the one of this resource, for a while. Perhaps it wants those of others, if one is named.
pub(crate) fn unwanted(cx: &Ctx, sa: &mut IkeSa, Resource { group, number }: Resource) {
    let now = cx.now.instant;
    sa.children.shut(group, number, now, now + RESOURCE_SA_RETRY);
}

/// The peer deletes a child. It may do so because the resource is idle (RFC 9611 §4), and traffic brings another one up;
/// but one that it does not want at all is not asked for again.
pub(crate) fn deleted(cx: &Ctx, sa: &mut IkeSa, child: ChildId) {
    let Some(child) = sa.children.find(child) else { return };
    let Some(resource) = child.resource.filter(|resource| resource.number.is_some()) else { return };
    if cx.now.instant.saturating_duration_since(child.began) < RESOURCE_SA_PATIENCE {
        unwanted(cx, sa, resource);
    }
}

/// The place of a Child SA that we asked for as the first one: with those that came to be meanwhile because the peer asked
/// at the same time, so that there are not several groups of the same selectors. What belongs to no resource may be there
/// more than once.
pub(crate) fn place(sa: &IkeSa, agreed: &Agreed) -> Option<Part> {
    let twin = |child: &&ChildSa| {
        is_alike(child, &agreed.template, agreed.mode, &agreed.local_ts, &agreed.remote_ts)
            && (child.encr, child.esn) == (agreed.suite.encr, agreed.suite.esn)
    };
    match agreed.part {
        Some(Part::First) => {
            let there = sa.children.iter().filter(twin).find_map(|child| child.resource);
            Some(there.map_or(Part::First, |there| Part::Of(Resource { number: None, ..there })))
        }
        part => part,
    }
}

/// What a responder finds for a new Child SA.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Room {
    /// Its part, if there may be several.
    pub(crate) part: Option<Part>,
    /// The ciphers, and whether sequence numbers are extended, of those that it joins: it has the same (RFC 9611 §4).
    /// There is one unless some were rekeyed by another configuration, and which of them the peer took for its offer is
    /// for it to say.
    pub(crate) alike: Option<Vec<(&'static Encr, bool)>>,
}

impl Room {
    /// What may be chosen of `proposals`.
    pub(crate) fn allowed(&self, proposals: Vec<Proposal>) -> Vec<Proposal> {
        let Some(alike) = &self.alike else { return proposals };
        let only = |proposal: &Proposal| alike.iter().filter_map(|(encr, esn)| proposal.only(encr, *esn)).collect();
        proposals.iter().flat_map::<Vec<_>, _>(only).collect()
    }
}

/// As responder, finds the part of a new Child SA of `template` with these selectors.
///
/// # Errors
/// TS_MAX_QUEUE: there is one, and we want no more. Never NO_ADDITIONAL_SAS, which would be about other selectors, too
/// (RFC 9611 §7).
pub(crate) fn room(
    sa: &IkeSa,
    template: &Child,
    granted: &Selector,
    request: &Chain<'_>,
    workers: u32,
) -> Result<Room, Failure> {
    if !request.has_notify(NotifyType::SA_RESOURCE_INFO) {
        return Ok(Room { part: None, alike: None });
    }
    let alike = |child: &&ChildSa| is_alike(child, template, template.mode, &granted.local, &granted.remote);
    let first = Room { part: Some(Part::First), alike: None };
    let same: Vec<&ChildSa> = sa.children.iter().filter(alike).collect();
    let several = same.iter().find_map(|child| Some(child.resource?.group));
    match (template.per_resource_sas, several) {
        (true, Some(group)) if has_room(sa, group, workers) => {
            let number = Some(idlest(sa, group, workers));
            let mut alike = Vec::new();
            for child in sa.children.of_group(group) {
                if !alike.contains(&(child.encr, child.esn)) {
                    alike.push((child.encr, child.esn));
                }
            }
            Ok(Room { part: Some(Part::Of(Resource { group, number })), alike: Some(alike) })
        }
        (true, Some(_)) => Err(notify(NotifyType::TS_MAX_QUEUE)),
        (true, None) => Ok(first),
        (false, _) if same.is_empty() => Ok(Room { part: None, alike: None }),
        (false, _) => Err(notify(NotifyType::TS_MAX_QUEUE)),
    }
}

/// The resource with the fewest SAs of `group`, those included that we ask for ourselves (RFC 9611 §5).
fn idlest(sa: &IkeSa, group: ChildId, workers: u32) -> u32 {
    let there = sa.children.of_group(group).filter_map(|child| child.resource);
    let coming = sa.coming().filter_map(Wish::joins).filter(|resource| resource.group == group);
    let taken: Vec<u32> = there.chain(coming).filter_map(|resource| resource.number).collect();
    let resources = 0..workers.clamp(1, RESOURCE_SAS as u32);
    resources.min_by_key(|number| taken.iter().filter(|taken| *taken == number).count()).unwrap_or_default()
}

/// Whether `child` serves the same.
fn is_alike(
    child: &ChildSa,
    template: &Child,
    mode: Mode,
    local_ts: &[TrafficSelector],
    remote_ts: &[TrafficSelector],
) -> bool {
    child.serves()
        && child.template.name == template.name
        && child.mode == mode
        && is_same(&child.local_ts, local_ts)
        && is_same(&child.remote_ts, remote_ts)
}

/// Whether both select the same.
fn is_same(a: &[TrafficSelector], b: &[TrafficSelector]) -> bool {
    let within = |inner: &[TrafficSelector], outer: &[TrafficSelector]| {
        inner.iter().all(|ts| outer.iter().any(|outer| outer.contains(ts)))
    };
    within(a, b) && within(b, a)
}
