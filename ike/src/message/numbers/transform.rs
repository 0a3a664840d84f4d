//! Transform types and identifiers (RFC 7296 §3.3.2).
//!
//! `Display` writes the registry's name; [`EncrId::short`] and its siblings the one that strongSwan's status uses.

registry! {
    /// What a transform is about (RFC 7296 §3.3.2; RFC 9370 for the additional key exchanges).
    TransformType(u8)
    ENCR = 1 "Encryption Algorithm (ENCR)";
    PRF = 2 "Pseudo-random Function (PRF)";
    INTEG = 3 "Integrity Algorithm (INTEG)";
    KE = 4 "Key Exchange Method (KE)";
    /// Called "Extended Sequence Numbers (ESN)" before RFC 9827.
    ESN = 5 "Sequence Numbers (SN)";
    ADDKE1 = 6 "Additional Key Exchange 1 (ADDKE1)";
    ADDKE2 = 7 "Additional Key Exchange 2 (ADDKE2)";
    ADDKE3 = 8 "Additional Key Exchange 3 (ADDKE3)";
    ADDKE4 = 9 "Additional Key Exchange 4 (ADDKE4)";
    ADDKE5 = 10 "Additional Key Exchange 5 (ADDKE5)";
    ADDKE6 = 11 "Additional Key Exchange 6 (ADDKE6)";
    ADDKE7 = 12 "Additional Key Exchange 7 (ADDKE7)";
    /// RFC 9838.
    KWA = 13 "Key Wrap Algorithm (KWA)";
    /// RFC 9838.
    GCAUTH = 14 "Group Controller Authentication Method (GCAUTH)";
}

registry! {
    /// A Transform Type 1 identifier: encryption algorithm.
    EncrId(u16)
    DES_IV64 = 1 "ENCR_DES_IV64";
    DES = 2 "ENCR_DES";
    TRIPLE_DES = 3 "ENCR_3DES";
    RC5 = 4 "ENCR_RC5";
    IDEA = 5 "ENCR_IDEA";
    CAST = 6 "ENCR_CAST";
    BLOWFISH = 7 "ENCR_BLOWFISH";
    TRIPLE_IDEA = 8 "ENCR_3IDEA";
    DES_IV32 = 9 "ENCR_DES_IV32";
    NULL = 11 "ENCR_NULL";
    AES_CBC = 12 "ENCR_AES_CBC";
    AES_CTR = 13 "ENCR_AES_CTR";
    AES_CCM_8 = 14 "ENCR_AES_CCM_8";
    AES_CCM_12 = 15 "ENCR_AES_CCM_12";
    AES_CCM_16 = 16 "ENCR_AES_CCM_16";
    AES_GCM_8 = 18 "ENCR_AES_GCM_8";
    AES_GCM_12 = 19 "ENCR_AES_GCM_12";
    AES_GCM_16 = 20 "ENCR_AES_GCM_16";
    NULL_AUTH_AES_GMAC = 21 "ENCR_NULL_AUTH_AES_GMAC";
    CAMELLIA_CBC = 23 "ENCR_CAMELLIA_CBC";
    CAMELLIA_CTR = 24 "ENCR_CAMELLIA_CTR";
    CAMELLIA_CCM_8 = 25 "ENCR_CAMELLIA_CCM_8";
    CAMELLIA_CCM_12 = 26 "ENCR_CAMELLIA_CCM_12";
    CAMELLIA_CCM_16 = 27 "ENCR_CAMELLIA_CCM_16";
    CHACHA20_POLY1305 = 28 "ENCR_CHACHA20_POLY1305";
    /// RFC 8750.
    AES_CCM_8_IIV = 29 "ENCR_AES_CCM_8_IIV";
    /// RFC 8750.
    AES_GCM_16_IIV = 30 "ENCR_AES_GCM_16_IIV";
    /// RFC 8750.
    CHACHA20_POLY1305_IIV = 31 "ENCR_CHACHA20_POLY1305_IIV";
    KUZNYECHIK_MGM_KTREE = 32 "ENCR_KUZNYECHIK_MGM_KTREE";
    MAGMA_MGM_KTREE = 33 "ENCR_MAGMA_MGM_KTREE";
    KUZNYECHIK_MGM_MAC_KTREE = 34 "ENCR_KUZNYECHIK_MGM_MAC_KTREE";
    MAGMA_MGM_MAC_KTREE = 35 "ENCR_MAGMA_MGM_MAC_KTREE";
}

