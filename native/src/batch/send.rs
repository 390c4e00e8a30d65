//! Sending: `sendmmsg`, with datagrams of one destination and one length joined into one message that the system or
//! the interface cuts again (UDP GSO).

use super::{MAX_PAYLOAD, MAX_SEGMENTS};
use crate::address::RawAddress;
use crate::socket::is_icmp;
use crate::totals::Totals;
use std::os::fd::RawFd;

/// Most messages in one call.
const CALL_MESSAGES: usize = 256;
/// Places in which the last message of a key is remembered.
const RECENT: usize = 256;
const NONE: u32 = u32::MAX;
/// A payload that no path is too narrow for: the least MTU of IPv6 less the headers.
const FITS_EVERYWHERE: usize = 1232;
/// A control message with a u16.
const CONTROL_WORDS: usize = 3;

/// Which way a datagram goes.
#[derive(Clone, Copy)]
pub struct Route<'table> {
    pub fd: RawFd,
    /// Slot of the socket.
    pub socket: u32,
    /// The socket has one peer, and needs no address.
    pub is_connected: bool,
    /// The socket reports errors of earlier datagrams in place of sending.
    pub reports_icmp: bool,
    pub to: &'table RawAddress,
    /// Longest datagram of which several may go into one message.
    pub segment_limit: usize,
    /// Flow, by slot and name; its datagrams are likely to go the same way.
    pub flow: (u32, u64),
}

/// A datagram that is to be sent. Its bytes lie elsewhere; what is put around them is copied.
#[derive(Clone, Copy)]
pub struct Outgoing<'a> {
    /// Goes before the bytes.
    pub header: &'a [u8],
    pub bytes: &'a [u8],
    /// So many zeros follow them.
    pub padding: usize,
    /// What its flow counts as framing of it, so that it can be taken back.
    pub framing: usize,
}

impl<'a> Outgoing<'a> {
    pub fn plain(bytes: &'a [u8]) -> Outgoing<'a> {
        Outgoing { header: &[], bytes, padding: 0, framing: 0 }
    }

    /// What is left of a datagram of so many bytes.
    pub fn stripped(bytes: &'a [u8], arrived: usize) -> Outgoing<'a> {
        Outgoing { framing: arrived - bytes.len(), ..Outgoing::plain(bytes) }
    }

    pub fn framed(header: &'a [u8], bytes: &'a [u8], padding: usize) -> Outgoing<'a> {
        Outgoing { header, bytes, padding, framing: header.len() + padding }
    }

    pub fn len(&self) -> usize {
        self.header.len() + self.bytes.len() + self.padding
    }
}

/// What did not go as it should.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SendEvent {
    /// Datagrams that the system did not take.
    Refused { flow: (u32, u64), errno: i32, packets: u64, bytes: u64, framing: u64 },
    /// A connected socket told of an earlier datagram; the later one was sent all the same.
    Icmp { socket: u32 },
    /// The system does not cut longer datagrams than this on the way of the flow.
    SegmentLimit { flow: (u32, u64), segment: usize },
}

struct Message {
    fd: RawFd,
    socket: u32,
    is_connected: bool,
    reports_icmp: bool,
    to: RawAddress,
    flow: (u32, u64),
    /// First and last of its pieces.
    head: u32,
    tail: u32,
    pieces: u32,
    datagrams: u32,
    /// Length of each datagram but the last.
    segment: usize,
    bytes: usize,
    framing: usize,
    segment_limit: usize,
    /// Its last datagram is shorter, or it is full.
    is_closed: bool,
}

/// Bytes of a message that lie in one place.
#[derive(Clone, Copy)]
struct Piece {
    /// Null: the bytes are framing.
    bytes: *const u8,
    length: usize,
    /// Where they begin in the framing.
    at: u32,
    next: u32,
}

