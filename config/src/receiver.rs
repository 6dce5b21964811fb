//! Receivers: which keys go with which kind, and what each kind cannot do without.

use std::path::Path;
use std::time::Duration;

use reachd_core::target::Severity;

use crate::assemble::{Document, Names};
use crate::layer::{Layer, Stack, text_of};
use crate::node::quote;
use crate::problem::Fault;
use crate::settings::{
    Backlog, Endpoint, Heartbeat, Lang, Mail, MailTls, Receiver, ReceiverKind, Send, Url,
};
use crate::source::Findings;
use crate::target::severity;
use crate::value;

use ReceiverKind::{
    Alertmanager, Command, DingTalk, Email, Feishu, PagerDuty, Slack, WeCom, Webhook,
};

/// Keys that some kinds have no use for, and the kinds that have. One that would be ignored is a
/// mistake: its owner believes in it.
const BELONGS: &[(&str, &[ReceiverKind])] = &[
    ("url", &[Webhook, Slack, PagerDuty, DingTalk, Feishu, WeCom, Email]),
    ("url_file", &[Webhook, Slack, PagerDuty, DingTalk, Feishu, WeCom, Email]),
    ("urls", &[Alertmanager]),
    ("secret_file", &[Webhook, PagerDuty, DingTalk, Feishu]),
    ("keyword", &[DingTalk, Feishu]),
    ("template_file", &[Slack, PagerDuty, DingTalk, Feishu, WeCom, Email]),
    ("from", &[Email]),
    ("to", &[Email]),
    ("username", &[Email]),
    ("password_file", &[Email]),
    ("tls", &[Email]),
    ("command", &[Command]),
    (DEAD_LETTER_TO, &[Webhook, Slack, PagerDuty, DingTalk, Feishu, WeCom, Email, Command]),
    ("backlog", &[Webhook, Slack, PagerDuty, DingTalk, Feishu, WeCom, Email, Command]),
    ("proxy", &[Webhook, Alertmanager, Slack, PagerDuty, DingTalk, Feishu, WeCom, Email]),
    ("ca_file", &[Webhook, Alertmanager, Slack, PagerDuty, DingTalk, Feishu, WeCom, Email]),
];

/// Keys that a kind cannot do without, and how to write them.
const NEEDED: &[(&str, &[ReceiverKind], &str)] = &[
    ("urls", &[Alertmanager], "add `urls = [\"http://am-1.example:9093\"]`, every instance"),
    ("secret_file", &[PagerDuty], "add `secret_file = \"pagerduty.key\"`, the integration key"),
    ("from", &[Email], "add `from = \"reachd@example.com\"`"),
    ("to", &[Email], "add `to = [\"oncall@example.com\"]`"),
    ("command", &[Command], "add `command = [\"/usr/local/bin/page\"]`"),
];

/// Where PagerDuty takes events.
const PAGERDUTY: &str = "https://events.pagerduty.com/v2/enqueue";

/// The receivers.
pub(crate) fn receivers(
    document: &Document,
    base: &Path,
    findings: &mut Findings,
) -> Vec<Receiver> {
    let mut names = Names::default();
    let layers = document.repeated("receiver").iter();
    let told = layers.filter_map(|layer| {
        let receiver = receiver(layer, base, &mut names, findings)?;
        Some((layer, receiver))
    });
    let (layers, receivers): (Vec<_>, Vec<_>) = told.unzip();
    for (layer, receiver) in layers.into_iter().zip(&receivers) {
        if let Some(fault) = heir_fault(receiver, &receivers) {
            findings.error(layer.place(DEAD_LETTER_TO), &layer.key(DEAD_LETTER_TO), fault);
        }
    }
    receivers
}

/// Programs and pagers are told everything, people what they need after an outage.
fn backlog(layer: &Layer, kind: ReceiverKind, findings: &mut Findings) -> Backlog {
    match (Stack::one(layer).text("backlog"), kind) {
        (Some("digest"), Webhook | Alertmanager | PagerDuty | Command) => {
            let reason = "programs and pagers know an incident by its own messages";
            let fault = Fault::new(reason, "write \"all\" or \"coalesce\"");
            findings.error(layer.place("backlog"), &layer.key("backlog"), fault);
            Backlog::All
        }
        (Some("digest"), _) => Backlog::Digest,
        (Some("coalesce"), _) => Backlog::Coalesce,
        (Some(_), _) | (None, Webhook | Alertmanager | PagerDuty | Command) => Backlog::All,
        (None, Slack | DingTalk | Feishu | WeCom | Email) => Backlog::Coalesce,
    }
}

const DEAD_LETTER_TO: &str = "dead_letter_to";

