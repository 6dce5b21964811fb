//! What a checked configuration says.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use reachd_core::plan::Plan;
use reachd_core::target::{Severity, Target, TargetName};
use reachd_core::vantage::{DEFAULT_NAME, Vantage};

use crate::assemble::metrics;
use crate::context::Context;
use crate::layer::Stack;
use crate::maintenance::Maintenance;
use crate::problem::{Fault, Problem};
use crate::target::settle;
use crate::value;

/// Where metrics and pages are served when nothing else is said.
pub const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9639);

/// Number of targets above which metrics are compact unless the file says otherwise.
pub const COMPACT_ABOVE: usize = 2_000;

/// The warning of a file that gives nothing to watch.
pub(crate) const NO_TARGETS: &str = "there are no targets";

/// A checked configuration.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What the monitor does.
    pub plan: Plan,
    /// Where HTTP is served.
    pub listen: Listen,
    /// Folder of the durable state; `None` means `$STATE_DIRECTORY`, else the XDG state folder.
    pub store: Option<PathBuf>,
    /// How much the metrics say of each target.
    pub metrics: MetricsDetail,
    /// Networks whose addresses `/probe` may probe on demand; empty means none.
    pub probe_api_allow: Vec<Network>,
    /// How names are resolved.
    pub resolver: ResolverSettings,
    /// Who is told that we live.
    pub heartbeat: Option<Heartbeat>,
    /// How much evidence is kept.
    pub evidence: EvidenceSettings,
    /// Who is told of incidents.
    pub receivers: Vec<Receiver>,
    /// When incidents are not told.
    pub maintenance: Vec<Maintenance>,
    /// Files that hold further targets, and what was last read from each; watch their paths.
    pub target_files: Vec<TargetFile>,
    /// Target files that could not be taken as they are; the rest of the settings is good.
    pub file_problems: Vec<FileProblem>,
    /// Keys that were accepted and checked, but do nothing yet.
    pub later: Vec<Later>,
    /// What is allowed but probably not meant.
    pub warnings: Vec<Problem>,
    /// What is needed to read the target files again.
    pub(crate) context: Arc<Context>,
}

impl Settings {
    /// A target as `[defaults]` has it: what the file says of all is said of it too.
    pub fn with_defaults(&self, target: Target) -> Target {
        let mut target = target;
        settle(&mut target, &Stack::one(&self.context.defaults));
        target
    }

    /// Adds a target from a command line, as `[defaults]` has it; it stays over later readings of
    /// the target files.
    pub fn add_target(&mut self, target: Target) -> Result<(), Fault> {
        let target = self.with_defaults(target);
        if self.plan.targets.iter().any(|known| known.name == target.name) {
            let reason = format!("there is already a target {}", target.name);
            return Err(Fault::new(reason, "leave one of the two out"));
        }
        let context = Arc::make_mut(&mut self.context);
        context.targets.push(target.clone());
        self.plan.targets.push(target);
        self.metrics = metrics(context, self.plan.targets.len());
        self.warnings.retain(|warning| warning.reason != NO_TARGETS);
        Ok(())
    }

    /// The settings of an empty file: no targets, one unbound vantage.
    pub(crate) fn empty() -> Self {
        let plan = Plan { vantages: vec![Vantage::unbound(DEFAULT_NAME)], ..Plan::default() };
        Self {
            plan,
            listen: Listen { address: DEFAULT_LISTEN, web_config: None },
            store: None,
            metrics: MetricsDetail::Full,
            probe_api_allow: Vec::new(),
            resolver: ResolverSettings::default(),
            heartbeat: None,
            evidence: EvidenceSettings::default(),
            receivers: Vec::new(),
            maintenance: Vec::new(),
            target_files: Vec::new(),
            file_problems: Vec::new(),
            later: Vec::new(),
            warnings: Vec::new(),
            context: Arc::new(Context::default()),
        }
    }
}

/// Where HTTP is served, and how it is protected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// Address and port.
    pub address: SocketAddr,
    /// An exporter-toolkit file with TLS and basic auth.
    pub web_config: Option<PathBuf>,
}

/// How much the metrics say of each target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricsDetail {
    /// Every family, with a round-trip-time histogram per target.
    Full,
    /// No histograms per target.
    Compact,
}