/// Datagrams that wait to be sent together. The bytes are not copied: they must live and stay as they are until `flush`.
pub struct SendBatch {
    messages: Vec<Message>,
    pieces: Vec<Piece>,
    /// What is put around the bytes of datagrams, all in a row.
    framing: Vec<u8>,
    /// Turn and index of the last message of a key.
    recent: Box<[(u32, u32); RECENT]>,
    turn: u32,
    events: Vec<SendEvent>,
    // Room for one call, kept so that no turn allocates.
    order: Vec<u32>,
    headers: Vec<libc::mmsghdr>,
    vectors: Vec<libc::iovec>,
    controls: Vec<[u64; CONTROL_WORDS]>,
}

// SAFETY: the pointers are only of use between `push` and `flush`, whose callers see to it that the bytes live.
unsafe impl Send for SendBatch {}

impl SendBatch {
    pub fn new() -> SendBatch {
        SendBatch {
            messages: Vec::new(),
            pieces: Vec::new(),
            framing: Vec::new(),
            recent: Box::new([(0, 0); RECENT]),
            turn: 1,
            events: Vec::new(),
            order: Vec::new(),
            headers: Vec::new(),
            vectors: Vec::new(),
            controls: Vec::new(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// Adds a datagram.
    ///
    /// # Safety
    /// Its `bytes` must live and stay as they are until `flush` has returned.
    pub unsafe fn push(&mut self, route: &Route<'_>, datagram: &Outgoing<'_>) {
        let length = datagram.len();
        let index = self.message_for(route, length, length, 1);
        self.append_framing(index, datagram.header);
        self.append_bytes(index, datagram.bytes);
        self.append_framing(index, &[0; 3][..datagram.padding]);
        self.messages[index].framing += datagram.framing;
        self.close(index, 1, length, length);
    }

    /// Adds a train: datagrams of `segment` bytes each but the last, which may be shorter.
    ///
    /// # Safety
    /// As of `push`.
    pub unsafe fn push_train(&mut self, route: &Route<'_>, train: &[u8], segment: usize) {
        if train.len() <= segment || segment == 0 {
            // SAFETY: the caller's promise.
            return unsafe { self.push(route, &Outgoing::plain(train)) };
        }
        for part in train.chunks(segment * (MAX_PAYLOAD / segment).clamp(1, MAX_SEGMENTS)) {
            let datagrams = part.len().div_ceil(segment);
            if datagrams == 1 || segment > route.segment_limit {
                for bytes in part.chunks(segment) {
                    // SAFETY: the caller's promise.
                    unsafe { self.push(route, &Outgoing::plain(bytes)) };
                }
                continue;
            }
            let index = self.message_for(route, segment, part.len(), datagrams);
            self.append_bytes(index, part);
            self.close(index, datagrams as u32, part.len(), part.len() - (datagrams - 1) * segment);
        }
    }

    /// The message that so many datagrams of this length may join, or a new one.
    fn message_for(&mut self, route: &Route<'_>, segment: usize, bytes: usize, datagrams: usize) -> usize {
        let place = &mut self.recent[route.flow.0 as usize % RECENT];
        if place.0 == self.turn {
            let message = &self.messages[place.1 as usize];
            let fits = if datagrams == 1 { segment <= message.segment } else { segment == message.segment };
            if fits
                && segment > 0
                && !message.is_closed
                && message.segment <= message.segment_limit
                && message.datagrams as usize + datagrams <= MAX_SEGMENTS
                && message.bytes + bytes <= MAX_PAYLOAD
                && message.fd == route.fd
                && message.to == *route.to
                && message.flow == route.flow
            {
                return place.1 as usize;
            }
        }
        *place = (self.turn, self.messages.len() as u32);
        self.messages.push(Message {
            fd: route.fd,
            socket: route.socket,
            is_connected: route.is_connected,
            reports_icmp: route.reports_icmp,
            to: *route.to,
            flow: route.flow,
            head: NONE,
            tail: NONE,
            pieces: 0,
            datagrams: 0,
            segment,
            bytes: 0,
            framing: 0,
            segment_limit: route.segment_limit,
            is_closed: false,
        });
        self.messages.len() - 1
    }

    fn append_bytes(&mut self, index: usize, bytes: &[u8]) {
        let tail = self.messages[index].tail;
        if let Some(piece) = self.pieces.get_mut(tail as usize) {
            // What lies right behind, as the datagrams of a train do, needs no piece of its own.
            if !piece.bytes.is_null() && piece.bytes.wrapping_add(piece.length) == bytes.as_ptr() {
                piece.length += bytes.len();
                return;
            }
        }
        self.append(index, Piece { bytes: bytes.as_ptr(), length: bytes.len(), at: NONE, next: NONE });
    }

    fn append_framing(&mut self, index: usize, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let at = self.framing.len() as u32;
        self.framing.extend_from_slice(bytes);
        let tail = self.messages[index].tail;
        if let Some(piece) = self.pieces.get_mut(tail as usize) {
            // The header behind the padding of the datagram before.
            if piece.bytes.is_null() && piece.at + piece.length as u32 == at {
                piece.length += bytes.len();
                return;
            }
        }
        self.append(index, Piece { bytes: std::ptr::null(), length: bytes.len(), at, next: NONE });
    }

    fn append(&mut self, index: usize, piece: Piece) {
        let at = self.pieces.len() as u32;
        self.pieces.push(piece);
        let message = &mut self.messages[index];
        match self.pieces.get_mut(message.tail as usize) {
            Some(tail) => tail.next = at,
            None => message.head = at,
        }
        message.tail = at;
        message.pieces += 1;
    }

    /// Counts what was appended; nothing may follow a datagram that is shorter than the others.
    fn close(&mut self, index: usize, datagrams: u32, bytes: usize, last: usize) {
        let message = &mut self.messages[index];
        message.datagrams += datagrams;
        message.bytes += bytes;
        message.is_closed = last < message.segment;
    }

    /// Sends all, and forgets it. What went wrong is given back, in order.
    pub fn flush(&mut self, totals: &Totals) -> &[SendEvent] {
        self.events.clear();
        self.order.clear();
        self.order.extend(0..self.messages.len() as u32);
        // One call is for one socket; the order within a socket stays.
        self.order.sort_by_key(|index| self.messages[*index as usize].fd);
        let mut at = 0;
        while at < self.order.len() {
            let fd = self.messages[self.order[at] as usize].fd;
            let count = self.order[at..]
                .iter()
                .take(CALL_MESSAGES)
                .take_while(|index| self.messages[**index as usize].fd == fd)
                .count();
            self.send_run(fd, at, count, totals);
            at += count;
        }
        self.messages.clear();
        self.pieces.clear();
        self.framing.clear();
        self.turn = self.turn.wrapping_add(1);
        &self.events
    }

    /// Sends the messages of one socket.
    fn send_run(&mut self, fd: RawFd, at: usize, count: usize, totals: &Totals) {
        self.lay_out(at, count);
        let mut sent = 0;
        while sent < count {
            let (pointer, left) = (self.headers[sent..].as_mut_ptr(), (count - sent) as libc::c_uint);
            // SAFETY: `lay_out` has made each header point to what lives until the caller of `flush` goes on.
            let took = unsafe { libc::sendmmsg(fd, pointer, left, libc::MSG_DONTWAIT) };
            if took > 0 {
                totals.send_sizes.add(took as usize);
                for index in &self.order[at + sent..at + sent + took as usize] {
                    totals.segments.add(self.messages[*index as usize].datagrams as usize);
                }
                sent += took as usize;
                continue;
            }
            let errno = last_errno();
            if errno == libc::EINTR {
                continue;
            }
            self.on_refused(fd, self.order[at + sent] as usize, sent, errno, totals);
            sent += 1;
        }
    }

    /// Makes headers for messages, in order.
    fn lay_out(&mut self, at: usize, count: usize) {
        let indexes = &self.order[at..at + count];
        let pieces: u32 = indexes.iter().map(|index| self.messages[*index as usize].pieces).sum();
        // Room first: what grows later would move what is pointed to.
        self.vectors.clear();
        self.vectors.reserve(pieces as usize);
        self.controls.clear();
        self.controls.resize(count, [0; CONTROL_WORDS]);
        self.headers.clear();
        for (place, index) in indexes.iter().enumerate() {
            let message = &self.messages[*index as usize];
            let first = self.vectors.len();
            let mut next = message.head;
            while let Some(piece) = self.pieces.get(next as usize) {
                let bytes = match piece.bytes.is_null() {
                    true => self.framing[piece.at as usize..].as_ptr(),
                    false => piece.bytes,
                };
                self.vectors.push(libc::iovec { iov_base: bytes.cast_mut().cast(), iov_len: piece.length });
                next = piece.next;
            }
            // SAFETY: all zero is a valid mmsghdr.
            let mut header: libc::mmsghdr = unsafe { std::mem::zeroed() };
            header.msg_hdr.msg_iov = self.vectors[first..].as_mut_ptr();
            header.msg_hdr.msg_iovlen = (self.vectors.len() - first) as _;
            if !message.is_connected {
                header.msg_hdr.msg_name = message.to.as_ptr().cast_mut().cast();
                header.msg_hdr.msg_namelen = message.to.len();
            }
            if message.datagrams > 1 {
                set_segment(&mut header.msg_hdr, &mut self.controls[place], message.segment as u16);
            }
            self.headers.push(header);
        }
    }

    /// The system did not take a message; `place` is that of its header.
    fn on_refused(&mut self, fd: RawFd, index: usize, place: usize, errno: i32, totals: &Totals) {
        let message = &self.messages[index];
        let (flow, socket, segment) = (message.flow, message.socket, message.segment);
        let mut errno = errno;
        let mut tries = 0;
        while message.reports_icmp && tries < patience(errno, segment) {
            tries += 1;
            if is_icmp(errno) {
                self.events.push(SendEvent::Icmp { socket });
            }
            // SAFETY: as in `send_run`.
            if unsafe { libc::sendmmsg(fd, &mut self.headers[place], 1, libc::MSG_DONTWAIT) } == 1 {
                totals.send_sizes.add(1);
                totals.segments.add(message.datagrams as usize);
                return;
            }
            errno = last_errno();
        }
        if message.datagrams > 1 && matches!(errno, libc::EINVAL | libc::EIO | libc::EMSGSIZE) {
            // Either the segments do not fit the way, or the interface leaves the checksum to us, and they go one by one from
            // now on; or they do not go at all.
            if self.send_singly(index, place, totals) {
                let limit = if errno == libc::EIO { 0 } else { segment - 1 };
                self.events.push(SendEvent::SegmentLimit { flow, segment: limit });
            }
            return;
        }
        let (packets, bytes) = (u64::from(message.datagrams), message.bytes as u64);
        let framing = message.framing as u64;
        self.events.push(SendEvent::Refused { flow, errno, packets, bytes, framing });
    }

    /// Sends the datagrams of a message one by one; says whether the system took any.
    fn send_singly(&mut self, index: usize, place: usize, totals: &Totals) -> bool {
        let Message { fd, segment, reports_icmp, flow, datagrams, framing, .. } = self.messages[index];
        let mut has_sent = false;
        let header = self.headers[place].msg_hdr;
        // With musl the length is an int.
        #[allow(clippy::unnecessary_cast)]
        // SAFETY: the header's vectors are those that `lay_out` made.
        let vectors = unsafe { std::slice::from_raw_parts(header.msg_iov, header.msg_iovlen as usize) };
        let mut parts: Vec<libc::iovec> = Vec::new();
        let mut length = 0;
        let mut left = vectors.iter().map(|vector| vector.iov_len).sum::<usize>();
        for vector in vectors {
            let mut taken = 0;
            while taken < vector.iov_len {
                let part = (vector.iov_len - taken).min(segment - length);
                // SAFETY: within the vector.
                let base = unsafe { vector.iov_base.cast::<u8>().add(taken) };
                parts.push(libc::iovec { iov_base: base.cast(), iov_len: part });
                taken += part;
                length += part;
                left -= part;
                if length < segment && left > 0 {
                    continue;
                }
                let mut single = header;
                single.msg_control = std::ptr::null_mut();
                single.msg_controllen = 0;
                single.msg_iov = parts.as_mut_ptr();
                single.msg_iovlen = parts.len() as _;
                let mut tries = 0;
                let refused = loop {
                    // SAFETY: the parts lie within the vectors, the name is as `lay_out` made it.
                    if unsafe { libc::sendmsg(fd, &single, libc::MSG_DONTWAIT) } >= 0 {
                        break None;
                    }
                    let errno = last_errno();
                    if !reports_icmp || tries >= patience(errno, length) {
                        break Some(errno);
                    }
                    tries += 1;
                };
                if let Some(errno) = refused {
                    // Padding may differ by some bytes; which has how much is not kept.
                    let (bytes, framing) = (length as u64, framing as u64 / u64::from(datagrams));
                    self.events.push(SendEvent::Refused { flow, errno, packets: 1, bytes, framing });
                } else {
                    has_sent = true;
                    totals.send_sizes.add(1);
                    totals.segments.add(1);
                }
                parts.clear();
                length = 0;
            }
        }
        has_sent
    }
}

/// How often a send is tried again on a socket that tells of earlier datagrams in place of sending. As often as it has errors
/// in store, where the error cannot be of this datagram; else less often.
fn patience(errno: i32, length: usize) -> usize {
    const SURE: usize = 128;
    const TOO_LONG: usize = 48;
    const UNSURE: usize = 4;
    match errno {
        libc::EMSGSIZE if length <= FITS_EVERYWHERE => SURE,
        libc::EMSGSIZE => TOO_LONG,
        libc::EHOSTUNREACH | libc::ENETUNREACH | libc::EHOSTDOWN | libc::EACCES => UNSURE,
        errno if is_icmp(errno) => SURE,
        _ => 0,
    }
}

fn last_errno() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)
}

/// Makes the system cut a message into datagrams of this length.
fn set_segment(message: &mut libc::msghdr, control: &mut [u64; CONTROL_WORDS], segment: u16) {
    message.msg_control = control.as_mut_ptr().cast();
    // SAFETY: the control buffer has room for one control message with a u16, and is aligned for its header.
    unsafe {
        message.msg_controllen = libc::CMSG_SPACE(size_of::<u16>() as u32) as _;
        let header = libc::CMSG_FIRSTHDR(message);
        (*header).cmsg_level = libc::SOL_UDP;
        (*header).cmsg_type = libc::UDP_SEGMENT;
        (*header).cmsg_len = libc::CMSG_LEN(size_of::<u16>() as u32) as _;
        libc::CMSG_DATA(header).cast::<u16>().write_unaligned(segment);
    }
}

#[cfg(test)]
mod tests {
    use super::super::ReceiveBatch;
    use super::*;
    use crate::address::Address;
    use crate::socket::{tests::options, Socket};

