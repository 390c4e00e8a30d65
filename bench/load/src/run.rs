//! The conversation with the bench: ready, then for each line of standard input a run and its report.

use crate::args::{Args, Result};
use crate::cpu::CpuClock;
use crate::latency::Latencies;
use crate::memory::resident_bytes;
use std::io::{stdin, stdout, Write};
use std::time::Duration;

/// What a run moved, in datagrams, in bytes or in questions that were answered.
pub struct Report {
    pub unit: &'static str,
    pub sent: u64,
    pub delivered: u64,
    pub seconds: f64,
    pub latencies: Option<Latencies>,
    /// Of traffic both ways at once: the part that went the way that was served less.
    pub smaller_share: Option<f64>,
    /// Datagrams of strangers that were thrown at the subject meanwhile.
    pub junk: Option<u64>,
}

/// Says that all sessions stand, and answers every line with a report until standard input ends. A line holds
/// the options of a run; `run(options, duration)` is called for `--warmup`, whose report is not printed, and
/// for `--seconds`. CPU time and resident size of the processes `--pid` of `args`, added, are taken before and after
/// the latter.
pub fn serve(args: &Args, mut run: impl FnMut(&Args, Duration) -> Result<Report>) -> Result<()> {
    let measured = args.get("pid").map(Measured::parse).transpose()?;
    let cost = || measured.as_ref().map(Measured::cost).transpose();
    say("{\"ready\":true}")?;
    for line in stdin().lines() {
        let options = Args::parse(line?.split_whitespace().map(str::to_string))?;
        let (warmup, seconds) = (options.seconds("warmup", 0.5)?, options.seconds("seconds", 2.0)?);
        if !warmup.is_zero() {
            run(&options, warmup)?;
        }
        let before = cost()?;
        let report = run(&options, seconds)?;
        let spent = cost()?.zip(before).map(|(after, before)| Cost {
            cpu_seconds: after.cpu_seconds - before.cpu_seconds,
            resident_bytes: after.resident_bytes - before.resident_bytes,
        });
        say(&json(&report, spent))?;
    }
    Ok(())
}

/// The processes whose cost is taken.
struct Measured(Vec<(u64, CpuClock)>);

impl Measured {
    /// Of process ids with commas between them.
    fn parse(pids: &str) -> Result<Measured> {
        let processes = pids.split(',').map(|text| {
            let pid = text.parse().map_err(|_| format!("--pid {pids}: not process ids"))?;
            Ok((pid, CpuClock::of(pid)?))
        });
        Ok(Measured(processes.collect::<Result<_>>()?))
    }

    fn cost(&self) -> Result<Cost> {
        let mut sum = Cost { cpu_seconds: 0.0, resident_bytes: 0 };
        for (pid, clock) in &self.0 {
            sum.cpu_seconds += clock.seconds()?;
            sum.resident_bytes += resident_bytes(*pid)?;
        }
        Ok(sum)
    }
}

/// What the measured processes have taken.
struct Cost {
    cpu_seconds: f64,
    resident_bytes: i64,
}

fn json(report: &Report, spent: Option<Cost>) -> String {
    let lost = report.sent.saturating_sub(report.delivered);
    let loss = lost as f64 / report.sent.max(1) as f64;
    let cost = spent.map_or(String::new(), |Cost { cpu_seconds, resident_bytes }| {
        format!(",\"cpuSeconds\":{cpu_seconds:.6},\"growthBytes\":{resident_bytes}")
    });
    let latency = report.latencies.as_ref().map_or(String::new(), |latencies| {
        let [p50, p99] = [0.5, 0.99].map(|part| latencies.quantile_us(part));
        format!(",\"p50Us\":{p50:.1},\"p99Us\":{p99:.1}")
    });
    let share = report.smaller_share.map_or(String::new(), |share| format!(",\"smallerShare\":{share:.4}"));
    let junk = report
        .junk
        .map_or(String::new(), |junk| format!(",\"junkPerSecond\":{:.0}", junk as f64 / report.seconds));
    format!(
        "{{\"unit\":\"{}\",\"sent\":{},\"delivered\":{},\"loss\":{loss:.5},\"seconds\":{:.3}{cost}{latency}{share}{junk}}}",
        report.unit, report.sent, report.delivered, report.seconds
    )
}

fn say(line: &str) -> Result<()> {
    let mut out = stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cost_of_processes_is_added() {
        let pid = std::process::id();
        let (once, twice) = (pid.to_string(), format!("{pid},{pid}"));
        let [one, two] = [once, twice].map(|pids| Measured::parse(&pids).unwrap().cost().unwrap());
        assert!(two.resident_bytes > one.resident_bytes * 3 / 2);
        assert!(Measured::parse("1,").is_err());
    }
}
