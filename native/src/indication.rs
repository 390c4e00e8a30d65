//! Indications of TURN, in which clients without a channel have their data (RFC 8656 §11).

use crate::address::{Address, Family};

const STUN_HEADER_BYTES: usize = 20;
const ATTRIBUTE_HEADER_BYTES: usize = 4;
/// Bytes 4 to 7 of every STUN message. With the transaction id behind it, it masks addresses (RFC 8489 §14.2).
const MAGIC_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
/// What the length field of a STUN message can say, in whole words.
const MAX_ATTRIBUTES_BYTES: usize = 0xfffc;

const SEND_INDICATION: [u8; 2] = [0x00, 0x16];
const DATA_INDICATION: [u8; 2] = [0x00, 0x17];
const XOR_PEER_ADDRESS: u16 = 0x0012;
const DATA: u16 = 0x0013;
/// A receiver may pass over attributes from here on.
const FIRST_OPTIONAL: u16 = 0x8000;

pub type TransactionId = [u8; 12];

/// A Send indication that says nothing but which peer is to get which data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SendIndication<'bytes> {
    pub peer: Address,
    pub data: &'bytes [u8],
}

impl SendIndication<'_> {
    /// `None` for everything else, and for one that says more that must be understood, or says it twice.
    pub fn parse(bytes: &[u8]) -> Option<SendIndication<'_>> {
        let (header, mut rest) = bytes.split_first_chunk::<STUN_HEADER_BYTES>()?;
        let length = usize::from(u16::from_be_bytes([header[2], header[3]]));
        if header[..2] != SEND_INDICATION
            || header[4..8] != MAGIC_COOKIE
            || length != rest.len()
            || length % 4 != 0
        {
            return None;
        }
        let (mut peer, mut data) = (None, None);
        while let Some((&[high, low, long, short], behind)) =
            rest.split_first_chunk::<ATTRIBUTE_HEADER_BYTES>()
        {
            let length = usize::from(u16::from_be_bytes([long, short]));
            let value = behind.get(..length)?;
            match u16::from_be_bytes([high, low]) {
                XOR_PEER_ADDRESS if peer.is_none() => peer = Some(unmask(value, &header[4..])?),
                DATA if data.is_none() => data = Some(value),
                ..FIRST_OPTIONAL => return None,
                _ => {}
            }
            rest = behind.get(length.next_multiple_of(4)..)?;
        }
        Some(SendIndication { peer: peer?, data: data? })
    }
}

/// Bytes that `write_data_header` needs at most.
pub const MAX_DATA_HEADER_BYTES: usize = STUN_HEADER_BYTES + 2 * ATTRIBUTE_HEADER_BYTES + 20;

/// Writes what makes so many bytes that follow it a Data indication of a peer: says how many bytes it takes, and how many zeros
/// are to follow the data. `None` when the message would be too long.
pub fn write_data_header(
    room: &mut [u8; MAX_DATA_HEADER_BYTES],
    peer: &Address,
    id: TransactionId,
    data_bytes: usize,
) -> Option<(usize, usize)> {
    let (family, address_bytes) = match peer.family {
        Family::V4 => (1, 4),
        Family::V6 => (2, 16),
    };
    let value_bytes = 4 + address_bytes;
    let data_at = STUN_HEADER_BYTES + ATTRIBUTE_HEADER_BYTES + value_bytes;
    let header_bytes = data_at + ATTRIBUTE_HEADER_BYTES;
    let padding = data_bytes.next_multiple_of(4) - data_bytes;
    let attributes_bytes = header_bytes - STUN_HEADER_BYTES + data_bytes + padding;
    if attributes_bytes > MAX_ATTRIBUTES_BYTES {
        return None;
    }
    room[..2].copy_from_slice(&DATA_INDICATION);
    room[2..4].copy_from_slice(&(attributes_bytes as u16).to_be_bytes());
    room[4..8].copy_from_slice(&MAGIC_COOKIE);
    room[8..20].copy_from_slice(&id);
    let (header, attributes) = room.split_at_mut(STUN_HEADER_BYTES);
    attributes[..2].copy_from_slice(&XOR_PEER_ADDRESS.to_be_bytes());
    attributes[2..4].copy_from_slice(&(value_bytes as u16).to_be_bytes());
    attributes[4..6].copy_from_slice(&[0, family]);
    attributes[6..8].copy_from_slice(&peer.port.to_be_bytes());
    attributes[8..8 + address_bytes].copy_from_slice(&peer.ip[..address_bytes]);
    mask(&mut attributes[6..8], &header[4..]);
    mask(&mut attributes[8..8 + address_bytes], &header[4..]);
    room[data_at..data_at + 2].copy_from_slice(&DATA.to_be_bytes());
    room[data_at + 2..header_bytes].copy_from_slice(&(data_bytes as u16).to_be_bytes());
    Some((header_bytes, padding))
}

