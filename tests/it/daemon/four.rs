//! The four named failures at once, from three vantages, among twenty targets: each is named,
//! told and taken back in time, and nothing is said of the sixteen others.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use reachd_lab::server::{self, Webhook};
use reachd_lab::{Fault, Lab, Match, inside_within, test_name};

use super::fleet::{DOOMED, Fleet};
use super::harness::{Daemon, Ground, lint, record, until};
use super::scraper::Scraper;
use super::told::{one_pair_each, told};

/// DESIGN section 2.
const FAULT_TO_CLASS: Duration = Duration::from_secs(30);
const FAULT_TO_FIRING: Duration = Duration::from_secs(60);
const HEAL_TO_CLASS: Duration = Duration::from_secs(20);
const HEAL_TO_RESOLVED: Duration = Duration::from_secs(60);
/// A loss is suspected at the first probe it takes. Three vantages send six in ten seconds; all of
/// the first eight get through half a loss once in 256 runs, and through 30 % once in 17.
const LOSS: f64 = 50.0;
/// Until every target was surveyed from everywhere.
const FIRST_VERDICTS: Duration = Duration::from_secs(45);
/// The longest pause of a receiver's queue between two attempts.
const RETRY: Duration = Duration::from_secs(70);

struct Receivers {
    ops: Webhook,
    flaky: Webhook,
    _hung: server::TcpServer,
}

impl Receivers {
    fn start(fleet: &Fleet) -> Result<Self> {
        let flaky = server::webhook(&fleet.monitor, 8082)?;
        flaky.set_status(500);
        let ops = server::webhook(&fleet.monitor, 8081)?;
        Ok(Self { ops, flaky, _hung: server::silent(&fleet.monitor, 8083)? })
    }

    fn configuration() -> String {
        let one = |(name, port)| {
            format!("[[receiver]]\nname = \"{name}\"\nurl = \"http://127.0.0.1:{port}/{name}\"\n")
        };
        [("ops", 8081), ("flaky", 8082), ("hung", 8083)].into_iter().map(one).collect()
    }
}

/// Watches classes over Prometheus and messages at the receiver, and notes when each came.
struct Watch<'a> {
    scraper: &'a Scraper,
    ops: &'a Webhook,
    since: Instant,
    seen: BTreeMap<String, Duration>,
}

impl Watch<'_> {
    /// Waits until every target in `wanted` has its class and its message.
    fn until_all(&mut self, wanted: &[(&str, &str)], status: &str) -> Result<()> {
        let calm = Fleet::calm_names();
        until(&format!("all four are {status}"), FAULT_TO_FIRING + RETRY, || {
            let classes: BTreeMap<_, _> = self.scraper.classes()?.into_iter().collect();
            for name in &calm {
                let class = classes.get(name).map_or("missing", String::as_str);
                ensure!(class == "reachable", "{name} is well, and called {class}");
            }
            let told = told(self.ops)?;
            for (target, class) in wanted {
                if classes.get(*target).is_some_and(|now| now == class) {
                    self.note(target, "class");
                }
                if told.iter().any(|told| told.is(status, target)) {
                    self.note(target, status);
                }
            }
            Ok((self.seen.len() == 2 * wanted.len()).then_some(()))
        })
        .with_context(|| format!("seen so far: {:#?}", self.seen))
    }

    fn note(&mut self, target: &str, what: &str) {
        let after = self.since.elapsed();
        self.seen.entry(format!("{target} {what}")).or_insert(after);
    }

    /// Fails when something came too late.
    fn judge(self, title: &str, class: Duration, message: Duration) -> Result<()> {
        for (what, after) in &self.seen {
            record(&format!("four: {title} to {what}: {:.1} s", after.as_secs_f64()));
        }
        for (what, after) in &self.seen {
            let limit = if what.ends_with(" class") { class } else { message };
            ensure!(*after <= limit, "{title} to {what} took {after:?}: {:#?}", self.seen);
        }
        Ok(())
    }
}

#[test]
fn four_failures_are_named_told_and_taken_back_in_time() {
    inside_within(Duration::from_secs(280), test_name!(), |lab| {
        let mut fleet = Fleet::build(lab)?;
        let receivers = Receivers::start(&fleet)?;
        let daemon = start(&fleet)?;
        let scraper = Scraper::start(&fleet.monitor)?;
        let sent_before = probes_of_the_calm(&daemon)?;

        let faults = break_all(lab, &mut fleet)?;
        let begun = Instant::now();
        let watch =
            |since| Watch { scraper: &scraper, ops: &receivers.ops, since, seen: BTreeMap::new() };
        let mut breaking = watch(begun);
        breaking.until_all(&DOOMED.map(|(name, _)| (name, name)), "firing")?;
        breaking.judge("fault", FAULT_TO_CLASS, FAULT_TO_FIRING)?;

        let again = change_its_mind(&daemon, &mut fleet, &receivers, faults)?;
        heal_all(&mut fleet, again)?;
        let mut healing = watch(Instant::now());
        healing.until_all(&DOOMED.map(|(name, _)| (name, "reachable")), "resolved")?;
        healing.judge("heal", HEAL_TO_CLASS, HEAL_TO_RESOLVED)?;

        let names = DOOMED.map(|(name, _)| name);
        receivers.flaky.wait_for(8, RETRY)?;
        one_pair_each(&receivers.ops, &names)?;
        one_pair_each(&receivers.flaky, &names)?;
        for told in told(&receivers.ops)? {
            ensure!(
                told.label("class") == told.label("target"),
                "the class is not frozen: {told:?}"
            );
        }
        went_on_probing(&daemon, sent_before, begun.elapsed())?;
        lint(&daemon.metrics()?.text)
    });
}

