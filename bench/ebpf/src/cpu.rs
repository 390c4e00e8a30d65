//! What all processors did during a run, counted in two ways that do not depend on each other.

use crate::Result;
use std::fs;
use std::time::Instant;

/// `/proc` counts in hundredths of a second.
const TICKS_PER_SECOND: f64 = 100.0;
/// In the flags of `/proc/PID/stat`.
const KERNEL_THREAD: u64 = 0x0020_0000;

/// CPU-seconds between two moments, of the whole system but for processes that are not ours.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    pub wall: f64,
    /// Time in which a processor was not idle. The kernel measures idle time to the nanosecond.
    pub not_idle: f64,
    /// What the timer's interrupt found running: samples, 250 in a second.
    pub sampled: f64,
    /// Taken by the host.
    pub stolen: f64,
    /// Of processes that are not ours; kernel threads count as ours.
    pub foreign: f64,
}

impl Usage {
    /// Without what the system does when nothing runs, known as a share of time.
    pub fn above(self, idle: Usage) -> Usage {
        let share = self.wall / idle.wall;
        Usage {
            not_idle: self.not_idle - idle.not_idle * share,
            sampled: self.sampled - idle.sampled * share,
            ..self
        }
    }
}

pub struct Snapshot {
    at: Instant,
    cpus: usize,
    idle: f64,
    sampled: f64,
    stolen: f64,
    foreign: f64,
}

impl Snapshot {
    /// `ours` are the processes that count as part of the run, beside the caller.
    pub fn take(ours: &[u32]) -> Result<Snapshot> {
        let foreign = foreign_processes(ours)?;
        let stat = fs::read_to_string("/proc/stat")?;
        let mut lines = stat.lines();
        let total = numbers(lines.next().unwrap_or_default());
        let [user, nice, system, idle, iowait, interrupt, soft_interrupt, stolen] =
            *total.first_chunk().ok_or("/proc/stat is too short")?;
        let cpus = lines.take_while(|line| line.starts_with("cpu")).count();
        Ok(Snapshot {
            at: Instant::now(),
            cpus,
            idle: idle + iowait,
            sampled: user + nice + system + interrupt + soft_interrupt,
            stolen,
            foreign,
        })
    }

    pub fn until(&self, end: &Snapshot) -> Usage {
        let wall = (end.at - self.at).as_secs_f64();
        let foreign = (end.foreign - self.foreign).max(0.0);
        Usage {
            wall,
            not_idle: wall * self.cpus as f64 - (end.idle - self.idle) - foreign,
            sampled: end.sampled - self.sampled - foreign,
            stolen: end.stolen - self.stolen,
            foreign,
        }
    }
}

fn numbers(line: &str) -> Vec<f64> {
    line.split_whitespace()
        .filter_map(|word| word.parse::<f64>().ok())
        .map(|ticks| ticks / TICKS_PER_SECOND)
        .collect()
}

/// CPU-seconds of all of them, with those of their children that have ended.
fn foreign_processes(ours: &[u32]) -> Result<f64> {
    let mut sum = 0;
    for entry in fs::read_dir("/proc")? {
        let Some(id) = entry?.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        if id == std::process::id() || ours.contains(&id) {
            continue;
        }
        // One that has ended is counted at its parent.
        let Ok(stat) = fs::read_to_string(format!("/proc/{id}/stat")) else { continue };
        // The name may hold anything; the fields after it are numbers but for the state.
        let fields: Vec<u64> = stat
            .rsplit(')')
            .next()
            .unwrap_or_default()
            .split_whitespace()
            .map(|word| word.parse().unwrap_or(0))
            .collect();
        let (Some(flags), Some(times)) = (fields.get(6), fields.get(11..15)) else {
            continue;
        };
        if flags & KERNEL_THREAD == 0 {
            sum += times.iter().sum::<u64>();
        }
    }
    Ok(sum as f64 / TICKS_PER_SECOND)
}
