//! On which terms a policy protects: mode, level, what happens while there is no SA.
//!
//! RFC 4301 knows one level: what a PROTECT policy selects is protected or discarded. To switch protection on in a
//! running network there is a second one, `use`, as in KAME's `setkey`: protected if it can be, else in the clear.

use crate::pfp::Pfp;

/// What ESP wraps (RFC 4301 §3.2, §4.1): a host offers both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Mode {
    /// A whole IP packet, behind a new outer header.
    #[default]
    Tunnel,
    /// The payload of an IP packet between the two hosts themselves.
    Transport,
}

/// How strictly traffic of one direction is protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Level {
    /// Protected if it can be: clear traffic is accepted, and sent while no SA exists.
    Use,
    /// Protected or dropped (RFC 4301 §4.4.1).
    #[default]
    Require,
}

/// The levels of both directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Levels {
    /// Of what arrives.
    pub inbound: Level,
    /// Of what is sent.
    pub outbound: Level,
}

/// What becomes of packets to send while their SA is being negotiated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum WhileNegotiating {
    /// Kept, a bounded number of them, and sent once the SA is up.
    #[default]
    Hold,
    /// Dropped.
    Drop,
    /// Sent in the clear; with [`Level::Use`] only.
    Clear,
}

/// What becomes of packets to send after the negotiation of their SA failed, until the next attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum AfterFailure {
    /// Dropped.
    #[default]
    Drop,
    /// Sent in the clear; with [`Level::Use`] only.
    Clear,
}

/// What brings up the SA that a packet lacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Acquire {
    /// The packet itself: it sets off a negotiation (RFC 4301 §5.1).
    #[default]
    Packet,
    /// Anything else, such as a command or the peer. To a packet, it is not to be had.
    Other,
}

/// The terms of a PROTECT policy. Of no meaning for others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Terms {
    /// What ESP wraps.
    pub mode: Mode,
    /// How strictly.
    pub levels: Levels,
    /// What brings the SA up.
    pub acquire: Acquire,
    /// Before the SA is there.
    pub negotiating: WhileNegotiating,
    /// When it could not be had.
    pub failed: AfterFailure,
    /// What an SA takes from its first packet.
    pub pfp: Pfp,
}

/// How the SA for a packet stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SaState {
    /// There is one.
    Up,
    /// It is being negotiated, or the packet sets that off.
    Negotiating,
    /// It is not to be had: its negotiation failed, and the next attempt is not due, or packets set off none.
    Failed,
}

/// What is done with a packet that a PROTECT policy selects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Through the SA.
    Protect,
    /// Kept until the SA is up.
    Hold,
    /// As it is.
    Clear,
    /// Dropped.
    Drop,
}

impl Terms {
    /// What is done with a packet to send (RFC 4301 §5.1).
    #[inline]
    pub fn outbound(&self, sa: SaState) -> Outcome {
        let clear = match self.levels.outbound {
            Level::Use => Outcome::Clear,
            Level::Require => Outcome::Drop,
        };
        match self.state(sa) {
            SaState::Up => Outcome::Protect,
            SaState::Negotiating => match self.negotiating {
                WhileNegotiating::Hold => Outcome::Hold,
                WhileNegotiating::Drop => Outcome::Drop,
                WhileNegotiating::Clear => clear,
            },
            SaState::Failed => match self.failed {
                AfterFailure::Drop => Outcome::Drop,
                AfterFailure::Clear => clear,
            },
        }
    }

    /// How the SA stands for a packet to send. What no packet sets off, none waits for: a negotiation for another reason
    /// may be under way or not, and may come to an SA for others.
    #[inline]
    pub fn state(&self, sa: SaState) -> SaState {
        match (sa, self.acquire) {
            (SaState::Negotiating, Acquire::Other) => SaState::Failed,
            (state, _) => state,
        }
    }

    /// What is done with a packet that arrived without IPsec (RFC 4301 §5.2 step 3b): accepted or dropped.
    #[inline]
    pub fn inbound_clear(&self) -> Outcome {
        match self.levels.inbound {
            Level::Use => Outcome::Clear,
            Level::Require => Outcome::Drop,
        }
    }
}

#[cfg(test)]
mod tests;
