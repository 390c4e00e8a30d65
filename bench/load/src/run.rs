//! The conversation with `bench/run.ts`: ready, go, report.

use crate::args::Result;
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
pub struct Report {
    pub unit: &'static str,
    pub sent: u64,
    pub delivered: u64,
    pub seconds: f64,
}

impl Report {
    pub fn print(&self) -> Result<()> {
        let loss = 1.0 - self.delivered as f64 / self.sent.max(1) as f64;
        say(&format!(
            "{{\"unit\":\"{}\",\"sent\":{},\"delivered\":{},\"loss\":{:.5},\"seconds\":{:.3}}}",
            self.unit, self.sent, self.delivered, loss, self.seconds
        ))
    }
}

fn say(line: &str) -> Result<()> {
    let mut out = stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}
