//! What happens, told to people: one [`Line`] per notice, for the log, for `swanctl --log` and for the command that
//! waits. A failed negotiation says what was offered, what was wanted and what to change.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cygnet_ike::message::NotifyType;
use cygnet_ike::status::IkeStatus;
use cygnet_ike::{ChildId, DownReason, Failure, FailureCause};
use cygnet_spd::{Direction, Flow, TrafficSelector};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tracing::{debug, error, info, warn};

use crate::handle::Notice;

/// One line of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// strongSwan's name of the subsystem: `IKE`, `CFG`, `DMN`.
    pub group: &'static str,
    /// strongSwan's level: -1 problems, 0 audit, 1 control flow, 2 details.
    pub level: i8,
    /// Connection, where one is known.
    pub connection: Option<String>,
    /// IKE SA, where it is about one.
    pub ike: Option<u64>,
    /// What happened.
    pub text: String,
}

/// The lines for `notice`.
pub fn lines(notice: &Notice) -> Vec<Line> {
    match notice {
        Notice::IkeUp(ike) => {
            vec![about(ike, "IKE", 0, format!("IKE_SA {} established between {}", label(ike), ends(ike)))]
        }
        Notice::IkeRekeyed { old, new } => {
            vec![about(new, "IKE", 0, format!("IKE_SA {} rekeyed, replaces [{}]", label(new), old.0))]
        }
        Notice::IkeDown { ike, connection, reason, last } => {
            let name = connection.as_deref().unwrap_or("(unnamed)");
            let verb = if last.is_some() { "deleted" } else { "given up" };
            let text = format!("IKE_SA {name}[{}] {verb}: {}", ike.0, down(*reason));
            vec![line("IKE", level_of(*reason), connection.clone(), Some(ike.0), text)]
        }
        Notice::ChildUp { child, ike } => vec![about(ike, "IKE", 0, child_up(ike, *child, "established"))],
        Notice::ChildRekeyed { old, new, ike } => {
            let text = format!("{}, replaces {{{}}}", child_up(ike, *new, "rekeyed"), old.0);
            vec![about(ike, "IKE", 0, text)]
        }
        Notice::ChildDown { child, ike, connection, name, reason, traffic, .. } => {
            let text = format!(
                "CHILD_SA {name}{{{}}} closed: {}; {} octets in, {} octets out",
                child.0,
                down(*reason),
                traffic.octets_in,
                traffic.octets_out
            );
            vec![line("IKE", level_of(*reason), Some(connection.clone()), Some(ike.0), text)]
        }
        Notice::Failed(failure) => failed(failure),
        Notice::Retransmitted { ike, attempt } => {
            vec![line("IKE", 0, None, Some(ike.0), format!("retransmit {attempt} of the request: no answer yet"))]
        }
        Notice::InvalidSelectors { child, ike, packet } => {
            let flow = Flow::of_start(packet, Direction::Outbound).map(|flow| flow.selectors());
            let packet = flow.map_or("a packet".to_owned(), |(local, remote)| format!("{local} === {remote}"));
            let text = format!("the peer dropped {packet}: outside the selectors of CHILD_SA {{{}}}", child.0);
            vec![about(ike, "IKE", -1, text)]
        }
        Notice::NoMoreResources { child, ike, notify } => {
            let text = format!("no more CHILD_SAs beside {{{}}}: the peer answered {}", child.0, NotifyType(*notify));
            vec![about(ike, "IKE", 0, text)]
        }
        Notice::Reloaded => vec![line("CFG", 0, None, None, "another configuration took over".to_owned())],
        Notice::Audit { event, policy } => {
            let policy = policy.as_ref().map(|name| format!(", policy {name}")).unwrap_or_default();
            // What a host says to its link by itself was never meant for anybody behind the device.
            let level = if event.flow.is_some_and(|flow| of_the_link(flow.remote)) { 1 } else { 0 };
            vec![line("ESP", level, None, None, format!("{event}{policy}"))]
        }
        Notice::Stopping => vec![line("DMN", 0, None, None, "stopping".to_owned())],
    }
}

/// Whether it is a multicast group of one link (RFC 5771 §4, RFC 4291 §2.7).
fn of_the_link(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => matches!(v4.octets(), [224, 0, 0, _]),
        IpAddr::V6(v6) => v6.is_multicast() && v6.octets()[1] & 0x0f <= 2,
    }
}