/// What is wrong with the one who is to be told of a receiver's dead letters. Of a circle the
/// first receiver is blamed.
fn heir_fault(receiver: &Receiver, all: &[Receiver]) -> Option<Fault> {
    let heir = receiver.dead_letter_to.as_deref()?;
    let find = |name: &str| all.iter().find(|one| one.name == name);
    let others = || {
        let names = all.iter().filter(|one| one.name != receiver.name && one.kind != Alertmanager);
        let names: Vec<_> = names.map(|one| quote(&one.name)).collect();
        match names.is_empty() {
            true => "add a second `[[receiver]]`, reached in another way".to_owned(),
            false => format!("name another: {}", names.join(", ")),
        }
    };
    let Some(found) = find(heir) else {
        return Some(Fault::new(format!("there is no receiver {}", quote(heir)), others()));
    };
    if found.name == receiver.name {
        return Some(Fault::new("it names itself", others()));
    }
    if found.kind == Alertmanager {
        let reason = format!("{} is told what is open, and takes no messages", quote(heir));
        return Some(Fault::new(reason, others()));
    }
    // As many steps as there are receivers lead round any circle.
    let place = |name: &str| all.iter().position(|one| one.name == name);
    let mut next = Some(found);
    for _ in all {
        let Some(one) = next else { break };
        if one.name == receiver.name {
            let reason = "it leads back to itself";
            return Some(Fault::new(reason, "leave one of them without `dead_letter_to`"));
        }
        if place(&one.name) < place(&receiver.name) {
            // If they form a circle, it has been said of that one.
            break;
        }
        next = one.dead_letter_to.as_deref().and_then(find);
    }
    None
}

fn receiver(
    layer: &Layer,
    base: &Path,
    names: &mut Names,
    findings: &mut Findings,
) -> Option<Receiver> {
    let stack = Stack::one(layer);
    let word = match stack.text("kind") {
        None if layer.wrote("kind") => return None,
        word => word.unwrap_or(Webhook.as_str()),
    };
    let kind = ReceiverKind::ALL.into_iter().find(|kind| kind.as_str() == word)?;
    check_keys(layer, kind, findings);
    let endpoint = endpoint(layer, kind, base, findings);
    let mail = (kind == Email).then(|| mail(layer, base, findings)).flatten();
    let name = stack.text("name")?;
    if !names.take(name, layer.place("name"), &layer.key("name"), findings) {
        return None;
    }
    Some(Receiver {
        name: name.to_owned(),
        kind,
        endpoint,
        secret_file: stack.path("secret_file", base),
        matchers: stack.matchers("match"),
        min_severity: stack.text("min_severity").map_or(Severity::Info, severity),
        lang: match stack.text("lang") {
            Some("zh") => Lang::Zh,
            _ => Lang::En,
        },
        proxy: stack.string("proxy").map(Url::new),
        ca_file: stack.path("ca_file", base),
        send: match stack.text("send") {
            Some("updates") => Send::Updates,
            _ => Send::Transitions,
        },
        urls: stack.list("urls", text_of).into_iter().map(Url::new).collect(),
        keyword: stack.string("keyword"),
        template_file: stack.path("template_file", base),
        mail,
        command: stack.list("command", text_of),
        dead_letter_to: stack.string(DEAD_LETTER_TO),
        backlog: backlog(layer, kind, findings),
    })
}

/// No key that would be ignored, and none missing.
fn check_keys(layer: &Layer, kind: ReceiverKind, findings: &mut Findings) {
    for (name, kinds) in BELONGS {
        if layer.has(name) && !kinds.contains(&kind) {
            let words: Vec<_> = kinds.iter().map(|kind| format!("\"{}\"", kind.as_str())).collect();
            let reason = format!("a receiver of kind \"{}\" has no use for it", kind.as_str());
            let hint = format!("leave it out; it is for kind {}", words.join(", "));
            findings.error(layer.place(name), &layer.key(name), Fault::new(reason, hint));
        }
    }
    for (name, kinds, hint) in NEEDED {
        let empty = Stack::one(layer).find(name).is_some() && is_empty(layer, name);
        if kinds.contains(&kind) && (!layer.wrote(name) || empty) {
            let reason = if empty { "it is empty" } else { "it is missing" };
            findings.error(layer.place(name), &layer.key(name), Fault::new(reason, *hint));
        }
    }
}

/// Whether a list is empty; a text never is.
fn is_empty(layer: &Layer, name: &str) -> bool {
    let stack = Stack::one(layer);
    stack.text(name).is_none() && stack.items(name).is_empty()
}

/// Who is told that we live, if anybody.
pub(crate) fn heartbeat(layer: &Layer, base: &Path, findings: &mut Findings) -> Option<Heartbeat> {
    const USUAL: Duration = Duration::from_secs(60);
    let stack = Stack::one(layer);
    let interval = stack.duration("interval").unwrap_or(USUAL);
    let endpoint = match (stack.string("url"), stack.path("url_file", base)) {
        (None, None) => return None,
        (Some(_), Some(_)) => {
            exclusive(layer, findings);
            return None;
        }
        (Some(url), None) => Endpoint::Url(Url::new(url)),
        (None, Some(path)) => Endpoint::File(path),
    };
    Some(Heartbeat { endpoint, interval })
}

