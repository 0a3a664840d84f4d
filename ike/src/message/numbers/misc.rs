//! Exchange and payload types, and the smaller registries.

registry! {
    /// Which exchange a message belongs to (RFC 7296 §3.1).
    ExchangeType(u8)
    IKE_SA_INIT = 34 "IKE_SA_INIT";
    IKE_AUTH = 35 "IKE_AUTH";
    CREATE_CHILD_SA = 36 "CREATE_CHILD_SA";
    INFORMATIONAL = 37 "INFORMATIONAL";
    /// RFC 5723.
    IKE_SESSION_RESUME = 38 "IKE_SESSION_RESUME";
    /// RFC 9838.
    GSA_AUTH = 39 "GSA_AUTH";
    /// RFC 9838.
    GSA_REGISTRATION = 40 "GSA_REGISTRATION";
    /// RFC 9838.
    GSA_REKEY = 41 "GSA_REKEY";
    /// RFC 9838.
    GSA_INBAND_REKEY = 42 "GSA_INBAND_REKEY";
    /// RFC 9242.
    IKE_INTERMEDIATE = 43 "IKE_INTERMEDIATE";
    /// RFC 9370.
    IKE_FOLLOWUP_KE = 44 "IKE_FOLLOWUP_KE";
}

registry! {
    /// The type of a payload (RFC 7296 §3.2), named by its notation.
    PayloadType(u8)
    NONE = 0 "No Next Payload";
    SA = 33 "SA";
    KE = 34 "KE";
    ID_I = 35 "IDi";
    ID_R = 36 "IDr";
    CERT = 37 "CERT";
    CERTREQ = 38 "CERTREQ";
    AUTH = 39 "AUTH";
    NONCE = 40 "Ni, Nr";
    NOTIFY = 41 "N";
    DELETE = 42 "D";
    VENDOR_ID = 43 "V";
    TS_I = 44 "TSi";
    TS_R = 45 "TSr";
    SK = 46 "SK";
    CP = 47 "CP";
    EAP = 48 "EAP";
    /// RFC 6467; not implemented.
    GSPM = 49 "GSPM";
    /// RFC 9838; not implemented.
    ID_G = 50 "IDg";
    /// RFC 9838; not implemented.
    GSA = 51 "GSA";
    /// RFC 9838; not implemented.
    KD = 52 "KD";
    /// RFC 7383.
    SKF = 53 "SKF";
    /// RFC 8019; not implemented.
    PS = 54 "PS";
}

registry! {
    /// A security protocol (RFC 7296 §3.3.1).
    ProtocolId(u8)
    /// In notifications that concern no particular SA.
    NONE = 0 "NONE";
    IKE = 1 "IKE";
    AH = 2 "AH";
    ESP = 3 "ESP";
    /// RFC 4595.
    FC_ESP_HEADER = 4 "FC_ESP_HEADER";
    /// RFC 4595.
    FC_CT_AUTHENTICATION = 5 "FC_CT_AUTHENTICATION";
    /// RFC 9838.
    GIKE_UPDATE = 6 "GIKE_UPDATE";
}

registry! {
    /// The kind of an identity (RFC 7296 §3.5).
    IdType(u8)
    IPV4_ADDR = 1 "ID_IPV4_ADDR";
    FQDN = 2 "ID_FQDN";
    RFC822_ADDR = 3 "ID_RFC822_ADDR";
    IPV6_ADDR = 5 "ID_IPV6_ADDR";
    DER_ASN1_DN = 9 "ID_DER_ASN1_DN";
    DER_ASN1_GN = 10 "ID_DER_ASN1_GN";
    KEY_ID = 11 "ID_KEY_ID";
    /// RFC 4595.
    FC_NAME = 12 "ID_FC_NAME";
    /// RFC 7619.
    NULL = 13 "ID_NULL";
}

registry! {
    /// How a certificate is encoded (RFC 7296 §3.6).
    CertEncoding(u8)
    PKCS7 = 1 "PKCS #7 wrapped X.509 certificate";
    PGP = 2 "PGP Certificate";
    DNS_SIGNED_KEY = 3 "DNS Signed Key";
    X509_SIGNATURE = 4 "X.509 Certificate - Signature";
    KERBEROS = 6 "Kerberos Token";
    CRL = 7 "Certificate Revocation List (CRL)";
    ARL = 8 "Authority Revocation List (ARL)";
    SPKI = 9 "SPKI Certificate";
    X509_ATTRIBUTE = 10 "X.509 Certificate - Attribute";
    RAW_RSA_KEY = 11 "Raw RSA Key (DEPRECATED)";
    HASH_AND_URL = 12 "Hash and URL of X.509 certificate";
    HASH_AND_URL_BUNDLE = 13 "Hash and URL of X.509 bundle";
    /// RFC 4806.
    OCSP = 14 "OCSP Content";
    /// RFC 7670.
    RAW_PUBLIC_KEY = 15 "Raw Public Key";
}

