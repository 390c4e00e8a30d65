//! Sockets on loopback as the load needs them.

use crate::args::Result;
use std::mem::size_of;
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

/// Room for what comes while a receiver pauses. Beyond `net.core.rmem_max` only root gets it.
const BUFFER_BYTES: libc::c_int = 8 << 20;
/// More sockets than a shell allows by default: each session needs one.
const DESCRIPTORS: libc::rlim_t = 1 << 20;
const ANSWER_TIMEOUT: Duration = Duration::from_millis(300);
const TRIES: usize = 20;

/// A socket whose datagrams bear the kernel's time of arrival, and in which a train arrives as one message.
pub fn bind(port: u16) -> Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, port))?;
    let fd = socket.as_raw_fd();
    set_buffers(fd)?;
    set(fd, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1)?;
    set(fd, libc::SOL_UDP, libc::UDP_GRO, 1)?;
    Ok(socket)
}

/// A socket that keeps next to nothing of what comes back.
pub fn bind_deaf() -> Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    set(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_RCVBUF, 1)?;
    Ok(socket)
}

/// A connection from one of the many addresses of loopback, as of a client of its own.
pub fn connect_from(local: Ipv4Addr, to: SocketAddr) -> Result<TcpStream> {
    // SAFETY: no pointers; the descriptor is new and nobody else's.
    let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    // SAFETY: as above.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    let length = size_of::<libc::sockaddr_in>() as libc::socklen_t;
    let (from, to) = (raw_address((local, 0).into()), raw_address(to));
    // SAFETY: the addresses live through the calls, and their length is told.
    let result = unsafe {
        match libc::bind(fd, (&raw const from).cast(), length) {
            0 => libc::connect(fd, (&raw const to).cast(), length),
            failed => failed,
        }
    };
    match result {
        0 => Ok(TcpStream::from(socket)),
        _ => Err(std::io::Error::last_os_error().into()),
    }
}

/// Sends a request, again and again, until what comes is an answer to it; none when nothing does.
pub fn ask(socket: &UdpSocket, request: &[u8], is_answer: impl Fn(&[u8]) -> bool) -> Result<Option<Vec<u8>>> {
    socket.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    let mut buffer = [0; 2048];
    Ok((0..TRIES).find_map(|_| {
        socket.send(request).ok()?;
        let length = socket.recv(&mut buffer).ok()?;
        is_answer(&buffer[..length]).then(|| buffer[..length].to_vec())
    }))
}

/// Messages longer than `bytes` leave as a train of datagrams of this length; 0 ends that.
pub fn set_segment_bytes(fd: RawFd, bytes: usize) -> Result<()> {
    set(fd, libc::SOL_UDP, libc::UDP_SEGMENT, bytes as libc::c_int)
}

/// Raises the limit of open descriptors as far as the system lets.
pub fn raise_descriptor_limit() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointers are to a variable that outlives the calls.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max.min(DESCRIPTORS);
            libc::setrlimit(libc::RLIMIT_NOFILE, &limit);
        }
    }
}

pub fn raw_address(address: SocketAddr) -> libc::sockaddr_in {
    let SocketAddr::V4(v4) = address else { unreachable!("all sockets are IPv4") };
    libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: v4.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from(*v4.ip()).to_be() },
        sin_zero: [0; 8],
    }
}

/// Room in both directions for what moves while nobody looks.
pub fn set_buffers(fd: RawFd) -> Result<()> {
    for (forced, asked) in [(libc::SO_RCVBUFFORCE, libc::SO_RCVBUF), (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF)]
    {
        set(fd, libc::SOL_SOCKET, forced, BUFFER_BYTES)
            .or_else(|_| set(fd, libc::SOL_SOCKET, asked, BUFFER_BYTES))?;
    }
    Ok(())
}

fn set(fd: RawFd, level: libc::c_int, option: libc::c_int, value: libc::c_int) -> Result<()> {
    let length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the value lives through the call, and its length is told.
    match unsafe { libc::setsockopt(fd, level, option, (&raw const value).cast(), length) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error().into()),
    }
}
