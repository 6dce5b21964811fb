//! The report: scores as text, tables and a picture.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use reachd_core::judge::Class;
use reachd_core::judge::cause::CAUSES;

use super::case::Corpus;
use super::examine::Examined;
use super::incidents::Course;
use super::plot;
use super::score::{Calibration, REPORTED, Row, SURE, Scores, claim, ratio, real, seconds};
use crate::healthy::Watched;

/// Kinds of sure mistakes shown; the file of mistakes has all of them.
const SHOWN: usize = 25;

/// What a report is made of.
#[derive(Debug)]
pub struct Report {
    /// For the screen.
    pub text: String,
    /// The reliability plot, SVG.
    pub reliability: String,
    /// Every wrong class said with more than [`SURE`] confidence, one a line.
    pub mistakes: String,
}

/// Writes a report over examined cases.
pub fn write(corpus: &Corpus, all: &[Examined<'_>]) -> Report {
    let awaits = |examined: &&Examined<'_>| {
        corpus.manifest.awaiting.families.contains(&examined.case.family.name)
    };
    let (waiting, judged): (Vec<_>, Vec<_>) = all.iter().partition(awaits);
    let scores = Scores::of(corpus, &judged);
    let sick: Vec<_> = judged
        .iter()
        .copied()
        .filter(|examined| examined.case.family.truth.class != Class::Reachable)
        .collect();
    let sick = Scores::of(corpus, &sick);
    let mut text = String::new();
    headline(&mut text, &scores, &sick);
    held_out(&mut text, corpus, &judged);
    reliabilities(&mut text, [("as counted", &scores), ("failures only", &sick)]);
    class_table(&mut text, &scores);
    confusion(&mut text, &scores);
    cause_table(&mut text, &scores);
    rows(&mut text, "confounder", scores.by_confounder.iter().map(|(name, row)| (*name, *row)));
    rows(&mut text, "family", scores.by_family.iter().map(|(name, row)| (*name, *row)));
    honesty(&mut text, &scores);
    sure_mistakes(&mut text, &scores);
    if !waiting.is_empty() {
        let waiting = Scores::of(corpus, &waiting);
        put(&mut text, "\nWaiting for a signal; not counted above");
        rows(&mut text, "family", waiting.by_family.iter().map(|(name, row)| (*name, *row)));
    }
    let reliability = plot::draw(
        "Reliability of the class said (15 bins of equal mass)",
        &[
            ("as counted", "#1f6fb4", &scores.as_counted.reliability),
            ("failures only", "#c2452d", &sick.as_counted.reliability),
            ("mix of the priors", "#2d8a4a", &scores.by_prior.reliability),
        ],
    );
    Report { text, reliability, mistakes: mistakes(&scores) }
}

/// What became of whole incidents.
pub fn incidents(text: &mut String, corpus: &Corpus, courses: &[Course]) {
    let count = |wanted: &dyn Fn(&Course) -> bool| {
        let found = courses.iter().filter(|course| wanted(course)).count();
        u64::try_from(found).unwrap_or_default()
    };
    let all = count(&|_| true);
    let mut line = |name: &str, value: String| put(text, &format!("{name:<44} {value}"));
    line("\nincidents of a watched target", all.to_string());
    let seen = count(&|course| !course.labels.is_empty());
    let changes: usize = courses.iter().map(|course| course.labels.len().saturating_sub(1)).sum();
    let most = courses.iter().map(|course| course.labels.len().saturating_sub(1)).max();
    let changes = u64::try_from(changes).unwrap_or_default();
    line("noticed", format!("{seen} ({:.4})", ratio(seen, all)));
    let times = courses.iter().filter_map(|course| course.noticed.map(seconds));
    let super::score::Spread { mean, median, p95 } = super::score::Spread::of(times);
    let took = format!("mean {mean:.2}  median {median:.2}  p95 {p95:.2}");
    line("seconds to the first class of a failure", took);
    let right = count(&|course| course.right);
    line("class right at the end", format!("{:.4}", ratio(right, all)));
    line(
        "label changes per incident after the first",
        format!("mean {:.3}  most {}", ratio(changes, seen), most.unwrap_or_default()),
    );
    let steady = count(&|course| course.labels.len() == 1);
    line("one label from first to last", format!("{:.4}", ratio(steady, seen)));
    let one = count(&|course| course.firing == 1);
    let more = count(&|course| course.firing > 1);
    line("alerts: one, more than one", format!("{one}, {more}"));
    let back = count(&|course| course.firing > 0 && course.resolved == course.firing);
    line("of these taken back after the heal", back.to_string());
    let mut restless: Vec<_> = courses.iter().filter(|course| course.labels.len() > 2).collect();
    restless.sort_by_key(|course| std::cmp::Reverse(course.labels.len()));
    for course in restless.into_iter().take(5) {
        let family = corpus.case(course.case).map_or("", |case| case.family.name.as_str());
        let labels: Vec<_> = course.labels.iter().map(|class| class.as_str()).collect();
        put(text, &format!("  {family}, case {}: {}", course.case, labels.join(", ")));
    }
}

