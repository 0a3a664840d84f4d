//! The message: an ordered tree of named values, lists and sections.

use std::fmt;

use zeroize::Zeroizing;

use super::frame::MAX_FRAME;

/// Deepest nesting of sections. strongSwan's deepest message (list-sas) has three levels.
pub const MAX_DEPTH: usize = 16;

/// Most elements (values, list items, sections, lists) of one message.
pub const MAX_ELEMENTS: usize = 32 * 1024;

/// Element types, as strongSwan numbers them.
mod element {
    pub(super) const SECTION_START: u8 = 1;
    pub(super) const SECTION_END: u8 = 2;
    pub(super) const KEY_VALUE: u8 = 3;
    pub(super) const LIST_START: u8 = 4;
    pub(super) const LIST_ITEM: u8 = 5;
    pub(super) const LIST_END: u8 = 6;
}

/// An octet string that is wiped when dropped.
pub type Octets = Zeroizing<Vec<u8>>;

/// What stands behind a name.
#[derive(Clone, PartialEq, Eq)]
pub enum Value {
    /// One value: text, except where a command takes a certificate or a key.
    Scalar(Octets),
    /// An unnamed sequence of values.
    List(Vec<Octets>),
    /// A message within the message.
    Section(Message),
}

/// A tree of named values. Order is kept; names are unique within their section.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Message {
    entries: Vec<(String, Value)>,
}

/// Why octets are not a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// An element ends beyond the message.
    #[error("the message ends within an element")]
    Truncated,
    /// No such element or packet type.
    #[error("unknown type {0}")]
    UnknownType(u8),
    /// An element that may not stand here: an item outside a list, an end without a start.
    #[error("element type {0} may not stand here")]
    Misplaced(u8),
    /// Sections or lists were left open.
    #[error("the message ends within a section or list")]
    Unclosed,
    /// A name is not UTF-8.
    #[error("a name is not UTF-8")]
    Name,
    /// A name occurs twice in a section.
    #[error("the name {0:?} occurs twice in a section")]
    DuplicateName(String),
    /// More than [`MAX_DEPTH`] levels.
    #[error("sections are nested more than {MAX_DEPTH} deep")]
    TooDeep,
    /// More than [`MAX_ELEMENTS`] elements.
    #[error("more than {MAX_ELEMENTS} elements")]
    TooManyElements,
    /// More than [`MAX_FRAME`] octets.
    #[error("more than {MAX_FRAME} octets")]
    TooLong,
}

/// Why a message can't be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// A name of more than 255 octets.
    #[error("the name {0:?} is longer than 255 octets")]
    NameTooLong(String),
    /// A value of more than 65535 octets.
    #[error("the value of {0:?} is longer than 65535 octets")]
    ValueTooLong(String),
    /// A name occurs twice in a section.
    #[error("the name {0:?} occurs twice in a section")]
    DuplicateName(String),
    /// More than [`MAX_DEPTH`] levels.
    #[error("sections are nested more than {MAX_DEPTH} deep")]
    TooDeep,
    /// More than [`MAX_ELEMENTS`] elements.
    #[error("more than {MAX_ELEMENTS} elements")]
    TooManyElements,
    /// More than [`MAX_FRAME`] octets.
    #[error("more than {MAX_FRAME} octets")]
    TooLong,
}

