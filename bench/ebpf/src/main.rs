//! Flows forwarded by the kernel (TC eBPF), beside flows forwarded by an engine in user space: the experiment
//! of docs/decisions/0006-flows-in-the-kernel.md. See README.md.

mod args;
mod bpf;
mod check;
mod cpu;
mod flow;
mod hardware;
mod kernel_path;
mod load;
mod measure;
mod namespace;
mod offload;
mod program;
mod relay;
mod socket;
mod topology;

use args::Args;
use std::io::Error;

/// What a command may fail with; `main` prints it.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

const USAGE: &str = "usage: ebpf-bench check|measure|relay --option value ... (see bench/ebpf/README.md)";

fn main() {
    let mut words = std::env::args().skip(1);
    let command = words.next().unwrap_or_default();
    let result = Args::parse(words).and_then(|args| match command.as_str() {
        "check" => check::main(),
        "measure" => measure::main(&args),
        "relay" => relay::main(&args),
        _ => Err(USAGE.into()),
    });
    if let Err(error) = result {
        eprintln!("ebpf-bench {command}: {error}");
        std::process::exit(1);
    }
}

/// The result of a system call, or why there is none.
pub fn system(result: i32) -> Result<i32> {
    match result {
        0.. => Ok(result),
        _ => Err(Error::last_os_error().into()),
    }
}
