//! WHIP set-ups: clients who publish and leave again, as fast as they are answered. The origin answers offers and deletes.

use crate::args::{Args, Result};
use crate::clock::now_ns;
use crate::http;
use crate::latency::Latencies;
use crate::run::{serve, Report};
use crate::whep::{answer_offers, sdp};
use std::io::{BufReader, Write};
use std::net::{TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

pub fn main(args: &Args) -> Result<()> {
    let media = UdpSocket::bind("127.0.0.1:0")?;
    let api = TcpListener::bind(("127.0.0.1", 0))?;
    let ports = [("api", api.local_addr()?.port()), ("rtc", media.local_addr()?.port())];
    let media_port = ports[1].1;
    thread::spawn(move || answer_offers(&api, media_port));
    http::register(args.text("register")?, args.get("token"), &ports)?;
    let gateway = http::authority(args.text("gateway")?)?;
    let clients = args.number("clients", 8)?;
    let next = AtomicU64::new(0);
    serve(args, |_, duration| {
        let latencies = Mutex::new(Latencies::new());
        let start = Instant::now();
        let asked = thread::scope(|scope| {
            let working: Vec<_> = (0..clients)
                .map(|_| scope.spawn(|| publish(gateway, &next, &latencies, start, duration)))
                .collect();
            working.into_iter().map(|one| one.join().expect("no panic")).sum::<Result<u64>>()
        })?;
        Ok(Report {
            unit: "requests",
            sent: asked,
            delivered: asked,
            seconds: start.elapsed().as_secs_f64(),
            latencies: Some(latencies.into_inner().expect("no panic")),
            smaller_share: None,
            junk: None,
        })
    })
}

/// One client: a session after the other. Gives how many there were.
fn publish(
    gateway: &str,
    next: &AtomicU64,
    latencies: &Mutex<Latencies>,
    start: Instant,
    run: Duration,
) -> Result<u64> {
    let mut done = 0;
    while start.elapsed() < run {
        let number = next.fetch_add(1, Relaxed);
        let began = now_ns();
        let location = offer(gateway, number)?;
        latencies.lock().expect("no panic").record(now_ns() - began, 1);
        let mut stream = http::connect(gateway)?;
        write!(stream, "DELETE {location} HTTP/1.1\r\nHost: {gateway}\r\nConnection: close\r\n\r\n")?;
        let start_line = http::read_message(&mut BufReader::new(stream))?.start;
        if !start_line.contains(" 200") {
            return Err(format!("DELETE {location}: {start_line}").into());
        }
        done += 1;
    }
    Ok(done)
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
