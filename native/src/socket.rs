//! UDP sockets as endpoints want them, and TCP sockets that share a port.

use crate::address::{Address, Family, RawAddress};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// What a socket is opened with.
#[derive(Clone, Copy, Debug)]
pub struct SocketOptions {
    pub address: Address,
    /// The only peer, to which the socket is connected.
    pub remote: Option<Address>,
    /// 0: the system's default.
    pub receive_buffer_bytes: u32,
    /// 0: the system's default.
    pub send_buffer_bytes: u32,
    pub dscp: Option<u8>,
    /// Whether ICMP errors for what was sent to anybody are kept for `take_icmp_error`.
    pub icmp_errors: bool,
}

/// A bound socket. Closed when dropped.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    pub options: SocketOptions,
}

/// What an ICMP error said, and for what was sent where.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IcmpError {
    pub to: Address,
    pub kind: u8,
    pub code: u8,
    pub mtu: u32,
}

impl Socket {
    /// Binds, and connects when there is a remote. Nobody else can then bind the port, but for sockets that
    /// `open_beside` this one.
    pub fn open(options: SocketOptions) -> io::Result<Socket> {
        Socket::new(options, |_| Ok(()))
    }

    /// Binds another socket on the port of `first`, so that the system spreads remotes over both.
    pub fn open_beside(first: &Socket) -> io::Result<Socket> {
        // The first was bound without it, so that a port which anybody else has is refused. Set now, it makes room for ours.
        first.set(libc::SOL_SOCKET, libc::SO_REUSEPORT, 1)?;
        let address = first.local_address()?;
        Socket::new(SocketOptions { address, ..first.options }, |socket| {
            socket.set(libc::SOL_SOCKET, libc::SO_REUSEPORT, 1)
        })
    }

    fn new(
        options: SocketOptions,
        before_bind: impl FnOnce(&Socket) -> io::Result<()>,
    ) -> io::Result<Socket> {
        let socket = Socket { fd: new_descriptor(options.address.family, libc::SOCK_DGRAM)?, options };
        socket.prepare()?;
        before_bind(&socket)?;
        bind(socket.fd(), &options.address)?;
        if let Some(remote) = &options.remote {
            // What came before connecting may be another's; it waits in the kernel and is checked on arrival.
            let raw = RawAddress::from(remote);
            // SAFETY: the address is valid for its length.
            check(unsafe { libc::connect(socket.fd(), raw.as_ptr().cast(), raw.len()) })?;
        }
        Ok(socket)
    }

    fn prepare(&self) -> io::Result<()> {
        let options = &self.options;
        let (level, tos, icmp) = match options.address.family {
            Family::V4 => (libc::IPPROTO_IP, libc::IP_TOS, libc::IP_RECVERR),
            Family::V6 => (libc::IPPROTO_IPV6, libc::IPV6_TCLASS, libc::IPV6_RECVERR),
        };
        if options.receive_buffer_bytes > 0 {
            self.set_buffer(libc::SO_RCVBUFFORCE, libc::SO_RCVBUF, options.receive_buffer_bytes)?;
        }
        if options.send_buffer_bytes > 0 {
            self.set_buffer(libc::SO_SNDBUFFORCE, libc::SO_SNDBUF, options.send_buffer_bytes)?;
        }
        if let Some(dscp) = options.dscp {
            self.set(level, tos, i32::from(dscp) << 2)?;
        }
        if options.icmp_errors {
            self.set(level, icmp, 1)?;
        }
        // Kernels before 5.0 have no GRO for UDP and deliver one by one.
        let _ = self.set(libc::SOL_UDP, libc::UDP_GRO, 1);
        Ok(())
    }

    /// The system gives no more than its limit, unless we may go beyond that.
    fn set_buffer(&self, forced: i32, plain: i32, bytes: u32) -> io::Result<()> {
        let bytes = bytes.min(i32::MAX as u32 / 2) as i32;
        self.set(libc::SOL_SOCKET, forced, bytes).or_else(|_| self.set(libc::SOL_SOCKET, plain, bytes))
    }

    pub fn fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    pub fn local_address(&self) -> io::Result<Address> {
        let mut raw = RawAddress::EMPTY;
        let mut length = raw.len();
        // SAFETY: there is room for `length` bytes.
        check(unsafe { libc::getsockname(self.fd(), raw.as_mut_ptr().cast(), &mut length) })?;
        raw.address().ok_or_else(|| io::Error::from_raw_os_error(libc::EAFNOSUPPORT))
    }

    pub fn receive_buffer_bytes(&self) -> io::Result<u32> {
        let mut value: libc::c_int = 0;
        let mut length = size_of::<libc::c_int>() as libc::socklen_t;
        let pointer = (&raw mut value).cast();
        // SAFETY: `value` has room for `length` bytes.
        check(unsafe {
            libc::getsockopt(self.fd(), libc::SOL_SOCKET, libc::SO_RCVBUF, pointer, &mut length)
        })?;
        Ok(value as u32)
    }

