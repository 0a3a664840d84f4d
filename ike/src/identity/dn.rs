//! Distinguished names: DER (RFC 5280 §4.1.2.4) to and from `C=CH, O=strongSwan, CN=moon`, and their comparison.

use std::fmt;
use std::str::FromStr;

use x509_parser::der_parser::Oid;
use x509_parser::prelude::FromDer;
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

use super::IdentityError;
use crate::crypto::sign::der::{self, element};

/// A distinguished name, as the DER of its RDNSequence. Parses by construction.
#[derive(Debug, Clone)]
pub struct Dn(Vec<u8>);

/// An attribute type: names (the first is the one we write) and the DER content of its OID.
struct Attribute {
    names: &'static [&'static str],
    oid: &'static [u8],
    string: StringType,
}

/// ASN.1 string types that we write.
#[derive(Clone, Copy)]
enum StringType {
    /// PrintableString, or UTF8String where that cannot hold the value.
    Directory,
    /// IA5String, as RFC 5280 wants for e-mail addresses and domain components.
    Ia5,
}

/// X.520 attribute types start with 2.5.4.
const fn x520(names: &'static [&'static str], oid: &'static [u8]) -> Attribute {
    Attribute { names, oid, string: StringType::Directory }
}

const ATTRIBUTES: &[Attribute] = &[
    x520(&["C"], &[0x55, 4, 6]),
    x520(&["ST"], &[0x55, 4, 8]),
    x520(&["L"], &[0x55, 4, 7]),
    x520(&["O"], &[0x55, 4, 10]),
    x520(&["OU"], &[0x55, 4, 11]),
    x520(&["CN"], &[0x55, 4, 3]),
    x520(&["serialNumber", "SN"], &[0x55, 4, 5]),
    x520(&["S", "surname"], &[0x55, 4, 4]),
    x520(&["G", "givenName"], &[0x55, 4, 42]),
    x520(&["I", "initials"], &[0x55, 4, 43]),
    x520(&["T", "title"], &[0x55, 4, 12]),
    x520(&["D", "description"], &[0x55, 4, 13]),
    x520(&["N", "name"], &[0x55, 4, 41]),
    x520(&["dnQualifier"], &[0x55, 4, 46]),
    x520(&["postalCode"], &[0x55, 4, 17]),
    x520(&["STREET", "street"], &[0x55, 4, 9]),
    x520(&["pseudonym"], &[0x55, 4, 65]),
    x520(&["UID"], &[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1]),
    Attribute {
        names: &["DC"],
        oid: &[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25],
        string: StringType::Ia5,
    },
    Attribute {
        names: &["E", "emailAddress", "Email"],
        oid: &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1],
        string: StringType::Ia5,
    },
];

/// DER tags of strings and of a SET.
const TAG_UTF8_STRING: u8 = 0x0c;
const TAG_PRINTABLE_STRING: u8 = 0x13;
const TAG_IA5_STRING: u8 = 0x16;
const TAG_SET: u8 = 0x31;

pub(super) fn known_attributes() -> String {
    ATTRIBUTES.iter().map(|attribute| attribute.names[0]).collect::<Vec<_>>().join(", ")
}

impl Dn {
    /// Takes the DER of an RDNSequence (a certificate's subject, or Identification Data).
    ///
    /// # Errors
    ///
    /// If `der` is anything else, or empty.
    pub fn from_der(der: &[u8]) -> Result<Self, IdentityError> {
        match X509Name::from_der(der) {
            Ok(([], name)) if name.iter_rdn().next().is_none() => Err(IdentityError::Empty),
            Ok(([], _)) => Ok(Self(der.to_vec())),
            _ => Err(IdentityError::Malformed("distinguished name")),
        }
    }

    /// The DER of the RDNSequence.
    pub fn der(&self) -> &[u8] {
        &self.0
    }

    fn name(&self) -> X509Name<'_> {
        let (_, name) = X509Name::from_der(&self.0).expect("parsed when it was made");
        name
    }
}

impl PartialEq for Dn {
    /// RFC 5280 §7.1: same attributes in the same order; text compares without regard to string type, ASCII case
    /// and repeated spaces.
    fn eq(&self, other: &Self) -> bool {
        if self.0 == other.0 {
            return true;
        }
        let (a, b) = (self.name(), other.name());
        let mut rdns = (a.iter_rdn(), b.iter_rdn());
        loop {
            match (rdns.0.next(), rdns.1.next()) {
                (None, None) => return true,
                (Some(a), Some(b)) => {
                    // A multi-valued RDN is a DER SET, so that equal ones come in equal order, nearly always.
                    if a.iter().count() != b.iter().count() || !a.iter().zip(b.iter()).all(|(a, b)| same(a, b)) {
                        return false;
                    }
                }
                _ => return false,
            }
        }
    }
}

impl Eq for Dn {}

fn same(a: &AttributeTypeAndValue<'_>, b: &AttributeTypeAndValue<'_>) -> bool {
    a.attr_type() == b.attr_type()
        && match (value_text(a), value_text(b)) {
            (Some(a), Some(b)) => fold(&a) == fold(&b),
            (None, None) => a.attr_value().header.tag() == b.attr_value().header.tag() && a.as_slice() == b.as_slice(),
            _ => false,
        }
}

