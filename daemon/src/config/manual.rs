//! `[manual.NAME]`: SAs with keys from the configuration instead of IKE (RFC 4301 §4.5.1), for tests and migration.
//!
//! Sequence numbers start anew with every start, so nothing protects against replay (RFC 4303 §3.4.3), and algorithms
//! whose nonces would repeat are refused (RFC 8221 §3).

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use cygnet_esp::tunnel::Rules;
use cygnet_esp::{ENCR, Encr, Spi};
use cygnet_ike::secret::Secret;
use cygnet_spd::{Acquire, Action, AddrRange, Mode, Policy, PolicyId, Selector, Terms};

use super::reader::Section;
use super::selectors::{Ends, one_family, side};
use super::{Entry, Gateway, terms};

/// A pair of SAs as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ManualSa {
    /// Name in configuration, status and logs.
    pub name: String,
    /// The SPD entry that it serves, called `manual/NAME`.
    pub policy: PolicyId,
    /// What is sent, and what must be found after decryption.
    pub selector: Selector,
    /// What ESP wraps.
    pub mode: Mode,
    /// How headers are treated.
    pub headers: Rules,
    /// Outer addresses; the ports are those of NAT traversal.
    pub local: SocketAddr,
    /// The peer's.
    pub remote: SocketAddr,
    /// ESP in UDP.
    pub encap: bool,
    /// Cipher and MAC.
    pub algorithm: Algorithm,
    /// What we receive.
    pub inbound: Half,
    /// What we send.
    pub outbound: Half,
}

/// One direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Half {
    /// Names it in packets.
    pub spi: Spi,
    /// Key of the cipher, then key of the MAC (the order of RFC 7296 §2.17).
    pub keys: Arc<Secret>,
}

/// A row of the ENCR registry; rows are told apart by their names.
#[derive(Debug, Clone, Copy)]
pub struct Algorithm(pub &'static Encr);

impl PartialEq for Algorithm {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self.0, other.0)
    }
}

impl Eq for Algorithm {}

/// Reads the table and adds an SPD entry for each to `protect`.
pub(super) fn read(root: &Section<'_>, gateway: &Gateway, protect: &mut Vec<Entry>) -> Vec<ManualSa> {
    let mut all: Vec<ManualSa> = Vec::new();
    for (name, section) in root.sections("manual", "manual SA") {
        if !gateway.manual_sas {
            let remedy = "gateway.manual_sas = true, for tests and migration; or a connection, whose keys IKE changes";
            section.mistake("esp", "SAs without IKE are off", "keys that nobody changes", remedy);
        }
        let policy = PolicyId(u32::try_from(protect.len()).expect("a configuration file has fewer policies"));
        let offset = name.span.start;
        if let Some((sa, entry)) = one(name.value, &section, gateway, policy) {
            if let Some(other) = all.iter().find(|other| other.inbound.spi == sa.inbound.spi) {
                let message = format!("`spi_in` is that of manual SA `{}`", other.name);
                section.mistake("spi_in", message, "taken", "choose another: it names the SA in packets to us");
            }
            if protect.iter().any(|other| other.policy.name == entry.policy.name) {
                let remedy = "give the manual SA another name";
                section.mistake("esp", "a connection's child is called the same", "taken", remedy);
            }
            protect.push(Entry { offset, ..entry });
            all.push(sa);
        }
        section.finish();
    }
    if !all.is_empty() {
        root.context().problems.warn(format!(
            "{} manual SA(s): no forward secrecy, no protection against replay, the same keys until somebody changes them",
            all.len()
        ));
    }
    all
}

