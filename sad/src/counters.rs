//! Traffic and drops of one direction of an SA. Writers are the workers, so everything is an atomic.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A reason for which an SA drops packets: an index into its counters.
pub(crate) trait DropReason: Copy {
    /// How many reasons there are.
    const COUNT: usize;

    /// Less than [`COUNT`](Self::COUNT), different for each.
    fn index(self) -> usize;
}

macro_rules! drop_reasons {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $name {
            /// Every reason, in order.
            pub const ALL: &[Self] = &[$(Self::$variant,)+];

            /// The counter's name.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $text,)+
                }
            }
        }

        impl DropReason for $name {
            const COUNT: usize = Self::ALL.len();

            #[inline]
            fn index(self) -> usize {
                self as usize
            }
        }
    };
}

drop_reasons! {
    /// Why a packet for an inbound SA went no further. Each packet that found the SA ends in exactly one of these
    /// or in [`Traffic::packets`].
    InboundDrop {
        /// No ESP packet of this SA.
        Malformed = "malformed",
        /// Left of the anti-replay window (RFC 4303 §3.4.3).
        Old = "old",
        /// Received before (RFC 4303 §3.4.3).
        Replayed = "replayed",
        /// The integrity check failed (RFC 4303 §3.4.4).
        Forged = "forged",
        /// Authentic, but wrongly padded (RFC 4303 §2.4).
        Padding = "padding",
        /// A dummy packet (RFC 4303 §2.6): not an error.
        Dummy = "dummy",
        /// The payload is not an IP packet of the version that the next header says, or, in transport mode, nothing that
        /// an IP header could be put before.
        Payload = "payload",
        /// Transport mode: a fragment, or an IPv6 extension header that belongs before the ESP header.
        ExtensionHeader = "extension_header",
        /// The inner packet is outside the SA's selector (RFC 4301 §5.2 step 4).
        Selector = "selector",
        /// The outer header's congestion mark must not be lost, and the inner one can't carry it (RFC 6040 §4.2).
        Congestion = "congestion",
    }
}

drop_reasons! {
    /// Why a packet for an outbound SA went no further. Each packet that found the SA ends in exactly one of these
    /// or in [`Traffic::packets`].
    OutboundDrop {
        /// No sequence number is left (RFC 4303 §3.3.3).
        Exhausted = "exhausted",
        /// Larger than the path allows, and the sender forbids fragmentation (RFC 4301 §8.2).
        TooBig = "too_big",
        /// Transport mode: IPv4 options, IPv6 hop-by-hop options or a routing header, which can't be carried.
        Options = "options",
        /// Transport mode: a fragment, where only whole packets can be sent (RFC 4303 §3.1.1).
        Fragment = "fragment",
        /// Transport mode: headers that can't be read to their end.
        Malformed = "malformed",
        /// Its buffer has no room for the ESP header and trailer.
        NoRoom = "no_room",
        /// Its TTL or hop limit ends here (RFC 4301 §5.1.2).
        HopLimit = "hop_limit",
        /// The socket did not take it.
        Send = "send",
    }
}

impl From<cygnet_esp::OpenError> for InboundDrop {
    fn from(error: cygnet_esp::OpenError) -> Self {
        use cygnet_esp::OpenError as E;
        match error {
            E::Malformed | E::WrongSpi => Self::Malformed,
            E::Old => Self::Old,
            E::Replayed => Self::Replayed,
            E::Forged => Self::Forged,
            E::Padding => Self::Padding,
        }
    }
}

impl From<cygnet_esp::SealError> for OutboundDrop {
    fn from(error: cygnet_esp::SealError) -> Self {
        use cygnet_esp::SealError as E;
        match error {
            E::Exhausted => Self::Exhausted,
            E::NoRoom => Self::NoRoom,
            E::TooLong => Self::TooBig,
        }
    }
}

impl From<cygnet_esp::transport::EncapsulateError> for OutboundDrop {
    fn from(error: cygnet_esp::transport::EncapsulateError) -> Self {
        use cygnet_esp::transport::EncapsulateError as E;
        match error {
            E::Malformed => Self::Malformed,
            E::Fragment => Self::Fragment,
            E::Options => Self::Options,
        }
    }
}

impl From<cygnet_esp::transport::DecapsulateError> for InboundDrop {
    fn from(error: cygnet_esp::transport::DecapsulateError) -> Self {
        use cygnet_esp::transport::DecapsulateError as E;
        match error {
            E::Dummy => Self::Dummy,
            E::ExtensionHeader => Self::ExtensionHeader,
            E::Malformed | E::UnlikeAddresses | E::NoRoom => Self::Payload,
        }
    }
}

impl From<cygnet_esp::tunnel::DecapsulateError> for InboundDrop {
    fn from(error: cygnet_esp::tunnel::DecapsulateError) -> Self {
        use cygnet_esp::tunnel::DecapsulateError as E;
        match error {
            E::NotIp | E::Malformed => Self::Payload,
            E::Ecn => Self::Congestion,
        }
    }
}

impl From<cygnet_esp::SequenceExhausted> for OutboundDrop {
    fn from(_: cygnet_esp::SequenceExhausted) -> Self {
        Self::Exhausted
    }
}

/// Use of one direction of an SA since its installation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Inner packets let through.
    pub packets: u64,
    /// Octets of those packets.
    pub octets: u64,
    /// When the last one was counted, to the millisecond.
    pub last_used: Option<Instant>,
}

/// Counters of one direction. On cache lines of their own: the two directions are counted by different workers.
#[repr(align(128))]
pub(crate) struct Counters<const DROPS: usize> {
    packets: AtomicU64,
    octets: AtomicU64,
    /// Milliseconds since installation, plus one; 0 is never.
    last_used: AtomicU64,
    drops: [AtomicU64; DROPS],
}

impl<const DROPS: usize> Counters<DROPS> {
    pub(crate) fn new() -> Self {
        Self {
            packets: AtomicU64::new(0),
            octets: AtomicU64::new(0),
            last_used: AtomicU64::new(0),
            drops: [const { AtomicU64::new(0) }; DROPS],
        }
    }

    /// Adds a batch; returns the packets and octets of all batches so far.
    #[inline]
    pub(crate) fn add(&self, age: Duration, packets: u64, octets: u64) -> (u64, u64) {
        let last_used = u64::try_from(age.as_millis()).unwrap_or(u64::MAX - 1) + 1;
        self.last_used.fetch_max(last_used, Ordering::Relaxed);
        (
            self.packets.fetch_add(packets, Ordering::Relaxed).wrapping_add(packets),
            self.octets.fetch_add(octets, Ordering::Relaxed).wrapping_add(octets),
        )
    }

    #[inline]
    pub(crate) fn count_drop(&self, reason: impl DropReason, packets: u64) {
        if let Some(counter) = self.drops.get(reason.index()) {
            counter.fetch_add(packets, Ordering::Relaxed);
        }
    }

    pub(crate) fn traffic(&self, installed: Instant) -> Traffic {
        let last_used = self.last_used.load(Ordering::Relaxed);
        Traffic {
            packets: self.packets.load(Ordering::Relaxed),
            octets: self.octets.load(Ordering::Relaxed),
            last_used: last_used.checked_sub(1).and_then(|ms| installed.checked_add(Duration::from_millis(ms))),
        }
    }

    pub(crate) fn dropped(&self, reason: impl DropReason) -> u64 {
        self.drops.get(reason.index()).map_or(0, |counter| counter.load(Ordering::Relaxed))
    }
}
