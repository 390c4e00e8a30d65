//! What the program has to do, shown on one flow in both directions. Each check says what it expects; the first
//! that finds something else ends the command.

use crate::bpf::syscall::Link;
use crate::flow::{Counters, FlowKey, Rewrite, PASS_STUN_REQUESTS};
use crate::kernel_path::KernelPath;
use crate::namespace::Namespace;
use crate::offload::{switch, Offload};
use crate::program::Way;
use crate::socket::{receive_trains, send_trains_of, set_option};
use crate::topology::{Topology, CLIENTS, EDGE, INNER, ORIGIN, TO_CLIENTS, TO_GATEWAY, TO_ORIGIN};
use crate::{system, Result};
use std::net::{SocketAddrV4, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

const STUN_REQUEST: [u8; 20] = *b"\x00\x01\x00\x00\x21\x12\xa4\x42transaction!";
/// How long something that should arrive may take, and how long to wait for what should not.
const SOON: Duration = Duration::from_millis(500);
const NEVER: Duration = Duration::from_millis(20);
/// Ids of the flows: where their counters are.
const DOWN: u32 = 1;
const UP: u32 = 2;

pub fn main() -> Result<()> {
    for way in [Way::Redirect, Way::RedirectNeighbour, Way::RedirectPeer] {
        let scene = Scene::new(way)?;
        for (name, check) in CHECKS {
            check(&scene).map_err(|error| format!("{way:?}: {name}: {error}"))?;
            println!("ok  {way:?}: {name}");
        }
        drop(scene.links);
        scene.client.send_to(b"to the engine", scene.edge_address)?;
        expect(&scene.edge, b"to the engine", scene.client_address)?;
        println!("ok  {way:?}: a program that is detached leaves all to the stack");
    }
    println!("{} passed, 0 failed", 3 * (CHECKS.len() + 1));
    Ok(())
}

type Check = fn(&Scene) -> Result<()>;

const CHECKS: [(&str, Check); 14] = [
    ("datagrams arrive whole, from the right address, in both directions", whole),
    ("checksums are right whoever computes them", checksums),
    ("a wrong checksum would have been noticed", wrong_checksum),
    ("a checksum of zero stays zero", no_checksum),
    ("time to live goes down by one, the class of service stays", time_to_live),
    ("a train goes through as one, and is cut where its reader wants datagrams", trains),
    ("STUN requests of clients pass up, also at the end of a train; those of the origin go through", stun),
    ("strangers, options, fragments, the last hop and what is too short pass up", irregular),
    ("malformed lengths are not forwarded", malformed),
    ("what is too large for the way out passes up", too_large),
    ("counters are exact", counters),
    ("a flow aimed elsewhere goes there, a removed one passes up", aim_and_remove),
    ("nothing is lost while a flow is aimed to and fro", aim_under_traffic),
    ("flows go on where the interfaces join packets to trains", receive_offload),
];

struct Scene {
    topology: Topology,
    path: KernelPath,
    links: Vec<Link>,
    origin: UdpSocket,
    /// The gateway's sockets: what passes up arrives there.
    inner: UdpSocket,
    edge: UdpSocket,
    client: UdpSocket,
    origin_address: SocketAddrV4,
    inner_address: SocketAddrV4,
    edge_address: SocketAddrV4,
    client_address: SocketAddrV4,
}

impl Scene {
    fn new(way: Way) -> Result<Scene> {
        let topology = Topology::new()?;
        let path = KernelPath::new()?;
        let [origin_address, inner_address, edge_address, client_address] =
            [(ORIGIN, 9001), (INNER, 9002), (EDGE, 9003), (CLIENTS, 9004)]
                .map(|(address, port)| SocketAddrV4::new(address, port));
        let scene = Scene {
            links: path.attach(&topology, way)?,
            origin: open(&topology.origin, origin_address)?,
            inner: open(&topology.gateway, inner_address)?,
            edge: open(&topology.gateway, edge_address)?,
            client: open(&topology.clients, client_address)?,
            topology,
            path,
            origin_address,
            inner_address,
            edge_address,
            client_address,
        };
        scene.add_flows()?;
        Ok(scene)
    }

    fn add_flows(&self) -> Result<()> {
        self.path.add(&self.down(), &self.rewrite_down(self.client_address)?)?;
        self.path.add(&self.up(), &self.rewrite_up()?)
    }

    fn down(&self) -> FlowKey {
        FlowKey::new(self.origin_address, self.inner_address)
    }

    fn up(&self) -> FlowKey {
        FlowKey::new(self.client_address, self.edge_address)
    }

    fn rewrite_down(&self, client: SocketAddrV4) -> Result<Rewrite> {
        let new = FlowKey::new(self.edge_address, client);
        Ok(Rewrite::new(self.down(), new, self.topology.exit_to_clients()?, DOWN, 0))
    }

    fn rewrite_up(&self) -> Result<Rewrite> {
        let new = FlowKey::new(self.inner_address, self.origin_address);
        Ok(Rewrite::new(self.up(), new, self.topology.exit_to_origin()?, UP, PASS_STUN_REQUESTS))
    }

    fn send_down(&self, bytes: &[u8]) -> Result<()> {
        self.origin.send_to(bytes, self.inner_address)?;
        Ok(())
    }

    fn send_up(&self, bytes: &[u8]) -> Result<()> {
        self.client.send_to(bytes, self.edge_address)?;
        Ok(())
    }

    /// Sends one each way; what arrives is what was sent.
    fn both_ways(&self, bytes: &[u8]) -> Result<()> {
        self.send_down(bytes)?;
        expect(&self.client, bytes, self.edge_address)?;
        self.send_up(bytes)?;
        expect(&self.origin, bytes, self.inner_address)
    }

    /// Sends from the client; it arrives at the gateway, unchanged.
    fn passes_up(&self, bytes: &[u8]) -> Result<()> {
        self.send_up(bytes)?;
        expect(&self.edge, bytes, self.client_address)?;
        nothing(&self.origin)
    }

    fn counters(&self) -> Result<[Counters; 2]> {
        Ok([self.path.counters(DOWN)?, self.path.counters(UP)?])
    }

    fn switch_checksums(&self, at_the_ends: bool, at_the_gateway: bool) -> Result<()> {
        let Topology { origin, gateway, clients } = &self.topology;
        let set = |namespace: &Namespace, interface, on| {
            namespace.run(|| switch(interface, Offload::TransmitChecksum, on))
        };
        set(origin, TO_GATEWAY, at_the_ends)?;
        set(clients, TO_GATEWAY, at_the_ends)?;
        set(gateway, TO_ORIGIN, at_the_gateway)?;
        set(gateway, TO_CLIENTS, at_the_gateway)
    }
}

fn whole(scene: &Scene) -> Result<()> {
    for length in [2, 3, 17, 500, 1200, 1471, 1472] {
        scene.both_ways(&bytes(length))?;
    }
    Ok(())
}

/// Of the ends' and the gateway's interfaces, those that may not leave checksums to hardware compute them, and then
/// the receiver's stack verifies them.
fn checksums(scene: &Scene) -> Result<()> {
    for (ends, gateway) in [(true, true), (true, false), (false, true), (false, false)] {
        scene.switch_checksums(ends, gateway)?;
        for length in [2, 3, 17, 1200, 1472] {
            scene.both_ways(&bytes(length)).map_err(|error| format!("{ends} {gateway} {length}: {error}"))?;
        }
        trains(scene).map_err(|error| format!("{ends} {gateway}, trains: {error}"))?;
        // All values of a checksum, the two zeros among them.
        for value in (0..=u16::MAX).step_by(13) {
            let [high, low] = value.to_be_bytes();
            scene.both_ways(&[0x80, 0, high, low])?;
        }
    }
    scene.switch_checksums(true, true)
}

fn wrong_checksum(scene: &Scene) -> Result<()> {
    scene.switch_checksums(false, false)?;
    let mut wrong = scene.rewrite_down(scene.client_address)?;
    wrong.port_difference += 1;
    scene.path.add(&scene.down(), &wrong)?;
    scene.send_down(&bytes(100))?;
    nothing(&scene.client)?;
    scene.switch_checksums(true, false)?;
    let mut wrong = scene.rewrite_down(scene.client_address)?;
    wrong.ip_difference += 1;
    scene.path.add(&scene.down(), &wrong)?;
    scene.send_down(&bytes(100))?;
    nothing(&scene.client)?;
    scene.switch_checksums(true, true)?;
    scene.add_flows()
}

fn no_checksum(scene: &Scene) -> Result<()> {
    let raw = raw_socket(&scene.topology.clients)?;
    for (off, zero) in [(1, true), (0, false)] {
        scene.switch_checksums(false, true)?;
        set_option(&scene.origin, libc::SOL_SOCKET, libc::SO_NO_CHECK, off)?;
        scene.send_down(&bytes(100))?;
        expect(&scene.client, &bytes(100), scene.edge_address)?;
        let checksum = &receive(&raw)?.0[26..28];
        if (checksum == [0, 0]) != zero {
            return Err(format!("{checksum:?}").into());
        }
    }
    scene.switch_checksums(true, true)
}

fn time_to_live(scene: &Scene) -> Result<()> {
    let raw = raw_socket(&scene.topology.clients)?;
    set_option(&scene.origin, libc::IPPROTO_IP, libc::IP_TOS, 0xb8)?;
    for time_to_live in [2, 64, 255] {
        set_option(&scene.origin, libc::IPPROTO_IP, libc::IP_TTL, time_to_live)?;
        scene.send_down(&bytes(100))?;
        expect(&scene.client, &bytes(100), scene.edge_address)?;
        let header = receive(&raw)?.0;
        if (i32::from(header[8]), header[1]) != (time_to_live - 1, 0xb8) {
            return Err(format!("time to live {}, service {:x}", header[8], header[1]).into());
        }
    }
    set_option(&scene.origin, libc::IPPROTO_IP, libc::IP_TOS, 0)?;
    set_option(&scene.origin, libc::IPPROTO_IP, libc::IP_TTL, 64)
}

fn trains(scene: &Scene) -> Result<()> {
    let Scene { origin, client, .. } = scene;
    let train = bytes(8 * 1200 + 77);
    let before = scene.counters()?[0];
    send_trains_of(origin, 1200)?;
    scene.send_down(&train)?;
    for part in train.chunks(1200) {
        expect(client, part, scene.edge_address)?;
    }
    set_option(client, libc::SOL_UDP, libc::UDP_GRO, 1)?;
    scene.send_down(&train)?;
    // A way out that computes checksums itself cuts the train, and what arrives then is its parts.
    let mut arrived = Vec::new();
    while arrived.len() < train.len() {
        arrived.extend(receive(client)?.0);
    }
    set_option(client, libc::SOL_UDP, libc::UDP_GRO, 0)?;
    send_trains_of(origin, 0)?;
    let after = scene.counters()?[0];
    let counted = (after.packets - before.packets, after.bytes - before.bytes);
    match arrived == train && counted == (18, 2 * train.len() as u64) {
        true => Ok(()),
        false => Err(format!("{} bytes arrived, counted {counted:?}", arrived.len()).into()),
    }
}

fn stun(scene: &Scene) -> Result<()> {
    scene.passes_up(&STUN_REQUEST)?;
    scene.send_down(&STUN_REQUEST)?;
    expect(&scene.client, &STUN_REQUEST, scene.edge_address)?;
    let train = [bytes(2400), STUN_REQUEST.to_vec()].concat();
    receive_trains(&scene.edge)?;
    send_trains_of(&scene.client, 1200)?;
    scene.send_up(&train)?;
    send_trains_of(&scene.client, 0)?;
    let result = expect(&scene.edge, &train, scene.client_address);
    set_option(&scene.edge, libc::SOL_UDP, libc::UDP_GRO, 0)?;
    result?;
    // A response is media to the program.
    let response = [&[1, 1], &STUN_REQUEST[2..]].concat();
    scene.both_ways(&response)
}

fn irregular(scene: &Scene) -> Result<()> {
    let stranger = open(&scene.topology.clients, SocketAddrV4::new(CLIENTS, 9005))?;
    stranger.send_to(b"who is there", scene.edge_address)?;
    expect(&scene.edge, b"who is there", stranger.local_addr()?)?;
    scene.passes_up(&[])?;
    scene.passes_up(&[0x80])?;
    scene.passes_up(&bytes(4000))?;
    set_option(&scene.client, libc::IPPROTO_IP, libc::IP_TTL, 1)?;
    let result = scene.passes_up(&bytes(100));
    set_option(&scene.client, libc::IPPROTO_IP, libc::IP_TTL, 64)?;
    result?;
    // Four times "no operation".
    set_option(&scene.client, libc::IPPROTO_IP, libc::IP_OPTIONS, i32::from_ne_bytes([1; 4]))?;
    let result = scene.passes_up(&bytes(100));
    // SAFETY: no options: nothing is read.
    system(unsafe {
        let socket = scene.client.as_raw_fd();
        libc::setsockopt(socket, libc::IPPROTO_IP, libc::IP_OPTIONS, std::ptr::null(), 0)
    })?;
    result?;
    // Without a client to be read for there is no lower bound.
    scene.send_down(&[])?;
    expect(&scene.client, &[], scene.edge_address)
}

fn malformed(scene: &Scene) -> Result<()> {
    const RIGHT: u16 = 8 + 100;
    let raw = raw_socket(&scene.topology.clients)?;
    set_option(&raw, libc::IPPROTO_IP, libc::IP_HDRINCL, 1)?;
    let before = scene.counters()?;
    for udp_length in [0, 7, 8, RIGHT - 1, RIGHT + 1, 1000, u16::MAX, RIGHT] {
        // The kernel fills in length, identification and checksum of the IP header.
        let mut packet = vec![0x45, 0, 0, 128, 0, 0, 0, 0, 64, 17, 0, 0];
        packet.extend(scene.up().addresses.as_flattened());
        packet.extend(scene.up().ports.as_flattened());
        packet.extend(udp_length.to_be_bytes());
        packet.extend([0, 0]);
        packet.extend(bytes(100));
        raw.send_to(&packet, scene.edge_address)?;
    }
    expect(&scene.origin, &bytes(100), scene.inner_address)?;
    nothing(&scene.origin)?;
    drain(&scene.edge);
    match scene.counters()?[1].packets - before[1].packets {
        1 => Ok(()),
        other => Err(format!("{other} were counted").into()),
    }
}

fn too_large(scene: &Scene) -> Result<()> {
    scene.path.add(&scene.up(), &Rewrite { mtu: 1000, ..scene.rewrite_up()? })?;
    scene.passes_up(&bytes(973))?;
    scene.send_up(&bytes(972))?;
    expect(&scene.origin, &bytes(972), scene.inner_address)?;
    for (size, fits) in [(972, true), (973, false)] {
        let train = bytes(3 * size);
        send_trains_of(&scene.client, size)?;
        scene.send_up(&train)?;
        let (reader, source) = match fits {
            true => (&scene.origin, scene.inner_address),
            false => (&scene.edge, scene.client_address),
        };
        for part in train.chunks(size) {
            expect(reader, part, source)?;
        }
    }
    send_trains_of(&scene.client, 0)?;
    scene.add_flows()
}

fn counters(scene: &Scene) -> Result<()> {
    let before = scene.counters()?;
    let started = monotonic_ns();
    for length in 100..200 {
        scene.both_ways(&bytes(length))?;
    }
    let expected = (100, (100..200).sum::<usize>() as u64);
    for (before, after) in before.iter().zip(scene.counters()?) {
        let counted = (after.packets - before.packets, after.bytes - before.bytes);
        let tick = Duration::from_millis(10).as_nanos() as u64;
        let seen = started - tick..=monotonic_ns();
        if counted != expected || !seen.contains(&after.last_seen_ns) {
            return Err(format!("{before:?}, then {after:?}").into());
        }
    }
    Ok(())
}

fn aim_and_remove(scene: &Scene) -> Result<()> {
    let elsewhere = open(&scene.topology.clients, SocketAddrV4::new(CLIENTS, 9006))?;
    let before = scene.counters()?[0].packets;
    scene.path.add(&scene.down(), &scene.rewrite_down(SocketAddrV4::new(CLIENTS, 9006))?)?;
    scene.send_down(&bytes(100))?;
    expect(&elsewhere, &bytes(100), scene.edge_address)?;
    nothing(&scene.client)?;
    scene.path.remove(&scene.down())?;
    scene.send_down(&bytes(100))?;
    expect(&scene.inner, &bytes(100), scene.origin_address)?;
    scene.add_flows()?;
    match scene.counters()?[0].packets - before {
        1 => Ok(()),
        other => Err(format!("{other} were counted").into()),
    }
}

fn aim_under_traffic(scene: &Scene) -> Result<()> {
    const DATAGRAMS: usize = 20_000;
    let elsewhere = open(&scene.topology.clients, SocketAddrV4::new(CLIENTS, 9006))?;
    let done = AtomicBool::new(false);
    let arrived = thread::scope(|scope| -> Result<usize> {
        let readers = [&scene.client, &elsewhere].map(|socket| {
            scope.spawn(|| {
                let mut count = 0;
                while receive(socket)
                    .is_ok_and(|(read, from)| read == bytes(100) && from == scene.edge_address)
                {
                    count += 1;
                }
                count
            })
        });
        let aiming = scope.spawn(|| -> Result<usize> {
            let mut count = 0;
            while !done.load(Relaxed) {
                for port in [9006, 9004] {
                    scene.path.add(&scene.down(), &scene.rewrite_down(SocketAddrV4::new(CLIENTS, port))?)?;
                    count += 1;
                }
            }
            Ok(count)
        });
        for sent in 0..DATAGRAMS {
            scene.send_down(&bytes(100))?;
            if sent % 100 == 0 {
                thread::sleep(Duration::from_millis(1));
            }
        }
        done.store(true, Relaxed);
        let aimed = aiming.join().map_err(|_| "aiming failed")??;
        let [here, there] = readers.map(|reader| reader.join().unwrap_or(0));
        match here > 0 && there > 0 && aimed > 10 {
            true => Ok(here + there),
            false => Err(format!("aimed {aimed} times: {here} here, {there} there").into()),
        }
    })?;
    match arrived == DATAGRAMS {
        true => Ok(()),
        false => Err(format!("{arrived} of {DATAGRAMS} arrived").into()),
    }
}

fn receive_offload(scene: &Scene) -> Result<()> {
    let set = |on| {
        scene.topology.gateway.run(|| {
            switch(TO_ORIGIN, Offload::ReceiveTrains, on)?;
            switch(TO_CLIENTS, Offload::ReceiveTrains, on)
        })
    };
    set(true)?;
    whole(scene)?;
    trains(scene)?;
    set(false)
}

/// Bytes that differ from place to place, and do not begin as STUN does.
fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|at| 0x80 ^ (at * 31 + at / 251) as u8).collect()
}

