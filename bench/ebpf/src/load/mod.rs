//! What is sent through a gateway and counted behind it.

mod frames;
mod sockets;

pub use frames::{FrameLoad, Source};
pub use sockets::SocketLoad;

use crate::topology::{CLIENTS, CLIENTS_DIRECT, EDGE, INNER, ORIGIN, ORIGIN_DIRECT};
use crate::{system, Result};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::thread;
use std::time::{Duration, Instant};

const ORIGIN_PORT: u16 = 8000;
const FIRST_CLIENT_PORT: u16 = 30_000;
/// After the last datagram was sent, until what was not delivered is lost.
const DRAIN: Duration = Duration::from_millis(60);

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Direction {
    /// From the origin to clients.
    Down,
    Up,
}

#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub direction: Direction,
    /// Bytes of a datagram.
    pub size: usize,
    /// Datagrams per second over all flows; 0 is as many as the system takes.
    pub rate: u64,
    /// Datagrams in a row for one flow.
    pub burst: usize,
    /// Datagrams that the sender gives to the system as one.
    pub train: usize,
    /// How often a paced sender wakes.
    pub tick: Duration,
    pub run: Duration,
}

/// One direction of a flow: from whom to where it is sent, and what it bears when it arrives.
#[derive(Clone, Copy)]
pub struct Path {
    pub from: SocketAddrV4,
    pub to: SocketAddrV4,
    pub seen_from: SocketAddrV4,
    pub seen_at: SocketAddrV4,
}

/// The flows through one subject.
pub struct Route {
    down: Vec<Path>,
    up: Vec<Path>,
    /// Over the line that goes past the gateway.
    is_direct: bool,
}

impl Route {
    /// Through the gateway: clients know one port of it, the origin one for each flow.
    pub fn through_gateway(flows: usize, edge_port: u16, first_inner_port: u16) -> Route {
        let edge = SocketAddrV4::new(EDGE, edge_port);
        let down = (0..flows).map(|flow| Path {
            from: origin_address(),
            to: SocketAddrV4::new(INNER, first_inner_port + flow as u16),
            seen_from: edge,
            seen_at: client_address(CLIENTS, flow),
        });
        Route::new(down.collect(), false)
    }

    pub fn direct(flows: usize) -> Route {
        let origin = SocketAddrV4::new(ORIGIN_DIRECT, ORIGIN_PORT);
        let down = (0..flows).map(|flow| {
            let client = client_address(CLIENTS_DIRECT, flow);
            Path { from: origin, to: client, seen_from: origin, seen_at: client }
        });
        Route::new(down.collect(), true)
    }

    fn new(down: Vec<Path>, is_direct: bool) -> Route {
        // What answers goes back the same way.
        let up = down.iter().map(|path| Path {
            from: path.seen_at,
            to: path.seen_from,
            seen_from: path.to,
            seen_at: path.from,
        });
        Route { up: up.collect(), down, is_direct }
    }

    pub fn paths(&self, direction: Direction) -> &[Path] {
        match direction {
            Direction::Down => &self.down,
            Direction::Up => &self.up,
        }
    }
}

pub fn origin_address() -> SocketAddrV4 {
    SocketAddrV4::new(ORIGIN, ORIGIN_PORT)
}

pub fn client_address(address: Ipv4Addr, flow: usize) -> SocketAddrV4 {
    SocketAddrV4::new(address, FIRST_CLIENT_PORT + flow as u16)
}

#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    pub sent: u64,
    pub delivered: u64,
    /// Delivered with another length, to another socket or from another address than they should.
    pub wrong: u64,
    pub seconds: f64,
}

/// Datagrams or trains per system call.
const BATCH: usize = 64;

/// Calls `send(first, count)` so that messages leave at the rate until the run is over; it says how many left. Returns
/// how many datagrams did.
fn pace(shape: Shape, mut send: impl FnMut(u64, usize) -> usize) -> u64 {
    let start = Instant::now();
    let (mut due_before, mut sent) = (0u64, 0u64);
    let mut next_tick = start;
    while start.elapsed() < shape.run {
        let due = match shape.rate {
            0 => due_before + BATCH as u64,
            rate => (start.elapsed().as_secs_f64() * rate as f64) as u64 / shape.train as u64,
        };
        while due_before < due {
            let count = ((due - due_before) as usize).min(BATCH);
            sent += (send(due_before, count) * shape.train) as u64;
            due_before += count as u64;
        }
        if shape.rate != 0 {
            next_tick += shape.tick;
            thread::sleep(next_tick.saturating_duration_since(Instant::now()));
        }
    }
    sent
}

/// Lets sleeps of the calling thread, and of those it starts, end when they should.
pub fn exact_sleeps() -> Result<()> {
    // SAFETY: no memory is involved.
    system(unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1) })?;
    Ok(())
}
