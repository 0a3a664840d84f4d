//! Modes, levels, and what a child may ask for together.

use cygnet_esp::tunnel::{DfRule, DscpRule, MssRule};
use cygnet_spd::{Acquire, AfterFailure, Level, Mode, Policy, Terms, TrafficSelector, WhileNegotiating};

use super::*;

/// Every host of a network, each a peer on its first packet.
const MESH: &str = "secrets.all.psk = \"a long enough secret\"\n[connections.mesh]\nlocal_addrs = \"10.1.1.1\"\n\
                    remote_addrs = \"10.1.1.0/24\"\n\
                    children.all = { mode = \"transport\", level = \"use\", start_action = \"trap\" }\n";

fn shown_list(list: &[TrafficSelector]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}

fn only_policy(config: &Config) -> &Policy {
    let mut all = config.policies.iter();
    let first = all.next().expect("a policy");
    assert!(all.next().is_none(), "one policy");
    first
}

#[test]
fn one_line_protects_a_whole_network_host_to_host() {
    let config = accepted(MESH);
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    let child = &config.ike.connections[0].children[0];
    assert_eq!((child.mode, child.start), (Mode::Transport, StartAction::Trap));
    assert_eq!(shown_list(&child.local_ts), ["10.1.1.1/32"]);
    assert_eq!(shown_list(&child.remote_ts), ["10.1.1.0/24"]);
    let policy = only_policy(&config);
    assert_eq!(policy.selector.remote, child.remote_ts);
    assert_eq!(policy.terms.mode, Mode::Transport);
    assert_eq!((policy.terms.levels.inbound, policy.terms.levels.outbound), (Level::Use, Level::Use));
    assert_eq!(policy.terms.negotiating, WhileNegotiating::Clear);
    assert_eq!(policy.terms.failed, AfterFailure::Clear);
}

#[test]
fn without_an_address_of_ours_transport_mode_means_any_of_that_family() {
    let text = MESH.replace("local_addrs = \"10.1.1.1\"", "local.id = \"a.example\"");
    assert_eq!(shown_list(&accepted(&text).ike.connections[0].children[0].local_ts), ["0.0.0.0/0"]);
    let both = text.replace("\"10.1.1.0/24\"", "[\"10.1.1.0/24\", \"2001:db8::/64\"]");
    let config = accepted(&both);
    let child = &config.ike.connections[0].children[0];
    assert_eq!(shown_list(&child.local_ts), ["0.0.0.0/0", "::/0"]);
    assert_eq!(shown_list(&child.remote_ts), ["10.1.1.0/24", "2001:db8::/64"]);
    let report = refused(&MESH.replace("\"10.1.1.0/24\"", "\"2001:db8::/64\""));
    assert_shows(&report, &["nothing to protect", "of another address family"]);
}

#[test]
fn dynamic_is_every_host_of_the_connection_in_transport_mode() {
    let text = MESH.replace("\"10.1.1.0/24\"", "[\"10.1.1.0/24\", \"10.1.2.7\"]").replace(
        "mode = \"transport\"",
        "mode = \"transport\", local_ts = \"dynamic[tcp]\", remote_ts = [\"dynamic[tcp/443]\", \"10.1.1.9[udp/53]\"]",
    );
    let config = accepted(&text);
    let child = &config.ike.connections[0].children[0];
    assert_eq!(shown_list(&child.local_ts), ["10.1.1.1/32[tcp]"]);
    assert_eq!(shown_list(&child.remote_ts), ["10.1.1.0/24[tcp/443]", "10.1.2.7/32[tcp/443]", "10.1.1.9/32[udp/53]"]);
}

