//! The whole engine over real sockets: what Node cannot do as a peer (trains, DSCP) and what takes several threads.

use crate::address::{Address, Family, PACKED_BYTES};
use crate::engine::{EndpointOptions, Engine, EngineOptions, OwnDatagram, Rate};
use crate::flow::{Action, Counters, Flow, Selector, Source, Target, MAX_METERS};
use crate::indication::SendIndication;
use crate::punt::MAX_RECORD_BYTES;
use crate::socket::SocketOptions;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{channel, Receiver};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a test waits for at most.
const DEADLINE: Duration = Duration::from_secs(20);

/// An engine whose endpoints are named 1, 2, ... as they are opened, and its flows too.
struct Rig {
    engine: Arc<Engine>,
    rung: Receiver<()>,
    last_endpoint: u64,
    last_flow: u64,
}

/// A record as TypeScript reads it.
#[derive(Debug, PartialEq, Eq)]
struct Record {
    is_icmp: bool,
    endpoint: u64,
    flow: u64,
    remote: SocketAddr,
    bytes: Vec<u8>,
}

impl Rig {
    fn new(threads: usize) -> Rig {
        let unlimited = Rate { per_second: 1e9, burst: 1e9 };
        let options = EngineOptions {
            now_ms: 1.0,
            strangers_per_endpoint: unlimited,
            strangers: unlimited,
            known_per_endpoint: unlimited,
            known: unlimited,
            send_buffer_bytes: 4 << 20,
        };
        let (ring, rung) = channel();
        let engine = Engine::new(options, Box::new(move || ring.send(()).unwrap_or_default()));
        for _ in 0..threads {
            engine.add_thread().unwrap();
        }
        Rig { engine: Arc::new(engine), rung, last_endpoint: 0, last_flow: 0 }
    }

    fn open(&mut self, ip: &str) -> (u64, SocketAddr) {
        self.open_with(ip, |_, _| {})
    }

    fn open_with(
        &mut self,
        ip: &str,
        change: impl FnOnce(&mut EndpointOptions, &mut SocketOptions),
    ) -> (u64, SocketAddr) {
        self.last_endpoint += 1;
        let id = self.last_endpoint;
        let mut options =
            EndpointOptions { id, is_deliver: false, separates_locals: false, remote: None, threads: 1 };
        let mut socket = SocketOptions { receive_buffer_bytes: 8 << 20, ..crate::socket::tests::options(ip) };
        change(&mut options, &mut socket);
        assert!(self.engine.add_endpoint(&options));
        let bound = self.engine.bind(id, 0, socket).unwrap();
        (id, SocketAddr::new(bound.address.ip(), bound.address.port))
    }

    /// Adds a flow from any local address.
    fn add(&mut self, from: (u64, SocketAddr), selector: Selector, action: Action) -> u64 {
        self.add_at(Source::EVERY_LOCAL, from, selector, action)
    }

    fn add_at(&mut self, local: u32, from: (u64, SocketAddr), selector: Selector, action: Action) -> u64 {
        self.last_flow += 1;
        let flow = Flow {
            id: self.last_flow,
            source: self.source(from, local),
            selector,
            action,
            is_paused: false,
            meters: [const { None }; MAX_METERS],
            counters: Counters::default(),
            segment_limit: Flow::UNLIMITED,
        };
        assert!(self.engine.add_flow(flow));
        self.last_flow
    }

    fn forward(&mut self, from: (u64, SocketAddr), to: (u64, SocketAddr)) -> u64 {
        let action = Action::Forward { to: self.target(to), copies_stun: false };
        self.add(from, Selector::Any, action)
    }

    fn source(&self, (endpoint, remote): (u64, SocketAddr), local: u32) -> Source {
        Source { endpoint: self.engine.endpoint_slot(endpoint).unwrap(), local, remote: address(remote) }
    }

    fn target(&self, to: (u64, SocketAddr)) -> Target {
        Target::new(self.engine.endpoint_slot(to.0).unwrap(), None, address(to.1))
    }

