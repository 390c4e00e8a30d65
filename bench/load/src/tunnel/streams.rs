//! Long transfers: one end of each stream writes all that the system takes, the other reads it and throws it away.

use crate::args::{Args, Result};
use crate::poll::Poll;
use crate::run::Report;
use crate::socket::set_buffers;
use std::io::{Error, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

/// How long a connection may take to come out at the other end.
const MEET: Duration = Duration::from_millis(500);
/// How long both ends wait in a call at most, until they look whether it is over.
const WAIT_MS: i32 = 10;
/// Between two looks whether a connection has come out.
const PAUSE: Duration = Duration::from_micros(200);
/// How long what is on its way may take to arrive when no more is sent.
const DRAIN: Duration = Duration::from_secs(10);
/// Of one write.
const PIECE_BYTES: usize = 128 << 10;
/// Of one read.
const READ_BYTES: usize = 1 << 20;

#[derive(Clone, Copy, PartialEq)]
pub enum Direction {
    /// From the service to users.
    Down,
    Up,
}

impl Direction {
    pub fn parse(options: &Args) -> Result<Direction> {
        match options.get("direction").unwrap_or("down") {
            "down" => Ok(Direction::Down),
            "up" => Ok(Direction::Up),
            other => Err(format!("--direction {other}: it is down or up").into()),
        }
    }
}

/// Both ends of streams through the tunnel. They stay open over all runs.
pub struct Streams {
    users: SocketAddr,
    service: TcpListener,
    pairs: Vec<Pair>,
}

struct Pair {
    user: TcpStream,
    service: TcpStream,
}

impl Streams {
    /// With a first stream, which shows that the tunnel stands.
    pub fn open(users: SocketAddr, service: &TcpListener) -> Result<Streams> {
        let service = service.try_clone()?;
        let pairs = vec![Pair::open(users, &service)?];
        Ok(Streams { users, service, pairs })
    }

    /// Moves bytes over the first `count` streams, which are opened if there are not so many yet.
    pub fn run(&mut self, count: usize, direction: Direction, duration: Duration) -> Result<Report> {
        while self.pairs.len() < count {
            self.pairs.push(Pair::open(self.users, &self.service)?);
        }
        let ends = self.pairs[..count].iter().map(|Pair { user, service }| match direction {
            Direction::Down => (service, user),
            Direction::Up => (user, service),
        });
        let (sources, sinks): (Vec<_>, Vec<_>) = ends.unzip();
        let (is_sending, sent) = (AtomicBool::new(true), AtomicU64::new(0));
        let start = Instant::now();
        let delivered = thread::scope(|scope| {
            let reading = scope.spawn(|| read_all(&sinks, &is_sending, &sent));
            let written = write_all(&sources, &sent, start, duration);
            is_sending.store(false, Relaxed);
            let delivered = reading.join().expect("no panic");
            written.and(delivered)
        })?;
        Ok(Report {
            unit: "bytes",
            sent: sent.into_inner(),
            delivered,
            seconds: start.elapsed().as_secs_f64(),
            latencies: None,
            smaller_share: None,
            junk: None,
        })
    }
}

impl Pair {
    /// A user's connection, and what comes of it at the service. A byte that the user sends shows that they belong
    /// together: of earlier tries there may be connections whose user has gone.
    fn open(users: SocketAddr, service: &TcpListener) -> Result<Pair> {
        let mut user = TcpStream::connect(users)?;
        user.write_all(&[1])?;
        let start = Instant::now();
        while start.elapsed() < MEET {
            let mut accepted = match service.accept() {
                Ok((accepted, _)) => accepted,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    thread::sleep(PAUSE);
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            accepted.set_nonblocking(false)?;
            accepted.set_read_timeout(Some(MEET))?;
            if matches!(accepted.read(&mut [0]), Ok(1)) {
                for stream in [&user, &accepted] {
                    stream.set_nonblocking(true)?;
                    stream.set_nodelay(true)?;
                    set_buffers(stream.as_raw_fd())?;
                }
                return Ok(Pair { user, service: accepted });
            }
        }
        Err("a connection does not come out at the service".into())
    }
}

/// Writes to whichever stream takes something.
fn write_all(sources: &[&TcpStream], sent: &AtomicU64, start: Instant, duration: Duration) -> Result<()> {
    let mut poll = poll_of(sources, libc::EPOLLOUT)?;
    let piece = vec![b'.'; PIECE_BYTES];
    while start.elapsed() < duration {
        for token in poll.wait(WAIT_MS) {
            let mut source = sources[token];
            match source.write(&piece) {
                Ok(took) => sent.fetch_add(took as u64, Relaxed),
                Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                Err(error) => return Err(error.into()),
            };
        }
    }
    Ok(())
}

/// Reads until all that was sent is there, or what is missing does not come; how much came.
fn read_all(sinks: &[&TcpStream], is_sending: &AtomicBool, sent: &AtomicU64) -> Result<u64> {
    let mut poll = poll_of(sinks, libc::EPOLLIN)?;
    let (mut delivered, mut last_sending) = (0, Instant::now());
    loop {
        // In this order: what is sent after the look at the sum is seen by the next round.
        let has_ended = !is_sending.load(Relaxed);
        for token in poll.wait(WAIT_MS) {
            delivered += discard(sinks[token])?;
        }
        if !has_ended {
            last_sending = Instant::now();
        } else if delivered >= sent.load(Relaxed) || last_sending.elapsed() > DRAIN {
            return Ok(delivered);
        }
    }
}

fn poll_of(streams: &[&TcpStream], interest: libc::c_int) -> Result<Poll> {
    let poll = Poll::new()?;
    for (token, stream) in streams.iter().enumerate() {
        poll.add(stream.as_raw_fd(), interest, token)?;
    }
    Ok(poll)
}

/// Takes what waits in a socket without a copy of it; how much that was.
fn discard(stream: &TcpStream) -> Result<u64> {
    let mut total = 0;
    loop {
        let flags = libc::MSG_TRUNC | libc::MSG_DONTWAIT;
        // SAFETY: by tcp(7) MSG_TRUNC throws the bytes away instead of writing them anywhere.
        let got = unsafe { libc::recv(stream.as_raw_fd(), std::ptr::null_mut(), READ_BYTES, flags) };
        match got {
            0 => return Err("a stream ended".into()),
            1.. => total += got as u64,
            _ => match Error::last_os_error() {
                error if error.kind() == ErrorKind::WouldBlock => return Ok(total),
                error => return Err(error.into()),
            },
        }
        if (got as usize) < READ_BYTES {
            return Ok(total);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_sent_arrives_on_every_stream_in_both_directions() {
        let service = TcpListener::bind("127.0.0.1:0").unwrap();
        service.set_nonblocking(true).unwrap();
        let mut streams = Streams::open(service.local_addr().unwrap(), &service).unwrap();
        for direction in [Direction::Down, Direction::Up] {
            let report = streams.run(3, direction, Duration::from_millis(50)).unwrap();
            assert!(report.sent > 3 * PIECE_BYTES as u64);
            assert_eq!(report.delivered, report.sent);
        }
    }
}