#[test]
fn transport_mode_is_between_the_hosts_of_the_connection() {
    let child = |more: &str| MESH.replace("mode = \"transport\"", &format!("mode = \"transport\", {more}"));
    let report = refused(&child("remote_ts = \"10.2.0.0/16\""));
    assert_shows(&report, &["`10.2.0.0/16` can't be used", "test.toml:5:", "not within `remote_addrs`", "\"tunnel\""]);
    let report = refused(&child("local_ts = \"10.9.0.1\""));
    assert_shows(&report, &["`10.9.0.1` can't be used", "not within `local_addrs`"]);
    // What contains the hosts and more is not theirs alone either.
    assert_shows(&refused(&child("remote_ts = \"10.0.0.0/8[tcp]\"")), &["not within `remote_addrs`"]);
}

#[test]
fn nobody_protects_every_host_of_the_world_by_leaving_a_key_out() {
    let everybody = MESH.replace("\"10.1.1.0/24\"", "\"%any\"");
    let report = refused(&everybody);
    assert_shows(&report, &["which traffic?", "`remote_ts` is missing", "name the hosts in `remote_addrs`"]);
    let said = everybody.replace("level", "remote_ts = [\"0.0.0.0/0\"], level");
    assert_eq!(shown_list(&accepted(&said).ike.connections[0].children[0].remote_ts), ["0.0.0.0/0"]);
}

#[test]
fn levels_go_by_direction_and_decide_the_defaults() {
    let level = |level: &str| {
        let config = accepted(&MESH.replace("level = \"use\"", level));
        only_policy(&config).terms
    };
    let terms = level("level = { in = \"use\", out = \"require\" }");
    assert_eq!((terms.levels.inbound, terms.levels.outbound), (Level::Use, Level::Require));
    assert_eq!((terms.negotiating, terms.failed), (WhileNegotiating::Hold, AfterFailure::Drop));
    let terms = level("level = { out = \"use\" }");
    assert_eq!((terms.levels.inbound, terms.levels.outbound), (Level::Require, Level::Use));
    assert_eq!((terms.negotiating, terms.failed), (WhileNegotiating::Clear, AfterFailure::Clear));
    let terms = level("level = \"use\", while_negotiating = \"hold\", after_failure = \"drop\"");
    assert_eq!((terms.negotiating, terms.failed), (WhileNegotiating::Hold, AfterFailure::Drop));
    let config = accepted(&tunnel());
    let terms = Terms { acquire: Acquire::Other, ..Terms::default() };
    assert_eq!(only_policy(&config).terms, terms, "a tunnel requires, and no packet brings it up");
    for start in ["trap", "start"] {
        let config = accepted(&tunnel().replace("{ local_ts", &format!("{{ start_action = \"{start}\", local_ts")));
        assert_eq!(only_policy(&config).terms, Terms::default(), "{start}: packets wait for their SA");
    }
}

#[test]
fn clear_contradicts_require() {
    for key in ["while_negotiating", "after_failure"] {
        let report = refused(&MESH.replace("level = \"use\"", &format!("{key} = \"clear\"")));
        assert_shows(&report, &[&format!("`{key}` would send in the clear"), "test.toml:5:", "only with the level"]);
        let both = format!("level = {{ in = \"use\" }}, {key} = \"clear\"");
        assert_shows(&refused(&MESH.replace("level = \"use\"", &both)), &["would send in the clear"]);
    }
    assert_shows(&refused(&MESH.replace("\"use\"", "\"uses\"")), &["can't be `uses`", "did you mean \"use\"?"]);
    let report = refused(&MESH.replace("level = \"use\"", "level = { inn = \"use\" }"));
    assert_shows(&report, &["unknown key `inn` in `level` of child `all`", "did you mean `in`?"]);
}

#[test]
fn who_shall_dial_must_know_whom() {
    let report = refused(&MESH.replace("\"trap\"", "\"start\""));
    assert_shows(&report, &["which of the peers shall be dialled", "test.toml:5:", "start_action = \"trap\""]);
    let anywhere = tunnel().replace("remote_addrs = \"192.0.2.2\"", "remote_addrs = \"%any\"");
    for action in ["start", "trap"] {
        let report = refused(&anywhere.replace("{ local_ts", &format!("{{ start_action = \"{action}\", local_ts")));
        assert_shows(&report, &["there is nobody to dial", "`remote_addrs` has no single address"]);
    }
    assert!(accepted(&anywhere).warnings.is_empty(), "the peer may begin");
}