    /// The records that are handed over, until there are so many.
    fn records(&self, count: usize) -> Vec<Record> {
        let mut records = Vec::new();
        let mut room = vec![0; 4 * MAX_RECORD_BYTES];
        while records.len() < count {
            loop {
                let (length, has_more) = self.engine.take(&mut room);
                records.extend(read_records(&room[..length]));
                if !has_more {
                    break;
                }
            }
            if records.len() < count {
                let got = records.len();
                self.rung.recv_timeout(DEADLINE).unwrap_or_else(|_| panic!("{got} of {count} records"));
            }
        }
        records
    }

    fn framing(&self, flow: u64) -> u64 {
        let mut framing = 0;
        self.engine.counters([flow].into_iter(), |read| framing = read[4] as u64);
        framing
    }

    fn counters(&self, flow: u64) -> [u64; 3] {
        let mut numbers = [0; 3];
        self.engine.counters([flow].into_iter(), |read| {
            numbers = [read[0] as u64, read[1] as u64, read[2] as u64];
        });
        numbers
    }
}

fn read_records(mut bytes: &[u8]) -> Vec<Record> {
    let mut records = Vec::new();
    while !bytes.is_empty() {
        let u32_at = |at: usize| u32::from_le_bytes(*bytes[at..].first_chunk().unwrap());
        let id_at = |at: usize| f64::from_le_bytes(*bytes[at..].first_chunk().unwrap()) as u64;
        let remote = Address::unpack(bytes[32..].first_chunk::<PACKED_BYTES>().unwrap()).unwrap();
        records.push(Record {
            is_icmp: bytes[4] == 1,
            endpoint: id_at(8),
            flow: id_at(16),
            remote: SocketAddr::new(remote.ip(), remote.port),
            bytes: bytes[56..56 + u32_at(28) as usize].to_vec(),
        });
        bytes = &bytes[u32_at(0) as usize..];
    }
    records
}

/// A plain socket beside the engine.
fn peer(ip: &str) -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind(SocketAddr::new(ip.parse().unwrap(), 0)).unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    set(&socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, 16 << 20)
        .or_else(|_| set(&socket, libc::SOL_SOCKET, libc::SO_RCVBUF, 16 << 20))
        .unwrap();
    let address = socket.local_addr().unwrap();
    (socket, address)
}

fn set(socket: &UdpSocket, level: i32, name: i32, value: i32) -> io::Result<()> {
    let length = size_of::<i32>() as libc::socklen_t;
    // SAFETY: the value is valid for its length.
    match unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), length) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

fn address(of: SocketAddr) -> Address {
    Address::new(of.ip(), of.port())
}

/// Sends a train: the system cuts it into datagrams of `segment` bytes only where a receiver wants them so.
fn send_train(socket: &UdpSocket, to: SocketAddr, train: &[u8], segment: u16) {
    set(socket, libc::SOL_UDP, libc::UDP_SEGMENT, segment.into()).unwrap();
    assert_eq!(socket.send_to(train, to).unwrap(), train.len());
    set(socket, libc::SOL_UDP, libc::UDP_SEGMENT, 0).unwrap();
}

fn receive(socket: &UdpSocket) -> Vec<u8> {
    let mut room = vec![0; 65_536];
    let length = socket.recv(&mut room).expect("a datagram");
    room.truncate(length);
    room
}

/// Datagrams that all differ: so many bytes each, the last one another length.
fn train(count: usize, length: usize, last: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for number in 0..count {
        let length = if number + 1 == count { last } else { length };
        bytes.extend((0..length).map(|at| (number * 31 + at * 7) as u8));
    }
    bytes
}

/// Says that a test is over when it goes, also by a failed assertion, so that its threads end.
struct Over(AtomicBool);

impl Over {
    fn is_over(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// What lives as long as the test's own part does.
    fn guard(&self) -> OverGuard<'_> {
        OverGuard(&self.0)
    }
}

struct OverGuard<'over>(&'over AtomicBool);

impl std::ops::Drop for OverGuard<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < end, "waited in vain for {what}");
        std::thread::yield_now();
    }
}

/// Messages and datagrams that the engine has sent.
fn sent_messages(engine: &Engine) -> (f64, f64) {
    let (sums, _) = engine.totals();
    let segments = &sums[sums.len() - 8..];
    (segments[..7].iter().sum(), segments[7])
}

