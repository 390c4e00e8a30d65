//! The forwarding program: what each packet that an interface receives meets before the IP stack does.
//!
//! It takes a UDP datagram over IPv4 whose four-tuple is in the map of flows, rewrites its headers and sends it
//! out. All else it leaves to the stack, and so to the engine that has the same flows and more: other
//! protocols, options, fragments, lengths that do not agree, packets too large for the way out, strangers,
//! what is at the end of its life, and STUN requests of flows that say so.
//!
//! A packet may be a train: many datagrams of equal size under one header, made by the sender's GSO or by the
//! receiver's GRO. It is rewritten, counted by its parts, and goes out whole.

use crate::bpf::assembler::Condition::{AnyBitSet, Equal, Greater, Less, LessOrEqual, NotEqual};
use crate::bpf::assembler::Operation::{Add, And, Divide, Multiply, Remainder, ShiftRight, Subtract, Xor};
use crate::bpf::assembler::Register::{R0, R1, R2, R3, R4, R5, R6, R7, R8, R9};
use crate::bpf::assembler::Width::{U16, U32, U64, U8};
use crate::bpf::assembler::{Assembler, Instruction};
use crate::flow::{Counters, FlowKey, Rewrite, PASS_STUN_REQUESTS};
use std::mem::offset_of;

/// How a rewritten packet leaves.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Way {
    /// Through the transmit path of the interface, with the MAC addresses of the flow.
    Redirect,
    /// The same, with the MAC addresses that the kernel's neighbour table has.
    RedirectNeighbour,
    /// To the receiving end of the interface, if that is one end of a veth pair: its queue is left out.
    RedirectPeer,
}

/// Fields of `struct __sk_buff`.
mod skb {
    pub const LENGTH: usize = 0;
    pub const DATA: usize = 76;
    pub const DATA_END: usize = 80;
    /// Datagrams in a train; 0 for a single one.
    pub const GSO_SEGMENTS: usize = 164;
    pub const GSO_SIZE: usize = 176;
}

/// Fields of `struct xdp_md`.
mod xdp {
    pub const DATA: usize = 0;
    pub const DATA_END: usize = 4;
}

/// Numbers of `enum bpf_func_id`.
mod helper {
    pub const MAP_LOOKUP: i32 = 1;
    pub const L4_CHECKSUM_REPLACE: i32 = 11;
    pub const REDIRECT: i32 = 23;
    pub const LOAD_BYTES: i32 = 26;
    pub const PULL_DATA: i32 = 39;
    pub const REDIRECT_NEIGHBOUR: i32 = 152;
    pub const REDIRECT_PEER: i32 = 155;
    pub const COARSE_TIME: i32 = 160;
}

/// Offsets from the start of the Ethernet header; the IP header has no options.
mod packet {
    pub const MACS: usize = 0;
    pub const ETHERTYPE: usize = 12;
    pub const IP_VERSION_AND_LENGTH: usize = 14;
    pub const IP_TOTAL_LENGTH: usize = 16;
    pub const IP_FRAGMENT: usize = 20;
    pub const TIME_TO_LIVE: usize = 22;
    pub const IP_PROTOCOL: usize = 23;
    pub const IP_CHECKSUM: usize = 24;
    pub const ADDRESSES: usize = 26;
    pub const PORTS: usize = 34;
    pub const UDP_LENGTH: usize = 38;
    pub const UDP_CHECKSUM: usize = 40;
    pub const PAYLOAD: usize = 42;
}

const ETHERNET_BYTES: i32 = 14;
const IP_BYTES: i32 = 20;
const UDP_BYTES: i32 = 8;
const HEADER_BYTES: i32 = ETHERNET_BYTES + IP_BYTES + UDP_BYTES;

/// The next program on the hook, or the stack.
const TCX_NEXT: i32 = -1;
const TCX_DROP: i32 = 2;
const XDP_DROP: i32 = 1;
/// The checksum is over a pseudo header, whose part it is that changed.
const PSEUDO_HEADER: i32 = 1 << 4;
/// A UDP checksum of zero means none, and stays.
const ZERO_MEANS_NONE: i32 = 1 << 5;

