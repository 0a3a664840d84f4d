//! From the spanned TOML tree to values: each `Section` method reads one key, notes what is wrong with it and goes on,
//! so that one run shows every mistake. The keys that were asked for are the keys that exist.

use std::cell::RefCell;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};
use zeroize::Zeroizing;

use super::files::Files;
use super::problem::{Problems, nearest};

/// What every part of the reader needs.
pub(super) struct Context<'a> {
    /// The configuration text.
    pub(super) source: &'a str,
    /// Mistakes go here.
    pub(super) problems: &'a Problems,
    /// Named files come from here.
    pub(super) files: &'a dyn Files,
    /// Relative paths start here.
    pub(super) base: PathBuf,
    /// Whether the configuration file itself is closed to others, so that it may hold secrets.
    pub(super) private: bool,
}

/// A string and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Text<'a> {
    pub(super) value: &'a str,
    pub(super) span: Range<usize>,
    /// Whether the source writes the value as it is, without escapes: parts of it then have places, too.
    verbatim: bool,
}

/// A table and what was asked of it.
pub(super) struct Section<'a> {
    cx: &'a Context<'a>,
    table: &'a DeTable<'a>,
    /// Where it stands: its header, or its braces.
    pub(super) span: Range<usize>,
    /// What it is called in messages: `connection "site-b"`.
    pub(super) title: String,
    asked: RefCell<Vec<&'static str>>,
}

impl<'a> Text<'a> {
    /// Where the part of the value from `from` to `to` stands; all of it where that is not known.
    pub(super) fn part(&self, part: Range<usize>) -> Range<usize> {
        if self.verbatim { self.span.start + 1 + part.start..self.span.start + 1 + part.end } else { self.span.clone() }
    }
}

impl<'a> Section<'a> {
    pub(super) fn new(cx: &'a Context<'a>, table: &'a DeTable<'a>, span: Range<usize>, title: String) -> Self {
        Self { cx, table, span, title, asked: RefCell::default() }
    }

    /// Notes every key that nobody asked for, with the nearest one that exists.
    pub(super) fn finish(self) {
        let asked = self.asked.into_inner();
        for key in self.table.keys().filter(|key| !asked.contains(&key.get_ref().as_ref())) {
            let name = key.get_ref().as_ref();
            let remedy = match nearest(name, asked.iter().copied()) {
                Some(known) => format!("did you mean `{known}`?"),
                None => format!("known here: {}", asked.join(", ")),
            };
            let message = format!("unknown key `{name}` in {}", self.title);
            self.cx.problems.add(key.span(), message, "not a known key", remedy);
        }
    }

    fn value(&self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.asked.borrow_mut().push(key);
        self.table.get(key)
    }

    /// Where the value of `key` stands, or else the section.
    pub(super) fn span_of(&self, key: &str) -> Range<usize> {
        self.table.get(key).map_or_else(|| self.span.clone(), Spanned::span)
    }

    /// Whether `key` is there.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Whether `key` is a table.
    pub(super) fn is_table(&self, key: &str) -> bool {
        self.table.get(key).is_some_and(|value| value.get_ref().is_table())
    }

    /// Whether `key` is a whole number.
    pub(super) fn is_integer(&self, key: &str) -> bool {
        self.table.get(key).is_some_and(|value| value.get_ref().is_integer())
    }

    fn wrong_type(&self, key: &str, value: &Spanned<DeValue<'_>>, wanted: &str, example: &str) {
        let message = format!("`{key}` in {} must be {wanted}", self.title);
        let label = format!("this is {}", article(value.get_ref().type_str()));
        self.cx.problems.add(value.span(), message, label, format!("write it like this: {key} = {example}"));
    }

