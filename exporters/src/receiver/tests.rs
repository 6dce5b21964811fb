//! Each kind: what is sent, how it is signed, what answers mean.

use std::time::SystemTime;

use reachd_core::incident::IncidentState;
use serde_json::{Value, json};

use super::*;
use crate::clock::WallClock;
use crate::fixture;
use crate::webhook::Language;
use crate::webhook::delivery::{Late, MessageId};

fn context(language: Language) -> Context<'static> {
    let clock = WallClock::anchored(fixture::at(0), SystemTime::UNIX_EPOCH);
    Context { receiver: "ops", language, external_url: "https://reachd.example", clock }
}

fn dialect(kind: Kind) -> Dialect {
    Dialect::new(kind, None).unwrap()
}

fn rendered(kind: Kind, state: IncidentState, language: Language) -> Value {
    let update = fixture::update(3, state);
    let body = dialect(kind).render(&update, &context(language));
    serde_json::from_slice(&body).unwrap()
}

fn message(body: &str) -> Message {
    let id = MessageId { fingerprint: "0123456789abcdef".to_owned(), version: 3 };
    Message {
        id,
        name: "0123abcd".to_owned(),
        resolved: false,
        body: body.to_owned().into(),
        late: Late::default(),
    }
}

fn dingtalk(secret: Option<&str>, keyword: Option<&str>) -> Kind {
    Kind::DingTalk { secret: secret.map(Hidden::new), keyword: keyword.map(str::to_owned) }
}

fn feishu(secret: Option<&str>, keyword: Option<&str>) -> Kind {
    Kind::Feishu { secret: secret.map(Hidden::new), keyword: keyword.map(str::to_owned) }
}

fn pagerduty() -> Kind {
    Kind::PagerDuty { routing_key: Hidden::new("R0UT1NGKEY") }
}

fn mailbox() -> Mailbox {
    Mailbox {
        from: "reachd@example.com".to_owned(),
        to: vec!["a@example.com".to_owned(), "b@example.com".to_owned()],
        username: Some("reachd".to_owned()),
        password: Some(Hidden::new("hunter22")),
        tls: MailTls::Required,
    }
}

#[test]
fn slack_gets_a_heading_and_a_coloured_text() {
    let firing = rendered(Kind::Slack, IncidentState::Firing, Language::En);
    assert_eq!(firing["text"], "*192.0.2.10:3389: host silent*");
    let attachment = &firing["attachments"][0];
    assert_eq!(attachment["color"], "danger");
    let text = attachment["text"].as_str().unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], "It is silent.");
    assert_eq!(lines[1], "Since 1970-01-01T00:01:00.000Z.");
    assert_eq!(lines[2], "Not reached from default.");
    assert!(lines[3].starts_with("50 % ddos_blackhole: "), "{text}");
    assert!(text.contains("Evidence: syn=silent (0 of 4) @default\n"), "{text}");
    assert!(text.contains("*Next:* Look at the console. (read-only)\n"), "{text}");
    assert!(text.ends_with("step 3.\nhttps://reachd.example/"), "{text}");
    let over = rendered(Kind::Slack, IncidentState::Resolved, Language::En);
    assert_eq!(over["text"], "*Resolved: 192.0.2.10:3389: suspected blackhole*");
    assert_eq!(over["attachments"][0]["color"], "good");
    let text = over["attachments"][0]["text"].as_str().unwrap();
    assert!(text.contains("over at 1970-01-01T00:02:00.000Z after 60 s."), "{text}");
    assert!(!text.contains("Next:"), "{text}");
}

#[test]
fn chinese_texts_are_chinese() {
    let firing = rendered(Kind::WeCom, IncidentState::Firing, Language::Zh);
    let text = firing["markdown"]["content"].as_str().unwrap();
    for piece in [
        "**192.0.2.10:3389：",
        "无响应。",
        "开始于 1970",
        "不可达的观测点：default",
        "证据：",
        "**下一步：**查看控制台。（只读）",
    ] {
        assert!(text.contains(piece), "{piece} lacks in {text}");
    }
}