/// Places below the frame pointer.
const KEY: i16 = 16;
const NOW: i16 = 24;
const COUNTER_INDEX: i16 = 32;

/// Counts the datagrams that the map of flows (`FlowKey` to the index of the counters) has, and drops them.
pub fn sink(flows: i32, counters: i32) -> Vec<Instruction> {
    let mut a = Assembler::new();
    a.copy(R6, R1);
    headers(&mut a, "parse");
    a.label("pass");
    a.copy(R0, TCX_NEXT);
    a.exit();
    a.label("parse");
    parse(&mut a);
    look_up(&mut a, flows);
    datagrams(&mut a);
    count(&mut a, counters, 0);
    a.copy(R0, TCX_DROP);
    a.exit();
    a.assemble()
}

/// For XDP: gives each frame the headers of the next flow and sends it out of the interface. `counter` is the map of
/// one number that goes on (`Counters`), `heads` that of the headers (`PaddedHead`).
pub fn generator(counter: i32, heads: i32, flows: usize, burst: usize, interface: u32) -> Vec<Instruction> {
    let mut a = Assembler::new();
    a.load(U32, R6, R1, xdp::DATA);
    a.load(U32, R3, R1, xdp::DATA_END);
    a.copy(R4, R6);
    a.apply(Add, R4, size_of::<PaddedHead>() as i32);
    a.jump_if(R4, Greater, R3, "drop");
    a.copy(R4, 0);
    a.store_local(U32, COUNTER_INDEX, R4);
    a.load_map(R1, counter);
    a.address_of_local(R2, COUNTER_INDEX);
    a.call(helper::MAP_LOOKUP);
    a.jump_if(R0, Equal, 0, "drop");
    a.load(U64, R4, R0, offset_of!(Counters, packets));
    a.copy(R5, R4);
    a.apply(Add, R5, 1);
    a.store(U64, R0, offset_of!(Counters, packets), R5);
    a.apply(Divide, R4, burst as i32);
    a.apply(Remainder, R4, flows as i32);
    a.store_local(U32, COUNTER_INDEX, R4);
    a.load_map(R1, heads);
    a.address_of_local(R2, COUNTER_INDEX);
    a.call(helper::MAP_LOOKUP);
    a.jump_if(R0, Equal, 0, "drop");
    for at in (0..size_of::<PaddedHead>()).step_by(8) {
        a.load(U64, R4, R0, at);
        a.store(U64, R6, at, R4);
    }
    a.copy(R1, interface as i32);
    a.copy(R2, 0);
    a.call(helper::REDIRECT);
    a.exit();
    a.label("drop");
    a.copy(R0, XDP_DROP);
    a.exit();
    a.assemble()
}

/// Headers, and the first bytes of the payload.
pub type PaddedHead = [u8; 48];

/// The descriptors are those of the maps of flows (`FlowKey` to `Rewrite`) and counters (`Counters`).
pub fn forward(flows: i32, counters: i32, way: Way) -> Vec<Instruction> {
    let mut a = Assembler::new();
    a.copy(R6, R1);
    headers(&mut a, "parse");
    // A driver may leave headers outside the linear part.
    a.copy(R1, R6);
    a.copy(R2, HEADER_BYTES);
    a.call(helper::PULL_DATA);
    headers(&mut a, "parse");
    a.copy(R0, TCX_NEXT);
    a.exit();

    a.label("parse");
    parse(&mut a);
    look_up(&mut a, flows);
    datagrams(&mut a);
    check_size(&mut a);
    pass_stun_requests(&mut a);
    count(&mut a, counters, offset_of!(Rewrite, id));
    replace_udp_checksum(&mut a);
    headers(&mut a, "rewrite");
    a.label("pass");
    a.copy(R0, TCX_NEXT);
    a.exit();

    a.label("rewrite");
    rewrite(&mut a, way);
    redirect(&mut a, way);
    a.exit();
    a.assemble()
}

/// R2 = the packet; jumps if all headers can be accessed there.
fn headers(a: &mut Assembler, reachable: &'static str) {
    a.load(U32, R2, R6, skb::DATA);
    a.load(U32, R3, R6, skb::DATA_END);
    a.copy(R4, R2);
    a.apply(Add, R4, HEADER_BYTES);
    a.jump_if(R4, LessOrEqual, R3, reachable);
}