    /// A receiver, and a way to it.
    struct Way {
        sender: Socket,
        receiver: Socket,
        to: RawAddress,
        batch: SendBatch,
        totals: Totals,
    }

    impl Way {
        fn new() -> Way {
            let receiver = Socket::open(options("127.0.0.1")).unwrap();
            let to = RawAddress::from(&receiver.local_address().unwrap());
            let sender = Socket::open(options("127.0.0.1")).unwrap();
            Way { sender, receiver, to, batch: SendBatch::new(), totals: Totals::default() }
        }

        fn push(&mut self, bytes: &'static [u8], flow: (u32, u64)) {
            self.push_framed(&Outgoing::plain(bytes), flow);
        }

        fn push_framed(&mut self, datagram: &Outgoing<'static>, flow: (u32, u64)) {
            let route = self.route(flow, usize::MAX);
            // SAFETY: the bytes live for ever.
            unsafe { self.batch.push(&route, datagram) };
        }

        fn route(&self, flow: (u32, u64), segment_limit: usize) -> Route<'static> {
            let (fd, to) = (self.sender.fd(), Box::leak(Box::new(self.to)));
            Route { fd, socket: 5, is_connected: false, reports_icmp: false, to, segment_limit, flow }
        }

        /// What arrived, one entry per message that the system has joined.
        fn received(&self) -> Vec<(Vec<u8>, usize)> {
            let mut batch = ReceiveBatch::new();
            let got = batch.receive(self.receiver.fd(), 0, super::super::SLOTS).unwrap_or(0);
            (0..got).filter_map(|slot| batch.get(slot)).map(|it| (it.bytes.to_vec(), it.segment)).collect()
        }
    }