/// An address and how many of its leading bits count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Network {
    /// The network's first address.
    pub address: IpAddr,
    /// Number of leading bits that count, at most 32 or 128.
    pub prefix: u8,
}

impl Network {
    /// Whether the address lies in the network. An IPv4-mapped IPv6 address counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                let shift = 32 - u32::from(self.prefix.min(32));
                let bits = u32::from(network) ^ u32::from(address);
                bits.checked_shr(shift).unwrap_or(0) == 0
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => {
                let shift = 128 - u32::from(self.prefix.min(128));
                let bits = u128::from(network) ^ u128::from(address);
                bits.checked_shr(shift).unwrap_or(0) == 0
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// How names are resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolverSettings {
    /// Name servers; empty means the system's.
    pub servers: Vec<SocketAddr>,
    /// How long one name server is waited for.
    pub timeout: Duration,
    /// An answer is kept at least this long.
    pub min_ttl: Duration,
    /// An answer is kept at most this long.
    pub max_ttl: Duration,
}

impl Default for ResolverSettings {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            timeout: Duration::from_secs(2),
            min_ttl: Duration::from_secs(5),
            max_ttl: Duration::from_secs(3_600),
        }
    }
}

/// A sign of life for somebody else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heartbeat {
    /// Where it goes; never [`Endpoint::None`].
    pub endpoint: Endpoint,
    /// How often.
    pub interval: Duration,
}

/// How much evidence is kept on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EvidenceSettings {
    /// Bytes of all evidence files together.
    pub max_bytes: u64,
    /// Age at which evidence is deleted.
    pub max_age: Duration,
}

impl Default for EvidenceSettings {
    fn default() -> Self {
        Self { max_bytes: 1 << 30, max_age: Duration::from_secs(14 * 86_400) }
    }
}

/// Somebody who is told of incidents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receiver {
    /// Unique name and metric label.
    pub name: String,
    /// What language of machines it speaks.
    pub kind: ReceiverKind,
    /// Where alerts are sent.
    pub endpoint: Endpoint,
    /// File with the secret that signs what is sent, or lets it in.
    pub secret_file: Option<PathBuf>,
    /// Only alerts whose labels satisfy all of these are sent; empty means all alerts.
    pub matchers: Vec<Matcher>,
    /// Only alerts at least this severe are sent.
    pub min_severity: Severity,
    /// Language of the texts.
    pub lang: Lang,
    /// Proxy through which it is reached.
    pub proxy: Option<Url>,
    /// File with the certificate authorities it is checked against, besides the system's.
    pub ca_file: Option<PathBuf>,
    /// Which news of an incident is sent.
    pub send: Send,
    /// Every instance of an Alertmanager cluster.
    pub urls: Vec<Url>,
    /// A word that every message must have.
    pub keyword: Option<String>,
    /// File with a template in place of the built-in text.
    pub template_file: Option<PathBuf>,
    /// From whom and to whom mail goes; for mail alone.
    pub mail: Option<Mail>,
    /// A program and its arguments; empty but for commands.
    pub command: Vec<String>,
    /// The receiver that is told of what this one was not told.
    pub dead_letter_to: Option<String>,
    /// What is sent of messages that have gathered while it took nothing.
    pub backlog: Backlog,
}

/// What a receiver is sent of the messages that have gathered during its outage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Backlog {
    /// Every one.
    All,
    /// Of each incident the newest.
    Coalesce,
    /// One message for all incidents that opened and were over meanwhile; of the others the newest.
    Digest,
}

/// From whom and to whom mail goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// The sender's address.
    pub from: String,
    /// The recipients' addresses, at least one.
    pub to: Vec<String>,
    /// Who signs in, and the file with the password.
    pub login: Option<(String, PathBuf)>,
    /// Whether the way must be encrypted.
    pub tls: MailTls,
}

/// Whether mail must be encrypted on its way to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MailTls {
    /// It must.
    #[default]
    Required,
    /// If the server offers it.
    IfOffered,
    /// It is not.
    Off,
}

