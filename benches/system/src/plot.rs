//! The medians as bars, with a line from the lowest to the highest: a row for each peer, a column for each measurement.
//! Plain SVG, legible on light
//! and on dark.

use std::fmt::Write as _;

use crate::metric::{Metric, quantile};
use crate::report::{Line, Report, number};

/// Widths and heights, user units.
const NAMES: f64 = 158.0;
const COLUMN: f64 = 150.0;
const BAR: f64 = 100.0;
const ROW: f64 = 24.0;
const TOP: f64 = 56.0;

/// What follows the colour scheme of whoever looks.
const STYLE: &str = "text{font:12px system-ui,sans-serif;fill:#1f2328}.t{font-weight:600}.u{fill:#59636e}.s{stroke:#1f2328;opacity:.5}\
    .limit{fill:#afb8c1}.cygnet{fill:#1a7f37}.peer{fill:#54aeff}\
    @media(prefers-color-scheme:dark){text{fill:#e6edf3}.u{fill:#9198a1}.s{stroke:#e6edf3}.limit{fill:#6e7681}.cygnet{fill:#3fb950}\
    .peer{fill:#1f6feb}}";

/// A column: head, unit, and what is averaged in it.
struct Column {
    title: &'static str,
    unit: &'static str,
    metrics: &'static [Metric],
}

const COLUMNS: [Column; 5] = [
    Column { title: "TCP, 1 stream", unit: "Gbit/s", metrics: &[Metric::Tcp1Ab, Metric::Tcp1Ba] },
    Column { title: "TCP, 4 streams", unit: "Gbit/s", metrics: &[Metric::Tcp4Ab, Metric::Tcp4Ba] },
    Column { title: "UDP, 200 octets", unit: "1000 packets/s", metrics: &[Metric::Udp] },
    Column { title: "CPU (less is better)", unit: "s per GiB", metrics: &[Metric::Cpu] },
    Column { title: "ping (less is better)", unit: "ms, median", metrics: &[Metric::PingMedian] },
];

/// The whole file.
pub(crate) fn svg(report: &Report) -> String {
    let measured = |column: &&Column| report.lines.iter().any(|line| bar(line, column).is_some());
    let columns: Vec<_> = COLUMNS.iter().filter(measured).collect();
    let width = NAMES + COLUMN * columns.len() as f64;
    let height = TOP + ROW * report.lines.len() as f64 + 28.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
         height=\"{height}\" role=\"img\" aria-label=\"Cygnet beside other userspace tunnels\">\n<style>{STYLE}</style>\n"
    );
    for (n, line) in report.lines.iter().enumerate() {
        text(&mut svg, "", NAMES - 10.0, row(n) + 15.0, "end", line.name);
    }
    for (c, column) in columns.iter().enumerate() {
        let x = NAMES + COLUMN * c as f64;
        text(&mut svg, "t", x, 20.0, "start", column.title);
        text(&mut svg, "u", x, 38.0, "start", column.unit);
        let bars: Vec<_> = report.lines.iter().map(|line| bar(line, column)).collect();
        let most = bars.iter().flatten().map(|bar| bar.highest).fold(f64::MIN_POSITIVE, f64::max);
        for (n, (line, bar)) in report.lines.iter().zip(&bars).enumerate() {
            let Some(Bar { lowest, median, highest }) = bar else { continue };
            let place = |value: &f64| x + (value / most * BAR).max(1.0);
            let (class, y, width) = (class(line), row(n) + 4.0, place(median) - x);
            let _ = writeln!(
                svg,
                "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{width:.1}\" height=\"16\" rx=\"2\"/>"
            );
            let (from, to, y) = (place(lowest), place(highest), y + 8.0);
            let _ = writeln!(svg, "<path class=\"s\" d=\"M{from:.1} {y}H{to:.1}\"/>");
            text(&mut svg, "", to.max(place(median)) + 5.0, y + 4.0, "start", &number(*median));
        }
    }
    text(&mut svg, "u", 10.0, height - 9.0, "start", &report.machine.facts());
    svg + "</svg>\n"
}

fn row(n: usize) -> f64 {
    TOP + ROW * n as f64
}

fn class(line: &Line) -> &'static str {
    match line.name {
        name if name.starts_with("cygnet") => "cygnet",
        name if name.starts_with("forwarder") || name == "veth" => "limit",
        _ => "peer",
    }
}

/// Of all rounds.
struct Bar {
    lowest: f64,
    median: f64,
    highest: f64,
}

fn bar(line: &Line, column: &Column) -> Option<Bar> {
    let rounds = line.turns.iter().filter_map(|turn| {
        let values: Vec<_> = column.metrics.iter().filter_map(|metric| turn.value(*metric)).collect();
        (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
    });
    let rounds: Vec<_> = rounds.collect();
    let share = |share| quantile(&rounds, share);
    Some(Bar { lowest: share(0.0)?, median: share(0.5)?, highest: share(1.0)? })
}

fn text(svg: &mut String, class: &str, x: f64, y: f64, anchor: &str, text: &str) {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(svg, "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y}\" text-anchor=\"{anchor}\">{text}</text>");
}
