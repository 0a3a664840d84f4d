//! Rules as text. That the kernel understands them, scenarios in namespaces show.

use cygnet_spd::{Levels, PolicyId, Selector, Terms};

use super::*;

const PROTECT: Action = Action::Protect(PolicyId(1));

fn ruleset(policies: &[(&str, &str, Action, Level)]) -> Ruleset {
    ruleset_of(&Gateway::default(), policies)
}

fn ruleset_of(gateway: &Gateway, policies: &[(&str, &str, Action, Level)]) -> Ruleset {
    let side = |text: &str| text.split(' ').map(|one| one.parse().expect("selector")).collect();
    let policy = |&(local, remote, action, inbound): &(&str, &str, _, _)| Policy {
        name: String::new(),
        selector: Selector { local: side(local), remote: side(remote) },
        action,
        terms: Terms { levels: Levels { inbound, outbound: Level::Require }, ..Terms::default() },
    };
    Ruleset::new(gateway, &Policies::new(policies.iter().map(policy).collect()))
}

/// The rules of a chain.
fn chain(ruleset: &Ruleset, name: &str) -> Vec<String> {
    let (text, head) = (ruleset.to_string(), format!("chain {name} {{\n"));
    let chain = text.split(&head).nth(1).and_then(|rest| rest.split("  }\n").next()).expect("a chain");
    chain.lines().map(|line| line.trim().to_owned()).collect()
}

/// The rules of the chain `judge`.
fn judge(policies: &[(&str, &str, Action, Level)]) -> Vec<String> {
    chain(&ruleset(policies), "judge")
}

#[test]
fn the_table_is_replaced_in_one_transaction() {
    let text = ruleset(&[("10.1.0.0/16", "10.2.0.0/16", PROTECT, Level::Use)]).to_string();
    let expected = r#"table inet cygnet_7296
delete table inet cygnet_7296
table inet cygnet_7296 {
  counter p0 { }
  set peers4_0 { type ipv4_addr; flags dynamic,timeout; timeout 30d; size 65535; }
  set peers6_0 { type ipv6_addr; flags dynamic,timeout; timeout 30d; size 65535; }
  chain use_0 {
    update @peers4_0 { ip saddr counter }
    update @peers6_0 { ip6 saddr counter }
    accept
  }
  chain refuse {
    limit rate 20/second burst 40 packets log group 7296 snaplen 2000
    drop
  }
  chain judge {
    ip saddr { 10.2.0.0-10.2.255.255 } ip daddr { 10.1.0.0-10.1.255.255 } counter name "p0" goto use_0
  }
  chain input {
    type filter hook input priority filter; policy accept;
    iifname { "lo", "cygnet0" } accept
    udp dport { 500, 4500 } accept
    meta l4proto 50 accept
    icmpv6 type 133-137 accept
    icmp type 3 @th,136,8 50 accept
    icmp type 3 @th,136,8 17 @th,224,16 { 500, 4500 } accept
    icmpv6 type { 1, 2 } @th,112,8 50 accept
    icmpv6 type { 1, 2 } @th,112,8 17 @th,384,16 { 500, 4500 } accept
    frag frag-off != 0 accept
    jump judge
  }
  chain forward {
    type filter hook forward priority filter; policy accept;
    iifname "cygnet0" accept
    oifname "cygnet0" accept
    jump judge
  }
}
"#;
    assert_eq!(text, expected);
}

#[test]
fn rules_follow_the_order_of_policies() {
    let rules = judge(&[
        ("0.0.0.0/0", "10.2.9.0/24", Action::Bypass, Level::Require),
        ("10.1.0.0/16", "10.2.0.0/16", PROTECT, Level::Require),
        ("0.0.0.0/0 ::/0", "0.0.0.0/0 ::/0", Action::Discard, Level::Require),
    ]);
    let expected = [
        r#"ip saddr { 10.2.9.0-10.2.9.255 } counter name "p0" accept"#,
        r#"ip saddr { 10.2.0.0-10.2.255.255 } ip daddr { 10.1.0.0-10.1.255.255 } counter name "p1" goto refuse"#,
        r#"meta nfproto ipv4 counter name "p2" goto refuse"#,
        r#"meta nfproto ipv6 counter name "p2" goto refuse"#,
    ];
    assert_eq!(rules, expected);
}

/// The lines of a chain, none if there is no such chain.
fn lines(text: &str, name: &str) -> Vec<String> {
    let body = text.split(&format!("  chain {name} {{\n")).nth(1).and_then(|rest| rest.split("  }\n").next());
    body.unwrap_or_default().lines().map(|line| line.trim().to_owned()).collect()
}

