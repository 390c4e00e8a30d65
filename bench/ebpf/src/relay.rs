//! A relay in user space with fixed flows, in the shape that measured best for the native engine: one thread,
//! epoll, `recvmmsg` with UDP GRO, `sendmmsg` with runs of datagrams for one destination merged to trains. It has no
//! policy at all, so an engine that does its work costs at least as much.

use crate::args::Args;
use crate::load::{client_address, origin_address};
use crate::socket::{bind, from_raw, raw_address, receive_trains, Messages, Poll};
use crate::topology::{CLIENTS, EDGE, INNER};
use crate::Result;
use std::collections::HashMap;
use std::io::{stdout, Write};
use std::mem::size_of;
use std::net::{SocketAddrV4, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};

/// Datagrams or trains held at once.
const SLOTS: usize = 64;
/// Read from one socket before the next has its turn.
const READ_AT_ONCE: usize = 32;
const SLOT_BYTES: usize = 65_536;
const MAX_TRAIN_BYTES: usize = 65_507;
const MAX_SEGMENTS: usize = 64;
const CONTROL_BYTES: usize = 32;

/// The flow of what nobody knows; dropped.
const STRANGER: usize = usize::MAX;

const STANDARD_INPUT: usize = usize::MAX;
const EDGE_TOKEN: usize = usize::MAX - 1;

/// Relays until standard input ends.
pub fn main(args: &Args) -> Result<()> {
    let flows = args.number("flows", 200)? as usize;
    let edge = bind(EDGE, args.number("edge-port", 0)? as u16)?;
    receive_trains(&edge)?;
    let first_inner_port = args.number("inner-port", 0)? as u16;
    let inner = (0..flows)
        .map(|flow| {
            let socket = bind(INNER, first_inner_port + flow as u16)?;
            socket.connect(origin_address())?;
            receive_trains(&socket)?;
            Ok(socket)
        })
        .collect::<Result<Vec<_>>>()?;

    let mut poll = Poll::new()?;
    poll.add(libc::STDIN_FILENO, STANDARD_INPUT)?;
    poll.add(edge.as_raw_fd(), EDGE_TOKEN)?;
    for (flow, socket) in inner.iter().enumerate() {
        poll.add(socket.as_raw_fd(), flow)?;
    }
    let clients: Vec<_> = (0..flows).map(|flow| client_address(CLIENTS, flow)).collect();
    let mut relay = Relay::new(edge, inner, &clients);
    writeln!(stdout(), "ready")?;
    loop {
        let ready: Vec<usize> = poll.wait(-1).collect();
        for token in ready {
            match token {
                STANDARD_INPUT => return Ok(()),
                EDGE_TOKEN => relay.read(None),
                flow => relay.read(Some(flow)),
            }
        }
        relay.flush();
    }
}

/// What lies in a slot.
#[derive(Clone, Copy)]
struct Held {
    flow: usize,
    upwards: bool,
    length: usize,
    /// Of the datagrams in it; its length if it is one.
    segment: usize,
}

struct Relay {
    edge: UdpSocket,
    inner: Vec<UdpSocket>,
    clients: Vec<libc::sockaddr_in>,
    flow_of_client: HashMap<SocketAddrV4, usize>,
    held: Vec<Held>,
    slots: Vec<Box<[u8]>>,
    incoming: Messages,
    outgoing: Messages,
    controls: Box<[Control]>,
}

