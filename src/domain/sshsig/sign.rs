//! Signing in memory, with a key that is made for the purpose and forgotten with it: proofs and tests. People sign with
//! `ssh-keygen`, which knows their agents, passphrases and hardware keys.

use base64::Engine as _;
use ring::digest;
use ring::signature::{Ed25519KeyPair, KeyPair as _};

use super::{BEGIN, END, MAGIC, PublicKey, put};

const KIND: &str = "ssh-ed25519";
/// As ssh-keygen breaks its lines.
const ARMOUR_COLUMNS: usize = 70;

/// An Ed25519 key that was never written anywhere.
pub struct Ephemeral(Ed25519KeyPair);

impl Ephemeral {
    /// `None`: the system gives no random numbers.
    pub fn new() -> Option<Ephemeral> {
        let document = Ed25519KeyPair::generate_pkcs8(&ring::rand::SystemRandom::new()).ok()?;
        Ed25519KeyPair::from_pkcs8(document.as_ref()).ok().map(Ephemeral)
    }

    fn blob(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put(&mut out, KIND.as_bytes());
        put(&mut out, self.0.public_key().as_ref());
        out
    }

    pub fn public(&self) -> PublicKey {
        PublicKey(self.blob())
    }

    /// The armoured signature over `message`.
    pub fn sign(&self, namespace: &str, message: &[u8]) -> String {
        let hash = "sha512";
        let mut signed = MAGIC.to_vec();
        for part in [namespace.as_bytes(), b"", hash.as_bytes()] {
            put(&mut signed, part);
        }
        put(&mut signed, digest::digest(&digest::SHA512, message).as_ref());
        let mut signature = Vec::new();
        put(&mut signature, KIND.as_bytes());
        put(&mut signature, self.0.sign(&signed).as_ref());
        let mut blob = [MAGIC, &1_u32.to_be_bytes()].concat();
        for part in [&self.blob()[..], namespace.as_bytes(), b"", hash.as_bytes(), &signature] {
            put(&mut blob, part);
        }
        let packed = base64::engine::general_purpose::STANDARD.encode(blob);
        let mut out = format!("{BEGIN}\n");
        for (i, c) in packed.chars().enumerate() {
            if i > 0 && i % ARMOUR_COLUMNS == 0 {
                out.push('\n');
            }
            out.push(c);
        }
        out + "\n" + END + "\n"
    }
}
