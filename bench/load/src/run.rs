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
/// for `--seconds`. CPU time and resident size of the process `--pid` of `args` are taken before and after the
/// latter.
pub fn serve(args: &Args, mut run: impl FnMut(&Args, Duration) -> Result<Report>) -> Result<()> {
    let pid = args.number("pid", 0)?;
    let clock = if pid == 0 { None } else { Some(CpuClock::of(pid)?) };
    let cost = || -> Result<Option<Cost>> {
        let Some(clock) = &clock else { return Ok(None) };
        Ok(Some(Cost { cpu_seconds: clock.seconds()?, resident_bytes: resident_bytes(pid)? }))
    };
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

/// What the measured process has taken.
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
