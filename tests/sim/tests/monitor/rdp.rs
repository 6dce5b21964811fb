//! Looks past the handshake of RDP servers: how many, when, and what is made of them.

use std::time::Duration;

use reachd_core::evidence::Probe;
use reachd_core::evidence::rdp::{Nla, RdpDepth, SecurityLayer};
use reachd_core::judge::Class;
use reachd_core::monitor::{Baseline, Event, Input, Purpose};
use reachd_core::plan::Plan;
use reachd_core::target::{Service, Target, TargetName};
use reachd_core::vantage::Vantage;
use reachd_sim::{Cloud, Port, Run, Speaks, address};

use crate::scene::{look as look_at, plan, rdp};

const HOUR: Duration = Duration::from_secs(3_600);
const MINUTE: Duration = Duration::from_secs(60);

/// A monitor that watches so many RDP servers, ten in a subnet, to this depth.
fn watching(targets: u8, depth: RdpDepth) -> Run {
    let subnets = targets.div_ceil(10);
    let world = Cloud { subnets, hosts: 10, canaries: 2, ..Cloud::default() }.build(7);
    let mut run = Run::new(Purpose::Watch, 7, world);
    let host = |number: u8| address(number / 10, 10 + number % 10).to_string();
    let target =
        |number| Target { rdp_depth: depth, ..Target::new(&host(number), 3389, Service::Rdp) };
    run.plan(&Plan {
        targets: (0..targets).map(target).collect(),
        vantages: vec![Vantage::unbound("a")],
        ..Plan::default()
    });
    run
}

fn serve(run: &mut Run, speaks: Speaks) {
    run.world.host("10.0.0.10").ports.insert(3389, Port::Open(speaks));
}

fn class(run: &Run) -> Class {
    run.monitor.snapshot().targets[0].class
}

#[test]
fn twenty_targets_open_no_more_connections_in_an_hour_than_are_scheduled() {
    let mut run = watching(20, RdpDepth::Tls);
    run.pass(HOUR);
    // One look each, and each of the four connections that a server which shows its certificate at
    // once needs. The next are due after six hours.
    let connections: u32 = run.looks.iter().map(|looked| looked.look.connections).sum();
    assert_eq!((run.looks.len(), connections), (20, 80));
    assert!(run.monitor.snapshot().bugs.is_empty());
}

#[test]
fn every_stage_is_counted() {
    use Probe::{Connect, Tls, X224};
    let mut run = watching(1, RdpDepth::Tls);
    run.pass(MINUTE);
    let count = |run: &Run, probe| {
        let snapshot = run.monitor.snapshot();
        snapshot.probes.iter().find(|row| row.probe == probe).map(|row| {
            let counters = row.counters();
            assert!(counters.adds_up());
            (counters.sent, counters.received)
        })
    };
    // Full connections, and the four of the look, of which one goes on to TLS.
    let connections = count(&run, Connect).unwrap();
    assert!(connections.0 > 4 && connections.0 == connections.1, "{connections:?}");
    assert_eq!(count(&run, X224), Some(connections));
    assert_eq!(count(&run, Tls), Some((1, 1)));
    assert_eq!(count(&run, Probe::Ntlm), None, "nobody asked for it");
    serve(&mut run, Speaks::TlsDies { reset: true });
    run.pass(HOUR * 7);
    let (sent, received) = count(&run, Tls).unwrap();
    assert!(sent > 1 && received == 1, "{sent} {received}");
}

/// What is late depends on what is usual.
#[test]
fn a_service_that_became_slow_is_told_from_one_that_always_was() {
    let slow = Speaks::Late(MINUTE / 24);
    let late = |run: &Run| {
        let snapshot = run.monitor.snapshot();
        let report = snapshot.targets[0].report.clone().expect("judged");
        let mut evidence = report.verdict.evidence.clone().into_iter();
        let part = evidence.find(|part| part.signal == "service" && part.value == "late");
        part.and_then(|part| part.detail).map(|detail| detail.en)
    };
    let mut run = watching(1, RdpDepth::Tls);
    run.pass(HOUR);
    serve(&mut run, slow.clone());
    run.pass(MINUTE * 7);
    assert_eq!(class(&run), Class::ServiceHung);
    let told = late(&run).expect("late");
    assert!(told.contains("2.5 s, usually within"), "{told}");

    let mut world = Cloud { canaries: 2, ..Cloud::default() }.build(7);
    world.host("10.0.0.10").ports.insert(3389, Port::Open(slow));
    let mut run = Run::new(Purpose::Watch, 7, world);
    run.plan(&Plan {
        targets: vec![Target::new("10.0.0.10", 3389, Service::Rdp)],
        vantages: vec![Vantage::unbound("a")],
        ..Plan::default()
    });
    run.pass(HOUR);
    assert_eq!((class(&run), late(&run)), (Class::Reachable, None));
}

