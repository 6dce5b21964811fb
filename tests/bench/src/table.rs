//! The result: rows with a budget and a verdict, for people and for machines.

use std::fmt::Write as _;
use std::fs;

use serde_json::{Value, json};

use crate::Options;
use crate::bench::Run;
use crate::sandbox::Privilege;
use crate::stats::{self, Estimate};

/// What a row promises.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Budget {
    /// The lower bound must reach this.
    AtLeast(f64),
    /// The upper bound may reach this.
    AtMost(f64),
    /// Nothing: for information.
    Open,
}

/// What was measured.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Figure {
    /// Several runs, of which a median and its bounds are taken.
    Sample(Estimate),
    /// One figure that is judged as it is: a count, or a percentile of very many probes.
    Fact(f64),
    /// Nothing, for this reason.
    Missing(String),
}

/// Whether the promise is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is, with 95 % confidence.
    Pass,
    /// It cannot be said that it is.
    Fail,
    /// There are too few runs to say.
    Unproven,
    /// Nothing was promised.
    Information,
    /// Nothing was measured.
    Missing,
}

impl Verdict {
    /// Gives the word for tables and JSON.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "PASS",
            Self::Fail => "FAIL",
            Self::Unproven => "unproven",
            Self::Information => "info",
            Self::Missing => "missing",
        }
    }
}

/// One row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Row {
    /// What is measured.
    pub(crate) name: String,
    /// In what.
    pub(crate) unit: &'static str,
    /// What was measured.
    pub(crate) figure: Figure,
    /// What is promised.
    pub(crate) budget: Budget,
    /// What else a reader wants to know.
    pub(crate) detail: String,
}

impl Row {
    /// Makes a row of several runs; without any, the reason says why.
    pub(crate) fn sample(
        name: impl Into<String>,
        unit: &'static str,
        values: &[f64],
        budget: Budget,
        reason: Option<&str>,
    ) -> Self {
        let figure = match stats::estimate(values) {
            Some(estimate) => Figure::Sample(estimate),
            None => Figure::Missing(reason.unwrap_or("no run came to its end").to_owned()),
        };
        Self { name: name.into(), unit, figure, budget, detail: String::new() }
    }

    /// Makes a row of one figure, or of the reason why there is none.
    pub(crate) fn fact(
        name: impl Into<String>,
        unit: &'static str,
        value: Result<f64, String>,
        budget: Budget,
    ) -> Self {
        let figure = value.map_or_else(Figure::Missing, Figure::Fact);
        Self { name: name.into(), unit, figure, budget, detail: String::new() }
    }

    /// Adds what else a reader wants to know.
    pub(crate) fn with(mut self, detail: impl Into<String>) -> Self {
        self.detail = detail.into();
        self
    }

    /// Says whether the promise is kept.
    pub(crate) fn verdict(&self) -> Verdict {
        let (lower, upper) = match &self.figure {
            Figure::Missing(_) => return Verdict::Missing,
            Figure::Fact(value) => (Some(*value), Some(*value)),
            Figure::Sample(estimate) => (estimate.lower, estimate.upper),
        };
        let kept = match self.budget {
            Budget::Open => return Verdict::Information,
            Budget::AtLeast(least) => lower.map(|lower| lower >= least),
            Budget::AtMost(most) => upper.map(|upper| upper <= most),
        };
        match kept {
            Some(true) => Verdict::Pass,
            Some(false) => Verdict::Fail,
            None => Verdict::Unproven,
        }
    }

