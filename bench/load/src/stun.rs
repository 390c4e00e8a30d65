//! Binding requests and answers as ICE sends them (RFC 8489, RFC 8445).

use crate::sha1::hmac_sha1;
use std::net::{IpAddr, SocketAddr};

const MAGIC_COOKIE: u32 = 0x2112_a442;
const USERNAME: u16 = 0x0006;
const MESSAGE_INTEGRITY: u16 = 0x0008;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
const PRIORITY: u16 = 0x0024;
const FINGERPRINT: u16 = 0x8028;
const ICE_CONTROLLING: u16 = 0x802a;

pub const HEADER_BYTES: usize = 20;
pub const BINDING_REQUEST: [u8; 2] = [0, 1];
pub const BINDING_SUCCESS: [u8; 2] = [1, 1];

pub fn binding_request(transaction: u32, username: &str, password: &str) -> Vec<u8> {
    let mut id = *b"load........";
    id[8..].copy_from_slice(&transaction.to_be_bytes());
    let mut message = header(BINDING_REQUEST, &id);
    attribute(&mut message, USERNAME, username.as_bytes());
    attribute(&mut message, PRIORITY, &0x6e00_1effu32.to_be_bytes());
    attribute(&mut message, ICE_CONTROLLING, &[1; 8]);
    seal(message, password)
}

pub fn binding_success(request: &[u8], from: SocketAddr, password: &str) -> Vec<u8> {
    let mut message = header(BINDING_SUCCESS, &request[8..20]);
    let IpAddr::V4(ip) = from.ip() else { unreachable!("all sockets are IPv4") };
    let mut mapped = vec![0, 1];
    mapped.extend_from_slice(&(from.port() ^ (MAGIC_COOKIE >> 16) as u16).to_be_bytes());
    mapped.extend_from_slice(&(u32::from(ip) ^ MAGIC_COOKIE).to_be_bytes());
    attribute(&mut message, XOR_MAPPED_ADDRESS, &mapped);
    seal(message, password)
}

/// The USERNAME of a message, if it is one with a name.
pub fn username(message: &[u8]) -> Option<&str> {
    let mut at = 20;
    while let Some(head) = message.get(at..at + 4) {
        let length = u16::from_be_bytes([head[2], head[3]]) as usize;
        if u16::from_be_bytes([head[0], head[1]]) == USERNAME {
            return std::str::from_utf8(message.get(at + 4..at + 4 + length)?).ok();
        }
        at += 4 + length.div_ceil(4) * 4;
    }
    None
}

fn header(kind: [u8; 2], transaction: &[u8]) -> Vec<u8> {
    let mut message = vec![kind[0], kind[1], 0, 0];
    message.extend_from_slice(&MAGIC_COOKIE.to_be_bytes());
    message.extend_from_slice(transaction);
    message
}

fn attribute(message: &mut Vec<u8>, kind: u16, value: &[u8]) {
    message.extend_from_slice(&kind.to_be_bytes());
    message.extend_from_slice(&(value.len() as u16).to_be_bytes());
    message.extend_from_slice(value);
    message.resize(message.len().div_ceil(4) * 4, 0);
    set_length(message, 0);
}

/// The length field, as it is when so many bytes are still to come.
fn set_length(message: &mut [u8], to_come: usize) {
    let length = (message.len() - 20 + to_come) as u16;
    message[2..4].copy_from_slice(&length.to_be_bytes());
}

/// MESSAGE-INTEGRITY and FINGERPRINT; each is computed with a length field that includes itself.
fn seal(mut message: Vec<u8>, password: &str) -> Vec<u8> {
    set_length(&mut message, 24);
    let integrity = hmac_sha1(password.as_bytes(), &message);
    attribute(&mut message, MESSAGE_INTEGRITY, &integrity);
    set_length(&mut message, 8);
    let fingerprint = crc32(&message) ^ 0x5354_554e;
    attribute(&mut message, FINGERPRINT, &fingerprint.to_be_bytes());
    message
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |mut crc, byte| {
        crc ^= *byte as u32;
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
        }
        crc
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_its_own_username() {
        let request = binding_request(7, "origin:client", "password");
        assert_eq!(username(&request), Some("origin:client"));
        assert_eq!(request.len(), 20 + u16::from_be_bytes([request[2], request[3]]) as usize);
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }
}
