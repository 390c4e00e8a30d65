//! Two sockets that are joined.

use super::direction::{Broken, Direction, End, Means};
use super::system;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::AtomicU64;
use std::sync::Arc;

/// Bytes that were moved from the first and from the second.
pub type Moved = [AtomicU64; 2];

/// One side, as it is handed over.
#[derive(Debug)]
pub struct Side {
    pub fd: OwnedFd,
    /// Its end was read and passed on.
    pub has_ended: bool,
}

#[derive(Debug)]
pub struct Pair {
    pub id: u64,
    pub ends: [End; 2],
    directions: [Direction; 2],
    moved: Arc<Moved>,
    /// Waits in the worker's queue.
    pub is_queued: bool,
}

/// What a turn of a pair brought.
#[derive(Debug, Default)]
pub struct Turn {
    /// Sides whose end was passed on.
    pub ended: [bool; 2],
    /// A side that cannot be used any more: the join is over.
    pub broken: Option<(usize, io::Error)>,
    pub has_more: bool,
}

impl Pair {
    pub fn new(id: u64, sides: [Side; 2], moved: Arc<Moved>) -> Pair {
        let directions = [0, 1].map(|side: usize| Direction::new(sides[side].has_ended));
        // What they are ready for is tried first, and announced later.
        let ends = sides.map(|side| End { fd: side.fd, can_read: true, can_write: true, is_ending: false });
        Pair { id, ends, directions, moved, is_queued: false }
    }

    /// Takes note of what the system has announced of a side; says why when it is broken.
    pub fn announce(&mut self, side: usize, events: u32) -> Option<io::Error> {
        let has = |wanted: libc::c_int| events & wanted as u32 != 0;
        let end = &mut self.ends[side];
        let is_over = has(libc::EPOLLHUP | libc::EPOLLERR);
        end.is_ending |= is_over || has(libc::EPOLLRDHUP);
        end.can_read |= has(libc::EPOLLIN | libc::EPOLLRDHUP) || is_over;
        end.can_write |= has(libc::EPOLLOUT) || is_over;
        if has(libc::EPOLLERR) {
            return system::socket_error(&end.fd);
        }
        None
    }

    /// Moves what can be moved, both ways.
    pub fn turn(&mut self, means: &mut Means) -> Turn {
        let mut turn = Turn::default();
        for source in [0, 1] {
            let [first, second] = &mut self.ends;
            let (from, to) = if source == 0 { (first, second) } else { (second, first) };
            let direction = &mut self.directions[source];
            let was_over = direction.is_over;
            match direction.pump(from, to, means, &self.moved[source]) {
                Ok(has_more) => turn.has_more |= has_more,
                Err(Broken::Source(error)) => turn.broken = Some((source, error)),
                Err(Broken::Target(error)) => turn.broken = Some((1 - source, error)),
            }
            turn.ended[source] = direction.is_over && !was_over;
            if turn.broken.is_some() {
                break;
            }
        }
        turn
    }

    pub fn is_over(&self) -> bool {
        self.directions.iter().all(|direction| direction.is_over)
    }

    pub fn retire(&mut self, means: &mut Means) {
        self.directions.iter_mut().for_each(|direction| direction.retire(&mut means.pipes));
    }
}
