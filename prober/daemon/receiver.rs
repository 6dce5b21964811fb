//! Receivers: from their spelling in the configuration to what the exporters take. Files with
//! secrets are read here, once, when a receiver starts.

use std::path::Path;

use anyhow::{Context, Result, anyhow};
use reachd_config::{
    Endpoint, Lang, Mail, MailTls, Receiver, ReceiverKind, Relation, Send, credential,
};
use reachd_exporters::receiver::{self, Hidden, Kind, Mailbox};
use reachd_exporters::webhook::delivery::Backlog;
use reachd_exporters::webhook::signature::Secret;
use reachd_exporters::webhook::{Language, Matcher, SendMode, Settings};

/// The settings of a receiver.
pub(crate) fn spell(receiver: &Receiver) -> Result<Settings> {
    let name = &receiver.name;
    let url = match &receiver.endpoint {
        Endpoint::Url(url) => url.as_str().to_owned(),
        Endpoint::File(path) => first_line(path)?,
        Endpoint::None => String::new(),
    };
    let mut settings = Settings::new(name, &url);
    settings.kind = kind(receiver)?;
    settings.language = match receiver.lang {
        Lang::En => Language::En,
        Lang::Zh => Language::Zh,
    };
    settings.min_severity = receiver.min_severity;
    settings.send = match receiver.send {
        Send::Transitions => SendMode::Transitions,
        Send::Updates => SendMode::Updates,
    };
    settings.proxy = receiver.proxy.as_ref().map(|proxy| proxy.as_str().to_owned());
    settings.authorities = receiver.ca_file.as_deref().map(whole).transpose()?;
    let template = receiver.template_file.as_deref().map(whole).transpose()?;
    settings.template = template.map(String::from_utf8).transpose().context("read a template")?;
    settings.command.clone_from(&receiver.command);
    settings.dead_letter_to.clone_from(&receiver.dead_letter_to);
    settings.backlog = match receiver.backlog {
        reachd_config::Backlog::All => Backlog::All,
        reachd_config::Backlog::Coalesce => Backlog::Coalesce,
        reachd_config::Backlog::Digest => Backlog::Digest,
    };
    settings.matchers = receiver
        .matchers
        .iter()
        .map(|matcher| Matcher {
            label: matcher.label.clone(),
            value: matcher.value.clone(),
            equal: matcher.relation == Relation::Is,
        })
        .collect();
    Ok(settings)
}

fn kind(receiver: &Receiver) -> Result<Kind> {
    let line = || receiver.secret_file.as_deref().map(first_line).transpose();
    let hidden = || Ok::<_, anyhow::Error>(line()?.as_deref().map(Hidden::new));
    let keyword = receiver.keyword.clone();
    Ok(match receiver.kind {
        ReceiverKind::Webhook | ReceiverKind::Alertmanager => {
            let secret = line()?.map(|line| Secret::parse(&line)).transpose();
            Kind::Webhook { secret: secret.context("read `secret_file`")? }
        }
        ReceiverKind::Slack => Kind::Slack,
        ReceiverKind::PagerDuty => {
            let key = hidden()?.ok_or_else(|| anyhow!("{} has no secret_file", receiver.name))?;
            Kind::PagerDuty { routing_key: key }
        }
        ReceiverKind::DingTalk => Kind::DingTalk { secret: hidden()?, keyword },
        ReceiverKind::Feishu => Kind::Feishu { secret: hidden()?, keyword },
        ReceiverKind::WeCom => Kind::WeCom,
        ReceiverKind::Email => {
            let mail = receiver.mail.as_ref();
            Kind::Email(mailbox(mail.ok_or_else(|| anyhow!("{} has no mail", receiver.name))?)?)
        }
        ReceiverKind::Command => Kind::Command,
    })
}

fn mailbox(mail: &Mail) -> Result<Mailbox> {
    let (username, password) = match &mail.login {
        Some((user, file)) => (Some(user.clone()), Some(Hidden::new(&first_line(file)?))),
        None => (None, None),
    };
    Ok(Mailbox {
        from: mail.from.clone(),
        to: mail.to.clone(),
        username,
        password,
        tls: match mail.tls {
            MailTls::Required => receiver::MailTls::Required,
            MailTls::IfOffered => receiver::MailTls::IfOffered,
            MailTls::Off => receiver::MailTls::Off,
        },
    })
}

fn whole(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(credential(path)).with_context(|| format!("read {}", path.display()))
}

pub(crate) fn first_line(path: &Path) -> Result<String> {
    let text = String::from_utf8(whole(path)?);
    let text = text.with_context(|| format!("read {}", path.display()))?;
    let line = text.lines().next().map(str::trim).filter(|line| !line.is_empty());
    line.map(str::to_owned).ok_or_else(|| anyhow!("{} is empty", path.display()))
}
