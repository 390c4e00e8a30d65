//! Pipes, through which bytes go from socket to socket without being copied.

use super::system;
use std::io;
use std::os::fd::OwnedFd;

/// How much a pipe should take: the more, the seldomer both sides are woken. Who is not root gets 64 MB in all.
const PIPE_BYTES: [usize; 2] = [1 << 20, 256 << 10];
/// With less it is not worth the while.
const LEAST_BYTES: usize = 64 << 10;
/// Most pipes at a time, of two descriptors each; who gets none copies.
const MOST: usize = 256;
/// Most that are kept for later.
const KEPT: usize = 16;

#[derive(Debug)]
pub struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    /// What was put in and not taken out.
    pub held: usize,
}

impl Pipe {
    /// Takes what the socket has; 0 at its end.
    pub fn fill(&mut self, from: &OwnedFd) -> io::Result<usize> {
        let got = system::splice(from, &self.write, PIPE_BYTES[0])?;
        self.held += got;
        Ok(got)
    }

    /// Gives the socket what it takes.
    pub fn empty(&mut self, to: &OwnedFd) -> io::Result<usize> {
        let gone = system::splice(&self.read, to, self.held)?;
        self.held -= gone;
        Ok(gone)
    }
}

/// All pipes of a thread.
#[derive(Debug, Default)]
pub struct Pipes {
    free: Vec<Pipe>,
    taken: usize,
}

impl Pipes {
    pub fn take(&mut self) -> Option<Pipe> {
        if self.taken >= MOST {
            return None;
        }
        let pipe = self.free.pop().or_else(|| {
            let (read, write) = system::pipe(&PIPE_BYTES, LEAST_BYTES).ok()?;
            Some(Pipe { read, write, held: 0 })
        })?;
        self.taken += 1;
        Some(pipe)
    }

    /// One that still has bytes in it is closed.
    pub fn give(&mut self, pipe: Pipe) {
        self.taken -= 1;
        if pipe.held == 0 && self.free.len() < KEPT {
            self.free.push(pipe);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_no_more_than_it_may_and_uses_them_again() {
        let mut pipes = Pipes { taken: MOST - 1, ..Pipes::default() };
        let pipe = pipes.take().unwrap();
        assert!(pipes.take().is_none());
        pipes.give(pipe);
        assert_eq!(pipes.free.len(), 1);
        let mut used = pipes.take().unwrap();
        assert_eq!(pipes.free.len(), 0);
        used.held = 1;
        pipes.give(used);
        assert_eq!((pipes.free.len(), pipes.taken), (0, MOST - 1));
    }

    #[test]
    fn a_pipe_that_takes_too_little_is_none() {
        assert!(system::pipe(&[], 1).is_ok());
        assert!(system::pipe(&[], usize::MAX).is_err());
    }
}
