//! Texts for people: one template per language, escaped for whoever shows them.
//!
//! A template of the owner's takes the place of the default; where it fails (an unknown filter, too
//! much work) or says nothing, the default speaks: an alert in the wrong words is better than none.

use std::sync::atomic::{AtomicBool, Ordering};

use minijinja::value::{Serde, Value};
use minijinja::{Environment, UndefinedBehavior};
use serde::Serialize;
use tracing::warn;

use super::story::Story;
use crate::webhook::Language;

/// Steps a template may take; the default ones take a few hundred.
const FUEL: u64 = 50_000;

/// The longest own template that is read.
const TEMPLATE_MAX: usize = 64 * 1024;

/// The longest text that any template may make.
const TEXT_MAX: usize = 15_000;

const ENGLISH: &str = include_str!("text/en.txt");
const CHINESE: &str = include_str!("text/zh.txt");

/// Why a template cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// It is longer than 64 KiB.
    #[error("read a template of {0} bytes: at most 65536 are taken")]
    Long(usize),
    /// It is not a template.
    #[error("read a template: {0}")]
    Syntax(String),
}

/// How a text is shown, and so what must be escaped in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Markup {
    /// As it is.
    Plain,
    /// Slack's mrkdwn: `&`, `<` and `>` are special.
    Slack,
    /// DingTalk's Markdown. It knows no escaping.
    DingTalk,
    /// Feishu's Markdown, with HTML entities.
    Feishu,
    /// WeCom's Markdown. It knows no escaping.
    WeCom,
}

impl Markup {
    /// What stands on both sides of bold text.
    const fn bold(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Slack => "*",
            Self::DingTalk | Self::Feishu | Self::WeCom => "**",
        }
    }

    /// What ends a line.
    const fn line_end(self) -> &'static str {
        match self {
            Self::DingTalk => "\n\n",
            Self::Plain | Self::Slack | Self::Feishu | Self::WeCom => "\n",
        }
    }

    /// Makes a foreign text harmless: names and banners from the network must not mention people,
    /// make links or forge a line.
    fn escape(self, text: &str) -> String {
        let text = one_line(text);
        let special = |letter: char| -> Option<&'static str> {
            match (self, letter) {
                (Self::Plain, _) => None,
                (Self::Slack | Self::Feishu, '&') => Some("&amp;"),
                (Self::Slack | Self::Feishu, '<') => Some("&lt;"),
                (Self::Slack | Self::Feishu, '>') => Some("&gt;"),
                (Self::Feishu, '*') => Some("&#42;"),
                (Self::Feishu, '[') => Some("&#91;"),
                (Self::Feishu, ']') => Some("&#93;"),
                (Self::Feishu, '`') => Some("&#96;"),
                (Self::Feishu, '~') => Some("&sim;"),
                (Self::DingTalk | Self::WeCom, '<') => Some("＜"),
                (Self::DingTalk | Self::WeCom, '>') => Some("＞"),
                (Self::DingTalk | Self::WeCom, '[') => Some("［"),
                (Self::DingTalk | Self::WeCom, ']') => Some("］"),
                (Self::DingTalk | Self::WeCom, '*') => Some("＊"),
                (Self::DingTalk | Self::WeCom, '`') => Some("'"),
                (_, _) => None,
            }
        };
        let mut escaped = String::with_capacity(text.len());
        for letter in text.chars() {
            match special(letter) {
                Some(harmless) => escaped.push_str(harmless),
                None => escaped.push(letter),
            }
        }
        escaped
    }
}

/// The templates of one receiver.
pub(super) struct Texts {
    templates: Environment<'static>,
    markup: Markup,
    own: bool,
    /// Whether it was said that the owner's fails.
    warned: AtomicBool,
}

#[derive(Serialize)]
struct Scope<'a> {
    #[serde(flatten)]
    story: &'a Story,
    b: Value,
    lang: &'static str,
}

