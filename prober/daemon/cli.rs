//! The command line: what can be asked, word for word.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use reachd_core::wording::{Text, Wording};

/// Says whether hosts can be reached and, when not, why.
#[derive(Debug, Parser)]
#[command(name = "reachd", version, about, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Watch targets for ever, export metrics, send alerts.
    Run(Run),
    /// Look once, name the cause, and exit.
    Check(Check),
    /// Show what a running daemon knows.
    Status(Status),
    /// Show the incidents that the store remembers.
    Incidents(Incidents),
    /// Show how a target fared: changes of its verdict, and hour by hour.
    History(History),
    /// Save the packets that prove an incident, or say where its evidence lies.
    Evidence(Evidence),
    /// Tell nobody of incidents with some labels, for a time.
    #[command(subcommand)]
    Silence(Silence),
    /// Show what receivers are owed, and settle what was given up.
    #[command(subcommand)]
    Outbox(Outbox),
    /// Check, describe or begin a configuration file.
    #[command(subcommand)]
    Config(Config),
    /// Say what a class, cause or note means and what to do.
    Explain(Explain),
    /// Say what this machine lets reachd do, and how to give it the rest.
    Doctor(Doctor),
    /// Try out who is told of incidents.
    #[command(subcommand)]
    Notify(Notify),
}

/// `reachd notify`.
#[derive(Debug, Subcommand)]
pub enum Notify {
    /// Send a sample, marked as a test, that fires and is over; print what came back.
    Test(NotifyTest),
}

/// `reachd notify test`.
#[derive(Debug, Args)]
pub struct NotifyTest {
    /// Name of the `[[receiver]]`.
    pub receiver: String,
    /// Configuration file; /etc/reachd/reachd.toml unless given.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print one JSON document per attempt.
    #[arg(long)]
    pub json: bool,
}

/// `reachd run`.
#[derive(Debug, Args)]
pub struct Run {
    /// Configuration file; without one an embedded plan watches the targets given here.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// A target to watch, `HOST[:PORT]` or `[ADDRESS]:PORT`; may be repeated.
    #[arg(long = "target", value_name = "HOST[:PORT]")]
    pub targets: Vec<String>,
    /// Post alerts to this URL (Alertmanager's webhook format).
    #[arg(long, value_name = "URL")]
    pub webhook: Option<String>,
    /// Serve metrics and pages here instead of 127.0.0.1:9639.
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<SocketAddr>,
}

/// `reachd check`.
#[derive(Debug, Args)]
pub struct Check {
    /// What to look at, `HOST[:PORT]` or `[ADDRESS]:PORT`.
    #[arg(required = true, value_name = "HOST[:PORT]")]
    pub targets: Vec<String>,
    /// Print one JSON document per target instead of a report.
    #[arg(long)]
    pub json: bool,
    /// What is spoken on the port.
    #[arg(long, value_enum)]
    pub service: Option<ServiceName>,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment would become the help of the whole group")]
    pub from: From,
    /// Take vantages, `[defaults]` and what is said of the target from this configuration file.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Give up after this long, for example 10s; from 75s on a partial loss is asked at two rates.
    #[arg(long, value_name = "DUR", value_parser = duration)]
    pub timeout: Option<Duration>,
    /// Write the packets seen to this file (pcapng).
    #[arg(long, value_name = "FILE")]
    pub pcap: Option<PathBuf>,
    /// Language of the report; by default the locale's.
    #[arg(long, value_enum)]
    pub lang: Option<Lang>,
    /// Use ASCII marks only.
    #[arg(long)]
    pub ascii: bool,
    /// IPv4 only.
    #[arg(short = '4', conflicts_with = "six")]
    pub four: bool,
    /// IPv6 only.
    #[arg(short = '6')]
    pub six: bool,
}

/// From where a check probes.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub struct From {
    /// Probe from this source address.
    #[arg(long, value_name = "ADDR")]
    pub source: Option<IpAddr>,
    /// Probe through this interface.
    #[arg(long, value_name = "IF")]
    pub interface: Option<String>,
    /// Probe from this network namespace.
    #[arg(long, value_name = "NAME")]
    pub netns: Option<String>,
}

