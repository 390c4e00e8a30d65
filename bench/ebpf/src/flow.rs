//! A flow as the map holds it: which datagrams it takes, and how their headers are rewritten.

use crate::bpf::syscall::Plain;
use std::net::SocketAddrV4;

/// Bytes in network order, laid out as in the headers: the program copies them there and from there.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct FlowKey {
    pub addresses: Addresses,
    pub ports: Ports,
}

/// Source, destination.
type Addresses = [[u8; 4]; 2];
type Ports = [[u8; 2]; 2];
/// Destination, source.
type Macs = [[u8; 6]; 2];

impl FlowKey {
    pub fn new(from: SocketAddrV4, to: SocketAddrV4) -> FlowKey {
        FlowKey {
            addresses: [from.ip().octets(), to.ip().octets()],
            ports: [from.port().to_be_bytes(), to.port().to_be_bytes()],
        }
    }
}

/// What the program does to a datagram of the flow. The differences are one's complement sums that turn a
/// checksum over the old values into one over the new (RFC 1624), so that the program adds and computes nothing.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Rewrite {
    pub key: FlowKey,
    /// Of the IP header: addresses, and a time to live that is one less.
    pub ip_difference: u32,
    /// Of the UDP checksum through its pseudo header; the only one that a checksum left to the hardware needs.
    pub address_difference: u32,
    pub port_difference: u32,
    pub macs: Macs,
    /// Where it goes out.
    pub interface: u32,
    /// Where its counters are.
    pub id: u32,
    /// The largest IP packet that may go out there.
    pub mtu: u16,
    pub flags: u16,
}

/// STUN requests are not forwarded but passed up, to be forwarded and read there.
pub const PASS_STUN_REQUESTS: u16 = 1;

/// What one processor has counted of a flow.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Counters {
    pub packets: u64,
    pub bytes: u64,
    /// CLOCK_MONOTONIC at the last tick before the last datagram.
    pub last_seen_ns: u64,
}

// SAFETY: `repr(C)` of bytes only.
unsafe impl Plain for FlowKey {}
// SAFETY: `repr(C)`, and the fields fill it without gaps (see the test of the layout).
unsafe impl Plain for Rewrite {}
// SAFETY: `repr(C)` of three u64.
unsafe impl Plain for Counters {}

/// Where packets of a flow leave.
#[derive(Clone, Copy)]
pub struct Exit {
    pub interface: u32,
    pub mac: [u8; 6],
    pub next_hop_mac: [u8; 6],
    pub mtu: u16,
}

impl Rewrite {
    pub fn new(old: FlowKey, new: FlowKey, exit: Exit, id: u32, flags: u16) -> Rewrite {
        let addresses = difference(old.addresses.as_flattened(), new.addresses.as_flattened());
        // Time to live and protocol are one word of the header; any values that differ by one will do.
        let time_to_live = difference(&[2, 0], &[1, 0]);
        Rewrite {
            key: new,
            ip_difference: fold(addresses + time_to_live),
            address_difference: addresses,
            port_difference: difference(old.ports.as_flattened(), new.ports.as_flattened()),
            macs: [exit.next_hop_mac, exit.mac],
            interface: exit.interface,
            id,
            mtu: exit.mtu,
            flags,
        }
    }
}

/// The sum of the new words and the complements of the old, folded to 16 bits. Words are taken in the
/// machine's order, as the kernel does: a one's complement sum comes out the same, bytes swapped.
fn difference(old: &[u8], new: &[u8]) -> u32 {
    let words = |bytes: &[u8]| -> Vec<u16> {
        bytes.as_chunks().0.iter().map(|word| u16::from_ne_bytes(*word)).collect()
    };
    let sum_of_new: u32 = words(new).into_iter().map(u32::from).sum();
    let sum_of_old: u32 = words(old).into_iter().map(|word| u32::from(!word)).sum();
    fold(sum_of_new + sum_of_old)
}

fn fold(sum: u32) -> u32 {
    let once = (sum & 0xffff) + (sum >> 16);
    (once & 0xffff) + (once >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::size_of;

    fn checksum(bytes: &[u8]) -> u16 {
        let words = bytes.as_chunks().0.iter().map(|word| u32::from(u16::from_ne_bytes(*word)));
        !fold(words.sum()) as u16
    }

    fn header(key: FlowKey, time_to_live: u8) -> Vec<u8> {
        let mut header = vec![0x45, 0, 4, 200, 1, 2, 0x40, 0, time_to_live, 17, 0, 0];
        header.extend(key.addresses.as_flattened());
        let sum = checksum(&header);
        header[10..12].copy_from_slice(&sum.to_ne_bytes());
        header
    }

    fn key(from: &str, to: &str) -> FlowKey {
        FlowKey::new(from.parse().unwrap(), to.parse().unwrap())
    }

    const EXIT: Exit = Exit { interface: 3, mac: [2; 6], next_hop_mac: [4; 6], mtu: 1500 };

    #[test]
    fn the_layout_has_no_gaps() {
        assert_eq!((size_of::<FlowKey>(), size_of::<Rewrite>()), (12, 48));
    }

    #[test]
    fn the_difference_keeps_the_ip_checksum_right() {
        let keys = [
            key("10.0.0.1:1", "10.0.0.2:2"),
            key("255.255.255.255:65535", "0.0.0.1:1"),
            key("192.168.77.1:8000", "8.8.4.4:53"),
        ];
        for (old, new) in keys.iter().flat_map(|old| keys.iter().map(move |new| (*old, *new))) {
            for time_to_live in [2, 64, 255] {
                let before = header(old, time_to_live);
                let after = header(new, time_to_live - 1);
                let rewrite = Rewrite::new(old, new, EXIT, 0, 0);
                let sum = u16::from_ne_bytes([before[10], before[11]]);
                let patched = !fold(u32::from(!sum) + rewrite.ip_difference) as u16;
                let right = u16::from_ne_bytes([after[10], after[11]]);
                // Two forms of zero are one number in one's complement.
                assert!(patched == right || patched == !right && patched == 0xffff, "{patched:x} {right:x}");
            }
        }
    }

    #[test]
    fn ports_have_their_own_difference() {
        let rewrite = Rewrite::new(key("1.1.1.1:1", "2.2.2.2:2"), key("1.1.1.1:5", "2.2.2.2:7"), EXIT, 0, 0);
        let words = [rewrite.address_difference, rewrite.port_difference].map(|word| word as u16);
        assert_eq!(words, [0xffff, u16::from_ne_bytes([0, 9])]);
    }
}