/// The text of a value, whatever its string type; `None` for what is not text.
fn value_text(attribute: &AttributeTypeAndValue<'_>) -> Option<String> {
    use x509_parser::der_parser::asn1_rs::Tag;
    let data = attribute.attr_value().data;
    match attribute.attr_value().header.tag() {
        Tag::BmpString => {
            let (units, []) = data.as_chunks::<2>() else { return None };
            char::decode_utf16(units.iter().map(|unit| u16::from_be_bytes(*unit))).collect::<Result<_, _>>().ok()
        }
        // T61 is Latin-1 in practice.
        Tag::T61String => Some(data.iter().map(|octet| char::from(*octet)).collect()),
        Tag::Utf8String | Tag::PrintableString | Tag::Ia5String | Tag::NumericString | Tag::VisibleString => {
            String::from_utf8(data.to_vec()).ok()
        }
        _ => None,
    }
}

fn fold(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").to_ascii_lowercase()
}

impl fmt::Display for Dn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name();
        for (i, rdn) in name.iter_rdn().enumerate() {
            for (j, attribute) in rdn.iter().enumerate() {
                f.write_str(match (i, j) {
                    (0, 0) => "",
                    (_, 0) => ", ",
                    _ => " + ",
                })?;
                write_attribute(f, attribute)?;
            }
        }
        Ok(())
    }
}

fn write_attribute(f: &mut fmt::Formatter<'_>, attribute: &AttributeTypeAndValue<'_>) -> fmt::Result {
    match ATTRIBUTES.iter().find(|row| *row.oid == *attribute.attr_type().as_bytes()) {
        Some(row) => write!(f, "{}=", row.names[0])?,
        None => write!(f, "{}=", attribute.attr_type())?,
    }
    let Some(text) = value_text(attribute) else {
        return attribute.as_slice().iter().try_for_each(|octet| write!(f, "{octet:02X}"));
    };
    let last = text.chars().count().saturating_sub(1);
    for (i, c) in text.chars().enumerate() {
        match c {
            ',' | '+' | '\\' | '/' => write!(f, "\\{c}")?,
            ' ' if i == 0 || i == last => write!(f, "\\ ")?,
            c if c.is_control() => write!(f, "{}", c.escape_default())?,
            c => write!(f, "{c}")?,
        }
    }
    Ok(())
}

impl FromStr for Dn {
    type Err = IdentityError;

    /// Attributes separated by `,` or, if the text starts with `/`, by `/` (as OpenSSL writes them); `+` joins the
    /// attributes of one RDN; `\` takes the next character literally.
    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let s = s.trim();
        let (separator, s) = match s.strip_prefix('/') {
            Some(rest) => ('/', rest),
            None => (',', s),
        };
        let mut rdns = Vec::new();
        for rdn in split(s, separator) {
            let mut set = split(rdn, '+').map(attribute).collect::<Result<Vec<_>, _>>()?;
            set.sort();
            rdns.extend(element(TAG_SET, &set.concat()));
        }
        Self::from_der(&element(der::SEQUENCE, &rdns))
    }
}

/// Splits at `separator` wherever no `\` precedes it.
fn split(s: &str, separator: char) -> impl Iterator<Item = &str> {
    let mut escaped = false;
    s.split(move |c| {
        let cut = c == separator && !escaped;
        escaped = c == '\\' && !escaped;
        cut
    })
}

/// DER of one AttributeTypeAndValue from `CN=moon`.
fn attribute(s: &str) -> Result<Vec<u8>, IdentityError> {
    const MALFORMED: IdentityError =
        IdentityError::Malformed("distinguished name (like `C=CH, O=strongSwan, CN=moon`)");
    let (name, value) = s.split_once('=').ok_or(MALFORMED)?;
    let name = name.trim();
    let row = ATTRIBUTES.iter().find(|row| row.names.iter().any(|known| known.eq_ignore_ascii_case(name)));
    let (oid, string) = match row {
        Some(row) => (row.oid.to_vec(), row.string),
        None => (dotted(name).ok_or_else(|| IdentityError::UnknownAttribute(name.to_owned()))?, StringType::Directory),
    };
    let value = unescape(value);
    if value.is_empty() || value.chars().any(char::is_control) {
        return Err(MALFORMED);
    }
    let printable = value.chars().all(|c| c.is_ascii_alphanumeric() || " '()+,-./:=?".contains(c));
    let tag = match string {
        StringType::Ia5 if value.is_ascii() => TAG_IA5_STRING,
        StringType::Directory if printable => TAG_PRINTABLE_STRING,
        _ => TAG_UTF8_STRING,
    };
    Ok(element(der::SEQUENCE, &[element(der::OID, &oid), element(tag, value.as_bytes())].concat()))
}

/// Removes escapes, and spaces around the value that are not escaped.
fn unescape(s: &str) -> String {
    let (mut out, mut keep, mut escaped) = (String::new(), 0, false);
    for c in s.trim_start().chars() {
        if c == '\\' && !escaped {
            escaped = true;
            continue;
        }
        out.push(c);
        if escaped || !c.is_whitespace() {
            keep = out.len();
        }
        escaped = false;
    }
    out.truncate(keep);
    out
}

/// DER content of an OID in dotted form.
fn dotted(name: &str) -> Option<Vec<u8>> {
    let arcs = name.split('.').map(|arc| arc.parse().ok()).collect::<Option<Vec<u64>>>()?;
    match arcs[..] {
        [first @ 0..=2, second, ..] if second < 40 || first == 2 => {
            Oid::from(&arcs).ok().map(|oid| oid.as_bytes().to_vec())
        }
        _ => None,
    }
}
