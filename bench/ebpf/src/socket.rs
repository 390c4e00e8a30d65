//! UDP sockets and many datagrams per system call.

use crate::{system, Result};
use std::mem::{size_of, zeroed};
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsRawFd, RawFd};

/// Room for what arrives while a reader sleeps.
const BUFFER_BYTES: libc::c_int = 32 << 20;

/// A socket of the calling thread's network namespace.
pub fn bind(address: Ipv4Addr, port: u16) -> Result<UdpSocket> {
    let socket = UdpSocket::bind((address, port)).map_err(|error| format!("{address}:{port}: {error}"))?;
    for option in [libc::SO_RCVBUFFORCE, libc::SO_SNDBUFFORCE] {
        set_option(&socket, libc::SOL_SOCKET, option, BUFFER_BYTES)?;
    }
    Ok(socket)
}

/// Lets trains arrive whole.
pub fn receive_trains(socket: &UdpSocket) -> Result<()> {
    set_option(socket, libc::SOL_UDP, libc::UDP_GRO, 1)
}

/// Cuts what is sent into datagrams of this size; 0 does not.
pub fn send_trains_of(socket: &UdpSocket, size: usize) -> Result<()> {
    set_option(socket, libc::SOL_UDP, libc::UDP_SEGMENT, size as libc::c_int)
}

pub fn set_option(socket: &UdpSocket, level: i32, option: i32, value: libc::c_int) -> Result<()> {
    let length = size_of::<libc::c_int>() as u32;
    // SAFETY: the value is an int, and the length says so.
    system(unsafe {
        libc::setsockopt(socket.as_raw_fd(), level, option, (&raw const value).cast(), length)
    })?;
    Ok(())
}

pub fn raw_address(address: SocketAddrV4) -> libc::sockaddr_in {
    libc::sockaddr_in {
        sin_family: libc::AF_INET as u16,
        sin_port: address.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from(*address.ip()).to_be() },
        sin_zero: [0; 8],
    }
}

pub fn from_raw(raw: &libc::sockaddr_in) -> SocketAddrV4 {
    SocketAddrV4::new(u32::from_be(raw.sin_addr.s_addr).into(), u16::from_be(raw.sin_port))
}

/// `count` message headers, each with one name and `parts` vectors, whose pointers are set once.
pub struct Messages {
    pub headers: Vec<libc::mmsghdr>,
    pub names: Box<[libc::sockaddr_in]>,
    pub vectors: Box<[libc::iovec]>,
}

impl Messages {
    pub fn new(count: usize, parts: usize) -> Messages {
        let empty = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
        let unnamed = raw_address(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0));
        let mut names = vec![unnamed; count].into_boxed_slice();
        let mut vectors = vec![empty; count * parts].into_boxed_slice();
        let headers = std::iter::zip(&mut names, vectors.chunks_mut(parts))
            .map(|(name, vectors)| {
                // SAFETY: all zeros are a header without name, data and control.
                let mut header: libc::mmsghdr = unsafe { zeroed() };
                header.msg_hdr.msg_name = (&raw mut *name).cast();
                header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_in>() as u32;
                header.msg_hdr.msg_iov = vectors.as_mut_ptr();
                header.msg_hdr.msg_iovlen = parts as _;
                header
            })
            .collect();
        Messages { headers, names, vectors }
    }

    /// Sends the first `count`, waiting for the socket; how many the system took.
    ///
    /// # Safety
    /// The vectors of these messages point to memory that may be read.
    pub unsafe fn send(&mut self, socket: RawFd, count: usize) -> usize {
        assert!(count <= self.headers.len());
        // SAFETY: the headers point to names and vectors that this struct owns; the rest is the caller's promise.
        let took = unsafe { libc::sendmmsg(socket, self.headers.as_mut_ptr(), count as u32, 0) };
        took.max(0) as usize
    }

    /// Receives what is there; how many, 0 when nothing is. The lengths in the headers are those of the datagrams or
    /// trains, which may be more than the vectors hold.
    ///
    /// # Safety
    /// The vectors point to memory that may be written.
    pub unsafe fn receive(&mut self, socket: RawFd) -> usize {
        let flags = libc::MSG_DONTWAIT | libc::MSG_TRUNC;
        let count = self.headers.len() as u32;
        for header in &mut self.headers {
            header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_in>() as u32;
        }
        // SAFETY: as for `send`.
        let got =
            unsafe { libc::recvmmsg(socket, self.headers.as_mut_ptr(), count, flags, std::ptr::null_mut()) };
        got.max(0) as usize
    }
}

// SAFETY: the raw pointers lead to memory that moves with the struct, or that the senders' and receivers' threads share by
// their own contracts.
unsafe impl Send for Messages {}

/// Waits for any of many sockets.
pub struct Poll {
    epoll: RawFd,
    events: Vec<libc::epoll_event>,
}

impl Poll {
    pub fn new() -> Result<Poll> {
        // SAFETY: no memory is involved.
        let epoll = system(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        Ok(Poll { epoll, events: vec![libc::epoll_event { events: 0, u64: 0 }; 256] })
    }

    pub fn add(&self, socket: RawFd, token: usize) -> Result<()> {
        let mut event = libc::epoll_event { events: libc::EPOLLIN as u32, u64: token as u64 };
        // SAFETY: the event lives during the call, which is all the kernel asks.
        system(unsafe { libc::epoll_ctl(self.epoll, libc::EPOLL_CTL_ADD, socket, &mut event) })?;
        Ok(())
    }

    /// The tokens of those that are ready, after at most so many milliseconds (-1: any time).
    pub fn wait(&mut self, timeout_ms: i32) -> impl Iterator<Item = usize> + '_ {
        let room = self.events.len() as i32;
        // SAFETY: the kernel writes at most as many events as there is room for.
        let ready = unsafe { libc::epoll_wait(self.epoll, self.events.as_mut_ptr(), room, timeout_ms) };
        self.events[..ready.max(0) as usize].iter().map(|event| event.u64 as usize)
    }
}

impl Drop for Poll {
    fn drop(&mut self) {
        // SAFETY: ours, and used by nobody after this.
        unsafe { libc::close(self.epoll) };
    }
}