/// False alarms that are shown with their words at most.
const ALARMS_SHOWN: usize = 40;

/// What was said of targets that were well all the time.
pub fn false_alarms(text: &mut String, (targets, days): (u32, u32), watched: &Watched) {
    let (count, bound) = (watched.alarms.len(), watched.bound());
    let line = format!(
        "{count} in {targets} targets and {days} days, at most {bound:.4} per target-month (95 %)"
    );
    put(text, &format!("{:<44} {line}", "false alarms"));
    for (at, summary) in watched.alarms.iter().take(ALARMS_SHOWN) {
        let hours = at.since_start().as_secs_f64() / 3_600.0;
        put(text, &format!("  after {hours:.2} h: {summary}"));
    }
}

fn put(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

fn headline(text: &mut String, scores: &Scores<'_>, sick: &Scores<'_>) {
    let Row { cases, right, abstained, covered, reported, cause_right, cause_in_set, .. } =
        scores.all;
    let mut line = |name: &str, value: String| put(text, &format!("{name:<44} {value}"));
    line("cases (of them failures)", format!("{cases} ({})", sick.all.cases));
    line(
        "class right",
        format!("{:.4} (failures {:.4})", ratio(right, cases), accuracy(&sick.all)),
    );
    let (ours, ideal) = (scores.classes.macro_f1(), scores.ideal.macro_f1());
    line("macro-F1 of classes", format!("{ours:.4}"));
    line("  of the noise-free oracle", format!("{ideal:.4} (ratio {:.4})", ours / ideal));
    let (ours, ideal) = (scores.causes.macro_f1(), scores.ideal_causes.macro_f1());
    line("macro-F1 of causes (oracle)", format!("{ours:.4} ({ideal:.4})"));
    line("likeliest cause right", format!("{:.4}", ratio(cause_right, cases)));
    line("  right, or of the same set", format!("{:.4}", ratio(cause_in_set, cases)));
    line("abstained", format!("{abstained} ({:.4})", ratio(abstained, cases)));
    let title = format!("truth in the reported set (holds {REPORTED})");
    let sick_covered = ratio(sick.all.covered, sick.all.cases);
    line(&title, format!("{:.4} (failures {sick_covered:.4})", ratio(covered, cases)));
    let sick_size = ratio(sick.all.reported, sick.all.cases);
    line("mean size of it", format!("{:.2} (failures {sick_size:.2})", ratio(reported, cases)));
    for (name, calibration) in [
        ("as counted", &scores.as_counted),
        ("failures only", &sick.as_counted),
        ("mix of the priors", &scores.by_prior),
    ] {
        let Calibration { reliability, brier, log_loss } = calibration;
        let error = reliability.error();
        line(
            &format!("calibration, {name}"),
            format!("ECE {error:.4}  Brier {brier:.4}  log loss {log_loss:.4}"),
        );
    }
    let honest = scores.dishonest.len();
    line("honesty violations", format!("{honest}"));
    line("wrong and above 0.9 sure", format!("{}", scores.sure_and_wrong.len()));
    for (name, spread) in [
        ("seconds to the verdict", scores.took),
        ("  of failures", sick.took),
        ("packets spent", scores.packets),
        ("  on failures", sick.packets),
        ("  of a vantage, without its traces", scores.end_to_end),
        ("  the same, on failures", sick.end_to_end),
    ] {
        let super::score::Spread { mean, median, p95 } = spread;
        line(name, format!("mean {mean:.2}  median {median:.2}  p95 {p95:.2}"));
    }
}

/// The families that nothing may be fitted to, together.
fn held_out(text: &mut String, corpus: &Corpus, judged: &[&Examined<'_>]) {
    let held = &corpus.manifest.held.families;
    let kept = judged.iter().copied().filter(|it| held.contains(&it.case.family.name));
    let Row { cases, right, ideal_right, covered, .. } =
        Scores::of(corpus, &kept.collect::<Vec<_>>()).all;
    let shares = [right, ideal_right, covered].map(|part| ratio(part, cases));
    let [right, ideal, covered] = shares.map(|share| format!("{share:.4}"));
    let value = format!("class right {right} (oracle {ideal}), covered {covered}");
    put(text, &format!("{:<44} {value}", format!("held-out families, {cases} cases")));
}

/// What is said against what is true, bin by bin.
fn reliabilities(text: &mut String, all: [(&str, &Scores<'_>); 2]) {
    put(text, "\nconfidence/truth in bins of equal mass");
    let mut line = |name: &str, calibration: &Calibration| {
        let bins = calibration.reliability.bins.iter();
        let bins = bins.map(|bin| format!("{:.2}/{:.2}", bin.confidence, bin.accuracy));
        put(text, &format!("{name:<18} {}", bins.collect::<Vec<_>>().join("  ")));
    };
    for (name, scores) in all {
        line(name, &scores.as_counted);
    }
    if let Some((_, scores)) = all.first() {
        line("mix of the priors", &scores.by_prior);
    }
}

fn accuracy(row: &Row) -> f64 {
    ratio(row.right, row.cases)
}

fn class_table(text: &mut String, scores: &Scores<'_>) {
    put(
        text,
        "\nclass                 cases  precision recall    F1 | oracle: precision recall    F1",
    );
    for (class, counts) in &scores.classes.0 {
        let ideal = scores.ideal.get(*class);
        put(
            text,
            &format!(
                "{:<20} {:>6}     {:.4} {:.4} {:.4} |            {:.4} {:.4} {:.4}",
                class.as_str(),
                counts.truth,
                counts.precision(),
                counts.recall(),
                counts.f1(),
                ideal.precision(),
                ideal.recall(),
                ideal.f1(),
            ),
        );
    }
}

fn confusion(text: &mut String, scores: &Scores<'_>) {
    put(text, "\nconfusion of classes: what was said of each, in percent");
    for truth in Class::ALL {
        let total = scores.classes.get(truth).truth;
        if total == 0 {
            continue;
        }
        let mut said: Vec<_> = Class::ALL
            .into_iter()
            .filter_map(|said| Some((said, *scores.confusion.get(&(truth, said))?)))
            .collect();
        said.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let said = said
            .into_iter()
            .map(|(said, count)| format!("{} {:.2}", said.as_str(), 100.0 * ratio(count, total)));
        let said: Vec<_> = said.collect();
        put(text, &format!("{:<20} {}", truth.as_str(), said.join("  ")));
    }
}

fn cause_table(text: &mut String, scores: &Scores<'_>) {
    put(
        text,
        "\ncause                     cases  precision recall    F1  oracle F1  in set  covered  size",
    );
    for (place, row) in &scores.by_cause {
        let (counts, ideal) = (scores.causes.get(*place), scores.ideal_causes.get(*place));
        let name = CAUSES.get(*place).map_or("", |cause| cause.name);
        put(
            text,
            &format!(
                "{name:<24} {:>6}     {:.4} {:.4} {:.4}     {:.4}  {:.4}   {:.4} {:>5.2}",
                row.cases,
                counts.precision(),
                counts.recall(),
                counts.f1(),
                ideal.f1(),
                ratio(row.cause_in_set, row.cases),
                ratio(row.covered, row.cases),
                ratio(row.reported, row.cases),
            ),
        );
    }
}

fn rows<'a>(text: &mut String, title: &str, all: impl Iterator<Item = (&'a str, Row)>) {
    put(text, &format!("\n{title:<38} cases  class right  oracle  abstained  covered   size"));
    for (name, row) in all {
        put(
            text,
            &format!(
                "{name:<38} {:>5}       {:.4}  {:.4}     {:.4}   {:.4}  {:>5.2}",
                row.cases,
                accuracy(&row),
                ratio(row.ideal_right, row.cases),
                ratio(row.abstained, row.cases),
                ratio(row.covered, row.cases),
                ratio(row.reported, row.cases),
            ),
        );
    }
}

fn honesty(text: &mut String, scores: &Scores<'_>) {
    if scores.dishonest.is_empty() {
        return;
    }
    put(text, "\nhonesty violations, by set, family and cause said");
    let mut kinds: BTreeMap<(&str, &str, &str), u64> = BTreeMap::new();
    for (examined, set) in &scores.dishonest {
        let cause = CAUSES.get(examined.outcome.top().0).map_or("", |cause| cause.name);
        let family = examined.case.family.name.as_str();
        *kinds.entry((set, family, cause)).or_default() += 1;
    }
    for ((set, family, cause), count) in kinds {
        put(text, &format!("{count:>6}  {set:<16} {family:<38} {cause}"));
    }
}

fn sure_mistakes(text: &mut String, scores: &Scores<'_>) {
    put(text, "\nwrong and above 0.9 sure, by family and class said (all in the file of mistakes)");
    let mut kinds: BTreeMap<(&str, &str), (u64, &Examined<'_>)> = BTreeMap::new();
    for examined in &scores.sure_and_wrong {
        let key = (examined.case.family.name.as_str(), examined.outcome.class.as_str());
        kinds.entry(key).or_insert((0, examined)).0 += 1;
    }
    let mut kinds: Vec<_> = kinds.into_iter().collect();
    kinds.sort_by_key(|(_, (count, _))| std::cmp::Reverse(*count));
    for ((family, said), (count, first)) in kinds.into_iter().take(SHOWN) {
        let (index, seed) = (first.case.index, first.case.seed);
        put(text, &format!("{count:>6}  {family:<38} {said:<16} first: {index} (seed {seed})"));
    }
}

fn mistakes(scores: &Scores<'_>) -> String {
    let mut all = String::from("family\tcase\tseed\tconfounders\ttruth\tsaid\tconfidence\n");
    for examined in &scores.sure_and_wrong {
        let (case, (said, confidence)) = (&examined.case, claim(&examined.outcome));
        let confounders: Vec<_> = case.confounders.iter().map(|it| it.as_str()).collect();
        writeln!(
            all,
            "{}\t{}\t{}\t{}\t{}\t{}\t{confidence:.4}",
            case.family.name,
            case.index,
            case.seed,
            confounders.join("+"),
            case.family.truth.class.as_str(),
            said.as_str()
        )
        .expect("a string takes everything");
    }
    all
}

/// One case in full, for whoever wants to know why.
pub fn explain(examined: &Examined<'_>) -> String {
    let (case, outcome) = (&examined.case, &examined.outcome);
    let mut text = String::new();
    let confounders: Vec<_> = case.confounders.iter().map(|it| it.as_str()).collect();
    put(
        &mut text,
        &format!("case {} of {} ({})", case.index, case.family.name, case.split.as_str()),
    );
    put(
        &mut text,
        &format!("topology {}, confounders {}", case.topology.name, confounders.join("+")),
    );
    let truth = case.family.truth;
    put(&mut text, &format!("truth {} / {}", truth.class.as_str(), truth.cause_name()));
    for (name, outcome) in [("said", outcome), ("oracle", &examined.ideal)] {
        let (class, confidence) = claim(outcome);
        let took = seconds(outcome.took);
        put(
            &mut text,
            &format!(
                "{name} {} (stands for {} at {confidence:.3}), {took:.2} s, {} packets",
                outcome.class.as_str(),
                class.as_str(),
                real(outcome.packets)
            ),
        );
        for view in &outcome.views {
            let signs = view.iter().map(|it| format!("{}={}", it.family().as_str(), it.as_str()));
            put(&mut text, &format!("  {}", signs.collect::<Vec<_>>().join(" ")));
        }
        for place in outcome.reported(REPORTED) {
            let name = CAUSES.get(place).map_or("", |cause| cause.name);
            let share = outcome.shares.get(place).copied().unwrap_or_default();
            put(&mut text, &format!("  {share:.3} {name}"));
        }
    }
    text
}

/// The line that says above which confidence mistakes are listed.
pub const fn sure() -> f64 {
    SURE
}
