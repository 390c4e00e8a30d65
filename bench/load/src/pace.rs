//! Paced sending.

use crate::outbox::BATCH;
use std::thread;
use std::time::{Duration, Instant};

/// When datagrams leave.
pub struct Pace {
    /// Datagrams per second; 0 is as many as the system takes.
    pub rate: u64,
    /// Datagrams that leave together.
    pub burst: usize,
    /// How long a sender that is ahead sleeps; the kernel adds its slack of about 60 µs.
    pub tick: Duration,
}

/// Calls `send(first, count)` for as long as `run`, in whole bursts. Returns how many datagrams left.
pub fn pace(pace: &Pace, run: Duration, mut send: impl FnMut(u64, usize) -> usize) -> u64 {
    let &Pace { rate, burst, tick } = pace;
    let start = Instant::now();
    let whole = BATCH / burst * burst;
    let (mut due_total, mut sent) = (0u64, 0u64);
    while start.elapsed() < run {
        let count = match rate {
            0 => whole,
            _ => {
                let due = (start.elapsed().as_secs_f64() * rate as f64) as u64;
                (due.saturating_sub(due_total) as usize).min(whole) / burst * burst
            }
        };
        if count == 0 {
            thread::sleep(tick);
            continue;
        }
        sent += send(due_total, count) as u64;
        due_total += count as u64;
    }
    sent
}
