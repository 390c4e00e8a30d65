//! SRT callers who play one stream: the origin answers their handshakes as a listener does, then data packets flow one way.
//! With `--relay` there are no handshakes: a bare relay learns sessions from STUN, and the packets are the same. If that is
//! the origin's own port, nothing is between the two ends.

mod handshake;

use crate::args::{Args, Result};
use crate::ends::{Ends, Heads};
use crate::http;
use crate::origin::{Answer, Origin};
use crate::run::serve;
use crate::socket::{ask, bind};
use crate::viewer::{of_relay, prove};
use handshake::Handshake;
use std::net::{SocketAddr, UdpSocket};

const STREAM_ID: &str = "#!::r=live/bench,m=request";
/// The origin's cookie.
const COOKIE: u32 = 0x0badf00d;
/// What tells the origin's socket id of a session from the caller's.
const OF_ORIGIN: u32 = 1 << 29;
const HEADER_BYTES: usize = 16;
/// A message that is one packet, in order.
const SOLO: u32 = 0b111 << 29;

pub fn main(args: &Args) -> Result<()> {
    let count = args.number("clients", 200)? as usize;
    let origin = Origin::bind(args.number("origin-port", 0)? as u16)?;
    let port = origin.port()?;
    let (callers, seen_at) = match args.get("relay") {
        Some(relay) => prove(&origin, || of_relay(relay, count)),
        None => origin.meet(|bytes, _| answer(bytes), || call_all(args, count, port)),
    }?;
    let ends = Ends::new(origin, callers, &seen_at, |index| Heads {
        to_viewer: data_header(socket_id(index)),
        to_origin: data_header(socket_id(index) | OF_ORIGIN),
    })?;
    serve(args, |options, duration| ends.run(options, duration))
}

/// One caller after the other, at the gateway that `args` name.
fn call_all(args: &Args, count: usize, port: u16) -> Result<Vec<UdpSocket>> {
    http::register(args.text("register")?, args.get("token"), &[("srt", port)])?;
    let gateway = args.text("gateway")?.parse()?;
    (0..count).map(|index| call(gateway, socket_id(index))).collect()
}

/// A caller whose session stands.
fn call(gateway: SocketAddr, id: u32) -> Result<UdpSocket> {
    let socket = bind(0)?;
    socket.connect(gateway)?;
    let induced = exchange(&socket, &Handshake::induction(id))?;
    let concluded = exchange(&socket, &Handshake::conclusion(id, induced.cookie, STREAM_ID))?;
    match concluded.is_conclusion() && concluded.socket_id == id | OF_ORIGIN {
        true => Ok(socket),
        false => Err(format!("caller {id} was answered {concluded:?}").into()),
    }
}

fn exchange(socket: &UdpSocket, said: &Handshake) -> Result<Handshake> {
    let is_answer = |bytes: &[u8]| {
        Handshake::read(bytes)
            .is_some_and(|heard| heard.destination == said.socket_id && heard.is_answer_to(said))
    };
    let answer = ask(socket, &said.bytes(), is_answer)?;
    answer.and_then(|bytes| Handshake::read(&bytes)).ok_or(format!("no answer to {said:?}").into())
}

/// The origin's answer to a handshake. A session stands when its caller has brought the cookie back.
fn answer(bytes: &[u8]) -> Option<Answer<u32>> {
    let asked = Handshake::read(bytes)?;
    let caller = asked.socket_id;
    if asked.is_induction() {
        return Some(Answer { bytes: asked.induced(COOKIE).bytes(), session: None });
    }
    let is_ours = asked.is_conclusion() && asked.cookie == COOKIE;
    is_ours.then(|| Answer { bytes: asked.accepted(caller | OF_ORIGIN).bytes(), session: Some(caller) })
}

/// The caller's.
fn socket_id(index: usize) -> u32 {
    index as u32 + 1
}

/// Of a data packet for this socket. Nobody between looks at its number.
fn data_header(destination: u32) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[4..8].copy_from_slice(&SOLO.to_be_bytes());
    header[12..].copy_from_slice(&destination.to_be_bytes());
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_stands_when_the_cookie_came_back() {
        let induced = answer(&Handshake::induction(7).bytes()).unwrap();
        assert!(induced.session.is_none());
        let cookie = Handshake::read(&induced.bytes).unwrap().cookie;
        let concluded = answer(&Handshake::conclusion(7, cookie, STREAM_ID).bytes()).unwrap();
        assert_eq!(concluded.session, Some(7));
        let heard = Handshake::read(&concluded.bytes).unwrap();
        assert_eq!((heard.destination, heard.socket_id), (7, 7 | OF_ORIGIN));
        assert!(answer(&Handshake::conclusion(7, cookie + 1, STREAM_ID).bytes()).is_none());
    }

    #[test]
    fn data_packets_are_no_control_packets() {
        assert!(data_header(7)[0] < 0x80);
        assert!(Handshake::read(&[&data_header(7)[..], &[0; 64]].concat()).is_none());
    }
}