    const FLOW: (u32, u64) = (1, 1);

    #[test]
    fn joins_datagrams_of_one_length_and_a_shorter_last_one() {
        let mut way = Way::new();
        for bytes in [&b"aaaa"[..], b"bbbb", b"cc", b"dddd", b"", b"eeeeee"] {
            way.push(bytes, FLOW);
        }
        assert_eq!(way.batch.flush(&way.totals), []);
        let expected = [(&b"aaaabbbbcc"[..], 4), (b"dddd", 4), (b"", 0), (b"eeeeee", 6)];
        assert_eq!(way.received(), expected.map(|(bytes, segment)| (bytes.to_vec(), segment)));
    }

    #[test]
    fn joins_what_others_came_between_and_keeps_flows_apart() {
        let mut way = Way::new();
        let other = (2, 2);
        // Another flow whose message is remembered in the same place.
        let clash = (1 + RECENT as u32, 3);
        for (bytes, flow) in
            [(b"1111", FLOW), (b"2222", other), (b"3333", FLOW), (b"4444", clash), (b"5555", FLOW)]
        {
            way.push(bytes, flow);
        }
        assert_eq!(way.batch.flush(&way.totals), []);
        let received: Vec<_> = way.received().into_iter().map(|(bytes, _)| bytes).collect();
        assert_eq!(received, [&b"11113333"[..], b"2222", b"4444", b"5555"]);
    }

