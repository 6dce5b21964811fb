//! Broken files never crash the reading: seeded mutations of the full example and of target files.

use std::path::PathBuf;
use std::sync::Arc;

use super::{folder, read};
use crate::context::Context;
use crate::settings::TargetFile;
use crate::source::Findings;
use crate::{file_sd, full_example};

/// Knuth's MMIX generator; its upper bits are good enough here.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % u64::try_from(limit.max(1)).unwrap()).unwrap()
    }
}

const PIECES: [&str; 24] = [
    "\"",
    "'",
    "[",
    "]",
    "[[",
    "]]",
    "{",
    "}",
    "=",
    ".",
    ",",
    "\n",
    "#",
    "-",
    "9223372036854775808",
    "\u{0}",
    "ß",
    "🦀",
    "nan",
    "1e999",
    "0",
    "\\",
    "\"\"\"",
    "2026-01-01",
];

fn mutate(text: &str, dice: &mut Dice) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    for _ in 0..=dice.below(4) {
        let at = dice.below(chars.len());
        match dice.below(4) {
            0 => drop(chars.drain(at..(at + 1 + dice.below(20)).min(chars.len()))),
            1 => drop(chars.splice(at..at, PIECES[dice.below(PIECES.len())].chars())),
            2 => chars[at] = char::from_u32(u32::try_from(dice.below(300)).unwrap()).unwrap_or('x'),
            _ => {
                let part = chars[at..(at + dice.below(60)).min(chars.len())].to_vec();
                let to = dice.below(chars.len());
                drop(chars.splice(to..to, part));
            }
        }
        if chars.is_empty() {
            chars.push('x');
        }
    }
    chars.into_iter().collect()
}

#[test]
fn mutated_files_are_read_or_refused() {
    let text = full_example();
    let mut dice = Dice(1);
    let mut refused = 0;
    for _ in 0..1_500 {
        let mutant = mutate(&text, &mut dice);
        if let Err(report) = read(&mutant) {
            refused += 1;
            assert!(!report.errors.is_empty(), "{mutant}");
            for error in &report.errors {
                assert!(!error.to_string().contains('\n'), "{error:?}");
                assert!(error.line > 0 && error.column > 0, "{error:?}");
            }
        }
    }
    assert!(refused > 300, "only {refused} mutants were refused");
}

#[test]
fn mutated_target_files_are_read_or_refused() {
    let context = Context::default();
    for name in ["targets.json", "targets.yml"] {
        let text = std::fs::read_to_string(folder().join("examples/file-sd").join(name)).unwrap();
        let file = TargetFile { path: PathBuf::from(name), group: None, targets: Vec::new() };
        let mut dice = Dice(2);
        for _ in 0..1_500 {
            let mutant = mutate(&text, &mut dice);
            let mut findings = Findings::default();
            findings.add(Arc::clone(&context.main));
            file_sd::read(name, &mutant, &file, &context, &mut findings);
        }
    }
}

#[test]
fn deep_and_long_files_are_refused_not_fatal() {
    for text in [
        format!("x = {}", "[".repeat(200_000)),
        format!("{}x = 1", "a.".repeat(100_000)),
        format!("x = {}", "{a=".repeat(100_000)),
        "[[target]]\n".repeat(20_000),
    ] {
        assert!(read(&text).is_err());
    }
}
