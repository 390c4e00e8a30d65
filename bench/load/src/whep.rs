//! WHEP signalling: the origin's side and the viewers'.

use crate::args::{Args, Result};
use crate::http;
use crate::viewer::{Viewer, PASSWORD};
use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread;

const PATH: &str = "/rtc/v1/whep/?app=live&stream=bench";

/// One session per viewer, as a browser makes it, at the gateway that `args` name.
pub fn open_sessions(args: &Args, viewers: usize, media_port: u16) -> Result<Vec<Viewer>> {
    let gateway = http::authority(args.text("gateway")?)?;
    let api = TcpListener::bind(("127.0.0.1", 0))?;
    let api_port = api.local_addr()?.port();
    thread::spawn(move || answer_offers(&api, media_port));
    let ports = [("api", api_port), ("rtc", media_port)];
    http::register(args.text("register")?, args.get("token"), &ports)?;
    (0..viewers)
        .map(|index| {
            let ufrag = format!("viewer{index:06}");
            let answer = http::post(gateway, PATH, "application/sdp", None, &sdp(&ufrag, None))?;
            let origin_ufrag = value(&answer, "a=ice-ufrag:").ok_or("an answer without ice-ufrag")?;
            let candidate = candidate(&answer).ok_or(format!("an answer without a candidate: {answer}"))?;
            Viewer::new(candidate, format!("{origin_ufrag}:{ufrag}"))
        })
        .collect()
}

/// Answers offers, each with a session of its own, and the deletes of sessions.
pub fn answer_offers(api: &TcpListener, media_port: u16) {
    for (index, stream) in api.incoming().flatten().enumerate() {
        thread::spawn(move || -> Result<()> {
            let mut reader = BufReader::new(stream);
            if http::read_message(&mut reader)?.start.starts_with("DELETE ") {
                let answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                return Ok(reader.get_mut().write_all(answer.as_bytes())?);
            }
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
pub fn sdp(ufrag: &str, media_port: Option<u16>) -> String {
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
