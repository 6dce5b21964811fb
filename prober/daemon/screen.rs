//! The report for a person: what is wrong with what odds, what was seen, what to do.

mod checklist;
mod words;

use reachd_core::evidence::AnswerKind;
use reachd_core::judge::verdict::NEXT_EVIDENCE;
use reachd_core::judge::{Class, Note, Sign, cause};
use reachd_core::report::{
    EvidencePart, HopPart, SeriesPart, ServicePart, TargetReport, VantagePart,
};
use reachd_core::wording::{Text, Wording};
use unicode_width::UnicodeWidthStr;

use crate::cli::Lang;
use words as w;

/// How to write.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    /// Language.
    pub lang: Lang,
    /// ASCII marks instead of ✓ ✗ ?.
    pub ascii: bool,
    /// Terminal colours.
    pub colour: bool,
}

/// How a line of the checklist stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    Good,
    Bad,
    Hidden,
}

/// One report being written.
pub struct Screen<'a> {
    style: Style,
    report: &'a TargetReport,
    out: String,
}

/// Width of the label column.
const LABEL: usize = 18;

impl<'a> Screen<'a> {
    /// A screen for one report.
    pub fn new(style: Style, report: &'a TargetReport) -> Self {
        Self { style, report, out: String::new() }
    }

    /// The whole report.
    pub fn render(mut self) -> String {
        self.headline();
        self.seen();
        self.causes();
        self.notes();
        self.checklist();
        self.next();
        if self.class() != Class::Reachable {
            self.ticket();
        }
        self.out.push('\n');
        self.out
    }

    fn class(&self) -> Class {
        Class::from_name(&self.report.verdict.class).unwrap_or(Class::Unknown)
    }