fn one(name: &str, section: &Section<'_>, gateway: &Gateway, policy: PolicyId) -> Option<(ManualSa, Entry)> {
    let address = |text: &str| text.parse::<IpAddr>().map_err(|_| "not an IP address".to_owned());
    let local = required(section, "local", section.parse("local", "\"192.0.2.1\"", address));
    let remote = required(section, "remote", section.parse("remote", "\"192.0.2.2\"", address));
    let mode = terms::mode(section);
    let levels = terms::levels(section);
    let (our_hosts, their_hosts) = (local.into_iter().collect::<Vec<_>>(), remote.map(AddrRange::host));
    let their_hosts: Vec<AddrRange> = their_hosts.into_iter().collect();
    let (ours, theirs) = Ends { local: &our_hosts, remote: &their_hosts }.dynamic(mode);
    let local_ts = side(section, "local_ts", "local", mode, &ours);
    let remote_ts = side(section, "remote_ts", "remote", mode, &theirs);
    one_family(section, &local_ts, &remote_ts);
    let encap = section.flag("encap").unwrap_or(!gateway.raw_esp);
    if !encap && !gateway.raw_esp {
        let remedy = "gateway.raw_esp = true, or leave `encap` out";
        section.mistake("encap", "there are no sockets for ESP without UDP", "needs `gateway.raw_esp`", remedy);
    }
    let algorithm = required(section, "esp", section.parse("esp", "\"aes256-sha256\"", algorithm));
    let spi = |key| {
        let spi = section.integer(key, u64::from(Spi::MIN.0)..=u64::from(u32::MAX));
        required(section, key, spi.map(|spi| Spi(u32::try_from(spi).expect("the range was checked"))))
    };
    let (spi_in, spi_out) = (spi("spi_in"), spi("spi_out"));
    let keys_in = keys(section, "keys_in", "keys_in_file", algorithm);
    let keys_out = keys(section, "keys_out", "keys_out_file", algorithm);
    let headers = terms::headers(section);
    let priority = section.integer("priority", 0..=1_000_000).unwrap_or(super::child::PRIORITY);
    let selector = Selector { local: local_ts, remote: remote_ts };
    let terms = Terms { mode, levels, acquire: Acquire::Other, ..Terms::default() };
    let action = Action::Protect(policy);
    let entry = Policy { name: format!("manual/{name}"), selector: selector.clone(), action, terms };
    let sa = ManualSa {
        name: name.to_owned(),
        policy,
        selector,
        mode,
        headers,
        local: SocketAddr::new(local?, gateway.nat_port),
        remote: SocketAddr::new(remote?, gateway.nat_port),
        encap,
        algorithm: algorithm?,
        inbound: Half { spi: spi_in?, keys: keys_in? },
        outbound: Half { spi: spi_out?, keys: keys_out? },
    };
    Some((sa, Entry { priority, offset: 0, policy: entry }))
}

/// Notes a key that is not there at all.
fn required<T>(section: &Section<'_>, key: &'static str, value: Option<T>) -> Option<T> {
    if value.is_none() && !section.has(key) {
        section.mistake(key, format!("no `{key}`"), format!("`{key}` is missing"), "both sides must say the same");
    }
    value
}

/// `aes256-sha256`: a cipher whose IV may be random, and a MAC.
fn algorithm(text: &str) -> Result<Algorithm, String> {
    let named = |encr: &&Encr| encr.integ_name.is_some_and(|integ| format!("{}-{integ}", encr.name) == text);
    if let Some(encr) = ENCR.iter().find(named) {
        return Ok(Algorithm(encr));
    }
    let first = text.split('-').next().unwrap_or_default();
    match ENCR.iter().find(|encr| encr.name == first) {
        Some(encr) if encr.is_aead() => {
            Err("must not be keyed by hand: each start would use the same nonces again (RFC 8221 §3)".to_owned())
        }
        Some(_) => Err("needs an integrity algorithm behind it, such as sha256".to_owned()),
        None => Err("no algorithm is called so".to_owned()),
    }
}

/// Hexadecimal digits, here or in a file of their own.
fn keys(
    section: &Section<'_>,
    inline: &'static str,
    file: &'static str,
    algorithm: Option<Algorithm>,
) -> Option<Arc<Secret>> {
    let text = section.secret(inline, file)?;
    let (encr, integ) = algorithm.map(|Algorithm(encr)| (encr.encryption_len(), encr.integ_key_len))?;
    let digits = text.strip_prefix(b"0x").unwrap_or(&text);
    let digit = |octet: u8| char::from(octet).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let octets: Option<Vec<u8>> = match digits.chunks_exact(2) {
        pairs if pairs.remainder().is_empty() => {
            pairs.map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
        }
        _ => None,
    };
    let secret = Secret::new(octets.unwrap_or_default());
    if secret.expose().len() == encr + integ {
        return Some(Arc::new(secret));
    }
    let key = if section.has(inline) { inline } else { file };
    let message = format!("these keys are not {} octets in hexadecimal digits", encr + integ);
    let label = format!("the cipher takes {encr} octets, the MAC {integ}");
    section.mistake(key, message, label, format!("make them once for both sides: openssl rand -hex {}", encr + integ));
    None
}
