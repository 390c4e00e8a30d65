//! Both ends are sockets, as cheap as sockets can be: the reader sleeps and then takes all there is, only the first bytes
//! of each datagram are copied out, and all datagrams share one body.

use super::{client_address, pace, Direction, Outcome, Path, Route, Shape, BATCH, DRAIN, ORIGIN_PORT};
use crate::socket::{bind, from_raw, raw_address, receive_trains, send_trains_of, Messages, Poll};
use crate::topology::{Topology, CLIENTS};
use crate::Result;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

/// RTP-like first byte, flow.
const HEAD_BYTES: usize = 16;
pub struct SocketLoad {
    origin: UdpSocket,
    clients: Vec<UdpSocket>,
}

impl SocketLoad {
    pub fn new(topology: &Topology, flows: usize) -> Result<SocketLoad> {
        let open = |port| {
            let socket = bind(Ipv4Addr::UNSPECIFIED, port)?;
            receive_trains(&socket)?;
            Ok(socket)
        };
        let origin = topology.origin.run(|| open(ORIGIN_PORT))?;
        let clients = topology.clients.run(|| {
            (0..flows).map(|flow| open(client_address(CLIENTS, flow).port())).collect::<Result<_>>()
        })?;
        Ok(SocketLoad { origin, clients })
    }

    pub fn run(&self, route: &Route, shape: Shape) -> Result<Outcome> {
        let origin = std::slice::from_ref(&self.origin);
        let (senders, receivers) = match shape.direction {
            Direction::Down => (origin, &self.clients[..]),
            Direction::Up => (&self.clients[..], origin),
        };
        let paths = route.paths(shape.direction);
        for socket in senders {
            send_trains_of(socket, if shape.train > 1 { shape.size } else { 0 })?;
        }
        let mut sender = Sender::new(senders, paths, shape);
        let mut receiver = Receiver::new(receivers, paths, shape)?;
        // What an earlier run left.
        receiver.receive_all();
        (receiver.delivered, receiver.wrong) = (0, 0);
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let reading = scope.spawn(|| receiver.receive_until(&stop));
            let start = Instant::now();
            let sent = pace(shape, |first, count| sender.send(first, count));
            let seconds = start.elapsed().as_secs_f64();
            thread::sleep(DRAIN);
            stop.store(true, Relaxed);
            let (delivered, wrong) = reading.join().map_err(|_| "the reader failed")?;
            Ok(Outcome { sent, delivered, wrong, seconds })
        })
    }
}

struct Sender<'load> {
    sockets: &'load [UdpSocket],
    targets: Vec<libc::sockaddr_in>,
    shape: Shape,
    messages: Messages,
    heads: Box<[[u8; HEAD_BYTES]]>,
    _body: Box<[u8]>,
}

impl Sender<'_> {
    fn new<'load>(sockets: &'load [UdpSocket], paths: &[Path], shape: Shape) -> Sender<'load> {
        let mut messages = Messages::new(BATCH, 2);
        let mut heads = vec![[0x80; HEAD_BYTES]; BATCH].into_boxed_slice();
        let mut body = vec![0x5a; shape.size * shape.train - HEAD_BYTES].into_boxed_slice();
        for (head, vectors) in std::iter::zip(&mut heads, messages.vectors.chunks_mut(2)) {
            vectors[0] = libc::iovec { iov_base: head.as_mut_ptr().cast(), iov_len: head.len() };
            vectors[1] = libc::iovec { iov_base: body.as_mut_ptr().cast(), iov_len: body.len() };
        }
        let targets = paths.iter().map(|path| raw_address(path.to)).collect();
        Sender { sockets, targets, shape, messages, heads, _body: body }
    }

    fn send(&mut self, first: u64, count: usize) -> usize {
        for at in 0..count {
            let flow = self.flow(first + at as u64);
            self.heads[at][4..8].copy_from_slice(&(flow as u32).to_be_bytes());
            self.messages.names[at] = self.targets[flow];
        }
        if let [socket] = self.sockets {
            // SAFETY: the vectors point to heads and body, which this struct owns.
            return unsafe { self.messages.send(socket.as_raw_fd(), count) };
        }
        // Each flow has a socket: one call for each.
        (0..count)
            .filter(|at| {
                let socket = self.sockets[self.flow(first + *at as u64)].as_raw_fd();
                let header = &self.messages.headers[*at].msg_hdr;
                // SAFETY: as above.
                unsafe { libc::sendmsg(socket, header, 0) >= 0 }
            })
            .count()
    }

    fn flow(&self, message: u64) -> usize {
        (message / self.shape.burst as u64) as usize % self.targets.len()
    }
}

struct Receiver<'load> {
    sockets: &'load [UdpSocket],
    paths: &'load [Path],
    size: usize,
    /// Long enough that a call finds many datagrams, short enough that they are still in a cache.
    nap: Duration,
    poll: Poll,
    messages: Messages,
    heads: Box<[[u8; HEAD_BYTES]]>,
    delivered: u64,
    wrong: u64,
}

impl Receiver<'_> {
    fn new<'load>(
        sockets: &'load [UdpSocket],
        paths: &'load [Path],
        shape: Shape,
    ) -> Result<Receiver<'load>> {
        let mut messages = Messages::new(BATCH, 1);
        let mut heads = vec![[0; HEAD_BYTES]; BATCH].into_boxed_slice();
        for (head, vector) in std::iter::zip(&mut heads, &mut messages.vectors) {
            *vector = libc::iovec { iov_base: head.as_mut_ptr().cast(), iov_len: head.len() };
        }
        let poll = Poll::new()?;
        for (index, socket) in sockets.iter().enumerate() {
            poll.add(socket.as_raw_fd(), index)?;
        }
        let nap = match shape.rate {
            1..50_000 => Duration::from_millis(5),
            _ => Duration::from_millis(1),
        };
        Ok(Receiver { sockets, paths, size: shape.size, nap, poll, messages, heads, delivered: 0, wrong: 0 })
    }

    /// Returns what was delivered, and what of it was wrong.
    fn receive_until(&mut self, stop: &AtomicBool) -> (u64, u64) {
        while !stop.load(Relaxed) {
            thread::sleep(self.nap);
            self.receive_all();
        }
        (self.delivered, self.wrong)
    }

    fn receive_all(&mut self) {
        loop {
            let ready: Vec<usize> = self.poll.wait(0).collect();
            if ready.is_empty() {
                return;
            }
            for index in ready {
                while self.receive(index, self.sockets[index].as_raw_fd()) == BATCH {}
            }
        }
    }

    fn receive(&mut self, index: usize, socket: RawFd) -> usize {
        // SAFETY: the vectors point to the heads, which this struct owns.
        let count = unsafe { self.messages.receive(socket) };
        for at in 0..count {
            let length = self.messages.headers[at].msg_len as usize;
            let flow = u32::from_be_bytes(self.heads[at][4..8].try_into().expect("four bytes")) as usize;
            let source = from_raw(&self.messages.names[at]);
            let right = length.is_multiple_of(self.size)
                && (self.sockets.len() == 1 || flow == index)
                && self.paths.get(flow).is_some_and(|path| path.seen_from == source);
            match right {
                true => self.delivered += (length / self.size) as u64,
                false => self.wrong += 1,
            }
        }
        count
    }
}
