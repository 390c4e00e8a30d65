//! Datagrams between clients and a peer through the server, both ways at once.

use super::arrivals::{Arrivals, Way, CLIENT, NUMBER};
use super::client::Client;
use super::flow::Flow;
use super::frame::Frame;
use super::junk;
use crate::args::{Args, Result};
use crate::clock::now_ns;
use crate::inbox::Inbox;
use crate::outbox::{Outbox, BATCH, STAMP};
use crate::pace::{pace, Pace};
use crate::run::Report;
use crate::socket::{bind, raw_address};
use crate::sweep::sweep;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

/// The largest payload: with what it is wrapped in, it is a datagram still.
const MAX_PAYLOAD_BYTES: usize = 65_000;
/// A channel's permission ends after 300 seconds, and stands wait for their turn.
const REFRESH_AFTER: Duration = Duration::from_secs(100);
/// Between two looks at all sockets in a closed loop: long enough for arrivals to be taken many at once, short
/// beside the time that a server needs for what is on its way.
const PAUSE: Duration = Duration::from_micros(500);

/// What a run sends.
pub struct Traffic {
    size: usize,
    /// Send and Data indications instead of ChannelData.
    is_indication: bool,
    /// Datagrams per second each way; 0 is a closed loop.
    rate: u64,
    tick: Duration,
    /// How many of a client are on their way, each way, in a closed loop.
    window: u32,
    /// Datagrams per second that strangers throw at the server meanwhile.
    junk: u64,
}

impl Traffic {
    pub fn parse(options: &Args) -> Result<Traffic> {
        let traffic = Traffic {
            size: options.number("size", 1200)? as usize,
            is_indication: options.get("frame") == Some("indication"),
            rate: options.number("rate", 15_000)?,
            tick: Duration::from_micros(options.number("tick-us", 100)?),
            window: options.number("window", 16)? as u32,
            junk: options.number("junk", 0)?,
        };
        if !(STAMP.end..=MAX_PAYLOAD_BYTES).contains(&traffic.size) {
            return Err(format!("--size is {} to {MAX_PAYLOAD_BYTES}", STAMP.end).into());
        }
        if !(1..=BATCH as u32).contains(&traffic.window) {
            return Err(format!("--window is 1 to {BATCH}").into());
        }
        Ok(traffic)
    }
}

/// Clients whose allocations stand, and the peer they all have: a socket towards which each has bound its channel,
/// and one for which there is only the permission. That they share it costs the load least.
pub struct Relays {
    server: SocketAddr,
    clients: Vec<Client>,
    bound: UdpSocket,
    permitted: UdpSocket,
    is_direct: bool,
    refreshed: Instant,
}

impl Relays {
    /// If the server is the peer's own port, nothing is between.
    pub fn open(server: SocketAddr, count: usize, peer_port: u16) -> Result<Relays> {
        let (bound, permitted) = (bind(peer_port)?, bind(0)?);
        let peer = bound.local_addr()?;
        let is_direct = peer == server;
        let open = || -> Result<Client> {
            if is_direct {
                return Client::direct(peer);
            }
            let mut client = Client::allocate(server)?;
            client.permit(peer)?;
            client.bind_channel(peer)?;
            Ok(client)
        };
        let clients = (0..count).map(|_| open()).collect::<Result<Vec<_>>>()?;
        Ok(Relays { server, clients, bound, permitted, is_direct, refreshed: Instant::now() })
    }

    pub fn run(&mut self, traffic: &Traffic, duration: Duration) -> Result<Report> {
        if self.clients.is_empty() {
            return Err("--do relay takes --clients".into());
        }
        self.refresh()?;
        let is_over = AtomicBool::new(false);
        let mut ends = self.ends(traffic)?;
        let ((sent, elapsed, arrivals), junk) = thread::scope(|scope| {
            let is_flooded = traffic.junk > 0 && !self.is_direct;
            let flooding =
                is_flooded.then(|| scope.spawn(|| junk::flood(self.server, traffic.junk, &is_over)));
            let run = match traffic.rate {
                0 => ends.run_closed_loop(traffic.window, duration),
                _ => ends.run_paced(traffic, duration),
            };
            is_over.store(true, Relaxed);
            let junk = flooding.map(|flooding| flooding.join().expect("no panic")).transpose();
            junk.map(|junk| (run, junk))
        })?;
        Ok(Report {
            unit: "packets",
            sent,
            delivered: arrivals.count(),
            seconds: elapsed.as_secs_f64(),
            junk,
            smaller_share: Some(arrivals.smaller_share()),
            latencies: Some(arrivals.up.latencies.with(&arrivals.down.latencies)),
        })
    }

    fn refresh(&mut self) -> Result<()> {
        if self.is_direct || self.refreshed.elapsed() < REFRESH_AFTER {
            return Ok(());
        }
        let peer = self.bound.local_addr()?;
        self.clients.iter_mut().try_for_each(|client| client.bind_channel(peer))?;
        self.refreshed = Instant::now();
        Ok(())
    }

