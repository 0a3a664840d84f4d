//! The buffer that a packet lives in from one socket to the other.

use std::fmt;

/// A fixed buffer whose packet has room before it for headers and after it for trailers.
///
/// ```text
///  0        start                    end       capacity
///  | headroom |  data: the packet     | tailroom |
/// ```
/// Created once, reused for ever: no method allocates or moves the packet. One owner at a time.
pub struct PacketBuf {
    octets: Box<[u8]>,
    start: usize,
    end: usize,
}

/// There is no room in a [`PacketBuf`] for what was to be added to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoRoom;

impl PacketBuf {
    /// Room before an inner packet for an outer IP header (40), UDP (8), ESP header (8) and IV (16).
    pub const HEADROOM: usize = 72;
    /// Room after an inner packet for padding (15), pad length and next header (2) and ICV (32), rounded up.
    pub const TAILROOM: usize = 56;

    /// Room before a received ESP packet, so that the IP header of transport mode can be rebuilt where ESP header and IV
    /// were: an IPv6 header (40), less the shortest of those (16).
    pub const INBOUND_HEADROOM: usize = 24;

    /// An empty buffer of `capacity` octets, its packet starting at `headroom` (or at the end, if that is nearer).
    pub fn new(capacity: usize, headroom: usize) -> Self {
        let start = headroom.min(capacity);
        Self { octets: vec![0; capacity].into_boxed_slice(), start, end: start }
    }

    /// A buffer for inner packets of up to `mtu` octets, with room to seal them in place and send them. It also takes
    /// what the peer made of such a packet, if that is received at [`INBOUND_HEADROOM`](Self::INBOUND_HEADROOM).
    pub fn for_mtu(mtu: usize) -> Self {
        Self::new(Self::HEADROOM + mtu + Self::TAILROOM, Self::HEADROOM)
    }

    /// A buffer to receive ESP packets of up to `len` octets in: [`reset`](Self::reset) it to
    /// [`INBOUND_HEADROOM`](Self::INBOUND_HEADROOM) before each.
    pub fn for_receiving(len: usize) -> Self {
        Self::new(Self::INBOUND_HEADROOM + len, Self::INBOUND_HEADROOM)
    }

    /// The packet.
    #[inline]
    pub fn data(&self) -> &[u8] {
        &self.octets[self.start..self.end]
    }

    /// The packet.
    #[inline]
    pub fn data_mut(&mut self) -> &mut [u8] {
        &mut self.octets[self.start..self.end]
    }

    /// Length of the packet.
    #[inline]
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// Whether the packet is empty.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Octets free before the packet.
    #[inline]
    pub fn headroom(&self) -> usize {
        self.start
    }

    /// Octets free after the packet.
    #[inline]
    pub fn tailroom(&self) -> usize {
        self.octets.len() - self.end
    }

    /// Octets in all.
    pub fn capacity(&self) -> usize {
        self.octets.len()
    }

    /// Empties the packet and puts its start at `headroom` (or at the end of the buffer, if that is nearer).
    #[inline]
    pub fn reset(&mut self, headroom: usize) {
        self.start = headroom.min(self.octets.len());
        self.end = self.start;
    }

    /// Empties the packet, its start at [`Self::HEADROOM`].
    #[inline]
    pub fn clear(&mut self) {
        self.reset(Self::HEADROOM);
    }

    /// The free octets after the packet: read into them, then [`append`](Self::append) what came.
    #[inline]
    pub fn spare_mut(&mut self) -> &mut [u8] {
        &mut self.octets[self.end..]
    }

    /// Makes the packet `n` octets longer at its front and returns them, with whatever they hold.
    ///
    /// # Errors
    /// [`NoRoom`] if the headroom is shorter.
    #[inline]
    pub fn prepend(&mut self, n: usize) -> Result<&mut [u8], NoRoom> {
        self.start = self.start.checked_sub(n).ok_or(NoRoom)?;
        Ok(&mut self.octets[self.start..self.start + n])
    }

    /// Makes the packet `n` octets longer at its back and returns them, with whatever they hold.
    ///
    /// # Errors
    /// [`NoRoom`] if the tailroom is shorter.
    #[inline]
    pub fn append(&mut self, n: usize) -> Result<&mut [u8], NoRoom> {
        if n > self.tailroom() {
            return Err(NoRoom);
        }
        self.end += n;
        Ok(&mut self.octets[self.end - n..self.end])
    }

    /// Appends a copy of `octets`.
    ///
    /// # Errors
    /// [`NoRoom`] if the tailroom is shorter.
    pub fn extend(&mut self, octets: &[u8]) -> Result<(), NoRoom> {
        self.append(octets.len())?.copy_from_slice(octets);
        Ok(())
    }

    /// Removes `n` octets from the front, or all if there are fewer.
    #[inline]
    pub fn trim_front(&mut self, n: usize) {
        self.start += n.min(self.len());
    }

    /// Removes `n` octets from the back, or all if there are fewer.
    #[inline]
    pub fn trim_back(&mut self, n: usize) {
        self.end -= n.min(self.len());
    }

    /// Shortens the packet to its first `n` octets, if it is longer.
    #[inline]
    pub fn truncate(&mut self, n: usize) {
        self.end = self.end.min(self.start + n.min(self.len()));
    }
}

/// The size only: what a packet holds may be somebody's plaintext.
impl fmt::Debug for PacketBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PacketBuf({} + {} of {} octets)", self.start, self.len(), self.capacity())
    }
}

impl fmt::Display for NoRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("packet buffer too small")
    }
}

impl std::error::Error for NoRoom {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_and_shrinks_at_both_ends() {
        let mut packet = PacketBuf::new(16, 6);
        packet.extend(b"body").unwrap();
        packet.prepend(2).unwrap().copy_from_slice(b"<<");
        packet.append(2).unwrap().copy_from_slice(b">>");
        assert_eq!(packet.data(), b"<<body>>");
        assert_eq!((packet.headroom(), packet.tailroom()), (4, 4));
        packet.trim_front(2);
        packet.trim_back(2);
        assert_eq!(packet.data(), b"body");
        packet.truncate(9);
        packet.truncate(3);
        assert_eq!(packet.data(), b"bod");
        packet.reset(1);
        assert!(packet.is_empty());
        assert_eq!((packet.headroom(), packet.tailroom()), (1, 15));
    }

    #[test]
    fn refuses_what_does_not_fit() {
        let mut packet = PacketBuf::new(8, 3);
        assert_eq!(packet.prepend(4), Err(NoRoom));
        assert_eq!(packet.append(6), Err(NoRoom));
        assert_eq!(packet.prepend(usize::MAX), Err(NoRoom));
        assert_eq!(packet.append(usize::MAX), Err(NoRoom));
        assert!(packet.is_empty());
        packet.append(5).unwrap();
        packet.trim_front(usize::MAX);
        packet.trim_back(usize::MAX);
        assert!(packet.is_empty());
        packet.reset(usize::MAX);
        assert_eq!((packet.headroom(), packet.tailroom()), (8, 0));
    }
}
