//! Many datagrams per system call, and paced sending.

use crate::args::Result;
use std::io::Error;
use std::mem::{size_of, zeroed};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::ops::Range;
use std::os::fd::{AsRawFd, RawFd};
use std::time::{Duration, Instant};

pub const BATCH: usize = 64;
const STAMP: Range<usize> = 12..20;
const BUFFER_BYTES: usize = 2048;
static SOCKET_BUFFER_BYTES: libc::c_int = 2 << 20;

pub fn bind(port: u16) -> Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, port))?;
    for option in [libc::SO_RCVBUF, libc::SO_SNDBUF] {
        let value = (&raw const SOCKET_BUFFER_BYTES).cast();
        unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, option, value, 4) };
    }
    Ok(socket)
}

/// Room for one `recvmmsg` or `sendmmsg`. Boxed parts do not move, so the headers may point into them.
pub struct Batch {
    buffers: Box<[[u8; BUFFER_BYTES]; BATCH]>,
    names: Box<[libc::sockaddr_in; BATCH]>,
    _vectors: Box<[libc::iovec; BATCH]>,
    headers: Box<[libc::mmsghdr; BATCH]>,
}

impl Batch {
    /// For receiving any length up to 2048, or for sending `length` bytes that begin like RTP.
    pub fn new(length: usize) -> Batch {
        let mut buffers = Box::new([[0x80u8; BUFFER_BYTES]; BATCH]);
        let mut names = Box::new([unsafe { zeroed::<libc::sockaddr_in>() }; BATCH]);
        let mut vectors = Box::new([unsafe { zeroed::<libc::iovec>() }; BATCH]);
        let mut headers = Box::new([unsafe { zeroed::<libc::mmsghdr>() }; BATCH]);
        for at in 0..BATCH {
            vectors[at] =
                libc::iovec { iov_base: buffers[at].as_mut_ptr().cast(), iov_len: length.min(BUFFER_BYTES) };
            let header = &mut headers[at].msg_hdr;
            header.msg_iov = &mut vectors[at];
            header.msg_iovlen = 1;
            header.msg_name = (&raw mut names[at]).cast();
        }
        Batch { buffers, names, _vectors: vectors, headers }
    }

    pub fn for_receiving() -> Batch {
        Batch::new(BUFFER_BYTES)
    }

    /// Receives what is there; 0 when nothing is.
    pub fn receive(&mut self, fd: RawFd) -> usize {
        for header in self.headers.iter_mut() {
            header.msg_hdr.msg_namelen = size_of::<libc::sockaddr_in>() as u32;
        }
        let got = unsafe {
            libc::recvmmsg(
                fd,
                self.headers.as_mut_ptr(),
                BATCH as u32,
                libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        };
        got.max(0) as usize
    }

    pub fn datagram(&self, at: usize) -> (&[u8], SocketAddr) {
        let name = &self.names[at];
        let ip = Ipv4Addr::from(u32::from_be(name.sin_addr.s_addr));
        let from = SocketAddrV4::new(ip, u16::from_be(name.sin_port));
        (&self.buffers[at][..self.headers[at].msg_len as usize], from.into())
    }

    /// Addresses one datagram of the next `send`.
    pub fn aim(&mut self, at: usize, to: &libc::sockaddr_in) {
        self.names[at] = *to;
        self.headers[at].msg_hdr.msg_namelen = size_of::<libc::sockaddr_in>() as u32;
    }

    /// Writes the time of sending behind the RTP header of one datagram, if it has room.
    pub fn stamp(&mut self, at: usize, microseconds: u64) {
        self.buffers[at][STAMP].copy_from_slice(&microseconds.to_be_bytes());
    }

    /// Sends the first `count`, waiting for the socket; how many the system took.
    pub fn send(&mut self, fd: RawFd, count: usize) -> usize {
        let took = unsafe { libc::sendmmsg(fd, self.headers.as_mut_ptr(), count as u32, 0) };
        took.max(0) as usize
    }
}

/// What `stamp` wrote, of a datagram long enough.
pub fn stamp_of(datagram: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(datagram.get(STAMP)?.try_into().ok()?))
}

pub fn raw_address(address: SocketAddr) -> libc::sockaddr_in {
    let SocketAddr::V4(v4) = address else { unreachable!("all sockets are IPv4") };
    let mut raw: libc::sockaddr_in = unsafe { zeroed() };
    raw.sin_family = libc::AF_INET as u16;
    raw.sin_port = v4.port().to_be();
    raw.sin_addr.s_addr = u32::from(*v4.ip()).to_be();
    raw
}

/// Waits for any of many sockets.
pub struct Poll {
    epoll: RawFd,
    events: Vec<libc::epoll_event>,
}

impl Poll {
    pub fn new() -> Result<Poll> {
        let epoll = unsafe { libc::epoll_create1(0) };
        if epoll < 0 {
            return Err(Error::last_os_error().into());
        }
        Ok(Poll { epoll, events: vec![libc::epoll_event { events: 0, u64: 0 }; 256] })
    }

    pub fn add(&self, fd: RawFd, interest: libc::c_int, token: usize) -> Result<()> {
        let mut event = libc::epoll_event { events: interest as u32, u64: token as u64 };
        match unsafe { libc::epoll_ctl(self.epoll, libc::EPOLL_CTL_ADD, fd, &mut event) } {
            0 => Ok(()),
            _ => Err(Error::last_os_error().into()),
        }
    }

    /// The tokens of those that are ready, after at most so many milliseconds.
    pub fn wait(&mut self, timeout_ms: i32) -> impl Iterator<Item = usize> + '_ {
        let room = self.events.len() as i32;
        let ready = unsafe { libc::epoll_wait(self.epoll, self.events.as_mut_ptr(), room, timeout_ms) };
        self.events[..ready.max(0) as usize].iter().map(|event| event.u64 as usize)
    }
}

impl Drop for Poll {
    fn drop(&mut self) {
        unsafe { libc::close(self.epoll) };
    }
}

/// Calls `send(first, count)` so that `rate` datagrams leave per second, in whole bursts; as many as the
/// system takes when `rate` is 0. Returns how many left.
pub fn pace(rate: u64, burst: usize, run: Duration, mut send: impl FnMut(u64, usize) -> usize) -> u64 {
    let start = Instant::now();
    let whole = BATCH / burst * burst;
    let (mut due_total, mut sent) = (0u64, 0u64);
    while start.elapsed() < run {
        let count = match rate {
            0 => whole,
            _ => {
                let due = (start.elapsed().as_secs_f64() * rate as f64) as u64;
                ((due - due_total) as usize).min(whole) / burst * burst
            }
        };
        if count == 0 {
            std::thread::sleep(Duration::from_micros(100));
            continue;
        }
        sent += send(due_total, count) as u64;
        due_total += count as u64;
    }
    sent
}