#[test]
fn forwards_trains_whole_and_in_order() {
    for ip in ["127.0.0.1", "::1"] {
        let mut rig = Rig::new(1);
        let ((client, from), (origin, to)) = (peer(ip), peer(ip));
        let edge = rig.open(ip);
        let flow = rig.forward((edge.0, from), (edge.0, to));
        let (mut datagrams, mut bytes) = (0, 0);
        for (count, length, last) in
            [(2, 1200, 1200), (40, 1200, 7), (54, 1200, 1200), (64, 1, 1), (64, 100, 99), (2, 30_000, 1)]
        {
            let train = train(count, length, last);
            send_train(&client, edge.1, &train, length as u16);
            for expected in train.chunks(length) {
                assert!(receive(&origin) == expected, "a datagram of {count} times {length} on {ip}");
            }
            datagrams += count as u64;
            bytes += train.len() as u64;
        }
        assert_eq!(rig.counters(flow), [datagrams, bytes, 0]);
        // They are counted when the call that has sent them returns.
        until("all to be counted", || sent_messages(&rig.engine).1 == datagrams as f64);
        let (messages, _) = sent_messages(&rig.engine);
        // Loopback keeps trains together, so each went in and out in one call.
        assert_eq!(messages, 6.0, "{ip}");
    }
}

#[test]
fn joins_trains_and_single_datagrams_of_one_flow() {
    let mut rig = Rig::new(1);
    let ((client, from), (origin, to)) = (peer("127.0.0.1"), peer("127.0.0.1"));
    let edge = rig.open("127.0.0.1");
    rig.forward((edge.0, from), (edge.0, to));
    let mut expected: Vec<Vec<u8>> = Vec::new();
    for round in 0..200usize {
        let (count, length) = (1 + round % 7, [1200, 300, 1, 0, 1200][round % 5]);
        let train = train(count, length, length.saturating_sub(round % 2));
        if count > 1 && length > 1 {
            send_train(&client, edge.1, &train, length as u16);
            expected.extend(train.chunks(length).map(<[u8]>::to_vec));
        } else {
            client.send_to(&train, edge.1).unwrap();
            expected.push(train);
        }
    }
    for expected in expected {
        assert!(receive(&origin) == expected);
    }
}

#[test]
fn puts_and_takes_channel_headers_of_each_datagram_of_a_train() {
    let mut rig = Rig::new(1);
    let ((client, from), (peer, to)) = (peer("127.0.0.1"), peer("127.0.0.1"));
    let (edge, relay) = (rig.open("127.0.0.1"), rig.open("127.0.0.1"));
    let add = Action::AddChannel { to: rig.target((edge.0, from)), channel: 0x4001 };
    let added = rig.add((relay.0, to), Selector::Any, add);
    let strip = Action::StripChannel { to: rig.target((relay.0, to)) };
    let stripped = rig.add((edge.0, from), Selector::Channel(0x4001), strip);

    let payload = train(50, 1000, 333);
    send_train(&peer, relay.1, &payload, 1000);
    let mut framed = Vec::new();
    for expected in payload.chunks(1000) {
        let got = receive(&client);
        assert_eq!(got[..4], [0x40, 1, (expected.len() >> 8) as u8, expected.len() as u8]);
        assert!(got[4..] == *expected);
        framed.extend(got);
    }
    assert_eq!(rig.counters(added), [50, payload.len() as u64 + 200, 0]);

    // Among them one that is cut short, one of another channel and one with padding.
    let cut_at = 10 * 1004 + 2;
    framed[cut_at..cut_at + 2].copy_from_slice(&[0xff, 0xff]);
    framed[20 * 1004 + 1] = 2;
    framed[30 * 1004 + 3] -= 1;
    send_train(&client, edge.1, &framed, 1004);
    for (number, expected) in payload.chunks(1000).enumerate() {
        match number {
            10 | 20 => {}
            30 => assert!(receive(&peer) == expected[..999]),
            _ => assert!(receive(&peer) == expected),
        }
    }
    assert_eq!(rig.counters(stripped), [48, payload.len() as u64 - 2001, 1]);
    let records = rig.records(1);
    assert_eq!((records[0].flow, records[0].bytes.len(), &records[0].bytes[..2]), (0, 1004, &[0x40, 2][..]));
}

