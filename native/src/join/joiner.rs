//! What TypeScript may ask for.

use super::pair::{Moved, Pair, Side};
use super::system;
use super::worker::{run, Command, Event, Link};
use std::collections::HashMap;
use std::io;
use std::os::fd::RawFd;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Moves bytes between pairs of sockets, in a thread of its own. Called by one thread at a time, TypeScript's; the locks in it
/// make any other use safe too.
pub struct Joiner {
    link: Arc<Link>,
    most: usize,
    joins: Arc<Mutex<Joins>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// All that were not removed, also those that are over.
type Joins = HashMap<u64, Arc<Moved>>;

impl Joiner {
    /// With room for so many joins; `ring` is called from another thread when there is something to take.
    pub fn start(most: usize, ring: Box<dyn Fn() + Send + Sync>) -> io::Result<Joiner> {
        let link = Arc::new(Link::new(ring)?);
        let joins = Arc::<Mutex<Joins>>::default();
        let (of_thread, all) = (link.clone(), joins.clone());
        let thread = std::thread::Builder::new().name("join-0".to_string()).spawn(move || {
            if catch_unwind(AssertUnwindSafe(|| run(&of_thread))).is_err() {
                // The panic was printed. Its sockets are closed here; TypeScript's are still open, and it is told of each.
                of_thread.mark_dead();
                let ids: Vec<u64> = lock(&all).keys().copied().collect();
                of_thread.tell_broken(ids.into_iter());
            }
        })?;
        Ok(Joiner { link, most, joins, thread: Mutex::new(Some(thread)) })
    }

    /// Joins the sockets of two descriptors, which stay the caller's; says of each whether its end was read and passed on.
    pub fn join(&self, id: u64, sides: [(RawFd, bool); 2]) -> io::Result<()> {
        let mut joins = lock(&self.joins);
        if self.link.is_dead() || joins.len() >= self.most || joins.contains_key(&id) {
            return Err(io::Error::from_raw_os_error(libc::ENFILE));
        }
        let [first, second] =
            sides.map(|(fd, has_ended)| system::duplicate(fd).map(|fd| Side { fd, has_ended }));
        let moved = Arc::<Moved>::default();
        let pair = Pair::new(id, [first?, second?], moved.clone());
        joins.insert(id, moved);
        self.link.command(Command::Add(Box::new(pair)));
        Ok(())
    }

    /// Forgets a join; what its sockets have is moved no more.
    pub fn remove(&self, id: u64) {
        if lock(&self.joins).remove(&id).is_some() {
            self.link.command(Command::Remove(id));
        }
    }

    /// Bytes that were moved from the first and from the second socket; zeros when there is no such join.
    pub fn moved(&self, id: u64) -> [u64; 2] {
        let joins = lock(&self.joins);
        let moved = joins.get(&id);
        [0, 1].map(|side: usize| moved.map_or(0, |moved| moved[side].load(Ordering::Relaxed)))
    }

    /// Moves at most so many events to `into`; says whether there are more.
    pub fn take(&self, into: &mut Vec<Event>, most: usize) -> bool {
        self.link.take(into, most)
    }

    /// Lets the thread panic: for tests of what then happens.
    pub fn crash(&self) {
        self.link.command(Command::Panic);
    }

    /// Stops the thread and closes all its sockets.
    pub fn close(&self) {
        self.link.command(Command::Stop);
        if let Some(thread) = lock(&self.thread).take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Joiner {
    fn drop(&mut self) {
        self.close();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