/// Reads XOR-PEER-ADDRESS; `mask` is the cookie and the transaction id.
fn unmask(value: &[u8], with: &[u8]) -> Option<Address> {
    let family = match (value.get(1)?, value.len()) {
        (1, 8) => Family::V4,
        (2, 20) => Family::V6,
        _ => return None,
    };
    let (mut port, mut ip) = ([value[2], value[3]], [0; 16]);
    let address = &value[4..];
    ip[..address.len()].copy_from_slice(address);
    mask(&mut port, with);
    mask(&mut ip[..address.len()], with);
    Some(Address { family, port: u16::from_be_bytes(port), scope: 0, ip })
}

fn mask(bytes: &mut [u8], with: &[u8]) {
    bytes.iter_mut().zip(with).for_each(|(byte, with)| *byte ^= with);
}

/// Transaction ids that differ (RFC 8489 §6), from a random one on.
pub struct TransactionIds(u128);

impl TransactionIds {
    pub fn new() -> TransactionIds {
        use std::hash::{BuildHasher, RandomState};
        let random = || u128::from(RandomState::new().hash_one(0));
        TransactionIds(random() << 64 | random())
    }

    pub fn next(&mut self) -> TransactionId {
        self.0 = self.0.wrapping_add(1);
        let [_, _, _, _, id @ ..] = self.0.to_be_bytes();
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: TransactionId = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];

    fn address(ip: &str) -> Address {
        Address::new(ip.parse().unwrap(), 50_000)
    }

    /// A Send indication: what a Data indication is, but for its type.
    fn send(peer: &Address, data: &[u8]) -> Vec<u8> {
        let mut room = [0; MAX_DATA_HEADER_BYTES];
        let (header, padding) = write_data_header(&mut room, peer, ID, data.len()).unwrap();
        let mut bytes = [&room[..header], data, &[0; 3][..padding]].concat();
        assert_eq!(bytes[..2], DATA_INDICATION);
        bytes[..2].copy_from_slice(&SEND_INDICATION);
        bytes
    }

    fn with(mut bytes: Vec<u8>, kind: u16, value: &[u8]) -> Vec<u8> {
        bytes.extend(kind.to_be_bytes());
        bytes.extend((value.len() as u16).to_be_bytes());
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        let length = (bytes.len() - STUN_HEADER_BYTES) as u16;
        bytes[2..4].copy_from_slice(&length.to_be_bytes());
        bytes
    }

    #[test]
    fn writes_what_the_rfc_says() {
        let mut room = [0; MAX_DATA_HEADER_BYTES];
        // 192.0.2.1 port 32853 as in RFC 5769 §2.2, whose transaction id it is too.
        let id = [0xb7, 0xe7, 0xa7, 0x01, 0xbc, 0x34, 0xd6, 0x86, 0xfa, 0x87, 0xdf, 0xae];
        let v4 = Address::new("192.0.2.1".parse().unwrap(), 32_853);
        assert_eq!(write_data_header(&mut room, &v4, id, 5), Some((36, 3)));
        assert_eq!(room[..8], [0x00, 0x17, 0, 24, 0x21, 0x12, 0xa4, 0x42]);
        assert_eq!(room[8..20], id);
        assert_eq!(room[20..32], [0, 0x12, 0, 8, 0, 1, 0xa1, 0x47, 0xe1, 0x12, 0xa6, 0x43]);
        assert_eq!(room[32..36], [0, 0x13, 0, 5]);
        // The same port, and the address of §2.3.
        let v6 = Address::new("2001:db8:1234:5678:11:2233:4455:6677".parse().unwrap(), 32_853);
        assert_eq!(write_data_header(&mut room, &v6, id, 4), Some((48, 0)));
        assert_eq!(room[20..28], [0, 0x12, 0, 20, 0, 2, 0xa1, 0x47]);
        let masked =
            [1, 0x13, 0xa9, 0xfa, 0xa5, 0xd3, 0xf1, 0x79, 0xbc, 0x25, 0xf4, 0xb5, 0xbe, 0xd2, 0xb9, 0xd9];
        assert_eq!(room[28..44], masked);
        assert_eq!(room[44..48], [0, 0x13, 0, 4]);
    }

