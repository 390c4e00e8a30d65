//! What strangers throw at a server: random bytes, and Allocates that prove nothing.

use super::client::allocate_request;
use crate::args::Result;
use crate::outbox::{Outbox, BATCH};
use crate::pace::{pace, Pace};
use crate::socket::bind_deaf;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

/// New ones in every run, so that what a server keeps of each shows.
const STRANGERS: usize = 500;
/// Datagrams of one stranger in a row.
const BURST: usize = 16;
const RANDOM_BYTES: usize = 64;
const TICK: Duration = Duration::from_micros(100);
/// How often it looks whether the run is over.
const SLICE: Duration = Duration::from_millis(20);

/// Sends so many datagrams per second until the run is over; how many it were.
pub fn flood(server: SocketAddr, rate: u64, is_over: &AtomicBool) -> Result<u64> {
    let strangers = (0..STRANGERS).map(|_| stranger(server)).collect::<Result<Vec<_>>>()?;
    let mut kinds = [random_bytes(), Outbox::of(&allocate_request(), 1)];
    let beat = Pace { rate, burst: BURST, tick: TICK };
    let (mut bursts, mut sent) = (0, 0);
    while !is_over.load(Relaxed) {
        sent += pace(&beat, SLICE, |_, count| {
            (0..count / BURST)
                .map(|_| {
                    bursts += 1;
                    kinds[bursts % kinds.len()].send(strangers[bursts % STRANGERS].as_raw_fd(), BURST)
                })
                .sum()
        });
    }
    Ok(sent)
}

fn stranger(server: SocketAddr) -> Result<UdpSocket> {
    let socket = bind_deaf()?;
    socket.connect(server)?;
    Ok(socket)
}

/// Different in every datagram, the same in every run (xorshift).
fn random_bytes() -> Outbox {
    let mut outbox = Outbox::of(&[0; RANDOM_BYTES], 1);
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    for datagram in 0..BATCH {
        for offset in (0..RANDOM_BYTES).step_by(8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            outbox.put(datagram, offset, &state.to_be_bytes());
        }
    }
    outbox
}
