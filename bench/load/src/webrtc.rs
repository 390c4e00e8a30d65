//! WHEP viewers of one stream: the origin answers the offers, each viewer proves itself with STUN, then
//! datagrams flow one way. With `--relay` there is no signalling: a bare relay learns sessions from STUN. If
//! that is the origin's own port, nothing is between the two ends.

use crate::args::{Args, Result};
use crate::clock::now_ns;
use crate::inbox::{Inbox, Received};
use crate::origin::Origin;
use crate::outbox::{rtp, Outbox, BATCH, STAMP};
use crate::pace::{pace, Pace};
use crate::run::{serve, Report};
use crate::socket::{raw_address, set_segment_bytes};
use crate::sweep::sweep;
use crate::viewer::Viewer;
use crate::whep::{open_sessions, PASSWORD};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

/// The largest UDP payload, of a datagram and of a train.
const MAX_MESSAGE_BYTES: usize = 65_507;

pub fn main(args: &Args) -> Result<()> {
    let viewers = args.number("clients", 200)? as usize;
    let origin = Origin::bind(args.number("origin-port", 0)? as u16)?;
    let ends = Ends::meet(args, viewers, origin)?;
    serve(args, |options, duration| ends.run(&Traffic::parse(options)?, duration))
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
    fn parse(options: &Args) -> Result<Traffic> {
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
        if traffic.size < STAMP.end || traffic.size * train > MAX_MESSAGE_BYTES {
            return Err(format!("--size is {} to {MAX_MESSAGE_BYTES} by --train", STAMP.end).into());
        }
        Ok(traffic)
    }
}

/// The origin and its viewers, who found each other through what is between.
struct Ends {
    origin: Origin,
    viewers: Vec<Viewer>,
    /// Where the origin sees each viewer.
    sessions: Vec<libc::sockaddr_in>,
}

impl Ends {
    fn meet(args: &Args, count: usize, origin: Origin) -> Result<Ends> {
        let port = origin.port()?;
        let end = AtomicBool::new(false);
        let (viewers, sessions) = thread::scope(|scope| {
            let answering = scope.spawn(|| origin.answer(PASSWORD, &end));
            let viewers = match args.get("relay") {
                Some(relay) => relay.parse().map_err(Into::into).and_then(|relay| of_relay(relay, count)),
                None => open_sessions(args, count, port),
            }
            .and_then(proved);
            end.store(true, Relaxed);
            let sessions = answering.join().expect("no panic");
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>((viewers?, sessions?))
        })?;
        if sessions.len() != count {
            return Err(format!("{} of {count} sessions reached the origin", sessions.len()).into());
        }
        Ok(Ends { origin, viewers, sessions: sessions.into_iter().map(raw_address).collect() })
    }

    fn run(&self, traffic: &Traffic, duration: Duration) -> Result<Report> {
        let (origin, viewers) = (vec![self.origin.socket.as_raw_fd()], self.viewer_sockets());
        let (senders, receivers) = if traffic.is_upwards { (viewers, origin) } else { (origin, viewers) };
        let segment_bytes = if traffic.train > 1 { traffic.size } else { 0 };
        senders.iter().try_for_each(|sender| set_segment_bytes(*sender, segment_bytes))?;
        let is_sending = AtomicBool::new(true);
        let (sent, elapsed, received) = thread::scope(|scope| {
            let receiving = scope.spawn(|| receive(&receivers, &is_sending));
            let start = Instant::now();
            let sent = match traffic.is_upwards {
                true => send_up(&senders, traffic, duration),
                false => self.send_down(traffic, duration),
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
        self.viewers.iter().map(|viewer| viewer.socket.as_raw_fd()).collect()
    }

    fn send_down(&self, traffic: &Traffic, duration: Duration) -> u64 {
        let fd = self.origin.socket.as_raw_fd();
        let burst = traffic.pace.burst;
        let mut outbox = Outbox::of(&rtp(traffic.size), traffic.train);
        pace(&traffic.pace, duration, |first, count| {
            let now = now_ns();
            for at in 0..count {
                let viewer = (first as usize + at) / burst % self.sessions.len();
                outbox.aim(at, &self.sessions[viewer]);
                outbox.stamp(at, now);
            }
            outbox.send(fd, count)
        })
    }
}

/// Counts what arrives.
fn receive(receivers: &[RawFd], is_sending: &AtomicBool) -> Received {
    let (mut inbox, mut received) = (Inbox::new(), Received::new());
    sweep(is_sending, || {
        for receiver in receivers {
            inbox.receive(*receiver, |arrival| {
                received.count(arrival, 0);
            });
        }
        received.count
    });
    received
}

/// A call per burst, since each viewer has its own socket.
fn send_up(viewers: &[RawFd], traffic: &Traffic, duration: Duration) -> u64 {
    let burst = traffic.pace.burst;
    let mut outbox = Outbox::of(&rtp(traffic.size), traffic.train);
    pace(&traffic.pace, duration, |first, count| {
        (0..count / burst)
            .map(|at| {
                let now = now_ns();
                (0..burst).for_each(|at| outbox.stamp(at, now));
                let viewer = viewers[(first as usize / burst + at) % viewers.len()];
                outbox.send(viewer, burst)
            })
            .sum()
    })
}

fn of_relay(relay: SocketAddr, count: usize) -> Result<Vec<Viewer>> {
    (0..count).map(|index| Viewer::new(relay, format!("origin{index:06}:viewer{index:06}"))).collect()
}

fn proved(viewers: Vec<Viewer>) -> Result<Vec<Viewer>> {
    viewers.iter().enumerate().try_for_each(|(index, viewer)| viewer.prove(index, PASSWORD))?;
    Ok(viewers)
}
