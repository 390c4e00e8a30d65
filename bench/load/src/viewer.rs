//! Viewers' UDP sockets, who prove themselves with STUN.

use crate::args::Result;
use crate::origin::{Answer, Origin};
use crate::socket::{ask, bind};
use crate::stun;
use std::net::{SocketAddr, UdpSocket};

/// The ice-pwd of everybody.
pub const PASSWORD: &str = "load-password-of-24-char";

pub struct Viewer {
    socket: UdpSocket,
    username: String,
}

impl Viewer {
    pub fn new(gateway: SocketAddr, username: String) -> Result<Viewer> {
        let socket = bind(0)?;
        socket.connect(gateway)?;
        Ok(Viewer { socket, username })
    }

    /// Proves its address with a Binding request, and waits for the origin's answer through what is between.
    fn prove(self, index: usize) -> Result<UdpSocket> {
        let request = stun::binding_request(index as u32, &self.username, PASSWORD);
        let answer = ask(&self.socket, &request, |answer| answer.starts_with(&stun::BINDING_SUCCESS))?;
        answer.ok_or(format!("no STUN answer for {}", self.username))?;
        Ok(self.socket)
    }
}

/// Viewers whom a bare relay knows by what they send.
pub fn of_relay(relay: &str, count: usize) -> Result<Vec<Viewer>> {
    let relay = relay.parse()?;
    (0..count).map(|index| Viewer::new(relay, format!("origin{index:06}:viewer{index:06}"))).collect()
}

/// The sockets of viewers who have proved themselves, and where the origin sees them.
pub fn prove(
    origin: &Origin,
    viewers: impl FnOnce() -> Result<Vec<Viewer>>,
) -> Result<(Vec<UdpSocket>, Vec<SocketAddr>)> {
    origin.meet(answer, || viewers()?.into_iter().enumerate().map(|(index, one)| one.prove(index)).collect())
}

/// The origin's answer to a Binding request.
fn answer(bytes: &[u8], from: SocketAddr) -> Option<Answer<String>> {
    if !bytes.starts_with(&stun::BINDING_REQUEST) || bytes.len() < stun::HEADER_BYTES {
        return None;
    }
    let session = stun::username(bytes).map(str::to_string);
    Some(Answer { bytes: stun::binding_success(bytes, from, PASSWORD), session })
}