    fn as_text(&self, key: &str, value: &'a Spanned<DeValue<'a>>, example: &str) -> Option<Text<'a>> {
        let span = value.span();
        let DeValue::String(text) = value.get_ref() else {
            self.wrong_type(key, value, "a string", example);
            return None;
        };
        let inner = self.cx.source.get(span.start + 1..span.end.saturating_sub(1));
        Some(Text { value: text, verbatim: inner == Some(text.as_ref()), span })
    }

    /// A string.
    pub(super) fn text(&self, key: &'static str, example: &str) -> Option<Text<'a>> {
        let value = self.value(key)?;
        self.as_text(key, value, example)
    }

    /// A list of strings; one string is a list of one.
    pub(super) fn texts(&self, key: &'static str, example: &str) -> Option<Vec<Text<'a>>> {
        let value = self.value(key)?;
        match value.get_ref() {
            DeValue::String(_) => self.as_text(key, value, example).map(|text| vec![text]),
            DeValue::Array(items) if items.is_empty() => {
                let message = format!("`{key}` in {} is empty", self.title);
                let remedy = format!("give at least one, or leave the key out: {key} = [{example}]");
                self.cx.problems.add(value.span(), message, "nothing in it", remedy);
                None
            }
            DeValue::Array(items) => Some(items.iter().filter_map(|item| self.as_text(key, item, example)).collect()),
            _ => {
                self.wrong_type(key, value, "a list of strings", &format!("[{example}]"));
                None
            }
        }
    }

    /// A string that `read` understands.
    pub(super) fn parse<T>(
        &self,
        key: &'static str,
        example: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = self.text(key, example)?;
        self.understand(key, &text, example, read)
    }

    /// A list of strings that `read` understands; what it does not is noted and left out.
    pub(super) fn parse_list<T>(
        &self,
        key: &'static str,
        example: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        let texts = self.texts(key, example)?;
        Some(texts.iter().filter_map(|text| self.understand(key, text, example, &read)).collect())
    }

    fn understand<T>(
        &self,
        key: &str,
        text: &Text<'_>,
        example: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        read(text.value)
            .map_err(|cause| {
                let message = format!("`{key}` in {}: `{}` can't be used", self.title, text.value.escape_debug());
                self.cx.problems.add(text.span.clone(), message, cause, format!("write it like this: {example}"));
            })
            .ok()
    }

    /// One of the listed words.
    pub(super) fn word<T: Copy>(&self, key: &'static str, words: &[(&str, T)]) -> Option<T> {
        let example = format!("\"{}\"", words[0].0);
        let text = self.text(key, &example)?;
        let found = words.iter().find(|(word, _)| *word == text.value);
        if found.is_none() {
            let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            let message = format!("`{key}` in {} can't be `{}`", self.title, text.value.escape_debug());
            let remedy = match nearest(text.value, known.iter().copied()) {
                Some(word) => format!("did you mean \"{word}\"? Known: {}", known.join(", ")),
                None => format!("known: {}", known.join(", ")),
            };
            self.cx.problems.add(text.span, message, "unknown word", remedy);
        }
        found.map(|(_, value)| *value)
    }

    /// `true` or `false`.
    pub(super) fn flag(&self, key: &'static str) -> Option<bool> {
        let value = self.value(key)?;
        let flag = value.get_ref().as_bool();
        if flag.is_none() {
            self.wrong_type(key, value, "true or false", "true");
        }
        flag
    }

    /// A whole number within `range`.
    pub(super) fn integer(&self, key: &'static str, range: std::ops::RangeInclusive<u64>) -> Option<u64> {
        let value = self.value(key)?;
        let DeValue::Integer(digits) = value.get_ref() else {
            self.wrong_type(key, value, "a whole number", &range.start().to_string());
            return None;
        };
        let number = u64::from_str_radix(digits.as_str(), digits.radix()).ok().filter(|n| range.contains(n));
        if number.is_none() {
            let message = format!("`{key}` in {} is out of range", self.title);
            let remedy = format!("from {} to {}", range.start(), range.end());
            self.cx.problems.add(value.span(), message, "out of range", remedy);
        }
        number
    }

    /// A number within `range`, whole or not.
    pub(super) fn number(&self, key: &'static str, range: std::ops::RangeInclusive<f64>) -> Option<f64> {
        let value = self.value(key)?;
        let number = match value.get_ref() {
            DeValue::Float(digits) => digits.as_str().parse().ok(),
            DeValue::Integer(digits) => digits.as_str().parse().ok(),
            _ => {
                self.wrong_type(key, value, "a number", &range.start().to_string());
                return None;
            }
        };
        let number = number.filter(|n| range.contains(n));
        if number.is_none() {
            let message = format!("`{key}` in {} is out of range", self.title);
            let remedy = format!("from {} to {}", range.start(), range.end());
            self.cx.problems.add(value.span(), message, "out of range", remedy);
        }
        number
    }

    /// A duration: `"30s"`, `"4h"`, or whole seconds. `Some(None)` for zero, which switches off.
    pub(super) fn duration(&self, key: &'static str) -> Option<Option<Duration>> {
        const UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
        let milliseconds = self.scaled(key, &UNITS, 1_000, "a duration", "\"30s\"")?;
        // A century: no SA lives longer, and arithmetic on clocks stays within bounds.
        let limited = milliseconds.min(100 * 365 * 86_400_000);
        Some((limited > 0).then(|| Duration::from_millis(limited)))
    }

    /// A duration that can't be switched off.
    pub(super) fn some_duration(&self, key: &'static str) -> Option<Duration> {
        let duration = self.duration(key)?;
        if duration.is_none() {
            let message = format!("`{key}` in {} can't be zero", self.title);
            self.cx.problems.add(self.span_of(key), message, "zero", "write it like this: \"30s\"");
        }
        duration
    }

    /// A number of octets or packets: `"1G"`, or a whole number. `Some(None)` for zero, which switches off.
    pub(super) fn size(&self, key: &'static str) -> Option<Option<u64>> {
        const UNITS: [(&str, u64); 4] = [("K", 1 << 10), ("M", 1 << 20), ("G", 1 << 30), ("T", 1 << 40)];
        Some(self.scaled(key, &UNITS, 1, "a size", "\"1G\"")?).map(|size| (size > 0).then_some(size))
    }

    fn scaled(&self, key: &'static str, units: &[(&str, u64)], plain: u64, what: &str, example: &str) -> Option<u64> {
        let value = self.value(key)?;
        let (digits, scale) = match value.get_ref() {
            DeValue::Integer(digits) => (digits.as_str(), Some(plain)),
            DeValue::String(text) => {
                let text = text.trim();
                let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
                let scale = match unit.trim() {
                    "" => Some(plain),
                    unit => units.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).map(|(_, scale)| *scale),
                };
                (digits, scale)
            }
            _ => {
                self.wrong_type(key, value, what, example);
                return None;
            }
        };
        let number = digits.parse::<u64>().ok().zip(scale).and_then(|(number, scale)| number.checked_mul(scale));
        if number.is_none() {
            let names: Vec<&str> = units.iter().map(|(name, _)| *name).collect();
            let message = format!("`{key}` in {} is not {what}", self.title);
            let remedy = format!("a whole number and one of {}: {key} = {example}", names.join(", "));
            self.cx.problems.add(value.span(), message, format!("not {what}"), remedy);
        }
        number
    }

    /// A table.
    pub(super) fn section(&self, key: &'static str, title: String) -> Option<Section<'a>> {
        let value = self.value(key)?;
        match value.get_ref() {
            DeValue::Table(table) => Some(Section::new(self.cx, table, value.span(), title)),
            _ => {
                self.wrong_type(key, value, "a table", "{ ... }");
                None
            }
        }
    }

    /// The tables within table `key`, in the order of the file, each with its name. `kind` is what one is called.
    pub(super) fn sections(&self, key: &'static str, kind: &str) -> Vec<(Text<'a>, Section<'a>)> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let DeValue::Table(table) = value.get_ref() else {
            self.wrong_type(key, value, "a table of tables", &format!("{{ NAME = {{ ... }} }}, or [{key}.NAME]"));
            return Vec::new();
        };
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(name, _)| name.span().start);
        let mut sections = Vec::new();
        for (name, value) in entries {
            let text = Text { value: name.get_ref(), span: name.span(), verbatim: false };
            let title = format!("{kind} `{}`", text.value.escape_debug());
            match value.get_ref() {
                DeValue::Table(inner) => {
                    self.legal_name(kind, &text);
                    sections.push((text, Section::new(self.cx, inner, name.span(), title)));
                }
                _ => {
                    let label = format!("this is {}", article(value.get_ref().type_str()));
                    let remedy = format!("give the {kind} a table of its own: [{key}.NAME]");
                    self.cx.problems.add(value.span(), format!("{title} must be a table"), label, remedy);
                }
            }
        }
        sections
    }

    /// Names are shown in logs, travel in vici names (255 octets, with a suffix) and join as `CONNECTION/CHILD`.
    fn legal_name(&self, kind: &str, name: &Text<'_>) {
        let legal = |c: char| !c.is_control() && !c.is_whitespace() && c != '/';
        if name.value.is_empty() || name.value.len() > 100 || !name.value.chars().all(legal) {
            let message = format!("a {kind} can't have this name");
            let remedy = "1 to 100 octets without blanks and `/`";
            self.cx.problems.add(name.span.clone(), message, "not usable as a name", remedy);
        }
    }

    /// The content of the file named by `key`.
    pub(super) fn file(&self, key: &'static str, secret: bool) -> Option<Zeroizing<Vec<u8>>> {
        let text = self.text(key, "\"path/of/file\"")?;
        self.read(key, &text, secret)
    }

    /// The contents of the files named by the list `key`.
    pub(super) fn files(&self, key: &'static str) -> Option<Vec<Zeroizing<Vec<u8>>>> {
        let texts = self.texts(key, "\"path/of/file\"")?;
        Some(texts.iter().filter_map(|text| self.read(key, text, false)).collect())
    }

    fn read(&self, key: &str, text: &Text<'_>, secret: bool) -> Option<Zeroizing<Vec<u8>>> {
        let path = self.cx.base.join(text.value);
        self.cx
            .files
            .read(&path, secret)
            .map_err(|error| {
                let message = format!("`{key}` in {}: {} can't be used", self.title, path.display());
                self.cx.problems.add(text.span.clone(), message, error.cause, error.remedy);
            })
            .ok()
    }

    /// A secret: as a string under `inline`, or in the file named under `file`, exactly one. A line end after the
    /// secret in a file is not part of it.
    pub(super) fn secret(&self, inline: &'static str, file: &'static str) -> Option<Zeroizing<Vec<u8>>> {
        match (self.has(file), self.has(inline)) {
            (true, false) => {
                let mut content = self.file(file, true)?;
                let end = content.iter().rposition(|octet| !matches!(octet, b'\n' | b'\r')).map_or(0, |last| last + 1);
                content.truncate(end);
                Some(content)
            }
            (false, true) => {
                let text = self.text(inline, "\"...\"")?;
                if !self.cx.private {
                    let remedy = format!(
                        "chmod 600 the configuration file, or put the secret into a file of its own: {file} = \"x.key\""
                    );
                    self.mistake(inline, "others may read the configuration file", "a secret here", remedy);
                }
                Some(Zeroizing::new(text.value.as_bytes().to_vec()))
            }
            (both, _) => {
                let (message, label) =
                    if both { ("two secrets", "one too many") } else { ("no secret", "nothing here") };
                let remedy = format!("give either {file} = \"x.key\" or {inline} = \"...\", made by `cygnet keygen`");
                self.mistake(inline, message, label, remedy);
                let (_, _) = (self.text(file, "\"x.key\""), self.text(inline, "\"...\""));
                None
            }
        }
    }

    /// A path, made absolute if the configuration file's is.
    pub(super) fn path(&self, key: &'static str) -> Option<PathBuf> {
        Some(self.cx.base.join(self.text(key, "\"/path\"")?.value))
    }

    /// Notes a mistake about the value of `key`, or about the section where it is missing.
    pub(super) fn mistake(
        &self,
        key: &str,
        message: impl std::fmt::Display,
        label: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.cx.problems.add(self.span_of(key), format!("{}: {message}", self.title), label, remedy);
    }

    /// The context.
    pub(super) fn context(&self) -> &'a Context<'a> {
        self.cx
    }
}

fn article(kind: &str) -> String {
    let vowel = kind.starts_with(['a', 'e', 'i', 'o', 'u']);
    format!("{} {kind}", if vowel { "an" } else { "a" })
}
