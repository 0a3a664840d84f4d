//! Identities of peers: IDi and IDr (RFC 7296 §3.5, RFC 4301 §4.4.3.1), written as strongSwan writes them.
//!
//! | text | identity |
//! |---|---|
//! | `192.0.2.1`, `2001:db8::1` | address |
//! | `gw.example`, `@gw.example` | FQDN; the `@` keeps a name that looks like something else a name |
//! | `carol@example.org` | e-mail address |
//! | `C=CH, O=strongSwan, CN=moon` | distinguished name |
//! | `@#0123abcd`, `keyid:text` | opaque key ID |

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use crate::message::numbers::IdType;
use crate::message::payload::Id;

mod dn;

pub use dn::Dn;

/// Who a peer says it is. Names compare without regard to ASCII case, DNs by RFC 5280 §7.1.
#[derive(Debug, Clone)]
pub enum Identity {
    /// ID_IPV4_ADDR or ID_IPV6_ADDR.
    Ip(IpAddr),
    /// ID_FQDN.
    Fqdn(String),
    /// ID_RFC822_ADDR.
    Email(String),
    /// ID_DER_ASN1_DN.
    Dn(Dn),
    /// ID_KEY_ID: opaque octets.
    KeyId(Vec<u8>),
}

/// Which identities are accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdPattern {
    /// `%any`: whoever can authenticate.
    Any,
    /// This one.
    Exact(Identity),
}

/// Why an identity could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IdentityError {
    /// Nothing there.
    Empty,
    /// Text or Identification Data that its type does not allow; the type's name.
    Malformed(&'static str),
    /// A distinguished name with an attribute that we do not know.
    UnknownAttribute(String),
    /// An ID type of no use to us.
    UnknownType(IdType),
}

impl fmt::Display for IdentityError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "an identity cannot be empty (`%any` accepts every identity)"),
            Self::Malformed(kind) => write!(f, "not a valid {kind}"),
            Self::UnknownAttribute(name) => {
                write!(f, "unknown attribute `{name}` in a distinguished name; known are {}", dn::known_attributes())
            }
            Self::UnknownType(kind) => write!(f, "identification type {kind} is not supported"),
        }
    }
}

impl std::error::Error for IdentityError {}

impl Identity {
    /// ID Type of the Identification payload.
    pub fn id_type(&self) -> IdType {
        match self {
            Self::Ip(IpAddr::V4(_)) => IdType::IPV4_ADDR,
            Self::Ip(IpAddr::V6(_)) => IdType::IPV6_ADDR,
            Self::Fqdn(_) => IdType::FQDN,
            Self::Email(_) => IdType::RFC822_ADDR,
            Self::Dn(_) => IdType::DER_ASN1_DN,
            Self::KeyId(_) => IdType::KEY_ID,
        }
    }

    /// Identification Data of the payload.
    pub fn data(&self) -> Vec<u8> {
        match self {
            Self::Ip(IpAddr::V4(address)) => address.octets().to_vec(),
            Self::Ip(IpAddr::V6(address)) => address.octets().to_vec(),
            Self::Fqdn(name) | Self::Email(name) => name.clone().into_bytes(),
            Self::Dn(dn) => dn.der().to_vec(),
            Self::KeyId(octets) => octets.clone(),
        }
    }

    /// The payload's body, `ID Type | RESERVED | Identification Data`, over which AUTH is computed (RFC 7296 §2.15).
    pub fn payload_body(&self) -> Vec<u8> {
        Id::new(self.id_type(), &self.data()).body()
    }

    /// Reads ID Type and Identification Data.
    ///
    /// # Errors
    ///
    /// For unknown types, and data that the type does not allow.
    pub fn from_wire(id_type: IdType, data: &[u8]) -> Result<Self, IdentityError> {
        match id_type {
            IdType::IPV4_ADDR => {
                let octets: [u8; 4] = data.try_into().map_err(|_| IdentityError::Malformed("IPv4 address"))?;
                Ok(Self::Ip(Ipv4Addr::from(octets).into()))
            }
            IdType::IPV6_ADDR => {
                let octets: [u8; 16] = data.try_into().map_err(|_| IdentityError::Malformed("IPv6 address"))?;
                Ok(Self::Ip(Ipv6Addr::from(octets).into()))
            }
            IdType::FQDN => Ok(Self::Fqdn(text(data, "domain name")?)),
            IdType::RFC822_ADDR => Ok(Self::Email(text(data, "e-mail address")?)),
            IdType::DER_ASN1_DN => Ok(Self::Dn(Dn::from_der(data)?)),
            IdType::KEY_ID if data.is_empty() => Err(IdentityError::Empty),
            IdType::KEY_ID => Ok(Self::KeyId(data.to_vec())),
            other => Err(IdentityError::UnknownType(other)),
        }
    }
}

/// Printable text: what goes into logs must not carry control characters.
fn text(data: &[u8], kind: &'static str) -> Result<String, IdentityError> {
    match std::str::from_utf8(data) {
        Ok("") => Err(IdentityError::Empty),
        Ok(text) if !text.chars().any(|c| c.is_control() || c.is_whitespace()) => Ok(text.to_owned()),
        _ => Err(IdentityError::Malformed(kind)),
    }
}

impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Ip(a), Self::Ip(b)) => a == b,
            (Self::Fqdn(a), Self::Fqdn(b)) | (Self::Email(a), Self::Email(b)) => a.eq_ignore_ascii_case(b),
            (Self::Dn(a), Self::Dn(b)) => a == b,
            (Self::KeyId(a), Self::KeyId(b)) => a == b,
            _ => false,
        }
    }
}

impl Eq for Identity {}

impl FromStr for Identity {
    type Err = IdentityError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let s = s.trim();
        if let Some((kind, value)) = s.split_once(':')
            && let Some(identity) = typed(kind, value)
        {
            return identity;
        }
        if let Some(rest) = s.strip_prefix('@') {
            return match (rest.strip_prefix('#'), rest.strip_prefix('@')) {
                (Some(hex), _) => key_id(hex),
                (_, Some(email)) => Self::from_wire(IdType::RFC822_ADDR, email.as_bytes()),
                _ => Self::from_wire(IdType::FQDN, rest.as_bytes()),
            };
        }
        if s.contains('=') {
            return s.parse().map(Self::Dn);
        }
        if s.contains('@') {
            return Self::from_wire(IdType::RFC822_ADDR, s.as_bytes());
        }
        if let Ok(address) = s.parse() {
            return Ok(Self::Ip(address));
        }
        if s.contains(':') {
            return Err(IdentityError::Malformed("IPv6 address"));
        }
        Self::from_wire(IdType::FQDN, s.as_bytes())
    }
}

/// `type:value`; `None` if `kind` is no type (an IPv6 address, say).
fn typed(kind: &str, value: &str) -> Option<Result<Identity, IdentityError>> {
    Some(match kind {
        "ipv4" => value
            .parse::<Ipv4Addr>()
            .map(|a| Identity::Ip(a.into()))
            .map_err(|_| IdentityError::Malformed("IPv4 address")),
        "ipv6" => value
            .parse::<Ipv6Addr>()
            .map(|a| Identity::Ip(a.into()))
            .map_err(|_| IdentityError::Malformed("IPv6 address")),
        "fqdn" | "dns" => Identity::from_wire(IdType::FQDN, value.as_bytes()),
        "email" | "rfc822" | "userfqdn" => Identity::from_wire(IdType::RFC822_ADDR, value.as_bytes()),
        "asn1dn" | "dn" => value.parse().map(Identity::Dn),
        "keyid" => match value.strip_prefix("0x") {
            Some(hex) => key_id(hex),
            None => Identity::from_wire(IdType::KEY_ID, value.as_bytes()),
        },
        _ => return None,
    })
}

fn key_id(hex: &str) -> Result<Identity, IdentityError> {
    const MALFORMED: IdentityError = IdentityError::Malformed("key ID (an even number of hexadecimal digits)");
    let digits: Vec<u8> = hex
        .chars()
        .filter(|c| *c != ':')
        .map(|c| c.to_digit(16).map(|digit| digit as u8).ok_or(MALFORMED))
        .collect::<Result<_, _>>()?;
    let (pairs, []) = digits.as_chunks::<2>() else { return Err(MALFORMED) };
    Identity::from_wire(IdType::KEY_ID, &pairs.iter().map(|[high, low]| high << 4 | low).collect::<Vec<_>>())
}

impl fmt::Display for Identity {
    /// The text that [`FromStr`] reads back as the same identity: as short as is unmistakable.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Fqdn(name) => {
                let reads_back = |text: &str| matches!(text.parse(), Ok(Self::Fqdn(read)) if read == *name);
                match name {
                    name if reads_back(name) => f.write_str(name),
                    name if reads_back(&format!("@{name}")) => write!(f, "@{name}"),
                    name => write!(f, "fqdn:{name}"),
                }
            }
            Self::Email(name) => {
                let plain = matches!(name.parse(), Ok(Self::Email(read)) if read == *name);
                write!(f, "{}{name}", if plain { "" } else { "email:" })
            }
            Self::Dn(dn) => dn.fmt(f),
            Self::KeyId(octets) => {
                f.write_str("@#")?;
                octets.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
            }
        }
    }
}

impl IdPattern {
    /// Whether `identity` is accepted.
    pub fn matches(&self, identity: &Identity) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(wanted) => wanted == identity,
        }
    }

    /// The one identity accepted, if there is only one: what an initiator may send as IDr (RFC 7296 §1.2).
    pub fn exact(&self) -> Option<&Identity> {
        match self {
            Self::Any => None,
            Self::Exact(identity) => Some(identity),
        }
    }
}

impl FromStr for IdPattern {
    type Err = IdentityError;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        if s.trim() == "%any" { Ok(Self::Any) } else { s.parse().map(Self::Exact) }
    }
}

impl fmt::Display for IdPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("%any"),
            Self::Exact(identity) => identity.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests;
