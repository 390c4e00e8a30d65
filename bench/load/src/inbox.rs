//! Receiving many datagrams per system call, without more of their bytes than are looked at.

use crate::latency::Latencies;
use crate::outbox::STAMP;
use std::mem::zeroed;
use std::os::fd::RawFd;

const MESSAGES: usize = 64;
const CONTROL_WORDS: usize = 16;
/// How much of a datagram is copied: a stamp, and before it the head of a Data indication.
const HEAD_BYTES: usize = 64;

/// What arrived in a run.
pub struct Received {
    pub count: u64,
    pub latencies: Latencies,
}

impl Received {
    pub fn new() -> Received {
        Received { count: 0, latencies: Latencies::new() }
    }

    /// Counts what looks like RTP from this offset of an arrival's head on; whether it does. Of a train the
    /// oldest stamp counts for all: it is the first, since what merges datagrams keeps their order.
    pub fn count(&mut self, arrival: &Arrival, offset: usize) -> bool {
        let Some(head) = arrival.head.get(offset..offset + STAMP.end) else { return false };
        if head[0] < 0x80 {
            return false;
        }
        self.count += arrival.datagrams;
        if let (Some(arrival_ns), Ok(stamp)) = (arrival.arrival_ns, head[STAMP].try_into()) {
            let sent_ns = u64::from_be_bytes(stamp);
            self.latencies.record(arrival_ns.saturating_sub(sent_ns), arrival.datagrams);
        }
        true
    }
}

/// One message that was received: a datagram, or a train of them.
pub struct Arrival<'inbox> {
    /// The first bytes of the first datagram.
    pub head: &'inbox [u8],
    pub datagrams: u64,
    /// When the kernel got it.
    pub arrival_ns: Option<u64>,
}

/// Room for one `recvmmsg`.
pub struct Inbox {
    heads: Box<[[u8; HEAD_BYTES]; MESSAGES]>,
    /// Words, so that control messages are aligned.
    controls: Box<[[u64; CONTROL_WORDS]; MESSAGES]>,
    _vectors: Box<[libc::iovec; MESSAGES]>,
    headers: Box<[libc::mmsghdr; MESSAGES]>,
}

impl Inbox {
    pub fn new() -> Inbox {
        let mut heads = Box::new([[0; HEAD_BYTES]; MESSAGES]);
        let mut controls = Box::new([[0; CONTROL_WORDS]; MESSAGES]);
        // SAFETY: these consist of integers and of pointers that may be null; zero is a value of both.
        let (mut vectors, mut headers) = unsafe {
            (Box::new([zeroed::<libc::iovec>(); MESSAGES]), Box::new([zeroed::<libc::mmsghdr>(); MESSAGES]))
        };
        // Boxed parts do not move, so the headers may point into them.
        for at in 0..MESSAGES {
            vectors[at] = libc::iovec { iov_base: heads[at].as_mut_ptr().cast(), iov_len: HEAD_BYTES };
            let header = &mut headers[at].msg_hdr;
            header.msg_iov = &mut vectors[at];
            header.msg_iovlen = 1;
            header.msg_control = controls[at].as_mut_ptr().cast();
        }
        Inbox { heads, controls, _vectors: vectors, headers }
    }

    /// Takes all that waits in a socket.
    pub fn receive(&mut self, fd: RawFd, mut take: impl FnMut(&Arrival)) {
        loop {
            for header in self.headers.iter_mut() {
                header.msg_hdr.msg_controllen = size_of_val(&self.controls[0]);
            }
            // MSG_TRUNC: the length is that of the whole message, though only its head is copied.
            let flags = libc::MSG_DONTWAIT | libc::MSG_TRUNC;
            let headers = self.headers.as_mut_ptr();
            // SAFETY: all that the headers point to is owned by self, and there are so many.
            let got =
                unsafe { libc::recvmmsg(fd, headers, MESSAGES as u32, flags, std::ptr::null_mut()) }.max(0);
            for at in 0..got as usize {
                take(&self.arrival(at));
            }
            if (got as usize) < MESSAGES {
                return;
            }
        }
    }

    fn arrival(&self, at: usize) -> Arrival<'_> {
        let bytes = self.headers[at].msg_len as usize;
        let control = control_of(&self.headers[at].msg_hdr);
        Arrival {
            head: &self.heads[at][..bytes.min(HEAD_BYTES)],
            datagrams: control.segment_bytes.map_or(1, |segment| bytes.div_ceil(segment)) as u64,
            arrival_ns: control.arrival_ns,
        }
    }
}

#[derive(Default)]
struct Control {
    arrival_ns: Option<u64>,
    segment_bytes: Option<usize>,
}

/// What the kernel says of a received message beside its bytes.
fn control_of(header: &libc::msghdr) -> Control {
    let mut control = Control::default();
    // SAFETY: the kernel filled the control buffer, which lives as long as the header, up to msg_controllen;
    // CMSG_NXTHDR stays within that. Data is read unaligned, in the size that its type has by socket(7), udp(7).
    unsafe {
        let mut next = libc::CMSG_FIRSTHDR(header);
        while let Some(message) = next.as_ref() {
            let data = libc::CMSG_DATA(message);
            match (message.cmsg_level, message.cmsg_type) {
                (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) => {
                    let time = data.cast::<libc::timespec>().read_unaligned();
                    control.arrival_ns = Some(time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64);
                }
                (libc::SOL_UDP, libc::UDP_GRO) => {
                    let segment = data.cast::<libc::c_int>().read_unaligned();
                    control.segment_bytes = Some((segment as usize).max(1));
                }
                _ => {}
            }
            next = libc::CMSG_NXTHDR(header, message);
        }
    }
    control
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::now_ns;
    use crate::outbox::{rtp, Outbox};
    use crate::socket::{bind, set_segment_bytes};
    use std::os::fd::AsRawFd;

    /// Sends so many datagrams in trains of `train` and counts those that arrive.
    fn round_trip(train: usize, count: usize) -> Received {
        let (from, to) = (bind(0).unwrap(), bind(0).unwrap());
        from.connect(to.local_addr().unwrap()).unwrap();
        let mut outbox = Outbox::of(&rtp(100), train);
        if train > 1 {
            set_segment_bytes(from.as_raw_fd(), 100).unwrap();
        }
        (0..count).for_each(|at| outbox.stamp(at, now_ns()));
        assert_eq!(outbox.send(from.as_raw_fd(), count), count);
        let mut received = Received::new();
        Inbox::new().receive(to.as_raw_fd(), |arrival| {
            received.count(arrival, 0);
        });
        received
    }

    #[test]
    fn counts_every_datagram_and_its_time() {
        let received = round_trip(1, 64);
        assert_eq!(received.count, 64);
        let p99_us = received.latencies.quantile_us(0.99);
        assert!(p99_us > 0.0 && p99_us < 1e6, "{p99_us}");
    }

    #[test]
    fn counts_the_datagrams_of_trains() {
        assert_eq!(round_trip(8, 64).count, 64);
    }
}