/// Passes what is irregular. R8 = bytes of UDP payload; the key is in its place on the stack.
fn parse(a: &mut Assembler) {
    a.load(U16, R4, R2, packet::ETHERTYPE);
    a.jump_if(R4, NotEqual, in_packet([0x08, 0x00]), "pass");
    a.load(U8, R4, R2, packet::IP_VERSION_AND_LENGTH);
    a.jump_if(R4, NotEqual, 0x45, "pass");
    a.load(U16, R4, R2, packet::IP_FRAGMENT);
    a.jump_if(R4, AnyBitSet, in_packet([0x3f, 0xff]), "pass");
    a.load(U8, R4, R2, packet::IP_PROTOCOL);
    a.jump_if(R4, NotEqual, libc::IPPROTO_UDP, "pass");
    a.load(U8, R4, R2, packet::TIME_TO_LIVE);
    a.jump_if(R4, LessOrEqual, 1, "pass");

    a.load(U16, R8, R2, packet::UDP_LENGTH);
    a.network_16_to_host(R8);
    a.jump_if(R8, Less, UDP_BYTES, "pass");
    a.apply(Subtract, R8, UDP_BYTES);
    a.load(U16, R4, R2, packet::IP_TOTAL_LENGTH);
    a.network_16_to_host(R4);
    a.copy(R5, R8);
    a.apply(Add, R5, IP_BYTES + UDP_BYTES);
    a.jump_if(R4, NotEqual, R5, "pass");
    a.apply(Add, R5, ETHERNET_BYTES);
    a.load(U32, R4, R6, skb::LENGTH);
    a.jump_if(R5, Greater, R4, "pass");

    a.load(U64, R4, R2, packet::ADDRESSES);
    a.store_local(U64, KEY, R4);
    a.load(U32, R4, R2, packet::PORTS);
    a.store_local(U32, KEY - offset_of!(FlowKey, ports) as i16, R4);
}

/// R7 = the flow's rewrite.
fn look_up(a: &mut Assembler, flows: i32) {
    a.load_map(R1, flows);
    a.address_of_local(R2, KEY);
    a.call(helper::MAP_LOOKUP);
    a.jump_if(R0, Equal, 0, "pass");
    a.copy(R7, R0);
}

/// R9 = how many, which is more than one in a train.
fn datagrams(a: &mut Assembler) {
    a.load(U32, R9, R6, skb::GSO_SEGMENTS);
    a.jump_if(R9, NotEqual, 0, "counted");
    a.copy(R9, 1);
    a.label("counted");
}

/// The IP packet that will be on the wire, of a train each part, has to fit the way out.
fn check_size(a: &mut Assembler) {
    a.copy(R5, R8);
    a.load(U32, R4, R6, skb::GSO_SIZE);
    a.jump_if(R4, Equal, 0, "single");
    a.copy(R5, R4);
    a.label("single");
    a.apply(Add, R5, IP_BYTES + UDP_BYTES);
    a.load(U16, R4, R7, offset_of!(Rewrite, mtu));
    a.jump_if(R5, Greater, R4, "pass");
}

/// Looks at the first datagram and, of a train, at the last, which alone may have another size.
fn pass_stun_requests(a: &mut Assembler) {
    a.load(U16, R4, R7, offset_of!(Rewrite, flags));
    a.apply(And, R4, i32::from(PASS_STUN_REQUESTS));
    a.jump_if(R4, Equal, 0, "media");
    a.copy(R2, packet::PAYLOAD as i32);
    pass_if_stun_request(a);
    a.jump_if(R9, Equal, 1, "media");
    a.load(U32, R2, R6, skb::GSO_SIZE);
    a.copy(R4, R9);
    a.apply(Subtract, R4, 1);
    a.apply(Multiply, R2, R4);
    a.apply(Add, R2, packet::PAYLOAD as i32);
    pass_if_stun_request(a);
    a.label("media");
}

