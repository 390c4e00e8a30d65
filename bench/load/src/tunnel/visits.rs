//! Short connections: connect, a kilobyte there and back, close.

use crate::args::Result;
use crate::poll::Poll;
use crate::run::Report;
use std::collections::HashMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

const MESSAGE_BYTES: usize = 1024;
/// Of one run, however long it is: each leaves a port behind that rests for a minute, and the system has some 28,000.
const MOST: u64 = 20_000;
/// How long both ends wait in a call at most, until they look whether it is over.
const WAIT_MS: i32 = 10;
/// After so long without its answer a visit has failed.
const PATIENCE: Duration = Duration::from_secs(3);

/// A user's connection that waits for its answer.
struct Visit {
    stream: TcpStream,
    since: Instant,
    got: usize,
}

enum Step {
    Waits,
    Done,
    Failed(String),
}

/// Keeps `window` connections under way for as long as `duration`.
pub fn run(users: SocketAddr, service: &TcpListener, window: usize, duration: Duration) -> Result<Report> {
    let has_ended = AtomicBool::new(false);
    thread::scope(|scope| {
        let echoing = scope.spawn(|| echo(service, &has_ended));
        let report = visit(users, window, duration);
        has_ended.store(true, Relaxed);
        echoing.join().expect("no panic")?;
        report
    })
}

fn visit(users: SocketAddr, window: usize, duration: Duration) -> Result<Report> {
    let mut poll = Poll::new()?;
    let mut visits: Vec<Option<Visit>> = (0..window).map(|_| None).collect();
    let (mut sent, mut delivered, mut failure) = (0, 0, String::new());
    let start = Instant::now();
    loop {
        let is_open = start.elapsed() < duration && sent < MOST;
        if is_open {
            for (token, place) in visits.iter_mut().enumerate().filter(|(_, place)| place.is_none()) {
                let visit = Visit::begin(users)?;
                poll.add(visit.stream.as_raw_fd(), libc::EPOLLIN, token)?;
                *place = Some(visit);
                sent += 1;
            }
        } else if visits.iter().all(Option::is_none) {
            break;
        }
        for token in poll.wait(WAIT_MS) {
            match visits[token].as_mut().map_or(Step::Waits, Visit::go_on) {
                Step::Waits => continue,
                Step::Done => delivered += 1,
                Step::Failed(reason) => failure = reason,
            }
            // Out of the poll too, since nobody else has its descriptor.
            visits[token] = None;
        }
        for place in &mut visits {
            if place.as_ref().is_some_and(|visit| visit.since.elapsed() > PATIENCE) {
                failure = "no answer".into();
                *place = None;
            }
        }
    }
    if delivered == 0 {
        return Err(format!("no connection was answered; the last one: {failure}").into());
    }
    Ok(Report {
        unit: "connections",
        sent,
        delivered,
        seconds: start.elapsed().as_secs_f64(),
        latencies: None,
        smaller_share: None,
        junk: None,
    })
}

impl Visit {
    fn begin(users: SocketAddr) -> Result<Visit> {
        let mut stream = TcpStream::connect(users)?;
        stream.write_all(&[b'.'; MESSAGE_BYTES])?;
        stream.set_nonblocking(true)?;
        Ok(Visit { stream, since: Instant::now(), got: 0 })
    }

    fn go_on(&mut self) -> Step {
        let mut buffer = [0; MESSAGE_BYTES];
        match self.stream.read(&mut buffer) {
            Ok(0) => Step::Failed("it ended".into()),
            Ok(got) => {
                self.got += got;
                if self.got < MESSAGE_BYTES {
                    return Step::Waits;
                }
                Step::Done
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Step::Waits,
            Err(error) => Step::Failed(error.to_string()),
        }
    }
}

/// The service: sends everybody back what it gets, until they close.
fn echo(service: &TcpListener, has_ended: &AtomicBool) -> Result<()> {
    let mut poll = Poll::new()?;
    let listening = service.as_raw_fd() as usize;
    poll.add(service.as_raw_fd(), libc::EPOLLIN, listening)?;
    let mut guests: HashMap<usize, TcpStream> = HashMap::new();
    while !has_ended.load(Relaxed) {
        for token in poll.wait(WAIT_MS).collect::<Vec<_>>() {
            if token != listening {
                if guests.get(&token).is_some_and(|guest| !answer(guest)) {
                    guests.remove(&token);
                }
                continue;
            }
            while let Ok((guest, _)) = service.accept() {
                guest.set_nonblocking(true)?;
                let fd = guest.as_raw_fd();
                // What a guest says is mostly there already.
                if answer(&guest) {
                    poll.add(fd, libc::EPOLLIN, fd as usize)?;
                    guests.insert(fd as usize, guest);
                }
            }
        }
    }
    Ok(())
}

/// Echoes what there is; whether more may come.
fn answer(mut guest: &TcpStream) -> bool {
    let mut buffer = [0; MESSAGE_BYTES];
    match guest.read(&mut buffer) {
        Ok(0) => false,
        // A kilobyte finds room in the buffer of a connection that has sent little else.
        Ok(got) => guest.write_all(&buffer[..got]).is_ok(),
        Err(error) => error.kind() == ErrorKind::WouldBlock,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_connection_is_answered() {
        let service = TcpListener::bind("127.0.0.1:0").unwrap();
        service.set_nonblocking(true).unwrap();
        let users = service.local_addr().unwrap();
        let report = run(users, &service, 4, Duration::from_millis(50)).unwrap();
        assert!(report.delivered >= 4);
        assert_eq!(report.delivered, report.sent);
    }

    #[test]
    fn a_service_that_nobody_reaches_is_an_error() {
        let service = TcpListener::bind("127.0.0.1:0").unwrap();
        service.set_nonblocking(true).unwrap();
        let closing = TcpListener::bind("127.0.0.1:0").unwrap();
        let users = closing.local_addr().unwrap();
        thread::scope(|scope| {
            scope.spawn(move || drop(closing.accept()));
            // Whoever comes next is refused.
            assert!(run(users, &service, 1, Duration::from_millis(1)).is_err());
        });
    }
}
