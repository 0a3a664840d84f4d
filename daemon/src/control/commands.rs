//! Commands by name.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cygnet_ike::status::IkeState;

use super::server::Session;
use super::vici::{Message, Value};
use super::{actions, dumps, render};

/// Longest report of mistakes, characters: a value has at most 65535 octets.
const MAX_REPORT: usize = 16_000;

/// Runs `command`; `None` if there is no such command.
pub(super) async fn run(session: &Session, command: &str, arguments: &Message) -> Option<Message> {
    Some(match command {
        "version" => version(),
        "stats" => stats(session).await,
        "list-sas" => list_sas(session, arguments).await,
        "list-conns" => list_conns(session, arguments).await,
        "initiate" => actions::initiate(session, arguments).await,
        "terminate" => actions::terminate(session, arguments).await,
        "rekey" => actions::rekey(session, arguments).await,
        "list-policies" => dumps::list_policies(session, arguments).await,
        "list-sad" => dumps::list_sad(session).await,
        "list-spd" => dumps::list_spd(session).await,
        "explain-flow" => dumps::explain_flow(session, arguments).await,
        "policy-readiness" => dumps::policy_readiness(session).await,
        // strongSwan reads its `strongswan.conf` again: what of ours comes nearest is the whole configuration.
        "reload" | "reload-settings" => reload(session).await,
        _ => return None,
    })
}

/// `success=yes`, or `success=no` with the reason.
pub(super) fn outcome(result: Result<(), String>) -> Message {
    match result {
        Ok(()) => Message::new().with("success", "yes"),
        // A value has at most 65535 octets; reasons quote the peer.
        Err(reason) => {
            let reason: String = reason.chars().filter(|c| !c.is_control()).take(4000).collect();
            Message::new().with("success", "no").with("errmsg", reason)
        }
    }
}

/// Reads the configuration file again. `errmsg` is the reason in one line, `report` all of it, with places and remedies.
async fn reload(session: &Session) -> Message {
    match session.shared.handle.reload_file().await {
        Ok(warnings) => outcome(Ok(())).with_list("warnings", warnings),
        Err(report) => {
            let mut text = String::new();
            let handler = miette::GraphicalReportHandler::new_themed(miette::GraphicalTheme::none());
            // Writing to a string does not fail.
            let _ = handler.render_report(&mut text, report.as_ref());
            outcome(Err(format!("the configuration is as it was: {report}")))
                .with("report", text.chars().take(MAX_REPORT).collect::<String>())
        }
    }
}

fn version() -> Message {
    let kernel = |name| std::fs::read_to_string(format!("/proc/sys/kernel/{name}")).unwrap_or_default();
    Message::new()
        .with("daemon", "cygnet")
        .with("version", env!("CARGO_PKG_VERSION"))
        .with("sysname", kernel("ostype").trim())
        .with("release", kernel("osrelease").trim())
        .with("machine", std::env::consts::ARCH)
}

async fn stats(session: &Session) -> Message {
    let Ok(status) = session.shared.handle.status().await else {
        return outcome(Err("the gateway is stopping".to_owned()));
    };
    let running = SystemTime::now().duration_since(status.started).unwrap_or_default();
    let half_open = status.ike_sas.iter().filter(|ike| ike.state == IkeState::Connecting).count();
    let workers = session.shared.handle.config().gateway.workers;
    let zeros = || ["critical", "high", "medium", "low"].iter().fold(Message::new(), |all, name| all.with(*name, 0));
    let mut packets = Message::new();
    status.packets.iter().for_each(|(name, count)| packets.set(*name, count));
    Message::new()
        .with_section("uptime", Message::new().with("running", plain(running)).with("since", date(status.started)))
        .with_section(
            "workers",
            Message::new().with("total", workers).with("idle", workers).with_section("active", zeros()),
        )
        .with_section("queues", zeros())
        .with("scheduled", 0)
        .with_section("ikesas", Message::new().with("total", status.ike_sas.len()).with("half-open", half_open))
        .with_list("plugins", ["cygnet"])
        .with_list("offloads", status.offloads.iter().map(|offload| offload.name()))
        .with_section("packets", packets)
}

/// One event per IKE SA, then an empty answer.
async fn list_sas(session: &Session, arguments: &Message) -> Message {
    let Ok(status) = session.shared.handle.status().await else {
        return outcome(Err("the gateway is stopping".to_owned()));
    };
    let filter = actions::Filter::new(arguments);
    for ike in status.ike_sas.iter().filter(|ike| filter.ike(ike)) {
        let children = ike.children.iter().filter(|child| filter.child(child));
        let section = render::ike(ike).with_section("child-sas", render::children(children, |id| status.traffic(id)));
        session.stream("list-sa", Message::new().with_section(render::name(ike), section)).await;
    }
    Message::new()
}

/// One event per connection, then an empty answer.
async fn list_conns(session: &Session, arguments: &Message) -> Message {
    let wanted = arguments.text("ike");
    let config = session.shared.handle.config();
    for connection in &config.ike.connections {
        if wanted.is_none_or(|name| name == connection.name) {
            let mut event = Message::new();
            let mut section = render::connection(connection);
            if let Some(failed) = session.shared.handle.last_failure(&connection.name) {
                section.set("last_failure", failed.reason);
                section.set("last_failure_age", failed.at.elapsed().as_secs());
            }
            event.push(connection.name.clone(), Value::Section(section));
            session.stream("list-conn", event).await;
        }
    }
    Message::new()
}

/// A duration in its largest unit, as strongSwan writes it: `3 minutes`.
fn plain(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (count, unit) = match seconds {
        0..120 => (seconds, "second"),
        120..7200 => (seconds / 60, "minute"),
        7200..172_800 => (seconds / 3600, "hour"),
        _ => (seconds / 86400, "day"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

/// `Nov 22 12:13:39 2026`, UTC.
fn date(time: SystemTime) -> String {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let seconds = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let (mut days, second) = (seconds / 86400, seconds % 86400);
    let leap = |y: u64| y.is_multiple_of(4) && (!y.is_multiple_of(100) || y.is_multiple_of(400));
    let mut year = 1970;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let lengths = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while days >= lengths[month] {
        days -= lengths[month];
        month += 1;
    }
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{} {:02} {hour:02}:{minute:02}:{second:02} {year}", MONTHS[month], days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_and_durations() {
        let at = |seconds| date(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(0), "Jan 01 00:00:00 1970");
        assert_eq!(at(951_782_400), "Feb 29 00:00:00 2000");
        assert_eq!(at(1_795_349_619), "Nov 22 12:13:39 2026");
        assert_eq!(plain(Duration::from_secs(1)), "1 second");
        assert_eq!(plain(Duration::from_secs(185)), "3 minutes");
    }

    #[test]
    fn a_reason_never_exceeds_a_value() {
        let message = outcome(Err("\u{1F9A2}\n".repeat(100_000)));
        assert!(message.encode(&mut Vec::new()).is_ok());
        assert!(!message.text("errmsg").unwrap().contains('\n'));
    }
}
