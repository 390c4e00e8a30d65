//! HLS viewers who come, fetch the playlist of a stream that nobody played before and a segment of it, and go.

use crate::args::{Args, Result};
use crate::cycles;
use crate::hls;
use crate::http;
use std::io::{BufReader, Write};
use std::net::TcpListener;
use std::thread;

pub fn main(args: &Args) -> Result<()> {
    let size = args.number("size", 1000)? as usize;
    let listener = TcpListener::bind(("127.0.0.1", args.number("origin-port", 0)? as u16))?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || hls::accept(&listener, size));
    http::register(args.text("register")?, args.get("token"), &[("http", port)])?;
    let gateway = http::authority(args.text("gateway")?)?;
    let begin = |number| hls::segment_of(gateway, &format!("/live/s{number}.m3u8"));
    cycles::run(args, begin, |segment| fetch(gateway, &segment))
}

fn fetch(gateway: &str, path: &str) -> Result<()> {
    let mut stream = http::connect(gateway)?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {gateway}\r\nConnection: close\r\n\r\n")?;
    let answer = http::read_message(&mut BufReader::new(stream))?;
    if answer.start.contains(" 200") {
        Ok(())
    } else {
        Err(format!("GET {path}: {}", answer.start).into())
    }
}
