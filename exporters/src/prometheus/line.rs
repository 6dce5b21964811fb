//! One line of the exposition formats, written without allocating.

use std::io::Write as _;

/// One series being written; [`Series::count`] or [`Series::value`] ends it.
pub(crate) struct Series<'a> {
    out: &'a mut Vec<u8>,
    labelled: bool,
}

impl<'a> Series<'a> {
    /// Begins a series of this name.
    pub(crate) fn new(out: &'a mut Vec<u8>, name: &str) -> Self {
        out.extend_from_slice(name.as_bytes());
        Self { out, labelled: false }
    }

    /// Begins a series with labels that were written before: an opened brace and at least one.
    pub(crate) fn labelled(out: &'a mut Vec<u8>, name: [&str; 2], labels: &[u8]) -> Self {
        let [name, suffix] = name;
        out.reserve(name.len() + suffix.len() + labels.len());
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(suffix.as_bytes());
        out.extend_from_slice(labels);
        Self { out, labelled: true }
    }

    /// Adds a label; the value is escaped, the name must be valid.
    pub(crate) fn label(self, name: &str, value: &str) -> Self {
        let series = self.label_name(&[name]);
        escape(series.out, value);
        series.out.push(b'"');
        series
    }

    /// Adds a label from the plan: its name is made valid and kept apart from our own.
    pub(crate) fn plan_label(self, name: &str, value: &str) -> Self {
        let series = self.label_name(&[]);
        series.out.truncate(series.out.len() - 2);
        plan_label_name(series.out, name);
        series.out.extend_from_slice(b"=\"");
        escape(series.out, value);
        series.out.push(b'"');
        series
    }

    /// Adds a bucket's upper bound.
    pub(crate) fn bound(self, bound: f64) -> Self {
        let series = self.label_name(&["le"]);
        number(series.out, bound);
        series.out.push(b'"');
        series
    }

    /// Ends the series with a whole number.
    pub(crate) fn count(self, value: u64) {
        let out = self.close();
        let mut digits = [0u8; 20];
        let mut rest = value;
        let mut length = 0;
        for slot in digits.iter_mut().rev() {
            *slot = b'0' + u8::try_from(rest % 10).unwrap_or(0);
            rest /= 10;
            length += 1;
            if rest == 0 {
                break;
            }
        }
        out.extend(digits.iter().skip(digits.len() - length));
        out.push(b'\n');
    }

    /// Ends the series with a number.
    pub(crate) fn value(self, value: f64) {
        let out = self.close();
        number(out, value);
        out.push(b'\n');
    }

    fn label_name(mut self, name: &[&str]) -> Self {
        self.out.push(if self.labelled { b',' } else { b'{' });
        self.labelled = true;
        for part in name {
            self.out.extend_from_slice(part.as_bytes());
        }
        self.out.extend_from_slice(b"=\"");
        self
    }

    fn close(self) -> &'a mut Vec<u8> {
        if self.labelled {
            self.out.push(b'}');
        }
        self.out.push(b' ');
        self.out
    }
}

/// Labels of `reachd_target_info` that the plan cannot redefine, and those with a meaning to
/// Prometheus itself.
const TAKEN: [&str; 7] = ["target", "host", "port", "service", "group", "le", "quantile"];

/// Whether two plan labels would get the same name.
pub(crate) fn same_plan_label(one: &str, other: &str) -> bool {
    let (mut left, mut right) = (Vec::new(), Vec::new());
    plan_label_name(&mut left, one);
    plan_label_name(&mut right, other);
    left == right
}

/// Writes a valid label name: letters, digits and underscores, no leading digit, none of ours.
fn plan_label_name(out: &mut Vec<u8>, name: &str) {
    let digit_first = name.bytes().next().is_none_or(|first| first.is_ascii_digit());
    if TAKEN.contains(&name) || name.starts_with("__") || digit_first {
        out.extend_from_slice(b"label_");
    }
    out.extend(name.bytes().map(|byte| if byte.is_ascii_alphanumeric() { byte } else { b'_' }));
}

/// Writes a label value: backslash, quote and line feed are escaped.
fn escape(out: &mut Vec<u8>, value: &str) {
    if !value.bytes().any(|byte| matches!(byte, b'\\' | b'"' | b'\n')) {
        out.extend_from_slice(value.as_bytes());
        return;
    }
    for byte in value.bytes() {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'"' => out.extend_from_slice(b"\\\""),
            b'\n' => out.extend_from_slice(b"\\n"),
            other => out.push(other),
        }
    }
}

/// Writes a number as both formats want it.
fn number(out: &mut Vec<u8>, value: f64) {
    if value.is_nan() {
        out.extend_from_slice(b"NaN");
    } else if value.is_infinite() {
        out.extend_from_slice(if value > 0.0 { b"+Inf" } else { b"-Inf" });
    } else {
        // A Vec takes whatever is written.
        let _ = write!(out, "{value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(write: impl FnOnce(&mut Vec<u8>), expected: &str) {
        let mut out = Vec::new();
        write(&mut out);
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn label_values_are_escaped() {
        check(
            |out| Series::new(out, "a").label("b", "c\\d\"e\nf\tü").count(7),
            "a{b=\"c\\\\d\\\"e\\nf\tü\"} 7\n",
        );
    }

    #[test]
    fn numbers_are_written_as_prometheus_reads_them() {
        check(|out| Series::new(out, "a").count(0), "a 0\n");
        check(|out| Series::new(out, "a").count(u64::MAX), "a 18446744073709551615\n");
        check(|out| Series::new(out, "a").value(0.5), "a 0.5\n");
        check(|out| Series::new(out, "a").value(f64::NAN), "a NaN\n");
        check(|out| Series::new(out, "a").value(f64::NEG_INFINITY), "a -Inf\n");
        check(|out| Series::new(out, "a").bound(f64::INFINITY).count(10), "a{le=\"+Inf\"} 10\n");
    }

    #[test]
    fn plan_labels_never_clash_and_are_always_valid() {
        let cases = [
            ("team", "team"),
            ("port", "label_port"),
            ("le", "label_le"),
            ("__meta", "label___meta"),
            ("a-b.c", "a_b_c"),
            ("1st", "label_1st"),
            ("", "label_"),
            ("zürich", "z__rich"),
        ];
        for (name, expected) in cases {
            check(
                |out| Series::new(out, "i").label("target", "t").plan_label(name, "v").count(1),
                &format!("i{{target=\"t\",{expected}=\"v\"}} 1\n"),
            );
        }
        assert!(same_plan_label("a-b", "a_b"));
        assert!(!same_plan_label("a", "b"));
    }
}
