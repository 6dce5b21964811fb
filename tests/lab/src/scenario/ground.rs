//! The program's configuration for a scenario.

use std::fmt::Write as _;

use anyhow::{Context, Result};

use super::{Mode, RDP, Scenario, Stage, Topology};
use crate::node::Node;

/// Where a daemon's receiver listens, in the node the program runs in.
pub(super) const RECEIVER: u16 = 8081;
/// What the judged target is called.
pub(super) const NAME: &str = "t";

/// Gives the node the program runs in: that of the first vantage.
pub(super) fn home<'a>(stage: &Stage<'a>, scenario: &Scenario) -> Result<&'a Node> {
    let first = scenario.vantages.first().context("a scenario has a vantage")?;
    stage.node(first)
}

/// Writes the configuration.
pub(super) fn configuration(stage: &Stage<'_>, scenario: &Scenario, mode: Mode) -> Result<String> {
    let mut text = String::new();
    if mode == Mode::Daemon {
        // Ten times the default's pace, so that a run takes a minute; a large fleet at twice it.
        let (interval, connects) =
            if stage.fleet().is_empty() { ("1s", "10s") } else { ("5s", "60s") };
        let _ = write!(
            text,
            "[defaults]\necho_interval = \"{interval}\"\nsyn_interval = \"{interval}\"\n\
             connect_interval = \"{connects}\"\n\
             [budget]\nconnects_per_minute = 60\nconnects_per_hour = 3600\n\
             [[receiver]]\nname = \"ops\"\nurl = \"http://127.0.0.1:{RECEIVER}/\"\n"
        );
    }
    let with_second = scenario.vantages.iter().any(|name| name == "v1b");
    for name in &scenario.vantages {
        let _ = writeln!(text, "[[vantage]]\nname = \"{name}\"");
        let is_home = scenario.vantages.first() == Some(name);
        if name == "v1b" || is_home && with_second {
            let _ = writeln!(text, "source = \"{}\"", stage.addresses(name)?.v4);
        } else if !is_home {
            let _ = writeln!(text, "netns = \"{name}\"");
        }
        if name == "v3" && scenario.topology == Topology::Vpc {
            let _ = writeln!(text, "role = \"inside\"");
        }
    }
    target(&mut text, NAME, stage.addresses(&scenario.host)?.v4.to_string().as_str());
    text += &toml::to_string(&scenario.target).context("write the target's keys")?;
    if mode == Mode::Daemon {
        for name in &scenario.others {
            target(&mut text, name, &stage.addresses(name)?.v4.to_string());
        }
        for name in &scenario.canaries {
            let host = stage.addresses(name)?.v4;
            let _ = writeln!(text, "[[canary]]\nhost = \"{host}\"\nport = {RDP}");
        }
        for at in stage.fleet() {
            target(&mut text, &at.v4.to_string(), &at.v4.to_string());
        }
    }
    Ok(text)
}

fn target(text: &mut String, name: &str, host: &str) {
    let _ = writeln!(text, "[[target]]\nname = \"{name}\"\nhost = \"{host}\"\nport = {RDP}");
}