#[test]
fn pagerduty_opens_and_closes_by_fingerprint_and_its_key_is_put_in_when_sent() {
    let firing = rendered(pagerduty(), IncidentState::Firing, Language::En);
    assert_eq!(firing["event_action"], "trigger");
    assert_eq!(firing["dedup_key"], "0123456789abcdef");
    assert_eq!(firing["payload"]["severity"], "critical");
    assert_eq!(firing["payload"]["timestamp"], "1970-01-01T00:01:00.000Z");
    assert!(firing.get("routing_key").is_none(), "a secret lies in the queue");
    let over = rendered(pagerduty(), IncidentState::Resolved, Language::En);
    assert_eq!(
        (&over["event_action"], &over["dedup_key"]),
        (&json!("resolve"), &firing["dedup_key"])
    );
    let post = dialect(pagerduty()).post("https://p.example/", &message("{}"), SystemTime::now());
    assert_eq!(&post.body[..], br#"{"routing_key":"R0UT1NGKEY"}"#);
}

/// The expected signatures were computed with `openssl dgst -sha256 -hmac`.
#[test]
fn robots_sign_as_their_services_ask() {
    let now = SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_000_123);
    let url = "https://oapi.dingtalk.com/robot/send?access_token=t";
    let post = dialect(dingtalk(Some("SECabc"), None)).post(url, &message("{}"), now);
    let (start, sign) = post.url.split_once("&sign=").unwrap();
    assert_eq!(start, format!("{url}&timestamp=1700000000123"));
    assert_eq!(sign, "IqXBU%2FaLfwMA3S%2FtDcfRmHx5vWHw9Y1aOgFLBr1Ti9w%3D");
    let post = dialect(feishu(Some("secret"), None)).post("https://f/", &message("{}"), now);
    let body: Value = serde_json::from_slice(&post.body).unwrap();
    assert_eq!(
        body,
        json!({ "timestamp": "1700000000", "sign": "fiWS2+gh28DOydAv7hzONH/mDn9+b1Y4Y5ivXWXy8vA=" })
    );
    let plain = dialect(feishu(None, None)).post("https://f/", &message("{}"), now);
    assert_eq!(&plain.body[..], b"{}");
}

#[test]
fn a_keyword_that_lacks_is_added() {
    let text = |kind: Kind| {
        let body = rendered(kind, IncidentState::Firing, Language::En);
        let ding = body["markdown"]["text"].as_str();
        let lark = body["card"]["elements"][0]["text"]["content"].as_str();
        ding.or(lark).unwrap().to_owned()
    };
    assert!(text(dingtalk(None, Some("告警"))).starts_with("告警 **192.0.2.10"));
    assert!(text(feishu(None, Some("告警"))).starts_with("告警 **192.0.2.10"));
    assert!(text(dingtalk(None, Some("silent"))).starts_with("**192.0.2.10"));
}

#[test]
fn hostile_names_cannot_mention_link_or_break_lines() {
    let mut update = fixture::update(1, IncidentState::Firing);
    let hostile = "a<!channel>\n## [x](http://evil) *b* `c` <at id=all></at> \"q\\ \u{202e}";
    update.summary = (hostile.to_owned(), hostile.to_owned());
    let line = |kind: Kind| {
        let body = dialect(kind).render(&update, &context(Language::En));
        let body: Value = serde_json::from_slice(&body).unwrap();
        let fields = [
            body["attachments"][0]["text"].as_str(),
            body["markdown"]["text"].as_str(),
            body["markdown"]["content"].as_str(),
            body["card"]["elements"][0]["text"]["content"].as_str(),
        ];
        let text = fields.into_iter().flatten().next().unwrap().to_owned();
        text.lines().find(|line| line.starts_with("a")).unwrap().to_owned()
    };
    let plain = "\"q\\";
    assert_eq!(
        line(Kind::Slack),
        format!(
            "a&lt;!channel&gt; ## [x](http://evil) *b* `c` &lt;at id=all&gt;&lt;/at&gt; {plain}"
        )
    );
    let wide =
        format!("a＜!channel＞ ## ［x］(http://evil) ＊b＊ 'c' ＜at id=all＞＜/at＞ {plain}");
    assert_eq!(line(dingtalk(None, None)), wide);
    assert_eq!(line(Kind::WeCom), wide);
    let lark = line(feishu(None, None));
    assert!(
        lark.starts_with("a&lt;!channel&gt; ## &#91;x&#93;(http://evil) &#42;b&#42;"),
        "{lark}"
    );
}

