//! The conversation with `bench/run.ts`: ready, go, report.

use crate::args::Result;
use crate::latency::Latencies;
use std::io::{stdin, stdout, BufRead, Write};

/// Says that all sessions stand, and waits for the word to start.
pub fn wait_for_go() -> Result<()> {
    say("{\"ready\":true}")?;
    if stdin().lock().read_line(&mut String::new())? == 0 {
        return Err("standard input ended before the start".into());
    }
    Ok(())
}

/// What a run moved, in datagrams or in bytes.
pub struct Report<'run> {
    pub unit: &'static str,
    pub sent: u64,
    pub delivered: u64,
    pub seconds: f64,
    pub latencies: Option<&'run Latencies>,
}

impl Report<'_> {
    pub fn print(&self) -> Result<()> {
        let lost = self.sent.saturating_sub(self.delivered);
        let loss = lost as f64 / self.sent.max(1) as f64;
        let latency = self.latencies.map_or(String::new(), |latencies| {
            let [p50, p99] = [0.5, 0.99].map(|part| latencies.quantile(part));
            format!(",\"p50Us\":{p50},\"p99Us\":{p99}")
        });
        say(&format!(
            "{{\"unit\":\"{}\",\"sent\":{},\"delivered\":{},\"loss\":{loss:.5},\"seconds\":{:.3}{latency}}}",
            self.unit, self.sent, self.delivered, self.seconds
        ))
    }
}

fn say(line: &str) -> Result<()> {
    let mut out = stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}
