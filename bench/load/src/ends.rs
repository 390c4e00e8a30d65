//! An origin and its viewers, between whom datagrams flow one way.

use crate::args::{Args, Result};
use crate::clock::now_ns;
use crate::inbox::{Inbox, Received};
use crate::origin::Origin;
use crate::outbox::{rtp, Outbox, BATCH, STAMP};
use crate::pace::{pace, Pace};
use crate::run::Report;
use crate::socket::{raw_address, set_segment_bytes};
use crate::sweep::sweep;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

/// The largest UDP payload, of a datagram and of a train.
const MAX_MESSAGE_BYTES: usize = 65_507;

/// What a datagram of a session begins with, before what looks like RTP; of one length in all sessions.
pub struct Heads<const BYTES: usize> {
    pub to_viewer: [u8; BYTES],
    pub to_origin: [u8; BYTES],
}

/// The origin and its viewers, who found each other through what is between.
pub struct Ends<const HEAD_BYTES: usize> {
    origin: Origin,
    sessions: Vec<Session<HEAD_BYTES>>,
}

struct Session<const HEAD_BYTES: usize> {
    viewer: UdpSocket,
    /// Where the origin sees the viewer.
    seen_at: libc::sockaddr_in,
    heads: Heads<HEAD_BYTES>,
}

impl<const HEAD_BYTES: usize> Ends<HEAD_BYTES> {
    /// Viewers, and in the same order where the origin sees them.
    pub fn new(
        origin: Origin,
        viewers: Vec<UdpSocket>,
        seen_at: &[SocketAddr],
        heads: impl Fn(usize) -> Heads<HEAD_BYTES>,
    ) -> Result<Ends<HEAD_BYTES>> {
        if seen_at.len() != viewers.len() {
            return Err(format!("{} of {} sessions reached the origin", seen_at.len(), viewers.len()).into());
        }
        let sessions = viewers.into_iter().zip(seen_at).enumerate().map(|(index, (viewer, seen_at))| {
            Session { viewer, seen_at: raw_address(*seen_at), heads: heads(index) }
        });
        Ok(Ends { origin, sessions: sessions.collect() })
    }

    pub fn run(&self, options: &Args, duration: Duration) -> Result<Report> {
        let traffic = Traffic::parse(options, HEAD_BYTES)?;
        let (origin, viewers) = (vec![self.origin.socket.as_raw_fd()], self.viewer_sockets());
        let (senders, receivers) = if traffic.is_upwards { (viewers, origin) } else { (origin, viewers) };
        let segment_bytes = if traffic.train > 1 { traffic.size } else { 0 };
        senders.iter().try_for_each(|sender| set_segment_bytes(*sender, segment_bytes))?;
        let is_sending = AtomicBool::new(true);
        let (sent, elapsed, received) = thread::scope(|scope| {
            let receiving = scope.spawn(|| receive(&receivers, HEAD_BYTES, &is_sending));
            let start = Instant::now();
            let sent = match traffic.is_upwards {
                true => self.send_up(&traffic, duration),
                false => self.send_down(&traffic, duration),
            };
            let elapsed = start.elapsed();
            is_sending.store(false, Relaxed);
            (sent, elapsed, receiving.join().expect("no panic"))
        });
        Ok(Report {
            unit: "packets",
            sent,
            delivered: received.count,
            seconds: elapsed.as_secs_f64(),
            latencies: Some(received.latencies),
            smaller_share: None,
            junk: None,
        })
    }

    fn viewer_sockets(&self) -> Vec<RawFd> {
        self.sessions.iter().map(|session| session.viewer.as_raw_fd()).collect()
    }

    fn send_down(&self, traffic: &Traffic, duration: Duration) -> u64 {
        let fd = self.origin.socket.as_raw_fd();
        let mut outbox = traffic.outbox(HEAD_BYTES);
        pace(&traffic.pace, duration, |first, count| {
            let now = now_ns();
            for at in 0..count {
                let session = self.turn_of(traffic, first as usize + at);
                outbox.aim(at, &session.seen_at);
                outbox.put(at, 0, &session.heads.to_viewer);
                stamp(&mut outbox, at, HEAD_BYTES, now);
            }
            outbox.send(fd, count)
        })
    }

    /// A call per burst, since each viewer has its own socket.
    fn send_up(&self, traffic: &Traffic, duration: Duration) -> u64 {
        let burst = traffic.pace.burst;
        let mut outbox = traffic.outbox(HEAD_BYTES);
        pace(&traffic.pace, duration, |first, count| {
            (0..count)
                .step_by(burst)
                .map(|at| {
                    let session = self.turn_of(traffic, first as usize + at);
                    let now = now_ns();
                    for at in 0..burst {
                        outbox.put(at, 0, &session.heads.to_origin);
                        stamp(&mut outbox, at, HEAD_BYTES, now);
                    }
                    outbox.send(session.viewer.as_raw_fd(), burst)
                })
                .sum()
        })
    }

    /// Whose the datagram of this number is.
    fn turn_of(&self, traffic: &Traffic, number: usize) -> &Session<HEAD_BYTES> {
        &self.sessions[number / traffic.pace.burst % self.sessions.len()]
    }
}

/// What a run sends.
struct Traffic {
    /// A burst is for one viewer.
    pace: Pace,
    /// How many of a burst leave in one message; 1 is each by itself.
    train: usize,
    size: usize,
    is_upwards: bool,
}

impl Traffic {
    fn parse(options: &Args, head_bytes: usize) -> Result<Traffic> {
        let train = options.number("train", 1)? as usize;
        let pace = Pace {
            rate: options.number("rate", 20_000)?,
            burst: options.number("burst", train as u64)? as usize,
            tick: Duration::from_micros(options.number("tick-us", 100)?),
        };
        let traffic = Traffic {
            pace,
            train,
            size: options.number("size", 1200)? as usize,
            is_upwards: options.get("direction") == Some("up"),
        };
        let burst = traffic.pace.burst;
        if !(1..=BATCH).contains(&burst) || burst.checked_rem(train) != Some(0) {
            return Err(format!("--burst is 1 to {BATCH}, and a multiple of --train").into());
        }
        let least = head_bytes + STAMP.end;
        if traffic.size < least || traffic.size * train > MAX_MESSAGE_BYTES {
            return Err(format!("--size is {least} to {MAX_MESSAGE_BYTES} by --train").into());
        }
        Ok(traffic)
    }

    fn outbox(&self, head_bytes: usize) -> Outbox {
        let datagram = [vec![0; head_bytes], rtp(self.size - head_bytes)].concat();
        Outbox::of(&datagram, self.train)
    }
}

fn stamp(outbox: &mut Outbox, datagram: usize, head_bytes: usize, now_ns: u64) {
    outbox.put(datagram, head_bytes + STAMP.start, &now_ns.to_be_bytes());
}

/// Counts what arrives.
fn receive(receivers: &[RawFd], head_bytes: usize, is_sending: &AtomicBool) -> Received {
    let (mut inbox, mut received) = (Inbox::new(), Received::new());
    sweep(is_sending, || {
        for receiver in receivers {
            inbox.receive(*receiver, |arrival| {
                received.count(arrival, head_bytes);
            });
        }
        received.count
    });
    received
}