/// Another certificate is noticed over a restart as well, and is no failure by itself.
#[test]
fn what_was_learnt_before_a_restart_tells_another_machine() {
    let told = |run: &mut Run| {
        run.pass(MINUTE);
        let learnt = run.told.iter().rev().find_map(|(_, event)| match event {
            Event::Baseline { baseline, .. } => Some(*baseline),
            _ => None,
        });
        learnt.expect("learnt")
    };
    let certificate = told(&mut watching(1, RdpDepth::Tls)).certificate;
    assert!(certificate.is_some());
    for (kept, another) in [(certificate, false), (Some([7; 32]), true), (None, false)] {
        let mut run = watching(1, RdpDepth::Tls);
        let target = TargetName::new("10.0.0.10:3389");
        let baseline = Baseline { certificate: kept, ..Baseline::default() };
        run.input(Input::Baseline { target, vantage: "a".to_owned(), baseline });
        let learnt = told(&mut run).certificate;
        assert_eq!(learnt, certificate, "what is shown now is learnt");
        let report = run.monitor.snapshot().targets[0].report.clone().expect("judged");
        let mut evidence = report.verdict.evidence.iter();
        let seen = evidence.any(|part| part.signal == "machine" && part.value == "another");
        assert_eq!((class(&run), seen), (Class::Reachable, another), "{kept:?}");
    }
}

#[test]
fn a_day_has_four_looks_and_off_has_none() {
    let mut run = watching(1, RdpDepth::Tls);
    run.pass(HOUR * 23);
    assert_eq!(run.looks.len(), 4);
    let mut off = watching(1, RdpDepth::Off);
    off.pass(HOUR);
    assert!(off.looks.is_empty());
    assert!(off.monitor.snapshot().views.iter().all(|row| row.rdp.is_none()));
}

#[test]
fn what_a_look_shows_is_in_the_numbers_and_in_the_report() {
    let mut run = watching(1, RdpDepth::Tls);
    run.pass(HOUR);
    let snapshot = run.monitor.snapshot();
    let row = snapshot.views[0].rdp.as_ref().expect("looked at");
    assert_eq!(row.look.security(), (Some(SecurityLayer::Tls), Some(Nla::Required)));
    assert_eq!(row.stages.iter().map(|stage| stage.count).collect::<Vec<_>>(), [1, 1, 1, 0]);
    let report = snapshot.targets[0].report.as_ref().expect("judged");
    let part = report.vantages[0].rdp.as_ref().expect("shown");
    assert_eq!((part.layer.as_deref(), part.nla.as_deref()), (Some("tls"), Some("required")));
    let certificate = part.tls.as_ref().and_then(|tls| tls.certificate.as_ref()).unwrap();
    assert_eq!(certificate.subject.as_deref(), Some("WIN-LAB01"));
    assert_eq!(certificate.issuance, "self_signed");
    assert_eq!(report.verdict.notes[0].note, "nla_required");
}

#[test]
fn a_change_of_the_answer_is_looked_at_but_not_within_ten_minutes_of_the_last_look() {
    let mut run = watching(1, RdpDepth::Tls);
    run.pass(HOUR);
    assert_eq!(run.looks.len(), 1);
    serve(&mut run, Speaks::Refuses(3));
    run.pass(MINUTE * 7);
    assert_eq!((run.looks.len(), class(&run)), (2, Class::Certificate), "a refusal is a change");
    serve(&mut run, Speaks::Expected);
    run.pass(MINUTE * 20);
    assert_eq!((run.looks.len(), class(&run)), (3, Class::Reachable), "so is its end");
    let gap = run.looks[2].began.since(run.looks[1].began);
    assert!(gap >= MINUTE * 10, "{gap:?}");
}

#[test]
fn looks_at_one_target_are_never_beside_each_other() {
    let mut world = Cloud { vantages: 3, canaries: 2, ..Cloud::default() }.build(3);
    let port = Port::Open(Speaks::TlsDies { reset: false });
    world.host("10.0.0.10").ports.insert(3389, port);
    let mut run = Run::new(Purpose::Watch, 3, world);
    run.plan(&Plan {
        targets: vec![Target::new("10.0.0.10", 3389, Service::Rdp)],
        vantages: ["a", "b", "c"].map(Vantage::unbound).into(),
        ..Plan::default()
    });
    run.pass(MINUTE * 5);
    // What dies is looked at once more by each.
    assert_eq!(run.looks.len(), 6);
    for pair in run.looks.windows(2) {
        assert!(pair[0].ended <= pair[1].began);
    }
    assert_eq!(class(&run), Class::Certificate);
}