#[test]
fn what_leaves_past_the_tunnel_meets_discard_policies_in_their_order() {
    let text = ruleset(&[
        ("0.0.0.0/0[tcp/22]", "10.9.0.0/16[tcp]", Action::Bypass, Level::Require),
        ("10.1.0.1[tcp/80]", "10.9.0.1[tcp/1024-65535]", Action::Discard, Level::Require),
        ("fd00::1[icmpv6/128]", "fd00::2[icmpv6]", Action::Discard, Level::Require),
        ("10.1.0.0/16", "10.2.0.0/16", PROTECT, Level::Use),
        ("10.1.0.0/16", "10.9.0.0/16", Action::Discard, Level::Require),
        ("10.1.0.0/16", "10.8.0.0/16", Action::Discard, Level::Require),
        ("0.0.0.0/0", "0.0.0.0/0", Action::Bypass, Level::Require),
    ])
    .to_string();
    let (v4, v6) = ("ip saddr { 10.1.0.1 } ip daddr { 10.9.0.1 }", "ip6 saddr { fd00::1 } ip6 daddr { fd00::2 }");
    let expected = [
        "ip daddr { 10.9.0.0-10.9.255.255 } meta l4proto 6 @th,0,16 22-22 return".to_owned(),
        format!(r#"{v4} meta l4proto 6 @th,0,16 80-80 @th,16,16 1024-65535 counter name "out1" goto refuse_out"#),
        format!(r#"{v4} meta l4proto 6 ip frag-off & 0x1fff != 0 counter name "out1" goto refuse_out"#),
        format!(r#"{v6} meta l4proto 58 @th,0,16 32768-32768 counter name "out2" goto refuse_out"#),
        format!(r#"{v6} meta l4proto 58 frag frag-off != 0 counter name "out2" goto refuse_out"#),
        "ip saddr { 10.1.0.0-10.1.255.255 } ip daddr { 10.2.0.0-10.2.255.255 } return".to_owned(),
        concat!(
            r#"ip saddr { 10.1.0.0-10.1.255.255 } ip daddr { 10.8.0.0-10.8.255.255, 10.9.0.0-10.9.255.255 } "#,
            r#"counter name ip daddr map { 10.9.0.0-10.9.255.255 : "out4", 10.8.0.0-10.8.255.255 : "out5" } goto refuse_out"#
        )
        .to_owned(),
    ];
    assert_eq!(lines(&text, "leave"), expected, "and nothing behind the last of them");
    let expected = [r#"limit rate 20/second burst 40 packets log prefix "out" group 7296 snaplen 2000"#, "drop"];
    assert_eq!(lines(&text, "refuse_out"), expected);
    let expected = [
        "type filter hook output priority filter; policy accept;",
        r#"oifname { "lo", "cygnet0" } accept"#,
        "meta mark 0x7296 accept",
        "icmpv6 type { 130-137, 143 } accept",
        "jump leave",
    ];
    assert_eq!(lines(&text, "output"), expected);
    assert!(text.contains("  counter out1 { }\n") && !text.contains("counter out0 "));
}

/// RFC 4301 §5.1: also of what arrived by a BYPASS, or by a policy that accepts it in the clear.
#[test]
fn what_is_let_in_is_still_asked_where_it_leaves_for() {
    let ruleset = ruleset(&[
        ("0.0.0.0/0", "192.168.0.0/24", Action::Bypass, Level::Require),
        ("0.0.0.0/0", "10.2.0.0/16", PROTECT, Level::Use),
        ("0.0.0.0/0", "10.9.0.0/16", Action::Discard, Level::Require),
    ]);
    let expected = [
        "type filter hook forward priority filter; policy accept;",
        r#"iifname "cygnet0" accept"#,
        r#"oifname "cygnet0" accept"#,
        "jump leave",
        "jump judge",
    ];
    assert_eq!(chain(&ruleset, "forward"), expected);
    assert!(chain(&ruleset, "judge")[0].ends_with("accept"));
    let expected = [
        "ip daddr { 10.2.0.0-10.2.255.255, 192.168.0.0-192.168.0.255 } return",
        r#"ip daddr { 10.9.0.0-10.9.255.255 } counter name "out2" goto refuse_out"#,
    ];
    assert_eq!(chain(&ruleset, "leave"), expected, "and what may leave is still judged by where it came from");
}

#[test]
fn without_discard_policies_whatever_leaves_is_let_go() {
    let text = ruleset(&[("10.1.0.0/16", "10.2.0.0/16", PROTECT, Level::Require)]).to_string();
    assert!(["leave", "output", "refuse_out"].iter().all(|name| lines(&text, name).is_empty()), "{text}");
    assert!(!text.contains("jump leave"));
}

#[test]
fn policies_that_are_alike_share_a_rule() {
    let rules = judge(&[
        ("10.1.0.0/16", "10.2.0.0/24 fd00::2", PROTECT, Level::Require),
        ("10.1.0.0/16", "10.2.1.0/24", PROTECT, Level::Require),
        ("10.1.0.0/16", "10.2.1.0/25", PROTECT, Level::Require),
        ("10.1.0.0/16", "10.3.0.0/24", PROTECT, Level::Use),
        ("10.8.0.0/16", "10.4.0.0/24", PROTECT, Level::Use),
    ]);
    let expected = [
        concat!(
            r#"ip saddr { 10.2.0.0-10.2.0.255, 10.2.1.0-10.2.1.255 } ip daddr { 10.1.0.0-10.1.255.255 } "#,
            r#"counter name ip saddr map { 10.2.0.0-10.2.0.255 : "p0", 10.2.1.0-10.2.1.255 : "p1" } goto refuse"#,
        ),
        r#"ip saddr { 10.2.1.0-10.2.1.127 } ip daddr { 10.1.0.0-10.1.255.255 } counter name "p2" goto refuse"#,
        r#"ip saddr { 10.3.0.0-10.3.0.255 } ip daddr { 10.1.0.0-10.1.255.255 } counter name "p3" goto use_3"#,
        r#"ip saddr { 10.4.0.0-10.4.0.255 } ip daddr { 10.8.0.0-10.8.255.255 } counter name "p4" goto use_4"#,
    ];
    assert_eq!(rules, expected);
}

#[test]
fn ten_thousand_policies_that_are_alike_are_one_rule() {
    let remotes: Vec<String> = (0..10_000).map(|n| format!("10.{}.{}.0/24", n / 256, n % 256)).collect();
    let policies: Vec<_> = remotes.iter().map(|remote| ("192.0.2.0/24", &**remote, PROTECT, Level::Require)).collect();
    assert_eq!(judge(&policies).len(), 1);
}

#[test]
fn ports_are_compared_and_fragments_without_them_refused() {
    let rules = judge(&[
        ("10.1.0.1[tcp/80]", "10.2.0.1[tcp/1024-65535]", PROTECT, Level::Require),
        ("10.1.0.1[udp]", "10.2.0.1[udp/53]", Action::Bypass, Level::Require),
        ("fd00::1[icmpv6]", "fd00::2[icmpv6/128]", Action::Discard, Level::Require),
        ("10.1.0.1[udp/opaque]", "10.2.0.1", Action::Bypass, Level::Require),
        ("10.1.0.1[gre/opaque]", "10.2.0.1", Action::Bypass, Level::Require),
        ("10.1.0.1[gre/7]", "10.2.0.1", Action::Bypass, Level::Require),
        ("10.1.0.1[tcp]", "10.2.0.1[udp]", Action::Bypass, Level::Require),
        ("10.1.0.1", "fd00::2", Action::Bypass, Level::Require),
    ]);
    let v4 = "ip saddr { 10.2.0.1 } ip daddr { 10.1.0.1 } meta l4proto";
    let v6 = "ip6 saddr { fd00::2 } ip6 daddr { fd00::1 } meta l4proto";
    let expected = [
        format!(r#"{v4} 6 @th,0,16 1024-65535 @th,16,16 80-80 counter name "p0" goto refuse"#),
        format!(r#"{v4} 6 ip frag-off & 0x1fff != 0 counter name "p0" goto refuse"#),
        format!(r#"{v4} 17 @th,0,16 53-53 counter name "p1" accept"#),
        format!(r#"{v6} 58 @th,0,16 32768-32768 counter name "p2" goto refuse"#),
        format!(r#"{v6} 58 frag frag-off != 0 counter name "p2" goto refuse"#),
        format!(r#"{v4} 17 ip frag-off & 0x1fff != 0 counter name "p3" accept"#),
        format!(r#"{v4} 47 counter name "p4" accept"#),
    ];
    assert_eq!(rules, expected);
}

#[test]
fn the_mobility_header_has_a_type_alone() {
    let ranges = |start, end| ports(135, &PortRange { start, end }, &PortRange::ANY);
    assert_eq!(ranges(0x0100, 0x0300).as_deref(), Some("@th,16,8 1-3 "));
    assert_eq!(ranges(0x0101, 0x02ff).as_deref(), Some("@th,16,8 2-2 "));
    assert_eq!(ranges(0x0101, 0x01ff), None, "no type is in between");
}

#[test]
fn without_anything_to_enforce_no_table_is_needed() {
    assert!(!ruleset(&[("0.0.0.0/0", "0.0.0.0/0", Action::Bypass, Level::Require)]).is_needed());
    assert!(ruleset(&[("0.0.0.0/0", "0.0.0.0/0", PROTECT, Level::Use)]).is_needed());
}

/// RFC 4301 §6.1.1: each kind of ICMP error is accepted or rejected by itself.
#[test]
fn icmp_errors_that_are_not_accepted_are_refused() {
    let accepting = |unprotected_icmp| Gateway { unprotected_icmp, ..Gateway::default() };
    let policies = [
        ("0.0.0.0/0[udp]", "10.2.0.0/16[udp/53]", Action::Bypass, Level::Require),
        ("10.1.0.0/16 fd01::/64", "10.2.0.0/16 fd02::2", PROTECT, Level::Require),
        ("10.1.0.0/16", "10.3.0.0/16", PROTECT, Level::Use),
        ("fd01::1", "fd03::1[tcp/80]", PROTECT, Level::Require),
        ("10.1.0.0/16", "10.4.0.0/16", Action::Discard, Level::Require),
        ("10.1.0.0/16", "10.5.0.0/16", PROTECT, Level::Require),
        ("10.1.0.0/16", "10.6.0.0/16[tcp/25]", Action::Discard, Level::Require),
    ];
    let none = ruleset_of(&accepting(Vec::new()), &policies);
    let about = [
        "meta nfproto ipv4 @th,192,32 { 0x0a020000-0x0a02ffff } @th,136,8 17 @th,64,8 0x45 @th,240,16 53-53 return",
        concat!(
            "meta nfproto ipv4 @th,160,32 { 0x0a010000-0x0a01ffff } @th,192,32 { 0x0a020000-0x0a02ffff } ",
            r#"counter name "p1" goto refuse"#,
        ),
        concat!(
            "meta nfproto ipv6 ",
            "@th,128,128 { 0xfd010000000000000000000000000000-0xfd01000000000000ffffffffffffffff } ",
            r#"@th,256,128 { 0xfd020000000000000000000000000002 } counter name "p1" goto refuse"#,
        ),
        "meta nfproto ipv4 @th,160,32 { 0x0a010000-0x0a01ffff } @th,192,32 { 0x0a030000-0x0a03ffff } return",
        concat!(
            "meta nfproto ipv6 @th,128,128 { 0xfd010000000000000000000000000001 } ",
            "@th,256,128 { 0xfd030000000000000000000000000001 } @th,112,8 { 0, 43, 44, 60, 6 } ",
            r#"counter name "p3" goto refuse"#,
        ),
        // None for DISCARD, though both are refused by one rule in `judge`.
        concat!(
            "meta nfproto ipv4 @th,160,32 { 0x0a010000-0x0a01ffff } @th,192,32 { 0x0a050000-0x0a05ffff } ",
            r#"counter name "p5" goto refuse"#,
        ),
    ];
    assert_eq!(chain(&none, "about"), about);
    let about_us = [
        "meta nfproto ipv4 @th,136,8 50 counter goto refuse",
        "meta nfproto ipv4 @th,136,8 17 @th,224,16 { 500, 4500 } counter goto refuse",
        "meta nfproto ipv6 @th,112,8 50 counter goto refuse",
        "meta nfproto ipv6 @th,112,8 17 @th,384,16 { 500, 4500 } counter goto refuse",
        "jump about",
    ];
    assert_eq!(chain(&none, "about_us"), about_us);
    let jumps = |ruleset: &Ruleset, name: &str| {
        chain(ruleset, name).into_iter().filter(|rule| rule.contains("jump about")).collect::<Vec<_>>()
    };
    assert_eq!(jumps(&none, "input").len(), 9);
    assert_eq!(
        jumps(&none, "input")[..2],
        ["icmp type 3 icmp code != 4", "icmpv6 type 1"].map(|c| format!("{c} jump about_us"))
    );
    assert_eq!(jumps(&none, "forward").len(), 9);
    // Before they are accepted, or judged by their own addresses.
    let input = chain(&none, "input");
    let place = |part: &str| input.iter().position(|rule| rule.contains(part)).expect("such a rule");
    assert!(place("icmp type 12 jump") < place("@th,136,8 50 accept"));

    let mtu = accepting(vec![IcmpError::PacketTooBig, IcmpError::DestinationUnreachable]);
    let rest = ["icmp type 5", "icmp type 11", "icmpv6 type 3", "icmp type 12", "icmpv6 type 4"];
    assert_eq!(jumps(&ruleset_of(&mtu, &policies), "forward"), rest.map(|condition| format!("{condition} jump about")));
    assert!(jumps(&ruleset(&policies), "input").is_empty());
    assert!(ruleset_of(&mtu, &[]).is_needed() && !ruleset(&[]).is_needed());
}
