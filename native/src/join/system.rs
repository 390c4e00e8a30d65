//! What is asked of the system. Interrupted calls are made again.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// A descriptor of the same TCP socket, which is ours. What is no TCP socket is refused.
pub fn duplicate(fd: RawFd) -> io::Result<OwnedFd> {
    if fd < 0 {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: it is used for this call only; one that is not open gives an error.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) }.try_clone_to_owned()?;
    match option(&fd, libc::SO_PROTOCOL)? {
        libc::IPPROTO_TCP => Ok(fd),
        _ => Err(io::Error::from_raw_os_error(libc::EPROTONOSUPPORT)),
    }
}

/// Both ends of a pipe, for reading and for writing, that takes as much as the system gives of what is wanted; no pipe when
/// that is less than `least`.
pub fn pipe(wanted: &[usize], least: usize) -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [-1; 2];
    // SAFETY: room for two descriptors.
    check(unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK) } as isize)?;
    // SAFETY: they were just made and nobody else has them.
    let [read, write] = ends.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
    for bytes in wanted {
        // SAFETY: no pointers.
        if unsafe { libc::fcntl(write.as_raw_fd(), libc::F_SETPIPE_SZ, *bytes as libc::c_int) } >= 0 {
            return Ok((read, write));
        }
    }
    // SAFETY: no pointers.
    match check(unsafe { libc::fcntl(write.as_raw_fd(), libc::F_GETPIPE_SZ) } as isize)? {
        bytes if bytes >= least => Ok((read, write)),
        _ => Err(io::Error::from_raw_os_error(libc::EPERM)),
    }
}

/// 0 at the end.
pub fn receive(fd: &OwnedFd, room: &mut [u8]) -> io::Result<usize> {
    // SAFETY: there is room for so many bytes.
    again(|| unsafe { libc::recv(fd.as_raw_fd(), room.as_mut_ptr().cast(), room.len(), 0) })
}

pub fn send(fd: &OwnedFd, bytes: &[u8]) -> io::Result<usize> {
    // SAFETY: so many bytes are valid.
    again(|| unsafe { libc::send(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), libc::MSG_NOSIGNAL) })
}

/// Moves bytes between a socket and a pipe; 0 at the end of the socket. A signal of a broken pipe is ignored by Node.
pub fn splice(from: &OwnedFd, to: &OwnedFd, most: usize) -> io::Result<usize> {
    let flags = libc::SPLICE_F_MOVE | libc::SPLICE_F_NONBLOCK;
    // SAFETY: neither has offsets.
    again(|| unsafe {
        libc::splice(
            from.as_raw_fd(),
            std::ptr::null_mut(),
            to.as_raw_fd(),
            std::ptr::null_mut(),
            most,
            flags,
        )
    })
}

/// Ends our side.
pub fn shut_down(fd: &OwnedFd) -> io::Result<()> {
    // SAFETY: no pointers.
    check(unsafe { libc::shutdown(fd.as_raw_fd(), libc::SHUT_WR) } as isize).map(drop)
}

/// What has happened to a socket, once.
pub fn socket_error(fd: &OwnedFd) -> Option<io::Error> {
    match option(fd, libc::SO_ERROR) {
        Ok(0) => None,
        Ok(errno) => Some(io::Error::from_raw_os_error(errno)),
        Err(error) => Some(error),
    }
}

fn option(fd: &OwnedFd, name: libc::c_int) -> io::Result<libc::c_int> {
    let mut value: libc::c_int = 0;
    let mut length = size_of::<libc::c_int>() as libc::socklen_t;
    let pointer = (&raw mut value).cast();
    // SAFETY: `value` has room for `length` bytes.
    check(unsafe { libc::getsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, name, pointer, &mut length) } as isize)?;
    Ok(value)
}

fn again(mut call: impl FnMut() -> isize) -> io::Result<usize> {
    loop {
        match check(call()) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

fn check(result: isize) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}
