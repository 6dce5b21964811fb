//! Keys of receivers.

use super::{Fallback, Key, Kind, key};

use Fallback::{Required, Value, Words};

/// What replaces a URL.
const URL: &str = "`url_file`; `pagerduty` has its own, `alertmanager` has `urls`";

pub(super) const RECEIVER: &[Key] = &[
    key("name", Kind::Name, Required, r#""ops""#, "Unique name and metric label."),
    key(
        "kind",
        Kind::Word(&[
            "webhook",
            "alertmanager",
            "slack",
            "pagerduty",
            "dingtalk",
            "feishu",
            "wecom",
            "email",
            "command",
        ]),
        Value(r#""webhook""#),
        r#""webhook""#,
        "What it understands. `webhook` is told in the shape of Alertmanager's own webhooks; `alertmanager` is Alertmanager itself, told every 30 s what is open; `feishu` is Lark as well; `email` speaks SMTP; `command` runs a program.",
    ),
    key(
        "url",
        Kind::Url(&["https", "http", "smtps", "smtp"]),
        Words(URL),
        r#""https://alerts.example/hook""#,
        "Where alerts are sent: `smtps://host` (port 465) or `smtp://host` (587, STARTTLS) for `email`, http or https for the others. Redirects are not followed. Loopback and private networks are allowed, since this file is yours; link-local addresses and the metadata services of clouds never are.",
    ),
    key(
        "url_file",
        Kind::Path,
        Words(URL),
        r#""hook.url""#,
        "File whose first line is the URL, for URLs that hold a token.",
    ),
    key(
        "urls",
        Kind::List(&Kind::Url(&["https", "http"])),
        Words("`alertmanager` needs it"),
        r#"["http://am-1.example:9093", "http://am-2.example:9093"]"#,
        "Every instance of an Alertmanager cluster, without `/api/v2`. All are told; never put a balancer before them.",
    ),
    key(
        "secret_file",
        Kind::Path,
        Words("nothing is signed"),
        r#""hook.secret""#,
        "File whose first line is the secret: `whsec_` and base64 for a `webhook` (Standard Webhooks), `SEC...` of a `dingtalk` robot, the signing key of a `feishu` robot, the integration key of `pagerduty`, which cannot do without.",
    ),
    key(
        "keyword",
        Kind::Text,
        Words("nothing is added"),
        r#""reachd""#,
        "A word that a `dingtalk` or `feishu` robot wants to see in every message; put in front where it lacks.",
    ),
    key(
        "template_file",
        Kind::Path,
        Words("the built-in text"),
        r#""alert.txt""#,
        "Jinja template of the text, for chats, mail and the details of `pagerduty`. It may use `heading`, `subject`, `status`, `resolved`, `summary`, `severity`, `class`, `class_now`, `class_title`, `started`, `ended`, `seconds`, `seen_from`, `reachable_from`, `causes` (`cause`, `percent`, `meaning`, `remedy`, `risk`), `confidence`, `evidence`, `next_step`, `risk`, `members`, `labels`, `url`, `evidence_url`, `fingerprint`, `version`, `alertname`, `receiver`, `lang`, and `b` around bold words. Values are escaped. Where it fails or makes no text, the built-in text is sent, the log warns once, and `reachd config check` and `notify test` say so.",
    ),
    key(
        "from",
        Kind::Text,
        Words("`email` needs it"),
        r#""reachd@example.com""#,
        "The sender's address.",
    ),
    key(
        "to",
        Kind::List(&Kind::Text),
        Words("`email` needs it"),
        r#"["oncall@example.com"]"#,
        "The recipients' addresses.",
    ),
    key(
        "username",
        Kind::Text,
        Words("nobody signs in"),
        r#""reachd""#,
        "Who signs in at the mail server; needs `password_file`.",
    ),
    key(
        "password_file",
        Kind::Path,
        Words("nobody signs in"),
        r#""smtp.password""#,
        "File whose first line is the password. It is sent over TLS only.",
    ),
    key(
        "tls",
        Kind::Word(&["required", "if_offered", "off"]),
        Words("`required`"),
        r#""required""#,
        "Whether `smtp://` must be encrypted by STARTTLS. `if_offered` can be taken away by anybody on the way.",
    ),
    key(
        "command",
        Kind::List(&Kind::Text),
        Words("`command` needs it"),
        r#"["/usr/local/bin/page", "--urgent"]"#,
        "A program and its arguments, run without a shell for every message, for 30 s at most. It reads the webhook's JSON from its standard input. Exit code 0 means taken, 65 refused (tried again, but seldom), anything else (75) try again.",
    ),
    key(
        "dead_letter_to",
        Kind::Text,
        Words("nobody"),
        r#""mail""#,
        "The receiver that is told, once each, of messages that were given up (not taken for 72 h, or answered 410). It should be reached in another way; it is told whatever its `match` and `min_severity` say.",
    ),
    key(
        "backlog",
        Kind::Word(&["all", "coalesce", "digest"]),
        Words("`\"coalesce\"` for chats and mail, `\"all\"` for the others"),
        r#""coalesce""#,
        "What is sent of messages that waited while it took nothing: all, in order; of each incident only the newest, such as that it is over and how long it was; or one digest of all incidents that opened and were over meanwhile, and the newest of each other (for chats and mail only). What is not sent is counted and listed as superseded.",
    ),
    key(
        "match",
        Kind::Matchers,
        Words("all alerts"),
        r#"{ team = "windows" }"#,
        "Only alerts whose labels satisfy all conditions are sent; a list also allows `!=`: [\"team=windows\", \"site!=lab\"].",
    ),
    key(
        "min_severity",
        Kind::Word(&["info", "warning", "critical"]),
        Value(r#""info""#),
        r#""info""#,
        "Only alerts at least this severe are sent.",
    ),
    key("lang", Kind::Word(&["en", "zh"]), Value(r#""en""#), r#""en""#, "Language of the texts."),
    key(
        "proxy",
        Kind::Url(&["http"]),
        Words("no proxy"),
        r#""http://proxy.example:3128""#,
        "HTTP proxy through which it is reached. It may hold a user and a password.",
    ),
    key(
        "ca_file",
        Kind::Path,
        Words("the system's certificate authorities"),
        r#""ca.pem""#,
        "Further certificate authorities, PEM, besides the system's.",
    ),
    key(
        "send",
        Kind::Word(&["transitions", "updates"]),
        Value(r#""transitions""#),
        r#""transitions""#,
        "`transitions` tells when an incident opens and resolves; `updates` also tells every change in between; members of a group are told by the group alone.",
    ),
];
