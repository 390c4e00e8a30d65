//! HTTP-FLV: the origin answers each request with a chunked body of FLV tags that does not end.

use crate::args::{Args, Result};
use crate::fanout::{self, Origin};
use crate::http;
use std::io::{BufReader, Write};
use std::net::TcpStream;

const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: video/x-flv\r\nTransfer-Encoding: chunked\r\n\r\n";
const FLV_HEADER: [u8; 13] = *b"FLV\x01\x05\x00\x00\x00\x09\x00\x00\x00\x00";

pub fn main(args: &Args) -> Result<()> {
    let origin = Origin::listen(args.number("origin-port", 0)? as u16, begin)?;
    if let Some(register) = args.get("register") {
        http::register(register, args.get("token"), &[("http", origin.port)])?;
    }
    let gateway = http::authority(args.text("gateway")?)?;
    let viewers = (0..args.number("clients", 100)?).map(|_| watch(gateway)).collect::<Result<Vec<_>>>()?;
    fanout::run(args, &origin, viewers, &chunk(&tag(args.number("size", 10_000)? as usize)))
}

fn begin(stream: TcpStream) -> Result<TcpStream> {
    let mut reader = BufReader::new(stream);
    http::read_head(&mut reader)?;
    let mut stream = reader.into_inner();
    stream.write_all(HEAD.as_bytes())?;
    stream.write_all(&chunk(&FLV_HEADER))?;
    Ok(stream)
}

fn watch(gateway: &str) -> Result<TcpStream> {
    let mut stream = http::connect(gateway)?;
    write!(stream, "GET /live/bench.flv HTTP/1.1\r\nHost: {gateway}\r\n\r\n")?;
    let mut reader = BufReader::new(stream);
    let status = http::read_head(&mut reader)?;
    if !status.contains(" 200") {
        return Err(format!("GET /live/bench.flv: {status}").into());
    }
    Ok(reader.into_inner())
}

fn chunk(data: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", data.len()).as_bytes(), data, b"\r\n"].concat()
}

/// A video tag of so many bytes: an inter frame, H.264.
fn tag(size: usize) -> Vec<u8> {
    let mut data = vec![0x5a; size];
    data[..5].copy_from_slice(&[0x27, 1, 0, 0, 0]);
    let length = (size as u32).to_be_bytes();
    let mut tag = vec![9, length[1], length[2], length[3], 0, 0, 0, 0, 0, 0, 0];
    tag.extend_from_slice(&data);
    tag.extend_from_slice(&(size as u32 + 11).to_be_bytes());
    tag
}
