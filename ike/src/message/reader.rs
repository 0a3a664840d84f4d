//! The only way to received octets: a slice that shrinks as it is read.

use super::error::DecodeError;

/// A shrinking view of received octets. Nothing it does can panic.
///
/// A nested length becomes a nested `Reader` ([`sub`](Self::sub)), so that no structure can read past its own end.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader of all of `octets`.
    pub fn new(octets: &'a [u8]) -> Self {
        Self { rest: octets }
    }

    /// Octets not read yet.
    pub fn len(&self) -> usize {
        self.rest.len()
    }

    /// Whether everything was read.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next `n` octets.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] if fewer are left.
    pub fn take(&mut self, n: usize) -> Result<&'a [u8], DecodeError> {
        let (taken, rest) = self.rest.split_at_checked(n).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    /// The next `N` octets.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] if fewer are left.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (taken, rest) = self.rest.split_first_chunk::<N>().ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    /// The next octet.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] at the end.
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array().map(u8::from_be_bytes)
    }

    /// The next two octets, big-endian.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] if fewer are left.
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    /// The next four octets, big-endian.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] if fewer are left.
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    /// The next eight octets, big-endian.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] if fewer are left.
    pub fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_be_bytes)
    }

    /// A reader of the next `n` octets only.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`] if fewer are left.
    pub fn sub(&mut self, n: usize) -> Result<Reader<'a>, DecodeError> {
        self.take(n).map(Reader::new)
    }

    /// A reader of a structure whose 16-bit length field counts `header` octets that were already read, itself
    /// included.
    ///
    /// # Errors
    /// [`DecodeError::BadLength`] if `length` is less than `header`; [`DecodeError::Truncated`] if fewer are left.
    pub fn sub_counted(&mut self, length: u16, header: u16) -> Result<Reader<'a>, DecodeError> {
        self.sub(usize::from(length.checked_sub(header).ok_or(DecodeError::BadLength)?))
    }

    /// Everything that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.rest)
    }

    /// Ends reading.
    ///
    /// # Errors
    /// [`DecodeError::TrailingOctets`] if something is left.
    pub fn finish(self) -> Result<(), DecodeError> {
        if self.rest.is_empty() { Ok(()) } else { Err(DecodeError::TrailingOctets) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shrinks_and_stops_at_its_end() {
        let mut r = Reader::new(&[1, 0, 2, 0, 0, 0, 3, 9, 9]);
        assert_eq!((r.u8(), r.u16(), r.u32()), (Ok(1), Ok(2), Ok(3)));
        assert_eq!(r.u32(), Err(DecodeError::Truncated));
        assert_eq!(r.clone().finish(), Err(DecodeError::TrailingOctets));
        assert_eq!(r.rest(), [9, 9]);
        assert_eq!(r.finish(), Ok(()));
    }

    #[test]
    fn a_sub_reader_cannot_reach_its_neighbour() {
        let mut r = Reader::new(&[1, 2, 3, 4]);
        let mut inner = r.sub(2).unwrap();
        assert_eq!(inner.take(3), Err(DecodeError::Truncated));
        assert_eq!(inner.take(2), Ok(&[1, 2][..]));
        assert_eq!(r.sub_counted(3, 4).unwrap_err(), DecodeError::BadLength);
        assert_eq!(r.sub_counted(7, 4).unwrap_err(), DecodeError::Truncated);
        assert_eq!(r.rest(), [3, 4]);
    }
}