#[test]
fn long_texts_end_at_the_services_limit_and_at_a_letter() {
    let mut update = fixture::update(1, IncidentState::Firing);
    update.summary = ("é".repeat(40_000), "黑洞".repeat(20_000));
    let size = |kind: Kind| {
        let body = dialect(kind).render(&update, &context(Language::Zh));
        assert!(serde_json::from_slice::<Value>(&body).is_ok());
        body.len()
    };
    assert!(size(Kind::WeCom) < 4_096 + 100);
    assert!(size(dingtalk(None, Some("k"))) < 20_000);
    assert!(size(feishu(None, Some("k"))) < 20 * 1024);
    assert!(size(Kind::Slack) < 8_000);
    let body = dialect(pagerduty()).render(&update, &context(Language::Zh));
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert!(body["payload"]["summary"].as_str().unwrap().len() <= 1_024);
    assert_eq!(text::cut("aé", 2), "");
    assert_eq!(text::cut("黑洞黑洞", 9), "黑洞…");
}

#[test]
fn mail_is_one_thread_per_incident_and_survives_old_servers() {
    let kind = || Kind::Email(mailbox());
    let update = fixture::update(3, IncidentState::Firing);
    let body = dialect(kind()).render(&update, &context(Language::Zh));
    let text = String::from_utf8(body).unwrap();
    assert!(text.is_ascii() && text.lines().all(|line| line.len() <= 78), "{text}");
    assert!(!text.replace("\r\n", "").contains(['\r', '\n']));
    for header in [
        "From: reachd@example.com\r\n",
        "To: a@example.com, b@example.com\r\n",
        "Date: Thu, 1 Jan 1970 00:01:00 +0000\r\n",
        "Message-ID: <0123456789abcdef.3@example.com>\r\n",
        "References: <0123456789abcdef@example.com>\r\n",
        "Subject: =?UTF-8?B?",
    ] {
        assert!(text.contains(header), "{header} lacks in {text}");
    }
    let (_, body) = text.split_once("\r\n\r\n").unwrap();
    let decoded = base64_of(&body.replace("\r\n", ""));
    assert!(decoded.contains("无响应。\r\n") && !decoded.contains("hunter22"), "{decoded}");
}

