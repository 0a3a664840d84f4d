//! The choice among proposals (RFC 7296 §2.7, §3.3.6).

use std::fmt;

use super::{Proposal, Suite, Transform, list};
use crate::crypto::kex::Kex;
use crate::message::numbers::TransformType;

/// NONE of the transform types that have it.
const NONE: u16 = 0;

/// A responder's choice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen<S> {
    /// Which of the offered proposals, counted from 0. The answer repeats its number and carries our SPI.
    pub index: usize,
    /// The answer: one transform of every type that was offered.
    pub answer: Proposal,
    /// Its algorithms.
    pub suite: S,
}

/// No offered proposal fits a configured one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoProposal {
    /// What the peer offered, in configuration syntax.
    pub offered: String,
    /// What is configured.
    pub wanted: String,
    /// The nearest miss: `key exchange: offered modp2048, wanted x25519`.
    pub difference: String,
}

impl fmt::Display for NoProposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no common proposal ({}); offered {}; wanted {}", self.difference, self.offered, self.wanted)
    }
}

impl std::error::Error for NoProposal {}

/// The responder's answer is not among what we offered (RFC 7296 §2.7, §3.3.6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotOffered {
    /// The answer.
    pub answer: String,
    /// What we had offered.
    pub offered: String,
}

impl fmt::Display for NotOffered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the peer chose {}, which is none of what was offered: {}", self.answer, self.offered)
    }
}

impl std::error::Error for NotOffered {}

/// As responder, chooses from what the peer `offered`.
///
/// Our own order decides: the first `configured` proposal that some offered one satisfies, and in it our most wanted
/// transform of each type. The key exchange method chosen need not be that of the peer's KE payload; if it is not,
/// the answer is INVALID_KE_PAYLOAD with the chosen one (RFC 7296 §1.2, §1.3).
///
/// # Errors
///
/// NO_PROPOSAL_CHOSEN, with what to tell the operator.
pub fn select<S: Suite>(offered: &[Proposal], configured: &[Proposal]) -> Result<Chosen<S>, NoProposal> {
    let mut nearest: Option<(TransformType, String)> = None;
    for ours in configured {
        for (index, theirs) in offered.iter().enumerate() {
            if theirs.protocol != S::PROTOCOL || ours.protocol != S::PROTOCOL {
                continue;
            }
            match combine(theirs, ours) {
                Ok(transforms) => {
                    if let Some(suite) = S::resolve(&transforms) {
                        let answer = Proposal { protocol: S::PROTOCOL, transforms };
                        return Ok(Chosen { index, answer, suite });
                    }
                }
                // The later the type at which they part, the nearer they are.
                Err(kind) if nearest.as_ref().is_none_or(|(best, _)| *best < kind) => {
                    nearest = Some((kind, difference(kind, theirs, ours)));
                }
                Err(_) => {}
            }
        }
    }
    let difference = nearest.map_or_else(|| "nothing was offered for this protocol".to_owned(), |(_, text)| text);
    Err(NoProposal { offered: list(offered), wanted: list(configured), difference })
}

/// One transform of every type in `theirs`, or the first type without a common one.
fn combine(theirs: &Proposal, ours: &Proposal) -> Result<Vec<Transform>, TransformType> {
    let mut kinds: Vec<TransformType> =
        theirs.transforms.iter().chain(&ours.transforms).map(|transform| transform.kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let mut answer = Vec::with_capacity(kinds.len());
    for kind in kinds {
        let mut wanted = ours.of(kind).peekable();
        let common = if wanted.peek().is_none() {
            // A type that we have no use for: fine if the peer can do without, too (RFC 7296 §3.3.6, RFC 5282 §8).
            theirs
                .of(kind)
                .find(|transform| transform.id == NONE && kind != TransformType::ENCR && kind != TransformType::PRF)
        } else {
            wanted.find(|transform| theirs.of(kind).any(|offer| offer == *transform))
        };
        answer.push(common.ok_or(kind)?);
    }
    Ok(answer)
}

fn difference(kind: TransformType, theirs: &Proposal, ours: &Proposal) -> String {
    let name = match kind {
        TransformType::ENCR => "cipher",
        TransformType::PRF => "pseudorandom function",
        TransformType::INTEG => "integrity",
        TransformType::KE => "key exchange",
        TransformType::ESN => "extended sequence numbers",
        _ => "additional key exchange or unknown transform type",
    };
    let words = |proposal: &Proposal| match proposal.of(kind).map(super::describe).collect::<Vec<_>>() {
        words if words.is_empty() => "none".to_owned(),
        words => words.join("-"),
    };
    format!("{name}: offered {}, wanted {}", words(theirs), words(ours))
}

/// As initiator, checks the responder's `answer` to `offered`, our proposal of the same number.
///
/// # Errors
///
/// If the answer is not exactly one transform of each type offered, each among those offered (RFC 7296 §2.7).
pub fn accept<S: Suite>(offered: &Proposal, answer: &Proposal) -> Result<S, NotOffered> {
    let refuse = || NotOffered { answer: answer.to_string(), offered: offered.to_string() };
    let mut kinds: Vec<TransformType> = offered.transforms.iter().map(|transform| transform.kind).collect();
    kinds.dedup();
    let complete = kinds.iter().all(|kind| answer.of(*kind).count() == 1);
    let legal = answer.transforms.iter().all(|transform| {
        offered.transforms.contains(transform)
            // "No integrity algorithm" may be spelled out beside an AEAD (RFC 5282 §8).
            || *transform == Transform::new(TransformType::INTEG, NONE) && !kinds.contains(&TransformType::INTEG)
    });
    if answer.protocol != S::PROTOCOL || !complete || !legal {
        return Err(refuse());
    }
    S::resolve(&answer.transforms).ok_or_else(refuse)
}

/// The key exchange method for an initiator's first KE payload: the most wanted one.
pub fn first_group(proposals: &[Proposal]) -> Option<&'static Kex> {
    proposals.iter().find_map(|proposal| proposal.groups().next())
}

/// The key exchange method to try after INVALID_KE_PAYLOAD `asked` for it: only one that we offered, and only once
/// (RFC 7296 §1.2: anything else is a downgrade or a loop).
pub fn retry_group(proposals: &[Proposal], tried: &[u16], asked: u16) -> Option<&'static Kex> {
    if tried.contains(&asked) {
        return None;
    }
    proposals.iter().flat_map(Proposal::groups).find(|group| group.id == asked)
}
