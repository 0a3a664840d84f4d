//! What is accepted, and how each mistake is shown.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use cygnet_ike::config::StartAction;
use cygnet_ike::identity::IdPattern;
use cygnet_spd::Action;

use super::*;

mod manual;
mod terms;

/// Five lines make a tunnel.
const TUNNEL: &str = r#"[connections.site-b]
local_addrs = "192.0.2.1"
remote_addrs = "192.0.2.2"
children.net = { local_ts = "10.1.0.0/16", remote_ts = "10.2.0.0/16" }
secrets.b.psk = "a long enough secret"
"#;

fn tunnel() -> String {
    // `secrets` is a table of the root: TOML wants it before the first header.
    let mut lines: Vec<&str> = TUNNEL.lines().collect();
    lines.rotate_right(1);
    lines.join("\n")
}

fn accepted(text: &str) -> Config {
    parse(text, "test.toml", Path::new("/nowhere")).unwrap_or_else(|report| panic!("{}", shown(&report)))
}

/// The report as a terminal without colours shows it.
fn refused(text: &str) -> String {
    shown(&parse(text, "test.toml", Path::new("/nowhere")).expect_err("the mistake is noticed"))
}

fn shown(report: &Report) -> String {
    let mut text = String::new();
    let handler = miette::GraphicalReportHandler::new_themed(miette::GraphicalTheme::none()).with_width(200);
    handler.render_report(&mut text, report.as_ref()).unwrap();
    text
}

#[track_caller]
fn assert_shows(report: &str, wanted: &[&str]) {
    for part in wanted {
        assert!(report.contains(part), "`{part}` is not in\n{report}");
    }
}

/// A directory of its own for one test, removed when dropped.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("cygnet-config-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str, content: &[u8], mode: u32) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[test]
fn five_lines_make_a_tunnel() {
    let config = accepted(&tunnel());
    assert_eq!(config.gateway, Gateway::default());
    let [connection] = &config.ike.connections[..] else { panic!("one connection") };
    assert_eq!(connection.local.id.to_string(), "192.0.2.1");
    assert_eq!(connection.peer.id.to_string(), "192.0.2.2");
    assert_eq!(connection.dpd_delay, Some(Duration::from_secs(30)));
    assert!(!connection.proposals.is_empty() && !connection.children[0].proposals.is_empty());
    let policies: Vec<_> = config.policies.iter().collect();
    assert_eq!(policies[0].name, "site-b/net");
    assert_eq!(policies[0].action, Action::Protect(connection.children[0].policy));
}