impl Message {
    /// The empty message.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a value.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl fmt::Display) -> Self {
        self.set(name, value);
        self
    }

    /// Adds a list of values.
    #[must_use]
    pub fn with_list<T: fmt::Display>(mut self, name: impl Into<String>, items: impl IntoIterator<Item = T>) -> Self {
        let items = items.into_iter().map(|item| text(item)).collect();
        self.entries.push((name.into(), Value::List(items)));
        self
    }

    /// Adds a section.
    #[must_use]
    pub fn with_section(mut self, name: impl Into<String>, section: Message) -> Self {
        self.push(name, Value::Section(section));
        self
    }

    /// Adds a value in place.
    pub fn set(&mut self, name: impl Into<String>, value: impl fmt::Display) {
        self.push(name, Value::Scalar(text(value)));
    }

    /// Adds any kind of value in place.
    pub fn push(&mut self, name: impl Into<String>, value: Value) {
        self.entries.push((name.into(), value));
    }

    /// The value behind `name`, if it is text.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.value(name)? {
            Value::Scalar(octets) => std::str::from_utf8(octets).ok(),
            _ => None,
        }
    }

    /// The list behind `name`, as far as its items are text; empty if there is none.
    pub fn list(&self, name: &str) -> Vec<&str> {
        match self.value(name) {
            Some(Value::List(items)) => items.iter().filter_map(|item| std::str::from_utf8(item).ok()).collect(),
            _ => Vec::new(),
        }
    }

    /// The section behind `name`.
    pub fn section(&self, name: &str) -> Option<&Message> {
        match self.value(name)? {
            Value::Section(section) => Some(section),
            _ => None,
        }
    }

    /// Whether the value behind `name` is strongSwan's `yes`.
    pub fn flag(&self, name: &str) -> bool {
        self.text(name) == Some("yes")
    }

    /// What stands behind `name`.
    pub fn value(&self, name: &str) -> Option<&Value> {
        self.entries.iter().find(|(n, _)| n == name).map(|(_, value)| value)
    }

    /// Names and values in order.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.entries.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// The sections in order.
    pub fn sections(&self) -> impl Iterator<Item = (&str, &Message)> {
        self.entries().filter_map(|(name, value)| match value {
            Value::Section(section) => Some((name, section)),
            _ => None,
        })
    }

    /// Reads a message that fills `octets`.
    ///
    /// # Errors
    /// If it is malformed or beyond a bound.
    pub fn decode(octets: &[u8]) -> Result<Self, DecodeError> {
        Decoder { rest: octets, open: Vec::new(), current: Message::new(), list: None, elements: 0 }.run()
    }

    /// Appends the message to `out`.
    ///
    /// # Errors
    /// If it is beyond a bound; `out` is then of no use.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let mut elements = 0;
        encode_section(self, out, 0, &mut elements)
    }
}

fn text(value: impl fmt::Display) -> Octets {
    Zeroizing::new(value.to_string().into_bytes())
}

/// Builds the tree with a stack of its own: nested input can't exhaust the thread's.
struct Decoder<'a> {
    rest: &'a [u8],
    /// Sections around `current`, outermost first, each with the name of the one within it.
    open: Vec<(String, Message)>,
    current: Message,
    list: Option<(String, Vec<Octets>)>,
    elements: usize,
}

impl<'a> Decoder<'a> {
    fn run(mut self) -> Result<Message, DecodeError> {
        if self.rest.len() > MAX_FRAME {
            return Err(DecodeError::TooLong);
        }
        while let Some((&kind, rest)) = self.rest.split_first() {
            self.rest = rest;
            self.element(kind)?;
        }
        if self.list.is_some() || !self.open.is_empty() {
            return Err(DecodeError::Unclosed);
        }
        unique(&self.current).map_err(DecodeError::DuplicateName)?;
        Ok(self.current)
    }

    fn element(&mut self, kind: u8) -> Result<(), DecodeError> {
        if !matches!(kind, element::SECTION_END | element::LIST_END) {
            self.elements += 1;
            if self.elements > MAX_ELEMENTS {
                return Err(DecodeError::TooManyElements);
            }
        }
        match (kind, &mut self.list) {
            (element::LIST_ITEM, Some(_)) => {
                let item = self.octets()?;
                self.list.as_mut().expect("matched above").1.push(item);
            }
            (element::LIST_END, list @ Some(_)) => {
                let (name, items) = list.take().expect("matched above");
                self.current.push(name, Value::List(items));
            }
            (element::SECTION_START, None) => {
                if self.open.len() == MAX_DEPTH {
                    return Err(DecodeError::TooDeep);
                }
                let name = self.name()?;
                self.open.push((name, std::mem::take(&mut self.current)));
            }
            (element::SECTION_END, None) => {
                let (name, parent) = self.open.pop().ok_or(DecodeError::Misplaced(kind))?;
                let section = std::mem::replace(&mut self.current, parent);
                unique(&section).map_err(DecodeError::DuplicateName)?;
                self.current.push(name, Value::Section(section));
            }
            (element::KEY_VALUE, None) => {
                let name = self.name()?;
                let value = self.octets()?;
                self.current.push(name, Value::Scalar(value));
            }
            (element::LIST_START, None) => self.list = Some((self.name()?, Vec::new())),
            (element::SECTION_START..=element::LIST_END, _) => return Err(DecodeError::Misplaced(kind)),
            _ => return Err(DecodeError::UnknownType(kind)),
        }
        Ok(())
    }