    #[test]
    fn puts_channel_headers_before_each_datagram() {
        let mut way = Way::new();
        for bytes in [b"abc", b"def"] {
            way.push_framed(&Outgoing::framed(&[0x40, 1, 0, 3], bytes, 0), FLOW);
        }
        assert_eq!(way.batch.flush(&way.totals), []);
        assert_eq!(way.received(), [(b"\x40\x01\0\x03abc\x40\x01\0\x03def".to_vec(), 7)]);
    }

    #[test]
    fn joins_datagrams_of_one_length_with_their_framing() {
        let mut way = Way::new();
        let other = (2, 2);
        for (header, bytes, padding, flow) in [
            (&b"h1"[..], &b"abc"[..], 1, FLOW),
            (b"h2", b"de", 2, FLOW),
            (b"x", b"yz", 3, other),
            (b"h3", b"", 3, FLOW),
            (b"h4", b"abcd", 0, FLOW),
        ] {
            way.push_framed(&Outgoing::framed(header, bytes, padding), flow);
        }
        // The padding of the first and the header of the second lie in a row; another flow's came between the others.
        let pieces: Vec<_> = way.batch.messages.iter().map(|message| message.pieces).collect();
        assert_eq!(pieces, [8, 3, 2]);
        assert_eq!(way.batch.flush(&way.totals), []);
        let received: Vec<_> = way.received().into_iter().map(|(bytes, _)| bytes).collect();
        assert_eq!(received, [&b"h1abc\0h2de\0\0h3\0\0\0"[..], b"xyz\0\0\0", b"h4abcd"]);
    }

