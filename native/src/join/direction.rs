//! What goes from one socket to the other.

use super::pipe::{Pipe, Pipes};
use super::system;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};

/// How much is read at a time.
pub const BUFFER_BYTES: usize = 64 << 10;
/// Most bytes of one direction in one turn, so that a busy one does not keep others waiting.
const TURN_BYTES: usize = 1 << 20;
/// After so many reads in a row that filled the buffer, a pipe is used: bulk is moved with less work so, little is not.
const FULL_READS: u32 = 16;
/// After so many reads in a row of less than this, it is no longer.
const SMALL_READS: u32 = 64;
const SMALL_BYTES: usize = 16 << 10;

/// A socket, and what it is known to be ready for.
#[derive(Debug)]
pub struct End {
    pub fd: OwnedFd,
    pub can_read: bool,
    pub can_write: bool,
    /// Its end is in the system already, behind what is still to be read, and is not announced again.
    pub is_ending: bool,
}

/// Which of the two cannot be used any more.
#[derive(Debug)]
pub enum Broken {
    Source(io::Error),
    Target(io::Error),
}

/// What the directions of a thread share.
pub struct Means {
    pub buffer: Box<[u8; BUFFER_BYTES]>,
    pub pipes: Pipes,
}

#[derive(Debug, Default)]
pub struct Direction {
    /// What was read and the target has not taken, from `rest_at` on.
    rest: Vec<u8>,
    rest_at: usize,
    pipe: Option<Pipe>,
    /// Reads in a row that speak for going over to a pipe, or back.
    streak: u32,
    has_ended: bool,
    /// The end was passed on.
    pub is_over: bool,
}

impl Direction {
    pub fn new(is_over: bool) -> Direction {
        Direction { has_ended: is_over, is_over, ..Direction::default() }
    }

    /// Moves what can be moved, and counts it; says whether there is more to do at once.
    pub fn pump(
        &mut self,
        from: &mut End,
        to: &mut End,
        means: &mut Means,
        moved: &AtomicU64,
    ) -> Result<bool, Broken> {
        let mut left = TURN_BYTES;
        loop {
            if self.held() > 0 {
                if !to.can_write {
                    return Ok(false);
                }
                match self.flush(&to.fd) {
                    Ok(gone) => count(moved, gone),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => to.can_write = false,
                    Err(error) => return Err(Broken::Target(error)),
                }
                continue;
            }
            if self.has_ended {
                if !self.is_over {
                    self.is_over = true;
                    self.retire(&mut means.pipes);
                    system::shut_down(&to.fd).map_err(Broken::Target)?;
                }
                return Ok(false);
            }
            if !from.can_read {
                return Ok(false);
            }
            if left == 0 {
                return Ok(true);
            }
            let got = match self.fill(from, means) {
                Ok(got) => got,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    from.can_read = false;
                    continue;
                }
                Err(error) => return Err(Broken::Source(error)),
            };
            left = left.saturating_sub(got);
            self.has_ended = got == 0;
            if self.pipe.is_some() {
                continue;
            }
            // What was less than asked for was all; what comes later is announced, the end too unless it was already.
            if got < BUFFER_BYTES && !from.is_ending {
                from.can_read = false;
            }
            self.write(&means.buffer[..got], to, moved)?;
        }
    }

    /// Gives back what it has taken of the means.
    pub fn retire(&mut self, pipes: &mut Pipes) {
        if let Some(pipe) = self.pipe.take() {
            pipes.give(pipe);
        }
    }

    fn held(&self) -> usize {
        self.pipe.as_ref().map_or(self.rest.len() - self.rest_at, |pipe| pipe.held)
    }

    fn flush(&mut self, to: &OwnedFd) -> io::Result<usize> {
        if let Some(pipe) = &mut self.pipe {
            return pipe.empty(to);
        }
        let gone = system::send(to, &self.rest[self.rest_at..])?;
        self.rest_at += gone;
        if self.rest_at == self.rest.len() {
            // One that has to wait often goes through a pipe soon.
            self.rest = Vec::new();
            self.rest_at = 0;
        }
        Ok(gone)
    }

    /// Reads into the pipe, or into the buffer. Nothing may be held.
    fn fill(&mut self, from: &End, means: &mut Means) -> io::Result<usize> {
        self.choose(&mut means.pipes);
        let (got, speaks_for_other) = match &mut self.pipe {
            Some(pipe) => {
                let got = pipe.fill(&from.fd)?;
                (got, got < SMALL_BYTES)
            }
            None => {
                let got = system::receive(&from.fd, &mut means.buffer[..])?;
                (got, got == BUFFER_BYTES)
            }
        };
        self.streak = if speaks_for_other { self.streak + 1 } else { 0 };
        Ok(got)
    }

    /// Goes over to a pipe, or back.
    fn choose(&mut self, pipes: &mut Pipes) {
        match self.pipe.take() {
            None if self.streak >= FULL_READS => {
                self.streak = 0;
                self.pipe = pipes.take();
            }
            Some(pipe) if self.streak >= SMALL_READS => {
                self.streak = 0;
                pipes.give(pipe);
            }
            same => self.pipe = same,
        }
    }

    fn write(&mut self, bytes: &[u8], to: &mut End, moved: &AtomicU64) -> Result<(), Broken> {
        let gone = match to.can_write && !bytes.is_empty() {
            false => 0,
            true => match system::send(&to.fd, bytes) {
                Ok(gone) => gone,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
                Err(error) => return Err(Broken::Target(error)),
            },
        };
        count(moved, gone);
        if gone < bytes.len() {
            // The system announces when it takes more.
            to.can_write = false;
            self.rest.extend_from_slice(&bytes[gone..]);
        }
        Ok(())
    }
}

fn count(moved: &AtomicU64, bytes: usize) {
    moved.fetch_add(bytes as u64, Ordering::Relaxed);
}
