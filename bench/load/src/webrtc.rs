//! WHEP viewers of one stream: the origin answers the offers, each viewer proves itself with STUN, then
//! datagrams flow one way. With `--relay` there is no signalling: a bare relay learns sessions from STUN.

use crate::args::{Args, Result};
use crate::http;
use crate::latency::Latencies;
use crate::run::{wait_for_go, Report};
use crate::stun;
use crate::udp::{bind, pace, raw_address, stamp_of, Batch, Poll};
use std::collections::HashMap;
use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

const PASSWORD: &str = "load-password-of-24-char";
/// After the last datagram was sent, until what was not delivered is lost.
const DRAIN: Duration = Duration::from_millis(400);

pub fn main(args: &Args) -> Result<()> {
    let clients = args.number("clients", 200)? as usize;
    let load = Load {
        run: Duration::from_secs(args.number("seconds", 5)?),
        rate: args.number("rate", 20_000)?,
        burst: args.number("burst", 1)?.clamp(1, 32) as usize,
        size: args.number("size", 1200)? as usize,
    };
    let upwards = args.get("direction") == Some("up");

    let media = Arc::new(Media::new());
    let origin = Arc::new(Origin::bind(args.number("origin-port", 0)? as u16, media.clone())?);
    let receiver = {
        let origin = origin.clone();
        thread::spawn(move || origin.receive())
    };
    let viewers = match args.get("relay") {
        Some(relay) => (0..clients).map(|index| Viewer::of_relay(index, relay)).collect(),
        None => open_sessions(args, clients, origin.port()?),
    }
    .and_then(|viewers: Vec<Viewer>| bind_all(&viewers).map(|()| viewers))?;
    let sessions = origin.sessions();
    if sessions.len() != clients {
        return Err(format!("{} of {clients} sessions reached the origin", sessions.len()).into());
    }

    wait_for_go()?;
    let stop = AtomicBool::new(false);
    let (sent, elapsed) = thread::scope(|scope| {
        let reading = scope.spawn(|| receive_all(&viewers, &media, &stop));
        let start = Instant::now();
        let sent = match upwards {
            true => send_up(&viewers, &load, &media),
            false => send_down(&origin.socket, &sessions, &load, &media),
        };
        let elapsed = start.elapsed();
        thread::sleep(DRAIN);
        stop.store(true, Relaxed);
        reading.join().expect("no panic").map(|()| (sent, elapsed))
    })?;
    origin.stop.store(true, Relaxed);
    receiver.join().expect("no panic")?;
    Report {
        unit: "packets",
        sent,
        delivered: media.count.load(Relaxed),
        seconds: elapsed.as_secs_f64(),
        latencies: Some(&media.latencies),
    }
    .print()
}

struct Load {
    run: Duration,
    /// Datagrams per second; 0 is as many as the system takes.
    rate: u64,
    /// Datagrams in a row for one viewer.
    burst: usize,
    size: usize,
}

/// What arrived, at whichever end it was to arrive.
struct Media {
    epoch: Instant,
    count: AtomicU64,
    latencies: Latencies,
}

impl Media {
    fn new() -> Media {
        Media { epoch: Instant::now(), count: AtomicU64::new(0), latencies: Latencies::new() }
    }

    fn now(&self) -> u64 {
        self.epoch.elapsed().as_micros() as u64
    }

    /// Counts a datagram that looks like RTP; false for any other.
    fn take(&self, datagram: &[u8], now: u64) -> bool {
        if datagram.first() < Some(&0x80) {
            return false;
        }
        self.count.fetch_add(1, Relaxed);
        if let Some(stamp) = stamp_of(datagram) {
            self.latencies.record(now.saturating_sub(stamp));
        }
        true
    }
}

/// The media server's UDP port: answers Binding requests, remembers where each session is, counts media.
struct Origin {
    socket: UdpSocket,
    peers: Mutex<HashMap<String, SocketAddr>>,
    media: Arc<Media>,
    stop: AtomicBool,
}