#[test]
fn every_key_is_understood() {
    let config = accepted(
        r#"
        [gateway]
        listen = ["192.0.2.1", "2001:db8::1"]
        ike_port = 1500
        nat_port = 14500
        raw_esp = true
        control = "/run/x.sock"
        control_mode = "0600"
        key_log = "/tmp/keys"
        tun = "vpn0"
        mtu = 1300
        route_table = 100
        fwmark = 0x10
        workers = 2
        cookie_threshold = 10
        max_half_open = 100
        retransmit = { timeout = "500ms", base = 2, tries = 3, cap = "4s" }
        [connections.b]
        local_addrs = ["192.0.2.1"]
        remote_addrs = ["192.0.2.2", "198.51.100.0/24"]
        proposals = ["aes256gcm16-prfsha384-x25519", "default"]
        dpd_delay = "10s"
        rekey_time = "4h"
        rekey_jitter = 60
        over_time = "10m"
        encap = true
        fragment_size = 0
        retry_min = "2s"
        retry_max = "2m"
        retransmit.tries = 1
        local = { id = "a.example", auth = "psk" }
        remote = { id = "%any", auth = "psk" }
        [connections.b.children.net]
        local_ts = ["10.1.0.0/16", "dynamic[udp/53]"]
        remote_ts = ["10.2.0.0/16[tcp/443]"]
        esp_proposals = "aes128gcm16-x25519"
        start_action = "trap"
        rekey_time = "1h"
        rekey_jitter = 0
        life_time = "70m"
        rekey_bytes = "1G"
        life_bytes = "2G"
        rekey_packets = 1000000
        life_packets = 2000000
        replay_window = 2048
        per_resource_sas = true
        [secrets.b]
        ids = ["a.example"]
        psk = "a long enough secret"
        [policies.lan]
        action = "bypass"
        local_ts = "10.1.0.0/16"
        remote_ts = "10.1.0.0/16"
        [policies.rest]
        action = "discard"
        priority = 5000
        "#,
    );
    assert!(config.ike.report_keys && config.warnings.len() == 1, "the key log is warned about: {:?}", config.warnings);
    assert_eq!((config.ike.ike_port, config.ike.nat_port, config.ike.raw_esp), (1500, 14500, true));
    assert_eq!(config.gateway.control_mode, 0o600);
    let connection = &config.ike.connections[0];
    assert_eq!(connection.peer.id, IdPattern::Any);
    assert_eq!((connection.fragment_size, connection.force_encap), (None, true));
    assert_eq!(connection.retransmit.unwrap().tries, 1);
    let child = &connection.children[0];
    assert_eq!((child.start, child.per_resource_sas), (StartAction::Trap, true));
    assert_eq!(child.local_ts[1].to_string(), "192.0.2.1/32[udp/53]".replace("/32", &host_suffix()));
    assert_eq!((child.lifetime.rekey_bytes, child.lifetime.life_packets), (Some(1 << 30), Some(2_000_000)));
    let order: Vec<&str> = config.policies.iter().map(|policy| policy.name.as_str()).collect();
    assert_eq!(order, ["lan", "b/net", "rest"]);
}

/// How a selector shows a single address.
fn host_suffix() -> String {
    let host: cygnet_spd::TrafficSelector = "192.0.2.1".parse().unwrap();
    host.to_string().replacen("192.0.2.1", "", 1)
}

#[test]
fn an_unknown_key_names_the_nearest_one() {
    let report = refused(&tunnel().replace("remote_addrs", "remote_adrs"));
    assert_shows(
        &report,
        &["unknown key `remote_adrs` in connection `site-b`", "test.toml:4:1", "did you mean `remote_addrs`?"],
    );
    let report = refused(&format!("[gatway]\nmtu = 1\n{}", "[policies]"));
    assert_shows(&report, &["unknown key `gatway`", "did you mean `gateway`?"]);
}

#[test]
fn a_bad_proposal_points_at_the_word() {
    let text = tunnel().replace("local_addrs", "proposals = \"aes256gcm16-prfsha3844-x25519\"\nlocal_addrs");
    let report = refused(&text);
    assert_shows(&report, &["test.toml:3:26", "no algorithm is called so", "did you mean `prfsha384`?"]);
    assert_shows(&report, &["proposals = \"aes256gcm16-prfsha3844-x25519\""]);
    assert!(!report.contains("remote_addrs"), "the neighbours are not shown:\n{report}");
    let text = tunnel().replace("local_addrs", "proposals = \"aes128-sha1-modp1024\"\nlocal_addrs");
    assert_shows(&refused(&text), &["too weak", "RFC 8247"]);
    let text = tunnel().replace("local_addrs", "proposals = \"aes128-x25519\"\nlocal_addrs");
    assert_shows(&refused(&text), &["needs an integrity algorithm"]);
}

#[test]
fn integrity_beside_an_aead_makes_no_sense_in_esp() {
    let esp = |proposal: &str| tunnel().replace("{ local_ts", &format!("{{ esp_proposals = \"{proposal}\", local_ts"));
    assert_shows(&refused(&esp("aes128gcm16-sha256")), &["`sha256` has nothing to protect", "beside an AEAD"]);
    assert_shows(&refused(&esp("aes128gcm16-prfsha256")), &["not in this kind of proposal"]);
    assert_eq!(accepted(&esp("aes128gcm16-aes128-sha256")).ike.connections[0].children[0].proposals.len(), 2);
}

