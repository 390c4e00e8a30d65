//! The thread that moves the bytes.

use super::direction::{Means, BUFFER_BYTES};
use super::pair::Pair;
use super::pipe::Pipes;
use crate::slab::Slab;
use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Most sockets of one turn.
const EVENTS: usize = 128;
/// In place of a socket: a command.
const COMMAND: u64 = u64::MAX;

/// What control can say to the thread.
#[derive(Debug)]
pub enum Command {
    Add(Box<Pair>),
    Remove(u64),
    Stop,
    /// For tests of what then happens.
    Panic,
}

/// What TypeScript is told of a join. Sides are 0 and 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// A side has ended, and the other was told. After both the join is over.
    Ended { id: u64, side: usize },
    /// A side cannot be used any more, and the join is over.
    Broken { id: u64, side: usize, errno: i32 },
}

/// What control and the thread share.
pub struct Link {
    epoll: OwnedFd,
    bell_fd: OwnedFd,
    commands: Mutex<Vec<Command>>,
    events: Mutex<Events>,
    ring: Box<dyn Fn() + Send + Sync>,
}

#[derive(Debug, Default)]
struct Events {
    waiting: VecDeque<Event>,
    /// TypeScript was called, and has not taken all since.
    is_called: bool,
    is_dead: bool,
}