impl Receiver {
    /// A webhook from a command line, with every setting at its default.
    pub fn webhook(name: &str, url: &str) -> Result<Self, Fault> {
        value::name(name)?;
        value::url(url, &["https", "http"])?;
        Ok(Self {
            name: name.to_owned(),
            kind: ReceiverKind::Webhook,
            endpoint: Endpoint::Url(Url::new(url.to_owned())),
            secret_file: None,
            matchers: Vec::new(),
            min_severity: Severity::Info,
            lang: Lang::default(),
            proxy: None,
            ca_file: None,
            send: Send::default(),
            urls: Vec::new(),
            keyword: None,
            template_file: None,
            mail: None,
            command: Vec::new(),
            dead_letter_to: None,
            backlog: Backlog::All,
        })
    }
}

/// What language of machines a receiver speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReceiverKind {
    /// Alertmanager-shaped JSON by HTTP POST, signed.
    Webhook,
    /// Alertmanager's own API.
    Alertmanager,
    /// Slack incoming webhook.
    Slack,
    /// PagerDuty events.
    PagerDuty,
    /// DingTalk robot.
    DingTalk,
    /// Feishu robot.
    Feishu,
    /// WeCom robot.
    WeCom,
    /// Mail.
    Email,
    /// A local program.
    Command,
}

impl ReceiverKind {
    /// Every kind, in the order of the documentation.
    pub const ALL: [Self; 9] = [
        Self::Webhook,
        Self::Alertmanager,
        Self::Slack,
        Self::PagerDuty,
        Self::DingTalk,
        Self::Feishu,
        Self::WeCom,
        Self::Email,
        Self::Command,
    ];

    /// The word used in the configuration.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Webhook => "webhook",
            Self::Alertmanager => "alertmanager",
            Self::Slack => "slack",
            Self::PagerDuty => "pagerduty",
            Self::DingTalk => "dingtalk",
            Self::Feishu => "feishu",
            Self::WeCom => "wecom",
            Self::Email => "email",
            Self::Command => "command",
        }
    }
}

/// Where alerts are sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// Nothing is said; only kinds that need no URL allow it.
    None,
    /// The URL itself.
    Url(Url),
    /// A file whose first line is the URL, read when the receiver starts.
    File(PathBuf),
}

/// A checked URL. It often holds a token or a password, so it is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Url(String);

impl Url {
    pub(crate) fn new(text: String) -> Self {
        Self(text)
    }

    /// The URL as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// Language of texts for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lang {
    /// English.
    #[default]
    En,
    /// Chinese.
    Zh,
}

/// Which news of an incident a receiver gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Send {
    /// Opened and resolved.
    #[default]
    Transitions,
    /// Every update in between too.
    Updates,
}

/// A condition on one label of an alert.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Matcher {
    /// The label's name.
    pub label: String,
    /// Whether the value must or must not be the label's.
    pub relation: Relation,
    /// The value it is compared with; an absent label has the empty value.
    pub value: String,
}

/// Whether a label must or must not have a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Relation {
    /// It must.
    Is,
    /// It must not.
    IsNot,
}

impl Matcher {
    /// Whether an alert with these labels satisfies the condition.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let equal = labels.get(&self.label).map_or("", String::as_str) == self.value;
        match self.relation {
            Relation::Is => equal,
            Relation::IsNot => !equal,
        }
    }
}

/// A file of targets, and what was last read from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetFile {
    /// The file, made absolute by the configuration's folder where it was relative.
    pub path: PathBuf,
    /// The group whose settings its targets take.
    pub group: Option<String>,
    /// The targets it gave when it was last good.
    pub targets: Vec<TargetName>,
}

/// A target file that could not be taken as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileProblem {
    /// The file.
    pub path: PathBuf,
    /// How many targets of its last good state are kept.
    pub kept: usize,
    /// What is wrong with it.
    pub problems: Vec<Problem>,
}

/// A key that was accepted and checked, but does nothing yet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Later {
    /// The file.
    pub file: String,
    /// The line, counted from 1.
    pub line: u32,
    /// The key as a path.
    pub key: String,
    /// What happens now.
    pub now: String,
}

/// `reachd.toml:7: receiver[1].proxy has no effect yet: ...`.
impl fmt::Display for Later {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {} has no effect yet: {}", self.file, self.line, self.key, self.now)
    }
}
