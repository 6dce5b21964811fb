//! Ten thousand targets fail in one moment: they are named in time, within the budgets, and heal.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use reachd_core::judge::Class;
use reachd_core::plan::{Budget, Plan};
use reachd_core::target::{Service, Target};
use reachd_core::vantage::Vantage;
use reachd_sim::Light;

use reachd_sim::healthy::address;

const TARGETS: u32 = 25_000;
const FAILING: u32 = 10_000;
const BUDGET: f64 = 8_000.0;

fn plan() -> Plan {
    let target = |index: u32| Target::new(&address(index).to_string(), 443, Service::Tcp);
    let budget = Budget { packets_per_second: BUDGET, ..Budget::default() };
    let vantages = vec![Vantage::unbound("a")];
    Plan { targets: (0..TARGETS).map(target).collect(), vantages, budget, ..Plan::default() }
}

fn index(of: IpAddr) -> u32 {
    match of {
        IpAddr::V4(v4) => v4.to_bits() - 0x0a40_0000,
        IpAddr::V6(_) => u32::MAX,
    }
}

fn classes(light: &Light) -> BTreeMap<Class, usize> {
    let mut classes = BTreeMap::new();
    for row in &light.monitor.snapshot().targets {
        *classes.entry(row.class).or_default() += 1;
    }
    classes
}

#[test]
fn ten_thousand_at_once_are_named_within_the_budget() {
    let mut light = Light::new(3, &plan(), Box::new(|_, _| true));
    light.pass(Duration::from_secs(400));
    assert_eq!(classes(&light).get(&Class::Reachable), Some(&25_000), "{:?}", classes(&light));
    let quiet = light.judged.clone();
    light.set_answers(Box::new(|to, _| index(to) >= FAILING));
    let began = light.now;
    light.pass(Duration::from_secs(40));
    let named = classes(&light);
    let healthy = named.get(&Class::Reachable).copied().unwrap_or(0);
    assert_eq!(healthy, 15_000, "{named:?}");
    // A survey that was under way when it happened saw both, and calls it loss until the next.
    let silent = [Class::HostSilent, Class::Blackhole].iter().filter_map(|class| named.get(class));
    assert!(silent.sum::<usize>() >= 9_950, "{named:?}");
    // Deep looks at a sample, within what may be sent: a burst is two seconds' worth.
    let second = began.as_nanos() / 1_000_000_000;
    let most = light.packets.range(second..).map(|(_, count)| *count).max().unwrap_or(0);
    assert!(most <= 24_000, "{most} packets in one second");
    let total: u64 = light.packets.range(second..).map(|(_, count)| *count).sum();
    assert!(total <= 8_000 * 42, "{total} packets in 40 s");
    assert!(light.judged.values().sum::<u64>() > quiet.values().sum::<u64>());
    assert!(light.monitor.snapshot().bugs.is_empty(), "{:?}", light.monitor.snapshot().bugs);
    light.set_answers(Box::new(|_, _| true));
    light.pass(Duration::from_secs(240));
    assert_eq!(classes(&light).get(&Class::Reachable), Some(&25_000), "{:?}", classes(&light));
}