impl Link {
    /// `ring` is called from the thread when there is something to take.
    pub fn new(ring: Box<dyn Fn() + Send + Sync>) -> io::Result<Link> {
        let own = |fd: RawFd| match fd {
            fd if fd < 0 => Err(io::Error::last_os_error()),
            // SAFETY: it was just made, below, and nobody else has it.
            fd => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        };
        // SAFETY: no pointers.
        let epoll = own(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: no pointers.
        let bell_fd = own(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
        let link = Link { epoll, bell_fd, commands: Mutex::default(), events: Mutex::default(), ring };
        link.watch(&link.bell_fd, COMMAND, libc::EPOLLIN)?;
        Ok(link)
    }

    pub fn command(&self, command: Command) {
        let mut commands = lock(&self.commands);
        commands.push(command);
        if commands.len() > 1 {
            // The thread was woken for the first.
            return;
        }
        let value = 1u64;
        // SAFETY: eight valid bytes. It can only fail when the thread is to be woken anyway.
        unsafe { libc::write(self.bell_fd.as_raw_fd(), (&raw const value).cast(), size_of::<u64>()) };
    }

    /// Moves events to `into`; says whether there are more.
    pub fn take(&self, into: &mut Vec<Event>, most: usize) -> bool {
        let mut events = lock(&self.events);
        let count = events.waiting.len().min(most);
        into.extend(events.waiting.drain(..count));
        // Under the lock: what comes from here on rings again.
        events.is_called = !events.waiting.is_empty();
        events.is_called
    }

    /// The thread has died: no join is taken any more.
    pub fn mark_dead(&self) {
        lock(&self.events).is_dead = true;
    }

    /// Says of joins that they are broken.
    pub fn tell_broken(&self, ids: impl Iterator<Item = u64>) {
        self.tell(ids.map(|id| Event::Broken { id, side: 0, errno: libc::EIO }));
    }

    pub fn is_dead(&self) -> bool {
        lock(&self.events).is_dead
    }

    fn tell(&self, told: impl Iterator<Item = Event>) {
        let mut events = lock(&self.events);
        events.waiting.extend(told);
        if events.waiting.is_empty() || std::mem::replace(&mut events.is_called, true) {
            return;
        }
        std::mem::drop(events);
        (self.ring)();
    }

    fn watch(&self, fd: &OwnedFd, token: u64, interest: libc::c_int) -> io::Result<()> {
        let mut event = libc::epoll_event { events: interest as u32, u64: token };
        // SAFETY: the event is valid during the call.
        let added = unsafe {
            libc::epoll_ctl(self.epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, fd.as_raw_fd(), &mut event)
        };
        if added < 0 {
            Err(io::Error::last_os_error())
        } else {
            Ok(())
        }
    }

    /// TypeScript has a descriptor of the same socket, so that closing ours does not end this.
    fn unwatch(&self, fd: &OwnedFd) {
        // SAFETY: no event is needed to remove one.
        unsafe {
            libc::epoll_ctl(self.epoll.as_raw_fd(), libc::EPOLL_CTL_DEL, fd.as_raw_fd(), std::ptr::null_mut())
        };
    }

    /// Waits until there is something, or looks only.
    fn wait(&self, events: &mut [libc::epoll_event; EVENTS], waits: bool) -> usize {
        let timeout = if waits { -1 } else { 0 };
        // SAFETY: room for as many events as are asked for.
        let got = unsafe {
            libc::epoll_wait(self.epoll.as_raw_fd(), events.as_mut_ptr(), EVENTS as libc::c_int, timeout)
        };
        // Only EINTR is possible.
        got.max(0) as usize
    }

    fn take_commands(&self) -> Vec<Command> {
        let mut value = 0u64;
        // SAFETY: room for eight bytes.
        unsafe { libc::read(self.bell_fd.as_raw_fd(), (&raw mut value).cast(), size_of::<u64>()) };
        std::mem::take(&mut *lock(&self.commands))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs until it is told to stop.
pub fn run(link: &Link) {
    let mut worker = Worker {
        link,
        means: Means { buffer: Box::new([0; BUFFER_BYTES]), pipes: Pipes::default() },
        pairs: Slab::new(),
        slots: HashMap::new(),
        queue: VecDeque::new(),
        told: Vec::new(),
    };
    let mut events = [libc::epoll_event { events: 0, u64: 0 }; EVENTS];
    loop {
        let count = link.wait(&mut events, worker.queue.is_empty());
        let mut has_command = false;
        for event in &events[..count] {
            match event.u64 {
                COMMAND => has_command = true,
                token => worker.announce((token >> 1) as u32, (token & 1) as usize, event.events),
            }
        }
        // After what was announced, as a slot may be another's then.
        if has_command && !link.take_commands().into_iter().all(|command| worker.obey(command)) {
            return;
        }
        for _ in 0..worker.queue.len() {
            worker.turn_next();
        }
        if !worker.told.is_empty() {
            link.tell(worker.told.drain(..));
        }
    }
}

struct Worker<'link> {
    link: &'link Link,
    means: Means,
    pairs: Slab<Pair>,
    slots: HashMap<u64, u32>,
    /// Pairs with something to do, each once.
    queue: VecDeque<u32>,
    /// What TypeScript is told after the turn.
    told: Vec<Event>,
}

impl Worker<'_> {
    fn announce(&mut self, slot: u32, side: usize, events: u32) {
        let Some(pair) = self.pairs.get_mut(slot) else { return };
        match pair.announce(side, events) {
            Some(error) => self.break_up(slot, side, &error),
            None => self.enqueue(slot),
        }
    }

    fn enqueue(&mut self, slot: u32) {
        if let Some(pair) = self.pairs.get_mut(slot) {
            if !std::mem::replace(&mut pair.is_queued, true) {
                self.queue.push_back(slot);
            }
        }
    }

    /// Says whether to go on.
    fn obey(&mut self, command: Command) -> bool {
        match command {
            Command::Add(pair) => self.add(*pair),
            Command::Remove(id) => {
                if let Some(slot) = self.slots.get(&id) {
                    self.remove(*slot);
                }
            }
            Command::Stop => return false,
            Command::Panic => panic!("told to panic, by a test"),
        }
        true
    }

    fn add(&mut self, pair: Pair) {
        const INTEREST: libc::c_int = libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLET;
        let id = pair.id;
        let slot = self.pairs.insert(pair);
        self.slots.insert(id, slot);
        for side in [0, 1] {
            let Some(pair) = self.pairs.get(slot) else { return };
            let token = u64::from(slot) << 1 | side as u64;
            if let Err(error) = self.link.watch(&pair.ends[side].fd, token, INTEREST) {
                self.break_up(slot, side, &error);
                return;
            }
        }
        self.enqueue(slot);
    }

    fn turn_next(&mut self) {
        let Some(slot) = self.queue.pop_front() else { return };
        // One that is gone, or came into its slot and waits further behind, has nothing to do, which does no harm.
        let Some(pair) = self.pairs.get_mut(slot) else { return };
        pair.is_queued = false;
        let id = pair.id;
        let turn = pair.turn(&mut self.means);
        let is_over = pair.is_over();
        for side in [0, 1] {
            if turn.ended[side] {
                self.told.push(Event::Ended { id, side });
            }
        }
        match turn.broken {
            Some((side, error)) => self.break_up(slot, side, &error),
            None if is_over => self.remove(slot),
            None if turn.has_more => self.enqueue(slot),
            None => {}
        }
    }

    fn break_up(&mut self, slot: u32, side: usize, error: &io::Error) {
        let Some(pair) = self.pairs.get(slot) else { return };
        let errno = error.raw_os_error().unwrap_or(libc::EIO);
        self.told.push(Event::Broken { id: pair.id, side, errno });
        self.remove(slot);
    }

    fn remove(&mut self, slot: u32) {
        let Some(mut pair) = self.pairs.remove(slot) else { return };
        self.slots.remove(&pair.id);
        pair.retire(&mut self.means);
        pair.ends.iter().for_each(|end| self.link.unwatch(&end.fd));
    }
}
