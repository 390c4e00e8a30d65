//! STUN messages (RFC 8489), and Binding requests and answers as ICE sends them (RFC 8445).

use crate::sha1::hmac_sha1;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

const MAGIC_COOKIE: u32 = 0x2112_a442;
const USERNAME: u16 = 0x0006;
const MESSAGE_INTEGRITY: u16 = 0x0008;
const ERROR_CODE: u16 = 0x0009;
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
    attribute(&mut message, XOR_MAPPED_ADDRESS, &xor_address(from));
    seal(message, password)
}

/// The USERNAME of a message, if it is one with a name.
pub fn username(message: &[u8]) -> Option<&str> {
    std::str::from_utf8(find(message, USERNAME)?).ok()
}

/// The value of the first attribute of this type.
pub fn find(message: &[u8], kind: u16) -> Option<&[u8]> {
    let at = offset(message, kind)?;
    let length = u16::from_be_bytes([message[at - 2], message[at - 1]]) as usize;
    message.get(at..at + length)
}

/// Where the value of the first attribute of this type begins, though it may go beyond these bytes.
pub fn offset(message: &[u8], wanted: u16) -> Option<usize> {
    let mut at = HEADER_BYTES;
    while let Some(&[kind_high, kind_low, high, low]) = message.get(at..at + 4) {
        if u16::from_be_bytes([kind_high, kind_low]) == wanted {
            return Some(at + 4);
        }
        at += 4 + (u16::from_be_bytes([high, low]) as usize).div_ceil(4) * 4;
    }
    None
}

/// The code of an error answer; its head is enough.
pub fn error_code(message: &[u8]) -> Option<u16> {
    let at = offset(message, ERROR_CODE)?;
    let &[class, number] = message.get(at + 2..at + 4)? else { return None };
    Some(u16::from(class & 7) * 100 + u16::from(number))
}

/// The value of an XOR-MAPPED-ADDRESS, an XOR-PEER-ADDRESS or the like.
pub fn xor_address(address: SocketAddr) -> [u8; 8] {
    let IpAddr::V4(ip) = address.ip() else { unreachable!("all sockets are IPv4") };
    let mut value = [0, 1, 0, 0, 0, 0, 0, 0];
    value[2..4].copy_from_slice(&(address.port() ^ (MAGIC_COOKIE >> 16) as u16).to_be_bytes());
    value[4..].copy_from_slice(&(u32::from(ip) ^ MAGIC_COOKIE).to_be_bytes());
    value
}

/// What `xor_address` says, if it is of IPv4.
pub fn address(value: &[u8]) -> Option<SocketAddr> {
    let &[_, 1, port_high, port_low, ref ip @ ..] = value else { return None };
    let ip = u32::from_be_bytes(ip.try_into().ok()?) ^ MAGIC_COOKIE;
    let port = u16::from_be_bytes([port_high, port_low]) ^ (MAGIC_COOKIE >> 16) as u16;
    Some((Ipv4Addr::from(ip), port).into())
}

pub fn header(kind: [u8; 2], transaction: &[u8]) -> Vec<u8> {
    let mut message = vec![kind[0], kind[1], 0, 0];
    message.extend_from_slice(&MAGIC_COOKIE.to_be_bytes());
    message.extend_from_slice(transaction);
    message
}

pub fn attribute(message: &mut Vec<u8>, kind: u16, value: &[u8]) {
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

/// MESSAGE-INTEGRITY, computed with a length field that includes itself.
pub fn sign(message: &mut Vec<u8>, key: &[u8]) {
    set_length(message, 24);
    let integrity = hmac_sha1(key, message);
    attribute(message, MESSAGE_INTEGRITY, &integrity);
}

/// MESSAGE-INTEGRITY and FINGERPRINT.
fn seal(mut message: Vec<u8>, password: &str) -> Vec<u8> {
    sign(&mut message, password.as_bytes());
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

    #[test]
    fn reads_the_address_it_writes() {
        let from = SocketAddr::from(([127, 0, 0, 1], 4321));
        let answer = binding_success(&binding_request(7, "a:b", "c"), from, "c");
        assert_eq!(find(&answer, XOR_MAPPED_ADDRESS).and_then(address), Some(from));
        assert_eq!(find(&answer, 0x7fff), None);
    }

    #[test]
    fn reads_the_code_of_an_error() {
        let mut refusal = header([1, 0x13], &[7; 12]);
        assert_eq!(error_code(&refusal), None);
        attribute(&mut refusal, ERROR_CODE, &[0, 0, 4, 1, b'n', b'o']);
        assert_eq!(error_code(&refusal), Some(401));
    }
}
