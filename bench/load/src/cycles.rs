//! Set-ups one after the other, by a few clients at a time, as fast as they are answered.

use crate::args::{Args, Result};
use crate::clock::now_ns;
use crate::latency::Latencies;
use crate::run::{serve, Report};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

/// Runs cycles for each order. `begin` is what is timed, and `end` undoes it; cycles are numbered over all runs.
pub fn run<Begun>(
    args: &Args,
    begin: impl Fn(u64) -> Result<Begun> + Sync,
    end: impl Fn(Begun) -> Result<()> + Sync,
) -> Result<()> {
    let clients = args.number("clients", 8)?;
    let next = AtomicU64::new(0);
    serve(args, |_, duration| {
        let latencies = Mutex::new(Latencies::new());
        let start = Instant::now();
        let client = || cycle_after_cycle(&next, &latencies, start, duration, &begin, &end);
        let asked = thread::scope(|scope| {
            let working: Vec<_> = (0..clients).map(|_| scope.spawn(client)).collect();
            working.into_iter().map(|one| one.join().expect("no panic")).sum::<Result<u64>>()
        })?;
        Ok(Report {
            unit: "requests",
            sent: asked,
            delivered: asked,
            seconds: start.elapsed().as_secs_f64(),
            latencies: Some(latencies.into_inner().expect("no panic")),
            smaller_share: None,
            junk: None,
        })
    })
}

/// One client. Gives how many cycles there were.
fn cycle_after_cycle<Begun>(
    next: &AtomicU64,
    latencies: &Mutex<Latencies>,
    start: Instant,
    run: Duration,
    begin: &impl Fn(u64) -> Result<Begun>,
    end: &impl Fn(Begun) -> Result<()>,
) -> Result<u64> {
    let mut done = 0;
    while start.elapsed() < run {
        let number = next.fetch_add(1, Relaxed);
        let began = now_ns();
        let begun = begin(number)?;
        latencies.lock().expect("no panic").record(now_ns() - began, 1);
        end(begun)?;
        done += 1;
    }
    Ok(done)
}
