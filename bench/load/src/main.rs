//! The load of the whole-path benchmarks: a media server and its viewers, TURN clients and their peer, or a service and
//! its users at the ends of a tunnel, in one process that is cheap beside what is between them. Each kind sets its sessions up, prints `{"ready":true}`, and for every
//! line on standard input runs and prints one line of JSON.

mod args;
mod clock;
mod cpu;
mod cycles;
mod ends;
mod fanout;
mod flv;
mod hls;
mod http;
mod inbox;
mod latency;
mod md5;
mod memory;
mod origin;
mod outbox;
mod pace;
mod plays;
mod poll;
mod rtmp;
mod run;
mod sha1;
mod socket;
mod srt;
mod stun;
mod sweep;
mod tunnel;
mod turn;
mod viewer;
mod webrtc;
mod whep;
mod whip;

use args::Args;

const USAGE: &str =
    "usage: load webrtc|whip|srt|rtmp|publish|flv|hls|plays|turn|tunnel --option value ... (see bench/README.md)";

fn main() {
    let mut words = std::env::args().skip(1);
    let kind = words.next().unwrap_or_default();
    socket::raise_descriptor_limit();
    let result = Args::parse(words).and_then(|args| match kind.as_str() {
        "webrtc" => webrtc::main(&args),
        "srt" => srt::main(&args),
        "rtmp" => rtmp::main(&args),
        "flv" => flv::main(&args),
        "hls" => hls::main(&args),
        "whip" => whip::main(&args),
        "publish" => rtmp::publish_main(&args),
        "plays" => plays::main(&args),
        "turn" => turn::main(&args),
        "tunnel" => tunnel::main(&args),
        _ => Err(USAGE.into()),
    });
    if let Err(error) = result {
        eprintln!("load {kind}: {error}");
        std::process::exit(1);
    }
}
