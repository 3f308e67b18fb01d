//! How metrics are written.

use std::fmt;

use calls::outcome::Histogram;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet};
use prometheus_client::metrics::MetricType;

/// Metrics, one name after another.
pub(super) struct Page<'a>(DescriptorEncoder<'a>);

/// The labels of a value: names and what they are.
type Labels<const N: usize> = [(&'static str, String); N];

impl<'a> Page<'a> {
    pub(super) const fn new(encoder: DescriptorEncoder<'a>) -> Self {
        Self(encoder)
    }

    /// What only grows. The name has no `_total`: that is written.
    pub(super) fn counter(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        metric.encode_counter::<NoLabelSet, f64, f64>(&value, None)
    }

    /// The same for several.
    pub(super) fn counters<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Labels<N>, f64)>,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, value) in values {
            metric.encode_family(&labels)?.encode_counter::<NoLabelSet, f64, f64>(&value, None)?;
        }
        Ok(())
    }

    /// What rises and falls.
    pub(super) fn gauge(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        self.0.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
    }

    /// The same for several.
    pub(super) fn gauges<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Labels<N>, f64)>,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in values {
            metric.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    /// Values by size.
    pub(super) fn histogram(&mut self, name: &str, help: &str, values: &Histogram) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Histogram)?;
        metric.encode_histogram::<NoLabelSet>(values.sum(), values.count(), &buckets(values), None)
    }

    /// The same for several.
    pub(super) fn histograms<const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        values: impl IntoIterator<Item = (Labels<N>, Histogram)>,
    ) -> fmt::Result
    where
        Labels<N>: EncodeLabelSet,
    {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for (labels, values) in values {
            let mut one = metric.encode_family(&labels)?;
            one.encode_histogram::<NoLabelSet>(values.sum(), values.count(), &buckets(&values), None)?;
        }
        Ok(())
    }
}

fn buckets(values: &Histogram) -> Vec<(f64, u64)> {
    values.buckets().collect()
}

/// The older form of what is written: a counter's name has its `_total` in its type and its help, too, and nothing says where the end is.
pub(super) fn plain(told: &str) -> String {
    let mut plain = String::with_capacity(told.len());
    let mut lines = told.lines().filter(|line| *line != "# EOF").peekable();
    while let Some(line) = lines.next() {
        // Its help comes before its type.
        let is_counter = |line: &str| line.starts_with("# TYPE ") && line.ends_with(" counter");
        let is_of_counter =
            is_counter(line) || line.starts_with("# HELP ") && lines.peek().is_some_and(|next| is_counter(next));
        let words = if is_of_counter { line.splitn(4, ' ').collect() } else { Vec::new() };
        match words[..] {
            [mark, what, name, rest] => plain.extend([mark, " ", what, " ", name, "_total ", rest]),
            _ => plain.push_str(line),
        }
        plain.push('\n');
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_have_one_name_in_the_older_form() {
        // One that rises and falls has the same name, but for that.
        let told = "# HELP a Help.\n# TYPE a gauge\na 7\n# HELP a Help.\n# TYPE a counter\na_total 1\n# HELP b Help.\n# TYPE b gauge\nb 2\n# EOF\n";
        let expected = "# HELP a Help.\n# TYPE a gauge\na 7\n# HELP a_total Help.\n# TYPE a_total counter\na_total 1\n# HELP b Help.\n# TYPE b gauge\nb 2\n";
        assert_eq!(plain(told), expected);
    }
}
