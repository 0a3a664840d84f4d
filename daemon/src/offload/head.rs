//! `struct virtio_net_hdr`: what stands before each packet of a device with `IFF_VNET_HDR`.

/// Flag: the checksum is to be computed.
const NEEDS_CHECKSUM: u8 = 1;
/// Kinds of frames; the highest bit marks TCP with ECN, which changes nothing for us.
const TCP4: u8 = 1;
const TCP6: u8 = 4;
const UDP: u8 = 5;
const ECN: u8 = 0x80;

/// What a frame consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// TCP segments over IPv4.
    Tcp4,
    /// TCP segments over IPv6.
    Tcp6,
    /// UDP datagrams.
    Udp,
}

impl Kind {
    /// Whether it is TCP.
    pub fn is_tcp(self) -> bool {
        self != Self::Udp
    }
}

/// A checksum that covers only the pseudo header so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partial {
    /// Where the octets begin that it covers: at the TCP or UDP header.
    pub start: u16,
    /// Its place, from `start` on.
    pub offset: u16,
}

/// What is still to be done with a packet; nothing, by default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Head {
    /// The checksum to be completed.
    pub checksum: Option<Partial>,
    /// To be cut into segments of this kind, with so many octets of payload each but the last.
    pub segments: Option<(Kind, u16)>,
    /// Octets of all headers, as far as known: only a hint.
    pub headers: u16,
}

impl Head {
    /// Octets before each packet.
    pub const LEN: usize = 10;

    /// Reads one; `None` if it is of a kind that was not asked for.
    #[inline]
    pub fn decode(octets: &[u8; Self::LEN]) -> Option<Self> {
        let &[flags, kind, h0, h1, s0, s1, c0, c1, o0, o1] = octets;
        let kind = match kind & !ECN {
            0 => None,
            TCP4 => Some(Kind::Tcp4),
            TCP6 => Some(Kind::Tcp6),
            UDP => Some(Kind::Udp),
            _ => return None,
        };
        let word = |a, b| u16::from_ne_bytes([a, b]);
        let partial = Partial { start: word(c0, c1), offset: word(o0, o1) };
        Some(Self {
            checksum: (flags & NEEDS_CHECKSUM != 0).then_some(partial),
            segments: kind.map(|kind| (kind, word(s0, s1))),
            headers: word(h0, h1),
        })
    }

    /// Writes it.
    #[inline]
    pub fn encode(&self) -> [u8; Self::LEN] {
        let kind = match self.segments {
            None => 0,
            Some((Kind::Tcp4, _)) => TCP4,
            Some((Kind::Tcp6, _)) => TCP6,
            Some((Kind::Udp, _)) => UDP,
        };
        let flags = if self.checksum.is_some() { NEEDS_CHECKSUM } else { 0 };
        let partial = self.checksum.unwrap_or(Partial { start: 0, offset: 0 });
        let size = self.segments.map_or(0, |(_, size)| size);
        let [h0, h1] = self.headers.to_ne_bytes();
        let [s0, s1] = size.to_ne_bytes();
        let [c0, c1] = partial.start.to_ne_bytes();
        let [o0, o1] = partial.offset.to_ne_bytes();
        [flags, kind, h0, h1, s0, s1, c0, c1, o0, o1]
    }

    /// Whether nothing is left to be done.
    #[inline]
    pub fn is_plain(&self) -> bool {
        self.checksum.is_none() && self.segments.is_none()
    }
}