#[test]
fn puts_and_takes_indications_of_each_datagram_of_a_train() {
    for ip in ["127.0.0.1", "::1"] {
        let mut rig = Rig::new(1);
        let ((client, from), (peer, to)) = (peer("127.0.0.1"), peer(ip));
        let (edge, relay) = (rig.open("127.0.0.1"), rig.open(ip));
        let named = address(to);
        let add = Action::AddIndication { to: rig.target((edge.0, from)), peer: named };
        let added = rig.add((relay.0, to), Selector::Any, add);
        let strip = Action::StripIndication { to: rig.target((relay.0, to)) };
        let stripped = rig.add((edge.0, from), Selector::Indication(named), strip);
        let header = if ip == "::1" { 48 } else { 36 };

        let payload = train(50, 1001, 333);
        send_train(&peer, relay.1, &payload, 1001);
        let (mut ids, mut framed) = (std::collections::HashSet::new(), Vec::new());
        for expected in payload.chunks(1001) {
            let mut got = receive(&client);
            assert_eq!(got[..2], [0, 0x17]);
            assert_eq!(got.len(), header + expected.len() + 3);
            assert!(got[header..header + expected.len()] == *expected);
            assert_eq!(got[header + expected.len()..], [0; 3]);
            assert!(ids.insert(got[8..20].to_vec()), "a transaction id twice");
            // As the client would answer.
            got[1] = 0x16;
            assert_eq!(SendIndication::parse(&got).unwrap().peer, named);
            framed.extend(got);
        }
        assert_eq!(rig.counters(added), [50, framed.len() as u64, 0]);
        assert_eq!(rig.framing(added), (framed.len() - payload.len()) as u64);
        // They came in one message and went out in one, of segments that each have a header of their own.
        until("all to be counted", || sent_messages(&rig.engine).1 == 50.0);
        assert_eq!(sent_messages(&rig.engine).0, 1.0);

        // Among them one that wants not to be fragmented, which is nobody's.
        let length = header + 1004;
        framed[20 * length + header - 3] = 0x1a;
        send_train(&client, edge.1, &framed, length as u16);
        for (number, expected) in payload.chunks(1001).enumerate().filter(|(number, _)| *number != 20) {
            assert!(receive(&peer) == expected, "datagram {number}");
        }
        assert_eq!(rig.counters(stripped), [49, payload.len() as u64 - 1001, 0]);
        assert_eq!(rig.framing(stripped), (49 * (header + 3)) as u64);
        let records = rig.records(1);
        assert_eq!((records[0].flow, records[0].bytes.len()), (0, length));
    }
}

#[test]
fn takes_back_the_framing_of_what_the_system_refuses() {
    let mut rig = Rig::new(1);
    let ((client, from), (peer, to)) = (peer("127.0.0.1"), peer("127.0.0.1"));
    let (edge, relay) = (rig.open("127.0.0.1"), rig.open("127.0.0.1"));
    let add = Action::AddIndication { to: rig.target((edge.0, from)), peer: address(to) };
    let added = rig.add((relay.0, to), Selector::Any, add);
    // A datagram has room for 65,507 bytes, which is no multiple of four.
    for length in [65_469, 65_507, 4, 65_466] {
        peer.send_to(&vec![1; length], relay.1).unwrap();
    }
    assert_eq!(receive(&client).len(), 36 + 4);
    assert_eq!(receive(&client).len(), 36 + 65_468);
    until("all to be counted", || rig.counters(added)[2] == 2);
    assert_eq!(rig.counters(added), [2, 40 + 65_504, 2]);
    assert_eq!(rig.framing(added), 36 + 38);
}

