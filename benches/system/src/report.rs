//! Tables and JSON.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use crate::machine::Machine;
use crate::metric::{Metric, Turn, quantile};

/// All that was found out.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) seconds: f64,
    pub(crate) lines: Vec<Line>,
    /// Name, and why.
    pub(crate) not_run: Vec<(&'static str, String)>,
}

/// One peer.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) name: &'static str,
    pub(crate) about: String,
    pub(crate) compared_with: &'static str,
    /// One per round.
    pub(crate) turns: Vec<Turn>,
}

impl Line {
    fn values(&self, metric: Metric) -> Vec<f64> {
        self.turns.iter().filter_map(|turn| turn.value(metric)).collect()
    }

    pub(crate) fn median(&self, metric: Metric) -> Option<f64> {
        quantile(&self.values(metric), 0.5)
    }

    /// Lowest and highest.
    fn spread(&self, metric: Metric) -> Option<(f64, f64)> {
        let values = self.values(metric);
        Some((quantile(&values, 0.0)?, quantile(&values, 1.0)?))
    }

    /// Median of `self` divided by `other`, round by round: what disturbs a round disturbs neighbours alike.
    fn ratio(&self, other: &Self, metric: Metric) -> Option<f64> {
        let both = self.turns.iter().zip(&other.turns);
        let ratios = both.filter_map(|(a, b)| Some(a.value(metric)? / b.value(metric)?));
        quantile(&ratios.filter(|ratio| ratio.is_finite()).collect::<Vec<_>>(), 0.5)
    }
}

impl Report {
    /// As people read it.
    pub(crate) fn text(&self) -> String {
        let mut text = format!("{}\n\n", self.machine);
        let name = self.lines.iter().map(|line| line.name.len()).max().unwrap_or(0);
        for line in &self.lines {
            let _ = writeln!(text, "{:name$}  {}", line.name, line.about);
        }
        for (name, why) in &self.not_run {
            let _ = writeln!(text, "{name}: not run: {why}");
        }
        let rounds = self.lines.iter().map(|line| line.turns.len()).max().unwrap_or(0);
        let title = format!("Medians of {rounds} rounds, {} s each test", self.seconds);
        text += &self.table(&title, |line, metric| line.median(metric).map(number));
        text += &self.table("Lowest and highest", |line, metric| {
            let (lowest, highest) = line.spread(metric)?;
            Some(format!("{}..{}", number(lowest), number(highest)))
        });
        let title = "Cygnet / peer: median of each round's ratio (TCP, UDP: more is better; others: less is better)";
        text + &self.table(title, |line, metric| {
            let ours = self.lines.iter().find(|ours| ours.name == line.compared_with)?;
            let other = ours.name != line.name;
            other.then(|| ours.ratio(line, metric).map(|ratio| format!("{}x", number(ratio)))).flatten()
        })
    }

    fn table(&self, title: &str, cell: impl Fn(&Line, Metric) -> Option<String>) -> String {
        let measured = |metric: &Metric| self.lines.iter().any(|line| line.median(*metric).is_some());
        let metrics: Vec<_> = Metric::ALL.into_iter().filter(measured).collect();
        let mut rows: Vec<Vec<String>> = (0..2)
            .map(|n| {
                let heads = metrics.iter().map(|metric| metric.head().get(n).copied().unwrap_or_default().to_owned());
                std::iter::once(String::new()).chain(heads).collect()
            })
            .collect();
        for line in &self.lines {
            let cells: Vec<_> = metrics.iter().map(|metric| cell(line, *metric)).collect();
            if cells.iter().any(Option::is_some) {
                let cells = cells.into_iter().map(|cell| cell.unwrap_or_else(|| "-".to_owned()));
                rows.push(std::iter::once(line.name.to_owned()).chain(cells).collect());
            }
        }
        if rows.len() < 3 {
            return String::new();
        }
        let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(String::len).max().unwrap_or(0);
        let mut text = format!("\n{title}\n");
        for row in &rows {
            for (column, cell) in row.iter().enumerate() {
                let width = width(column);
                let _ = if column == 0 { write!(text, "{cell:width$}") } else { write!(text, "  {cell:>width$}") };
            }
            text.push('\n');
        }
        text
    }

    /// As programs read it.
    pub(crate) fn json(&self) -> Value {
        let lines = self.lines.iter().map(|line| {
            let metrics = Metric::ALL.iter().filter_map(|metric| {
                let rounds: Vec<_> = line.turns.iter().map(|turn| turn.value(*metric)).collect();
                let median = line.median(*metric)?;
                Some((metric.key().to_owned(), json!({ "median": median, "rounds": rounds })))
            });
            let metrics: Map<_, _> = metrics.collect();
            json!({ "peer": line.name, "about": line.about, "compared_with": line.compared_with, "metrics": metrics })
        });
        let Machine { processor, cores, kernel, load } = &self.machine;
        json!({
            "machine": { "processor": processor, "cores": cores, "kernel": kernel, "load": load },
            "seconds": self.seconds,
            "peers": lines.collect::<Vec<_>>(),
            "not_run": self.not_run.iter().map(|(name, why)| json!({ "peer": name, "why": why })).collect::<Vec<_>>(),
        })
    }
}

/// Three figures.
pub(crate) fn number(value: f64) -> String {
    match value.abs() {
        large if large >= 99.95 => format!("{value:.0}"),
        middle if middle >= 9.995 => format!("{value:.1}"),
        small if small >= 0.0995 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &'static str, rates: &[f64]) -> Line {
        let turn = |rate: &f64| {
            let mut turn = Turn::default();
            turn.set(Metric::Tcp1Ab, *rate);
            turn
        };
        let turns = rates.iter().map(turn).collect();
        Line { name, about: String::new(), compared_with: "cygnet", turns }
    }

    #[test]
    fn a_ratio_is_of_the_same_round() {
        let (ours, theirs) = (line("cygnet", &[6.0, 1.0, 8.0]), line("other", &[2.0, 0.5, 4.0]));
        assert_eq!(ours.ratio(&theirs, Metric::Tcp1Ab), Some(2.0));
        assert_eq!(ours.ratio(&theirs, Metric::Udp), None);
        assert_eq!(ours.median(Metric::Tcp1Ab), Some(6.0));
    }

    #[test]
    fn numbers_have_three_figures() {
        assert_eq!([1462.4, 20.11, 6.8, 0.5, 0.031].map(number), ["1462", "20.1", "6.80", "0.50", "0.031"]);
    }
}