    fn set(&self, level: i32, name: i32, value: libc::c_int) -> io::Result<()> {
        set_option(self.fd(), level, name, value)
    }
}

/// Binds a TCP socket that neither listens nor is connected yet. Others that are bound so may share its port, each to
/// listen or to connect to a peer of its own.
pub fn bind_tcp(address: &Address) -> io::Result<OwnedFd> {
    let fd = new_descriptor(address.family, libc::SOCK_STREAM)?;
    for option in [libc::SO_REUSEADDR, libc::SO_REUSEPORT] {
        set_option(fd.as_raw_fd(), libc::SOL_SOCKET, option, 1)?;
    }
    bind(fd.as_raw_fd(), address)?;
    Ok(fd)
}

/// A socket that blocks nobody and is not inherited; of IPv6, for nothing but IPv6.
fn new_descriptor(family: Family, kind: libc::c_int) -> io::Result<OwnedFd> {
    let domain = if family == Family::V6 { libc::AF_INET6 } else { libc::AF_INET };
    // SAFETY: no pointers; a result that is not negative is a descriptor that nobody else owns.
    let fd = unsafe {
        let fd = libc::socket(domain, kind | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC, 0);
        check(fd)?;
        OwnedFd::from_raw_fd(fd)
    };
    if family == Family::V6 {
        set_option(fd.as_raw_fd(), libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 1)?;
    }
    Ok(fd)
}

fn bind(fd: RawFd, address: &Address) -> io::Result<()> {
    let raw = RawAddress::from(address);
    // SAFETY: the address is valid for its length.
    check(unsafe { libc::bind(fd, raw.as_ptr().cast(), raw.len()) })
}

/// Whether what is too long for the path is refused rather than cut into fragments, until it is set again.
pub fn set_dont_fragment(fd: RawFd, family: Family, dont_fragment: bool) -> io::Result<()> {
    let (level, name, on, off) = match family {
        Family::V4 => (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, libc::IP_PMTUDISC_DO, libc::IP_PMTUDISC_WANT),
        Family::V6 => {
            (libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, libc::IPV6_PMTUDISC_DO, libc::IPV6_PMTUDISC_WANT)
        }
    };
    set_option(fd, level, name, if dont_fragment { on } else { off })
}

fn set_option(fd: RawFd, level: i32, name: i32, value: libc::c_int) -> io::Result<()> {
    let length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the value is valid for its length.
    check(unsafe { libc::setsockopt(fd, level, name, (&raw const value).cast(), length) })
}

/// The next ICMP error that the system keeps for a socket with `icmp_errors`. Errors of our own system, such as a
/// datagram that is too long, are passed over: whoever sent was told.
pub fn take_icmp_error(fd: RawFd) -> Option<IcmpError> {
    const SO_EE_ORIGIN_LOCAL: u8 = 1;
    loop {
        let mut name = RawAddress::EMPTY;
        // Eight-byte words, so that the control message in it is aligned.
        let mut control = [0u64; 32];
        // SAFETY: all zero is a valid msghdr.
        let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
        message.msg_name = name.as_mut_ptr().cast();
        message.msg_namelen = name.len();
        message.msg_control = control.as_mut_ptr().cast();
        message.msg_controllen = size_of_val(&control) as _;
        // SAFETY: the message points to valid room for what it says; the datagram that failed is not wanted.
        if unsafe { libc::recvmsg(fd, &mut message, libc::MSG_ERRQUEUE | libc::MSG_DONTWAIT) } < 0 {
            return None;
        }
        // SAFETY: the system filled the control buffer; a message of these types carries a sock_extended_err.
        let error = unsafe {
            let mut header = libc::CMSG_FIRSTHDR(&message);
            loop {
                let Some(at) = header.as_ref() else { break None };
                let is_error = (at.cmsg_level == libc::IPPROTO_IP && at.cmsg_type == libc::IP_RECVERR)
                    || (at.cmsg_level == libc::IPPROTO_IPV6 && at.cmsg_type == libc::IPV6_RECVERR);
                if is_error {
                    break Some(libc::CMSG_DATA(header).cast::<libc::sock_extended_err>().read_unaligned());
                }
                header = libc::CMSG_NXTHDR(&message, header);
            }
        };
        if let (Some(error), Some(to)) = (error, name.address()) {
            if error.ee_origin > SO_EE_ORIGIN_LOCAL {
                let mtu = if error.ee_errno as i32 == libc::EMSGSIZE { error.ee_info } else { 0 };
                return Some(IcmpError { to, kind: error.ee_type, code: error.ee_code, mtu });
            }
        }
    }
}

