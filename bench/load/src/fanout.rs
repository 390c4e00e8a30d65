//! One live stream over TCP to many viewers: the origin writes a message to every connection at a steady
//! beat, the viewers read and count.

use crate::args::{Args, Result};
use crate::poll::Poll;
use crate::run::{serve, Report};
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// After the last message was written, until what was not delivered is lost.
const DRAIN: Duration = Duration::from_millis(300);
/// How many messages a connection may be behind before further ones are left out.
const MAX_BACKLOG_MESSAGES: usize = 64;

/// Speaks with one accepted connection until its stream may begin; then the connection is the viewer's.
pub type Dialogue = fn(TcpStream) -> Result<TcpStream>;

/// Accepts connections and speaks with each in a thread of its own.
pub struct Origin {
    pub port: u16,
    ready: Arc<Mutex<Vec<TcpStream>>>,
}

impl Origin {
    pub fn listen(port: u16, dialogue: Dialogue) -> Result<Origin> {
        let listener = TcpListener::bind(("127.0.0.1", port))?;
        let origin = Origin { port: listener.local_addr()?.port(), ready: Arc::default() };
        let ready = origin.ready.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let ready = ready.clone();
                thread::spawn(move || match dialogue(stream) {
                    Ok(stream) => ready.lock().expect("no panic").push(stream),
                    Err(error) => eprintln!("origin: {error}"),
                });
            }
        });
        Ok(origin)
    }

    fn take(&self, count: usize) -> Result<Vec<TcpStream>> {
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline {
            let mut ready = self.ready.lock().expect("no panic");
            if ready.len() >= count {
                return Ok(std::mem::take(&mut *ready));
            }
            drop(ready);
            thread::sleep(Duration::from_millis(5));
        }
        Err(format!("fewer than {count} connections reached the origin").into())
    }
}

/// Runs the load: `message` is what one beat writes to each connection.
pub fn run(args: &Args, origin: &Origin, viewers: Vec<TcpStream>, message: &[u8]) -> Result<()> {
    let kbits_per_second = args.number("kbits", 2000)?;
    let beat = Duration::from_secs_f64(message.len() as f64 * 8.0 / (kbits_per_second as f64 * 1000.0));
    let streams = origin.take(viewers.len())?;
    for stream in streams.iter().chain(&viewers) {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
    }
    let mut connections: Vec<Connection> =
        streams.into_iter().map(|stream| Connection { stream, backlog: Vec::new() }).collect();
    serve(args, |_, duration| {
        let delivered = AtomicU64::new(0);
        let stop = AtomicBool::new(false);
        let (sent, elapsed) = thread::scope(|scope| {
            let reading = scope.spawn(|| count_bytes(&viewers, &delivered, &stop));
            let start = Instant::now();
            let sent = write_beats(&mut connections, message, beat, duration);
            let elapsed = start.elapsed();
            thread::sleep(DRAIN);
            stop.store(true, Relaxed);
            reading.join().expect("no panic").map(|()| (sent, elapsed))
        })?;
        Ok(Report {
            unit: "bytes",
            sent,
            delivered: delivered.load(Relaxed),
            seconds: elapsed.as_secs_f64(),
            latencies: None,
            smaller_share: None,
            junk: None,
        })
    })
}

struct Connection {
    stream: TcpStream,
    backlog: Vec<u8>,
}

/// Returns the bytes offered, those included that a slow connection made the origin leave out.
fn write_beats(connections: &mut [Connection], message: &[u8], beat: Duration, run: Duration) -> u64 {
    let start = Instant::now();
    let mut beats = 0u32;
    while start.elapsed() < run {
        for connection in connections.iter_mut() {
            connection.write(message);
        }
        beats += 1;
        thread::sleep((beat * beats).saturating_sub(start.elapsed()));
    }
    let deadline = Instant::now() + DRAIN;
    while connections.iter().any(|connection| !connection.backlog.is_empty()) && Instant::now() < deadline {
        connections.iter_mut().for_each(|connection| connection.write(&[]));
        thread::sleep(Duration::from_millis(5));
    }
    beats as u64 * message.len() as u64 * connections.len() as u64
}

impl Connection {
    fn write(&mut self, message: &[u8]) {
        if self.backlog.is_empty() {
            let took = written(self.stream.write(message));
            self.backlog.extend_from_slice(&message[took..]);
            return;
        }
        if self.backlog.len() < MAX_BACKLOG_MESSAGES * message.len() {
            self.backlog.extend_from_slice(message);
        }
        let took = written(self.stream.write(&self.backlog));
        self.backlog.drain(..took);
    }
}

fn written(result: std::io::Result<usize>) -> usize {
    match result {
        Ok(took) => took,
        Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
        // Its viewer sees the end too, and what is missing counts as lost.
        Err(_) => 0,
    }
}

fn count_bytes(viewers: &[TcpStream], delivered: &AtomicU64, stop: &AtomicBool) -> Result<()> {
    let mut poll = Poll::new()?;
    for (token, viewer) in viewers.iter().enumerate() {
        poll.add(viewer.as_raw_fd(), libc::EPOLLIN | libc::EPOLLET, token)?;
    }
    let mut buffer = vec![0; 256 * 1024];
    while !stop.load(Relaxed) {
        for token in poll.wait(50) {
            let mut viewer = &viewers[token];
            while let Ok(got @ 1..) = viewer.read(&mut buffer) {
                delivered.fetch_add(got as u64, Relaxed);
            }
        }
    }
    Ok(())
}
