//! RTMP play: the origin answers the dialogue and sends video messages at chunk size 60000; viewers connect,
//! play and count. With `--relay` a bare TCP relay stands between.

use crate::args::{Args, Result};
use crate::cycles;
use crate::fanout::{self, Origin};
use crate::http;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

const CHUNK_BYTES: u32 = 60_000;
const HANDSHAKE_BYTES: usize = 1536;
const SET_CHUNK_SIZE: u8 = 1;
const COMMAND: u8 = 20;
const VIDEO: u8 = 9;
/// More than any message of a dialogue.
const MAX_MESSAGE_BYTES: usize = 65_536;

pub fn main(args: &Args) -> Result<()> {
    let origin = Origin::listen(args.number("origin-port", 0)? as u16, serve)?;
    if let Some(register) = args.get("register") {
        http::register(register, args.get("token"), &[("rtmp", origin.port)])?;
    }
    let gateway = args.text("gateway")?;
    let viewers = (0..args.number("clients", 200)?).map(|_| play(gateway)).collect::<Result<Vec<_>>>()?;
    let size = args.number("size", 10_000)? as usize;
    let mut video = vec![0x5a; size];
    video[..5].copy_from_slice(&[0x27, 1, 0, 0, 0]);
    fanout::run(args, &origin, viewers, &message(6, VIDEO, 1, &video))
}

/// Publishers who come, each with a stream of its own, and go again.
pub fn publish_main(args: &Args) -> Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", args.number("origin-port", 0)? as u16))?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // Until the gateway closes it.
            thread::spawn(|| {
                serve(stream).map(|mut stream| std::io::copy(&mut stream, &mut std::io::sink()))
            });
        }
    });
    http::register(args.text("register")?, args.get("token"), &[("rtmp", port)])?;
    let gateway = args.text("gateway")?;
    cycles::run(
        args,
        |number| publish(gateway, &format!("s{number}")),
        |stream| {
            drop(stream);
            Ok(())
        },
    )
}

/// The origin's side of the dialogue, up to NetStream.Play.Start or NetStream.Publish.Start.
fn serve(stream: TcpStream) -> Result<TcpStream> {
    let mut peer = Peer::new(stream)?;
    let mut c0_c1 = [0; 1 + HANDSHAKE_BYTES];
    peer.stream.read_exact(&mut c0_c1)?;
    peer.stream.write_all(&[&[3], [0; HANDSHAKE_BYTES].as_slice(), &c0_c1[1..]].concat())?;
    peer.stream.read_exact(&mut c0_c1[1..])?;
    peer.set_chunk_size()?;
    loop {
        let command = peer.next_command()?;
        let id = Amf::number(transaction(&command));
        match name(&command) {
            "connect" => {
                let status = Amf::object(&[("level", "status"), ("code", "NetConnection.Connect.Success")]);
                let properties = Amf::object(&[("fmsVer", "FMS/3,5,3,888")]);
                peer.send(COMMAND, 0, &[Amf::text("_result"), id, properties, status].concat())?;
            }
            "createStream" => {
                let answer = [Amf::text("_result"), id, Amf::null(), Amf::number(1.0)];
                peer.send(COMMAND, 0, &answer.concat())?;
            }
            "publish" => {
                peer.send_status("NetStream.Publish.Start")?;
                return Ok(peer.stream);
            }
            "play" => {
                for code in ["NetStream.Play.Reset", "NetStream.Play.Start"] {
                    peer.send_status(code)?;
                }
                return Ok(peer.stream);
            }
            _ if transaction(&command) > 0.0 => {
                peer.send(COMMAND, 0, &[Amf::text("_result"), id, Amf::null()].concat())?;
            }
            _ => {}
        }
    }
}

/// A viewer's side of the dialogue, up to NetStream.Play.Start.
fn play(address: &str) -> Result<TcpStream> {
    let mut peer = connect(address)?;
    let play = [Amf::text("play"), Amf::number(3.0), Amf::null(), Amf::text("bench")];
    peer.send(COMMAND, 1, &play.concat())?;
    peer.wait_for("NetStream.Play.Start")?;
    Ok(peer.stream)
}

/// A publisher's, up to NetStream.Publish.Start.
fn publish(address: &str, name: &str) -> Result<TcpStream> {
    let mut peer = connect(address)?;
    let publish = [Amf::text("publish"), Amf::number(3.0), Amf::null(), Amf::text(name), Amf::text("live")];
    peer.send(COMMAND, 1, &publish.concat())?;
    peer.wait_for("NetStream.Publish.Start")?;
    Ok(peer.stream)
}

/// The dialogue up to a stream that is neither played nor published.
fn connect(address: &str) -> Result<Peer> {
    let mut peer = Peer::new(http::connect(address)?)?;
    let c1 = [7; HANDSHAKE_BYTES];
    peer.stream.write_all(&[&[3], &c1[..]].concat())?;
    let mut answer = [0; 1 + 2 * HANDSHAKE_BYTES];
    peer.stream.read_exact(&mut answer)?;
    peer.stream.write_all(&answer[1..=HANDSHAKE_BYTES])?;
    peer.set_chunk_size()?;
    let url = format!("rtmp://{address}/live");
    let arguments = Amf::object(&[("app", "live"), ("tcUrl", &url), ("flashVer", "LNX 9,0,124,2")]);
    peer.send(COMMAND, 0, &[Amf::text("connect"), Amf::number(1.0), arguments].concat())?;
    peer.wait_for("_result")?;
    peer.send(COMMAND, 0, &[Amf::text("createStream"), Amf::number(2.0), Amf::null()].concat())?;
    peer.wait_for("_result")?;
    Ok(peer)
}