    #[test]
    fn writes_none_that_the_length_field_cannot_say() {
        let mut room = [0; MAX_DATA_HEADER_BYTES];
        for (ip, most) in [("192.0.2.1", 65_516), ("::1", 65_504)] {
            assert!(write_data_header(&mut room, &address(ip), ID, most).is_some());
            assert!(write_data_header(&mut room, &address(ip), ID, most + 1).is_none());
        }
    }

    #[test]
    fn reads_data_of_any_length() {
        for ip in ["192.0.2.1", "2001:db8::1"] {
            let peer = address(ip);
            for length in [0, 1, 2, 3, 4, 5, 1200, 65_504] {
                let data = vec![7; length];
                let bytes = send(&peer, &data);
                assert_eq!(SendIndication::parse(&bytes), Some(SendIndication { peer, data: &data }));
            }
        }
    }

    #[test]
    fn takes_attributes_in_any_order_and_passes_over_optional_ones() {
        let peer = address("192.0.2.1");
        let bytes = send(&peer, b"data");
        let header = bytes[..STUN_HEADER_BYTES].to_vec();
        let mut reversed = with(header, 0x8022, b"software");
        reversed = with(reversed, DATA, b"data!");
        reversed = with(reversed, 0x8022, b"");
        reversed = with(reversed, XOR_PEER_ADDRESS, &bytes[24..32]);
        reversed = with(reversed, 0x8028, &[0; 4]);
        assert_eq!(SendIndication::parse(&reversed), Some(SendIndication { peer, data: b"data!" }));
    }

    #[test]
    fn leaves_what_is_odd_to_others() {
        let bytes = send(&address("192.0.2.1"), b"abcdefgh");
        assert!(SendIndication::parse(&bytes).is_some());
        // Each of those bytes counts: type, length, cookie, both attributes' types and lengths, the family.
        for at in [0, 1, 2, 3, 4, 5, 6, 7, 20, 21, 22, 23, 25, 32, 33, 34] {
            let mut changed = bytes.clone();
            changed[at] ^= 0x04;
            assert_eq!(SendIndication::parse(&changed), None, "byte {at}");
        }
        for length in 0..bytes.len() {
            assert_eq!(SendIndication::parse(&bytes[..length]), None, "{length} bytes");
        }
        let also = |kind, value: &[u8]| SendIndication::parse(&with(bytes.clone(), kind, value)).is_some();
        let dont_fragment = 0x001a;
        assert!(also(0x8000, b"") && !also(dont_fragment, b"") && !also(0x7fff, b"x"));
        assert!(!also(DATA, b"abcdefgh") && !also(XOR_PEER_ADDRESS, &bytes[24..32]));
        // Without one of the two.
        let header = bytes[..STUN_HEADER_BYTES].to_vec();
        assert_eq!(SendIndication::parse(&with(header.clone(), XOR_PEER_ADDRESS, &bytes[24..32])), None);
        assert_eq!(SendIndication::parse(&with(header, DATA, b"abcd")), None);
    }

    #[test]
    fn ids_differ() {
        let (mut one, mut other) = (TransactionIds::new(), TransactionIds::new());
        let ids: std::collections::HashSet<_> = (0..100).flat_map(|_| [one.next(), other.next()]).collect();
        assert_eq!(ids.len(), 200);
    }
}
