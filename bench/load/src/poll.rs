//! Waiting for any of many sockets.

use crate::args::Result;
use std::io::Error;
use std::os::fd::RawFd;

pub struct Poll {
    epoll: RawFd,
    events: Vec<libc::epoll_event>,
}

impl Poll {
    pub fn new() -> Result<Poll> {
        // SAFETY: takes and gives numbers only.
        let epoll = unsafe { libc::epoll_create1(0) };
        if epoll < 0 {
            return Err(Error::last_os_error().into());
        }
        Ok(Poll { epoll, events: vec![libc::epoll_event { events: 0, u64: 0 }; 256] })
    }

    pub fn add(&self, fd: RawFd, interest: libc::c_int, token: usize) -> Result<()> {
        let mut event = libc::epoll_event { events: interest as u32, u64: token as u64 };
        // SAFETY: the event lives through the call, which copies it.
        match unsafe { libc::epoll_ctl(self.epoll, libc::EPOLL_CTL_ADD, fd, &mut event) } {
            0 => Ok(()),
            _ => Err(Error::last_os_error().into()),
        }
    }

    /// The tokens of those that are ready, after at most so many milliseconds.
    pub fn wait(&mut self, timeout_ms: i32) -> impl Iterator<Item = usize> + '_ {
        let room = self.events.len() as i32;
        // SAFETY: the kernel writes at most `room` events, for which the vector has the place.
        let ready = unsafe { libc::epoll_wait(self.epoll, self.events.as_mut_ptr(), room, timeout_ms) };
        self.events[..ready.max(0) as usize].iter().map(|event| event.u64 as usize)
    }
}

impl Drop for Poll {
    fn drop(&mut self) {
        // SAFETY: the descriptor is ours and nobody else closes it.
        unsafe { libc::close(self.epoll) };
    }
}