/// `reachd status`.
#[derive(Debug, Args)]
pub struct Status {
    /// Only this target.
    pub target: Option<String>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    /// Where the daemon is.
    #[command(flatten)]
    pub door: Door,
}

/// How a running daemon is asked.
#[derive(Debug, Args)]
pub struct Door {
    /// Where the daemon serves HTTP.
    #[arg(long, value_name = "ADDR", default_value_t = DOOR)]
    pub address: SocketAddr,
    /// File with `name:password` in one line, where `[listen] web_config` asks for one.
    #[arg(long, value_name = "FILE")]
    pub auth_file: Option<PathBuf>,
}

/// Where a daemon serves HTTP unless it is told otherwise.
pub const DOOR: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9639);

/// `reachd silence`.
#[derive(Debug, Subcommand)]
pub enum Silence {
    /// Show silences, those that ended within five days among them.
    List(SilenceList),
    /// Be silent; prints the name of the silence.
    Add(SilenceAdd),
    /// End a silence; what is still broken is told.
    Expire(SilenceExpire),
}

/// `reachd silence list`.
#[derive(Debug, Args)]
pub struct SilenceList {
    /// Print one JSON document per line.
    #[arg(long)]
    pub json: bool,
    /// Where the daemon is.
    #[command(flatten)]
    pub door: Door,
}

/// `reachd silence add`.
#[derive(Debug, Args)]
pub struct SilenceAdd {
    /// A label of the incidents, `label=value` or `label!=value`; all that are given must hold.
    #[arg(long = "match", value_name = "LABEL=VALUE", required = true)]
    pub matchers: Vec<String>,
    /// How long, `30m` or `8h`.
    #[arg(long = "for", value_name = "DUR", value_parser = duration)]
    pub lasts: Duration,
    /// Who asks.
    #[arg(long, value_name = "NAME", default_value = "")]
    pub by: String,
    /// Why.
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub comment: String,
    /// Where the daemon is.
    #[command(flatten)]
    pub door: Door,
}

/// `reachd silence expire`.
#[derive(Debug, Args)]
pub struct SilenceExpire {
    /// Its name, as `reachd silence list` has it.
    pub id: String,
    /// Where the daemon is.
    #[command(flatten)]
    pub door: Door,
}

/// `reachd history`.
#[derive(Debug, Args)]
pub struct History {
    /// Name of the target.
    pub target: String,
    /// As JSON.
    #[arg(long)]
    pub json: bool,
    /// Where the store is, with the history beside it.
    #[command(flatten)]
    pub place: Place,
}

/// `reachd evidence`.
#[derive(Debug, Args)]
pub struct Evidence {
    /// The incident, by its fingerprint or how that begins.
    pub id: String,
    /// Where to write its packets, as pcapng. Without, the folders with its evidence are printed.
    #[arg(long, value_name = "FILE")]
    pub pcap: Option<PathBuf>,
    /// Where the store is, with the evidence beside it.
    #[command(flatten)]
    pub place: Place,
    /// Ask the daemon that serves HTTP here instead.
    #[arg(long, value_name = "ADDR", conflicts_with_all = ["config", "store"], requires = "pcap")]
    pub address: Option<SocketAddr>,
    /// File with `name:password` in one line, where `[listen] web_config` asks for one.
    #[arg(long, value_name = "FILE", requires = "pcap")]
    pub auth_file: Option<PathBuf>,
}

/// Where the store lies; a running daemon does not mind.
#[derive(Debug, Args)]
pub struct Place {
    /// The configuration file that says where the store is.
    #[arg(long, value_name = "FILE", conflicts_with = "store")]
    pub config: Option<PathBuf>,
    /// The store's folder.
    #[arg(long, value_name = "FOLDER")]
    pub store: Option<PathBuf>,
}

/// `reachd incidents`.
#[derive(Debug, Args)]
pub struct Incidents {
    /// Only this one, with every step and message; the beginning of its fingerprint is enough.
    pub id: Option<String>,
    /// Those that are over as well.
    #[arg(long)]
    pub all: bool,
    /// Print one JSON document per line.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment would become the help of the whole group")]
    pub place: Place,
}

