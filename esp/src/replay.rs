//! The anti-replay window and the inference of extended sequence numbers (RFC 4303 §3.4.3, appendix A).
//!
//! One pure type. Sequence numbers are 64-bit here whether or not the SA uses ESN; without it they end at 2³²−1.

use std::fmt;

/// Which sequence numbers were received.
///
/// ```text
///       too old      |<------ window ------>|  new
///  0 ────────────────┴──────────────────────┴───────────► sequence number
///                     bottom               top: the highest one verified
/// ```
/// The bits are a ring of words: moving the top clears only the words it enters (RFC 6479).
#[derive(Debug, Clone)]
pub struct Replay {
    /// The highest sequence number marked; 0 before the first, which is 1.
    top: u64,
    /// 0 refuses nothing.
    window: u32,
    esn: bool,
    /// At least one word more than the window, so that the window never shares its first word with its last; a power
    /// of two of them.
    bits: Box<[u64]>,
}

/// Why a sequence number was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// Left of the window, or a number no sender uses.
    Old,
    /// Inside the window and received before.
    Replayed,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Old => "left of the anti-replay window",
            Self::Replayed => "received before",
        })
    }
}

impl std::error::Error for Refused {}

impl Replay {
    /// The window if configuration says nothing, in packets.
    pub const DEFAULT_WINDOW: u32 = 1024;
    /// The smallest window (RFC 4303 §3.4.3 asks for 32, and for 64 as the default), in packets.
    pub const MIN_WINDOW: u32 = 64;
    /// The largest window, in packets: 128 KiB of bits per SA.
    pub const MAX_WINDOW: u32 = 1 << 20;

    /// An empty window of `window` packets, rounded up to a multiple of 64 and brought into
    /// [`MIN_WINDOW`](Self::MIN_WINDOW)..=[`MAX_WINDOW`](Self::MAX_WINDOW).
    pub fn new(window: u32, esn: bool) -> Self {
        let window = window.clamp(Self::MIN_WINDOW, Self::MAX_WINDOW).next_multiple_of(64);
        let words = (window as usize / 64 + 1).next_power_of_two();
        Self { top: 0, window, esn, bits: vec![0; words].into_boxed_slice() }
    }

    /// No window: every number is accepted, however often, as long as nobody sends with 64-bit ones
    /// (RFC 4303 §2.2.1, §3.4.3).
    pub fn off() -> Self {
        Self { top: 0, window: 0, esn: false, bits: Box::default() }
    }

    /// The highest sequence number marked, 0 if none is.
    pub fn top(&self) -> u64 {
        self.top
    }

    /// Size of the window, in packets; 0 if there is none.
    pub fn window(&self) -> u32 {
        self.window
    }

    /// The sequence number whose low half was received. With ESN it is the one next to the window: in it or, failing
    /// that, right of it (RFC 4303 appendix A2.2).
    ///
    /// Right as long as no more than 2³² − window packets in a row are lost. Appendix A3 (resynchronisation after
    /// such a loss) is optional and absent: every packet fails verification then, and liveness and rekeying recover.
    ///
    /// # Errors
    /// [`Refused::Old`] if it would lie before the first or after the last number there is.
    #[inline]
    pub fn infer(&self, low: u32) -> Result<u64, Refused> {
        if !self.esn {
            return Ok(u64::from(low));
        }
        let (top_high, top_low) = ((self.top >> 32) as u32, self.top as u32);
        let bottom_low = top_low.wrapping_sub(self.window - 1);
        let high = if top_low >= self.window - 1 {
            // Case A: the window lies within one high half.
            if low >= bottom_low { Some(top_high) } else { top_high.checked_add(1) }
        } else {
            // Case B: it begins in the one before.
            if low >= bottom_low { top_high.checked_sub(1) } else { Some(top_high) }
        };
        high.map(|high| u64::from(high) << 32 | u64::from(low)).ok_or(Refused::Old)
    }

    /// Whether `seq` could still be accepted.
    ///
    /// # Errors
    /// Why not.
    #[inline]
    pub fn check(&self, seq: u64) -> Result<(), Refused> {
        if seq > self.top || self.window == 0 {
            return Ok(());
        }
        if seq == 0 || self.top - seq >= u64::from(self.window) {
            return Err(Refused::Old);
        }
        let (word, bit) = self.place(seq);
        if self.bits[word] & bit != 0 { Err(Refused::Replayed) } else { Ok(()) }
    }

    /// Accepts `seq`, whose packet was verified, if that is still possible: the last word on a replay.
    ///
    /// # Errors
    /// Why `seq` is refused; the window is unchanged then.
    #[inline]
    pub fn mark(&mut self, seq: u64) -> Result<(), Refused> {
        self.check(seq)?;
        if self.window == 0 {
            self.top = self.top.max(seq);
            return Ok(());
        }
        if seq > self.top {
            let (old, new) = (self.top / 64, seq / 64);
            let entered = (new - old).min(self.bits.len() as u64);
            for word in new + 1 - entered..=new {
                let place = self.place(word * 64).0;
                self.bits[place] = 0;
            }
            self.top = seq;
        }
        let (word, bit) = self.place(seq);
        self.bits[word] |= bit;
        Ok(())
    }

    /// Word and bit of `seq` in the ring.
    #[inline]
    fn place(&self, seq: u64) -> (usize, u64) {
        ((seq / 64) as usize & (self.bits.len() - 1), 1 << (seq % 64))
    }
}

#[cfg(test)]
mod tests;
