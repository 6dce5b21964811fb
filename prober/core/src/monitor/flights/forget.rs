//! Forgetting probes: one, those of a view, those of a vantage.

use super::{Flights, InFlight, Report, ViewKey, Wire};
use crate::evidence::{Answer, InvalidReason};
use crate::monitor::Flight;
use crate::time::Instant;
use crate::vantage::VantageId;

impl Flights {
    /// Drops everything about a view that is gone; gives how many probes it had in flight.
    pub(in crate::monitor) fn forget_view(&mut self, gone: &ViewKey) -> usize {
        let first = (gone.clone(), Flight::Survey(0));
        let own = self.by_view.range(first..).take_while(|(key, _)| key == gone);
        let flights: Vec<_> = own.map(|(_, flight)| *flight).collect();
        for flight in &flights {
            self.forget(*flight);
        }
        for pass in self.passes_of(gone) {
            self.passes.remove(&pass);
        }
        flights.len()
    }

    /// Gives up everything a vantage has in flight: its probes are over, by our own fault.
    pub(in crate::monitor) fn abandon(&mut self, now: Instant, vantage: VantageId) -> Vec<Report> {
        let of_vantage = self.flying.iter().filter(|(_, probe)| {
            probe.key.vantage == vantage && probe.settled.is_none() && !probe.is_connect()
        });
        let open: Vec<_> = of_vantage.map(|(flight, _)| *flight).collect();
        let answer = Answer::Invalid(InvalidReason::SendError);
        let reports =
            open.into_iter().filter_map(|flight| self.take(flight, answer, (now, None, 0)));
        let reports = reports.collect();
        let gone = self.flying.iter().filter(|(_, probe)| probe.key.vantage == vantage);
        for flight in gone.map(|(flight, _)| *flight).collect::<Vec<_>>() {
            self.forget(flight);
        }
        self.passes.retain(|(key, _, _), _| key.vantage != vantage);
        reports
    }

    pub(super) fn forget(&mut self, flight: Flight) -> Option<InFlight> {
        let probe = self.flying.remove(&flight)?;
        self.by_view.remove(&(probe.key.clone(), flight));
        match probe.wire {
            Wire::Echo { id, seq, .. } => {
                let key = (probe.to, id, seq);
                if self.by_echo.get(&key) == Some(&flight) {
                    self.by_echo.remove(&key);
                }
            }
            Wire::Syn { source_port, dest_port, .. }
            | Wire::Segment { source_port, dest_port, .. } => {
                let key = (probe.to, dest_port, source_port);
                if let Some(flights) = self.by_flow.get_mut(&key) {
                    flights.retain(|other| *other != flight);
                    if flights.is_empty() {
                        self.by_flow.remove(&key);
                    }
                }
            }
            Wire::Connect { dest_port } => {
                if let Some(tap) = probe.tap {
                    self.talks.close((tap, probe.to, dest_port), flight);
                }
            }
        }
        Some(probe)
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::monitor::flights::Purpose;
    use crate::probe::{Ask, FULL_TTL, Question};
    use crate::secret::Secret;
    use crate::target::TargetName;

    #[test]
    fn a_view_takes_only_its_own_probes_along() {
        let mut flights = Flights::new(Secret::new([1, 2]));
        let key = |host: u8| {
            let address = IpAddr::from([192, 0, 2, host]);
            ViewKey { target: TargetName::new(&host.to_string()), vantage: VantageId(0), address }
        };
        for ask in 0..30 {
            for host in 0..100 {
                let key = key(host);
                let (to, pass) = (key.address, ask as u8 % 3);
                let what = match ask % 3 {
                    0 => Question::Echo,
                    1 => Question::Syn { port: 3389 },
                    _ => Question::FlowSyn { port: 3389, pass },
                };
                let ask = Ask { id: ask, ttl: FULL_TTL, what };
                let purpose = Purpose::SurveyConnect(1);
                flights.order(Instant::ZERO, (key, purpose, to), &ask, (None, 1));
            }
        }
        assert_eq!((flights.flying.len(), flights.passes.len()), (3_000, 100));
        assert_eq!(flights.forget_view(&key(7)), 30);
        assert_eq!(flights.forget_view(&key(7)), 0);
        assert_eq!((flights.flying.len(), flights.passes.len()), (2_970, 99));
        assert_eq!((flights.by_view.len(), flights.by_echo.len()), (2_970, 990));
        flights.abandon(Instant::ZERO, VantageId(0));
        assert_eq!((flights.flying.len(), flights.passes.len(), flights.by_view.len()), (0, 0, 0));
    }
}