fn open(namespace: &Namespace, address: SocketAddrV4) -> Result<UdpSocket> {
    namespace.run(|| {
        let socket = UdpSocket::bind(address)?;
        set_option(&socket, libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, 8 << 20)?;
        socket.set_read_timeout(Some(SOON))?;
        Ok(socket)
    })
}

/// Sees all UDP that arrives in the namespace, with its IP header.
fn raw_socket(namespace: &Namespace) -> Result<UdpSocket> {
    namespace.run(|| {
        // SAFETY: a new descriptor, which the returned value owns. It serves as a socket that reads datagrams.
        let socket = unsafe {
            let descriptor = system(libc::socket(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_UDP))?;
            UdpSocket::from_raw_fd(descriptor)
        };
        socket.set_read_timeout(Some(SOON))?;
        Ok(socket)
    })
}

fn receive(socket: &UdpSocket) -> Result<(Vec<u8>, SocketAddrV4)> {
    let mut buffer = vec![0; 65_536];
    let (length, from) = socket.recv_from(&mut buffer)?;
    buffer.truncate(length);
    match from {
        std::net::SocketAddr::V4(from) => Ok((buffer, from)),
        _ => Err("not IPv4".into()),
    }
}

fn expect(socket: &UdpSocket, bytes: &[u8], from: impl Into<std::net::SocketAddr>) -> Result<()> {
    let from = from.into();
    let (read, source) =
        receive(socket).map_err(|error| format!("{} bytes from {from}: {error}", bytes.len()))?;
    match read == bytes && from == source.into() {
        true => Ok(()),
        false => Err(format!("{} bytes from {from}: got {} from {source}", bytes.len(), read.len()).into()),
    }
}

fn nothing(socket: &UdpSocket) -> Result<()> {
    socket.set_read_timeout(Some(NEVER))?;
    let read = receive(socket);
    socket.set_read_timeout(Some(SOON))?;
    match read {
        Err(_) => Ok(()),
        Ok((bytes, from)) => Err(format!("{} bytes came from {from}", bytes.len()).into()),
    }
}

fn drain(socket: &UdpSocket) {
    while nothing(socket).is_err() {}
}

fn monotonic_ns() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the kernel writes one timespec.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
