//! How far the peer is trusted. Each phase owns its data.

use std::time::Instant;

use super::keys::{Secured, Transcript};
use crate::identity::Identity;

/// The life of an IKE SA, in order.
pub(crate) enum Phase {
    /// We sent IKE_SA_INIT; with keys, we sent IKE_AUTH. The peer is anybody.
    Initiating(Option<Box<Secured>>),
    /// We answered IKE_SA_INIT. The peer is anybody who can receive at its address.
    Responding(Box<Responding>),
    /// Both sides are authenticated.
    Established(Box<Established>),
    /// Over. With keys, only here to repeat the last response until `Timer::Forget`.
    Closing {
        /// Its last keys.
        secured: Option<Box<Secured>>,
        /// The peer was never authenticated.
        was_half_open: bool,
    },
}

/// A half-open SA.
pub(crate) struct Responding {
    pub(crate) secured: Secured,
    pub(crate) transcript: Transcript,
}

/// An SA at work.
pub(crate) struct Established {
    pub(crate) secured: Secured,
    pub(crate) local_id: Identity,
    pub(crate) remote_id: Identity,
    pub(crate) since: Instant,
}

impl Phase {
    /// Its keys, if the key exchange is done.
    pub(crate) fn secured(&self) -> Option<&Secured> {
        match self {
            Self::Initiating(secured) | Self::Closing { secured, .. } => secured.as_deref(),
            Self::Responding(responding) => Some(&responding.secured),
            Self::Established(established) => Some(&established.secured),
        }
    }

    /// Its keys, if the key exchange is done.
    pub(crate) fn secured_mut(&mut self) -> Option<&mut Secured> {
        match self {
            Self::Initiating(secured) | Self::Closing { secured, .. } => secured.as_deref_mut(),
            Self::Responding(responding) => Some(&mut responding.secured),
            Self::Established(established) => Some(&mut established.secured),
        }
    }

    /// The data of an established SA.
    pub(crate) fn established(&self) -> Option<&Established> {
        match self {
            Self::Established(established) => Some(established),
            _ => None,
        }
    }

    /// Ends the SA, its keys kept to repeat the last response with.
    pub(crate) fn close(&mut self) {
        let over = |secured, was_half_open| Self::Closing { secured, was_half_open };
        *self = match std::mem::replace(self, over(None, false)) {
            Self::Initiating(secured) => over(secured, false),
            Self::Responding(responding) => over(Some(Box::new(responding.secured)), true),
            Self::Established(established) => over(Some(Box::new(established.secured)), false),
            closing @ Self::Closing { .. } => closing,
        };
    }
}
