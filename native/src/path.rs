//! The packet path: what becomes of each datagram that a thread has received.

use crate::address::Address;
use crate::batch::{Outgoing, Received, Route, SendBatch, SendEvent};
use crate::engine::Shared;
use crate::flow::{Action, Flow, Target};
use crate::indication::{write_data_header, SendIndication, TransactionIds, MAX_DATA_HEADER_BYTES};
use crate::punt::{Content, Origin};
use crate::socket::IcmpError;
use crate::table::{Bound, Endpoint, Table};
use crate::totals::{Drop, Totals};
use std::os::fd::RawFd;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::Arc;

/// In place of a flow's name: what TypeScript sends.
const OWN: u64 = 0;
/// The first bytes of a STUN request (RFC 8489 §5: the two zero bits and class request, method Binding).
const STUN_REQUEST: [u8; 2] = [0, 1];

/// The path of one thread.
pub struct Path {
    shared: Arc<Shared>,
    totals: Arc<Totals>,
    /// Number of the thread.
    thread: usize,
    sends: SendBatch,
    transactions: TransactionIds,
    /// Whether something was handed over since TypeScript was last called.
    has_punted: bool,
}

/// Where and when a message came in.
struct Arrived<'turn> {
    table: &'turn Table,
    bound: &'turn Bound,
    endpoint: &'turn Endpoint,
    from: Address,
    now_ms: f64,
}

impl Arrived<'_> {
    fn origin(&self, flow: u64) -> Origin {
        Origin { endpoint: self.endpoint.id, flow, local: self.bound.local, remote: self.from }
    }
}

impl Path {
    pub fn new(shared: Arc<Shared>, totals: Arc<Totals>, thread: usize) -> Path {
        let (sends, transactions) = (SendBatch::new(), TransactionIds::new());
        Path { shared, totals, thread, sends, transactions, has_punted: false }
    }

    /// Handles a message that came in on the socket of that slot.
    ///
    /// # Safety
    /// The message's bytes must live and stay as they are until `flush` has returned.
    pub unsafe fn take(&mut self, table: &Table, socket: u32, message: &Received<'_>, now_ms: f64) {
        // Closed since it was read from.
        let Some(bound) = table.sockets.get(socket) else { return };
        let Some(endpoint) = table.endpoints.get(bound.endpoint) else { return };
        let arrived = Arrived { table, bound, endpoint, from: message.from, now_ms };
        let flows = table.flows_at(bound, endpoint, message.from);
        if let Some((slot, flow)) = flows.filter(|flows| flows.selecting.is_none()).and_then(|flows| {
            let slot = flows.any?;
            Some((slot, table.flows.get(slot)?)).filter(|(_, flow)| flow.is_plain_forward())
        }) {
            // SAFETY: the caller's promise.
            unsafe { self.forward_train(&arrived, slot, flow, message) };
            return;
        }
        let mut datagrams = message.bytes.chunks(message.segment.max(1));
        // A datagram without bytes is one all the same.
        let first = datagrams.next().unwrap_or_default();
        for bytes in std::iter::once(first).chain(datagrams) {
            let slot = flows.and_then(|flows| flows.find(bytes));
            match slot.and_then(|slot| Some((slot, table.flows.get(slot)?))) {
                // SAFETY: the caller's promise.
                Some((slot, flow)) => unsafe { self.take_one(&arrived, slot, flow, bytes) },
                None => self.on_unclaimed(&arrived, bytes),
            }
        }
    }

    /// # Safety
    /// As of `take`.
    unsafe fn forward_train(
        &mut self,
        arrived: &Arrived<'_>,
        slot: u32,
        flow: &Flow,
        message: &Received<'_>,
    ) {
        let Action::Forward { to, copies_stun } = &flow.action else { return };
        let datagrams = message.bytes.len().div_ceil(message.segment.max(1)).max(1) as u64;
        flow.counters.seen(arrived.now_ms);
        match route(arrived.table, self.thread, to, (slot, flow.id), flow.segment_limit.load(Relaxed)) {
            None => self.drop(flow, Drop::Error, datagrams),
            Some(route) => {
                self.passed(flow, datagrams, message.bytes.len() as u64);
                // SAFETY: the caller's promise.
                unsafe { self.sends.push_train(&route, message.bytes, message.segment) };
            }
        }
        if *copies_stun {
            for bytes in message.bytes.chunks(message.segment.max(1)).filter(|bytes| is_stun_request(bytes)) {
                self.deliver(
                    arrived.endpoint,
                    &arrived.origin(flow.id),
                    Content::Data(bytes),
                    arrived.now_ms,
                );
            }
        }
    }

