//! Outcomes as a table for people.

use std::fmt::Write as _;

use super::{Mode, Outcome};

/// Writes one mode's outcomes as a Markdown table.
pub fn table(outcomes: &[Outcome], mode: Mode) -> String {
    let mut text = format!(
        "| id | {mode}: what happens | expected | said | verdict | set | honest | trap | s | \
         packets |\n|---|---|---|---|---|---|---|---|---|---|\n"
    );
    for outcome in outcomes.iter().filter(|outcome| outcome.mode == mode) {
        row(&mut text, outcome);
    }
    text
}

fn row(text: &mut String, outcome: &Outcome) {
    let Outcome { id, title, expected, seen, score, error, .. } = outcome;
    let expected = expected.join(" or ");
    if let Some(error) = error {
        let error = error.lines().next().unwrap_or_default();
        let _ = writeln!(text, "| {id} | {title} | {expected} | not run: {error} | | | | | | |");
        return;
    }
    let said = seen.said.as_ref();
    let words = said.map_or_else(
        || "nothing".to_owned(),
        |said| {
            let causes: Vec<_> =
                said.causes.iter().take(2).map(|(c, p)| format!("{c} {p:.2}")).collect();
            format!("{} {:.2}; {}", said.class, said.confidence, causes.join(", "))
        },
    );
    let verdict = match (score.right, score.class_right) {
        (true, _) => "right".to_owned(),
        (false, true) => format!("class only: {}", score.wrong.join(", ")),
        (false, false) => format!("**wrong**: {}", score.wrong.join(", ")),
    };
    let set = score.set_mass.map_or_else(|| "-".to_owned(), |mass| format!("{mass:.2}"));
    let honest = if score.honest { "yes" } else { "**no**" };
    let mut trap = if score.broken.is_empty() {
        "survived".to_owned()
    } else {
        format!("**{}**", score.broken.join(", "))
    };
    if seen.healthy_before == Some(false) {
        trap += "; never well before";
    }
    if outcome.mode == Mode::Daemon && seen.healed.is_none() {
        trap += "; not seen to heal";
    }
    let seconds = seen.history.last().map_or(0.0, |(at, _)| *at);
    let packets = said.map_or(0, |said| said.packets);
    let _ = writeln!(
        text,
        "| {id} | {title} | {expected} | {words} | {verdict} | {set} | {honest} | {trap} | \
         {seconds:.1} | {packets} |"
    );
}

/// Sums one mode up in a line.
pub fn summary(outcomes: &[Outcome], mode: Mode) -> String {
    let of_mode = || outcomes.iter().filter(|outcome| outcome.mode == mode);
    let count = |wanted: &dyn Fn(&Outcome) -> bool| of_mode().filter(|o| wanted(o)).count();
    let all = of_mode().count();
    let masses: Vec<f64> = of_mode().filter_map(|outcome| outcome.score.set_mass).collect();
    let mean = masses.iter().sum::<f64>() / masses.len().max(1) as f64;
    format!(
        "{mode}: right {} of {all}, class right {}, honest {}, traps survived {}, mean \
         probability of the true set {mean:.2}, not run {}",
        count(&|outcome| outcome.score.right),
        count(&|outcome| outcome.score.class_right),
        count(&|outcome| outcome.error.is_none() && outcome.score.honest),
        count(&|outcome| outcome.error.is_none() && outcome.score.broken.is_empty()),
        count(&|outcome| outcome.error.is_some()),
    )
}
