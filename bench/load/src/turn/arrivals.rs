//! What arrives at both ends of relayed traffic.

use super::frame::payload_at;
use crate::inbox::{Arrival, Inbox, Received};
use std::ops::Range;
use std::os::fd::RawFd;

/// Where a payload says which one of its sender's it is, and whose: the timestamp and the SSRC of RTP.
pub const NUMBER: Range<usize> = 4..8;
pub const CLIENT: Range<usize> = 8..12;

#[derive(Clone, Copy)]
pub enum Way {
    /// From clients to peers.
    Up,
    Down,
}

/// Whose datagrams arrived: their way, the client at one end of it, the number of the first and how many.
pub struct Mark {
    pub way: Way,
    pub client: usize,
    pub first: u32,
    pub datagrams: u32,
}

pub struct Arrivals {
    pub up: Received,
    pub down: Received,
}

impl Arrivals {
    pub fn new() -> Arrivals {
        Arrivals { up: Received::new(), down: Received::new() }
    }

    /// Takes all that waits at the peer and at the clients; how much has arrived so far.
    pub fn take(
        &mut self,
        inbox: &mut Inbox,
        peer: RawFd,
        clients: &[RawFd],
        mut seen: impl FnMut(Mark),
    ) -> u64 {
        let Arrivals { up, down } = self;
        inbox.receive(peer, |arrival| {
            if up.count(arrival, 0) {
                seen(mark(Way::Up, arrival, 0));
            }
        });
        for client in clients {
            inbox.receive(*client, |arrival| {
                let at = payload_at(arrival.head);
                if down.count(arrival, at) {
                    seen(mark(Way::Down, arrival, at));
                }
            });
        }
        self.count()
    }

    pub fn count(&self) -> u64 {
        self.up.count + self.down.count
    }

    /// The part of all that went the way that less went.
    pub fn smaller_share(&self) -> f64 {
        self.up.count.min(self.down.count) as f64 / self.count().max(1) as f64
    }
}

fn mark(way: Way, arrival: &Arrival, at: usize) -> Mark {
    let word = |range: Range<usize>| {
        let bytes = arrival.head[at..][range].try_into().expect("a payload of which a stamp was read");
        u32::from_be_bytes(bytes)
    };
    Mark { way, client: word(CLIENT) as usize, first: word(NUMBER), datagrams: arrival.datagrams as u32 }
}