impl Origin {
    fn bind(port: u16, media: Arc<Media>) -> Result<Origin> {
        let (peers, stop) = Default::default();
        Ok(Origin { socket: bind(port)?, peers, media, stop })
    }

    fn port(&self) -> Result<u16> {
        Ok(self.socket.local_addr()?.port())
    }

    fn sessions(&self) -> Vec<SocketAddr> {
        self.peers.lock().expect("no panic").values().copied().collect()
    }

    fn receive(&self) -> Result<()> {
        let fd = self.socket.as_raw_fd();
        let mut poll = Poll::new()?;
        poll.add(fd, libc::EPOLLIN, 0)?;
        let mut batch = Batch::for_receiving();
        while !self.stop.load(Relaxed) {
            if poll.wait(50).count() == 0 {
                continue;
            }
            let got = batch.receive(fd);
            let now = self.media.now();
            for at in 0..got {
                let (bytes, from) = batch.datagram(at);
                if self.media.take(bytes, now) {
                    continue;
                }
                if bytes.starts_with(&stun::BINDING_REQUEST) && bytes.len() >= 20 {
                    if let Some(name) = stun::username(bytes) {
                        self.peers.lock().expect("no panic").insert(name.into(), from);
                    }
                    self.socket.send_to(&stun::binding_success(bytes, from, PASSWORD), from)?;
                }
            }
        }
        Ok(())
    }
}

struct Viewer {
    socket: UdpSocket,
    username: String,
}

impl Viewer {
    fn of_relay(index: usize, relay: &str) -> Result<Viewer> {
        Viewer::at(relay.parse()?, format!("origin{index}:viewer{index}"))
    }

    fn at(gateway: SocketAddr, username: String) -> Result<Viewer> {
        let socket = bind(0)?;
        socket.connect(gateway)?;
        Ok(Viewer { socket, username })
    }
}

/// One WHEP session per viewer, as a browser makes it.
fn open_sessions(args: &Args, clients: usize, media_port: u16) -> Result<Vec<Viewer>> {
    let gateway = http::authority(args.text("gateway")?)?;
    let api = TcpListener::bind(("127.0.0.1", 0))?;
    let api_port = api.local_addr()?.port();
    thread::spawn(move || answer_offers(&api, media_port));
    let ports = [("api", api_port), ("rtc", media_port)];
    http::register(args.text("register")?, args.get("token"), &ports)?;
    (0..clients)
        .map(|index| {
            let ufrag = format!("viewer{index:06}");
            let path = "/rtc/v1/whep/?app=live&stream=bench";
            let answer = http::post(gateway, path, "application/sdp", None, &sdp(&ufrag, None))?;
            let origin_ufrag = value(&answer, "a=ice-ufrag:").ok_or("an answer without ice-ufrag")?;
            let candidate = candidate(&answer).ok_or(format!("an answer without a candidate: {answer}"))?;
            Viewer::at(candidate, format!("{origin_ufrag}:{ufrag}"))
        })
        .collect()
}

/// Proves each viewer's address, and waits for the origin's answer through the gateway.
fn bind_all(viewers: &[Viewer]) -> Result<()> {
    for (index, viewer) in viewers.iter().enumerate() {
        let request = stun::binding_request(index as u32, &viewer.username, PASSWORD);
        viewer.socket.set_read_timeout(Some(Duration::from_millis(300)))?;
        let mut answer = [0; 2048];
        let is_bound = (0..20).any(|_| {
            viewer.socket.send(&request).is_ok()
                && viewer.socket.recv(&mut answer).is_ok_and(|_| answer.starts_with(&stun::BINDING_SUCCESS))
        });
        if !is_bound {
            return Err(format!("no STUN answer for {}", viewer.username).into());
        }
        viewer.socket.set_nonblocking(true)?;
    }
    Ok(())
}

