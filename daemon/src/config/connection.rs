//! `[connections.NAME]`: one peer relationship (the local half of a Peer Authorization Database entry, RFC 4301 §4.4.3).

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use cygnet_ike::auth::{Credential, CredentialError};
use cygnet_ike::config::{Connection, Local, LocalAuth, Peer, PeerAuth};
use cygnet_ike::crypto::registry::keywords;
use cygnet_ike::identity::{IdPattern, Identity};
use cygnet_ike::message::numbers::TransformType;
use cygnet_ike::proposal::{Proposal, ProposalError, Protocol};
use cygnet_spd::AddrRange;

use super::credentials::{Credentials, Found};
use super::gateway::retransmit;
use super::problem::nearest;
use super::reader::{Section, Text};
use super::selectors::Ends;
use super::{Entry, child};

/// Soft lifetime of an IKE SA where none is configured.
const REKEY_TIME: Duration = Duration::from_secs(4 * 3600);

/// Largest IKE datagram before fragmentation where none is configured: what every IPv6 link carries (1280), without the
/// IPv6 header.
const FRAGMENT_SIZE: usize = 1240;

/// Reads `[connections]`; the SPD entries of the children go to `protect`.
pub(super) fn read(root: &Section<'_>, credentials: &Credentials, protect: &mut Vec<Entry>) -> Vec<Arc<Connection>> {
    let mut connections: Vec<Arc<Connection>> = Vec::new();
    for (name, section) in root.sections("connections", "connection") {
        if let Some(connection) = connection(&name, &section, credentials, protect) {
            connections.push(Arc::new(connection));
        }
        section.finish();
    }
    connections
}

/// `None` if a value has no stand-in; the mistake is noted then.
fn connection(
    name: &Text<'_>,
    section: &Section<'_>,
    credentials: &Credentials,
    protect: &mut Vec<Entry>,
) -> Option<Connection> {
    let address = |text: &str| text.parse().map_err(|_| "not an IP address".to_owned());
    let local_addrs = section.parse_list("local_addrs", "\"192.0.2.1\"", address).unwrap_or_default();
    let range = |text: &str| match text {
        "%any" | "any" => Ok(vec![AddrRange::ANY_V4, AddrRange::ANY_V6]),
        _ => text.parse().map(|range| vec![range]).map_err(|error: cygnet_spd::ParseAddrRangeError| error.to_string()),
    };
    let remote_addrs = section.parse_list("remote_addrs", "\"192.0.2.2\", \"198.51.100.0/24\"", range);
    let remote_addrs: Vec<AddrRange> = remote_addrs.unwrap_or_default().concat();
    let proposals = proposals(section, "proposals", Protocol::Ike).unwrap_or_else(|| Proposal::defaults(Protocol::Ike));
    let ends = Ends { local: &local_addrs, remote: &remote_addrs };
    let (local, peer) = authentication(section, ends, credentials);

    let rekey_time = section.duration("rekey_time").unwrap_or(Some(REKEY_TIME));
    let tenth = rekey_time.unwrap_or_default() / 10;
    let rekey_jitter = section.duration("rekey_jitter").map_or(tenth, Option::unwrap_or_default);
    let over_time = section.duration("over_time").map_or(tenth, Option::unwrap_or_default);
    let dpd_delay = section.duration("dpd_delay").unwrap_or(Some(Duration::from_secs(30)));
    let retransmit = retransmit(section, "retransmission");
    let force_encap = section.flag("encap").unwrap_or(false);
    let fragment_size = match section.integer("fragment_size", 0..=65535) {
        Some(0) => None,
        Some(size) => Some(size.max(576) as usize),
        None => Some(FRAGMENT_SIZE),
    };
    let retry_min = section.some_duration("retry_min").unwrap_or(Duration::from_secs(1));
    let retry_max = section.some_duration("retry_max").unwrap_or(Duration::from_secs(60)).max(retry_min);
    let children = child::read(section, name.value, ends, protect);
    if children.is_empty() && !section.has("children") {
        let remedy = format!("add [connections.{}.children.net] with local_ts and remote_ts", name.value);
        section.mistake("children", "no children", "nothing would be protected", remedy);
    }
    Some(Connection {
        name: name.value.to_owned(),
        local_addrs,
        remote_addrs,
        proposals,
        local: local?,
        peer: peer?,
        children,
        rekey_jitter: rekey_jitter.min(rekey_time.unwrap_or_default()),
        rekey_time,
        over_time,
        dpd_delay,
        retransmit,
        force_encap,
        fragment_size,
        retry: (retry_min, retry_max),
    })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    Psk,
    Certificate,
}

const METHODS: [(&str, Method); 2] = [("psk", Method::Psk), ("cert", Method::Certificate)];

