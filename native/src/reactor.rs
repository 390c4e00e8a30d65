//! A thread that waits for sockets, and puts what they have on its path.

use crate::address::Address;
use crate::batch::{ReceiveBatch, SLOTS};
use crate::engine::Shared;
use crate::path::Path;
use crate::socket::{is_icmp, take_icmp_error, IcmpError};
use crate::table::Table;
use crate::totals::{Drop, Totals};
use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Most sockets of one turn.
const EVENTS: usize = 64;
/// Most messages of one socket in one turn, so that a busy one does not keep others waiting.
const MESSAGES_PER_SOCKET: usize = 32;
/// Most ICMP errors of one socket in one turn.
const ICMP_PER_SOCKET: usize = 32;
/// How long a thread that was woken by a socket whose datagrams come in bursts lets the burst arrive: what is read in one go
/// goes out in one message.
const BURST_NAP: Duration = Duration::from_micros(30);
/// Most sockets of a turn for which it does so: with more of them there is enough to do.
const BURST_SOCKETS: usize = 4;
/// In place of a socket's slot: a command.
const COMMAND: u64 = u64::MAX;

/// What control can say to a thread.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Command {
    Stop = 1,
    /// For tests of what then happens.
    Panic = 1 << 16,
}

/// What control and a thread share.
#[derive(Debug)]
pub struct Worker {
    epoll: OwnedFd,
    commands: OwnedFd,
    /// Odd while the thread uses sockets that it has looked up in the table.
    section: AtomicU64,
    pub totals: Arc<Totals>,
}

impl Worker {
    pub fn new() -> io::Result<Worker> {
        // What is not negative is a descriptor that nobody else owns.
        let own = |fd: RawFd| match fd {
            fd if fd < 0 => Err(io::Error::last_os_error()),
            // SAFETY: it was just made, below.
            fd => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        };
        // SAFETY: no pointers.
        let epoll = own(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: no pointers.
        let commands = own(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
        let worker = Worker { epoll, commands, section: AtomicU64::new(0), totals: Arc::default() };
        worker.control(libc::EPOLL_CTL_ADD, worker.commands.as_raw_fd(), COMMAND, libc::EPOLLIN)?;
        Ok(worker)
    }

    /// From now on the thread reads from the socket of this slot.
    pub fn add(&self, fd: RawFd, slot: u32) -> io::Result<()> {
        // Edge-triggered: the system does not look again at a socket that was read until it was empty.
        self.control(libc::EPOLL_CTL_ADD, fd, slot.into(), libc::EPOLLIN | libc::EPOLLET)
    }

    /// The thread reads from it no more. A socket that is closed needs not be removed.
    pub fn remove(&self, fd: RawFd) -> io::Result<()> {
        self.control(libc::EPOLL_CTL_DEL, fd, 0, 0)
    }

    fn control(
        &self,
        operation: libc::c_int,
        fd: RawFd,
        token: u64,
        interest: libc::c_int,
    ) -> io::Result<()> {
        let mut event = libc::epoll_event { events: interest as u32, u64: token };
        // SAFETY: the event is valid during the call.
        if unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), operation, fd, &mut event) } < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }

    pub fn command(&self, command: Command) {
        let value = command as u64;
        // SAFETY: eight valid bytes. It can only fail when it was written to already, and then the thread wakes anyway.
        unsafe { libc::write(self.commands.as_raw_fd(), (&raw const value).cast(), size_of::<u64>()) };
    }

    fn obey(&self) -> bool {
        let mut value = 0u64;
        // SAFETY: room for eight bytes.
        unsafe { libc::read(self.commands.as_raw_fd(), (&raw mut value).cast(), size_of::<u64>()) };
        assert!(value < Command::Panic as u64, "told to panic, by a test");
        value == 0
    }

    /// Returns when the thread no longer uses any socket that was removed from the table before the call.
    pub fn quiesce(&self) {
        let section = self.section.load(Ordering::SeqCst);
        if section % 2 == 1 {
            while self.section.load(Ordering::SeqCst) == section {
                std::thread::yield_now();
            }
        }
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
}

/// Marks the section of a thread in which it uses sockets; also one that ends by a panic.
struct Section<'worker>(&'worker AtomicU64);