    fn say(&self, text: Text) -> &'static str {
        self.style.lang.of(text)
    }

    fn words<'b>(&self, words: &'b Wording) -> &'b str {
        self.style.lang.words(words)
    }

    fn of_both<'b>(&self, en: &'b str, zh: &'b str) -> &'b str {
        match self.style.lang {
            Lang::En => en,
            Lang::Zh => zh,
        }
    }

    /// A machine name as people read it: in English it is that name.
    fn named<'b>(&self, name: &'b str, title: Option<Text>) -> &'b str {
        title.map_or(name, |title| self.say(title))
    }

    fn line(&mut self, text: &str) {
        self.out.push_str(text.trim_end());
        self.out.push('\n');
    }

    fn section(&mut self, title: Text) {
        let title = self.say(title);
        self.line("");
        self.line(title);
    }

    /// A label padded by display width, so that wide characters keep the column.
    fn labelled(&mut self, label: &str, text: &str) {
        let padding = " ".repeat(LABEL.saturating_sub(label.width()).max(1));
        self.line(&format!("  {label}{padding}{text}"));
    }

    fn mark(&self, mark: Mark) -> String {
        let plain = match (mark, self.style.ascii) {
            (Mark::Good, false) => "✓",
            (Mark::Good, true) => "[ok]",
            (Mark::Bad, false) => "✗",
            (Mark::Bad, true) => "[!!]",
            (Mark::Hidden, false) => "?",
            (Mark::Hidden, true) => "[??]",
        };
        let colour = match mark {
            Mark::Good => "32",
            Mark::Bad => "31",
            Mark::Hidden => "33",
        };
        if self.style.colour {
            format!("\u{1b}[{colour}m{plain}\u{1b}[0m")
        } else {
            plain.to_owned()
        }
    }

    fn headline(&mut self) {
        let class = self.class();
        let mark = match class {
            Class::Reachable => Mark::Good,
            Class::Unknown => Mark::Hidden,
            _ => Mark::Bad,
        };
        if self.report.vantages.iter().any(|vantage| vantage.mode.as_deref() == Some("sockets")) {
            let text = self.say(w::NO_CAPTURE);
            self.line(text);
        }
        let addresses: Vec<_> =
            self.report.addresses.iter().map(|part| part.address.as_str()).collect();
        let addresses = addresses.join(", ");
        let address = if addresses.is_empty() || addresses == self.report.target.host {
            String::new()
        } else {
            format!(" ({addresses})")
        };
        let odds = percent(self.report.verdict.confidence);
        let since = self.report.started.clone().unwrap_or_default();
        let line = format!(
            "{} {}{address}: {} ({odds}, {} {since})",
            self.mark(mark),
            self.report.target.name,
            self.say(class.title()),
            self.say(w::SEEN_AT),
        );
        self.line(&line);
        let spoken = &self.report.spoken;
        let summary = self.of_both(&spoken.summary.0, &spoken.summary.1).to_owned();
        self.line(&format!("  {summary}"));
    }

    fn seen(&mut self) {
        self.section(w::SEEN);
        let vantages = self.report.vantages.clone();
        for vantage in &vantages {
            let from = vantage.address.as_deref().unwrap_or("?");
            let mode = vantage.mode.as_deref().unwrap_or("?");
            let label = format!("{} {} ({from}, {mode})", self.say(w::VANTAGE), vantage.name);
            self.line(&format!("  {label}"));
            self.seen_from(vantage);
        }
        for (signal, text) in self.told() {
            self.labelled(&signal, &text);
        }
    }

    /// Evidence, each fact once, with the vantages that saw it where there are several.
    fn told(&self) -> Vec<(String, String)> {
        let mut told: Vec<(String, String, Vec<&str>)> = Vec::new();
        let evidence = self.report.verdict.evidence.iter();
        for part in evidence.filter(|part| !DULL.contains(&part.signal.as_str())) {
            let (signal, text) = self.piece(part);
            let vantage = part.vantage.as_deref();
            let same = told.iter_mut().find(|(about, known, _)| *about == signal && *known == text);
            match same {
                Some((_, _, from)) => from.extend(vantage),
                None => told.push((signal, text, vantage.into_iter().collect())),
            }
        }
        let several = self.report.vantages.len() > 1;
        let whole = |(signal, text, from): (String, String, Vec<&str>)| match from.as_slice() {
            [_, ..] if several => (signal, format!("{text} ({})", from.join(", "))),
            _ => (signal, text),
        };
        told.into_iter().map(whole).collect()
    }

    /// A signal, and its value with the numbers behind it. In Chinese the machine names follow:
    /// they are what documents, alerts and the manual have.
    fn piece(&self, part: &EvidencePart) -> (String, String) {
        let (signal, value) = (&part.signal, &part.value);
        let detail = part.detail.as_ref().map(|detail| self.words(detail));
        let sign = Sign::from_names(signal, value);
        match (self.style.lang, sign) {
            (Lang::Zh, Some(sign)) => {
                let detail = detail.map_or_else(String::new, |detail| format!("：{detail}"));
                let title = sign.title().zh;
                (sign.family().title().zh.to_owned(), format!("{title}{detail} [{signal}={value}]"))
            }
            (Lang::En | Lang::Zh, _) => {
                let detail = detail.map_or_else(String::new, |detail| format!(": {detail}"));
                (signal.clone(), format!("{value}{detail}"))
            }
        }
    }

    fn seen_from(&mut self, vantage: &VantagePart) {
        if let Some(echo) = &vantage.echo {
            let text = self.series(echo);
            let label = format!("  {}", self.say(w::ECHO));
            self.labelled(&label, &text);
        }
        if let Some(syn) = &vantage.connect {
            let port = self.report.target.port.unwrap_or(0);
            let text = self.series(syn);
            self.labelled(&format!("  SYN {port}"), &text);
        }
        if let Some(service) = &vantage.service {
            let label = format!("  {}", self.say(w::SERVICE));
            let text = self.service(service);
            self.labelled(&label, &text);
        }
        for (flow, hops) in [("TCP", &vantage.path.tcp), ("ICMP", &vantage.path.icmp)] {
            if let Some(hops) = hops {
                let label = format!("  {} {flow}", self.say(w::PATH));
                self.labelled(&label, &hop_line(hops));
            }
        }
    }

    fn service(&self, service: &ServicePart) -> String {
        let of = |table: &[Text], name: &str| table.iter().copied().find(|text| text.en == name);
        let connection = self.named(&service.connection, of(&w::CONNECTIONS, &service.connection));
        let answer = service.answer.as_deref();
        let parts = [
            Some(connection),
            service.connection_detail.as_ref().map(|detail| self.words(detail)),
            answer.map(|answer| self.named(answer, of(&w::SERVICE_ANSWERS, answer))),
            service.detail.as_ref().map(|detail| self.words(detail)),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join(self.say(w::COMMA))
    }

    fn series(&self, series: &SeriesPart) -> String {
        let mut text = format!("{}/{} {}", series.received, series.sent, self.say(w::ANSWERED));
        let named = |answer: &str| AnswerKind::from_name(answer).map(AnswerKind::title);
        let answers = series.answers.iter();
        let answers =
            answers.map(|(name, count)| format!("{} {count}", self.named(name, named(name))));
        let answers = answers.collect::<Vec<_>>().join(", ");
        if !answers.is_empty() {
            text += &format!(" ({answers})");
        }
        if let Some(rtt) = series.rtt_mean_seconds {
            text += &format!(", {} {:.3} ms", self.say(w::RTT), rtt * 1_000.0);
        }
        if let (Some(ttl), Some(distance)) = (series.ttl, series.distance) {
            text += &format!(", TTL {ttl} ({distance} {})", self.say(w::ROUTERS));
        }
        text
    }

    fn causes(&mut self) {
        let causes = self.report.verdict.causes.clone();
        if causes.is_empty() {
            return;
        }
        self.section(w::CAUSES);
        for part in causes.iter().take(6) {
            let meaning = cause::find(&part.cause).map_or("", |cause| self.say(cause.meaning));
            self.line(&format!("  {:>4}  {}: {meaning}", percent(part.probability), part.cause));
        }
    }

    fn notes(&mut self) {
        let notes = self.report.verdict.notes.clone();
        if notes.is_empty() {
            return;
        }
        self.section(w::NOTES);
        for part in &notes {
            let note = Note::from_name(&part.note);
            let meaning = note.map_or("", |note| self.say(note.meaning()));
            let detail = part.detail.as_ref().map(|detail| self.words(detail).to_owned());
            let detail = detail.map_or_else(String::new, |detail| match self.style.lang {
                Lang::En => format!(" ({detail})"),
                Lang::Zh => format!("（{detail}）"),
            });
            self.line(&format!("  {}: {meaning}{detail}", part.note));
            if let Some(remedy) = note.and_then(Note::remedy) {
                let remedy = self.say(remedy);
                self.line(&format!("    -> {remedy}"));
            }
        }
    }

    fn checklist(&mut self) {
        self.section(w::CHECKLIST);
        for (mark, label, detail) in checklist::rows(self.report) {
            let (mark, label) = (self.mark(mark), self.say(label).to_owned());
            let detail = detail.map_or("", |detail| self.say(detail));
            let padding = " ".repeat(26_usize.saturating_sub(label.width()).max(1));
            self.line(&format!("  {mark} {label}{padding}{detail}"));
        }
    }

    fn next(&mut self) {
        self.section(w::NEXT);
        let spoken = &self.report.spoken.next_step;
        let step = self.of_both(&spoken.0, &spoken.1).to_owned();
        self.line(&format!("  {step}"));
        let class = self.class();
        let top = self.report.verdict.causes.first().and_then(|part| cause::find(&part.cause));
        if let Some(cause) = top.filter(|_| class != Class::Reachable) {
            let risk = self.say(cause.risk.text());
            let known = self.report.spoken.remedy.as_ref().map(|(en, zh)| self.of_both(en, zh));
            let remedy = known.unwrap_or_else(|| self.say(cause.remedy)).to_owned();
            if remedy == step {
                self.line(&format!("  [{risk}]"));
            } else {
                self.line(&format!("  {}: {remedy} [{risk}]", cause.name));
            }
        }
        let next = self.report.verdict.next_evidence.clone();
        if !next.is_empty() {
            let title = self.say(w::WOULD_SETTLE);
            self.line(&format!("  {title}"));
        }
        for part in &next {
            let known = NEXT_EVIDENCE.iter().find(|known| known.ask.en == part.ask);
            let (ask, how) = known.map_or((part.ask.as_str(), part.how.as_str()), |known| {
                (self.say(known.ask), self.say(known.how))
            });
            self.line(&format!("    - {ask}: {how} ({})", part.splits.join(", ")));
        }
    }

    /// The class by its machine name, in Chinese after the words for it.
    fn ticket_class(&self) -> String {
        let name = &self.report.verdict.class;
        match self.style.lang {
            Lang::En => name.clone(),
            Lang::Zh => format!("{} {name}", self.class().title().zh),
        }
    }

    fn ticket(&mut self) {
        self.section(w::TICKET);
        let target = &self.report.target;
        let asked =
            target.port.map_or_else(|| "ICMP echo".to_owned(), |port| format!("TCP {port}"));
        let sources: Vec<_> =
            self.report.vantages.iter().filter_map(|vantage| vantage.address.clone()).collect();
        let instance = self.report.spoken.instance_id.clone();
        let blank = "________".to_owned();
        let rows = [
            (w::TICKET_TARGET, format!("{} {asked}", target.host)),
            (w::TICKET_INSTANCE, instance.unwrap_or_else(|| blank.clone())),
            (w::TICKET_SOURCE, sources.join(", ")),
            (w::TICKET_TIME, self.report.started.clone().unwrap_or_default()),
            (
                w::TICKET_CLASS,
                format!("{} ({})", self.ticket_class(), percent(self.report.verdict.confidence)),
            ),
            (w::TICKET_CONSOLE, blank),
        ];
        for (label, text) in rows {
            let label = self.say(label).to_owned();
            self.labelled(&label, &text);
        }
    }
}

/// Signals whose numbers stand in the report already.
const DULL: [&str; 3] = ["echo", "syn", "service"];

fn hop_line(hops: &[HopPart]) -> String {
    let hop = |hop: &HopPart| match hop.address {
        Some(address) => format!("{} {address}", hop.ttl),
        None => format!("{} *", hop.ttl),
    };
    hops.iter().map(hop).collect::<Vec<_>>().join("  ")
}

fn percent(ratio: f64) -> String {
    if ratio > 0.99 && ratio < 1.0 { ">99%".to_owned() } else { format!("{:.0}%", ratio * 100.0) }
}

#[cfg(test)]
mod tests;
