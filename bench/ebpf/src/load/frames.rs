//! The origin's or the clients' machine is somewhere else: whole frames come into the gateway's interface, and a program
//! at the far end counts and drops what arrives. What remains is mostly the gateway's own work.

use super::{pace, Direction, Outcome, Path, Route, Shape, BATCH, DRAIN};
use crate::bpf::syscall::{Array, HashMap, Link, PerCpuArray, Plain, Program, Purpose};
use crate::flow::{Counters, FlowKey};
use crate::hardware::Hardware;
use crate::namespace::Namespace;
use crate::program::{self, PaddedHead};
use crate::socket::{set_option, Messages};
use crate::topology::{interface_index, Topology, DIRECT, TO_GATEWAY};
use crate::{system, Result};
use std::net::UdpSocket;
use std::os::fd::{AsRawFd, FromRawFd};
use std::thread;
use std::time::Instant;

const HEADER_BYTES: usize = 14 + 20 + 8;
/// `struct virtio_net_hdr`, which says before each frame what is left to the hardware.
const OFFLOAD_BYTES: usize = 10;
const NEEDS_CHECKSUM: u8 = 1;
const TRAIN_OF_UDP: u8 = 5;
const UDP_HEADER_AT: u16 = 34;
const UDP_CHECKSUM_AT: usize = 40;
const PACKET_VNET_HDR: i32 = 15;
const PACKET_QDISC_BYPASS: i32 = 20;
/// What the bytes of a payload are: the first one of RTP.
const FILLING: u8 = 0x80;
/// Frames that XDP makes in one call.
const XDP_AT_ONCE: u32 = 1 << 14;

type Head = [u8; HEADER_BYTES];

// SAFETY: bytes only.
unsafe impl Plain for PaddedHead {}

/// How frames come into being.
#[derive(Clone, Copy, PartialEq)]
pub enum Source {
    /// A packet socket, past the IP stack: one by one, as a veth pair takes them.
    PacketSocket,
    /// XDP, many at once and without a system call for each; the gateway's interface receives them as one with
    /// hardware does, by NAPI and GRO.
    Xdp,
}

pub struct FrameLoad {
    expected: HashMap<FlowKey, u32>,
    counters: PerCpuArray<Counters>,
    sink: Program,
    /// Packet sockets of the origin and of the clients, each towards the gateway and past it.
    sockets: [[UdpSocket; 2]; 2],
}

impl FrameLoad {
    pub fn new(topology: &Topology) -> Result<FrameLoad> {
        let expected = HashMap::new(4096)?;
        let counters = PerCpuArray::new(4096)?;
        let sink = program::sink(expected.descriptor(), counters.descriptor());
        let sink = Program::load(Purpose::TrafficControl, "sluice_sink", &sink)?;
        let open = |namespace: &Namespace| -> Result<[UdpSocket; 2]> {
            namespace.run(|| Ok([packet_socket(TO_GATEWAY)?, packet_socket(DIRECT)?]))
        };
        let sockets = [open(&topology.origin)?, open(&topology.clients)?];
        Ok(FrameLoad { expected, counters, sink, sockets })
    }