#[test]
fn a_check_names_what_is_wrong_with_a_certificate() {
    for (speaks, expected, cause) in [
        (Speaks::TlsDies { reset: false }, "certificate", "certificate_broken"),
        (Speaks::Refuses(3), "certificate", "certificate_broken"),
        (Speaks::Expired, "certificate", "certificate_expired"),
    ] {
        let mut world = Cloud::default().build(5);
        world.host("10.0.0.10").ports.insert(3389, Port::Open(speaks.clone()));
        let plan = plan(&world, vec![rdp(address(0, 10))]);
        let look = look_at(world, &plan, 5);
        assert_eq!(look.class(), expected, "{speaks:?}");
        assert_eq!(look.report.verdict.causes[0].cause, cause, "{speaks:?}");
    }
}

/// A refusal of one offer may be health; a refusal of all is none, whatever its code.
#[test]
fn whoever_refuses_every_offer_is_not_reachable() {
    for (speaks, expected) in [
        (Speaks::PlainOnly, "reachable"),
        (Speaks::Refuses(1), "rdp_refused"),
        (Speaks::Refuses(2), "rdp_refused"),
        (Speaks::Refuses(5), "rdp_refused"),
        (Speaks::Refuses(7), "rdp_refused"),
    ] {
        let mut world = Cloud::default().build(5);
        world.host("10.0.0.10").ports.insert(3389, Port::Open(speaks.clone()));
        let plan = plan(&world, vec![rdp(address(0, 10))]);
        let look = look_at(world, &plan, 5);
        assert_eq!(look.class(), expected, "{speaks:?}: {:?}", look.report.verdict);
        let plain = look.report.verdict.notes.iter().any(|part| part.note == "plain_rdp_security");
        assert_eq!(plain, speaks == Speaks::PlainOnly, "{speaks:?}");
    }
}

/// A certificate that expires while the daemon watches is told, and so is the end of it.
#[test]
fn a_certificate_that_is_renewed_heals() {
    let mut run = watching(1, RdpDepth::Tls);
    serve(&mut run, Speaks::Expired);
    run.pass(MINUTE * 5);
    assert_eq!(class(&run), Class::Certificate);
    serve(&mut run, Speaks::Expected);
    run.pass(MINUTE * 12);
    assert_eq!(class(&run), Class::Reachable);
    let firing = |event: &Event| matches!(event, Event::Incident(_));
    assert_eq!(run.told.iter().filter(|(_, event)| firing(event)).count(), 2);
    let row = run.monitor.snapshot().views[0].rdp.clone().unwrap();
    assert_eq!(row.certificate_changes, 1);
}

#[test]
fn a_look_for_which_no_connections_are_left_is_not_waited_for() {
    let world = Cloud::default().build(5);
    let mut plan = plan(&world, vec![rdp(address(0, 10))]);
    plan.budget.connects_per_minute = 2;
    plan.budget.connects_per_hour = 2;
    let look = look_at(world, &plan, 5);
    assert_eq!((look.class(), look.run.looks.len()), ("reachable", 0));
    assert!(look.took < Duration::from_secs(2), "{:?}", look.took);
}

/// Connections leave traces in the logs of Windows: sixty in an hour are allowed, in any hour.
#[test]
fn a_failure_that_lasts_is_connected_to_sixty_times_an_hour_at_most() {
    for speaks in [Speaks::Nothing, Speaks::Refuses(7), Speaks::Refuses(3)] {
        let mut run = watching(1, RdpDepth::Tls);
        run.pass(HOUR);
        serve(&mut run, speaks.clone());
        let mut made = Vec::new();
        for _ in 0..180 {
            let snapshot = run.monitor.snapshot();
            let row = snapshot.probes.iter().find(|row| row.probe == Probe::Connect).unwrap();
            made.push(row.counters().sent);
            run.pass(MINUTE);
        }
        let most = made.windows(61).map(|hour| hour[60] - hour[0]).max().unwrap();
        assert!((20..=60).contains(&most), "{speaks:?}: {most} in an hour");
        // A heal is seen by what is left.
        serve(&mut run, Speaks::Expected);
        run.pass(12 * MINUTE);
        assert_eq!(class(&run), Class::Reachable, "{speaks:?}");
    }
}
