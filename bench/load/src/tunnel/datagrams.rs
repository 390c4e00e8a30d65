//! Datagrams of one user to the service.

use crate::args::{Args, Result};
use crate::clock::now_ns;
use crate::inbox::{Inbox, Received};
use crate::outbox::{rtp, Outbox, STAMP};
use crate::pace::{pace, Pace};
use crate::run::Report;
use crate::socket::bind;
use crate::sweep::sweep;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

/// How long a datagram that shows whether the tunnel stands may take.
const PASS: Duration = Duration::from_millis(200);

pub struct Datagrams {
    user: UdpSocket,
    service: UdpSocket,
}

impl Datagrams {
    pub fn bind(users: SocketAddr, service_port: u16) -> Result<Datagrams> {
        let (user, service) = (bind(0)?, bind(service_port)?);
        user.connect(users)?;
        service.set_read_timeout(Some(PASS))?;
        Ok(Datagrams { user, service })
    }

    /// Whether a datagram gets through. Being too short for a stamp, it is counted nowhere.
    pub fn pass(&self) -> Result<()> {
        self.user.send(&[0])?;
        self.service.recv(&mut [0])?;
        Ok(())
    }

    pub fn run(&self, options: &Args, duration: Duration) -> Result<Report> {
        let beat = Pace {
            rate: options.number("rate", 20_000)?,
            burst: 1,
            tick: Duration::from_micros(options.number("tick-us", 100)?),
        };
        let size = options.number("size", 1200)? as usize;
        if size < STAMP.end {
            return Err(format!("--size {size}: at least {}", STAMP.end).into());
        }
        let mut outbox = Outbox::of(&rtp(size), 1);
        let is_sending = AtomicBool::new(true);
        let (user, service) = (self.user.as_raw_fd(), self.service.as_raw_fd());
        Ok(thread::scope(|scope| {
            let receiving = scope.spawn(|| {
                let (mut inbox, mut received) = (Inbox::new(), Received::new());
                sweep(&is_sending, || {
                    inbox.receive(service, |arrival| {
                        received.count(arrival, 0);
                    });
                    received.count
                });
                received
            });
            let start = Instant::now();
            let sent = pace(&beat, duration, |_, count| {
                (0..count).for_each(|at| outbox.stamp(at, now_ns()));
                outbox.send(user, count)
            });
            let seconds = start.elapsed().as_secs_f64();
            is_sending.store(false, Relaxed);
            let Received { count, latencies } = receiving.join().expect("no panic");
            Report {
                unit: "packets",
                sent,
                delivered: count,
                seconds,
                latencies: Some(latencies),
                smaller_share: None,
                junk: None,
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datagrams_are_sent_at_their_rate_and_counted() {
        let service_port = bind(0).unwrap().local_addr().unwrap().port();
        let datagrams = Datagrams::bind(([127, 0, 0, 1], service_port).into(), service_port).unwrap();
        datagrams.pass().unwrap();
        let options = Args::parse(["--rate", "1000"].map(str::to_string).into_iter()).unwrap();
        let report = datagrams.run(&options, Duration::from_millis(200)).unwrap();
        assert!((100..=200).contains(&report.sent), "{}", report.sent);
        assert_eq!(report.delivered, report.sent);
    }
}
