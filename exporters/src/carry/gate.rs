//! How many deliveries are in flight over all receivers, and whose turn it is.
//!
//! Whoever has none in flight goes before whoever has some, and the last places are kept for those
//! who have none: receivers that hang until their time is over cannot make others wait.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// Deliveries in flight over all receivers.
const IN_FLIGHT_MAX: usize = 32;

/// The gate that every delivery passes.
#[derive(Clone)]
pub struct Gate {
    hall: Arc<Mutex<Hall>>,
}

/// A receiver's place before the gate.
pub struct Seat {
    gate: Gate,
    id: u64,
}

/// A delivery in flight; it is over when this is dropped.
pub struct Pass {
    gate: Gate,
    id: u64,
}

struct Hall {
    free: usize,
    /// How many each receiver has in flight.
    flying: BTreeMap<u64, usize>,
    next_id: u64,
    waiting: VecDeque<(u64, oneshot::Sender<Pass>)>,
}

impl Default for Gate {
    fn default() -> Self {
        Self::new(IN_FLIGHT_MAX)
    }
}

impl Gate {
    /// A gate that lets so many in at once.
    pub fn new(free: usize) -> Self {
        let (flying, waiting) = (BTreeMap::new(), VecDeque::new());
        let hall = Hall { free, flying, next_id: 0, waiting };
        Self { hall: Arc::new(Mutex::new(hall)) }
    }

    /// A place for one more receiver.
    pub fn seat(&self) -> Seat {
        let mut hall = self.lock();
        hall.next_id += 1;
        let id = hall.next_id;
        hall.flying.insert(id, 0);
        drop(hall);
        Seat { gate: self.clone(), id }
    }

    /// Deliveries in flight.
    pub fn in_flight(&self) -> usize {
        self.lock().flying.values().sum()
    }

    /// Lets in whoever may.
    fn admit(&self) {
        let mut unclaimed = Vec::new();
        let mut hall = self.lock();
        while let Some((id, door)) = hall.next() {
            // Nobody waits behind the door any more when an attempt was given up.
            unclaimed.extend(door.send(Pass { gate: self.clone(), id }).err());
        }
        drop(hall);
        // They come back by themselves, which needs the lock.
        drop(unclaimed);
    }

    /// The hall is never left half-changed.
    fn lock(&self) -> MutexGuard<'_, Hall> {
        self.hall.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hall {
    /// The next to be let in, counted as in flight.
    fn next(&mut self) -> Option<(u64, oneshot::Sender<Pass>)> {
        self.waiting.retain(|(_, door)| !door.is_closed());
        let of = |id: &u64| self.flying.get(id).copied().unwrap_or(0);
        let waiting = self.waiting.iter().enumerate();
        let (place, id) = waiting
            .map(|(place, (id, _))| (of(id), place, *id))
            .min()
            .map(|(_, place, id)| (place, id))?;
        let idle = self.flying.iter().filter(|(other, held)| **held == 0 && **other != id).count();
        let kept = if of(&id) == 0 { 0 } else { idle };
        if self.free <= kept {
            return None;
        }
        let next = self.waiting.remove(place)?;
        self.free -= 1;
        *self.flying.entry(id).or_default() += 1;
        Some(next)
    }
}

impl Seat {
    /// Waits for its turn.
    pub async fn enter(&self) -> Option<Pass> {
        let (door, opened) = oneshot::channel();
        self.gate.lock().waiting.push_back((self.id, door));
        self.gate.admit();
        // The gate keeps every door until it opens it, so that there is always a pass.
        opened.await.ok()
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut hall = self.gate.lock();
        let id = self.id;
        if hall.flying.get(&id) == Some(&0) {
            hall.flying.remove(&id);
        }
        drop(hall);
        self.gate.admit();
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let mut hall = self.gate.lock();
        hall.free += 1;
        if let Some(flying) = hall.flying.get_mut(&self.id) {
            *flying = flying.saturating_sub(1);
        }
        drop(hall);
        self.gate.admit();
    }
}

#[cfg(test)]
mod tests {
    use std::pin::{Pin, pin};
    use std::task::{Context, Poll, Waker};

    use super::*;

    /// What a future gives without waiting.
    fn at_once<T>(future: Pin<&mut impl Future<Output = Option<T>>>) -> Option<T> {
        match future.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(given) => given,
            Poll::Pending => None,
        }
    }

    /// Passes that are given at once, of so many that are asked for; the others give up.
    fn taken(seat: &Seat, asked: usize) -> Vec<Pass> {
        (0..asked).filter_map(|_| at_once(pin!(seat.enter()))).collect()
    }

    #[test]
    fn no_more_than_the_cap_are_in_flight() {
        let gate = Gate::new(4);
        let seat = gate.seat();
        let mut held = taken(&seat, 6);
        assert_eq!(held.len(), 4);
        held.pop();
        assert_eq!(taken(&seat, 3).len(), 1);
    }

    #[test]
    fn a_place_is_kept_for_each_who_has_none_in_flight() {
        let gate = Gate::default();
        let slow: Vec<Seat> = (0..20).map(|_| gate.seat()).collect();
        let others: Vec<Seat> = (0..5).map(|_| gate.seat()).collect();
        let mut held: Vec<Pass> = Vec::new();
        for _ in 0..4 {
            slow.iter().for_each(|seat| held.extend(taken(seat, 1)));
        }
        assert_eq!(held.len(), 27);
        let more: Vec<_> = others.iter().map(|seat| taken(seat, 2)).collect();
        assert!(more.iter().all(|passes| passes.len() == 1), "somebody waits");
    }

    #[test]
    fn whoever_has_fewest_in_flight_is_next() {
        let gate = Gate::new(2);
        let (busy, late) = (gate.seat(), gate.seat());
        let one = taken(&busy, 1);
        let other = taken(&late, 1);
        let (mut more, mut first) = (pin!(busy.enter()), pin!(late.enter()));
        assert!(at_once(more.as_mut()).is_none() && at_once(first.as_mut()).is_none());
        // Now `late` has none in flight: it goes first, though it came last.
        drop(other);
        assert!(at_once(more.as_mut()).is_none());
        let pass = at_once(first.as_mut());
        assert!(pass.is_some());
        drop((pass, one));
        assert!(at_once(more.as_mut()).is_some());
    }
}