registry! {
    /// A Transform Type 2 identifier: pseudorandom function.
    PrfId(u16)
    HMAC_MD5 = 1 "PRF_HMAC_MD5";
    HMAC_SHA1 = 2 "PRF_HMAC_SHA1";
    HMAC_TIGER = 3 "PRF_HMAC_TIGER";
    AES128_XCBC = 4 "PRF_AES128_XCBC";
    HMAC_SHA2_256 = 5 "PRF_HMAC_SHA2_256";
    HMAC_SHA2_384 = 6 "PRF_HMAC_SHA2_384";
    HMAC_SHA2_512 = 7 "PRF_HMAC_SHA2_512";
    AES128_CMAC = 8 "PRF_AES128_CMAC";
    HMAC_STREEBOG_512 = 9 "PRF_HMAC_STREEBOG_512";
}

registry! {
    /// A Transform Type 3 identifier: integrity algorithm.
    IntegId(u16)
    NONE = 0 "NONE";
    HMAC_MD5_96 = 1 "AUTH_HMAC_MD5_96";
    HMAC_SHA1_96 = 2 "AUTH_HMAC_SHA1_96";
    DES_MAC = 3 "AUTH_DES_MAC";
    KPDK_MD5 = 4 "AUTH_KPDK_MD5";
    AES_XCBC_96 = 5 "AUTH_AES_XCBC_96";
    HMAC_MD5_128 = 6 "AUTH_HMAC_MD5_128";
    HMAC_SHA1_160 = 7 "AUTH_HMAC_SHA1_160";
    AES_CMAC_96 = 8 "AUTH_AES_CMAC_96";
    AES_128_GMAC = 9 "AUTH_AES_128_GMAC";
    AES_192_GMAC = 10 "AUTH_AES_192_GMAC";
    AES_256_GMAC = 11 "AUTH_AES_256_GMAC";
    HMAC_SHA2_256_128 = 12 "AUTH_HMAC_SHA2_256_128";
    HMAC_SHA2_384_192 = 13 "AUTH_HMAC_SHA2_384_192";
    HMAC_SHA2_512_256 = 14 "AUTH_HMAC_SHA2_512_256";
}

registry! {
    /// A Transform Type 4 identifier, also of the additional key exchanges: key exchange method.
    KeId(u16)
    NONE = 0 "NONE";
    MODP_768 = 1 "768-bit MODP Group";
    MODP_1024 = 2 "1024-bit MODP Group";
    MODP_1536 = 5 "1536-bit MODP Group";
    MODP_2048 = 14 "2048-bit MODP Group";
    MODP_3072 = 15 "3072-bit MODP Group";
    MODP_4096 = 16 "4096-bit MODP Group";
    MODP_6144 = 17 "6144-bit MODP Group";
    MODP_8192 = 18 "8192-bit MODP Group";
    ECP_256 = 19 "256-bit random ECP group";
    ECP_384 = 20 "384-bit random ECP group";
    ECP_521 = 21 "521-bit random ECP group";
    MODP_1024_160 = 22 "1024-bit MODP Group with 160-bit Prime Order Subgroup";
    MODP_2048_224 = 23 "2048-bit MODP Group with 224-bit Prime Order Subgroup";
    MODP_2048_256 = 24 "2048-bit MODP Group with 256-bit Prime Order Subgroup";
    ECP_192 = 25 "192-bit Random ECP Group";
    ECP_224 = 26 "224-bit Random ECP Group";
    BRAINPOOL_P224R1 = 27 "brainpoolP224r1";
    BRAINPOOL_P256R1 = 28 "brainpoolP256r1";
    BRAINPOOL_P384R1 = 29 "brainpoolP384r1";
    BRAINPOOL_P512R1 = 30 "brainpoolP512r1";
    CURVE_25519 = 31 "Curve25519";
    CURVE_448 = 32 "Curve448";
    GOST3410_2012_256 = 33 "GOST3410_2012_256";
    GOST3410_2012_512 = 34 "GOST3410_2012_512";
    ML_KEM_512 = 35 "ml-kem-512";
    ML_KEM_768 = 36 "ml-kem-768";
    ML_KEM_1024 = 37 "ml-kem-1024";
}

