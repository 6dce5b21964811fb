//! `reachd explain`: what a class, cause or note means and what to do, and what a stage leaves.

mod stages;

use anyhow::{Result, bail};
use reachd_core::judge::cause::{self, CAUSES};
use reachd_core::judge::{Class, Note, Text};

use crate::cli::{Explain, Lang};
use crate::exit;

/// Prints the meaning of a name, or the list of all names.
pub fn run(arguments: &Explain) -> Result<u8> {
    let lang = Lang::choose(arguments.lang);
    let Some(name) = &arguments.name else {
        block!("{}", overview(lang));
        return Ok(exit::OK);
    };
    // One name may be both a class and a cause (`no_route`): both are told.
    let texts: Vec<_> = [
        Class::from_name(name).map(|class| explain_class(class, lang)),
        cause::find(name).map(|cause| explain_cause(cause, lang)),
        Note::from_name(name).map(|note| explain_note(note, lang)),
        stages::explain(name, lang),
    ]
    .into_iter()
    .flatten()
    .collect();
    if texts.is_empty() {
        bail!("{name} is no class, cause, note or stage; `reachd explain` lists them all");
    }
    block!("{}", texts.join("\n"));
    Ok(exit::OK)
}

fn overview(lang: Lang) -> String {
    let mut text = String::new();
    for class in Class::ALL {
        text += &format!("{} - {}\n", class.as_str(), lang.of(class.title()));
        let causes =
            CAUSES.iter().filter(|cause| cause.class == class && class != Class::Reachable);
        for cause in causes {
            text += &format!("    {}\n", cause.name);
        }
    }
    let notes: Vec<_> = Note::ALL.iter().map(|note| note.as_str()).collect();
    text += &format!("{}: {}\n", lang.of(NOTES), notes.join(", "));
    text + &format!("{}: {}\n", lang.of(STAGES), stages::names().join(", "))
}

fn explain_class(class: Class, lang: Lang) -> String {
    let (name, kind) = (class.as_str(), lang.of(CLASS));
    let mut text = format!("{name} ({kind}): {}\n", lang.of(class.title()));
    text += &format!("  {}\n", lang.of(class.meaning()));
    let causes: Vec<_> = CAUSES
        .iter()
        .filter(|cause| cause.class == class && class != Class::Reachable)
        .map(|cause| cause.name)
        .collect();
    if !causes.is_empty() {
        text += &format!("  {}: {}\n", lang.of(CAUSES_OF_IT), causes.join(", "));
    }
    text
}

fn explain_cause(cause: &cause::Cause, lang: Lang) -> String {
    format!(
        "{} ({} {})\n  {}\n  -> {} [{}]\n",
        cause.name,
        lang.of(CAUSE_OF),
        cause.class.as_str(),
        lang.of(cause.meaning),
        lang.of(cause.remedy),
        lang.of(cause.risk.text()),
    )
}

fn explain_note(note: Note, lang: Lang) -> String {
    let remedy = note.remedy().map(|remedy| format!("  -> {}\n", lang.of(remedy)));
    let (name, meaning) = (note.as_str(), lang.of(note.meaning()));
    format!("{name} ({})\n  {meaning}\n{}", lang.of(NOTE), remedy.unwrap_or_default())
}

const CLASS: Text = Text { en: "class", zh: "类别" };
const CAUSE_OF: Text = Text { en: "cause of", zh: "原因，属于" };
const CAUSES_OF_IT: Text = Text { en: "causes", zh: "可能原因" };
const NOTE: Text = Text { en: "note", zh: "备注" };
const STAGES: Text = Text { en: "stages of RDP", zh: "RDP 阶段" };
const NOTES: Text = Text { en: "notes", zh: "备注" };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_named_in_the_language() {
        let of = |lang| {
            [
                explain_class(Class::Blackhole, lang),
                explain_cause(cause::find("ddos_blackhole").unwrap(), lang),
                explain_note(Note::NlaOff, lang),
            ]
            .map(|text| text.lines().next().unwrap().to_owned())
        };
        let english = [
            "blackhole (class): suspected blackhole",
            "ddos_blackhole (cause of blackhole)",
            "nla_off (note)",
        ];
        assert_eq!(of(Lang::En), english);
        let chinese = [
            "blackhole (类别): 疑似黑洞",
            "ddos_blackhole (原因，属于 blackhole)",
            "nla_off (备注)",
        ];
        assert_eq!(of(Lang::Zh), chinese);
    }

    #[test]
    fn what_weakens_a_server_has_a_remedy() {
        for note in [Note::NlaOff, Note::PlainRdpSecurity, Note::WeakTls, Note::ClockSkew] {
            assert!(explain_note(note, Lang::En).contains("\n  -> "), "{note:?}");
        }
        assert_eq!(Note::NlaRequired.remedy(), None, "that is as it should be");
    }

    #[test]
    fn every_name_is_explained_in_both_languages() {
        for lang in [Lang::En, Lang::Zh] {
            let all = overview(lang);
            for class in Class::ALL {
                assert!(all.contains(class.as_str()));
                assert!(explain_class(class, lang).len() > 20);
            }
            for cause in CAUSES.iter().filter(|cause| cause.class != Class::Reachable) {
                assert!(all.contains(cause.name), "{}", cause.name);
                assert!(explain_cause(cause, lang).contains("->"));
            }
            for note in Note::ALL {
                let text = explain_note(note, lang);
                assert!(text.starts_with(note.as_str()));
                assert_eq!(text.contains("->"), note.remedy().is_some(), "{text}");
            }
        }
    }
}
