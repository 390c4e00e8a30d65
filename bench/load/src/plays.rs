//! HLS viewers who come, fetch the playlist of a stream that nobody played before and a segment of it, and go.

use crate::args::{Args, Result};
use crate::cycles;
use crate::hls;
use crate::http;
use crate::socket::connect_from;
use std::io::{BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::thread;

const VIEWERS_OF_ADDRESS: u64 = 50;

pub fn main(args: &Args) -> Result<()> {
    let size = args.number("size", 1000)? as usize;
    let listener = TcpListener::bind(("127.0.0.1", args.number("origin-port", 0)? as u16))?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || hls::accept(&listener, size));
    http::register(args.text("register")?, args.get("token"), &[("http", port)])?;
    let gateway = http::authority(args.text("gateway")?)?;
    let begin = |number| {
        let segment = hls::segment_of(connect(gateway, number)?, gateway, &format!("/live/s{number}.m3u8"))?;
        Ok((number, segment))
    };
    cycles::run(args, begin, |(number, segment)| fetch(connect(gateway, number)?, gateway, &segment))
}

/// A gateway allows so many viewers of one address.
fn connect(gateway: &str, number: u64) -> Result<TcpStream> {
    let [_, _, high, low] = ((number / VIEWERS_OF_ADDRESS) as u32).to_be_bytes();
    http::ready(connect_from(Ipv4Addr::new(127, 1, high, low), gateway.parse()?)?)
}

fn fetch(mut stream: TcpStream, gateway: &str, path: &str) -> Result<()> {
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {gateway}\r\nConnection: close\r\n\r\n")?;
    let answer = http::read_message(&mut BufReader::new(stream))?;
    if answer.start.contains(" 200") {
        Ok(())
    } else {
        Err(format!("GET {path}: {}", answer.start).into())
    }
}
