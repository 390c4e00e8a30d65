//! Receiving on many sockets without a wake-up per datagram.

use crate::inbox::{Inbox, Received};
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

/// Between two looks at all sockets. Nobody waits in a call for a datagram to come, since on loopback the
/// sender, which is who we measure, would pay for waking it; times of arrival come from the kernel.
const PAUSE: Duration = Duration::from_millis(2);
/// After so long without a datagram, what was not delivered is lost.
const QUIET: Duration = Duration::from_millis(100);

/// Counts what arrives while `is_sending`, and what is still on its way then.
pub fn sweep(sockets: &[RawFd], is_sending: &AtomicBool) -> Received {
    let mut inbox = Inbox::new();
    let mut received = Received::new();
    let mut last_arrival = Instant::now();
    while is_sending.load(Relaxed) || last_arrival.elapsed() < QUIET {
        let before = received.count;
        for socket in sockets {
            inbox.receive(*socket, &mut received);
        }
        if received.count > before || is_sending.load(Relaxed) {
            last_arrival = Instant::now();
        }
        thread::sleep(PAUSE);
    }
    received
}