registry! {
    /// A Transform Type 5 identifier: extended sequence numbers or not (RFC 4303 §2.2.1).
    EsnId(u16)
    /// "No Extended Sequence Numbers" before RFC 9827.
    NO = 0 "32-bit Sequential Numbers";
    /// "Extended Sequence Numbers" before RFC 9827.
    YES = 1 "Partially Transmitted 64-bit Sequential Numbers";
    /// RFC 9838.
    UNSPECIFIED = 2 "32-bit Unspecified Numbers";
}

registry! {
    /// A transform attribute (RFC 7296 §3.3.5).
    AttributeType(u16)
    KEY_LENGTH = 14 "Key Length (in bits)";
    /// RFC 9838.
    SIGNATURE_ALGORITHM = 18 "Signature Algorithm Identifier";
}

impl EncrId {
    /// As strongSwan's status writes it: `AES_GCM_16`.
    pub fn short(self) -> Option<&'static str> {
        self.name().map(|name| name.strip_prefix("ENCR_").unwrap_or(name))
    }
}

impl PrfId {
    /// As strongSwan's status writes it: `PRF_HMAC_SHA2_256`.
    pub fn short(self) -> Option<&'static str> {
        self.name()
    }
}

impl IntegId {
    /// As strongSwan's status writes it: `HMAC_SHA2_256_128`.
    pub fn short(self) -> Option<&'static str> {
        self.name().map(|name| name.strip_prefix("AUTH_").unwrap_or(name))
    }
}

impl KeId {
    /// As strongSwan's status writes it: `CURVE_25519`, `ECP_256`, `MODP_2048`.
    pub fn short(self) -> Option<&'static str> {
        Some(match self {
            Self::MODP_768 => "MODP_768",
            Self::MODP_1024 => "MODP_1024",
            Self::MODP_1536 => "MODP_1536",
            Self::MODP_2048 => "MODP_2048",
            Self::MODP_3072 => "MODP_3072",
            Self::MODP_4096 => "MODP_4096",
            Self::MODP_6144 => "MODP_6144",
            Self::MODP_8192 => "MODP_8192",
            Self::ECP_256 => "ECP_256",
            Self::ECP_384 => "ECP_384",
            Self::ECP_521 => "ECP_521",
            Self::MODP_1024_160 => "MODP_1024_160",
            Self::MODP_2048_224 => "MODP_2048_224",
            Self::MODP_2048_256 => "MODP_2048_256",
            Self::ECP_192 => "ECP_192",
            Self::ECP_224 => "ECP_224",
            Self::BRAINPOOL_P224R1 => "ECP_224_BP",
            Self::BRAINPOOL_P256R1 => "ECP_256_BP",
            Self::BRAINPOOL_P384R1 => "ECP_384_BP",
            Self::BRAINPOOL_P512R1 => "ECP_512_BP",
            Self::CURVE_25519 => "CURVE_25519",
            Self::CURVE_448 => "CURVE_448",
            Self::ML_KEM_512 => "ML_KEM_512",
            Self::ML_KEM_768 => "ML_KEM_768",
            Self::ML_KEM_1024 => "ML_KEM_1024",
            other => return other.name(),
        })
    }
}

impl EsnId {
    /// As strongSwan's status writes it: `NO_EXT_SEQ`, `EXT_SEQ`.
    pub fn short(self) -> Option<&'static str> {
        match self {
            Self::NO => Some("NO_EXT_SEQ"),
            Self::YES => Some("EXT_SEQ"),
            _ => None,
        }
    }
}

impl TransformType {
    /// The seven additional key exchanges, in order (RFC 9370 §2.2.1).
    pub const ADDKE: [Self; 7] =
        [Self::ADDKE1, Self::ADDKE2, Self::ADDKE3, Self::ADDKE4, Self::ADDKE5, Self::ADDKE6, Self::ADDKE7];
}