    /// # Safety
    /// As of `take`.
    unsafe fn take_one(&mut self, arrived: &Arrived<'_>, slot: u32, flow: &Flow, bytes: &[u8]) {
        flow.counters.seen(arrived.now_ms);
        if flow.is_paused {
            return self.drop(flow, Drop::Paused, 1);
        }
        if !flow.spend(bytes.len(), arrived.now_ms) {
            return self.drop(flow, Drop::Meter, 1);
        }
        let mut room = [0; MAX_DATA_HEADER_BYTES];
        let (to, datagram) = match &flow.action {
            Action::Deliver => {
                let origin = arrived.origin(flow.id);
                if self.deliver(arrived.endpoint, &origin, Content::Data(bytes), arrived.now_ms) {
                    flow.counters.passed(1, bytes.len() as u64);
                } else {
                    flow.counters.dropped(1);
                }
                return;
            }
            Action::Forward { to, .. } => (to, Outgoing::plain(bytes)),
            Action::AddChannel { to, channel } => {
                room[..2].copy_from_slice(&channel.to_be_bytes());
                room[2..4].copy_from_slice(&(bytes.len() as u16).to_be_bytes());
                (to, Outgoing::framed(&room[..4], bytes, 0))
            }
            Action::StripChannel { to } => match strip_channel(bytes) {
                Some(data) => (to, Outgoing::stripped(data, bytes.len())),
                None => return self.drop(flow, Drop::Malformed, 1),
            },
            Action::AddIndication { to, peer } => {
                match write_data_header(&mut room, peer, self.transactions.next(), bytes.len()) {
                    Some((header, padding)) => (to, Outgoing::framed(&room[..header], bytes, padding)),
                    None => return self.drop(flow, Drop::Error, 1),
                }
            }
            Action::StripIndication { to } => match SendIndication::parse(bytes) {
                Some(indication) => (to, Outgoing::stripped(indication.data, bytes.len())),
                // The flow was found by it, so this is not to be.
                None => return self.drop(flow, Drop::Malformed, 1),
            },
        };
        match route(arrived.table, self.thread, to, (slot, flow.id), flow.segment_limit.load(Relaxed)) {
            None => self.drop(flow, Drop::Error, 1),
            Some(route) => {
                self.passed(flow, 1, datagram.len() as u64);
                if datagram.framing > 0 {
                    flow.counters.framed(datagram.framing as u64);
                }
                // SAFETY: the caller's promise.
                unsafe { self.sends.push(&route, &datagram) };
            }
        }
        if matches!(flow.action, Action::Forward { copies_stun: true, .. }) && is_stun_request(bytes) {
            self.deliver(arrived.endpoint, &arrived.origin(flow.id), Content::Data(bytes), arrived.now_ms);
        }
    }

    fn on_unclaimed(&mut self, arrived: &Arrived<'_>, bytes: &[u8]) {
        let Arrived { endpoint, now_ms, .. } = *arrived;
        let is_foreign = endpoint.remote.is_some_and(|remote| remote != arrived.from);
        let origin = arrived.origin(0);
        if !is_foreign && endpoint.is_deliver {
            self.deliver(endpoint, &origin, Content::Data(bytes), now_ms);
        } else if !is_foreign && endpoint.strangers.take_with(&self.shared.strangers, now_ms) {
            match self.shared.punts.push(false, &origin, Content::Data(bytes)) {
                Ok(()) => self.has_punted = true,
                Err(_) => self.totals.dropped(Drop::Stranger, 1),
            }
        } else {
            self.totals.dropped(Drop::Stranger, 1);
        }
    }

    /// Hands over what came of a known peer, within the budget of the known.
    fn deliver(&mut self, endpoint: &Endpoint, origin: &Origin, content: Content<'_>, now_ms: f64) -> bool {
        let is_taken = endpoint.known.take_with(&self.shared.known, now_ms)
            && self.shared.punts.push(true, origin, content).is_ok();
        match is_taken {
            true => self.has_punted = true,
            false => self.totals.dropped(Drop::Known, 1),
        }
        is_taken
    }

    /// What a socket of this slot was told by ICMP; without an `error`, of its only peer.
    pub fn on_icmp(&mut self, table: &Table, socket: u32, error: Option<IcmpError>, now_ms: f64) {
        let Some(bound) = table.sockets.get(socket) else { return };
        let Some(endpoint) = table.endpoints.get(bound.endpoint) else { return };
        let Some(remote) = error.map(|error| error.to).or(endpoint.remote) else {
            self.totals.dropped(Drop::Error, 1);
            return;
        };
        let slot = table.flows_at(bound, endpoint, remote).and_then(|flows| flows.any);
        let flow = slot.and_then(|slot| table.flows.get(slot)).map_or(0, |flow| flow.id);
        let origin = Origin { endpoint: endpoint.id, flow, local: bound.local, remote };
        self.deliver(endpoint, &origin, Content::Icmp(error), now_ms);
    }

