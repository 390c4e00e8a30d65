//! Receiving on many sockets without a wake-up per datagram.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

/// Between two looks at all sockets. Nobody waits in a call for a datagram to come, since on loopback the
/// sender, which is who we measure, would pay for waking it; times of arrival come from the kernel.
const PAUSE: Duration = Duration::from_millis(2);
/// After so long without a datagram, what was not delivered is lost.
const QUIET: Duration = Duration::from_millis(100);

/// Looks while `is_sending`, and then for what is still on its way. `look` takes what waits in all sockets and
/// says how much has arrived so far.
pub fn sweep(is_sending: &AtomicBool, mut look: impl FnMut() -> u64) {
    let (mut arrived, mut last_arrival) = (0, Instant::now());
    while is_sending.load(Relaxed) || last_arrival.elapsed() < QUIET {
        let before = std::mem::replace(&mut arrived, look());
        if arrived > before || is_sending.load(Relaxed) {
            last_arrival = Instant::now();
        }
        thread::sleep(PAUSE);
    }
}
