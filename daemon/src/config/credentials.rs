//! `[secrets.NAME]` and `[authorities.NAME]`: what proves identities.

use std::ops::Range;
use std::sync::Arc;

use base64ct::{Base64, Encoding};
use cygnet_ike::auth::Authorities;
use cygnet_ike::identity::{IdPattern, Identity};
use cygnet_ike::secret::Secret;

use super::reader::{Section, Text};

/// Shortest pre-shared key, octets: RFC 7296 §2.15 wants as much randomness as the strongest key negotiated; this only
/// catches what is surely a mistake.
const MIN_PSK: usize = 8;

/// Every secret and every authority.
pub(super) struct Credentials {
    secrets: Vec<NamedSecret>,
    authorities: Vec<Authority>,
}

struct NamedSecret {
    /// Empty: for every connection that has no better one.
    ids: Vec<Identity>,
    secret: Option<Arc<Secret>>,
}

struct Authority {
    name: String,
    certificates: Vec<u8>,
}

/// Reads both tables.
pub(super) fn read(root: &Section<'_>) -> Credentials {
    let mut secrets: Vec<NamedSecret> = Vec::new();
    let mut seen: Vec<(Vec<String>, String)> = Vec::new();
    for (name, section) in root.sections("secrets", "secret") {
        let identity = |text: &str| text.parse::<Identity>().map_err(|error| error.to_string());
        let ids = section.parse_list("ids", "\"gw.example\"", identity).unwrap_or_default();
        let mut key: Vec<String> = ids.iter().map(ToString::to_string).collect();
        key.sort();
        match seen.iter().find(|(other, _)| *other == key) {
            Some((_, other)) => {
                let what = if key.is_empty() { "has no `ids` either" } else { "has the same `ids`" };
                let message = format!("secret `{other}` {what}: which one is meant?");
                section.mistake("ids", message, "second one", "give each secret the identities of its two sides");
            }
            None => seen.push((key, name.value.to_owned())),
        }
        secrets.push(NamedSecret { ids, secret: secret(&section).map(Arc::new) });
        section.finish();
    }
    let mut authorities = Vec::new();
    for (name, section) in root.sections("authorities", "authority") {
        let mut certificates = Vec::new();
        if let Some(files) = section.files("cacert") {
            for file in files {
                if let Err(error) = Authorities::new(&file) {
                    let remedy = "give a file with CA certificates in PEM, or one in DER";
                    section.mistake("cacert", "no usable CA certificate", error.to_string(), remedy);
                }
                join_pem(&mut certificates, &file);
            }
        } else if !section.has("cacert") {
            let remedy = "add it: cacert = \"ca.pem\"";
            section.mistake("cacert", "no certificate", "`cacert` is missing", remedy);
        }
        authorities.push(Authority { name: name.value.to_owned(), certificates });
        section.finish();
    }
    Credentials { secrets, authorities }
}

/// `file` or `psk`, exactly one.
fn secret(section: &Section<'_>) -> Option<Secret> {
    let secret = Secret::new(section.secret("psk", "file")?.to_vec());
    if secret.expose().len() < MIN_PSK {
        let key = if section.has("file") { "file" } else { "psk" };
        let message = format!("the secret has {} octets", secret.expose().len());
        section.mistake(key, message, format!("shorter than {MIN_PSK}"), "make one: cygnet keygen psk");
        return None;
    }
    Some(secret)
}

impl Credentials {
    /// The secret between `local` and `remote`: one that names both, else one that names the peer, else one that
    /// names us, else one that names nobody. Names of secrets that do not fit are of no interest.
    pub(super) fn secret(&self, local: Option<&Identity>, remote: &IdPattern) -> Found {
        let rank = |secret: &NamedSecret| {
            let ours = local.is_some_and(|id| secret.ids.contains(id));
            let theirs = remote.exact().is_some_and(|id| secret.ids.contains(id));
            match (secret.ids.len(), ours, theirs) {
                (0, _, _) => Some(1),
                (_, true, true) => Some(4),
                (_, false, true) => Some(3),
                // A secret for us and somebody else is not one for this peer.
                (1, true, false) => Some(2),
                (_, true, false) if remote.exact().is_none() => Some(2),
                _ => None,
            }
        };
        let best = self.secrets.iter().filter_map(|secret| Some((rank(secret)?, secret))).max_by_key(|(rank, _)| *rank);
        match best {
            None => Found::Nothing,
            Some((_, NamedSecret { secret: Some(secret), .. })) => Found::Secret(secret.clone()),
            Some(_) => Found::Reported,
        }
    }

    /// The authorities of these names, or all of them.
    pub(super) fn authorities(&self, section: &Section<'_>, names: Option<&[Text<'_>]>) -> Option<Arc<Authorities>> {
        let mut certificates = Vec::new();
        for name in names.unwrap_or_default() {
            match self.authorities.iter().find(|authority| authority.name == name.value) {
                Some(authority) => join_pem(&mut certificates, &authority.certificates),
                None => self.unknown_authority(section, name.value, name.span.clone()),
            }
        }
        if names.is_none() {
            self.authorities.iter().for_each(|authority| join_pem(&mut certificates, &authority.certificates));
            if self.authorities.is_empty() {
                let remedy = "add [authorities.main] with cacert = \"ca.pem\"";
                section.mistake("auth", "no authority to check the peer's certificate with", "needs one", remedy);
            }
        }
        // What is wrong with a certificate was reported where it was read.
        Authorities::new(&certificates).ok().map(Arc::new)
    }

    fn unknown_authority(&self, section: &Section<'_>, name: &str, span: Range<usize>) {
        let known: Vec<&str> = self.authorities.iter().map(|authority| authority.name.as_str()).collect();
        let remedy = match super::problem::nearest(name, known.iter().copied()) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None if known.is_empty() => format!("add [authorities.{name}] with cacert = \"ca.pem\""),
            None => format!("known: {}", known.join(", ")),
        };
        let message = format!("{}: there is no authority `{}`", section.title, name.escape_debug());
        section.context().problems.add(span, message, "not defined", remedy);
    }
}

/// What was found for a pair of identities.
pub(super) enum Found {
    /// This.
    Secret(Arc<Secret>),
    /// One whose mistake was reported already.
    Reported,
    /// None.
    Nothing,
}

/// Appends certificates; PEM blocks need a line end between them, and DER is written as PEM to stand beside others.
fn join_pem(all: &mut Vec<u8>, more: &[u8]) {
    const BEGIN: &[u8] = b"-----BEGIN";
    if more.is_empty() || more.windows(BEGIN.len()).any(|window| window == BEGIN) {
        all.extend_from_slice(more);
    } else {
        all.extend_from_slice(b"-----BEGIN CERTIFICATE-----\n");
        for line in Base64::encode_string(more).as_bytes().chunks(64) {
            all.extend_from_slice(line);
            all.push(b'\n');
        }
        all.extend_from_slice(b"-----END CERTIFICATE-----\n");
    }
    all.push(b'\n');
}
