//! Mistakes in a configuration: collected while it is read, shown together.

use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;

use miette::{Diagnostic, MietteError, NamedSource, Report, SourceCode, SourceSpan, SpanContents};
use thiserror::Error;

/// One mistake: where, what, why and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    /// Octets of the source.
    pub(super) span: Range<usize>,
    /// What is wrong, one line.
    pub(super) message: String,
    /// What stands at the caret.
    pub(super) label: String,
    /// What to do.
    pub(super) remedy: String,
}

/// Mistakes found so far, and remarks that stop nothing.
#[derive(Debug, Default)]
pub(super) struct Problems {
    found: RefCell<Vec<Problem>>,
    warnings: RefCell<Vec<String>>,
}

impl Problems {
    /// Notes a mistake.
    pub(super) fn add(
        &self,
        span: Range<usize>,
        message: impl Into<String>,
        label: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let (message, label, remedy) = (message.into(), label.into(), remedy.into());
        self.found.borrow_mut().push(Problem { span, message, label, remedy });
    }

    /// Notes something legal that is likely not meant.
    pub(super) fn warn(&self, text: impl Into<String>) {
        self.warnings.borrow_mut().push(text.into());
    }

    /// The warnings if there was no mistake; else one report of all mistakes, in the order of the file.
    pub(super) fn finish(self, name: &str, source: &str) -> Result<Vec<String>, Report> {
        let mut found = self.found.into_inner();
        if found.is_empty() {
            return Ok(self.warnings.into_inner());
        }
        found.sort_by_key(|problem| problem.span.start);
        let text = NamedSource::new(name, Lines(Arc::from(source))).with_language("TOML");
        let mut mistakes: Vec<Mistake> =
            found.into_iter().map(|problem| Mistake::new(problem, text.clone(), source.len())).collect();
        Err(match mistakes.len() {
            1 => mistakes.remove(0).into(),
            count => Mistakes { count, name: name.to_owned(), mistakes }.into(),
        })
    }
}

/// A problem as `miette` shows it.
#[derive(Debug, Error, Diagnostic)]
#[error("{message}")]
struct Mistake {
    message: String,
    #[source_code]
    text: NamedSource<Lines>,
    #[label("{label}")]
    span: SourceSpan,
    label: String,
    #[help]
    remedy: String,
}

impl Mistake {
    fn new(problem: Problem, text: NamedSource<Lines>, end: usize) -> Self {
        let Problem { span, message, label, remedy } = problem;
        let start = span.start.min(end);
        let span = SourceSpan::from(start..span.end.clamp(start, end));
        Self { message, text, span, label, remedy }
    }
}

/// A text of which reports quote the line with the mistake, whole, and never its neighbours: those may hold what is
/// nobody's business.
#[derive(Debug, Clone)]
struct Lines(Arc<str>);

impl SourceCode for Lines {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        before: usize,
        after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        // Without context the report asks for the place itself.
        if (before, after) == (0, 0) {
            return self.0.read_span(span, 0, 0);
        }
        let start = span.offset().min(self.0.len());
        let end = (start + span.len()).min(self.0.len());
        let octets = self.0.as_bytes();
        let line_start = octets[..start].iter().rposition(|&octet| octet == b'\n').map_or(0, |at| at + 1);
        let line_end = octets[end..].iter().position(|&octet| octet == b'\n').map_or(octets.len(), |at| end + at);
        self.0.read_span(&SourceSpan::from(line_start..line_end), 0, 0)
    }
}

/// Several problems.
#[derive(Debug, Error, Diagnostic)]
#[error("{count} mistakes in {name}")]
struct Mistakes {
    count: usize,
    name: String,
    #[related]
    mistakes: Vec<Mistake>,
}

/// The known word nearest to `word`, if it is near enough to be a slip of the finger.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (word.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|&(distance, _)| distance <= limit)
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

/// Edits (insert, delete, replace, swap neighbours) that lead from `a` to `b`, regardless of case and `-` for `_`.
fn distance(a: &str, b: &str) -> usize {
    let fold = |s: &str| s.to_ascii_lowercase().replace('-', "_").chars().collect::<Vec<_>>();
    let (a, b) = (fold(a), fold(b));
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let cost = usize::from(a[i - 1] != b[j - 1]);
            let mut best = (rows[i - 1][j] + 1).min(row[j - 1] + 1).min(rows[i - 1][j - 1] + cost);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_finds_slips_and_nothing_else() {
        let known = ["remote_addrs", "remote_ts", "rekey_time", "proposals"];
        assert_eq!(nearest("remote_adrs", known), Some("remote_addrs"));
        assert_eq!(nearest("remote-ts", known), Some("remote_ts"));
        assert_eq!(nearest("proposlas", known), Some("proposals"));
        assert_eq!(nearest("colour", known), None);
    }
}
