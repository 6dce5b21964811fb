use super::*;
use crate::evidence::{Answer, Observation, TcpAnswer};
use crate::probe::Question;
use crate::survey::ports::Ports;
use crate::survey::{Means, Scope, Suspects, Want};
use crate::wording::Wording;

fn report(result: ConnectResult, service: Option<ServiceAnswer>) -> Box<ConnectReport> {
    Box::new(ConnectReport {
        result,
        handshake: None,
        retransmits: None,
        service,
        service_time: None,
        local_port: None,
    })
}

fn answered() -> Box<ConnectReport> {
    let said = ServiceAnswer::Confirmed { selected: Some(1), detail: Wording::same("TLS") };
    report(ConnectResult::Connected, Some(said))
}

fn left(said: ServiceAnswer) -> Box<ConnectReport> {
    report(ConnectResult::Connected, Some(said))
}

fn lost() -> Box<ConnectReport> {
    report(ConnectResult::TimedOut, None)
}

/// A first connection that ended so, and what stands after a second one did.
fn twice(first: Box<ConnectReport>, second: Box<ConnectReport>) -> Connection {
    let mut connection = Connection::new(true, Instant::ZERO);
    assert!(connection.poll(Instant::ZERO) && connection.is_first_flying());
    let again = Instant::ZERO + AGAIN_AFTER;
    let answered = is_answered(&first);
    connection.end((first.clone(), None), (!answered).then_some(again));
    if answered {
        connection.repeat(again);
    }
    // As long as it is made again the first stands, and is not the end of it.
    assert_eq!(connection.report(), Some(&*first));
    assert!(
        connection.is_open() && connection.ended().is_none() && !connection.poll(Instant::ZERO)
    );
    assert!(connection.poll(again) && !connection.is_first_flying());
    connection.end((second, None), Some(again));
    assert!(!connection.is_open());
    connection
}

#[test]
fn one_that_is_answered_stands_and_tells_of_the_one_that_was_not() {
    let connection = twice(left(ServiceAnswer::Silent), answered());
    assert_eq!(connection.ended(), Some(&*answered()));
    assert_eq!(connection.before(), Some(&ServiceAnswer::Silent));
}

#[test]
fn two_that_are_left_unanswered_are_told_by_the_first() {
    let closed = || left(ServiceAnswer::Closed { reset: true, heard: 0 });
    for second in [closed(), lost(), left(ServiceAnswer::Silent)] {
        let connection = twice(closed(), second);
        assert_eq!(connection.ended(), Some(&*closed()));
        assert_eq!(connection.before(), None);
    }
}

#[test]
fn one_that_could_be_made_once_and_no_more_is_told_by_the_last() {
    let connection = twice(answered(), lost());
    assert_eq!(connection.ended(), Some(&*lost()));
    assert_eq!(connection.before(), answered().service.as_ref());
    let connection = twice(answered(), answered());
    assert_eq!(connection.ended(), Some(&*answered()));
    assert_eq!(connection.before(), None);
}

#[test]
fn one_whose_end_is_never_told_leaves_what_is_known() {
    let mut connection = Connection::new(true, Instant::ZERO);
    assert!(connection.poll(Instant::ZERO));
    connection.lose();
    assert!(!connection.is_open() && connection.report().is_none());
    let mut connection = Connection::new(true, Instant::ZERO);
    assert!(connection.poll(Instant::ZERO));
    connection.end((left(ServiceAnswer::Silent), None), Some(Instant::ZERO));
    assert!(connection.poll(Instant::ZERO));
    connection.lose();
    assert_eq!(connection.ended(), Some(&*left(ServiceAnswer::Silent)));
    assert_eq!(connection.before(), None);
}

/// A survey that asks a port and may connect twice.
fn survey() -> Survey {
    let scope = Scope {
        address: [10, 9, 0, 10].into(),
        port: Some(3389),
        depth: Depth::Full,
        siblings: Vec::new(),
        connect: true,
        connect_again: true,
        known: None,
        look: None,
        ports: Ports::default(),
        means: Means::default(),
        trace: false,
        loss_threshold: 0.05,
        suspects: Suspects::default(),
    };
    Survey::new(scope, Instant::ZERO)
}

/// When the survey connects the next time, if it does within half a minute.
fn connects_at(survey: &mut Survey, from: Instant) -> Option<(Instant, bool)> {
    (0..3_000).map(|n| from + Duration::from_millis(10) * n).find_map(|now| {
        loop {
            match survey.poll_want(now)? {
                Want::Connect { again } => return Some((now, again)),
                Want::Ask(part, _, ask) => {
                    let answer = match ask.what {
                        Question::Echo => Answer::EchoReply { ttl: Some(60) },
                        _ => Answer::SynAck(TcpAnswer { ttl: Some(60), window: None, ip_id: None }),
                    };
                    let seen = Observation { answer, sent: None, arrived: None };
                    survey.handle_observation(now, part, ask.id, &seen);
                }
                Want::Look(_) => {}
            }
        }
    })
}

#[test]
fn what_is_left_unanswered_is_asked_once_more_in_time() {
    let at = |millis| Instant::ZERO + Duration::from_millis(millis);
    for (said, ended, again) in [
        (ServiceAnswer::Silent, 8_020, Some(8_020)),
        (ServiceAnswer::Closed { reset: false, heard: 0 }, 10, Some(2_010)),
        (ServiceAnswer::Closed { reset: true, heard: 0 }, 6_500, None),
        (ServiceAnswer::Silent, 11_000, None),
        (ServiceAnswer::Refused { code: 5 }, 10, None),
    ] {
        let mut survey = survey();
        assert_eq!(connects_at(&mut survey, Instant::ZERO), Some((Instant::ZERO, false)));
        survey.handle_connect(at(ended), left(said.clone()), None);
        let next = connects_at(&mut survey, at(ended));
        assert_eq!(next, again.map(|again| (at(again), true)), "{said:?} at {ended}");
        if next.is_some() {
            // That one is the last.
            survey.handle_connect(at(9_000), left(said), None);
            assert_eq!(connects_at(&mut survey, at(9_000)), None);
        }
    }
}