fn send_down(socket: &UdpSocket, sessions: &[SocketAddr], load: &Load, media: &Media) -> u64 {
    let to: Vec<_> = sessions.iter().copied().map(raw_address).collect();
    let mut batch = Batch::new(load.size);
    pace(load.rate, load.burst, load.run, |first, count| {
        let now = media.now();
        for at in 0..count {
            batch.aim(at, &to[(first as usize + at) / load.burst % to.len()]);
            batch.stamp(at, now);
        }
        batch.send(socket.as_raw_fd(), count)
    })
}

fn send_up(viewers: &[Viewer], load: &Load, media: &Media) -> u64 {
    let mut batch = Batch::new(load.size);
    pace(load.rate, load.burst, load.run, |first, count| {
        let now = media.now();
        (0..load.burst).for_each(|at| batch.stamp(at, now));
        (0..count / load.burst)
            .map(|at| {
                let viewer = &viewers[(first as usize / load.burst + at) % viewers.len()];
                batch.send(viewer.socket.as_raw_fd(), load.burst)
            })
            .sum()
    })
}

fn receive_all(viewers: &[Viewer], media: &Media, stop: &AtomicBool) -> Result<()> {
    let mut poll = Poll::new()?;
    for (token, viewer) in viewers.iter().enumerate() {
        poll.add(viewer.socket.as_raw_fd(), libc::EPOLLIN, token)?;
    }
    let mut batch = Batch::for_receiving();
    while !stop.load(Relaxed) {
        for token in poll.wait(50) {
            let got = batch.receive(viewers[token].socket.as_raw_fd());
            let now = media.now();
            for at in 0..got {
                media.take(batch.datagram(at).0, now);
            }
        }
    }
    Ok(())
}

fn answer_offers(api: &TcpListener, media_port: u16) {
    for (index, stream) in api.incoming().flatten().enumerate() {
        thread::spawn(move || -> Result<()> {
            let mut reader = BufReader::new(stream);
            http::read_message(&mut reader)?;
            let ufrag = format!("origin{index:06}");
            let body = sdp(&ufrag, Some(media_port));
            write!(
                reader.get_mut(),
                "HTTP/1.1 201 Created\r\nContent-Type: application/sdp\r\nLocation: /rtc/v1/whip/?action=delete&token={ufrag}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            )?;
            Ok(())
        });
    }
}

/// An offer of a viewer, or with a port the answer of the origin.
fn sdp(ufrag: &str, media_port: Option<u16>) -> String {
    let (setup, direction) =
        if media_port.is_some() { ("passive", "sendonly") } else { ("actpass", "recvonly") };
    let candidate = media_port.map_or(String::new(), |port| {
        format!("a=candidate:0 1 udp 2130706431 127.0.0.1 {port} typ host generation 0\r\n")
    });
    let fingerprint = ["AB"; 32].join(":");
    format!(
        "v=0\r\no=load 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
         m=video 9 UDP/TLS/RTP/SAVPF 96\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na={direction}\r\na=rtcp-mux\r\n\
         a=rtpmap:96 H264/90000\r\na=ice-ufrag:{ufrag}\r\na=ice-pwd:{PASSWORD}\r\n\
         a=fingerprint:sha-256 {fingerprint}\r\na=setup:{setup}\r\n{candidate}"
    )
}

fn value<'sdp>(sdp: &'sdp str, name: &str) -> Option<&'sdp str> {
    sdp.lines().find_map(|line| line.strip_prefix(name)).map(str::trim)
}

/// The first UDP candidate on loopback, else the first of IPv4.
fn candidate(sdp: &str) -> Option<SocketAddr> {
    let all: Vec<SocketAddr> = sdp
        .lines()
        .filter_map(|line| {
            let words: Vec<&str> = line.strip_prefix("a=candidate:")?.split(' ').collect();
            let is_udp = words.get(2)?.eq_ignore_ascii_case("udp");
            is_udp.then(|| format!("{}:{}", words[4], words[5]).parse().ok())?
        })
        .filter(SocketAddr::is_ipv4)
        .collect();
    all.iter().find(|address| address.ip().is_loopback()).or(all.first()).copied()
}
