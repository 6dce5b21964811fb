//! A page of metrics, as text says it.

use anyhow::{Context, Result};

/// One sample.
#[derive(Clone, Debug)]
struct Sample {
    name: String,
    labels: Vec<(String, String)>,
    value: f64,
}

/// All samples of one scrape.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    samples: Vec<Sample>,
    /// The page itself.
    pub(crate) text: String,
}

impl Page {
    /// Reads the text format.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        let samples = lines.map(|line| sample(line).with_context(|| format!("read {line}")));
        Ok(Self { samples: samples.collect::<Result<_>>()?, text: text.to_owned() })
    }

    /// The value of the one series with this name and these labels, if it is there.
    pub(crate) fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        self.find(name, labels).next().map(|sample| sample.value)
    }

    /// The sum over all series with this name and these labels.
    pub(crate) fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.find(name, labels).map(|sample| sample.value).sum()
    }

    /// How many series have this name and these labels.
    pub(crate) fn count(&self, name: &str, labels: &[(&str, &str)]) -> usize {
        self.find(name, labels).count()
    }

    /// The class a target is in.
    pub(crate) fn class(&self, target: &str) -> Option<String> {
        let labels = [("target", target)];
        let mut rows = self.find("reachd_target_class", &labels);
        let now = rows.find(|sample| sample.value > 0.5)?;
        now.labels.iter().find(|(name, _)| name == "class").map(|(_, class)| class.clone())
    }

    /// How many targets are in a class.
    pub(crate) fn in_class(&self, class: &str) -> usize {
        let labels = [("class", class)];
        let rows = self.find("reachd_target_class", &labels);
        rows.filter(|sample| sample.value > 0.5).count()
    }

    /// What a person wants to know when something is not as expected.
    pub(crate) fn story(&self) -> Vec<String> {
        let told = ["_class{", "_vantage_", "_incidents{", "_config_", "_notifications", "unwatch"];
        let is_told = |line: &&str| told.iter().any(|word| line.contains(word));
        let lines =
            self.text.lines().filter(|line| !line.starts_with('#') && !line.ends_with(" 0"));
        lines.filter(is_told).map(str::to_owned).collect()
    }

    fn find<'a>(
        &'a self,
        name: &'a str,
        labels: &'a [(&'a str, &'a str)],
    ) -> impl Iterator<Item = &'a Sample> {
        self.samples.iter().filter(move |sample| {
            let has = |(name, value): &(&str, &str)| {
                sample.labels.iter().any(|(n, v)| n == name && v == value)
            };
            sample.name == name && labels.iter().all(has)
        })
    }
}

fn sample(line: &str) -> Option<Sample> {
    let (series, value) = line.rsplit_once(' ')?;
    let value = match value {
        "+Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        "NaN" => f64::NAN,
        number => number.parse().ok()?,
    };
    let Some((name, labels)) = series.split_once('{') else {
        return Some(Sample { name: series.to_owned(), labels: Vec::new(), value });
    };
    let mut rest = labels.strip_suffix('}')?;
    let mut labels = Vec::new();
    while let Some((label, after)) = rest.split_once("=\"") {
        let mut text = String::new();
        let mut letters = after.char_indices();
        let end = loop {
            match letters.next()? {
                (_, '\\') => match letters.next()?.1 {
                    'n' => text.push('\n'),
                    other => text.push(other),
                },
                (at, '"') => break at,
                (_, letter) => text.push(letter),
            }
        };
        labels.push((label.to_owned(), text));
        rest = after.get(end + 1..)?.trim_start_matches(',');
    }
    Some(Sample { name: name.to_owned(), labels, value })
}