#[test]
fn separates_flows_of_one_client_by_the_address_that_it_asks() {
    const ADDRESSES: [&str; 2] = ["127.0.0.1", "127.0.0.2"];
    let mut rig = Rig::new(2);
    let (client, from) = peer("127.0.0.1");
    let edge = rig.open_with(ADDRESSES[0], |endpoint, _| {
        endpoint.separates_locals = true;
        endpoint.threads = 2;
    });
    let second = SocketOptions {
        address: Address::new(ADDRESSES[1].parse().unwrap(), edge.1.port()),
        ..crate::socket::tests::options(ADDRESSES[1])
    };
    rig.engine.bind(edge.0, 1, second).unwrap();
    let peers: Vec<_> = (0..2).map(|_| peer("127.0.0.1")).collect();
    // A train of plain forwards takes a way of its own through the path.
    let mut flows = Vec::new();
    for (local, (_, to)) in (0..2).zip(&peers) {
        let strip = Action::StripChannel { to: rig.target((edge.0, *to)) };
        flows.push(rig.add_at(local, (edge.0, from), Selector::Channel(0x4000), strip));
        let forward = Action::Forward { to: rig.target((edge.0, *to)), copies_stun: false };
        flows.push(rig.add_at(local, (edge.0, from), Selector::Any, forward));
    }
    let mut framed = Vec::new();
    for payload in train(10, 100, 100).chunks(100) {
        framed.extend([0x40, 0, 0, 100]);
        framed.extend(payload);
    }
    let plain = vec![0x80; 500];
    for (ip, (socket, _)) in ADDRESSES.iter().zip(&peers) {
        let to = SocketAddr::new(ip.parse().unwrap(), edge.1.port());
        send_train(&client, to, &framed, 104);
        framed.chunks(104).for_each(|datagram| assert!(receive(socket) == datagram[4..]));
        send_train(&client, to, &plain, 100);
        plain.chunks(100).for_each(|datagram| assert!(receive(socket) == datagram));
    }
    assert!(flows.iter().step_by(2).all(|flow| rig.counters(*flow) == [10, 1000, 0]));
    assert!(flows.iter().skip(1).step_by(2).all(|flow| rig.counters(*flow) == [5, 500, 0]));
    // Without those of one address the same client is a stranger there, and only there.
    flows[..2].iter().for_each(|flow| rig.engine.remove_flow(*flow));
    for ip in ADDRESSES {
        client.send_to(b"late", SocketAddr::new(ip.parse().unwrap(), edge.1.port())).unwrap();
    }
    assert_eq!(rig.records(1)[0].flow, 0);
    assert_eq!(receive(&peers[1].0), b"late");
}

#[test]
fn hands_over_each_datagram_of_a_train() {
    let mut rig = Rig::new(1);
    let ((client, from), (stranger, unknown)) = (peer("127.0.0.1"), peer("127.0.0.1"));
    let edge = rig.open("127.0.0.1");
    let flow = rig.add((edge.0, from), Selector::Any, Action::Deliver);
    let bytes = train(60, 1000, 1);
    for (socket, remote, id) in [(&client, from, flow), (&stranger, unknown, 0)] {
        send_train(socket, edge.1, &bytes, 1000);
        let records = rig.records(60);
        assert_eq!(records.len(), 60);
        for (record, expected) in records.iter().zip(bytes.chunks(1000)) {
            assert_eq!(
                (record.is_icmp, record.endpoint, record.flow, record.remote),
                (false, edge.0, id, remote)
            );
            assert!(record.bytes == expected);
        }
    }
    assert_eq!(rig.counters(flow), [60, bytes.len() as u64, 0]);
}

#[test]
fn copies_the_stun_requests_of_a_train_and_leads_each_datagram_by_its_match() {
    let mut rig = Rig::new(1);
    let ((client, from), (origin, to), (other, elsewhere)) =
        (peer("127.0.0.1"), peer("127.0.0.1"), peer("127.0.0.1"));
    let edge = rig.open("127.0.0.1");
    let copying = Action::Forward { to: rig.target((edge.0, to)), copies_stun: true };
    let flow = rig.add((edge.0, from), Selector::Any, copying);
    let mut bytes = train(30, 100, 100);
    for (number, datagram) in bytes.chunks_mut(100).enumerate() {
        datagram[..2].copy_from_slice(if number % 10 == 3 { &[0, 1] } else { &[0x80, 0] });
        datagram[50..54].copy_from_slice(&[0, 0, 0, (number % 3) as u8]);
    }
    send_train(&client, edge.1, &bytes, 100);
    bytes.chunks(100).for_each(|expected| assert!(receive(&origin) == *expected));
    let copies = rig.records(3);
    assert_eq!(copies.len(), 3);
    for (copy, number) in copies.iter().zip([3, 13, 23]) {
        assert_eq!(copy.flow, flow);
        assert!(copy.bytes == bytes[number * 100..][..100]);
    }

    let matching = Action::Forward { to: rig.target((edge.0, elsewhere)), copies_stun: false };
    rig.add((edge.0, from), Selector::Match { offset: 50, value: 2 }, matching);
    send_train(&client, edge.1, &bytes, 100);
    for (number, expected) in bytes.chunks(100).enumerate() {
        assert!(receive(if number % 3 == 2 { &other } else { &origin }) == *expected);
    }
}