/// Room for the one control message that tells the size of a train's datagrams, aligned as its header must be.
#[repr(align(8))]
#[derive(Clone, Copy)]
struct Control(#[expect(dead_code, reason = "only the kernel and CMSG_* see it")] [u8; CONTROL_BYTES]);

impl Relay {
    fn new(edge: UdpSocket, inner: Vec<UdpSocket>, clients: &[SocketAddrV4]) -> Relay {
        Relay {
            edge,
            inner,
            clients: clients.iter().map(|client| raw_address(*client)).collect(),
            flow_of_client: clients.iter().enumerate().map(|(flow, client)| (*client, flow)).collect(),
            held: Vec::with_capacity(SLOTS),
            slots: (0..SLOTS).map(|_| vec![0; SLOT_BYTES].into_boxed_slice()).collect(),
            incoming: Messages::new(READ_AT_ONCE, 1),
            outgoing: Messages::new(SLOTS, 1),
            controls: vec![Control([0; CONTROL_BYTES]); SLOTS].into_boxed_slice(),
        }
    }

    /// Reads from the socket of a flow, or from the edge.
    fn read(&mut self, from: Option<usize>) {
        if self.held.len() + READ_AT_ONCE > SLOTS {
            self.flush();
        }
        let socket = from.map_or(&self.edge, |flow| &self.inner[flow]).as_raw_fd();
        let first = self.held.len();
        for at in 0..READ_AT_ONCE {
            let slot = &mut self.slots[first + at];
            self.incoming.vectors[at] =
                libc::iovec { iov_base: slot.as_mut_ptr().cast(), iov_len: SLOT_BYTES };
            let header = &mut self.incoming.headers[at].msg_hdr;
            header.msg_control = (&raw mut self.controls[at]).cast();
            header.msg_controllen = CONTROL_BYTES as _;
        }
        // SAFETY: vectors and controls point into `slots` and `controls`, which this struct owns.
        let count = unsafe { self.incoming.receive(socket) };
        for at in 0..count {
            let length = self.incoming.headers[at].msg_len as usize;
            let segment = segment_size(&self.incoming.headers[at].msg_hdr).unwrap_or(length).max(1);
            let client = &from_raw(&self.incoming.names[at]);
            let flow = from.or_else(|| self.flow_of_client.get(client).copied()).unwrap_or(STRANGER);
            self.held.push(Held { flow, upwards: from.is_none(), length, segment });
        }
    }

    /// Sends all that is held, in order for each flow.
    fn flush(&mut self) {
        let held = std::mem::take(&mut self.held);
        let mut messages = 0;
        let mut socket = self.edge.as_raw_fd();
        let mut first = 0;
        while first < held.len() {
            let count = run_length(&held[first..]);
            let Held { flow, upwards, segment, .. } = held[first];
            if flow != STRANGER {
                let through = if upwards { &self.inner[flow] } else { &self.edge }.as_raw_fd();
                if through != socket {
                    self.send(socket, messages);
                    (socket, messages) = (through, 0);
                }
                let total: usize = held[first..first + count].iter().map(|held| held.length).sum();
                for (at, held) in (first..).zip(&held[first..first + count]) {
                    let base = self.slots[at].as_mut_ptr().cast();
                    self.outgoing.vectors[at] = libc::iovec { iov_base: base, iov_len: held.length };
                }
                let name = (!upwards).then_some(self.clients[flow]);
                self.prepare(messages, first, count, name, (total > segment).then_some(segment));
                messages += 1;
            }
            first += count;
        }
        self.send(socket, messages);
        self.held = held;
        self.held.clear();
    }

    fn prepare(
        &mut self,
        message: usize,
        first: usize,
        count: usize,
        name: Option<libc::sockaddr_in>,
        segment: Option<usize>,
    ) {
        let header = &mut self.outgoing.headers[message].msg_hdr;
        header.msg_iov = &raw mut self.outgoing.vectors[first];
        header.msg_iovlen = count as _;
        header.msg_namelen = 0;
        if let Some(name) = name {
            self.outgoing.names[message] = name;
            header.msg_namelen = size_of::<libc::sockaddr_in>() as u32;
        }
        header.msg_control = std::ptr::null_mut();
        header.msg_controllen = 0;
        if let Some(segment) = segment {
            header.msg_control = (&raw mut self.controls[message]).cast();
            header.msg_controllen = CONTROL_BYTES as _;
            // SAFETY: the control buffer is aligned, and has room for one message with two bytes.
            unsafe {
                let control = libc::CMSG_FIRSTHDR(header);
                (*control).cmsg_level = libc::SOL_UDP;
                (*control).cmsg_type = libc::UDP_SEGMENT;
                (*control).cmsg_len = libc::CMSG_LEN(size_of::<u16>() as u32) as _;
                libc::CMSG_DATA(control).cast::<u16>().write_unaligned(segment as u16);
                header.msg_controllen = libc::CMSG_SPACE(size_of::<u16>() as u32) as _;
            }
        }
    }

    fn send(&mut self, socket: RawFd, count: usize) {
        if count > 0 {
            // SAFETY: the headers point to vectors, names and controls, and those into slots, that this struct owns.
            unsafe { self.outgoing.send(socket, count) };
        }
    }
}

/// How many from the first on may go out as one train.
fn run_length(held: &[Held]) -> usize {
    let first = held[0];
    let mut total = first.length;
    let mut count = 1;
    let mut is_full = first.length.is_multiple_of(first.segment);
    for next in &held[1..] {
        let alike = (next.flow, next.upwards) == (first.flow, first.upwards)
            && next.segment.min(next.length) <= first.segment
            && (next.segment == first.segment || next.length < first.segment);
        total += next.length;
        if !is_full || !alike || next.length == 0 || total > MAX_TRAIN_BYTES.min(MAX_SEGMENTS * first.segment)
        {
            break;
        }
        is_full = next.length.is_multiple_of(first.segment);
        count += 1;
    }
    count
}

/// Of a train's datagrams, if it is one.
fn segment_size(header: &libc::msghdr) -> Option<usize> {
    // SAFETY: the kernel filled the header's control buffer, to the length that it left there.
    unsafe {
        let control = libc::CMSG_FIRSTHDR(header).as_ref()?;
        let is_size = (control.cmsg_level, control.cmsg_type) == (libc::SOL_UDP, libc::UDP_GRO);
        is_size.then(|| libc::CMSG_DATA(control).cast::<libc::c_int>().read_unaligned() as usize)
    }
}