/// `local = { id, auth, cert, key }` and `remote = { id, auth, authorities }`.
fn authentication(
    connection: &Section<'_>,
    ends: Ends<'_>,
    credentials: &Credentials,
) -> (Option<Local>, Option<Peer>) {
    let of = |side: &str| format!("`{side}` of {}", connection.title);
    let ours = connection.section("local", of("local"));
    let theirs = connection.section("remote", of("remote"));
    let local = ours.as_ref().unwrap_or(connection);
    let remote = theirs.as_ref().unwrap_or(connection);

    let identity = |text: &str| text.parse::<Identity>().map_err(|error| error.to_string());
    let pattern = |text: &str| text.parse::<IdPattern>().map_err(|error| error.to_string());
    let local_id = ours.as_ref().and_then(|s| s.parse("id", "\"gw.example\"", identity));
    let remote_id = theirs.as_ref().and_then(|s| s.parse("id", "\"peer.example\"", pattern));
    let remote_id = remote_id
        .or(ends.remote_host().map(|address| IdPattern::Exact(Identity::Ip(address))))
        .unwrap_or(IdPattern::Any);
    let local_method = ours.as_ref().and_then(|s| s.word("auth", &METHODS));
    let certificate_given = ours.as_ref().is_some_and(|s| s.has("cert"));
    let local_method = local_method.unwrap_or(if certificate_given { Method::Certificate } else { Method::Psk });
    let remote_method = theirs.as_ref().and_then(|s| s.word("auth", &METHODS));
    let authorities = theirs.as_ref().and_then(|s| s.texts("authorities", "\"main\""));
    let remote_method = remote_method.unwrap_or(if authorities.is_some() { Method::Certificate } else { local_method });

    let credential = ours.as_ref().and_then(|section| credential(section, local_method));
    let local_id = local_id.or_else(|| match local_method {
        Method::Certificate => credential.as_ref().and_then(|credential| credential.subject().cloned()),
        Method::Psk => ends.local_host().map(Identity::Ip),
    });
    let id_missing = local_id.is_none() && !ours.as_ref().is_some_and(|s| s.has("id") || s.has("cert"));
    if id_missing {
        let remedy = "add local = { id = \"gw.example\" }, or one address in `local_addrs`";
        local.mistake("id", "who are we?", "no identity of ours", remedy);
    }

    let mut asked_secret = None;
    let mut secret = |section: &Section<'_>| match asked_secret
        .get_or_insert_with(|| credentials.secret(local_id.as_ref(), &remote_id))
    {
        Found::Secret(secret) => Some(secret.clone()),
        Found::Reported => None,
        // Without an identity the search can't be trusted to fail for lack of a secret.
        Found::Nothing if local_id.is_none() => None,
        found @ Found::Nothing => {
            let us = local_id.as_ref().map_or_else(String::new, |id| format!("\"{id}\""));
            let ids = remote_id.exact().map_or(us.clone(), |peer| format!("{us}, \"{peer}\""));
            let remedy = format!("add [secrets.NAME] with ids = [{ids}] and file = \"NAME.psk\"");
            section.mistake("auth", "no secret for these two identities", format!("needs one for {ids}"), remedy);
            *found = Found::Reported;
            None
        }
    };
    let local_auth = match local_method {
        Method::Psk => secret(local).map(LocalAuth::Psk),
        Method::Certificate => credential.map(|credential| LocalAuth::Certificate(Arc::new(credential))),
    };
    let peer_auth = match remote_method {
        Method::Psk => secret(remote).map(PeerAuth::Psk),
        Method::Certificate => credentials.authorities(remote, authorities.as_deref()).map(PeerAuth::Certificate),
    };
    [ours, theirs].into_iter().flatten().for_each(Section::finish);
    let local = local_id.zip(local_auth).map(|(id, auth)| Local { id, auth });
    (local, peer_auth.map(|auth| Peer { id: remote_id, auth }))
}

/// Our certificate chain and private key.
fn credential(section: &Section<'_>, method: Method) -> Option<Credential> {
    let (chain, key) = (section.files("cert"), section.file("key", true));
    if method == Method::Psk {
        if let Some(extra) = ["cert", "key"].into_iter().find(|key| section.has(key)) {
            let remedy = "write auth = \"cert\", or leave the certificate out";
            section.mistake(extra, "a certificate, but authentication by secret", "of no use", remedy);
        }
        return None;
    }
    for key in ["cert", "key"].into_iter().filter(|key| !section.has(key)) {
        let remedy = format!("add it: {key} = \"gw.{}\"", if key == "cert" { "pem" } else { "key" });
        section.mistake(key, format!("no `{key}`"), format!("`{key}` is missing"), remedy);
    }
    let (chain, key) = (
        chain?.iter().fold(Vec::new(), |mut all, part| {
            all.extend_from_slice(part);
            all
        }),
        key?,
    );
    match Credential::new(&chain, &key) {
        Ok(credential) => Some(credential),
        Err(error) => {
            let at = match error {
                CredentialError::NoCertificate | CredentialError::Certificate(_) => "cert",
                CredentialError::NoKey | CredentialError::EncryptedKey | CredentialError::Key(_) => "key",
            };
            let remedy = "`cert` is a file with our certificate first, then its intermediates (PEM or DER); `key` is its \
                          private key (PKCS#8, SEC1 or PKCS#1, not encrypted)";
            section.mistake(at, "certificate and key can't be used", error.to_string(), remedy);
            None
        }
    }
}