impl Section<'_> {
    fn enter(section: &AtomicU64) -> Section<'_> {
        section.fetch_add(1, Ordering::SeqCst);
        Section(section)
    }
}

impl std::ops::Drop for Section<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A socket that has something, or may have.
#[derive(Clone, Copy)]
struct Ready {
    slot: u32,
    /// As the table says in this turn.
    fd: RawFd,
    /// The system keeps what ICMP errors said.
    keeps_icmp_errors: bool,
    /// There are errors besides data.
    has_error: bool,
    is_bursty: bool,
}

/// Runs until it is told to stop.
pub fn run(shared: Arc<Shared>, worker: &Worker, thread: usize) {
    let mut batch = ReceiveBatch::new();
    let mut path = Path::new(shared.clone(), worker.totals.clone(), thread);
    let mut events = [libc::epoll_event { events: 0, u64: 0 }; EVENTS];
    let mut ready = ReadySockets::default();
    let mut filled: Vec<(u32, Range<usize>)> = Vec::with_capacity(EVENTS);
    let mut errors: Vec<(u32, Option<IcmpError>)> = Vec::new();
    // Sockets that had one datagram in the last turn, and whose.
    let mut singles: Vec<(u32, Address)> = Vec::with_capacity(BURST_SOCKETS);
    be_punctual();
    loop {
        let has_waited = ready.sockets.is_empty();
        let count = worker.wait(&mut events, has_waited);
        let started = Instant::now();
        let now_ms = shared.ms_at(started);
        if events[..count].iter().any(|event| event.u64 == COMMAND) && !worker.obey() {
            return;
        }
        let section = Section::enter(&worker.section);
        ready.look_up(&shared, thread, &events[..count]);
        let naps = has_waited
            && ready.sockets.len() <= BURST_SOCKETS
            && ready.sockets.iter().all(|source| source.is_bursty);
        // A nap is no work.
        let mut working_since = started;
        if naps {
            std::thread::sleep(BURST_NAP);
            working_since = Instant::now();
        }
        let mut used = 0;
        for _ in 0..ready.sockets.len() {
            if used == SLOTS {
                break;
            }
            let Some(source) = ready.pop() else { break };
            let most = (SLOTS - used).min(MESSAGES_PER_SOCKET);
            let (got, is_empty) = receive(&mut batch, &source, used, most, &mut errors, worker);
            filled.push((source.slot, used..used + got));
            used += got;
            if !is_empty {
                ready.push(source);
            }
        }
        {
            let table = shared.table();
            let before = std::mem::take(&mut singles);
            for (socket, slots) in filled.drain(..) {
                let remotes = [slots.start, slots.end.saturating_sub(1)]
                    .map(|slot| batch.get(slot).filter(|_| !slots.is_empty()).map(|message| message.from));
                if let [Some(first), Some(last)] = remotes {
                    let is_burst = match slots.len() {
                        1 => before.contains(&(socket, first)),
                        _ => first == last,
                    };
                    note_burst(&table, socket, is_burst, naps);
                    if slots.len() == 1 && singles.len() < BURST_SOCKETS {
                        singles.push((socket, first));
                    }
                }
                for message in slots.filter_map(|slot| batch.get(slot)) {
                    // SAFETY: the batch is not written to before the path was flushed.
                    unsafe { path.take(&table, socket, &message, now_ms) };
                }
            }
            for (socket, error) in errors.drain(..) {
                path.on_icmp(&table, socket, error, now_ms);
            }
        }
        path.flush(now_ms);
        std::mem::drop(section);
        worker.totals.busy_ns.fetch_add(working_since.elapsed().as_nanos() as u64, Ordering::Relaxed);
    }
}

/// Makes naps as short as they were asked for, else the system makes them longer by some 50 µs.
fn be_punctual() {
    const SLACK_NS: libc::c_ulong = 1000;
    // SAFETY: no pointers; it concerns this thread only.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, SLACK_NS) };
}