impl Texts {
    /// The default templates, and the owner's.
    pub(super) fn new(markup: Markup, own: Option<&str>) -> Result<Self, TemplateError> {
        let mut templates = Environment::new();
        templates.set_undefined_behavior(UndefinedBehavior::Lenient);
        templates.set_fuel(Some(FUEL));
        templates.set_formatter(move |output, _, value| {
            let text = value.to_string();
            let shown = if value.is_safe() || value.is_undefined() || value.is_none() {
                if value.is_safe() { text } else { String::new() }
            } else {
                markup.escape(&text)
            };
            output.write_str(&shown).map_err(Into::into)
        });
        let wrong = |error: &dyn std::fmt::Display| TemplateError::Syntax(error.to_string());
        templates.add_template("en", ENGLISH).map_err(|error| wrong(&error))?;
        templates.add_template("zh", CHINESE).map_err(|error| wrong(&error))?;
        if let Some(own) = own {
            if own.len() > TEMPLATE_MAX {
                return Err(TemplateError::Long(own.len()));
            }
            let added = templates.add_template_owned("own", own.to_owned());
            added.map_err(|error| wrong(&error))?;
        }
        Ok(Self { templates, markup, own: own.is_some(), warned: AtomicBool::new(false) })
    }

    /// The text of a story.
    pub(super) fn render(&self, story: &Story, language: Language) -> String {
        let own = match self.own(story, language) {
            Ok(own) => own,
            Err(fault) => {
                if !self.warned.swap(true, Ordering::Relaxed) {
                    let receiver = story.receiver.as_str();
                    warn!(receiver, fault, "The template fails; the default text is sent");
                }
                None
            }
        };
        let text = own.or_else(|| self.by(lang(language), story, language).ok());
        // Only a bug of ours leads here; the summary is what must be told.
        let text = text
            .unwrap_or_else(|| self.markup.escape(&format!("{} {}", story.heading, story.summary)));
        cut(&text, TEXT_MAX)
    }

    /// What the owner's template makes of a story, if there is one; or what is wrong with that.
    pub(super) fn own(&self, story: &Story, language: Language) -> Result<Option<String>, String> {
        if !self.own {
            return Ok(None);
        }
        let text = self.by("own", story, language).map_err(|error| one_line(&error.to_string()))?;
        if text.trim().is_empty() {
            return Err("it makes no text".to_owned());
        }
        Ok(Some(text))
    }

    fn by(
        &self,
        name: &str,
        story: &Story,
        language: Language,
    ) -> Result<String, minijinja::Error> {
        let b = Value::from_safe_string(self.markup.bold().to_owned());
        let scope = Value::from(Serde(Scope { story, b, lang: lang(language) }));
        let text = self.templates.get_template(name)?.render(&scope)?;
        let lines = text.lines().map(str::trim_end).filter(|line| !line.is_empty());
        Ok(lines.collect::<Vec<_>>().join(self.markup.line_end()))
    }
}

const fn lang(language: Language) -> &'static str {
    match language {
        Language::En => "en",
        Language::Zh => "zh",
    }
}

/// A text without line ends, other control characters, and marks that turn its direction.
pub(crate) fn one_line(text: &str) -> String {
    let harmless = |letter: char| match letter {
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{2028}' | '\u{2029}' => ' ',
        letter if letter.is_control() => ' ',
        letter => letter,
    };
    text.chars().map(harmless).collect()
}

/// At most so many bytes, ending at a letter; what was cut off shows.
pub(crate) fn cut(text: &str, bytes: usize) -> String {
    const MARK: &str = "…";
    if text.len() <= bytes {
        return text.to_owned();
    }
    let kept = text.floor_char_boundary(bytes.saturating_sub(MARK.len()));
    let kept = text.get(..kept).unwrap_or_default();
    if bytes < MARK.len() { kept.to_owned() } else { format!("{kept}{MARK}") }
}