/// Whether an error of a socket was reported by ICMP: nobody there, or no way there.
pub fn is_icmp(errno: i32) -> bool {
    matches!(
        errno,
        libc::ECONNREFUSED
            | libc::ECONNRESET
            | libc::EHOSTUNREACH
            | libc::ENETUNREACH
            | libc::EHOSTDOWN
            | libc::EPROTO
            | libc::ENOPROTOOPT
            | libc::EACCES
    )
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub fn options(ip: &str) -> SocketOptions {
        SocketOptions {
            address: Address::new(ip.parse().unwrap(), 0),
            remote: None,
            receive_buffer_bytes: 0,
            send_buffer_bytes: 0,
            dscp: None,
            icmp_errors: false,
        }
    }

    #[test]
    fn refuses_a_port_that_another_has_even_one_that_is_shared() {
        let first = Socket::open(options("127.0.0.1")).unwrap();
        let address = first.local_address().unwrap();
        let beside = Socket::open_beside(&first).unwrap();
        assert_eq!(beside.local_address().unwrap(), address);
        let refused = Socket::open(SocketOptions { address, ..options("127.0.0.1") }).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::EADDRINUSE));
    }

    #[test]
    fn tcp_sockets_share_a_port_to_listen_and_to_connect() {
        for ip in ["127.0.0.1", "::1"] {
            let any = options(ip).address;
            let listening = bind_tcp(&any).unwrap();
            // SAFETY: no pointers.
            check(unsafe { libc::listen(listening.as_raw_fd(), 1) }).unwrap();
            let listener = std::net::TcpListener::from(listening);
            let here = listener.local_addr().unwrap();
            let connecting = bind_tcp(&Address { port: here.port(), ..any }).unwrap();
            for fd in [listener.as_raw_fd(), connecting.as_raw_fd()] {
                // SAFETY: no pointers.
                let flags = unsafe { (libc::fcntl(fd, libc::F_GETFD), libc::fcntl(fd, libc::F_GETFL)) };
                assert_eq!(flags.0 & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
                assert_eq!(flags.1 & libc::O_NONBLOCK, libc::O_NONBLOCK);
            }
            let far = std::net::TcpListener::bind(std::net::SocketAddr::new(here.ip(), 0)).unwrap();
            let far_port = far.local_addr().unwrap().port();
            let raw = RawAddress::from(&Address { port: far_port, ..any });
            // SAFETY: the address is valid for its length.
            unsafe { libc::connect(connecting.as_raw_fd(), raw.as_ptr().cast(), raw.len()) };
            assert_eq!(far.accept().unwrap().1, here);
            let peer = std::net::TcpStream::connect(here).unwrap();
            assert_eq!(peer.peer_addr().unwrap(), here);
        }
    }

    #[test]
    fn tcp_refuses_a_port_on_which_somebody_else_listens() {
        let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = other.local_addr().unwrap().port();
        let refused = bind_tcp(&Address { port, ..options("127.0.0.1").address }).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::EADDRINUSE));
    }

    #[test]
    fn spreads_remotes_over_sockets_of_one_port() {
        let first = Socket::open(options("127.0.0.1")).unwrap();
        let beside = Socket::open_beside(&first).unwrap();
        let to = std::net::SocketAddr::new("127.0.0.1".parse().unwrap(), first.local_address().unwrap().port);
        let mut counts = [0, 0];
        for _ in 0..64 {
            std::net::UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"x", to).unwrap();
        }
        for (socket, count) in [&first, &beside].iter().zip(&mut counts) {
            let mut byte = [0u8; 1];
            // SAFETY: there is room for one byte.
            while unsafe { libc::recv(socket.fd(), byte.as_mut_ptr().cast(), 1, 0) } == 1 {
                *count += 1;
            }
        }
        assert_eq!(counts[0] + counts[1], 64);
        assert!(counts[0] > 0 && counts[1] > 0, "{counts:?}");
    }

    #[test]
    fn keeps_what_an_icmp_error_said() {
        for ip in ["127.0.0.1", "::1"] {
            let gone = Socket::open(options(ip)).unwrap().local_address().unwrap();
            let socket = Socket::open(SocketOptions { icmp_errors: true, ..options(ip) }).unwrap();
            let raw = RawAddress::from(&gone);
            // SAFETY: one byte is sent to a valid address.
            let sent = unsafe {
                libc::sendto(socket.fd(), b"x".as_ptr().cast(), 1, 0, raw.as_ptr().cast(), raw.len())
            };
            assert_eq!(sent, 1);
            let error = take_icmp_error(socket.fd()).unwrap();
            let (kind, code) = if ip == "::1" { (1, 4) } else { (3, 3) };
            assert_eq!(error, IcmpError { to: gone, kind, code, mtu: 0 });
            assert_eq!(take_icmp_error(socket.fd()), None);
        }
    }
}
