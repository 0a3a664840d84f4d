//! The medians as bars: a row for each peer, a column for each measurement. Plain SVG, legible on light and on dark.

use std::fmt::Write as _;

use crate::metric::Metric;
use crate::report::{Line, Report, number};

/// Widths and heights, user units.
const NAMES: f64 = 158.0;
const COLUMN: f64 = 150.0;
const BAR: f64 = 100.0;
const ROW: f64 = 24.0;
const TOP: f64 = 56.0;

/// What follows the colour scheme of whoever looks.
const STYLE: &str = "text{font:12px system-ui,sans-serif;fill:#1f2328}.t{font-weight:600}.u{fill:#59636e}\
    .limit{fill:#afb8c1}.cygnet{fill:#1a7f37}.peer{fill:#54aeff}\
    @media(prefers-color-scheme:dark){text{fill:#e6edf3}.u{fill:#9198a1}.limit{fill:#6e7681}.cygnet{fill:#3fb950}\
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
    let measured = |column: &&Column| report.lines.iter().any(|line| value(line, column).is_some());
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
        let values: Vec<_> = report.lines.iter().map(|line| value(line, column)).collect();
        let most = values.iter().flatten().copied().fold(f64::MIN_POSITIVE, f64::max);
        for (n, (line, value)) in report.lines.iter().zip(&values).enumerate() {
            let Some(value) = value else { continue };
            let (y, bar) = (row(n) + 4.0, (value / most * BAR).max(1.0));
            let class = class(line);
            let _ = writeln!(
                svg,
                "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{bar:.1}\" height=\"16\" rx=\"2\"/>"
            );
            text(&mut svg, "", x + bar + 5.0, y + 12.0, "start", &number(*value));
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

fn value(line: &Line, column: &Column) -> Option<f64> {
    let medians: Vec<_> = column.metrics.iter().filter_map(|metric| line.median(*metric)).collect();
    (!medians.is_empty()).then(|| medians.iter().sum::<f64>() / medians.len() as f64)
}

fn text(svg: &mut String, class: &str, x: f64, y: f64, anchor: &str, text: &str) {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(svg, "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y}\" text-anchor=\"{anchor}\">{text}</text>");
}
