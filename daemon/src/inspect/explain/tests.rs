//! What operators read.

use super::super::testing::{flow, moment};
use super::*;

const CHILDREN: &str = "children.net = { local_ts = \"10.1.0.0/16\", remote_ts = \"10.2.0.0/16\", start_action = \"trap\" }\n\
                        children.soft = { local_ts = \"10.1.0.0/16\", remote_ts = \"10.3.0.0/16\", level = \"use\", start_action = \"trap\" }\n\
                        [policies.ssh]\naction = \"pass\"\nremote_ts = \"10.2.0.0/16[tcp/22]\"\n\
                        [policies.never]\naction = \"discard\"\nremote_ts = \"10.9.0.0/16\"\n";

fn told(inspection: &Inspection, text: &str) -> [String; 3] {
    let Explanation { policy, sa, fate, .. } = explain(inspection, &flow(text));
    [policy, sa, fate]
}

#[track_caller]
fn assert_told(lines: &[String; 3], wanted: [&str; 3]) {
    for (line, wanted) in lines.iter().zip(wanted) {
        assert!(line.contains(wanted), "`{wanted}` is not in\n{}", lines.join("\n"));
    }
}

#[test]
fn protected_traffic_names_its_sa() {
    let inspection = moment("\"192.0.2.2\"", CHILDREN).with_sas();
    let lines = told(&inspection, "10.1.0.1 10.2.0.1");
    assert_told(&lines, ["c/net (line 5): protect, tunnel, level require", "SPIs 0000100", "protected with SPI"]);
    assert_told(&lines, ["", "up for 0s", "sent to 192.0.2.2 (ESP in UDP); its answer is accepted protected"]);
    assert_told(&lines, ["", "", "in the clear it is dropped"]);
    // The same from the other side.
    assert_eq!(told(&inspection, "10.2.0.1 10.1.0.1"), lines);
}

#[test]
fn what_is_missing_is_said_with_its_cause() {
    let inspection = moment("\"192.0.2.2\"", CHILDREN);
    let lines = told(&inspection, "10.1.0.1 10.2.0.1 udp 5000 53");
    assert_told(&lines, ["level require", "no connection is up", "it is held until the SA is up"]);
    let lines = told(&inspection, "10.1.0.1 10.3.0.1 udp 5000 53");
    assert_told(
        &lines,
        ["level use", "no connection is up", "it is sent in the clear; an answer is accepted protected"],
    );
    assert_told(&lines, ["", "", "in the clear too"]);
    let failed = inspection.with_failure("net", "the peer does not answer");
    let lines = told(&failed, "10.1.0.1 10.2.0.1");
    assert_told(&lines, ["c/net", "failed 0s ago: the peer does not answer", "it is dropped"]);
}

#[test]
fn what_no_packet_brings_up_holds_none() {
    let inspection = moment("\"192.0.2.2\"", &CHILDREN.replace(", start_action = \"trap\"", ""));
    let cause = "no connection is up; not a packet, but a command or the peer brings it up";
    let lines = told(&inspection, "10.1.0.1 10.2.0.1");
    assert_told(&lines, ["level require", cause, "it is dropped; an answer"]);
    assert_told(&told(&inspection, "10.1.0.1 10.3.0.1"), ["level use", cause, "it is sent in the clear"]);
    assert_told(&told(&inspection.with_sas(), "10.1.0.1 10.2.0.1"), ["", "SPIs", "it is protected"]);
}

#[test]
fn clear_and_unknown_traffic_is_told_honestly() {
    let inspection = moment("\"192.0.2.2\"", CHILDREN);
    let lines = told(&inspection, "10.1.0.1 10.2.0.1 tcp 40000 22");
    assert_told(&lines, ["ssh (line 7): bypass", "none needed", "goes and comes in the clear"]);
    assert_told(&told(&inspection, "10.1.0.1 10.9.0.1"), ["never (line 10): discard", "none needed", "is dropped"]);
    let off = moment("\"192.0.2.2\"", &format!("{CHILDREN}[gateway]\nclear_filter = \"off\"\n"));
    assert_told(&told(&off, "10.1.0.1 10.9.0.1"), ["discard", "none needed", "goes and comes in the clear, past us"]);
    let lines = told(&inspection, "10.7.0.1 10.8.0.1");
    assert_told(&lines, ["no policy selects", "none needed", "no route leads it into cygnet0"]);
    let lines = told(&inspection, "10.7.0.1 10.2.0.1");
    assert_told(
        &lines,
        ["no policy selects", "none needed", "the routes for c/net lead it into cygnet0, where it is dropped"],
    );
}

#[test]
fn this_host_is_the_local_side() {
    let ours = |address: IpAddr| address == IpAddr::from([10, 1, 1, 7]);
    let sent = flow("10.1.1.7 10.1.1.9 tcp 1 2");
    assert_eq!(seen_from_here(&sent, ours), Some(sent));
    let received = seen_from_here(&flow("10.1.1.9 10.1.1.7 tcp 2 1"), ours).expect("it is seen");
    assert_eq!(received, Flow { direction: Direction::Inbound, ..sent });
    assert_eq!(seen_from_here(&flow("10.1.1.7 10.1.1.7"), ours), None);
}

#[test]
fn what_is_asked_must_be_a_packet() {
    let flow = |text: &str| super::flow(&text.split(' ').collect::<Vec<_>>());
    assert_eq!(flow("10.0.0.1 10.0.0.2").map(|flow| flow.ports), Ok(Ports::Icmp { kind: 8, code: 0 }));
    assert_eq!(flow("::1 ::2").map(|flow| flow.protocol), Ok(58));
    assert_eq!(flow("10.0.0.1 10.0.0.2 89").map(|flow| flow.protocol), Ok(89));
    for (text, cause) in [
        ("10.0.0.1", "two addresses"),
        ("10.0.0.1 host", "`host` is not an IP address"),
        ("10.0.0.1 ::1", "one family"),
        ("10.0.0.1 10.0.0.2 tcp", "tcp has ports"),
        ("10.0.0.1 10.0.0.2 tcp 1 70000", "`70000` is not a port"),
        ("10.0.0.1 10.0.0.2 gre 1 2", "gre has no ports"),
        ("10.0.0.1 10.0.0.2 icmp 300 0", "no ICMP type"),
        ("10.0.0.1 10.0.0.2 any", "one protocol"),
        ("10.0.0.1 10.0.0.2 tpc 1 2", "`tpc` is no protocol"),
    ] {
        let error = flow(text).expect_err(text);
        assert!(error.contains(cause), "{text}: {error}");
    }
}