fn exclusive(layer: &Layer, findings: &mut Findings) {
    let fault = Fault::new("`url` and `url_file` exclude each other", "keep one of the two");
    findings.error(layer.place("url_file"), &layer.key("url_file"), fault);
}

fn endpoint(layer: &Layer, kind: ReceiverKind, base: &Path, findings: &mut Findings) -> Endpoint {
    let stack = Stack::one(layer);
    match (stack.string("url"), stack.path("url_file", base)) {
        (Some(_), Some(_)) => {
            exclusive(layer, findings);
            Endpoint::None
        }
        (Some(url), None) => {
            check_scheme(layer, kind, &url, findings);
            Endpoint::Url(Url::new(url))
        }
        (None, Some(path)) => Endpoint::File(path),
        (None, None) => no_endpoint(layer, kind, findings),
    }
}

/// Mail goes by other schemes than everything else. The URL is never repeated.
fn check_scheme(layer: &Layer, kind: ReceiverKind, url: &str, findings: &mut Findings) {
    let mail = url.to_ascii_lowercase().starts_with("smtp");
    let fault = match (kind == Email, mail) {
        (true, false) => Fault::new(
            "mail is not sent to such a URL",
            "write \"smtps://mail.example\" or \"smtp://mail.example:587\"",
        ),
        (false, true) => Fault::new(
            "only mail is sent to such a URL",
            "write one such as \"https://alerts.example/hook\", or `kind = \"email\"`",
        ),
        (true, true) | (false, false) => return,
    };
    findings.error(layer.place("url"), &layer.key("url"), fault);
}

fn no_endpoint(layer: &Layer, kind: ReceiverKind, findings: &mut Findings) -> Endpoint {
    let hint = match kind {
        PagerDuty => return Endpoint::Url(Url::new(PAGERDUTY.to_owned())),
        Alertmanager | Command => return Endpoint::None,
        Email => "add `url = \"smtps://mail.example\"`",
        Webhook => "add `url = \"https://alerts.example/hook\"`, or `url_file` if it holds a token",
        Slack | DingTalk | Feishu | WeCom => {
            "add `url_file` with the URL that the service gave you; it is a secret"
        }
    };
    if !layer.wrote("url") && !layer.wrote("url_file") {
        findings.error(layer.at, &layer.key("url"), Fault::new("it is missing", hint));
    }
    Endpoint::None
}

fn mail(layer: &Layer, base: &Path, findings: &mut Findings) -> Option<Mail> {
    let stack = Stack::one(layer);
    let from = stack.string("from");
    if let Some(from) = &from {
        findings.take(mail_address(from), layer.place("from"), &layer.key("from"));
    }
    for (index, item) in stack.items("to").iter().enumerate() {
        let Some(to) = text_of(&item.value) else { continue };
        let path = format!("{}[{}]", layer.key("to"), index + 1);
        findings.take(mail_address(&to), item.at, &path);
    }
    let login = match (stack.string("username"), stack.path("password_file", base)) {
        (Some(username), Some(password)) => Some((username, password)),
        (None, None) => None,
        (Some(_), None) => {
            lonely(layer, ("username", "password_file"), findings);
            None
        }
        (None, Some(_)) => {
            lonely(layer, ("password_file", "username"), findings);
            None
        }
    };
    let tls = match stack.text("tls") {
        Some("if_offered") => MailTls::IfOffered,
        Some("off") => MailTls::Off,
        _ => MailTls::Required,
    };
    if let (MailTls::Off, Some(_)) = (tls, &login) {
        let reason = "a password is sent over TLS only";
        let fault = Fault::new(reason, "leave `tls` out, or `username` and `password_file`");
        findings.error(layer.place("tls"), &layer.key("tls"), fault);
    }
    Some(Mail { from: from?, to: stack.list("to", text_of), login, tls })
}

fn lonely(layer: &Layer, (written, missing): (&str, &str), findings: &mut Findings) {
    let fault = Fault::new(format!("it needs `{missing}`"), "write both or none");
    findings.error(layer.place(written), &layer.key(written), fault);
}

/// A plain address (RFC 5321 4.1.2, without quoted local parts): what would end a header or a
/// command never gets into one.
fn mail_address(text: &str) -> Result<(), Fault> {
    let wrong = || {
        let hint = "write one such as \"oncall@example.com\", without a name";
        Fault::new(format!("{} is no mail address", quote(text)), hint)
    };
    let (local, domain) = text.rsplit_once('@').ok_or_else(wrong)?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~.".contains(&byte);
    if local.is_empty() || local.len() > 64 || !local.bytes().all(plain) {
        return Err(wrong());
    }
    value::host(domain).map_err(|_| wrong())
}
