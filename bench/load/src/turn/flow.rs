//! Datagrams of one sender on their way, in a closed loop.

use std::time::{Duration, Instant};

/// After so long without an arrival, all that was on its way is lost.
const LOST: Duration = Duration::from_millis(100);

/// Numbers datagrams and knows how many are on their way. Datagrams keep their order, so one that arrives says of
/// all before it that they have arrived or never will.
pub struct Flow {
    sent: u32,
    arrived: u32,
    last_arrival: Instant,
}

impl Flow {
    pub fn new(now: Instant) -> Flow {
        Flow { sent: 0, arrived: 0, last_arrival: now }
    }

    /// The number of the next datagram to send.
    pub fn next(&mut self) -> u32 {
        let number = self.sent;
        self.sent = self.sent.wrapping_add(1);
        number
    }

    /// So many datagrams arrived, from this number on.
    pub fn arrived(&mut self, first: u32, datagrams: u32, now: Instant) {
        let next = first.wrapping_add(datagrams);
        if (next.wrapping_sub(self.arrived) as i32) > 0 {
            (self.arrived, self.last_arrival) = (next, now);
        }
    }

    /// How many datagrams may follow, if at most `window` are to be on their way.
    pub fn room(&mut self, window: u32, now: Instant) -> u32 {
        if self.sent != self.arrived && now.duration_since(self.last_arrival) > LOST {
            (self.arrived, self.last_arrival) = (self.sent, now);
        }
        window.saturating_sub(self.sent.wrapping_sub(self.arrived))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arrival_makes_room_for_all_before_it() {
        let now = Instant::now();
        let mut flow = Flow::new(now);
        assert_eq!((0..4).map(|_| flow.next()).collect::<Vec<_>>(), [0, 1, 2, 3]);
        assert_eq!(flow.room(4, now), 0);
        flow.arrived(2, 1, now);
        flow.arrived(0, 1, now);
        assert_eq!(flow.room(4, now), 3);
    }

    #[test]
    fn what_does_not_arrive_in_time_is_given_up() {
        let now = Instant::now();
        let mut flow = Flow::new(now);
        flow.next();
        assert_eq!(flow.room(1, now + LOST), 0);
        assert_eq!(flow.room(1, now + 2 * LOST), 1);
    }
}
