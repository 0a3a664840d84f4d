//! Building octets: appending, and lengths that patch themselves.

/// Collects octets to send. Lengths are computed by [`nested`](Self::nested), never by callers.
#[derive(Debug, Default)]
pub struct Writer {
    octets: Vec<u8>,
}

impl Writer {
    /// An empty writer.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends `octets`.
    pub fn bytes(&mut self, octets: &[u8]) {
        self.octets.extend_from_slice(octets);
    }

    /// Appends `n` zero octets.
    pub fn zeros(&mut self, n: usize) {
        self.octets.resize(self.octets.len().saturating_add(n), 0);
    }

    /// Appends an octet.
    pub fn u8(&mut self, value: u8) {
        self.octets.push(value);
    }

    /// Appends two octets, big-endian.
    pub fn u16(&mut self, value: u16) {
        self.bytes(&value.to_be_bytes());
    }

    /// Appends four octets, big-endian.
    pub fn u32(&mut self, value: u32) {
        self.bytes(&value.to_be_bytes());
    }

    /// Appends eight octets, big-endian.
    pub fn u64(&mut self, value: u64) {
        self.bytes(&value.to_be_bytes());
    }

    /// Appends `header`, a 16-bit length and what `body` writes. The length counts all three, as RFC 7296 does for
    /// payloads, proposals and transforms (§3.2, §3.3). More than 65,535 octets cannot be written: the length
    /// saturates, and the message is refused by its own bound before it is sent.
    pub fn nested(&mut self, header: &[u8], body: impl FnOnce(&mut Self)) {
        let start = self.octets.len();
        self.bytes(header);
        let at = self.octets.len();
        self.u16(0);
        body(self);
        let length = self.octets.len().saturating_sub(start);
        self.patch_u16(at, u16::try_from(length).unwrap_or(u16::MAX));
    }

    /// Appends `header`, a 16-bit length of the body alone, and what `body` writes (RFC 7296 §3.15.1).
    pub fn nested_body(&mut self, header: &[u8], body: impl FnOnce(&mut Self)) {
        self.bytes(header);
        let at = self.octets.len();
        self.u16(0);
        let start = self.octets.len();
        body(self);
        let length = self.octets.len().saturating_sub(start);
        self.patch_u16(at, u16::try_from(length).unwrap_or(u16::MAX));
    }

    /// Octets written so far.
    pub fn len(&self) -> usize {
        self.octets.len()
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.octets.is_empty()
    }

    /// Overwrites the octet at `at`, if there is one.
    pub(super) fn patch_u8(&mut self, at: usize, value: u8) {
        if let Some(octet) = self.octets.get_mut(at) {
            *octet = value;
        }
    }

    /// Overwrites two octets at `at`, if there are.
    pub(super) fn patch_u16(&mut self, at: usize, value: u16) {
        if let Some(field) = self.octets.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
            *field = value.to_be_bytes();
        }
    }

    /// Overwrites four octets at `at`, if there are.
    pub(super) fn patch_u32(&mut self, at: usize, value: u32) {
        if let Some(field) = self.octets.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
            *field = value.to_be_bytes();
        }
    }

    /// What was written.
    pub fn as_slice(&self) -> &[u8] {
        &self.octets
    }

    /// What was written.
    pub fn into_vec(self) -> Vec<u8> {
        self.octets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_lengths_count_what_they_should() {
        let mut w = Writer::new();
        w.nested(&[33, 0], |w| w.nested_body(&[0, 1], |w| w.bytes(&[7, 7, 7])));
        assert_eq!(w.as_slice(), [33, 0, 0, 11, 0, 1, 0, 3, 7, 7, 7]);
    }
}
