//! Allocations made and given back: Allocate, the challenge, Allocate, Refresh to 0.

use super::client::{allocate_request, refresh_request, ALLOCATE_ERROR, ALLOCATE_SUCCESS, REFRESH_SUCCESS};
use super::credentials::Credentials;
use crate::args::Result;
use crate::run::Report;
use crate::stun;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

/// Cycles under way at a time.
const CLIENTS: usize = 64;
/// After so long without an answer a cycle has failed.
const PATIENCE: Duration = Duration::from_millis(500);
const PAUSE: Duration = Duration::from_micros(200);
/// Ports of one address that clients take before they go on to the next.
const PORTS: u32 = 1 << 14;
const FIRST_PORT: u16 = 1 << 14;
const ADDRESSES: u32 = 200;

/// Counts the sockets of all runs: coturn refuses an address and port for a second after its allocation ended.
static SOCKETS: AtomicU32 = AtomicU32::new(0);

/// A cycle under way.
struct Cycle {
    socket: UdpSocket,
    since: Instant,
    credentials: Option<Credentials>,
}

enum Step {
    Waits,
    Done,
    /// With the error code of the answer that was not expected; 0 if there was none.
    Failed(u16),
}

pub fn run(server: SocketAddr, duration: Duration) -> Result<Report> {
    let start = Instant::now();
    let mut cycles = (0..CLIENTS).map(|_| Cycle::begin(server)).collect::<Result<Vec<_>>>()?;
    let (mut sent, mut delivered, mut refusal) = (CLIENTS as u64, 0, 0);
    while start.elapsed() < duration {
        for cycle in &mut cycles {
            match cycle.go_on()? {
                Step::Waits => continue,
                Step::Done => delivered += 1,
                Step::Failed(code) => refusal = code,
            }
            *cycle = Cycle::begin(server)?;
            sent += 1;
        }
        thread::sleep(PAUSE);
    }
    let elapsed = start.elapsed();
    // Those under way are neither lost nor counted; their allocations are given back.
    let under_way = cycles.len() as u64;
    while cycles.iter().any(|cycle| cycle.since.elapsed() < PATIENCE) && !cycles.is_empty() {
        let mut at = 0;
        while let Some(cycle) = cycles.get_mut(at) {
            match cycle.go_on()? {
                Step::Waits => at += 1,
                Step::Done | Step::Failed(_) => drop(cycles.swap_remove(at)),
            }
        }
        thread::sleep(PAUSE);
    }
    if delivered == 0 {
        return Err(format!("no cycle came to its end; the last one failed with {refusal}").into());
    }
    Ok(Report {
        unit: "cycles",
        sent: sent - under_way,
        delivered,
        seconds: elapsed.as_secs_f64(),
        latencies: None,
        smaller_share: None,
        junk: None,
    })
}

impl Cycle {
    fn begin(server: SocketAddr) -> Result<Cycle> {
        let socket = fresh_socket()?;
        socket.connect(server)?;
        socket.set_nonblocking(true)?;
        socket.send(&allocate_request())?;
        Ok(Cycle { socket, since: Instant::now(), credentials: None })
    }

    /// Takes an answer, if there is one, and sends what comes next.
    fn go_on(&mut self) -> Result<Step> {
        let mut buffer = [0; 2048];
        let Ok(length) = self.socket.recv(&mut buffer) else {
            return Ok(if self.since.elapsed() > PATIENCE { Step::Failed(0) } else { Step::Waits });
        };
        let answer = &buffer[..length];
        let request = match (&self.credentials, answer.get(..2).unwrap_or_default()) {
            (None, [high, low]) if [*high, *low] == ALLOCATE_ERROR => {
                self.credentials = Credentials::of(answer);
                allocate_request()
            }
            (Some(_), [high, low]) if [*high, *low] == ALLOCATE_SUCCESS => refresh_request(0),
            (Some(_), [high, low]) if [*high, *low] == REFRESH_SUCCESS => return Ok(Step::Done),
            _ => return Ok(Step::Failed(stun::error_code(answer).unwrap_or(0))),
        };
        let Some(credentials) = &self.credentials else { return Ok(Step::Failed(0)) };
        self.socket.send(&credentials.prove(request))?;
        Ok(Step::Waits)
    }
}

/// On a loopback address and port that no cycle has had for long; what somebody else has is passed over.
fn fresh_socket() -> Result<UdpSocket> {
    loop {
        let number = SOCKETS.fetch_add(1, Relaxed);
        let address = Ipv4Addr::new(127, 0, 0, 2 + (number / PORTS % ADDRESSES) as u8);
        match UdpSocket::bind((address, FIRST_PORT + (number % PORTS) as u16)) {
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => continue,
            bound => return Ok(bound?),
        }
    }
}