    /// A name behind its length in one octet.
    fn name(&mut self) -> Result<String, DecodeError> {
        let (&length, rest) = self.rest.split_first().ok_or(DecodeError::Truncated)?;
        let (name, rest) = rest.split_at_checked(length.into()).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(std::str::from_utf8(name).map_err(|_| DecodeError::Name)?.to_owned())
    }

    /// A value behind its length in two octets.
    fn octets(&mut self) -> Result<Octets, DecodeError> {
        let (length, rest) = self.rest.split_first_chunk().ok_or(DecodeError::Truncated)?;
        let length = usize::from(u16::from_be_bytes(*length));
        let (value, rest) = rest.split_at_checked(length).ok_or(DecodeError::Truncated)?;
        self.rest = rest;
        Ok(Zeroizing::new(value.to_vec()))
    }
}

/// A name that occurs twice is an error in both directions: which one holds would depend on the reader.
fn unique(section: &Message) -> Result<(), String> {
    let mut names: Vec<&str> = section.entries.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(pair[0].to_owned()),
        None => Ok(()),
    }
}

fn encode_section(section: &Message, out: &mut Vec<u8>, depth: usize, elements: &mut usize) -> Result<(), EncodeError> {
    if depth > MAX_DEPTH {
        return Err(EncodeError::TooDeep);
    }
    unique(section).map_err(EncodeError::DuplicateName)?;
    for (name, value) in section.entries() {
        *elements += 1;
        match value {
            Value::Scalar(octets) => {
                out.push(element::KEY_VALUE);
                encode_name(name, out)?;
                encode_octets(name, octets, out)?;
            }
            Value::List(items) => {
                *elements += items.len();
                out.push(element::LIST_START);
                encode_name(name, out)?;
                for item in items {
                    out.push(element::LIST_ITEM);
                    encode_octets(name, item, out)?;
                }
                out.push(element::LIST_END);
            }
            Value::Section(inner) => {
                out.push(element::SECTION_START);
                encode_name(name, out)?;
                encode_section(inner, out, depth + 1, elements)?;
                out.push(element::SECTION_END);
            }
        }
        if *elements > MAX_ELEMENTS {
            return Err(EncodeError::TooManyElements);
        }
        if out.len() > MAX_FRAME {
            return Err(EncodeError::TooLong);
        }
    }
    Ok(())
}

pub(super) fn encode_name(name: &str, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let length = u8::try_from(name.len()).map_err(|_| EncodeError::NameTooLong(name.to_owned()))?;
    out.push(length);
    out.extend_from_slice(name.as_bytes());
    Ok(())
}

fn encode_octets(name: &str, octets: &[u8], out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let length = u16::try_from(octets.len()).map_err(|_| EncodeError::ValueTooLong(name.to_owned()))?;
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(octets);
    Ok(())
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scalar(octets) => write!(f, "{}", Printable(octets)),
            Self::List(items) => f.debug_list().entries(items.iter().map(|item| Printable(item))).finish(),
            Self::Section(section) => write!(f, "{section:?}"),
        }
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.entries()).finish()
    }
}

/// Text as text, anything else as its length.
struct Printable<'a>(&'a [u8]);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match std::str::from_utf8(self.0) {
            Ok(text) => write!(f, "{text:?}"),
            Err(_) => write!(f, "<{} octets>", self.0.len()),
        }
    }
}

impl fmt::Debug for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