    #[test]
    fn passes_a_train_on_in_one_message_and_cuts_what_is_too_long() {
        let mut way = Way::new();
        let train: &'static [u8] = Box::leak((0..=255u8).cycle().take(100 * 1000 + 7).collect::<Box<[u8]>>());
        let route = way.route(FLOW, usize::MAX);
        // SAFETY: the bytes live for ever.
        unsafe { way.batch.push_train(&route, train, 1000) };
        assert_eq!(way.batch.messages.iter().map(|message| message.datagrams).collect::<Vec<_>>(), [64, 37]);
        assert_eq!(way.batch.pieces.len(), 2);
        assert_eq!(way.batch.flush(&way.totals), []);
        let received = way.received();
        assert!(received.iter().all(|(_, segment)| *segment == 1000));
        assert_eq!(received.into_iter().flat_map(|(bytes, _)| bytes).collect::<Vec<_>>(), train);
    }

    #[test]
    fn sends_one_by_one_where_a_limit_says_so() {
        let mut way = Way::new();
        let route = way.route(FLOW, 3);
        // SAFETY: the bytes live for ever.
        unsafe { way.batch.push_train(&route, b"aaaabbbbc", 4) };
        assert_eq!(way.batch.messages.len(), 3);
        way.batch.flush(&way.totals);
        assert_eq!(way.received().len(), 3);
    }