#[test]
fn marks_what_leaves_with_the_code_point_of_its_endpoint() {
    for (ip, level, wanted, kind) in [
        ("127.0.0.1", libc::IPPROTO_IP, libc::IP_RECVTOS, libc::IP_TOS),
        ("::1", libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS, libc::IPV6_TCLASS),
    ] {
        let mut rig = Rig::new(1);
        let ((client, from), (origin, to)) = (peer(ip), peer(ip));
        set(&origin, level, wanted, 1).unwrap();
        let edge = rig.open(ip);
        let marked = rig.open_with(ip, |_, socket| socket.dscp = Some(46));
        rig.forward((edge.0, from), (marked.0, to));
        client.send_to(b"forwarded", edge.1).unwrap();
        assert_eq!(receive_marked(&origin, level, kind), (b"forwarded".to_vec(), Some(46 << 2)));
        let own = OwnDatagram {
            endpoint: marked.0,
            local: None,
            remote: address(to),
            dont_fragment: false,
            bytes: b"own",
        };
        rig.engine.send([own].into_iter());
        assert_eq!(receive_marked(&origin, level, kind), (b"own".to_vec(), Some(46 << 2)));
        rig.engine.send([OwnDatagram { endpoint: edge.0, ..own }].into_iter());
        assert_eq!(receive_marked(&origin, level, kind), (b"own".to_vec(), Some(0)));
    }
}

/// A datagram with the value of one control message.
fn receive_marked(socket: &UdpSocket, level: i32, kind: i32) -> (Vec<u8>, Option<u8>) {
    let mut bytes = vec![0u8; 2048];
    let mut control = [0u64; 16];
    let mut vector = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    // SAFETY: all zero is a valid msghdr.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &mut vector;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control) as _;
    // SAFETY: the message points to valid room for what it says.
    let length = unsafe { libc::recvmsg(socket.as_raw_fd(), &mut message, 0) };
    assert!(length >= 0, "{}", io::Error::last_os_error());
    bytes.truncate(length as usize);
    // SAFETY: the system filled the control buffer. The value is a byte or an int, whose first byte has it all.
    let mark = unsafe {
        let mut header = libc::CMSG_FIRSTHDR(&message);
        loop {
            match header.as_ref() {
                Some(at) if at.cmsg_level == level && at.cmsg_type == kind => {
                    break Some(*libc::CMSG_DATA(header))
                }
                Some(_) => header = libc::CMSG_NXTHDR(&message, header),
                None => break None,
            }
        }
    };
    (bytes, mark)
}

#[test]
fn hands_over_what_icmp_said_of_what_a_flow_sent() {
    for ip in ["127.0.0.1", "::1"] {
        let mut rig = Rig::new(1);
        let (client, from) = peer(ip);
        let gone = peer(ip).1;
        let edge = rig.open(ip);
        let out = rig.open_with(ip, |_, socket| socket.icmp_errors = true);
        rig.forward((edge.0, from), (out.0, gone));
        let back = rig.forward((out.0, gone), (edge.0, from));
        for _ in 0..10 {
            client.send_to(b"anyone?", edge.1).unwrap();
            let record = rig.records(1).remove(0);
            assert_eq!(
                (record.is_icmp, record.endpoint, record.flow, record.remote),
                (true, out.0, back, gone)
            );
            assert_eq!(record.bytes[..3], if ip == "::1" { [1, 4, 1] } else { [3, 3, 1] });
        }
        let (sums, _) = rig.engine.totals();
        assert_eq!(sums[4..11], [0.0; 7], "nothing is dropped for an error of an earlier datagram");
    }
}

