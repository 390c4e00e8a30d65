//! The load of the whole-path benchmarks: a media server and its viewers in one process that is cheap
//! beside the gateway between them. Each scenario sets its sessions up, prints `{"ready":true}`, waits for
//! a line on standard input, runs, and prints one line of JSON.

mod args;
mod fanout;
mod flv;
mod http;
mod latency;
mod rtmp;
mod run;
mod sha1;
mod stun;
mod udp;
mod webrtc;

use args::Args;

const USAGE: &str = "usage: load webrtc|rtmp|flv --option value ... (see bench/README.md)";

fn main() {
    let mut words = std::env::args().skip(1);
    let scenario = words.next().unwrap_or_default();
    let result = Args::parse(words).and_then(|args| {
        // Nothing waits for ever: SIGALRM ends a run whose peer is stuck.
        unsafe { libc::alarm(args.number("seconds", 5)? as u32 + 60) };
        match scenario.as_str() {
            "webrtc" => webrtc::main(&args),
            "rtmp" => rtmp::main(&args),
            "flv" => flv::main(&args),
            _ => Err(USAGE.into()),
        }
    });
    if let Err(error) = result {
        eprintln!("load {scenario}: {error}");
        std::process::exit(1);
    }
}