#[test]
fn all_mistakes_are_shown_at_once() {
    let text = tunnel()
        .replace("10.2.0.0/16", "10.2.0.1/16")
        .replace("192.0.2.1", "192.0.2.256")
        .replace("[connections", "gateway.mtu = \"big\"\n[connections");
    let report = refused(&text);
    assert_shows(&report, &["mistakes in test.toml", "not an IP address", "`mtu` in the gateway: `big` can't be used"]);
    assert_shows(&report, &["10.2.0.1/16", "the network is 10.2.0.0/16"]);
}

#[test]
fn broken_syntax_is_shown_with_its_place() {
    assert_shows(&refused("[connections.a\n"), &["this is not TOML", "test.toml:1:"]);
}

#[test]
fn secrets_are_never_quoted() {
    for text in [
        "secrets.a = { psk = \"Tr0ub4dor&3\", unknown = 1 }\n",
        "[secrets.a]\npsk = \"Tr0ub4dor&3\nids = [\"x\"]\n",
        "[secrets.a]\npsk = \"\"\"Tr0ub4dor&3\n\"\"\" x\n",
        "secrets.a.psk = \"Tr0ub4d\"\n",
    ] {
        let report = refused(text);
        assert!(!report.contains("Tr0ub4d"), "{report}");
    }
}

#[test]
fn a_secret_file_must_be_there_and_closed_to_others() {
    let directory = Directory::new("secret");
    let text = tunnel().replace("secrets.b.psk = \"a long enough secret\"", "secrets.b.file = \"b.psk\"");
    let read = || parse(&text, "test.toml", &directory.0);
    let report = shown(&read().unwrap_err());
    assert_shows(&report, &["b.psk can't be used", "no such file", "create ", "test.toml:1:"]);
    let path = directory.file("b.psk", b"0123456789abcdef\n", 0o644);
    let report = shown(&read().unwrap_err());
    assert_shows(&report, &["others may read it: its mode is 0644", &format!("chmod 600 {}", path.display())]);
    directory.file("b.psk", b"0123456789abcdef\n", 0o600);
    let config = read().unwrap();
    let cygnet_ike::config::LocalAuth::Psk(secret) = &config.ike.connections[0].local.auth else { panic!("a secret") };
    assert_eq!(secret.expose(), b"0123456789abcdef", "without the line end");
    directory.file("b.psk", b"short\n", 0o600);
    assert_shows(&shown(&read().unwrap_err()), &["5 octets", "cygnet keygen psk"]);
}

#[test]
fn an_inline_secret_needs_a_private_configuration_file() {
    let directory = Directory::new("inline");
    let path = directory.file("cygnet.toml", tunnel().as_bytes(), 0o644);
    assert_shows(&shown(&load(&path).unwrap_err()), &["others may read the configuration file", "chmod 600"]);
    directory.file("cygnet.toml", tunnel().as_bytes(), 0o600);
    assert!(load(&path).is_ok());
    assert!(format!("{:?}", load(&directory.0.join("absent.toml")).unwrap_err()).contains("absent.toml"));
}