#[test]
fn what_nobody_brings_up_and_goes_in_the_clear_is_warned_about() {
    let warnings = |from: &str, to: &str| accepted(&MESH.replace(from, to)).warnings;
    let forgotten = warnings(", start_action = \"trap\"", "");
    assert!(forgotten[0].contains("child `all` of connection `mesh` is sent in the clear until"), "{forgotten:?}");
    assert!(warnings("\"trap\"", "\"none\"").is_empty(), "that was said");
    assert!(warnings("level = \"use\", start_action = \"trap\"", "level = { in = \"use\" }").is_empty(), "held back");
    assert!(warnings("start_action = \"trap\"", "after_failure = \"drop\"").is_empty(), "dropped");
    let tunnel = |peer: &str| {
        let text = tunnel().replace("{ local_ts", "{ level = \"use\", local_ts");
        accepted(&text.replace("remote_addrs = \"192.0.2.2\"", peer)).warnings
    };
    assert_eq!(tunnel("remote_addrs = \"192.0.2.2\"").len(), 1);
    assert!(tunnel("remote_addrs = \"%any\"").is_empty(), "the peer may begin, and nobody else");
}

#[test]
fn selectors_from_the_packet() {
    let text = MESH.replace("level", "pfp = [\"protocol\", \"remote_port\"], level");
    let config = accepted(&text);
    let pfp = config.ike.connections[0].children[0].pfp;
    assert!(pfp.protocol && pfp.remote_port && !pfp.local_port && !pfp.local_address && !pfp.remote_address);
    assert_eq!(only_policy(&config).terms.pfp, pfp);
    assert_shows(&refused(&text.replace("protocol", "port")), &["`port` can't be used", "\"local_port\""]);
    let at_start = tunnel().replace("{ local_ts", "{ start_action = \"start\", pfp = \"protocol\", local_ts");
    assert_shows(&refused(&at_start), &["takes selectors from a packet"]);
    let hidden = text.replace("level", "remote_ts = \"dynamic[tcp/opaque]\", level");
    assert_shows(&refused(&hidden), &["a port that can't be seen", "RFC 4301 §4.4.2.2"]);
}

#[test]
fn headers_are_treated_as_configured() {
    let rules = |more: &str| {
        let config = accepted(&tunnel().replace("{ local_ts", &format!("{{ {more}, local_ts")));
        config.ike.connections[0].children[0].headers
    };
    let all = rules("df = \"clear\", copy_dscp = false, clamp_mss = 1300");
    assert_eq!((all.df, all.dscp, all.mss), (DfRule::Clear, DscpRule::Set(0), MssRule::AtMost(1300)));
    assert_eq!(rules("clamp_mss = true").mss, MssRule::Path);
    assert_eq!(rules("df = \"copy\", copy_dscp = true, clamp_mss = false"), Default::default());
    let wrong = |more: &str| refused(&tunnel().replace("{ local_ts", &format!("{{ {more}, local_ts")));
    assert_shows(&wrong("clamp_mss = 20"), &["out of range", "from 88"]);
    assert_shows(&wrong("clamp_mss = \"yes\""), &["must be true or false"]);
}

#[test]
fn priorities_order_children_and_policies_together() {
    let text = format!("{}\n[policies.late]\naction = \"pass\"\npriority = 1500\n", tunnel())
        .replace("{ local_ts", "{ priority = 2000, local_ts");
    let config = accepted(&text);
    let order: Vec<&str> = config.policies.iter().map(|policy| policy.name.as_str()).collect();
    assert_eq!(order, ["late", "site-b/net"]);
    assert_eq!(config.policies.iter().next().expect("one").action, Action::Bypass, "`pass` is `bypass`");
}