fn start(fleet: &Fleet) -> Result<Daemon> {
    let text = format!(
        "target_files = [\"calm.json\"]\n{}{}{}",
        fleet.vantages(),
        Fleet::doomed(),
        Receivers::configuration()
    );
    let ground = Ground::new(&fleet.monitor, &text)?;
    ground.write("calm.json", &Fleet::calm())?;
    let daemon = ground.start()?;
    let page = daemon.until_page("all are well", FIRST_VERDICTS, |page| {
        page.in_class("reachable") == 20 && page.sum("reachd_vantage_healthy", &[]) == 3.0
    })?;
    record(&format!(
        "four: first verdicts of 20 targets: {:.1} s",
        daemon.begun.elapsed().as_secs_f64()
    ));
    ensure!(page.count("reachd_vantage_info", &[("mode", "raw")]) == 3, "a vantage is not raw");
    lint(&page.text)?;
    Ok(daemon)
}

/// Breaks each in its own way at the same time.
fn break_all(lab: &Lab, fleet: &mut Fleet) -> Result<[Fault; 3]> {
    let filter = Match::tcp(3389).to(Fleet::at(12));
    let faults = [
        lab.blackhole_route(&fleet.core, Fleet::at(11))?,
        lab.bridge_drop(&fleet.switch, &filter)?,
        lab.loss(&fleet.gateway, LOSS, &Match::all().to(Fleet::at(14)))?,
    ];
    fleet.stop_rdp(3);
    Ok(faults)
}

/// The filter goes and the service behind it is gone as well: the same incident, another class.
/// Meanwhile the receiver in trouble recovers.
fn change_its_mind(
    daemon: &Daemon,
    fleet: &mut Fleet,
    receivers: &Receivers,
    faults: [Fault; 3],
) -> Result<[Fault; 2]> {
    let refused = receivers.flaky.deliveries();
    ensure!(refused.len() >= 4 && refused.iter().all(|one| one.status == 500), "{refused:#?}");
    receivers.flaky.set_status(200);
    let [hole, filter, loss] = faults;
    fleet.stop_rdp(2);
    filter.heal()?;
    let begun = Instant::now();
    daemon.until_page("the filtered port is closed", FAULT_TO_CLASS, |page| {
        page.class("security_group").as_deref() == Some("port_closed")
    })?;
    record(&format!("four: another class after {:.1} s", begun.elapsed().as_secs_f64()));
    receivers.flaky.wait_for(4, RETRY)?;
    let incidents = daemon.json("/api/v1/incidents")?;
    let incidents = incidents["incidents"].as_array().context("incidents")?.clone();
    ensure!(incidents.len() == 4, "{} incidents: {incidents:#?}", incidents.len());
    let changed = incidents.iter().find(|one| one["class"] == "security_group");
    let changed = changed.context("no incident of the class at opening")?;
    ensure!(changed["class_now"] == "port_closed", "{changed:#?}");
    let told = told(&receivers.ops)?;
    let first = told.iter().find(|told| told.is("firing", "security_group")).context("told")?;
    ensure!(changed["fingerprint"] == first.fingerprint.as_str(), "another fingerprint");
    Ok([hole, loss])
}

fn heal_all(fleet: &mut Fleet, faults: [Fault; 2]) -> Result<()> {
    faults.into_iter().try_for_each(Fault::heal)?;
    fleet.start_rdp(2)?;
    fleet.start_rdp(3)
}

fn probes_of_the_calm(daemon: &Daemon) -> Result<BTreeMap<String, f64>> {
    let page = daemon.metrics()?;
    let sent = |name: &String| page.sum("reachd_probe_packets_sent_total", &[("target", name)]);
    Ok(Fleet::calm_names().into_iter().map(|name| (name.clone(), sent(&name))).collect())
}

/// Nobody's trouble held up the probes of the others, and none of them was spoilt by us.
fn went_on_probing(daemon: &Daemon, before: BTreeMap<String, f64>, took: Duration) -> Result<()> {
    let page = daemon.metrics()?;
    let now = probes_of_the_calm(daemon)?;
    for (name, before) in before {
        let sent = now.get(&name).context("a target is missing")? - before;
        // From three vantages an echo every ten seconds, jittered by a twentieth, at least.
        let least = 3.0 * (took.as_secs_f64() / 10.5 - 1.0);
        ensure!(sent >= least, "{name}: {sent} probes in {took:?}, expected {least:.0}");
        let labels = [("target", name.as_str())];
        let lost = page.sum("reachd_probe_packets_lost_total", &labels);
        let invalid = page.sum("reachd_probe_packets_invalid_total", &labels);
        ensure!(lost + invalid == 0.0, "{name}: {lost} lost and {invalid} invalid");
    }
    for never in ["reachd_bugs_total", "reachd_events_dropped_total"] {
        ensure!(page.sum(never, &[]) == 0.0, "{never} counts");
    }
    ensure!(page.sum("reachd_notifications_total", &[("outcome", "dead")]) == 0.0, "given up");
    Ok(())
}
