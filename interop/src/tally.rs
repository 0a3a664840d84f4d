//! Counts of tests.

use std::fmt;
use std::ops::AddAssign;

use crate::Options;

/// How many tests passed, failed, and did not run.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tally {
    /// Passed.
    pub(crate) passed: usize,
    /// Failed.
    pub(crate) failed: usize,
    /// Did not run.
    pub(crate) skipped: usize,
}

impl Tally {
    /// Reads `… 3 passed; 0 failed; 1 ignored …` and `3 passed, 0 failed, 1 skipped`.
    pub(crate) fn from_counts(text: &str) -> Self {
        let mut tally = Self::default();
        let words: Vec<&str> = text.split([' ', ';', ',', '.']).filter(|word| !word.is_empty()).collect();
        for pair in words.windows(2) {
            let Ok(count) = pair[0].parse::<usize>() else { continue };
            match pair[1] {
                "passed" => tally.passed += count,
                "failed" => tally.failed += count,
                "ignored" | "skipped" => tally.skipped += count,
                _ => {}
            }
        }
        tally
    }

    /// Whether nothing failed, and nothing was left out that had to run.
    pub(crate) fn is_good(&self, options: &Options) -> bool {
        self.failed == 0 && (self.skipped == 0 || !options.require)
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_counts_of_cargo_and_of_itself() {
        let tally = Tally::from_counts("ok. 12 passed; 1 failed; 2 ignored; 0 measured; 3 filtered out");
        assert_eq!(tally.to_string(), "12 passed, 1 failed, 2 skipped");
        assert_eq!(Tally::from_counts(&tally.to_string()).to_string(), tally.to_string());
    }
}
