//! Handshake packets of SRT (draft-sharabayko-srt-01 §3.2.1), as callers and listeners of version 5 send them.

const CONTROL_HANDSHAKE: u32 = 0x8000_0000;
const BYTES: usize = 64;
const INDUCTION: u32 = 1;
const CONCLUSION: u32 = 0xffff_ffff;
/// What callers put in the extension field of an induction, and a listener of version 5 in its answer.
const DATAGRAMS: u32 = 2;
const MAGIC: u32 = 0x4a17;
/// Flags of the extension field of a conclusion.
const HSREQ_FLAG: u32 = 1;
const CONFIG_FLAG: u32 = 4;
/// Types of extensions.
const HSREQ: u16 = 1;
const HSRSP: u16 = 2;
const STREAM_ID: u16 = 5;
/// Version 1.5.1, the flags of a live sender, and delays of 120 ms.
const CAPABILITIES: [u8; 12] = [0, 1, 5, 1, 0, 0, 0, 0xbf, 0, 120, 0, 120];
const INITIAL_SEQUENCE: u32 = 1000;
const MTU_BYTES: u32 = 1500;
const FLOW_WINDOW: u32 = 8192;
const LOOPBACK: u32 = 0x0100_007f;

/// A handshake; what is not here is the same in all.
#[derive(Debug)]
pub struct Handshake {
    /// The socket that it is for; 0 for a listener.
    pub destination: u32,
    version: u32,
    extension_field: u32,
    kind: u32,
    /// The sender's.
    pub socket_id: u32,
    pub cookie: u32,
    extensions: Vec<u8>,
}

impl Handshake {
    pub fn induction(socket_id: u32) -> Handshake {
        Handshake {
            destination: 0,
            version: 4,
            extension_field: DATAGRAMS,
            kind: INDUCTION,
            socket_id,
            cookie: 0,
            extensions: Vec::new(),
        }
    }

    pub fn conclusion(socket_id: u32, cookie: u32, stream_id: &str) -> Handshake {
        let extensions =
            [extension(HSREQ, &CAPABILITIES), extension(STREAM_ID, &words_reversed(stream_id))].concat();
        Handshake {
            destination: 0,
            version: 5,
            extension_field: HSREQ_FLAG | CONFIG_FLAG,
            kind: CONCLUSION,
            socket_id,
            cookie,
            extensions,
        }
    }

    /// A listener's answer to this induction.
    pub fn induced(&self, cookie: u32) -> Handshake {
        Handshake {
            destination: self.socket_id,
            version: 5,
            extension_field: MAGIC,
            kind: INDUCTION,
            socket_id: self.socket_id,
            cookie,
            extensions: Vec::new(),
        }
    }

    /// A listener's answer to this conclusion, for which it has opened a socket.
    pub fn accepted(&self, socket_id: u32) -> Handshake {
        Handshake {
            destination: self.socket_id,
            version: 5,
            extension_field: HSREQ_FLAG,
            kind: CONCLUSION,
            socket_id,
            cookie: self.cookie,
            extensions: extension(HSRSP, &CAPABILITIES),
        }
    }

    pub fn is_induction(&self) -> bool {
        self.kind == INDUCTION
    }

    pub fn is_conclusion(&self) -> bool {
        self.kind == CONCLUSION
    }

    /// A conclusion may be refused, which is neither; the answer to an induction that was sent twice is none.
    pub fn is_answer_to(&self, said: &Handshake) -> bool {
        self.is_induction() == said.is_induction()
    }

    pub fn read(packet: &[u8]) -> Option<Handshake> {
        let word = |at: usize| Some(u32::from_be_bytes(packet.get(at..at + 4)?.try_into().ok()?));
        if packet.len() < BYTES || word(0)? != CONTROL_HANDSHAKE {
            return None;
        }
        Some(Handshake {
            destination: word(12)?,
            version: word(16)?,
            extension_field: word(20)? & 0xffff,
            kind: word(36)?,
            socket_id: word(40)?,
            cookie: word(44)?,
            extensions: packet[BYTES..].to_vec(),
        })
    }

    pub fn bytes(&self) -> Vec<u8> {
        let words = [
            CONTROL_HANDSHAKE,
            0,
            0,
            self.destination,
            self.version,
            self.extension_field,
            INITIAL_SEQUENCE,
            MTU_BYTES,
            FLOW_WINDOW,
            self.kind,
            self.socket_id,
            self.cookie,
            LOOPBACK,
            0,
            0,
            0,
        ];
        let head: Vec<u8> = words.into_iter().flat_map(u32::to_be_bytes).collect();
        [head, self.extensions.clone()].concat()
    }
}

/// Content of whole words.
fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
    let words = (content.len() / 4) as u16;
    [&kind.to_be_bytes(), &words.to_be_bytes(), content].concat()
}

fn words_reversed(text: &str) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    bytes.resize(bytes.len().div_ceil(4) * 4, 0);
    bytes.chunks_exact_mut(4).for_each(<[u8]>::reverse);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comes_back_from_its_bytes() {
        let conclusion = Handshake::conclusion(7, 0x1234_5678, "live/s");
        let again = Handshake::read(&conclusion.bytes()).unwrap();
        assert_eq!(again.bytes(), conclusion.bytes());
        assert_eq!((again.socket_id, again.cookie), (7, 0x1234_5678));
        assert!(Handshake::read(&conclusion.bytes()[..63]).is_none());
    }

    #[test]
    fn stream_ids_are_written_as_libsrt_writes_them() {
        assert_eq!(words_reversed("live/s"), b"evil\0\0s/");
        assert_eq!(extension(STREAM_ID, &words_reversed("live/s"))[..4], [0, 5, 0, 2]);
    }
}
