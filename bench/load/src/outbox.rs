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
    /// For datagrams of `size` bytes, at least a stamp's end.
    pub fn new(size: usize, train: usize) -> Outbox {
        let messages = BATCH / train;
        let mut bytes = vec![0u8; size * BATCH].into_boxed_slice();
        bytes.iter_mut().step_by(size).for_each(|first| *first = RTP);
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
        let bytes = &mut self.bytes[datagram * self.size..][STAMP];
        bytes.copy_from_slice(&now_ns.to_be_bytes());
    }

    /// Sends the first `count` datagrams, waiting for the socket; how many the system took.
    pub fn send(&mut self, fd: RawFd, count: usize) -> usize {
        let messages = (count / self.train) as libc::c_uint;
        // SAFETY: all that the headers point to is owned by self, and there are at least so many.
        let took = unsafe { libc::sendmmsg(fd, self.headers.as_mut_ptr(), messages, 0) };
        took.max(0) as usize * self.train
    }
}
