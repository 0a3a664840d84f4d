//! Proposals from configuration text.

use std::fmt;

use super::{Proposal, Protocol, Transform};
use crate::crypto::prf::PRF;
use crate::crypto::registry;
use crate::message::numbers::TransformType;

/// Why a configured proposal is not legal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProposalError {
    /// No algorithm is called so.
    UnknownWord(String),
    /// An algorithm that we leave out on purpose (RFC 8247, RFC 8221).
    Weak(String),
    /// A word that has no place in this kind of proposal.
    Misplaced(String),
    /// No cipher.
    NoCipher,
    /// A cipher that needs an integrity algorithm beside it; the cipher.
    NoIntegrity(&'static str),
    /// An IKE proposal whose pseudorandom function follows from nothing.
    NoPrf,
    /// An IKE proposal without a key exchange method.
    NoGroup,
}

impl fmt::Display for ProposalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let known = |kind| registry::keywords(kind).join(", ");
        match self {
            Self::UnknownWord(word) => write!(
                f,
                "unknown algorithm `{word}`; ciphers: {}; integrity: {}; PRFs: {}; key exchange: {}",
                known(TransformType::ENCR),
                known(TransformType::INTEG),
                known(TransformType::PRF),
                known(TransformType::KE)
            ),
            Self::Weak(word) => write!(f, "`{word}` is too weak and not supported (RFC 8247, RFC 8221)"),
            Self::Misplaced(word) => write!(f, "`{word}` has no place in this kind of proposal"),
            Self::NoCipher => write!(f, "no cipher; add one of {}", known(TransformType::ENCR)),
            Self::NoIntegrity(cipher) => {
                write!(f, "`{cipher}` needs an integrity algorithm; add one of {}", known(TransformType::INTEG))
            }
            Self::NoPrf => {
                write!(f, "an AEAD cipher needs a pseudorandom function; add one of {}", known(TransformType::PRF))
            }
            Self::NoGroup => write!(f, "no key exchange method; add one of {}", known(TransformType::KE)),
        }
    }
}

impl std::error::Error for ProposalError {}

/// First letters of what strongSwan knows and RFC 8247 or RFC 8221 say not to use.
const WEAK: &[&str] =
    &["3des", "des", "md5", "sha1", "sha", "prfmd5", "prfsha1", "modp768", "modp1024", "modp1536", "null", "blowfish"];

pub(super) fn parse(protocol: Protocol, text: &str) -> Result<Vec<Proposal>, ProposalError> {
    if text.trim() == "default" {
        return Ok(Proposal::defaults(protocol));
    }
    let mut transforms = Vec::new();
    for word in text.split('-').map(str::trim) {
        let transform = registry::by_keyword(word).ok_or_else(|| match WEAK.contains(&word) {
            true => ProposalError::Weak(word.to_owned()),
            false => ProposalError::UnknownWord(word.to_owned()),
        })?;
        let foreign = match protocol {
            Protocol::Ike => TransformType::ESN,
            Protocol::Esp => TransformType::PRF,
        };
        if transform.kind == foreign {
            return Err(ProposalError::Misplaced(word.to_owned()));
        }
        if !transforms.contains(&transform) {
            transforms.push(transform);
        }
    }
    let (aead, cbc): (Vec<_>, Vec<_>) = of(&transforms, TransformType::ENCR).partition(|cipher| is_aead(*cipher));
    if aead.is_empty() && cbc.is_empty() {
        return Err(ProposalError::NoCipher);
    }
    let integ: Vec<_> = of(&transforms, TransformType::INTEG).collect();
    if let (Some(cipher), true) = (cbc.first(), integ.is_empty()) {
        return Err(ProposalError::NoIntegrity(registry::keyword(*cipher).unwrap_or_default()));
    }

    let mut rest = Vec::new();
    match protocol {
        Protocol::Ike => {
            rest.extend(prfs(&transforms)?);
            rest.extend(of(&transforms, TransformType::KE));
            if of(&rest, TransformType::KE).next().is_none() {
                return Err(ProposalError::NoGroup);
            }
        }
        Protocol::Esp => {
            rest.extend(of(&transforms, TransformType::KE));
            rest.extend(of(&transforms, TransformType::ESN));
            // As strongSwan has it: without a word about them, no extended sequence numbers.
            if of(&rest, TransformType::ESN).next().is_none() {
                rest.push(Transform::new(TransformType::ESN, 0));
            }
        }
    }
    // The kind of cipher named first is the one wanted first.
    let first_is_cbc = of(&transforms, TransformType::ENCR).next().is_some_and(|cipher| !is_aead(cipher));
    let mut proposals = Vec::new();
    for (ciphers, integ) in
        if first_is_cbc { [(cbc, &integ[..]), (aead, &[])] } else { [(aead, &[][..]), (cbc, &integ)] }
    {
        if !ciphers.is_empty() {
            let mut transforms = ciphers;
            transforms.extend_from_slice(integ);
            transforms.extend_from_slice(&rest);
            transforms.sort_by_key(|transform| transform.kind);
            proposals.push(Proposal { protocol, transforms });
        }
    }
    Ok(proposals)
}

fn of(transforms: &[Transform], kind: TransformType) -> impl Iterator<Item = Transform> {
    transforms.iter().copied().filter(move |transform| transform.kind == kind)
}

fn is_aead(cipher: Transform) -> bool {
    cygnet_esp::Encr::find(cipher.id, cipher.key_bits, None).is_some()
}

/// The PRFs named, or else those over the hashes of the integrity algorithms named (as strongSwan has it).
fn prfs(transforms: &[Transform]) -> Result<Vec<Transform>, ProposalError> {
    let named: Vec<_> = of(transforms, TransformType::PRF).collect();
    if !named.is_empty() {
        return Ok(named);
    }
    let derived: Vec<_> = of(transforms, TransformType::INTEG)
        .filter_map(|integ| {
            let hash = registry::keyword(integ)?;
            let row = PRF.iter().find(|row| row.keyword.strip_prefix("prf") == Some(hash))?;
            Some(Transform::new(TransformType::PRF, row.id))
        })
        .collect();
    if derived.is_empty() { Err(ProposalError::NoPrf) } else { Ok(derived) }
}