/// `reachd outbox`.
#[derive(Debug, Subcommand)]
pub enum Outbox {
    /// Show messages to receivers, the oldest first.
    List(OutboxList),
    /// Make dead letters owed again; a running daemon notices within seconds. One whose incident
    /// has a newer message that the receiver took stays as it is.
    Retry(OutboxPick),
    /// Remove dead letters.
    Purge(OutboxPick),
}

/// `reachd outbox list`.
#[derive(Debug, Args)]
pub struct OutboxList {
    /// Only those in this state.
    #[arg(long, value_enum)]
    pub state: Option<StateName>,
    /// Only those to this receiver.
    #[arg(long, value_name = "NAME")]
    pub receiver: Option<String>,
    /// Print one JSON document per line.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment would become the help of the whole group")]
    pub place: Place,
}

/// `reachd outbox retry` and `reachd outbox purge`.
#[derive(Debug, Args)]
pub struct OutboxPick {
    /// Names of messages, as the list has them.
    #[arg(value_name = "MESSAGE", required_unless_present = "all")]
    pub messages: Vec<String>,
    /// Every dead letter.
    #[arg(long, conflicts_with = "messages")]
    pub all: bool,
    /// Print a JSON document.
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    #[expect(missing_docs, reason = "a doc comment would become the help of the whole group")]
    pub place: Place,
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StateName {
    /// Still owed.
    Pending,
    /// The receiver took it.
    Delivered,
    /// Given up.
    Dead,
    /// A newer message of the incident says all it said.
    Superseded,
}

/// `reachd config`.
#[derive(Debug, Subcommand)]
pub enum Config {
    /// Say everything that is wrong with a file, or what its plan costs.
    Check {
        /// The configuration file.
        file: PathBuf,
    },
    /// Print the JSON Schema of the configuration file.
    Schema,
    /// Print a commented file to start from.
    Init,
}

/// `reachd explain`.
#[derive(Debug, Args)]
pub struct Explain {
    /// A class, cause or note, for example security_group.
    pub name: Option<String>,
    /// Language.
    #[arg(long, value_enum)]
    pub lang: Option<Lang>,
}

/// `reachd doctor`.
#[derive(Debug, Args)]
pub struct Doctor {
    /// Look also at what this configuration file needs.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// What is spoken on a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ServiceName {
    /// Remote Desktop.
    Rdp,
    /// Secure Shell.
    Ssh,
    /// Any TCP service.
    Tcp,
    /// Echo only.
    Ping,
}

/// A language of the product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Lang {
    /// English.
    En,
    /// Chinese.
    Zh,
}

impl Lang {
    /// The given language, else that of the locale.
    pub fn choose(given: Option<Self>) -> Self {
        given.unwrap_or_else(|| {
            let names = ["LC_ALL", "LC_MESSAGES", "LANG"];
            let set = names.iter().filter_map(|name| std::env::var(name).ok());
            let locale = set.into_iter().find(|value| !value.is_empty()).unwrap_or_default();
            if locale.starts_with("zh") { Self::Zh } else { Self::En }
        })
    }

    /// The text in this language.
    pub const fn of(self, text: Text) -> &'static str {
        match self {
            Self::En => text.en,
            Self::Zh => text.zh,
        }
    }

    /// The words in this language.
    pub fn words(self, words: &Wording) -> &str {
        match self {
            Self::En => &words.en,
            Self::Zh => &words.zh,
        }
    }
}

/// Reads `300ms`, `10s`, `5m`, `2h` or `7d`.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 =
        number.parse().map_err(|_| format!("{text} is not a duration; write 300ms, 10s or 5m"))?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "" => return Err(format!("{text} has no unit; write {number}s, {number}ms or {number}m")),
        _ => return Err(format!("{text} is not a duration; write 300ms, 10s, 5m, 2h or 7d")),
    };
    match number.saturating_mul(millis) {
        0 => Err("a duration must be longer than nothing; write 300ms, 10s or 5m".to_owned()),
        millis => Ok(Duration::from_millis(millis)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(duration("300ms"), Ok(Duration::from_millis(300)));
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(duration("7d"), Ok(Duration::from_secs(604_800)));
        assert!(!duration("3w").unwrap_err().contains("no unit"));
        assert!(duration("10").unwrap_err().contains("10s"));
        assert!(duration("soon").is_err() && duration("0s").is_err());
    }
}
