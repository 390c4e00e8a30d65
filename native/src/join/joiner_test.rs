//! Joins between sockets of this process.

use super::{Event, Joiner};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

const DEADLINE: Duration = Duration::from_secs(10);

/// A joiner, and what it has told.
struct Bench {
    joiner: Joiner,
    rung: Arc<(Mutex<bool>, Condvar)>,
    told: Vec<Event>,
}

impl Bench {
    fn new(most: usize) -> Bench {
        let rung = Arc::new((Mutex::new(false), Condvar::new()));
        let bell = rung.clone();
        let ring = move || {
            *bell.0.lock().unwrap() = true;
            bell.1.notify_all();
        };
        Bench { joiner: Joiner::start(most, Box::new(ring)).unwrap(), rung, told: Vec::new() }
    }

    /// Waits until it has told so much, and gives that.
    fn wait_for(&mut self, count: usize) -> &[Event] {
        while self.told.len() < count {
            let (flag, bell) = &*self.rung;
            let (mut flag, timeout) =
                bell.wait_timeout_while(flag.lock().unwrap(), DEADLINE, |rung| !*rung).unwrap();
            assert!(!timeout.timed_out(), "told {:?} only", self.told);
            *flag = false;
            while self.joiner.take(&mut self.told, 2) {}
        }
        &self.told
    }
}

/// Both ends of a connection; what the joiner gets does not block, as with Node.
fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let outer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let inner = listener.accept().unwrap().0;
    inner.set_nonblocking(true).unwrap();
    outer.set_read_timeout(Some(DEADLINE)).unwrap();
    outer.set_write_timeout(Some(DEADLINE)).unwrap();
    (outer, inner)
}

fn read_all(mut from: TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    from.read_to_end(&mut bytes).unwrap();
    bytes
}

/// Not the same anywhere, so that bytes which are mixed up are seen.
fn bytes(seed: u32, count: usize) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..count).map(|_| next()).collect()
}

#[test]
fn moves_bulk_both_ways_then_the_ends_and_forgets_the_sockets() {
    let mut bench = Bench::new(10);
    let ((mut user, first), (mut service, second)) = (connection(), connection());
    let (up, down) = (bytes(1, 12_000_000), bytes(2, 9_000_000));
    bench.joiner.join(7, [(first.as_raw_fd(), false), (second.as_raw_fd(), false)]).unwrap();
    let threads = [(user.try_clone().unwrap(), up.clone()), (service.try_clone().unwrap(), down.clone())]
        .map(|(mut to, bytes)| {
            std::thread::spawn(move || {
                to.write_all(&bytes).unwrap();
                to.shutdown(Shutdown::Write).unwrap();
            })
        });
    let reading = {
        let service = service.try_clone().unwrap();
        std::thread::spawn(move || read_all(service))
    };
    assert!(read_all(user.try_clone().unwrap()) == down);
    assert!(reading.join().unwrap() == up);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let mut told = bench.wait_for(2).to_vec();
    told.sort_by_key(|event| matches!(event, Event::Ended { side: 1, .. }));
    assert_eq!(told, [Event::Ended { id: 7, side: 0 }, Event::Ended { id: 7, side: 1 }]);
    assert_eq!(bench.joiner.moved(7), [12_000_000, 9_000_000]);
    bench.joiner.remove(7);
    assert_eq!(bench.joiner.moved(7), [0, 0]);
    // Both have ended; nothing is read or written any more.
    assert!(user.write(b"x").is_err());
    assert_eq!(service.read(&mut [0; 8]).unwrap(), 0);
}

#[test]
fn passes_small_writes_on_at_once() {
    let mut bench = Bench::new(10);
    let ((mut user, first), (mut service, second)) = (connection(), connection());
    bench.joiner.join(1, [(first.as_raw_fd(), false), (second.as_raw_fd(), false)]).unwrap();
    for round in 0..200 {
        let (ask, mut room) = (bytes(round, 1 + round as usize), [0; 256]);
        let room = &mut room[..ask.len()];
        user.write_all(&ask).unwrap();
        service.read_exact(room).unwrap();
        assert_eq!(room, ask);
        service.write_all(&ask).unwrap();
        user.read_exact(room).unwrap();
        assert_eq!(room, ask);
    }
    bench.joiner.remove(1);
    drop((first, second));
    assert_eq!(user.read(&mut [0; 8]).unwrap(), 0);
    assert!(bench.joiner.take(&mut bench.told, 10) || bench.told.is_empty());
}

#[test]
fn a_direction_that_is_over_already_stays_so() {
    let mut bench = Bench::new(10);
    let ((user, first), (mut service, second)) = (connection(), connection());
    second.shutdown(Shutdown::Write).unwrap();
    bench.joiner.join(1, [(first.as_raw_fd(), true), (second.as_raw_fd(), false)]).unwrap();
    service.write_all(b"answer").unwrap();
    drop(service);
    assert_eq!(read_all(user), b"answer");
    assert_eq!(bench.wait_for(1), [Event::Ended { id: 1, side: 1 }]);
}

#[test]
fn says_which_side_was_reset() {
    let mut bench = Bench::new(10);
    let ((user, first), (service, second)) = (connection(), connection());
    bench.joiner.join(1, [(first.as_raw_fd(), false), (second.as_raw_fd(), false)]).unwrap();
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    let length = size_of::<libc::linger>() as libc::socklen_t;
    // SAFETY: a valid option of its length.
    let set = unsafe {
        let option = (&raw const linger).cast();
        libc::setsockopt(service.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, option, length)
    };
    assert_eq!(set, 0);
    drop(service);
    assert_eq!(bench.wait_for(1), [Event::Broken { id: 1, side: 1, errno: libc::ECONNRESET }]);
    drop(user);
}

#[test]
fn refuses_what_is_too_much_there_already_or_no_tcp_socket() {
    let bench = Bench::new(1);
    let ((_user, first), (_service, second)) = (connection(), connection());
    let sides = [(first.as_raw_fd(), false), (second.as_raw_fd(), false)];
    let errno = |sides| bench.joiner.join(2, sides).unwrap_err().raw_os_error();
    assert_eq!(errno([(first.as_raw_fd(), false), (-1, false)]), Some(libc::EBADF));
    let file = std::fs::File::open("/dev/null").unwrap();
    assert_eq!(errno([(file.as_raw_fd(), false), sides[1]]), Some(libc::ENOTSOCK));
    let datagrams = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    assert_eq!(errno([(datagrams.as_raw_fd(), false), sides[1]]), Some(libc::EPROTONOSUPPORT));
    bench.joiner.join(1, sides).unwrap();
    assert_eq!(errno(sides), Some(libc::ENFILE));
    bench.joiner.remove(1);
    bench.joiner.join(2, sides).unwrap();
}

#[test]
fn a_thread_that_dies_says_so_of_each_join_and_takes_none_any_more() {
    let mut bench = Bench::new(10);
    let ((_user, first), (_service, second)) = (connection(), connection());
    let sides = [(first.as_raw_fd(), false), (second.as_raw_fd(), false)];
    bench.joiner.join(5, sides).unwrap();
    bench.joiner.crash();
    assert_eq!(bench.wait_for(1), [Event::Broken { id: 5, side: 0, errno: libc::EIO }]);
    assert!(bench.joiner.join(6, sides).is_err());
}
