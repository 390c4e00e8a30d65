//! The conversation with the bench: ready, then for each line of standard input a run and its report.

use crate::args::{Args, Result};
use crate::cpu::CpuClock;
use crate::latency::Latencies;
use std::io::{stdin, stdout, Write};
use std::time::Duration;

/// What a run moved, in datagrams or in bytes.
pub struct Report {
    pub unit: &'static str,
    pub sent: u64,
    pub delivered: u64,
    pub seconds: f64,
    pub latencies: Option<Latencies>,
}

/// Says that all sessions stand, and answers every line with a report until standard input ends. A line holds
/// the options of a run; `run(options, duration)` is called for `--warmup`, whose report is not printed, and
/// for `--seconds`. The CPU time of the process `--pid` of `args` is taken before and after the latter.
pub fn serve(args: &Args, mut run: impl FnMut(&Args, Duration) -> Result<Report>) -> Result<()> {
    let cpu = match args.number("pid", 0)? {
        0 => None,
        pid => Some(CpuClock::of(pid)?),
    };
    let cpu_seconds = || cpu.as_ref().map(CpuClock::seconds).transpose();
    say("{\"ready\":true}")?;
    for line in stdin().lines() {
        let options = Args::parse(line?.split_whitespace().map(str::to_string))?;
        let (warmup, seconds) = (options.seconds("warmup", 0.5)?, options.seconds("seconds", 2.0)?);
        if !warmup.is_zero() {
            run(&options, warmup)?;
        }
        let before = cpu_seconds()?;
        let report = run(&options, seconds)?;
        let spent = cpu_seconds()?.zip(before).map(|(after, before)| after - before);
        say(&json(&report, spent))?;
    }
    Ok(())
}

fn json(report: &Report, cpu_seconds: Option<f64>) -> String {
    let lost = report.sent.saturating_sub(report.delivered);
    let loss = lost as f64 / report.sent.max(1) as f64;
    let cpu = cpu_seconds.map_or(String::new(), |seconds| format!(",\"cpuSeconds\":{seconds:.6}"));
    let latency = report.latencies.as_ref().map_or(String::new(), |latencies| {
        let [p50, p99] = [0.5, 0.99].map(|part| latencies.quantile_us(part));
        format!(",\"p50Us\":{p50:.1},\"p99Us\":{p99:.1}")
    });
    format!(
        "{{\"unit\":\"{}\",\"sent\":{},\"delivered\":{},\"loss\":{loss:.5},\"seconds\":{:.3}{cpu}{latency}}}",
        report.unit, report.sent, report.delivered, report.seconds
    )
}

fn say(line: &str) -> Result<()> {
    let mut out = stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}
