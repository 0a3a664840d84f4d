//! Explicit congestion notification through a tunnel (RFC 6040 §4).

/// The ECN field (RFC 3168 §5), with its bits as values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ecn {
    /// Not ECN-capable.
    NotEct = 0,
    /// ECN-capable, codepoint ECT(1).
    Ect1 = 1,
    /// ECN-capable, codepoint ECT(0).
    Ect0 = 2,
    /// Congestion experienced.
    Ce = 3,
}

/// What a tunnel ingress does with ECN (RFC 6040 §4.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EcnMode {
    /// Copy it: for an egress that combines it back. Every IKEv2 peer does (RFC 7296 §2.24).
    #[default]
    Normal,
    /// Send Not-ECT: for an egress that is not known to.
    Compatibility,
}

/// The outer header says congestion, the inner that its sender knows no ECN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EcnConflict;

impl Ecn {
    /// The low two bits of a TOS or traffic class octet.
    #[inline]
    pub fn from_traffic_class(octet: u8) -> Self {
        match octet & 3 {
            0 => Self::NotEct,
            1 => Self::Ect1,
            2 => Self::Ect0,
            _ => Self::Ce,
        }
    }

    /// The outer field for this inner one (RFC 6040 §4.1, figure 3).
    #[inline]
    pub fn encapsulate(self, mode: EcnMode) -> Self {
        match mode {
            EcnMode::Normal => self,
            EcnMode::Compatibility => Self::NotEct,
        }
    }

    /// The field to forward when this inner one arrived under `outer` (RFC 6040 §4.2, figure 4).
    ///
    /// # Errors
    /// [`EcnConflict`] if the packet must be dropped.
    #[inline]
    pub fn decapsulate(self, outer: Self) -> Result<Self, EcnConflict> {
        match (self, outer) {
            (Self::NotEct, Self::Ce) => Err(EcnConflict),
            (Self::NotEct, _) => Ok(Self::NotEct),
            (Self::Ce, _) | (_, Self::Ce) => Ok(Self::Ce),
            (_, Self::Ect1) => Ok(Self::Ect1),
            (inner, Self::NotEct | Self::Ect0) => Ok(inner),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Ecn::*;
    use super::*;

    #[test]
    fn figure_3() {
        for inner in [NotEct, Ect0, Ect1, Ce] {
            assert_eq!(inner.encapsulate(EcnMode::Normal), inner);
            assert_eq!(inner.encapsulate(EcnMode::Compatibility), NotEct);
            assert_eq!(Ecn::from_traffic_class(0xfc | inner as u8), inner);
        }
    }

    #[test]
    fn figure_4() {
        let columns = [NotEct, Ect0, Ect1, Ce];
        for (inner, row) in [
            (NotEct, [Ok(NotEct), Ok(NotEct), Ok(NotEct), Err(EcnConflict)]),
            (Ect0, [Ok(Ect0), Ok(Ect0), Ok(Ect1), Ok(Ce)]),
            (Ect1, [Ok(Ect1), Ok(Ect1), Ok(Ect1), Ok(Ce)]),
            (Ce, [Ok(Ce), Ok(Ce), Ok(Ce), Ok(Ce)]),
        ] {
            for (outer, expected) in columns.into_iter().zip(row) {
                assert_eq!(inner.decapsulate(outer), expected, "{inner:?} under {outer:?}");
            }
        }
    }
}