    fn cells(&self) -> [String; 5] {
        let (median, bound) = match &self.figure {
            Figure::Missing(_) => ("-".to_owned(), "-".to_owned()),
            Figure::Fact(value) => (short(*value), "-".to_owned()),
            Figure::Sample(estimate) => {
                let bound = match self.budget {
                    Budget::AtMost(_) => estimate.upper.map(|upper| format!("<= {}", short(upper))),
                    Budget::AtLeast(_) | Budget::Open => {
                        estimate.lower.map(|lower| format!(">= {}", short(lower)))
                    }
                };
                (short(estimate.median), bound.unwrap_or_else(|| "-".to_owned()))
            }
        };
        let budget = match self.budget {
            Budget::AtLeast(least) => format!(">= {}", short(least)),
            Budget::AtMost(most) => format!("<= {}", short(most)),
            Budget::Open => "-".to_owned(),
        };
        let verdict = self.verdict().as_str().to_owned();
        [format!("{} [{}]", self.name, self.unit), median, bound, budget, verdict]
    }

    fn remark(&self) -> &str {
        match &self.figure {
            Figure::Missing(reason) => reason,
            Figure::Sample(_) | Figure::Fact(_) => &self.detail,
        }
    }

    fn to_json(&self) -> Value {
        let (value, estimate, reason) = match &self.figure {
            Figure::Missing(reason) => (None, None, Some(reason)),
            Figure::Fact(value) => (Some(*value), None, None),
            Figure::Sample(estimate) => (Some(estimate.median), Some(estimate), None),
        };
        let (least, most) = match self.budget {
            Budget::AtLeast(least) => (Some(least), None),
            Budget::AtMost(most) => (None, Some(most)),
            Budget::Open => (None, None),
        };
        json!({
            "name": self.name, "unit": self.unit, "value": value,
            "lower_95": estimate.and_then(|estimate| estimate.lower),
            "upper_95": estimate.and_then(|estimate| estimate.upper),
            "runs": estimate.map(|estimate| estimate.count),
            "at_least": least, "at_most": most,
            "verdict": self.verdict().as_str(), "reason": reason, "detail": self.detail,
        })
    }
}

/// Everything a bench gave.
pub(crate) struct Report<'a> {
    /// What the command line said.
    pub(crate) options: &'a Options,
    /// What the box allowed.
    pub(crate) privilege: Privilege,
    /// What a reader of the figures should know.
    pub(crate) notes: &'a [String],
    /// The rows.
    pub(crate) rows: &'a [Row],
    /// The runs behind them.
    pub(crate) runs: &'a [Run],
}

impl Report<'_> {
    /// Gives the report as one JSON document.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "schema": 1,
            "machine": machine(),
            "root": self.privilege == Privilege::Machine,
            "repetitions": self.options.repetitions,
            "seconds": self.options.seconds,
            "targets": self.options.targets,
            "notes": self.notes,
            "rows": self.rows.iter().map(Row::to_json).collect::<Vec<_>>(),
            "runs": self.runs,
        })
    }

    /// Gives the report as text.
    pub(crate) fn to_text(&self) -> String {
        let mut text = format!(
            "{}\n{} x {} s, {} targets\n\n",
            machine(),
            self.options.repetitions,
            self.options.seconds,
            self.options.targets
        );
        let heads = ["row", "median", "95 % bound", "budget", "verdict"].map(str::to_owned);
        let remarks = self.rows.iter().map(Row::remark);
        let cells: Vec<_> = self.rows.iter().map(Row::cells).collect();
        columns(&mut text, &heads, &cells, remarks);
        text.push('\n');
        let heads = [
            "contender",
            "runs",
            "rate/s",
            "us/probe",
            "user us",
            "RSS MB",
            "lost",
            "false",
            "disturbed",
        ]
        .map(str::to_owned);
        let summaries: Vec<_> = by_contender(self.runs).iter().map(|runs| summary(runs)).collect();
        columns(&mut text, &heads, &summaries, std::iter::repeat(""));
        for note in self.notes {
            let _ = writeln!(text, "\nnote: {note}");
        }
        text
    }
}

fn by_contender(runs: &[Run]) -> Vec<Vec<&Run>> {
    let mut groups: Vec<Vec<&Run>> = Vec::new();
    for run in runs {
        match groups.iter_mut().find(|group| group[0].contender == run.contender) {
            Some(group) => group.push(run),
            None => groups.push(vec![run]),
        }
    }
    groups
}

