//! What is measured, and its values.

/// One thing that has a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Metric {
    Tcp1Ab,
    Tcp1Ba,
    Tcp4Ab,
    Tcp4Ba,
    Udp,
    PingMedian,
    PingP99,
    LoadMedian,
    LoadP99,
    Cpu,
    Resident,
    Peak,
}

impl Metric {
    pub(crate) const ALL: [Self; 12] = [
        Self::Tcp1Ab,
        Self::Tcp1Ba,
        Self::Tcp4Ab,
        Self::Tcp4Ba,
        Self::Udp,
        Self::PingMedian,
        Self::PingP99,
        Self::LoadMedian,
        Self::LoadP99,
        Self::Cpu,
        Self::Resident,
        Self::Peak,
    ];

    /// As JSON names it.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Tcp1Ab => "tcp1_a_to_b_gbit_s",
            Self::Tcp1Ba => "tcp1_b_to_a_gbit_s",
            Self::Tcp4Ab => "tcp4_a_to_b_gbit_s",
            Self::Tcp4Ba => "tcp4_b_to_a_gbit_s",
            Self::Udp => "udp200_kpps",
            Self::PingMedian => "ping_idle_median_ms",
            Self::PingP99 => "ping_idle_p99_ms",
            Self::LoadMedian => "ping_load_median_ms",
            Self::LoadP99 => "ping_load_p99_ms",
            Self::Cpu => "cpu_s_per_gib",
            Self::Resident => "resident_mib",
            Self::Peak => "peak_resident_mib",
        }
    }

    /// Head of its column, in two lines.
    pub(crate) fn head(self) -> [&'static str; 2] {
        match self {
            Self::Tcp1Ab => ["TCP 1 a>b", "Gbit/s"],
            Self::Tcp1Ba => ["TCP 1 b>a", "Gbit/s"],
            Self::Tcp4Ab => ["TCP 4 a>b", "Gbit/s"],
            Self::Tcp4Ba => ["TCP 4 b>a", "Gbit/s"],
            Self::Udp => ["UDP 200", "kpps"],
            Self::PingMedian => ["ping idle", "ms median"],
            Self::PingP99 => ["ping idle", "ms p99"],
            Self::LoadMedian => ["ping load", "ms median"],
            Self::LoadP99 => ["ping load", "ms p99"],
            Self::Cpu => ["CPU", "s per GiB"],
            Self::Resident => ["resident", "MiB, both"],
            Self::Peak => ["at most", "MiB, both"],
        }
    }
}

/// What one peer's turn in a round gave.
#[derive(Debug, Clone, Default)]
pub(crate) struct Turn([Option<f64>; Metric::ALL.len()]);

impl Turn {
    pub(crate) fn set(&mut self, metric: Metric, value: f64) {
        if let Some(slot) = self.0.get_mut(metric as usize) {
            *slot = Some(value);
        }
    }

    pub(crate) fn value(&self, metric: Metric) -> Option<f64> {
        self.0.get(metric as usize).copied().flatten()
    }
}

/// The value that a share of `values` does not exceed; 0.5 is the median, which of two middle values is their mean.
pub(crate) fn quantile(values: &[f64], share: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let last = sorted.len().checked_sub(1)?;
    let place = share * last as f64;
    let at = |place: f64| sorted.get(place as usize).copied();
    Some((at(place.floor())? + at(place.ceil())?) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_of_the_sorted_values() {
        assert_eq!(quantile(&[], 0.5), None);
        assert_eq!(quantile(&[3.0], 0.99), Some(3.0));
        assert_eq!(quantile(&[9.0, 1.0, 5.0], 0.5), Some(5.0));
        assert_eq!(quantile(&[1.0, 2.0, 3.0, 10.0], 0.5), Some(2.5));
        let many: Vec<_> = (0..=100).map(f64::from).collect();
        assert_eq!(quantile(&many, 0.99), Some(99.0));
    }
}