registry! {
    /// How a peer authenticates (RFC 7296 §3.8).
    AuthMethod(u8)
    RSA = 1 "RSA Digital Signature";
    SHARED_KEY = 2 "Shared Key Message Integrity Code";
    DSS = 3 "DSS Digital Signature";
    /// RFC 4754.
    ECDSA_P256 = 9 "ECDSA with SHA-256 on the P-256 curve";
    /// RFC 4754.
    ECDSA_P384 = 10 "ECDSA with SHA-384 on the P-384 curve";
    /// RFC 4754.
    ECDSA_P521 = 11 "ECDSA with SHA-512 on the P-521 curve";
    /// RFC 6467.
    GSPM = 12 "Generic Secure Password Authentication Method";
    /// RFC 7619.
    NULL = 13 "NULL Authentication";
    /// RFC 7427.
    SIGNATURE = 14 "Digital Signature";
}

registry! {
    /// A hash that the sender of SIGNATURE_HASH_ALGORITHMS can verify signatures with (RFC 7427 §4).
    HashAlgorithm(u16)
    SHA1 = 1 "SHA1";
    SHA2_256 = 2 "SHA2-256";
    SHA2_384 = 3 "SHA2-384";
    SHA2_512 = 4 "SHA2-512";
    /// RFC 8420: for Ed25519 and Ed448, which hash for themselves.
    IDENTITY = 5 "Identity";
    STREEBOG_256 = 6 "STREEBOG_256";
    STREEBOG_512 = 7 "STREEBOG_512";
}

registry! {
    /// The kind of a traffic selector (RFC 7296 §3.13.1).
    TsType(u8)
    IPV4_ADDR_RANGE = 7 "TS_IPV4_ADDR_RANGE";
    IPV6_ADDR_RANGE = 8 "TS_IPV6_ADDR_RANGE";
    /// RFC 4595.
    FC_ADDR_RANGE = 9 "TS_FC_ADDR_RANGE";
    /// RFC 9478.
    SECLABEL = 10 "TS_SECLABEL";
}

registry! {
    /// What a configuration payload does (RFC 7296 §3.15).
    CfgType(u8)
    REQUEST = 1 "CFG_REQUEST";
    REPLY = 2 "CFG_REPLY";
    SET = 3 "CFG_SET";
    ACK = 4 "CFG_ACK";
}

registry! {
    /// A configuration attribute, 15 bits (RFC 7296 §3.15.1).
    CfgAttributeType(u16)
    INTERNAL_IP4_ADDRESS = 1 "INTERNAL_IP4_ADDRESS";
    INTERNAL_IP4_NETMASK = 2 "INTERNAL_IP4_NETMASK";
    INTERNAL_IP4_DNS = 3 "INTERNAL_IP4_DNS";
    INTERNAL_IP4_NBNS = 4 "INTERNAL_IP4_NBNS";
    INTERNAL_IP4_DHCP = 6 "INTERNAL_IP4_DHCP";
    APPLICATION_VERSION = 7 "APPLICATION_VERSION";
    INTERNAL_IP6_ADDRESS = 8 "INTERNAL_IP6_ADDRESS";
    INTERNAL_IP6_DNS = 10 "INTERNAL_IP6_DNS";
    INTERNAL_IP6_DHCP = 12 "INTERNAL_IP6_DHCP";
    INTERNAL_IP4_SUBNET = 13 "INTERNAL_IP4_SUBNET";
    SUPPORTED_ATTRIBUTES = 14 "SUPPORTED_ATTRIBUTES";
    INTERNAL_IP6_SUBNET = 15 "INTERNAL_IP6_SUBNET";
    MIP6_HOME_PREFIX = 16 "MIP6_HOME_PREFIX";
    INTERNAL_IP6_LINK = 17 "INTERNAL_IP6_LINK";
    INTERNAL_IP6_PREFIX = 18 "INTERNAL_IP6_PREFIX";
    HOME_AGENT_ADDRESS = 19 "HOME_AGENT_ADDRESS";
    P_CSCF_IP4_ADDRESS = 20 "P_CSCF_IP4_ADDRESS";
    P_CSCF_IP6_ADDRESS = 21 "P_CSCF_IP6_ADDRESS";
    FTT_KAT = 22 "FTT_KAT";
    EXTERNAL_SOURCE_IP4_NAT_INFO = 23 "EXTERNAL_SOURCE_IP4_NAT_INFO";
    TIMEOUT_PERIOD_FOR_LIVENESS_CHECK = 24 "TIMEOUT_PERIOD_FOR_LIVENESS_CHECK";
    /// RFC 8598.
    INTERNAL_DNS_DOMAIN = 25 "INTERNAL_DNS_DOMAIN";
    /// RFC 8598.
    INTERNAL_DNSSEC_TA = 26 "INTERNAL_DNSSEC_TA";
    /// RFC 9464.
    ENCDNS_IP4 = 27 "ENCDNS_IP4";
    /// RFC 9464.
    ENCDNS_IP6 = 28 "ENCDNS_IP6";
    /// RFC 9464.
    ENCDNS_DIGEST_INFO = 29 "ENCDNS_DIGEST_INFO";
}

registry! {
    /// The code of an EAP message (RFC 3748 §4).
    EapCode(u8)
    REQUEST = 1 "Request";
    RESPONSE = 2 "Response";
    SUCCESS = 3 "Success";
    FAILURE = 4 "Failure";
}

registry! {
    /// A compression algorithm in IPCOMP_SUPPORTED (RFC 7296 §3.10.1).
    IpcompTransformId(u8)
    OUI = 1 "IPCOMP_OUI";
    DEFLATE = 2 "IPCOMP_DEFLATE";
    LZS = 3 "IPCOMP_LZS";
    LZJH = 4 "IPCOMP_LZJH";
}