/// One side of a dialogue, message by message.
struct Peer {
    stream: TcpStream,
    chunk_bytes: usize,
    /// Header of the last message on each chunk stream: length, type.
    headers: [(usize, u8); 64],
}

impl Peer {
    fn new(stream: TcpStream) -> Result<Peer> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        Ok(Peer { stream, chunk_bytes: 128, headers: [(0, 0); 64] })
    }

    fn set_chunk_size(&mut self) -> Result<()> {
        Ok(self.stream.write_all(&message(2, SET_CHUNK_SIZE, 0, &CHUNK_BYTES.to_be_bytes()))?)
    }

    fn send(&mut self, kind: u8, stream_id: u32, payload: &[u8]) -> Result<()> {
        Ok(self.stream.write_all(&message(3, kind, stream_id, payload))?)
    }

    fn send_status(&mut self, code: &str) -> Result<()> {
        let status = Amf::object(&[("level", "status"), ("code", code), ("description", "bench")]);
        let event = [Amf::text("onStatus"), Amf::number(0.0), Amf::null(), status];
        self.send(COMMAND, 1, &event.concat())
    }

    fn wait_for(&mut self, text: &str) -> Result<()> {
        loop {
            let command = self.next_command()?;
            let contains = |text: &str| command.windows(text.len()).any(|part| part == text.as_bytes());
            if contains(text) {
                return Ok(());
            }
            if contains("_error") || contains("NetStream.Play.StreamNotFound") || contains("Failed") {
                return Err(format!("refused: {}", String::from_utf8_lossy(&command)).into());
            }
        }
    }

    fn next_command(&mut self) -> Result<Vec<u8>> {
        loop {
            let (kind, payload) = self.next_message()?;
            match kind {
                SET_CHUNK_SIZE => {
                    let size = payload.first_chunk().ok_or("a short Set Chunk Size")?;
                    self.chunk_bytes = (u32::from_be_bytes(*size) as usize).max(1);
                }
                COMMAND => return Ok(payload),
                _ => {}
            }
        }
    }

    /// Chunk streams up to 63, messages one after the other: what a dialogue consists of.
    fn next_message(&mut self) -> Result<(u8, Vec<u8>)> {
        let mut payload = Vec::new();
        loop {
            let [basic] = self.read()?;
            let id = (basic & 0x3f) as usize;
            if id < 2 {
                return Err("a chunk stream id above 63".into());
            }
            let format = basic >> 6;
            let mut is_extended = false;
            if format < 3 {
                let [a, b, c] = self.read()?;
                is_extended = [a, b, c] == [0xff; 3];
            }
            if format < 2 {
                let [a, b, c, kind] = self.read()?;
                self.headers[id] = (u32::from_be_bytes([0, a, b, c]) as usize, kind);
            }
            if format == 0 {
                self.read::<4>()?;
            }
            if is_extended {
                self.read::<4>()?;
            }
            let (length, kind) = self.headers[id];
            if length > MAX_MESSAGE_BYTES {
                return Err(format!("a message of {length} bytes in the dialogue").into());
            }
            let from = payload.len();
            payload.resize(length.min(from + self.chunk_bytes), 0);
            self.stream.read_exact(&mut payload[from..])?;
            if payload.len() == length {
                return Ok((kind, payload));
            }
        }
    }

    fn read<const LENGTH: usize>(&mut self) -> Result<[u8; LENGTH]> {
        let mut bytes = [0; LENGTH];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

/// One message in chunks, the first with a whole header. Before Set Chunk Size only short ones are sent.
fn message(chunk_stream: u8, kind: u8, stream_id: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    let mut bytes = vec![chunk_stream, 0, 0, 0, length[1], length[2], length[3], kind];
    bytes.extend_from_slice(&stream_id.to_le_bytes());
    for (index, chunk) in payload.chunks(CHUNK_BYTES as usize).enumerate() {
        if index > 0 {
            bytes.push(0xc0 | chunk_stream);
        }
        bytes.extend_from_slice(chunk);
    }
    bytes
}

fn name(command: &[u8]) -> &str {
    let text = command
        .get(1..3)
        .and_then(|length| command.get(3..3 + u16::from_be_bytes([length[0], length[1]]) as usize));
    text.and_then(|text| std::str::from_utf8(text).ok()).unwrap_or("")
}

/// The number after the name.
fn transaction(command: &[u8]) -> f64 {
    let at = 3 + name(command).len() + 1;
    command.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map_or(0.0, f64::from_be_bytes)
}

/// AMF0 values.
struct Amf;

impl Amf {
    fn text(text: &str) -> Vec<u8> {
        [&[2], Amf::key(text).as_slice()].concat()
    }

    fn number(number: f64) -> Vec<u8> {
        [&[0], number.to_be_bytes().as_slice()].concat()
    }

    fn null() -> Vec<u8> {
        vec![5]
    }

    fn object(properties: &[(&str, &str)]) -> Vec<u8> {
        let mut bytes = vec![3];
        for (key, value) in properties {
            bytes.extend(Amf::key(key));
            bytes.extend(Amf::text(value));
        }
        bytes.extend([0, 0, 9]);
        bytes
    }

    fn key(text: &str) -> Vec<u8> {
        [&(text.len() as u16).to_be_bytes(), text.as_bytes()].concat()
    }
}