    pub fn run(&self, topology: &Topology, route: &Route, shape: Shape, source: Source) -> Result<Outcome> {
        let paths = route.paths(shape.direction);
        for (flow, path) in paths.iter().enumerate() {
            self.expected.insert(&FlowKey::new(path.seen_from, path.seen_at), &(flow as u32))?;
        }
        let (near_end, far_end, sockets) = match shape.direction {
            Direction::Down => (&topology.origin, &topology.clients, &self.sockets[0]),
            Direction::Up => (&topology.clients, &topology.origin, &self.sockets[1]),
        };
        let _sinks = far_end.run(|| {
            let attach = |name| self.sink.attach(interface_index(name)?);
            Ok([attach(TO_GATEWAY)?, attach(DIRECT)?] as [Link; 2])
        })?;
        let (interface, socket, macs) = match route.is_direct {
            false => (TO_GATEWAY, &sockets[0], topology.macs_to_gateway(shape.direction)),
            true => (DIRECT, &sockets[1], topology.macs_past_gateway(shape.direction)),
        };

        let before = self.delivered(paths.len())?;
        let start = Instant::now();
        let sent = match source {
            Source::PacketSocket => send_by_socket(socket, macs, paths, shape),
            Source::Xdp => {
                let _hardware = Hardware::imitate(topology)?;
                near_end.run(|| send_by_xdp(interface_index(interface)?, macs, paths, shape))?
            }
        };
        let seconds = start.elapsed().as_secs_f64();
        thread::sleep(DRAIN);
        Ok(Outcome { sent, delivered: self.delivered(paths.len())? - before, wrong: 0, seconds })
    }

    /// Up to now, with the right addresses.
    fn delivered(&self, flows: usize) -> Result<u64> {
        let mut sum = 0;
        for flow in 0..flows {
            sum += self.counters.get(flow as u32)?.iter().map(|counters| counters.packets).sum::<u64>();
        }
        Ok(sum)
    }
}

fn send_by_socket(socket: &UdpSocket, macs: [[u8; 6]; 2], paths: &[Path], shape: Shape) -> u64 {
    let mut heads: Vec<_> = paths
        .iter()
        .map(|path| [offload(shape).as_slice(), &head(macs, path, shape.size * shape.train)].concat())
        .collect();
    let mut body = vec![FILLING; shape.size * shape.train];
    let mut messages = Messages::new(BATCH, 2);
    for (header, vectors) in std::iter::zip(&mut messages.headers, messages.vectors.chunks_mut(2)) {
        // The socket is bound to its interface, and the addresses are in the frame.
        header.msg_hdr.msg_namelen = 0;
        header.msg_hdr.msg_name = std::ptr::null_mut();
        vectors[1] = libc::iovec { iov_base: body.as_mut_ptr().cast(), iov_len: body.len() };
    }
    pace(shape, |first, count| {
        for at in 0..count {
            let flow = (first as usize + at) / shape.burst % heads.len();
            let head = &mut heads[flow];
            messages.vectors[2 * at] =
                libc::iovec { iov_base: head.as_mut_ptr().cast(), iov_len: head.len() };
        }
        // SAFETY: the vectors point into `heads` and `body`, which outlive the call.
        unsafe { messages.send(socket.as_raw_fd(), count) }
    })
}

/// Many frames in each call; trains are made on the way, by GRO. Only as fast as the system lets it: each call makes a pool
/// of pages, which is dear for a few frames, and dearer where they are still on their way when it ends.
fn send_by_xdp(interface: u32, macs: [[u8; 6]; 2], paths: &[Path], shape: Shape) -> Result<u64> {
    let heads: Vec<PaddedHead> = paths
        .iter()
        .map(|path| {
            let mut padded = [FILLING; size_of::<PaddedHead>()];
            padded[..HEADER_BYTES].copy_from_slice(&finished(head(macs, path, shape.size), shape.size));
            padded
        })
        .collect();
    let heads = Array::new(&heads)?;
    let counter = PerCpuArray::<Counters>::new(1)?;
    let instructions = program::generator(
        counter.descriptor(),
        heads.descriptor(),
        paths.len(),
        shape.burst * shape.train,
        interface,
    );
    let program = Program::load(Purpose::Xdp, "sluice_generate", &instructions)?;
    // A program that is attached nowhere is put into the kernel's XDP dispatcher for each call, and waits for all processors
    // twice. Nothing arrives at this interface.
    let _link = program.attach(interface_index("lo")?)?;
    let frame = vec![FILLING; HEADER_BYTES + shape.size];
    let start = Instant::now();
    let mut sent = 0;
    while start.elapsed() < shape.run {
        program.run_live(&frame, XDP_AT_ONCE)?;
        sent += u64::from(XDP_AT_ONCE);
    }
    Ok(sent)
}