#[test]
fn a_socket_that_is_flooded_keeps_no_other_waiting() {
    let mut rig = Rig::new(1);
    let flooded = rig.open("127.0.0.1");
    let ((client, from), (origin, to)) = (peer("127.0.0.1"), peer("127.0.0.1"));
    let edge = rig.open("127.0.0.1");
    rig.forward((edge.0, from), (edge.0, to));
    let (_sink, nowhere) = peer("127.0.0.1");
    let over = Over(AtomicBool::new(false));
    let flood = AtomicU64::new(0);
    std::thread::scope(|scope| {
        // More than a thread can take: each costs a message of its own on the way out.
        for _ in 0..2 {
            let (socket, remote) = peer("127.0.0.1");
            rig.forward((flooded.0, remote), (edge.0, nowhere));
            let (over, flood) = (&over, &flood);
            scope.spawn(move || {
                let bytes = [0; 200];
                while !over.is_over() {
                    for length in 1..200 {
                        let _ = socket.send_to(&bytes[..length], flooded.1);
                    }
                    flood.fetch_add(199, Ordering::Relaxed);
                }
            });
        }
        let _guard = over.guard();
        // How many of the flood went before one that waits at another socket: some turns' worth of the thread, and not ever
        // more, the longer it lasts.
        let went_before: Vec<f64> = (1..=4)
            .map(|part| {
                until("the flood", || flood.load(Ordering::Relaxed) > part * 300_000);
                let before = rig.engine.totals().0[0];
                client.send_to(b"media", edge.1).unwrap();
                receive(&origin);
                rig.engine.totals().0[0] - before
            })
            .collect();
        assert!(went_before.iter().all(|passed| *passed < 20_000.0), "{went_before:?}");
    });
}

#[test]
fn flows_are_found_on_whatever_thread_the_system_delivers_to() {
    let mut rig = Rig::new(4);
    let edge = rig.open_with("127.0.0.1", |endpoint, _| endpoint.threads = 4);
    let (origin, to) = peer("127.0.0.1");
    let clients: Vec<_> = (0..64).map(|_| peer("127.0.0.1")).collect();
    let flows: Vec<u64> =
        clients.iter().map(|(_, from)| rig.forward((edge.0, *from), (edge.0, to))).collect();
    for round in 0..20u8 {
        for (number, (client, _)) in clients.iter().enumerate() {
            client.send_to(&[number as u8, round], edge.1).unwrap();
        }
    }
    let mut last = [0u8; 64];
    for _ in 0..64 * 20 {
        let got = receive(&origin);
        assert_eq!(got[1], last[got[0] as usize], "the order of a flow");
        last[got[0] as usize] += 1;
    }
    assert!(flows.iter().all(|flow| rig.counters(*flow) == [20, 40, 0]));
    let (_, busy) = rig.engine.totals();
    assert!(busy.iter().all(|ns| *ns > 0.0), "each thread had some: {busy:?}");
}

#[test]
fn a_meter_that_threads_share_passes_just_its_burst() {
    for _ in 0..20 {
        let mut rig = Rig::new(4);
        let edge = rig.open_with("127.0.0.1", |endpoint, _| endpoint.threads = 4);
        let (_origin, to) = peer("127.0.0.1");
        assert!(rig.engine.add_meter(9, None, Some(1e-9), 1e9 * 500.0));
        let clients: Vec<_> = (0..16).map(|_| peer("127.0.0.1")).collect();
        for (_, from) in &clients {
            let action = Action::Forward { to: rig.target((edge.0, to)), copies_stun: false };
            rig.last_flow += 1;
            let mut meters = [const { None }; MAX_METERS];
            meters[0] = rig.engine.meter(9);
            assert!(rig.engine.add_flow(Flow {
                id: rig.last_flow,
                source: rig.source((edge.0, *from), Source::EVERY_LOCAL),
                selector: Selector::Any,
                action,
                is_paused: false,
                meters,
                counters: Counters::default(),
                segment_limit: Flow::UNLIMITED,
            }));
        }
        std::thread::scope(|scope| {
            for (client, _) in &clients {
                scope.spawn(move || (0..100).for_each(|_| assert!(client.send_to(b"x", edge.1).is_ok())));
            }
        });
        // Drops for a meter are the third reason.
        until("all to be taken", || {
            let (sums, _) = rig.engine.totals();
            sums[0] + sums[4 + 2] == 1600.0
        });
        assert_eq!(rig.engine.totals().0[0], 500.0);
    }
}