    /// Sends what has gathered, calls TypeScript if need be.
    pub fn flush(&mut self, now_ms: f64) {
        if !self.sends.is_empty() {
            // Rare, and not worth keeping: what happens there needs the table again.
            let events = self.sends.flush(&self.totals).to_vec();
            if !events.is_empty() {
                self.on_send_events(&events, now_ms);
            }
        }
        if self.has_punted {
            self.has_punted = false;
            self.shared.punts.ring();
        }
    }

    fn on_send_events(&mut self, events: &[SendEvent], now_ms: f64) {
        let shared = self.shared.clone();
        let table = shared.table();
        for event in events {
            match *event {
                SendEvent::Refused { flow: (_, OWN), errno, packets, bytes, .. } => {
                    self.totals.not_sent(packets, bytes);
                    self.totals.dropped(drop_of(errno), packets);
                }
                SendEvent::Refused { flow: (slot, id), errno, packets, bytes, framing } => {
                    if let Some(flow) = table.flows.get(slot).filter(|flow| flow.id == id) {
                        flow.counters.refused(packets, bytes, framing);
                    }
                    self.totals.not_forwarded(packets, bytes);
                    self.totals.dropped(drop_of(errno), packets);
                }
                SendEvent::Icmp { socket } => self.on_send_icmp(&table, socket, now_ms),
                SendEvent::SegmentLimit { flow: (slot, id), segment } => {
                    if let Some(flow) = table.flows.get(slot).filter(|flow| flow.id == id) {
                        flow.segment_limit.fetch_min(segment, Relaxed);
                    }
                }
            }
        }
    }

    /// A send told of an earlier datagram. Where the system keeps what the error said, it is read with the socket.
    fn on_send_icmp(&mut self, table: &Table, socket: u32, now_ms: f64) {
        let keeps = table.sockets.get(socket).is_some_and(|bound| bound.socket.options.icmp_errors);
        if !keeps {
            self.on_icmp(table, socket, None, now_ms);
        }
    }

    /// Sends a datagram of TypeScript's own, by the socket that is given back; `None` when nothing leads from the endpoint
    /// to the remote.
    ///
    /// # Safety
    /// As of `take`.
    pub unsafe fn send(&mut self, table: &Table, to: &Target, bytes: &[u8]) -> Option<RawFd> {
        // Those of one remote are likely to be joined.
        let key = u32::from(to.remote.port) ^ to.endpoint;
        let Some(route) = route(table, self.thread, to, (key, OWN), usize::MAX) else {
            self.totals.dropped(Drop::Error, 1);
            return None;
        };
        self.totals.sent(1, bytes.len() as u64);
        // SAFETY: the caller's promise.
        unsafe { self.sends.push(&route, &Outgoing::plain(bytes)) };
        Some(route.fd)
    }

    fn passed(&self, flow: &Flow, packets: u64, bytes: u64) {
        // Before it is sent, so that who has received it finds it counted.
        flow.counters.passed(packets, bytes);
        self.totals.forwarded(packets, bytes);
    }

    fn drop(&self, flow: &Flow, reason: Drop, packets: u64) {
        flow.counters.dropped(packets);
        self.totals.dropped(reason, packets);
    }
}

/// The way to a target; `None` when the local address is not there at present.
fn route<'table>(
    table: &'table Table,
    thread: usize,
    to: &'table Target,
    flow: (u32, u64),
    segment_limit: usize,
) -> Option<Route<'table>> {
    let endpoint = table.endpoints.get(to.endpoint)?;
    let socket = endpoint.local_for(to.remote.family, to.local)?.socket_for(thread);
    let bound = table.sockets.get(socket)?;
    let is_connected = endpoint.remote.is_some();
    Some(Route {
        fd: bound.socket.fd(),
        socket,
        is_connected,
        reports_icmp: is_connected || bound.socket.options.icmp_errors,
        to: &to.raw,
        segment_limit,
        flow,
    })
}

/// The reason that fits what the system said when it refused a datagram.
fn drop_of(errno: i32) -> Drop {
    match errno {
        libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM => Drop::Queue,
        _ => Drop::Error,
    }
}

fn is_stun_request(bytes: &[u8]) -> bool {
    bytes.starts_with(&STUN_REQUEST)
}

/// What the length field of ChannelData covers; `None` when that is more than there is.
fn strip_channel(bytes: &[u8]) -> Option<&[u8]> {
    let [_, _, long, short] = *bytes.first_chunk::<4>()?;
    bytes.get(4..4 + usize::from(u16::from_be_bytes([long, short])))
}