/// Writes everything that happens to the log until the gateway stops.
pub async fn log(mut notices: Receiver<Arc<Notice>>) {
    let mut strangers = Strangers::new(Instant::now());
    loop {
        match notices.recv().await {
            Ok(notice) => {
                if provoked(&notice) && !strangers.admit(Instant::now()) {
                    continue;
                }
                if let Some(count @ 1..) = provoked(&notice).then(|| strangers.take_suppressed()) {
                    warn!(target: "cygnet::ike", count, "failures that strangers provoked were not logged");
                }
                write(&notice);
                if matches!(*notice, Notice::Stopping) {
                    return;
                }
            }
            Err(RecvError::Lagged(missed)) => warn!(missed, "events came faster than they could be logged"),
            Err(RecvError::Closed) => return,
        }
    }
}

/// Failures of strangers that are logged at once.
const BURST: u32 = 10;
/// And one more after so long.
const PACE: Duration = Duration::from_secs(1);

/// A limit on what anybody who can send us a datagram may write to the log.
struct Strangers {
    admitted: u32,
    paced: Instant,
    suppressed: u64,
}

impl Strangers {
    fn new(now: Instant) -> Self {
        Self { admitted: 0, paced: now, suppressed: 0 }
    }

    fn admit(&mut self, now: Instant) -> bool {
        let elapsed = now.saturating_duration_since(self.paced);
        let earned = u32::try_from(elapsed.as_secs() / PACE.as_secs()).unwrap_or(u32::MAX);
        if earned > 0 {
            self.admitted = self.admitted.saturating_sub(earned);
            self.paced = now;
        }
        let room = self.admitted < BURST;
        if room {
            self.admitted += 1;
        } else {
            self.suppressed += 1;
        }
        room
    }

    fn take_suppressed(&mut self) -> u64 {
        std::mem::take(&mut self.suppressed)
    }
}

/// Whether somebody who is no peer can set this off.
fn provoked(notice: &Notice) -> bool {
    match notice {
        Notice::Failed(failure) => failure.by_stranger,
        Notice::IkeDown { connection, last, .. } => connection.is_none() && last.is_none(),
        _ => false,
    }
}

fn write(notice: &Notice) {
    if let Notice::Failed(failure) = notice
        && failure.repeated
    {
        let (connection, remote) = (failure.connection.as_deref(), failure.path.remote);
        return debug!(target: "cygnet::ike", connection, %remote, "negotiation failed again: {}", cause(failure.cause));
    }
    if let Notice::Failed(failure) = notice {
        // One structured record, whose fields can be searched for and alerted on.
        error!(
            target: "cygnet::ike",
            connection = failure.connection.as_deref(),
            child = failure.child.as_deref(),
            ike = failure.ike.map(|ike| ike.0),
            local = %failure.path.local,
            remote = %failure.path.remote,
            offered = failure.offered,
            wanted = failure.wanted,
            remedy = failure.remedy,
            "negotiation failed: {}",
            cause(failure.cause)
        );
        return;
    }
    for Line { group, level, connection, ike, text } in lines(notice) {
        let connection = connection.as_deref();
        match level {
            ..=-1 => warn!(target: "cygnet::ike", group, connection, ike, "{text}"),
            0 => info!(target: "cygnet::ike", group, connection, ike, "{text}"),
            _ => debug!(target: "cygnet::ike", group, connection, ike, "{text}"),
        }
    }
}

fn failed(failure: &Failure) -> Vec<Line> {
    let what = match (&failure.connection, &failure.child) {
        (Some(connection), Some(child)) => format!(" of {connection}/{child}"),
        (Some(connection), None) => format!(" of {connection}"),
        _ => String::new(),
    };
    let first = format!("negotiation{what} with {} failed: {}", failure.path.remote, cause(failure.cause));
    let details = [("offered", &failure.offered), ("wanted", &failure.wanted), ("to do", &failure.remedy)];
    let details =
        details.into_iter().filter(|(_, text)| !text.is_empty()).map(|(name, text)| format!("{name}: {text}"));
    std::iter::once(first)
        .chain(details)
        .map(|text| line("IKE", -1, failure.connection.clone(), failure.ike.map(|ike| ike.0), text))
        .collect()
}

/// A failure in one clause, and what to do about it: the reason that a waiting command returns.
pub fn reason(failure: &Failure) -> String {
    let mut text = cause(failure.cause);
    for (name, detail) in [("offered", &failure.offered), ("wanted", &failure.wanted), ("to do", &failure.remedy)] {
        if !detail.is_empty() {
            text.push_str(&format!("; {name}: {detail}"));
        }
    }
    text
}