#[test]
fn a_flow_keeps_its_order_while_threads_are_added() {
    let mut rig = Rig::new(1);
    let (origin, to) = peer("127.0.0.1");
    let ways: Vec<_> = (0..8)
        .map(|_| {
            let (client, from) = peer("127.0.0.1");
            let edge = rig.open("127.0.0.1");
            rig.forward((edge.0, from), (edge.0, to));
            (client, edge.1)
        })
        .collect();
    let over = Over(AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut round = 0u32;
            while !over.is_over() {
                for (number, (client, edge)) in ways.iter().enumerate() {
                    let [a, b, c, d] = round.to_be_bytes();
                    client.send_to(&[number as u8, a, b, c, d], edge).unwrap();
                }
                round += 1;
            }
        });
        let _guard = over.guard();
        let mut last = [None; 8];
        let mut check = |got: &[u8]| {
            let round = u32::from_be_bytes(*got[1..].first_chunk().unwrap());
            let last = &mut last[got[0] as usize];
            assert!(last.is_none_or(|last| last < round), "{last:?} before {round}");
            *last = Some(round);
        };
        for _ in 0..5 {
            (0..4000).for_each(|_| check(&receive(&origin)));
            rig.engine.add_thread().unwrap();
        }
        (0..4000).for_each(|_| check(&receive(&origin)));
    });
}

#[test]
fn endpoints_and_flows_come_and_go_under_traffic() {
    // No other test takes a port of it.
    const OWN_IP: &str = "127.0.0.77";
    let mut rig = Rig::new(3);
    let (sink, nowhere) = peer("127.0.0.1");
    let fixed = rig.open_with(OWN_IP, |endpoint, _| endpoint.threads = 3);
    let (client, from) = peer("127.0.0.1");
    let over = Over(AtomicBool::new(false));
    let port = AtomicU64::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let bytes = train(20, 500, 3);
            while !over.is_over() {
                let other = SocketAddr::new(OWN_IP.parse().unwrap(), port.load(Ordering::Relaxed) as u16);
                for to in [fixed.1, other].into_iter().filter(|to| to.port() != 0) {
                    // Refused where nobody is at present.
                    let _ = client.send_to(&bytes[..100], to);
                    let _ = set(&client, libc::SOL_UDP, libc::UDP_SEGMENT, 500);
                    let _ = client.send_to(&bytes, to);
                    let _ = set(&client, libc::SOL_UDP, libc::UDP_SEGMENT, 0);
                }
            }
        });
        let _guard = over.guard();
        let mut room = vec![0; 4 * MAX_RECORD_BYTES];
        for round in 0..150 {
            let threads = 1 + round % 3;
            let edge = rig.open_with(OWN_IP, |endpoint, _| endpoint.threads = threads);
            port.store(edge.1.port().into(), Ordering::Relaxed);
            let meter = 1000 + u64::from(round);
            assert!(rig.engine.add_meter(meter, Some(1e6), Some(1e4), 0.1));
            let to = rig.target((edge.0, nowhere));
            let actions = [
                Action::Forward { to: to.clone(), copies_stun: true },
                Action::AddChannel { to: to.clone(), channel: 0x4000 },
                Action::AddIndication { to: to.clone(), peer: address(from) },
                Action::Deliver,
            ];
            let flow = rig.add((edge.0, from), Selector::Any, actions[round as usize % 4].clone());
            let fixed_flow =
                rig.add((fixed.0, from), Selector::Any, Action::Forward { to, copies_stun: false });
            rig.engine.aim(fixed_flow, address(nowhere), None);
            rig.engine.pause(flow, true);
            rig.engine.pause(flow, false);
            until("some traffic", || rig.counters(flow)[0] + rig.counters(flow)[2] > 3);
            rig.engine.remove_meter(meter);
            if round % 2 == 0 {
                rig.engine.remove_flow(flow);
            }
            while rig.engine.take(&mut room).1 {}
            rig.engine.remove_endpoint(edge.0);
            // What went out of the endpoint went with it.
            assert_eq!(rig.counters(fixed_flow), [0; 3]);
            let again = UdpSocket::bind(edge.1);
            assert!(again.is_ok(), "the port is free at once: {again:?}");
        }
    });
    std::mem::drop(sink);
    assert!(rig.engine.failure().is_none());
    assert_eq!(Family::V4, address(nowhere).family);
}