/// Learns whether the datagrams of a socket come in bursts of one remote. One at a time in turns that follow each other is a burst too:
/// the thread keeps pace with who sends it.
fn note_burst(table: &Table, socket: u32, is_burst: bool, has_napped: bool) {
    let Some(bound) = table.sockets.get(socket) else { return };
    let was_bursty = bound.is_bursty.load(Ordering::Relaxed);
    // It is forgotten only when it was waited for in vain.
    let is_bursty = is_burst || (was_bursty && !has_napped);
    if is_bursty != was_bursty {
        bound.is_bursty.store(is_bursty, Ordering::Relaxed);
    }
}

/// Sockets that have something: those that were not read until they were empty, before those that are new. Each is there
/// once, so that one which is flooded does not put others off.
#[derive(Default)]
struct ReadySockets {
    sockets: VecDeque<Ready>,
    /// By slot.
    is_waiting: Vec<bool>,
}

impl ReadySockets {
    fn pop(&mut self) -> Option<Ready> {
        let source = self.sockets.pop_front()?;
        self.is_waiting[source.slot as usize] = false;
        Some(source)
    }

    fn push(&mut self, source: Ready) {
        let slot = source.slot as usize;
        if slot >= self.is_waiting.len() {
            self.is_waiting.resize(slot + 1, false);
        }
        if !self.is_waiting[slot] {
            self.is_waiting[slot] = true;
            self.sockets.push_back(source);
        } else if source.has_error {
            let waiting = self.sockets.iter_mut().filter(|other| other.slot == source.slot);
            waiting.for_each(|other| other.has_error = true);
        }
    }

    /// Finds the sockets of those that wait and of the events. One that was closed meanwhile is not there, one that another
    /// thread has got is that one's; one that took a slot has nothing, which does no harm.
    fn look_up(&mut self, shared: &Shared, thread: usize, events: &[libc::epoll_event]) {
        let table = shared.table();
        let own = |slot| table.sockets.get(slot).filter(|bound| bound.thread == thread);
        let is_waiting = &mut self.is_waiting;
        self.sockets.retain_mut(|source| {
            let bound = own(source.slot);
            source.fd = bound.map_or(-1, |bound| bound.socket.fd());
            is_waiting[source.slot as usize] = bound.is_some();
            bound.is_some()
        });
        for event in events.iter().filter(|event| event.u64 != COMMAND) {
            let slot = event.u64 as u32;
            let Some(bound) = own(slot) else { continue };
            let has_error = event.events & libc::EPOLLERR as u32 != 0;
            let keeps_icmp_errors = bound.socket.options.icmp_errors;
            let is_bursty = bound.is_bursty.load(Ordering::Relaxed);
            self.push(Ready { slot, fd: bound.socket.fd(), keeps_icmp_errors, has_error, is_bursty });
        }
    }
}

/// Receives what a socket has: says how many slots were filled, and whether the socket is empty now. What it was told by
/// ICMP goes to `errors`.
fn receive(
    batch: &mut ReceiveBatch,
    source: &Ready,
    first: usize,
    most: usize,
    errors: &mut Vec<(u32, Option<IcmpError>)>,
    worker: &Worker,
) -> (usize, bool) {
    let mut has_all_errors = true;
    if source.has_error && source.keeps_icmp_errors {
        let told = std::iter::from_fn(|| take_icmp_error(source.fd)).take(ICMP_PER_SOCKET);
        let before = errors.len();
        errors.extend(told.map(|error| (source.slot, Some(error))));
        has_all_errors = errors.len() - before < ICMP_PER_SOCKET;
    }
    match batch.receive(source.fd, first, most) {
        Ok(got) => {
            worker.totals.receive_sizes.add(got);
            (got, got < most && has_all_errors)
        }
        Err(error) => match error.raw_os_error() {
            Some(libc::EAGAIN) => (0, has_all_errors),
            // The latter: something was too long for the path. Who sends longer datagrams on purpose asks for such errors.
            Some(libc::EINTR | libc::EMSGSIZE) => (0, false),
            Some(errno) if is_icmp(errno) => {
                // Where the system keeps what it said, that is read above, in this turn or in the next.
                if !source.keeps_icmp_errors {
                    errors.push((source.slot, None));
                }
                (0, false)
            }
            _ => {
                worker.totals.dropped(Drop::Error, 1);
                (0, true)
            }
        },
    }
}
