//! Message IDs, retransmission and the response cache (RFC 7296 §2.1-§2.3). The window is one request each way.
//!
//! Our request waits here, byte for byte as it was sent, until its answer arrives; our last response waits here in
//! case the peer did not get it. The two directions know nothing of each other.

use std::time::{Duration, Instant};

use crate::config::Retransmit;

/// The datagrams of one message: one, or its fragments (RFC 7383).
pub(crate) type Datagrams = Vec<Vec<u8>>;

/// Both directions of one IKE SA.
#[derive(Debug, Default)]
pub(crate) struct Window {
    /// Message ID of our next request.
    next: u32,
    outstanding: Option<Outstanding>,
    /// Message ID of the peer's next request.
    expected: u32,
    /// Our response to the request before `expected`.
    cached: Option<Datagrams>,
}

#[derive(Debug)]
struct Outstanding {
    datagrams: Datagrams,
    attempt: u32,
    deadline: Instant,
}

/// What a request's message ID says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The next one: process it.
    New,
    /// The last one again: the cached response is the answer.
    Repeat,
    /// Outside the window (RFC 7296 §2.3).
    Outside,
}

/// What an expired retransmission timer asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Overdue<'a> {
    /// Send these again, the given time in a row.
    Again(&'a [Vec<u8>], u32),
    /// The peer is silent (RFC 7296 §2.4).
    GiveUp,
}

impl Window {
    /// A responder's window behind IKE_SA_INIT, whose `response` is kept.
    pub(crate) fn after_init_response(response: Vec<u8>) -> Self {
        Self { expected: 1, cached: Some(vec![response]), ..Self::default() }
    }

    /// Message ID for the next request.
    pub(crate) fn request_id(&self) -> u32 {
        self.next
    }

    /// Whether a request of ours waits for its answer.
    pub(crate) fn is_busy(&self) -> bool {
        self.outstanding.is_some()
    }

    /// A request with [`Self::request_id`] was sent.
    pub(crate) fn sent(&mut self, now: Instant, datagrams: Datagrams, policy: &Retransmit) {
        let deadline = now + wait(policy, 0);
        self.outstanding = Some(Outstanding { datagrams, attempt: 0, deadline });
    }

    /// Whether `id` answers our outstanding request.
    pub(crate) fn answers(&self, id: u32) -> bool {
        self.outstanding.is_some() && self.next == id
    }

    /// The answer arrived, and was authentic.
    pub(crate) fn answered(&mut self) {
        self.outstanding = None;
        // 2^32 exchanges on one IKE SA would take decades; saturation ends the SA by timeout, never by reuse.
        self.next = self.next.saturating_add(1);
    }

    /// IKE_SA_INIT starts over with the same message ID (COOKIE, INVALID_KE_PAYLOAD; RFC 7296 §2.2).
    pub(crate) fn restart(&mut self) {
        self.outstanding = None;
    }

    /// Places a request of the peer.
    pub(crate) fn judge(&self, id: u32) -> Verdict {
        if id == self.expected {
            Verdict::New
        } else if id.checked_add(1) == Some(self.expected) && self.cached.is_some() {
            Verdict::Repeat
        } else {
            Verdict::Outside
        }
    }

    /// Our response to the expected request; the one before it is forgotten, as this request proves its receipt.
    pub(crate) fn responded(&mut self, datagrams: Datagrams) {
        self.cached = Some(datagrams);
        self.expected = self.expected.saturating_add(1);
    }

    /// The last response.
    pub(crate) fn cached(&self) -> &[Vec<u8>] {
        self.cached.as_deref().unwrap_or_default()
    }

    /// When [`Self::overdue`] wants to be called.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.outstanding.as_ref().map(|o| o.deadline)
    }

    /// The outstanding request got no answer by its deadline.
    pub(crate) fn overdue(&mut self, now: Instant, policy: &Retransmit) -> Option<Overdue<'_>> {
        let outstanding = self.outstanding.as_mut().filter(|o| o.deadline <= now)?;
        if outstanding.attempt >= policy.tries {
            return Some(Overdue::GiveUp);
        }
        outstanding.attempt += 1;
        outstanding.deadline = now + wait(policy, outstanding.attempt);
        Some(Overdue::Again(&outstanding.datagrams, outstanding.attempt))
    }
}

/// How long to wait after the `attempt`-th transmission (from 0).
fn wait(policy: &Retransmit, attempt: u32) -> Duration {
    let factor = policy.base.max(1.0).powi(attempt.min(64) as i32);
    Duration::try_from_secs_f64(policy.timeout.as_secs_f64() * factor).unwrap_or(policy.cap).min(policy.cap)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Retransmit =
        Retransmit { timeout: Duration::from_secs(1), base: 2.0, cap: Duration::from_secs(3), tries: 3 };

    #[test]
    fn a_request_is_repeated_with_growing_waits_and_then_given_up() {
        let start = Instant::now();
        let mut window = Window { next: 1, ..Window::default() };
        assert_eq!(window.request_id(), 1);
        window.sent(start, vec![vec![7]], &POLICY);
        let mut seen = Vec::new();
        loop {
            let at = window.deadline().unwrap();
            assert_eq!(window.overdue(at - Duration::from_millis(1), &POLICY), None);
            match window.overdue(at, &POLICY).unwrap() {
                Overdue::Again(datagrams, attempt) => {
                    assert_eq!(datagrams, [vec![7]]);
                    seen.push((attempt, (at - start).as_secs()));
                }
                Overdue::GiveUp => break seen.push((0, (at - start).as_secs())),
            }
        }
        assert_eq!(seen, [(1, 1), (2, 3), (3, 6), (0, 9)]);
    }

    #[test]
    fn only_the_answer_to_the_outstanding_request_counts() {
        let mut window = Window { next: 1, ..Window::default() };
        assert!(!window.answers(1));
        window.sent(Instant::now(), vec![vec![]], &POLICY);
        assert!(window.answers(1) && !window.answers(0) && !window.answers(2));
        window.answered();
        assert!(!window.answers(1) && !window.is_busy());
        assert_eq!(window.request_id(), 2);
    }

    #[test]
    fn the_last_request_again_gets_the_cached_response_and_older_ones_nothing() {
        let mut window = Window::after_init_response(vec![0]);
        assert_eq!(window.judge(1), Verdict::New);
        assert_eq!(window.judge(0), Verdict::Repeat);
        window.responded(vec![vec![1]]);
        assert_eq!(window.judge(1), Verdict::Repeat);
        assert_eq!(window.cached(), [vec![1]]);
        assert_eq!(window.judge(2), Verdict::New);
        assert_eq!(window.judge(3), Verdict::Outside);
        window.responded(vec![vec![2]]);
        assert_eq!(window.judge(1), Verdict::Outside);
        assert_eq!(window.judge(u32::MAX), Verdict::Outside);
    }
}