    fn ends(&self, traffic: &Traffic) -> Result<Ends> {
        let (peer, frame) = match (self.is_direct, traffic.is_indication) {
            (true, _) => (&self.bound, Frame::bare(traffic.size)),
            (_, false) => (&self.bound, Frame::channel_data(traffic.size)),
            (_, true) => (&self.permitted, Frame::indication(traffic.size, self.permitted.local_addr()?)?),
        };
        Ok(Ends {
            clients: self.clients.iter().map(|client| client.socket.as_raw_fd()).collect(),
            relayed: self.clients.iter().map(|client| raw_address(client.relayed)).collect(),
            peer: peer.as_raw_fd(),
            upwards: Outbox::of(&frame.datagram, 1),
            payload_at: frame.payload_at,
            downwards: Outbox::of(&Frame::bare(traffic.size).datagram, 1),
        })
    }
}

/// The sockets of a run, and what they send.
struct Ends {
    clients: Vec<RawFd>,
    /// Where the peer reaches each client.
    relayed: Vec<libc::sockaddr_in>,
    peer: RawFd,
    upwards: Outbox,
    /// Where the payload is in what clients send.
    payload_at: usize,
    downwards: Outbox,
}

impl Ends {
    /// Every client in its turn sends one and is sent one.
    fn run_paced(&mut self, traffic: &Traffic, duration: Duration) -> (u64, Duration, Arrivals) {
        let is_sending = AtomicBool::new(true);
        let (clients, peer) = (self.clients.clone(), self.peer);
        thread::scope(|scope| {
            let receiving = scope.spawn(|| {
                let (mut inbox, mut arrivals) = (Inbox::new(), Arrivals::new());
                sweep(&is_sending, || arrivals.take(&mut inbox, peer, &clients, |_| {}));
                arrivals
            });
            let start = Instant::now();
            let beat = Pace { rate: traffic.rate, burst: 1, tick: traffic.tick };
            let sent = pace(&beat, duration, |first, count| {
                let turns = (first as usize..).take(count);
                let up: usize = turns.clone().map(|turn| self.send_up(turn % clients.len(), &[0])).sum();
                turns.enumerate().for_each(|(at, turn)| self.aim_down(at, turn % clients.len(), 0));
                up + self.send_down(count)
            });
            let elapsed = start.elapsed();
            is_sending.store(false, Relaxed);
            (sent, elapsed, receiving.join().expect("no panic"))
        })
    }

    /// Sends when something has arrived, so that at most `window` of each client are on their way each way.
    fn run_closed_loop(&mut self, window: u32, duration: Duration) -> (u64, Duration, Arrivals) {
        let start = Instant::now();
        let mut flows: [Vec<Flow>; 2] =
            [(); 2].map(|()| self.clients.iter().map(|_| Flow::new(start)).collect());
        let (mut inbox, mut arrivals, mut sent) = (Inbox::new(), Arrivals::new(), 0);
        while start.elapsed() < duration {
            let now = Instant::now();
            arrivals.take(&mut inbox, self.peer, &self.clients, |mark| {
                if let Some(flow) = flows[mark.way as usize].get_mut(mark.client) {
                    flow.arrived(mark.first, mark.datagrams, now);
                }
            });
            sent += self.fill_up(&mut flows[Way::Up as usize], window, now);
            sent += self.fill_down(&mut flows[Way::Down as usize], window, now);
            thread::sleep(PAUSE);
        }
        let elapsed = start.elapsed();
        let has_ended = AtomicBool::new(false);
        sweep(&has_ended, || arrivals.take(&mut inbox, self.peer, &self.clients, |_| {}));
        (sent as u64, elapsed, arrivals)
    }

    fn fill_up(&mut self, flows: &mut [Flow], window: u32, now: Instant) -> usize {
        let mut numbers = Vec::with_capacity(BATCH);
        let mut sent = 0;
        for (client, flow) in flows.iter_mut().enumerate() {
            numbers.clear();
            numbers.extend((0..flow.room(window, now)).map(|_| flow.next()));
            if !numbers.is_empty() {
                sent += self.send_up(client, &numbers);
            }
        }
        sent
    }

    fn fill_down(&mut self, flows: &mut [Flow], window: u32, now: Instant) -> usize {
        let (mut aimed, mut sent) = (0, 0);
        for (client, flow) in flows.iter_mut().enumerate() {
            for _ in 0..flow.room(window, now) {
                if aimed == BATCH {
                    sent += self.send_down(aimed);
                    aimed = 0;
                }
                self.aim_down(aimed, client, flow.next());
                aimed += 1;
            }
        }
        sent + self.send_down(aimed)
    }

    /// Datagrams with these numbers, of one client.
    fn send_up(&mut self, client: usize, numbers: &[u32]) -> usize {
        let now_ns = now_ns();
        for (at, number) in numbers.iter().enumerate() {
            mark(&mut self.upwards, at, self.payload_at, client, *number, now_ns);
        }
        self.upwards.send(self.clients[client], numbers.len())
    }

    fn aim_down(&mut self, at: usize, client: usize, number: u32) {
        self.downwards.aim(at, &self.relayed[client]);
        mark(&mut self.downwards, at, 0, client, number, now_ns());
    }

    fn send_down(&mut self, count: usize) -> usize {
        self.downwards.send(self.peer, count)
    }
}

fn mark(outbox: &mut Outbox, datagram: usize, payload_at: usize, client: usize, number: u32, now_ns: u64) {
    outbox.put(datagram, payload_at + NUMBER.start, &number.to_be_bytes());
    outbox.put(datagram, payload_at + CLIENT.start, &(client as u32).to_be_bytes());
    outbox.put(datagram, payload_at + STAMP.start, &now_ns.to_be_bytes());
}