/// What a packet socket wants before a frame: the rest of the checksum, and cutting a train, are left to the hardware.
fn offload(shape: Shape) -> [u8; OFFLOAD_BYTES] {
    let (kind, segment) = match shape.train {
        1 => (0, 0),
        _ => (TRAIN_OF_UDP, shape.size as u16),
    };
    let mut header = [0; OFFLOAD_BYTES];
    header[..2].copy_from_slice(&[NEEDS_CHECKSUM, kind]);
    let fields = [HEADER_BYTES as u16, segment, UDP_HEADER_AT, 6];
    for (place, field) in header[2..].chunks_mut(2).zip(fields) {
        place.copy_from_slice(&field.to_ne_bytes());
    }
    header
}

/// All headers. The UDP checksum covers the pseudo header only, as where hardware does the rest.
fn head(macs: [[u8; 6]; 2], path: &Path, payload: usize) -> Head {
    let key = FlowKey::new(path.from, path.to);
    let udp_length = (8 + payload) as u16;
    let mut ip = vec![0x45, 0];
    ip.extend((20 + udp_length).to_be_bytes());
    // No identification, not to be fragmented, 64 hops, UDP.
    ip.extend([0, 0, 0x40, 0, 64, 17, 0, 0]);
    ip.extend(key.addresses.as_flattened());
    let checksum = !sum(&ip);
    ip[10..12].copy_from_slice(&checksum.to_be_bytes());
    let pseudo_header = [key.addresses.as_flattened(), &[0, 17], &udp_length.to_be_bytes()].concat();

    let mut head = macs.as_flattened().to_vec();
    head.extend([8, 0]);
    head.extend(ip);
    head.extend(key.ports.as_flattened());
    head.extend(udp_length.to_be_bytes());
    head.extend(sum(&pseudo_header).to_be_bytes());
    head.try_into().expect("all headers have their size")
}

/// With the whole UDP checksum, over a payload of so many bytes of filling.
fn finished(mut head: Head, payload: usize) -> Head {
    let covered = [&head[UDP_HEADER_AT as usize..], &vec![FILLING; payload]].concat();
    head[UDP_CHECKSUM_AT..].copy_from_slice(&(!sum(&covered)).to_be_bytes());
    head
}

/// The one's complement sum of 16-bit words; the length is even.
fn sum(bytes: &[u8]) -> u16 {
    let words = bytes.as_chunks().0.iter().map(|word| u32::from(u16::from_be_bytes(*word)));
    let sum: u32 = words.sum();
    let once = (sum & 0xffff) + (sum >> 16);
    ((once & 0xffff) + (once >> 16)) as u16
}

/// Sends frames out of an interface of the calling thread's namespace, past its queueing discipline.
fn packet_socket(interface: &str) -> Result<UdpSocket> {
    // SAFETY: a new descriptor, which the returned value owns; it receives nothing, as it names no protocol. The
    // address is one of a packet socket, and its size says so.
    let socket = unsafe {
        let descriptor = system(libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0))?;
        let socket = UdpSocket::from_raw_fd(descriptor);
        let mut address: libc::sockaddr_ll = std::mem::zeroed();
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_ifindex = interface_index(interface)? as i32;
        let size = size_of_val(&address) as u32;
        system(libc::bind(descriptor, (&raw const address).cast(), size))?;
        socket
    };
    set_option(&socket, libc::SOL_PACKET, PACKET_VNET_HDR, 1)?;
    set_option(&socket, libc::SOL_PACKET, PACKET_QDISC_BYPASS, 1)?;
    set_option(&socket, libc::SOL_SOCKET, libc::SO_SNDBUFFORCE, 8 << 20)?;
    Ok(socket)
}