fn cause(cause: FailureCause) -> String {
    match cause {
        FailureCause::NoProposal => "no common proposal (NO_PROPOSAL_CHOSEN)".to_owned(),
        FailureCause::NoConnection => "no configured connection fits the peer".to_owned(),
        FailureCause::Authentication => "authentication failed (AUTHENTICATION_FAILED)".to_owned(),
        FailureCause::Certificate => "the peer's certificate was refused".to_owned(),
        FailureCause::Selectors => "no common traffic selectors (TS_UNACCEPTABLE)".to_owned(),
        FailureCause::Mode => "the sides want different modes (USE_TRANSPORT_MODE)".to_owned(),
        FailureCause::Protocol => "the peer's message breaks the protocol (INVALID_SYNTAX)".to_owned(),
        FailureCause::Timeout => "the peer does not answer".to_owned(),
        FailureCause::Limit => "too many peers are dialled at once".to_owned(),
        FailureCause::Notified(number) => format!("the peer answered with error notification {number}"),
    }
}

/// Why an SA ended, as a clause.
pub fn down(reason: DownReason) -> &'static str {
    match reason {
        DownReason::Command => "on command",
        DownReason::PeerDeleted => "the peer deleted it",
        DownReason::PeerUnreachable => "the peer stopped answering",
        DownReason::PeerRestarted => "the peer started afresh",
        DownReason::Expired => "its lifetime ended",
        DownReason::Failed => "its negotiation failed",
        DownReason::Rekeyed => "a successor took over",
        DownReason::Redundant => "both sides had started, the other one stays",
        DownReason::Reconfigured => "the new configuration has no place for it",
    }
}

fn level_of(reason: DownReason) -> i8 {
    match reason {
        DownReason::PeerUnreachable | DownReason::Failed => -1,
        DownReason::Rekeyed => 1,
        _ => 0,
    }
}

fn line(group: &'static str, level: i8, connection: Option<String>, ike: Option<u64>, text: String) -> Line {
    Line { group, level, connection, ike, text }
}

fn about(ike: &IkeStatus, group: &'static str, level: i8, text: String) -> Line {
    line(group, level, ike.connection.as_ref().map(|connection| connection.name.clone()), Some(ike.id.0), text)
}

/// `site-b[3]`, as strongSwan writes it.
fn label(ike: &IkeStatus) -> String {
    format!("{}[{}]", ike.connection.as_ref().map_or("(unnamed)", |connection| &connection.name), ike.id.0)
}

fn ends(ike: &IkeStatus) -> String {
    let id = |id: &Option<cygnet_ike::identity::Identity>| id.as_ref().map_or("%any".to_owned(), ToString::to_string);
    let (local, remote) = (ike.path.local.ip(), ike.path.remote.ip());
    format!("{local}[{}]...{remote}[{}]", id(&ike.local_id), id(&ike.remote_id))
}

fn child_up(ike: &IkeStatus, child: ChildId, verb: &str) -> String {
    let Some(child) = ike.children.iter().find(|status| status.id == child) else {
        return format!("CHILD_SA {{{}}} {verb}", child.0);
    };
    let list = |ts: &[TrafficSelector]| ts.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    format!(
        "CHILD_SA {}{{{}}} {verb} with SPIs {:08x}_i {:08x}_o and TS {} === {}",
        child.child.name,
        child.id.0,
        child.spi_in.0,
        child.spi_out.0,
        list(&child.local_ts),
        list(&child.remote_ts)
    )
}

#[cfg(test)]
mod tests {
    use cygnet_spd::{Direction, Flow, Ports};

    use super::*;
    use crate::workers::audit::Reason;
    use crate::workers::{AuditEvent, Outbound};

    #[test]
    fn discarded_noise_of_the_link_is_a_detail() {
        let level = |remote: &str| {
            let remote: IpAddr = remote.parse().expect("an address");
            let flow = Flow { direction: Direction::Outbound, local: remote, remote, protocol: 17, ports: Ports::None };
            let event = AuditEvent { flow: Some(flow), ..AuditEvent::new(Reason::Outbound(Outbound::Discarded)) };
            lines(&Notice::Audit { event, policy: None })[0].level
        };
        assert_eq!(["224.0.0.22", "ff02::2", "ff01::1"].map(level), [1; 3]);
        assert_eq!(["224.0.1.1", "ff05::2", "10.2.0.1", "fe80::1"].map(level), [0; 4]);
    }

    #[test]
    fn strangers_fill_no_log() {
        let start = Instant::now();
        let mut strangers = Strangers::new(start);
        let mut admitted =
            |seconds| (0..1000).filter(|_| strangers.admit(start + Duration::from_secs(seconds))).count();
        assert_eq!([0, 0, 1, 5, 3600].map(&mut admitted), [10, 0, 1, 4, 10]);
        assert_eq!(strangers.take_suppressed(), 5000 - 25);
        assert_eq!(strangers.take_suppressed(), 0);
    }
}
