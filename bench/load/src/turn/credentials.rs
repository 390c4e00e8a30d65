//! Long-term credentials (RFC 8489 §9.2) of the user that every server is given: `bench`, password `bench`.

use crate::md5::md5;
use crate::stun;

const USERNAME: u16 = 0x0006;
const REALM: u16 = 0x0014;
const NONCE: u16 = 0x0015;

/// What a server asked for, and the key that answers it.
pub struct Credentials {
    realm: Vec<u8>,
    nonce: Vec<u8>,
    key: [u8; 16],
}

impl Credentials {
    /// Those that a challenge asks for; `None` if it is not one.
    pub fn of(challenge: &[u8]) -> Option<Credentials> {
        let realm = stun::find(challenge, REALM)?.to_vec();
        let nonce = stun::find(challenge, NONCE)?.to_vec();
        let key = md5(&[b"bench:", realm.as_slice(), b":bench"].concat());
        Some(Credentials { realm, nonce, key })
    }

    /// The request with what proves it.
    pub fn prove(&self, mut request: Vec<u8>) -> Vec<u8> {
        stun::attribute(&mut request, USERNAME, b"bench");
        stun::attribute(&mut request, REALM, &self.realm);
        stun::attribute(&mut request, NONCE, &self.nonce);
        stun::sign(&mut request, &self.key);
        request
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_nonce_of_a_challenge_and_signs_with_it() {
        let mut challenge = stun::header([1, 0x13], &[7; 12]);
        assert!(Credentials::of(&challenge).is_none());
        stun::attribute(&mut challenge, REALM, b"bench");
        stun::attribute(&mut challenge, NONCE, b"once");
        let credentials = Credentials::of(&challenge).unwrap();
        let proved = credentials.prove(stun::header([0, 3], &[7; 12]));
        assert_eq!(stun::find(&proved, NONCE), Some(&b"once"[..]));
        assert_eq!(stun::find(&proved, 0x0008).map(<[u8]>::len), Some(20));
    }
}