    #[test]
    fn cuts_datagrams_itself_when_the_system_does_not() {
        let mut way = Way::new();
        way.push_framed(&Outgoing::framed(&[1, 2, 3, 4], b"abc", 0), FLOW);
        way.push_framed(&Outgoing::framed(&[5, 6, 7, 8], b"de", 0), FLOW);
        way.batch.order.push(0);
        way.batch.lay_out(0, 1);
        way.batch.on_refused(way.sender.fd(), 0, 0, libc::EIO, &Totals::default());
        assert_eq!(way.batch.events, [SendEvent::SegmentLimit { flow: FLOW, segment: 0 }]);
        let received: Vec<_> = way.received().into_iter().map(|(bytes, _)| bytes).collect();
        assert_eq!(received, [&b"\x01\x02\x03\x04abc"[..], b"\x05\x06\x07\x08de"]);
    }

    #[test]
    fn says_what_the_system_refused_and_sends_the_rest() {
        let mut way = Way::new();
        let long: &'static [u8] = Box::leak(vec![0; 65_508].into_boxed_slice());
        way.push(b"before", FLOW);
        way.push_framed(&Outgoing { framing: 9, ..Outgoing::plain(long) }, (2, 9));
        way.push(b"after!", FLOW);
        let (flow, errno) = ((2, 9), libc::EMSGSIZE);
        let refused = SendEvent::Refused { flow, errno, packets: 1, bytes: 65_508, framing: 9 };
        assert_eq!(way.batch.flush(&way.totals), [refused]);
        assert_eq!(way.received(), [(b"beforeafter!".to_vec(), 6)]);
    }

    #[test]
    fn a_connected_socket_sends_all_the_same_when_it_tells_of_an_earlier_datagram() {
        let gone = Socket::open(options("127.0.0.1")).unwrap().local_address().unwrap();
        let mut connected = options("127.0.0.1");
        connected.remote = Some(gone);
        let sender = Socket::open(connected).unwrap();
        let mut bound = options("127.0.0.1");
        let to = RawAddress::from(&gone);
        let route = Route {
            fd: sender.fd(),
            socket: 5,
            is_connected: true,
            reports_icmp: true,
            to: &to,
            segment_limit: usize::MAX,
            flow: FLOW,
        };
        let (mut batch, totals) = (SendBatch::new(), Totals::default());
        // SAFETY: the bytes live for ever.
        unsafe { batch.push(&route, &Outgoing::plain(b"lost")) };
        assert_eq!(batch.flush(&totals), []);
        bound.address = Address { ..gone };
        let back = Socket::open(bound).unwrap();
        // SAFETY: the bytes live for ever.
        unsafe { batch.push(&route, &Outgoing::plain(b"found")) };
        assert_eq!(batch.flush(&totals), [SendEvent::Icmp { socket: 5 }]);
        let mut received = ReceiveBatch::new();
        assert_eq!(received.receive(back.fd(), 0, 8).unwrap(), 1);
        assert_eq!(received.get(0).unwrap().bytes, b"found");
    }
}
