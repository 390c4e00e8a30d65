//! Many datagrams per system call.

use std::mem::{size_of, zeroed};
use std::ops::Range;
use std::os::fd::RawFd;

/// Datagrams of one call.
pub const BATCH: usize = 64;
/// Where a datagram says when it was sent: behind what looks like an RTP header.
pub const STAMP: Range<usize> = 12..20;
/// The first byte of RTP and RTCP, version 2.
const RTP: u8 = 0x80;

/// A datagram of `size` bytes, at least a stamp's end, that looks like RTP.
pub fn rtp(size: usize) -> Vec<u8> {
    let mut datagram = vec![0; size];
    datagram[0] = RTP;
    datagram
}

/// Datagrams to send, `train` of them in one message. The kernel cuts a message into datagrams if the socket
/// was told their size.
pub struct Outbox {
    bytes: Box<[u8]>,
    names: Box<[libc::sockaddr_in]>,
    _vectors: Box<[libc::iovec]>,
    headers: Box<[libc::mmsghdr]>,
    size: usize,
    train: usize,
}

impl Outbox {
    /// For datagrams that all begin as a copy of this one.
    pub fn of(datagram: &[u8], train: usize) -> Outbox {
        let (messages, size) = (BATCH / train, datagram.len());
        let mut bytes = datagram.repeat(BATCH).into_boxed_slice();
        // SAFETY: these consist of integers and of pointers that may be null; zero is a value of all of them.
        let (mut names, mut vectors, mut headers) = unsafe {
            (
                vec![zeroed::<libc::sockaddr_in>(); messages].into_boxed_slice(),
                vec![zeroed::<libc::iovec>(); messages].into_boxed_slice(),
                vec![zeroed::<libc::mmsghdr>(); messages].into_boxed_slice(),
            )
        };
        // Boxed parts do not move, so the headers may point into them.
        for (at, message) in bytes.chunks_exact_mut(size * train).enumerate() {
            vectors[at] = libc::iovec { iov_base: message.as_mut_ptr().cast(), iov_len: message.len() };
            let header = &mut headers[at].msg_hdr;
            header.msg_iov = &mut vectors[at];
            header.msg_iovlen = 1;
            header.msg_name = (&raw mut names[at]).cast();
        }
        Outbox { bytes, names, _vectors: vectors, headers, size, train }
    }

    /// Addresses the message in which a datagram is; without it a message goes where the socket is connected.
    pub fn aim(&mut self, datagram: usize, to: &libc::sockaddr_in) {
        let message = datagram / self.train;
        self.names[message] = *to;
        self.headers[message].msg_hdr.msg_namelen = size_of::<libc::sockaddr_in>() as libc::socklen_t;
    }

    pub fn stamp(&mut self, datagram: usize, now_ns: u64) {
        self.put(datagram, STAMP.start, &now_ns.to_be_bytes());
    }

    /// Writes into a datagram at an offset; it stays there for later sends.
    pub fn put(&mut self, datagram: usize, offset: usize, bytes: &[u8]) {
        self.bytes[datagram * self.size + offset..][..bytes.len()].copy_from_slice(bytes);
    }

    /// Sends the first `count` datagrams, waiting for the socket; how many the system took.
    pub fn send(&mut self, fd: RawFd, count: usize) -> usize {
        let messages = (count / self.train) as libc::c_uint;
        // SAFETY: all that the headers point to is owned by self, and there are at least so many.
        let took = unsafe { libc::sendmmsg(fd, self.headers.as_mut_ptr(), messages, 0) };
        took.max(0) as usize * self.train
    }
}