fn base64_of(text: &str) -> String {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::STANDARD.decode(text).unwrap();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn an_own_template_speaks_and_a_broken_one_does_not_silence() {
    let text = |template: &str| {
        let dialect = Dialect::new(Kind::WeCom, Some(template)).unwrap();
        let update = fixture::update(3, IncidentState::Firing);
        let body = dialect.render(&update, &context(Language::En));
        let body: Value = serde_json::from_slice(&body).unwrap();
        body["markdown"]["content"].as_str().unwrap().to_owned()
    };
    assert_eq!(
        text("{{ subject }} {{ labels.team }} {{ causes[0].percent }}"),
        "192.0.2.10:3389 a\"b\\c d 50"
    );
    assert!(text("{{ subject | nonsense }}").starts_with("**192.0.2.10:3389: host silent**"));
    for nothing in ["", "\n \n", "{{ labels.nobody }}", "{# later #}"] {
        assert!(text(nothing).starts_with("**192.0.2.10:3389: host silent**"), "{nothing:?}");
    }
    let fault = |template: &str| {
        let dialect = Dialect::new(Kind::WeCom, Some(template)).unwrap();
        dialect.template_fault(&fixture::update(3, IncidentState::Firing), &context(Language::En))
    };
    assert_eq!(fault("{{ subject }}"), None);
    assert_eq!(fault(" ").as_deref(), Some("it makes no text"));
    assert!(fault("{{ subject | nonsense }}").unwrap().contains("nonsense"));
    let endless = "{% for a in range(10000) %}{% for b in range(10000) %}x{% endfor %}{% endfor %}";
    assert!(text(endless).starts_with("**192.0.2.10:3389: host silent**"));
    assert!(matches!(Dialect::new(Kind::Slack, Some("{% if")), Err(TemplateError::Syntax(_))));
    let long = " ".repeat(65 * 1024);
    assert!(matches!(Dialect::new(Kind::Slack, Some(&long)), Err(TemplateError::Long(_))));
}

fn check(kind: Kind, (status, body): (u16, &str), expected: &str) {
    let retry_after = (status == 429).then_some(Duration::from_secs(7));
    let answer = Answer { status, retry_after, body: body.as_bytes().to_vec() };
    let told = match dialect(kind).judge(&answer).outcome {
        Outcome::Accepted => "accepted".to_owned(),
        Outcome::Retry { after, .. } => {
            format!("retry {}", after.map_or(0, |after| after.as_secs()))
        }
        Outcome::Refused { .. } => "refused".to_owned(),
        Outcome::Gone => "gone".to_owned(),
    };
    assert_eq!(told, expected, "{status} {body}");
}

#[test]
fn statuses_decide_what_becomes_of_a_message() {
    let table = [
        (200, "accepted"),
        (204, "accepted"),
        (301, "retry 0"),
        (400, "refused"),
        (401, "refused"),
        (404, "refused"),
        (408, "retry 0"),
        (410, "gone"),
        (425, "retry 0"),
        (429, "retry 7"),
        (500, "retry 0"),
        (503, "retry 0"),
        (599, "retry 0"),
        (600, "refused"),
    ];
    for (status, expected) in table {
        check(Kind::Webhook { secret: None }, (status, ""), expected);
        check(Kind::Slack, (status, "ok"), expected);
        // What is not its own answer is somebody else's.
        let of_pagerduty = if status < 300 { "retry 0" } else { expected };
        check(pagerduty(), (status, "{}"), of_pagerduty);
        if status >= 300 {
            check(dingtalk(None, None), (status, r#"{"errcode":0}"#), expected);
        }
    }
}

#[test]
fn codes_inside_of_answers_decide_where_the_status_says_nothing() {
    check(pagerduty(), (202, r#"{"status":"success"}"#), "accepted");
    let table: [(Kind, &str, &str); 22] = [
        (Kind::Slack, "ok", "accepted"),
        (Kind::Slack, "ok\n", "accepted"),
        (Kind::Slack, r#"{"success":true}"#, "accepted"),
        (Kind::Slack, "<html>Sign in</html>", "retry 0"),
        (Kind::Slack, "", "retry 0"),
        (dingtalk(None, None), r#"{"errcode":0,"errmsg":"ok"}"#, "accepted"),
        (dingtalk(None, None), r#"{"errcode":130101,"errmsg":"send too fast"}"#, "retry 600"),
        (dingtalk(None, None), r#"{"errcode":410100,"errmsg":"too fast"}"#, "retry 600"),
        (dingtalk(None, None), r#"{"errcode":-1,"errmsg":"busy"}"#, "retry 0"),
        (dingtalk(None, None), r#"{"errcode":310000,"errmsg":"sign not match"}"#, "refused"),
        (dingtalk(None, None), "<html>Sign in</html>", "retry 0"),
        (dingtalk(None, None), "{}", "retry 0"),
        (feishu(None, None), r#"{"code":0,"msg":"success"}"#, "accepted"),
        (feishu(None, None), r#"{"StatusCode":0,"StatusMessage":"success"}"#, "accepted"),
        (feishu(None, None), r#"{"code":19021,"msg":"sign match fail"}"#, "refused"),
        (feishu(None, None), r#"{"code":11232,"msg":"frequency limited"}"#, "retry 60"),
        (feishu(None, None), r#"{"code":9499,"msg":"too many request"}"#, "retry 60"),
        (feishu(None, None), "", "retry 0"),
        (Kind::WeCom, r#"{"errcode":0,"errmsg":"ok"}"#, "accepted"),
        (Kind::WeCom, r#"{"errcode":45009,"errmsg":"api freq out of limit"}"#, "retry 60"),
        (Kind::WeCom, r#"{"errcode":93000,"errmsg":"invalid webhook url"}"#, "refused"),
        (Kind::WeCom, r#"{"errcode":-1}"#, "retry 0"),
    ];
    for (kind, body, expected) in table {
        check(kind, (200, body), expected);
    }
}

#[test]
fn reasons_are_one_short_line() {
    let body = format!(r#"{{"errcode":310000,"errmsg":"a\nb{}"}}"#, "x".repeat(5_000));
    let answer = Answer { status: 200, retry_after: None, body: body.into_bytes() };
    let judged = dialect(Kind::WeCom).judge(&answer);
    assert_eq!(judged.code.as_deref(), Some("310000"));
    let Outcome::Refused { why } = judged.outcome else { panic!("not refused") };
    assert!(why.starts_with("answered 200 with code 310000: a bxx") && why.len() < 300, "{why}");
}

#[test]
fn secrets_are_not_shown() {
    let kinds = [pagerduty(), dingtalk(Some("SECabc"), None), Kind::Email(mailbox())];
    let shown = format!("{kinds:?}");
    for secret in ["R0UT1NGKEY", "SECabc", "hunter22"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}
