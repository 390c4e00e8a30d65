//! HLS: viewers who fetch a segment each time one has played, over connections that stay. The playlist is asked for once,
//! through what is between, and says by what name segments go there.

use crate::args::{Args, Result};
use crate::http;
use crate::poll::Poll;
use crate::run::{serve, Report};
use std::io::{BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::thread;
use std::time::{Duration, Instant};

/// After the last request, until what was not delivered is lost.
const DRAIN: Duration = Duration::from_millis(500);
const PLAYLIST: &str = "/live/bench.m3u8";

pub fn main(args: &Args) -> Result<()> {
    let size = args.number("size", 250_000)? as usize;
    let listener = TcpListener::bind(("127.0.0.1", args.number("origin-port", 0)? as u16))?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || accept(&listener, size));
    if let Some(register) = args.get("register") {
        http::register(register, args.get("token"), &[("http", port)])?;
    }
    let gateway = http::authority(args.text("gateway")?)?;
    let segment = segment_of(http::connect(gateway)?, gateway, PLAYLIST)?;
    let request = format!("GET {segment} HTTP/1.1\r\nHost: {gateway}\r\n\r\n");
    let clients = args.number("clients", 100)?;
    let mut viewers = (0..clients).map(|_| Viewer::connect(gateway)).collect::<Result<Vec<_>>>()?;
    let kbits = args.number("kbits", 2000)?;
    let beat = Duration::from_secs_f64(size as f64 * 8.0 / (kbits as f64 * 1000.0));
    serve(args, |_, duration| {
        // Who stood idle for long while others ran was sent away.
        for viewer in viewers.iter_mut().filter(|viewer| !viewer.is_at_rest()) {
            *viewer = Viewer::connect(gateway)?;
        }
        watch(&mut viewers, request.as_bytes(), size, beat, duration)
    })
}

/// The origin: the same playlist and segment under every name.
pub fn accept(listener: &TcpListener, size: usize) {
    for stream in listener.incoming().flatten() {
        thread::spawn(move || answer(stream, size));
    }
}

/// Answers requests until the connection ends.
fn answer(stream: TcpStream, size: usize) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    let body = vec![0x47; size];
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: video/mp2t\r\nContent-Length: {size}\r\n\r\n");
    loop {
        let start = http::read_head(&mut reader)?;
        let stream = reader.get_mut();
        if start.contains(".m3u8") {
            let text = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:1.0,\nbench-1.ts\n";
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Type: application/vnd.apple.mpegurl\r\nContent-Length: {}\r\n\r\n{text}", text.len())?;
        } else {
            stream.write_all(head.as_bytes())?;
            stream.write_all(&body)?;
        }
    }
}

/// Path and query of the segment that a playlist names.
pub fn segment_of(mut stream: TcpStream, gateway: &str, playlist: &str) -> Result<String> {
    write!(stream, "GET {playlist} HTTP/1.1\r\nHost: {gateway}\r\nConnection: close\r\n\r\n")?;
    let answer = http::read_message(&mut BufReader::new(stream))?;
    let line = answer.body.lines().find(|line| !line.is_empty() && !line.starts_with('#'));
    let name = line.ok_or(format!("{}: no segment in {}", answer.start, answer.body))?.trim();
    Ok(if name.starts_with('/') { name.to_string() } else { format!("/live/{name}") })
}

/// A viewer's connection, and what is left of the answer under way.
struct Viewer {
    stream: TcpStream,
    due: Instant,
    head: Vec<u8>,
    left: usize,
    is_waiting: bool,
}

impl Viewer {
    fn connect(gateway: &str) -> Result<Viewer> {
        let stream = http::connect(gateway)?;
        stream.set_nonblocking(true)?;
        Ok(Viewer { stream, due: Instant::now(), head: Vec::new(), left: 0, is_waiting: false })
    }

    /// Whether the connection stands and nothing waits in it.
    fn is_at_rest(&self) -> bool {
        !self.is_waiting
            && self.stream.peek(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }

    fn ask(&mut self, request: &[u8]) -> Result<()> {
        self.stream.write_all(request)?;
        self.head.clear();
        self.is_waiting = true;
        Ok(())
    }

    /// Reads what is there; gives how much of it is body.
    fn read(&mut self, buffer: &mut [u8], size: usize) -> Result<usize> {
        let mut body = 0;
        loop {
            let got = match self.stream.read(buffer) {
                Ok(0) => return Err("a viewer's connection has ended".into()),
                Ok(got) => got,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(body),
                Err(error) => return Err(error.into()),
            };
            body += self.take(&buffer[..got], size)?;
        }
    }

    fn take(&mut self, bytes: &[u8], size: usize) -> Result<usize> {
        if self.left > 0 {
            let taken = bytes.len().min(self.left);
            self.left -= taken;
            self.is_waiting = self.left > 0;
            return Ok(taken);
        }
        self.head.extend_from_slice(bytes);
        let Some(end) = self.head.windows(4).position(|four| four == b"\r\n\r\n") else { return Ok(0) };
        if !self.head.starts_with(b"HTTP/1.1 200") {
            return Err(String::from_utf8_lossy(&self.head).into_owned().into());
        }
        let body = self.head.len() - end - 4;
        self.left = size - body.min(size);
        self.is_waiting = self.left > 0;
        Ok(body)
    }
}

fn watch(
    viewers: &mut [Viewer],
    request: &[u8],
    size: usize,
    beat: Duration,
    run: Duration,
) -> Result<Report> {
    let mut poll = Poll::new()?;
    for (token, viewer) in viewers.iter().enumerate() {
        poll.add(viewer.stream.as_raw_fd(), libc::EPOLLIN | libc::EPOLLET, token)?;
    }
    let start = Instant::now();
    let count = viewers.len() as u32;
    for (index, viewer) in viewers.iter_mut().enumerate() {
        viewer.due = start + beat * index as u32 / count;
    }
    let (mut asked, mut delivered) = (0u64, 0u64);
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let elapsed = start.elapsed();
        let is_asking = elapsed < run;
        if !is_asking && (elapsed >= run + DRAIN || viewers.iter().all(|viewer| !viewer.is_waiting)) {
            break;
        }
        let now = Instant::now();
        for viewer in viewers.iter_mut().filter(|viewer| is_asking && !viewer.is_waiting && viewer.due <= now)
        {
            viewer.ask(request)?;
            viewer.due += beat;
            asked += 1;
        }
        for token in poll.wait(2) {
            delivered += viewers[token].read(&mut buffer, size)? as u64;
        }
    }
    Ok(Report {
        unit: "bytes",
        sent: asked * size as u64,
        delivered,
        seconds: start.elapsed().min(run).as_secs_f64(),
        latencies: None,
        smaller_share: None,
        junk: None,
    })
}
