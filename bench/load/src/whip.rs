//! WHIP set-ups: clients who publish and leave again, as fast as they are answered. The origin answers offers and deletes.

use crate::args::{Args, Result};
use crate::cycles;
use crate::http;
use crate::whep::{answer_offers, sdp};
use std::io::{BufReader, Write};
use std::net::{TcpListener, UdpSocket};
use std::thread;

pub fn main(args: &Args) -> Result<()> {
    let media = UdpSocket::bind("127.0.0.1:0")?;
    let api = TcpListener::bind(("127.0.0.1", 0))?;
    let ports = [("api", api.local_addr()?.port()), ("rtc", media.local_addr()?.port())];
    let media_port = ports[1].1;
    thread::spawn(move || answer_offers(&api, media_port));
    http::register(args.text("register")?, args.get("token"), &ports)?;
    let gateway = http::authority(args.text("gateway")?)?;
    cycles::run(args, |number| offer(gateway, number), |location| delete(gateway, &location))
}

fn delete(gateway: &str, location: &str) -> Result<()> {
    let mut stream = http::connect(gateway)?;
    write!(stream, "DELETE {location} HTTP/1.1\r\nHost: {gateway}\r\nConnection: close\r\n\r\n")?;
    let start_line = http::read_message(&mut BufReader::new(stream))?.start;
    if start_line.contains(" 200") {
        Ok(())
    } else {
        Err(format!("DELETE {location}: {start_line}").into())
    }
}

/// The Location of the session.
fn offer(gateway: &str, number: u64) -> Result<String> {
    let body = sdp(&format!("client{number:08}"), None);
    let mut stream = http::connect(gateway)?;
    write!(
        stream,
        "POST /rtc/v1/whip/?app=live&stream=s{number} HTTP/1.1\r\nHost: {gateway}\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )?;
    let answer = http::read_message(&mut BufReader::new(stream))?;
    let refusal = format!("POST: {} {}", answer.start, answer.body);
    answer.location.ok_or(refusal.into())
}
