//! All algorithm rows in one place: what negotiation can name, and what configuration calls it.

use cygnet_esp::ENCR;

use super::kex::KEX;
use super::prf::PRF;
use crate::message::numbers::TransformType;

/// A transform (RFC 7296 §3.3.2): type, ID, and the one attribute there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Transform {
    /// Transform Type.
    pub kind: TransformType,
    /// Transform ID.
    pub id: u16,
    /// Key Length attribute, bits.
    pub key_bits: Option<u16>,
}

impl Transform {
    /// A transform without attributes.
    pub const fn new(kind: TransformType, id: u16) -> Self {
        Self { kind, id, key_bits: None }
    }
}

/// Every transform that can be negotiated, under the keyword of configuration; best known first within a type.
pub fn transforms() -> impl Iterator<Item = (&'static str, Transform)> {
    let encr =
        ENCR.iter().map(|row| (row.name, Transform { kind: TransformType::ENCR, id: row.id, key_bits: row.key_bits }));
    let prf = PRF.iter().map(|row| (row.keyword, Transform::new(TransformType::PRF, row.id)));
    let integ = ENCR.iter().filter_map(|row| Some((row.integ_name?, Transform::new(TransformType::INTEG, row.integ?))));
    let ke = KEX.iter().map(|row| (row.keyword, Transform::new(TransformType::KE, row.id)));
    let esn = [("esn", Transform::new(TransformType::ESN, 1)), ("noesn", Transform::new(TransformType::ESN, 0))];
    encr.chain(prf).chain(integ).chain(ke).chain(esn)
}

/// The transform called `word` in configuration. strongSwan's other spellings are understood.
pub fn by_keyword(word: &str) -> Option<Transform> {
    let word = word.to_ascii_lowercase();
    let word = match word.as_str() {
        "curve25519" => "x25519",
        "aes" => "aes128",
        "aes128gcm128" | "aes128gcm" => "aes128gcm16",
        "aes192gcm128" | "aes192gcm" => "aes192gcm16",
        "aes256gcm128" | "aes256gcm" => "aes256gcm16",
        "sha2_256" => "sha256",
        "sha2_384" => "sha384",
        "sha2_512" => "sha512",
        other => other,
    };
    transforms().find(|(keyword, _)| *keyword == word).map(|(_, transform)| transform)
}

/// The configuration keyword of `transform`.
pub fn keyword(transform: Transform) -> Option<&'static str> {
    transforms().find(|(_, row)| *row == transform).map(|(keyword, _)| keyword)
}

/// The keywords of one transform type, for messages and listings.
pub fn keywords(kind: TransformType) -> Vec<&'static str> {
    let mut words: Vec<_> = transforms().filter(|(_, row)| row.kind == kind).map(|(keyword, _)| keyword).collect();
    let mut seen = std::collections::HashSet::new();
    words.retain(|word| seen.insert(*word));
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_and_transforms_are_one_to_one() {
        for (word, transform) in transforms() {
            assert_eq!(by_keyword(word), Some(transform), "{word}");
            assert_eq!(keyword(transform), Some(word), "{word}");
        }
        assert_eq!(keywords(TransformType::INTEG), ["sha256", "sha384", "sha512"]);
    }
}
