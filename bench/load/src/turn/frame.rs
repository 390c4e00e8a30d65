//! How a client's payload is wrapped on its way to a TURN server and from there.

use super::client::{CHANNEL, TRANSACTION, XOR_PEER_ADDRESS};
use crate::args::Result;
use crate::outbox::rtp;
use crate::stun;
use std::net::SocketAddr;

const SEND_INDICATION: [u8; 2] = [0, 0x16];
const DATA: u16 = 0x0013;

/// A datagram to send, and where in it the payload is.
pub struct Frame {
    pub datagram: Vec<u8>,
    pub payload_at: usize,
}

impl Frame {
    /// The payload by itself.
    pub fn bare(size: usize) -> Frame {
        Frame { datagram: rtp(size), payload_at: 0 }
    }

    pub fn channel_data(size: usize) -> Frame {
        let length = (size as u16).to_be_bytes();
        Frame { datagram: [&CHANNEL[..], &length, &rtp(size)].concat(), payload_at: 4 }
    }

    /// A Send indication: the peer's address is in each.
    pub fn indication(size: usize, peer: SocketAddr) -> Result<Frame> {
        let mut datagram = stun::header(SEND_INDICATION, &TRANSACTION);
        stun::attribute(&mut datagram, XOR_PEER_ADDRESS, &stun::xor_address(peer));
        stun::attribute(&mut datagram, DATA, &rtp(size));
        let payload_at = stun::offset(&datagram, DATA).ok_or("an indication has DATA")?;
        Ok(Frame { datagram, payload_at })
    }
}

/// Where the payload of a datagram that came is, whatever it is wrapped in; the head of the datagram is enough.
pub fn payload_at(head: &[u8]) -> usize {
    match head.first() {
        Some(0x40..=0x7f) => 4,
        Some(0x00) => stun::offset(head, DATA).unwrap_or(head.len()),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_payload_of_every_frame_in_its_head() {
        let peer = SocketAddr::from(([127, 0, 0, 1], 9));
        for frame in [Frame::bare(172), Frame::channel_data(172), Frame::indication(172, peer).unwrap()] {
            assert_eq!(payload_at(&frame.datagram[..64]), frame.payload_at);
            assert_eq!(frame.datagram[frame.payload_at..], rtp(172));
        }
        // A STUN answer has none.
        assert_eq!(payload_at(&stun::header([0, 1], &TRANSACTION)), 20);
    }
}
