//! As much HTTP/1.1 as an origin and its viewers need: one request per connection.

use crate::args::Result;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(10);
const MAX_BODY_BYTES: usize = 1 << 20;

pub struct Message {
    /// The request line or the status line.
    pub start: String,
    /// Of `Location`.
    pub location: Option<String>,
    pub body: String,
}

/// `http://host:port` without the scheme.
pub fn authority(url: &str) -> Result<&str> {
    let text = url.strip_prefix("http://").ok_or(format!("{url}: only http"))?;
    Ok(text.trim_end_matches('/'))
}

pub fn connect(authority: &str) -> Result<TcpStream> {
    ready(TcpStream::connect(authority).map_err(|error| format!("{authority}: {error}"))?)
}

/// With the limits of every connection here.
pub fn ready(stream: TcpStream) -> Result<TcpStream> {
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Posts a body; an answer other than 2xx is an error.
pub fn post(authority: &str, path: &str, kind: &str, token: Option<&str>, body: &str) -> Result<String> {
    let mut stream = connect(authority)?;
    let bearer = token.map_or(String::new(), |token| format!("Authorization: Bearer {token}\r\n"));
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nHost: {authority}\r\nContent-Type: {kind}\r\n{bearer}Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )?;
    let answer = read_message(&mut BufReader::new(stream))?;
    match answer.start.split(' ').nth(1) {
        Some(status) if status.starts_with('2') => Ok(answer.body),
        _ => Err(format!("POST {path}: {} {}", answer.start, answer.body).into()),
    }
}

/// Registers this process as an SRS origin; the ports are what it listens on.
pub fn register(url: &str, token: Option<&str>, ports: &[(&str, u16)]) -> Result<()> {
    let mut lists: Vec<String> =
        ports.iter().map(|(name, port)| format!("\"{name}\":[\"{port}\"]")).collect();
    if !ports.iter().any(|(name, _)| *name == "rtmp") {
        lists.push("\"rtmp\":[\"1\"]".into());
    }
    let body = format!(
        "{{\"device_id\":\"load\",\"ip\":\"127.0.0.1\",\"server\":\"load\",\"service\":\"load\",\"pid\":\"{}\",{}}}",
        std::process::id(),
        lists.join(",")
    );
    post(authority(url)?, "/api/v1/srs/register", "application/json", token, &body).map(drop)
}

/// Head and body of a message whose length is given by Content-Length, else by the end of the stream.
pub fn read_message(stream: &mut BufReader<TcpStream>) -> Result<Message> {
    let start = read_line(stream)?;
    let mut length = if start.starts_with("HTTP/") { None } else { Some(0) };
    let mut location = None;
    loop {
        let line = read_line(stream)?;
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':') {
            if name.eq_ignore_ascii_case("content-length") {
                length = Some(value.trim().parse::<usize>()?.min(MAX_BODY_BYTES));
            }
            if name.eq_ignore_ascii_case("location") {
                location = Some(value.trim().to_string());
            }
        }
    }
    let mut body = Vec::new();
    match length {
        Some(length) => {
            body.resize(length, 0);
            stream.read_exact(&mut body)?;
        }
        None => drop(stream.take(MAX_BODY_BYTES as u64).read_to_end(&mut body)?),
    }
    Ok(Message { start, location, body: String::from_utf8(body)? })
}

/// Only the head, for a body that does not end.
pub fn read_head(stream: &mut BufReader<TcpStream>) -> Result<String> {
    let start = read_line(stream)?;
    while !read_line(stream)?.is_empty() {}
    Ok(start)
}

fn read_line(stream: &mut BufReader<TcpStream>) -> Result<String> {
    let mut line = String::new();
    if stream.take(16_384).read_line(&mut line)? == 0 {
        return Err("the connection ended in the head".into());
    }
    Ok(line.trim_end().to_string())
}
