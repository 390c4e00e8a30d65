//! The media server's UDP port.

use crate::args::Result;
use crate::socket::bind;
use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

/// How often a waiting origin looks whether it is to end.
const LOOK: Duration = Duration::from_millis(50);

pub struct Origin {
    pub socket: UdpSocket,
}

/// What a datagram is answered with.
pub struct Answer<Name> {
    pub bytes: Vec<u8>,
    /// The session that it is of, if that stands now.
    pub session: Option<Name>,
}

impl Origin {
    pub fn bind(port: u16) -> Result<Origin> {
        let socket = bind(port)?;
        socket.set_read_timeout(Some(LOOK))?;
        Ok(Origin { socket })
    }

    pub fn port(&self) -> Result<u16> {
        Ok(self.socket.local_addr()?.port())
    }

    /// Answers what comes while `set_up` makes the viewers; gives them, and where each session is seen, in the order
    /// of their names.
    pub fn meet<Viewers, Name: Ord + Send>(
        &self,
        answer: impl Fn(&[u8], SocketAddr) -> Option<Answer<Name>> + Send,
        set_up: impl FnOnce() -> Result<Viewers>,
    ) -> Result<(Viewers, Vec<SocketAddr>)> {
        let end = AtomicBool::new(false);
        thread::scope(|scope| {
            let answering = scope.spawn(|| self.answer(answer, &end));
            let viewers = set_up();
            end.store(true, Relaxed);
            let sessions = answering.join().expect("no panic");
            Ok((viewers?, sessions?.into_values().collect()))
        })
    }

    fn answer<Name: Ord>(
        &self,
        answer: impl Fn(&[u8], SocketAddr) -> Option<Answer<Name>>,
        end: &AtomicBool,
    ) -> Result<BTreeMap<Name, SocketAddr>> {
        let mut sessions = BTreeMap::new();
        let mut buffer = [0; 2048];
        while !end.load(Relaxed) {
            let Ok((length, from)) = self.socket.recv_from(&mut buffer) else { continue };
            let Some(Answer { bytes, session }) = answer(&buffer[..length], from) else { continue };
            if let Some(name) = session {
                sessions.insert(name, from);
            }
            self.socket.send_to(&bytes, from)?;
        }
        Ok(sessions)
    }
}