/// A list of proposals; a mistake points at the very word.
pub(super) fn proposals(section: &Section<'_>, key: &'static str, protocol: Protocol) -> Option<Vec<Proposal>> {
    let (example, kind) = match protocol {
        Protocol::Ike => ("\"aes256gcm16-prfsha384-x25519\"", "IKE"),
        Protocol::Esp => ("\"aes256gcm16\"", "ESP"),
    };
    let texts = section.texts(key, example)?;
    let read = |text: &Text<'_>| {
        let error = match Proposal::parse(protocol, text.value) {
            Ok(proposals) => {
                idle_integrity(section, key, protocol, text, &proposals);
                return proposals;
            }
            Err(error) => error,
        };
        let (span, label, remedy) = explain(&error, text, example);
        let message = format!("`{key}` in {}: `{}` is no {kind} proposal", section.title, text.value.escape_debug());
        section.context().problems.add(span, message, label, remedy);
        Vec::new()
    };
    Some(texts.iter().flat_map(read).collect())
}

/// Notes an integrity algorithm beside ciphers that have their own: in ESP nothing would use it (RFC 7296 §3.3). In
/// IKE it names the PRF.
fn idle_integrity(section: &Section<'_>, key: &str, protocol: Protocol, text: &Text<'_>, proposals: &[Proposal]) {
    let used = proposals.iter().flat_map(|proposal| proposal.transforms()).any(|one| one.kind == TransformType::INTEG);
    let named = text.value.split('-').map(str::trim).find(|word| keywords(TransformType::INTEG).contains(word));
    if let (Protocol::Esp, false, Some(word)) = (protocol, used, named) {
        let message = format!("`{key}` in {}: `{word}` has nothing to protect", section.title);
        let remedy = "leave it out: the cipher checks integrity by itself; or name one that doesn't, such as aes256";
        section.context().problems.add(word_span(text, word), message, "beside an AEAD", remedy);
    }
}

/// Where the mistake in a proposal stands, what it is and what to write instead.
fn explain(error: &ProposalError, text: &Text<'_>, example: &str) -> (Range<usize>, String, String) {
    let known = |kind| keywords(kind).join(", ");
    let whole = text.span.clone();
    match error {
        ProposalError::UnknownWord(word) => {
            let remedy = match nearest(
                word,
                [TransformType::ENCR, TransformType::INTEG, TransformType::PRF, TransformType::KE]
                    .into_iter()
                    .flat_map(keywords),
            ) {
                Some(known) => format!("did you mean `{known}`?"),
                None => format!(
                    "ciphers: {}; integrity: {}; PRFs: {}; key exchange: {}",
                    known(TransformType::ENCR),
                    known(TransformType::INTEG),
                    known(TransformType::PRF),
                    known(TransformType::KE)
                ),
            };
            (word_span(text, word), "no algorithm is called so".to_owned(), remedy)
        }
        ProposalError::Weak(word) => {
            let remedy = format!("choose a current one, such as {example}");
            (word_span(text, word), "too weak: RFC 8247 and RFC 8221 say not to use it".to_owned(), remedy)
        }
        ProposalError::Misplaced(word) => {
            let remedy = "leave it out: PRFs belong to IKE proposals, `esn` and `noesn` to ESP proposals".to_owned();
            (word_span(text, word), "not in this kind of proposal".to_owned(), remedy)
        }
        ProposalError::NoCipher => {
            (whole, "no cipher".to_owned(), format!("add one of {}", known(TransformType::ENCR)))
        }
        ProposalError::NoIntegrity(cipher) => {
            let remedy = format!("add one of {}, or take an AEAD such as aes256gcm16", known(TransformType::INTEG));
            (word_span(text, cipher), "needs an integrity algorithm beside it".to_owned(), remedy)
        }
        ProposalError::NoPrf => {
            (whole, "no pseudorandom function".to_owned(), format!("add one of {}", known(TransformType::PRF)))
        }
        ProposalError::NoGroup => {
            (whole, "no key exchange method".to_owned(), format!("add one of {}", known(TransformType::KE)))
        }
    }
}

/// Where `word` stands in a proposal.
fn word_span(text: &Text<'_>, word: &str) -> Range<usize> {
    let mut start = 0;
    for part in text.value.split('-') {
        if part.trim() == word {
            let start = start + (part.len() - part.trim_start().len());
            return text.part(start..start + word.len());
        }
        start += part.len() + 1;
    }
    text.span.clone()
}
