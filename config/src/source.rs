//! Files and places in them; the sink that collects problems.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::problem::{Fault, Problem, Report};
use crate::settings::Later;

/// A text with a name, and where its lines begin.
pub(crate) struct Source {
    name: String,
    text: String,
    lines: Vec<usize>,
    ascii: bool,
}

impl Source {
    pub(crate) fn new(name: &str, text: &str) -> Arc<Self> {
        let mut lines = vec![0];
        lines.extend(text.match_indices('\n').map(|(at, _)| at + 1));
        let ascii = text.is_ascii();
        Arc::new(Self { name: name.to_owned(), text: text.to_owned(), lines, ascii })
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The byte offset of a line and column, both counted from 1.
    pub(crate) fn offset(&self, line: usize, column: usize) -> usize {
        let start = line.checked_sub(1).and_then(|line| self.lines.get(line)).copied().unwrap_or(0);
        start + column.saturating_sub(1)
    }

    /// Line and column of a byte offset, both counted from 1, columns in characters.
    fn line_column(&self, offset: usize) -> (u32, u32) {
        let offset = offset.min(self.text.len());
        let line = self.lines.partition_point(|start| *start <= offset).max(1);
        let start = self.lines.get(line - 1).copied().unwrap_or(0);
        let column = if self.ascii {
            offset - start
        } else {
            let bytes = self.text.as_bytes().get(start..offset).unwrap_or_default();
            bytes.iter().filter(|byte| (**byte & 0xC0) != 0x80).count()
        };
        let narrow = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        (narrow(line), narrow(column + 1))
    }
}

/// The text may hold tokens, so it is not shown.
impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Source").field(&self.name).finish()
    }
}

/// A place: a file by its number in the findings, and a byte offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct At {
    pub(crate) file: usize,
    pub(crate) offset: usize,
}

/// Collects problems over all files of one reading.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    sources: Vec<Arc<Source>>,
    errors: Vec<Problem>,
    warnings: Vec<Problem>,
    later: BTreeMap<(&'static str, &'static str), Later>,
}

impl Findings {
    /// Adds a file and gives its number.
    pub(crate) fn add(&mut self, source: Arc<Source>) -> usize {
        self.sources.push(source);
        self.sources.len() - 1
    }

    pub(crate) fn error(&mut self, at: At, key: &str, fault: Fault) {
        let problem = self.problem(at, key, fault);
        self.errors.push(problem);
    }

    pub(crate) fn warn(&mut self, at: At, key: &str, fault: Fault) {
        let problem = self.problem(at, key, fault);
        if self.warnings.last() != Some(&problem) {
            self.warnings.push(problem);
        }
    }

    /// Takes the value, or notes the fault as an error and gives nothing.
    pub(crate) fn take<T>(&mut self, result: Result<T, Fault>, at: At, key: &str) -> Option<T> {
        result.map_err(|fault| self.error(at, key, fault)).ok()
    }

    /// Notes a key that has no effect yet, once for each section.
    pub(crate) fn note_later(
        &mut self,
        section: &'static str,
        name: &'static str,
        at: At,
        path: &str,
        now: &str,
    ) {
        if !self.later.contains_key(&(section, name)) {
            let (file, line, _) = self.place(at);
            let later = Later { file, line, key: path.to_owned(), now: now.to_owned() };
            self.later.insert((section, name), later);
        }
    }

    /// Removes and gives the keys that have no effect yet, in the order of the files.
    pub(crate) fn take_later(&mut self) -> Vec<Later> {
        let mut later: Vec<_> = std::mem::take(&mut self.later).into_values().collect();
        later.sort();
        later
    }

    pub(crate) fn error_count(&self) -> usize {
        self.errors.len()
    }

    /// File name and line of a place.
    pub(crate) fn place(&self, at: At) -> (String, u32, u32) {
        match self.sources.get(at.file) {
            Some(source) => {
                let (line, column) = source.line_column(at.offset);
                (source.name.clone(), line, column)
            }
            None => (String::new(), 0, 0),
        }
    }

    /// Everything found, each problem once, in the order of the files.
    pub(crate) fn into_report(self) -> Report {
        Report { errors: in_order(self.errors), warnings: in_order(self.warnings) }
    }

    fn problem(&self, at: At, key: &str, fault: Fault) -> Problem {
        let (file, line, column) = self.place(at);
        Problem { file, line, column, key: key.to_owned(), reason: fault.reason, hint: fault.hint }
    }
}

fn in_order(mut problems: Vec<Problem>) -> Vec<Problem> {
    problems.sort();
    problems.dedup();
    problems
}

/// The candidate most like `word`, if one is near enough to be what was meant.
pub(crate) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let word = word.to_lowercase().replace('-', "_");
    let allowed = (word.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| (distance(&word, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, candidate)| candidate)
}

/// How many letters must be added, dropped, changed or swapped with a neighbour (optimal string
/// alignment). Words longer than 64 letters are far from everything, which bounds the work.
fn distance(from: &str, to: &str) -> usize {
    let from: Vec<char> = from.chars().take(65).collect();
    let to: Vec<char> = to.chars().take(65).collect();
    if from.len() > 64 || to.len() > 64 {
        return usize::MAX;
    }
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.iter().enumerate() {
        let mut next = vec![i + 1];
        for (j, b) in to.iter().enumerate() {
            let mut best = (row[j] + usize::from(a != b)).min(row[j + 1] + 1).min(next[j] + 1);
            if i > 0 && j > 0 && *a == to[j - 1] && from[i - 1] == *b {
                best = best.min(before[j - 1] + 1);
            }
            next.push(best);
        }
        before = std::mem::replace(&mut row, next);
    }
    row.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_count_characters() {
        let source = Source::new("a", "x = 1\nß = 2\n");
        assert_eq!(source.line_column(0), (1, 1));
        assert_eq!(source.line_column(6), (2, 1));
        assert_eq!(source.line_column(9), (2, 3));
        assert_eq!(source.line_column(99), (3, 1));
    }

    #[test]
    fn nearest_forgives_typing_mistakes_only() {
        let keys = ["port", "host", "echo_interval", "syn_interval"];
        assert_eq!(nearest("prot", keys), Some("port"));
        assert_eq!(nearest("echo-intervall", keys), Some("echo_interval"));
        assert_eq!(nearest("hosts", keys), Some("host"));
        assert_eq!(nearest("colour", keys), None);
        assert_eq!(nearest(&"a".repeat(10_000), keys), None);
    }
}