/// R2 = where the datagram begins.
fn pass_if_stun_request(a: &mut Assembler) {
    a.copy(R1, R6);
    a.address_of_local(R3, NOW);
    a.copy(R4, 2);
    a.call(helper::LOAD_BYTES);
    a.jump_if(R0, NotEqual, 0, "pass");
    a.load_local(U16, R4, NOW);
    a.jump_if(R4, Equal, in_packet([0x00, 0x01]), "pass");
}

/// The index of the counters is in the flow's value.
fn count(a: &mut Assembler, counters: i32, index: usize) {
    a.call(helper::COARSE_TIME);
    a.store_local(U64, NOW, R0);
    a.load(U32, R4, R7, index);
    a.store_local(U32, COUNTER_INDEX, R4);
    a.load_map(R1, counters);
    a.address_of_local(R2, COUNTER_INDEX);
    a.call(helper::MAP_LOOKUP);
    a.jump_if(R0, Equal, 0, "pass");
    for (offset, by) in [(offset_of!(Counters, packets), R9), (offset_of!(Counters, bytes), R8)] {
        a.load(U64, R4, R0, offset);
        a.apply(Add, R4, by);
        a.store(U64, R0, offset, R4);
    }
    a.load_local(U64, R4, NOW);
    a.store(U64, R0, offset_of!(Counters, last_seen_ns), R4);
}

/// Two steps, because a checksum that the sender left to its hardware covers the pseudo header so far, and no
/// ports. Only the kernel's helper knows whether it was left.
fn replace_udp_checksum(a: &mut Assembler) {
    let parts = [
        (offset_of!(Rewrite, address_difference), PSEUDO_HEADER | ZERO_MEANS_NONE),
        (offset_of!(Rewrite, port_difference), ZERO_MEANS_NONE),
    ];
    for (difference, flags) in parts {
        a.copy(R1, R6);
        a.copy(R2, packet::UDP_CHECKSUM as i32);
        a.copy(R3, 0);
        a.load(U32, R4, R7, difference);
        a.copy(R5, flags);
        a.call(helper::L4_CHECKSUM_REPLACE);
    }
}

fn rewrite(a: &mut Assembler, way: Way) {
    let key = offset_of!(Rewrite, key);
    a.load(U64, R4, R7, key + offset_of!(FlowKey, addresses));
    a.store(U64, R2, packet::ADDRESSES, R4);
    a.load(U32, R4, R7, key + offset_of!(FlowKey, ports));
    a.store(U32, R2, packet::PORTS, R4);

    a.load(U8, R4, R2, packet::TIME_TO_LIVE);
    a.apply(Subtract, R4, 1);
    a.store(U8, R2, packet::TIME_TO_LIVE, R4);
    a.load(U16, R4, R2, packet::IP_CHECKSUM);
    a.apply(Xor, R4, 0xffff);
    a.load(U32, R5, R7, offset_of!(Rewrite, ip_difference));
    a.apply(Add, R4, R5);
    // Both are at most 0xffff, so one fold is enough.
    a.copy(R5, R4);
    a.apply(ShiftRight, R5, 16);
    a.apply(Add, R4, R5);
    a.apply(Xor, R4, 0xffff);
    a.store(U16, R2, packet::IP_CHECKSUM, R4);

    if way != Way::RedirectNeighbour {
        let macs = offset_of!(Rewrite, macs);
        a.load(U32, R4, R7, macs);
        a.store(U32, R2, packet::MACS, R4);
        a.load(U64, R4, R7, macs + 4);
        a.store(U64, R2, packet::MACS + 4, R4);
    }
}

fn redirect(a: &mut Assembler, way: Way) {
    a.load(U32, R1, R7, offset_of!(Rewrite, interface));
    a.copy(R2, 0);
    a.copy(R3, 0);
    a.copy(R4, 0);
    a.call(match way {
        Way::Redirect => helper::REDIRECT,
        Way::RedirectNeighbour => helper::REDIRECT_NEIGHBOUR,
        Way::RedirectPeer => helper::REDIRECT_PEER,
    });
}

/// Two bytes of a packet as a load of 16 bits gives them.
fn in_packet(bytes: [u8; 2]) -> i32 {
    i32::from(u16::from_ne_bytes(bytes))
}