#[test]
fn certificates_and_keys_must_fit() {
    let directory = Directory::new("cert");
    let ca = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["ca.example".to_owned()]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let issuer = rcgen::CertifiedIssuer::self_signed(params, ca).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    directory.file("ca.pem", issuer.pem().as_bytes(), 0o644);
    directory.file("a.pem", certificate.pem().as_bytes(), 0o644);
    directory.file("a.key", key.serialize_pem().as_bytes(), 0o600);
    directory.file("other.key", rcgen::KeyPair::generate().unwrap().serialize_pem().as_bytes(), 0o600);
    let text = "authorities.main.cacert = \"ca.pem\"\n[connections.b]\nremote_addrs = \"192.0.2.2\"\n\
                local_addrs = \"192.0.2.1\"\nlocal = { id = \"a.example\", cert = \"a.pem\", key = \"a.key\" }\n\
                remote = { id = \"b.example\", authorities = \"main\" }\nchildren.host = {}\n";
    let read = |text: &str| parse(text, "test.toml", &directory.0);
    let config = read(text).unwrap_or_else(|report| panic!("{}", shown(&report)));
    assert_eq!(config.ike.connections[0].children[0].remote_ts.len(), 1, "hosts by default");
    let report = shown(&read(&text.replace("a.key", "other.key")).unwrap_err());
    assert_shows(&report, &["certificate and key can't be used", "test.toml:5:"]);
    let report = shown(&read(&text.replace("cert = \"a.pem\"", "cert = \"a.key\"")).unwrap_err());
    assert_shows(&report, &["certificate and key can't be used"]);
    let report = shown(&read(&text.replace("\"main\"", "\"mian\"")).unwrap_err());
    assert_shows(&report, &["there is no authority `mian`", "did you mean \"main\"?"]);
    let report = shown(&read(&text.replace("\"ca.pem\"", "\"a.key\"")).unwrap_err());
    assert_shows(&report, &["no usable CA certificate"]);
    directory.file("a.key", key.serialize_pem().as_bytes(), 0o640);
    assert_shows(&shown(&read(text).unwrap_err()), &["others may read it", "chmod 600"]);
}

#[test]
fn what_is_missing_is_named_with_its_remedy() {
    let without = |line: &str| tunnel().lines().filter(|l| !l.starts_with(line)).collect::<Vec<_>>().join("\n");
    assert_shows(
        &refused(&without("secrets")),
        &["no secret for these two identities", "\"192.0.2.1\", \"192.0.2.2\""],
    );
    assert_shows(&refused(&without("children")), &["no children", "[connections.site-b.children.net]"]);
    assert_shows(&refused(&without("local_addrs")), &["no identity of ours", "local = { id ="]);
    let report = refused(&without("remote_addrs").replace(", remote_ts = \"10.2.0.0/16\"", ""));
    assert_shows(&report, &["`remote_ts` is missing"]);
}

#[test]
fn contradictions_are_refused() {
    let child = |more: &str| tunnel().replace("local_ts = ", &format!("{more}, local_ts = "));
    assert_shows(&refused(&child("rekey_time = \"2h\", life_time = \"1h\"")), &["`life_time` is reached before"]);
    assert_shows(&refused(&child("start_action = \"begin\"")), &["can't be `begin`", "none, trap, start"]);
    assert_shows(&refused(&child("rekey_bytes = \"1 Q\"")), &["is not a size", "K, M, G, T"]);
    assert_shows(&refused(&tunnel().replace("10.2.0.0/16", "2001:db8::/32")), &["another address family"]);
    assert_shows(&refused(&format!("{}\n[gateway]\nike_port = 4500", tunnel())), &["both ports are the same"]);
    assert_shows(&refused(&format!("{}\n[connections.\"a/b\"]", tunnel())), &["can't have this name"]);
    let twice = format!("{}\n[secrets.c]\npsk = \"another long secret\"", tunnel());
    assert_shows(&refused(&twice), &["secret `b` has no `ids` either"]);
    assert_shows(&refused(&format!("{0}\n{0}", tunnel())), &["this is not TOML", "duplicate key"]);
}

#[test]
fn overlapping_children_are_warned_about() {
    let again = format!(
        "{}\n[connections.c]\nlocal_addrs = \"192.0.2.1\"\nremote_addrs = \"192.0.2.3\"\n\
         children.net = {{ local_ts = \"10.1.0.0/16\", remote_ts = \"10.2.0.0/16\" }}",
        tunnel()
    );
    let warnings = accepted(&again).warnings;
    assert!(warnings[0].contains("protects the same traffic as `site-b/net`"), "{warnings:?}");
}

#[test]
fn any_truncation_is_read_or_refused() {
    let text = tunnel();
    for end in 0..=text.len() {
        fuzz(&text.as_bytes()[..end]);
    }
}
