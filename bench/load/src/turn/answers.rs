//! Questions that a server answers without knowing who asks, from few sockets, in a closed loop.

use super::flow::Flow;
use crate::args::Result;
use crate::inbox::Inbox;
use crate::outbox::{Outbox, BATCH};
use crate::run::Report;
use crate::socket::bind;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::thread;
use std::time::{Duration, Instant};

const SOCKETS: usize = 8;
/// On their way at a time, of each socket: more would not find room in the server's socket.
const WINDOW: u32 = 32;
const PAUSE: Duration = Duration::from_micros(200);
/// Where a request and its answer bear its number: the end of the transaction id.
const NUMBER: std::ops::Range<usize> = 16..20;
/// How long answers may take when all is sent.
const DRAIN: Duration = Duration::from_millis(50);

struct Asker {
    socket: UdpSocket,
    flow: Flow,
}

/// Sends this request over and over, and counts the answers whose head is as it should be.
pub fn run(
    server: SocketAddr,
    request: &[u8],
    is_answer: fn(&[u8]) -> bool,
    duration: Duration,
) -> Result<Report> {
    let start = Instant::now();
    let mut askers = (0..SOCKETS)
        .map(|_| {
            let socket = bind(0)?;
            socket.connect(server)?;
            Ok(Asker { socket, flow: Flow::new(start) })
        })
        .collect::<Result<Vec<_>>>()?;
    let (mut inbox, mut outbox) = (Inbox::new(), Outbox::of(request, 1));
    let (mut sent, mut delivered) = (0, 0);
    let mut look = |askers: &mut [Asker]| {
        let now = Instant::now();
        for Asker { socket, flow } in askers {
            inbox.receive(socket.as_raw_fd(), |arrival| {
                if is_answer(arrival.head) {
                    delivered += arrival.datagrams;
                }
                if let Some(number) = number_of(arrival.head) {
                    flow.arrived(number, arrival.datagrams as u32, now);
                }
            });
        }
    };
    while start.elapsed() < duration {
        look(&mut askers);
        for Asker { socket, flow } in &mut askers {
            let room = flow.room(WINDOW, Instant::now()) as usize;
            for at in 0..room.min(BATCH) {
                outbox.put(at, NUMBER.start, &flow.next().to_be_bytes());
            }
            sent += outbox.send(socket.as_raw_fd(), room.min(BATCH)) as u64;
        }
        thread::sleep(PAUSE);
    }
    let elapsed = start.elapsed();
    thread::sleep(DRAIN);
    look(&mut askers);
    Ok(Report {
        unit: "requests",
        sent,
        delivered,
        seconds: elapsed.as_secs_f64(),
        latencies: None,
        smaller_share: None,
        junk: None,
    })
}

fn number_of(head: &[u8]) -> Option<u32> {
    head.get(NUMBER).and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes)
}