fn summary(runs: &[&Run]) -> [String; 9] {
    let median = |of: fn(&Run) -> f64| {
        let values: Vec<f64> = runs.iter().map(|run| of(run)).collect();
        stats::estimate(&values).map_or_else(|| "-".to_owned(), |estimate| short(estimate.median))
    };
    let total = |of: fn(&Run) -> Option<u64>| {
        let values: Option<Vec<u64>> = runs.iter().map(|run| of(run)).collect();
        values.map_or_else(|| "-".to_owned(), |values| values.iter().sum::<u64>().to_string())
    };
    [
        runs[0].contender.to_owned(),
        runs.len().to_string(),
        median(|run| run.rate),
        median(|run| run.measured.micros_per_probe()),
        median(|run| run.measured.user_micros_per_probe()),
        median(|run| run.measured.rss_bytes as f64 / 1e6),
        total(|run| Some(run.measured.lost)),
        total(|run| run.false_losses),
        runs.iter().filter(|run| run.is_disturbed).count().to_string(),
    ]
}

/// Writes lines of cells as wide as their widest, the first to the left, the others to the right.
fn columns<'a, const N: usize>(
    text: &mut String,
    heads: &[String; N],
    lines: &[[String; N]],
    remarks: impl Iterator<Item = &'a str>,
) {
    let width = |column: usize| {
        let cells = lines.iter().chain([heads]).map(|cells| cells[column].chars().count());
        cells.max().unwrap_or_default()
    };
    let widths: [usize; N] = std::array::from_fn(width);
    for (cells, remark) in [heads].into_iter().chain(lines).zip([""].into_iter().chain(remarks)) {
        let mut line = format!("{:<1$}", cells[0], widths[0]);
        for (cell, width) in cells.iter().zip(widths).skip(1) {
            let _ = write!(line, "  {cell:>width$}");
        }
        let _ = writeln!(text, "{}", format!("{line}  {remark}").trim_end());
    }
}

/// Three or four digits that matter.
fn short(value: f64) -> String {
    match value.abs() {
        0.0 => "0".to_owned(),
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        0.01.. => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

fn machine() -> String {
    let read = |path| fs::read_to_string(path).unwrap_or_default();
    let processors = read("/proc/cpuinfo");
    let model = processors.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.and_then(|rest| rest.split_once(": ")).map_or("unknown", |(_, name)| name);
    let count = processors.lines().filter(|line| line.starts_with("processor")).count();
    format!("Linux {}, {count} x {model}", read("/proc/sys/kernel/osrelease").trim())
}

#[cfg(test)]
mod tests {
    use super::{Budget, Row, Verdict};

    fn verdict(values: &[f64], budget: Budget) -> Verdict {
        Row::sample("x", "ratio", values, budget, Some("no")).verdict()
    }

    #[test]
    fn bound_decides_not_median() {
        let values = [0.9, 1.0, 1.0, 1.0, 1.0];
        assert_eq!(verdict(&values, Budget::AtLeast(0.95)), Verdict::Fail);
        assert_eq!(verdict(&values, Budget::AtLeast(0.9)), Verdict::Pass);
        assert_eq!(verdict(&values, Budget::AtMost(1.0)), Verdict::Pass);
        assert_eq!(verdict(&values, Budget::AtMost(0.99)), Verdict::Fail);
    }

    #[test]
    fn too_few_runs_prove_nothing_and_none_are_missing() {
        assert_eq!(verdict(&[9.0; 4], Budget::AtLeast(1.0)), Verdict::Unproven);
        assert_eq!(verdict(&[], Budget::AtLeast(1.0)), Verdict::Missing);
        assert_eq!(verdict(&[1.0], Budget::Open), Verdict::Information);
        let row = Row::fact("x", "probes", Ok(0.0), Budget::AtMost(0.0));
        assert_eq!(row.verdict(), Verdict::Pass);
    }
}
