//! SAs with keys of the configuration.

use cygnet_spd::Mode;

use super::*;
use crate::offload::Offload;

fn manual(more: &str) -> String {
    let keys = |n: u8| (0..48).map(|_| format!("{n:02x}")).collect::<String>();
    format!(
        "gateway.manual_sas = true\nmanual.lab = {{ local = \"192.0.2.1\", remote = \"192.0.2.2\", {more}spi_in = 0x1001, \
         spi_out = 0x1002, esp = \"aes128-sha256\", keys_in = \"{}\", keys_out = \"0x{}\" }}\n",
        keys(1),
        keys(2)
    )
}

#[test]
fn a_manual_sa_has_its_policy_and_its_keys() {
    let config = accepted(&manual("mode = \"transport\", "));
    assert!(config.warnings[0].contains("1 manual SA(s): no forward secrecy"), "{:?}", config.warnings);
    let [sa] = &config.manual[..] else { panic!("one") };
    assert_eq!((sa.name.as_str(), sa.mode, sa.encap), ("lab", Mode::Transport, true));
    assert_eq!((sa.inbound.spi.0, sa.outbound.spi.0), (0x1001, 0x1002));
    assert_eq!((sa.inbound.keys.expose(), sa.outbound.keys.expose()), (&[1; 48][..], &[2; 48][..]));
    let policy = config.policies.iter().next().expect("one");
    assert_eq!((policy.name.as_str(), policy.action), ("manual/lab", Action::Protect(sa.policy)));
    assert_eq!(policy.selector, sa.selector);
    assert_eq!(sa.selector.remote[0].to_string(), "192.0.2.2/32");
}

#[test]
fn keys_by_hand_are_for_those_who_ask_and_never_for_counters() {
    let report = refused(&manual("").replace("manual_sas = true", "manual_sas = false"));
    assert_shows(&report, &["SAs without IKE are off", "gateway.manual_sas = true"]);
    for cipher in ["aes256gcm16", "chacha20poly1305"] {
        let report = refused(&manual("").replace("aes128-sha256", cipher));
        assert_shows(&report, &["must not be keyed by hand", "RFC 8221 §3"]);
    }
    assert_shows(&refused(&manual("").replace("aes128-sha256", "aes128")), &["needs an integrity algorithm"]);
    let report = refused(&manual("").replace("0x02", "0x0"));
    assert_shows(&report, &["not 48 octets", "16 octets, the MAC 32", "openssl rand -hex 48"]);
    assert!(!report.contains("0202"), "keys are never quoted:\n{report}");
    assert_shows(&refused(&manual("").replace("0x1001", "255")), &["`spi_in`", "out of range", "from 256"]);
    assert_shows(&refused(&manual("").replace("local = \"192.0.2.1\", ", "")), &["no `local`"]);
    let twice = manual("").replace("manual.lab", "manual.again").lines().last().expect("a line").to_owned();
    assert_shows(&refused(&(manual("") + &twice)), &["`spi_in` is that of manual SA `lab`"]);
    assert_shows(&refused(&manual("encap = false, ")), &["no sockets for ESP without UDP"]);
}

#[test]
fn the_gateway_has_an_mtu_and_a_filter() {
    let gateway = |text: &str| accepted(&format!("[gateway]\n{text}\n")).gateway;
    assert_eq!(gateway("").mtu, Mtu::Auto);
    assert_eq!(gateway("mtu = \"auto\"").mtu, Mtu::Auto);
    assert_eq!(gateway("mtu = 1300").mtu, Mtu::Fixed(1300));
    assert!(gateway("clear_filter = \"on\"").clear_filter && !gateway("clear_filter = \"off\"").clear_filter);
    assert!(accepted("gateway.clear_filter = \"off\"").warnings[0].contains("not checked against the policies"));
    assert!(!gateway("").icmp_prohibited && gateway("icmp_prohibited = true").icmp_prohibited);
    let errors = |value: &str| gateway(&format!("unprotected_icmp = {value}")).unprotected_icmp;
    assert_eq!((gateway("").unprotected_icmp, errors("\"none\"")), (IcmpError::all(), Vec::new()));
    assert_eq!(errors("[\"time-exceeded\", \"packet-too-big\"]"), [IcmpError::PacketTooBig, IcmpError::TimeExceeded]);
    let report = refused("gateway.unprotected_icmp = \"pmtu\"");
    assert_shows(&report, &["`pmtu` can't be used", "known: all, none, destination-unreachable"]);
    let offloads = |value: &str| gateway(&format!("offloads = {value}")).offloads;
    assert_eq!((gateway("").offloads, offloads("\"none\"")), (Offload::all(), Vec::new()));
    assert_eq!(offloads("[\"udp-send\", \"tun-tcp\"]"), [Offload::TunTcp, Offload::UdpSend]);
    assert_shows(
        &refused("gateway.offloads = \"gso\""),
        &["`gso` can't be used", "known: all, none, tun-tcp, tun-udp"],
    );
    assert_shows(&refused("gateway.mtu = \"big\""), &["`big` can't be used", "neither octets nor `auto`"]);
    assert_shows(&refused("gateway.mtu = 100"), &["out of range", "from 576"]);
    let (old, mut new) = (accepted(&manual("")), accepted(&manual("encap = true, ")));
    assert!(old.needs_restart(&new).is_empty());
    new.gateway.mtu = Mtu::Fixed(1300);
    new.manual.clear();
    assert_eq!(old.needs_restart(&new), ["gateway.mtu", "manual"]);
}
