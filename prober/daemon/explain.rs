//! `reachd explain`: what a class, cause or note means and what to do.

use anyhow::{Result, bail};
use reachd_core::judge::cause::{self, CAUSES};
use reachd_core::judge::{Class, Note};

use crate::cli::{Explain, Lang};
use crate::exit;

/// Prints the meaning of a name, or the list of all names.
pub fn run(arguments: &Explain) -> Result<u8> {
    let lang = Lang::choose(arguments.lang);
    let Some(name) = &arguments.name else {
        print!("{}", overview(lang));
        return Ok(exit::OK);
    };
    // One name may be both a class and a cause (`no_route`): both are told.
    let texts: Vec<_> = [
        Class::from_name(name).map(|class| explain_class(class, lang)),
        cause::find(name).map(|cause| explain_cause(cause, lang)),
        Note::from_name(name).map(|note| format!("{name} (note)\n  {}\n", lang.of(note.meaning()))),
    ]
    .into_iter()
    .flatten()
    .collect();
    if texts.is_empty() {
        bail!("{name} is no class, cause or note; `reachd explain` lists them all");
    }
    print!("{}", texts.join("\n"));
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
    text + &format!("notes: {}\n", notes.join(", "))
}

fn explain_class(class: Class, lang: Lang) -> String {
    let mut text = format!("{} (class): {}\n", class.as_str(), lang.of(class.title()));
    text += &format!("  {}\n", lang.of(class.meaning()));
    let causes: Vec<_> = CAUSES
        .iter()
        .filter(|cause| cause.class == class && class != Class::Reachable)
        .map(|cause| cause.name)
        .collect();
    if !causes.is_empty() {
        text += &format!("  causes: {}\n", causes.join(", "));
    }
    text
}

fn explain_cause(cause: &cause::Cause, lang: Lang) -> String {
    format!(
        "{} (cause of {})\n  {}\n  -> {} [{}]\n",
        cause.name,
        cause.class.as_str(),
        lang.of(cause.meaning),
        lang.of(cause.remedy),
        lang.of(cause.risk.text()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

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
        }
    }
}
