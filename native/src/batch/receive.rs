//! Receiving: `recvmmsg`, with trains of datagrams that the system has joined (UDP GRO).

use crate::address::{Address, RawAddress};
use std::io;
use std::os::fd::RawFd;

/// Messages that one batch has room for.
pub const SLOTS: usize = 64;
/// The longest train.
const SLOT_BYTES: usize = 65_536;
/// Slots begin at different places of the cache's sets, else all their first lines would evict one another.
const STRIDE_BYTES: usize = SLOT_BYTES + 576;
/// Room for a control message with an int.
const CONTROL_WORDS: usize = 8;

/// Room for the messages of one turn, from any number of sockets. Memory is taken up only as far as it is written to.
pub struct ReceiveBatch {
    memory: Box<[u8]>,
    names: Box<[RawAddress; SLOTS]>,
    controls: Box<[[u64; CONTROL_WORDS]; SLOTS]>,
    _vectors: Box<[libc::iovec; SLOTS]>,
    headers: Box<[libc::mmsghdr; SLOTS]>,
}

/// A message: one datagram, or several of one remote that lie behind each other.
pub struct Received<'batch> {
    pub from: Address,
    pub bytes: &'batch [u8],
    /// Length of each datagram but the last, which may be shorter; `bytes.len()` of a single one.
    pub segment: usize,
}

impl ReceiveBatch {
    pub fn new() -> ReceiveBatch {
        let mut memory = vec![0u8; SLOTS * STRIDE_BYTES].into_boxed_slice();
        let mut names = Box::new([RawAddress::EMPTY; SLOTS]);
        let mut controls = Box::new([[0u64; CONTROL_WORDS]; SLOTS]);
        let mut vectors = Box::new([libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 }; SLOTS]);
        // SAFETY: all zero is a valid mmsghdr.
        let mut headers = Box::new([unsafe { std::mem::zeroed::<libc::mmsghdr>() }; SLOTS]);
        for slot in 0..SLOTS {
            let at = slot * STRIDE_BYTES;
            let room = &mut memory[at..at + SLOT_BYTES];
            vectors[slot] = libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() };
            let header = &mut headers[slot].msg_hdr;
            header.msg_iov = &mut vectors[slot];
            header.msg_iovlen = 1;
            header.msg_name = names[slot].as_mut_ptr().cast();
            header.msg_control = controls[slot].as_mut_ptr().cast();
        }
        ReceiveBatch { memory, names, controls, _vectors: vectors, headers }
    }

    /// Receives what is there into the slots from `first` on, at most `most`; says how many it filled.
    pub fn receive(&mut self, fd: RawFd, first: usize, most: usize) -> io::Result<usize> {
        let headers = &mut self.headers[first..first + most];
        for header in headers.iter_mut() {
            // The system has written what it used of them.
            header.msg_hdr.msg_namelen = RawAddress::EMPTY.len();
            header.msg_hdr.msg_controllen = (CONTROL_WORDS * size_of::<u64>()) as _;
        }
        let (pointer, count) = (headers.as_mut_ptr(), headers.len() as libc::c_uint);
        // SAFETY: each header points to room of its slot, which lives in boxes of `self` and does not move.
        let got = unsafe { libc::recvmmsg(fd, pointer, count, libc::MSG_DONTWAIT, std::ptr::null_mut()) };
        if got < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(got as usize)
    }

    /// What a slot that was filled has received; `None` when its sender has no IP address.
    pub fn get(&self, slot: usize) -> Option<Received<'_>> {
        let header = &self.headers[slot];
        let at = slot * STRIDE_BYTES;
        let bytes = &self.memory[at..at + (header.msg_len as usize).min(SLOT_BYTES)];
        let segment = match self.segment(slot) {
            Some(segment) if segment > 0 => segment.min(bytes.len()),
            _ => bytes.len(),
        };
        Some(Received { from: self.names[slot].address()?, bytes, segment })
    }

    fn segment(&self, slot: usize) -> Option<usize> {
        let message = &self.headers[slot].msg_hdr;
        debug_assert_eq!(message.msg_control.cast_const().cast(), self.controls[slot].as_ptr());
        // SAFETY: the system filled the control buffer and said its length; UDP_GRO carries an int.
        unsafe {
            let mut header = libc::CMSG_FIRSTHDR(message);
            while let Some(at) = header.as_ref() {
                if at.cmsg_level == libc::SOL_UDP && at.cmsg_type == libc::UDP_GRO {
                    let value = libc::CMSG_DATA(header).cast::<libc::c_int>().read_unaligned();
                    return usize::try_from(value).ok();
                }
                header = libc::CMSG_NXTHDR(message, header);
            }
        }
        None
    }
}
