//! Signatures as `ssh-keygen -Y sign` makes them, checked as `ssh-keygen -Y verify` does: an SSHSIG over a message, in a
//! namespace, by a key that an `allowed_signers` file grants to a principal. For review notes and attestations.
//!
//! Format: OpenSSH's PROTOCOL.sshsig; keys and signatures: RFC 4253, 5656, 8332, 8709, PROTOCOL.u2f. Allowed signers: the
//! ALLOWED SIGNERS section of ssh-keygen(1). Not read: certificates, P-521 keys, DSA. Values only: no files, no clock.

use base64::Engine as _;
use ring::{digest, signature};

use super::clock::Timestamp;

mod sign;

pub use sign::Ephemeral;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SshSigError {
    #[error("not an SSH signature: {0}")]
    Malformed(&'static str),
    #[error("{0} is not supported")]
    Unsupported(String),
    #[error("signed for \"{found}\", not for \"{wanted}\"")]
    Namespace { found: String, wanted: String },
    #[error("the signature does not fit the message")]
    Wrong,
}

/// A public key in its wire form; equal keys have equal bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey(Vec<u8>);

impl PublicKey {
    /// `ssh-ed25519 AAAA… comment`, or the two first words of it.
    pub fn parse(line: &str) -> Option<PublicKey> {
        let mut words = line.split_whitespace();
        let (kind, encoded) = (words.next()?, words.next()?);
        let blob = base64::engine::general_purpose::STANDARD.decode(encoded).ok()?;
        let key = PublicKey(blob);
        (key.kind() == Some(kind)).then_some(key)
    }
    /// `ssh-ed25519`, `ecdsa-sha2-nistp256`, …
    pub fn kind(&self) -> Option<&str> {
        std::str::from_utf8(Reader(&self.0).string().ok()?).ok()
    }
    /// As a line of a `.pub` file, without comment.
    pub fn line(&self) -> String {
        let packed = base64::engine::general_purpose::STANDARD.encode(&self.0);
        format!("{} {packed}", self.kind().unwrap_or_default())
    }
    /// `SHA256:…`, as ssh-keygen prints it.
    pub fn fingerprint(&self) -> String {
        let hash = digest::digest(&digest::SHA256, &self.0);
        format!("SHA256:{}", base64::engine::general_purpose::STANDARD_NO_PAD.encode(hash))
    }
}

impl std::fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.fingerprint())
    }
}

/// One armoured signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshSignature {
    pub key: PublicKey,
    pub namespace: String,
    reserved: Vec<u8>,
    hash: String,
    /// Algorithm, blob and, for hardware keys, flags and counter.
    signature: Vec<u8>,
}

pub const BEGIN: &str = "-----BEGIN SSH SIGNATURE-----";
pub const END: &str = "-----END SSH SIGNATURE-----";
/// An RSA-16384 signature with its key has some 6 KiB of text.
const ARMOUR_BYTES_MAX: usize = 16 * 1024;
const MAGIC: &[u8] = b"SSHSIG";

/// The bytes of `text` from BEGIN to END.
pub fn parse(text: &str) -> Result<SshSignature, SshSigError> {
    let (_, rest) = text.split_once(BEGIN).ok_or(SshSigError::Malformed("no BEGIN line"))?;
    let (body, _) = rest.split_once(END).ok_or(SshSigError::Malformed("no END line"))?;
    if body.len() > ARMOUR_BYTES_MAX {
        return Err(SshSigError::Malformed("too long"));
    }
    let packed: String = body.chars().filter(|c| !c.is_whitespace()).collect();
    let blob = base64::engine::general_purpose::STANDARD
        .decode(packed)
        .map_err(|_| SshSigError::Malformed("not base64 inside"))?;
    let mut reader = Reader(&blob);
    if reader.take(MAGIC.len())? != MAGIC {
        return Err(SshSigError::Malformed("no SSHSIG inside"));
    }
    if reader.number()? != 1 {
        return Err(SshSigError::Unsupported("this version of SSHSIG".into()));
    }
    let key = PublicKey(reader.string()?.to_vec());
    let namespace = reader.text()?;
    let reserved = reader.string()?.to_vec();
    let hash = reader.text()?;
    let signature = reader.string()?.to_vec();
    if !reader.0.is_empty() || namespace.is_empty() {
        return Err(SshSigError::Malformed("bytes too many, or no namespace"));
    }
    Ok(SshSignature { key, namespace, reserved, hash, signature })
}

impl SshSignature {
    /// Was exactly this message signed, for this namespace, by the key that the signature carries? Whose key that is says
    /// [`AllowedSigners`].
    pub fn verify(&self, namespace: &str, message: &[u8]) -> Result<(), SshSigError> {
        if self.namespace != namespace {
            return Err(SshSigError::Namespace { found: self.namespace.clone(), wanted: namespace.into() });
        }
        let algorithm = match self.hash.as_str() {
            "sha256" => &digest::SHA256,
            "sha512" => &digest::SHA512,
            other => return Err(SshSigError::Unsupported(format!("hash {other}"))),
        };
        let mut signed = MAGIC.to_vec();
        for part in [self.namespace.as_bytes(), &self.reserved, self.hash.as_bytes()] {
            put(&mut signed, part);
        }
        put(&mut signed, digest::digest(algorithm, message).as_ref());
        self.check(&signed)
    }

    fn check(&self, signed: &[u8]) -> Result<(), SshSigError> {
        let mut key = Reader(&self.key.0);
        let mut sig = Reader(&self.signature);
        let (kind, algorithm) = (key.text()?, sig.text()?);
        let blob = sig.string()?;
        let verify =
            |how: &'static dyn signature::VerificationAlgorithm, public: &[u8], message: &[u8], blob: &[u8]| {
                signature::UnparsedPublicKey::new(how, public).verify(message, blob).map_err(|_| SshSigError::Wrong)
            };
        match (kind.as_str(), algorithm.as_str()) {
            ("ssh-ed25519", "ssh-ed25519") => verify(&signature::ED25519, key.string()?, signed, blob),
            ("ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256") => {
                key.string()?;
                verify(&signature::ECDSA_P256_SHA256_FIXED, key.string()?, signed, &fixed(blob, 32)?)
            }
            ("ecdsa-sha2-nistp384", "ecdsa-sha2-nistp384") => {
                key.string()?;
                verify(&signature::ECDSA_P384_SHA384_FIXED, key.string()?, signed, &fixed(blob, 48)?)
            }
            // SHA-1 (`ssh-rsa`) is refused, as ssh-keygen refuses it.
            ("ssh-rsa", "rsa-sha2-256" | "rsa-sha2-512") => {
                let (e, n) = (key.string()?, key.string()?);
                let (e, n) = (strip(e), strip(n));
                let public = signature::RsaPublicKeyComponents { n, e };
                let how = match algorithm.as_str() {
                    "rsa-sha2-256" => &signature::RSA_PKCS1_2048_8192_SHA256,
                    _ => &signature::RSA_PKCS1_2048_8192_SHA512,
                };
                // Some signers leave out leading zeros.
                let length = n.len();
                let mut padded = vec![0; length.saturating_sub(blob.len())];
                padded.extend_from_slice(blob);
                public.verify(how, signed, &padded).map_err(|_| SshSigError::Wrong)
            }
            ("sk-ssh-ed25519@openssh.com", "sk-ssh-ed25519@openssh.com") => {
                let public = key.string()?;
                let message = self.of_hardware(key.string()?, signed, &mut sig)?;
                verify(&signature::ED25519, public, &message, blob)
            }
            ("sk-ecdsa-sha2-nistp256@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com") => {
                key.string()?;
                let public = key.string()?;
                let message = self.of_hardware(key.string()?, signed, &mut sig)?;
                verify(&signature::ECDSA_P256_SHA256_FIXED, public, &message, &fixed(blob, 32)?)
            }
            (kind, algorithm) => Err(SshSigError::Unsupported(format!("{algorithm} by a key of kind {kind}"))),
        }
    }

    /// What a hardware key signs: hashes of application and message around flags and counter (PROTOCOL.u2f).
    fn of_hardware(&self, application: &[u8], signed: &[u8], sig: &mut Reader<'_>) -> Result<Vec<u8>, SshSigError> {
        let flags = sig.take(1)?[0];
        let counter = sig.take(4)?;
        // Bit 0: somebody touched the key. ssh-keygen demands it unless the signer is marked otherwise.
        if flags & 1 == 0 {
            return Err(SshSigError::Wrong);
        }
        let mut out = digest::digest(&digest::SHA256, application).as_ref().to_vec();
        out.push(flags);
        out.extend_from_slice(counter);
        out.extend_from_slice(digest::digest(&digest::SHA256, signed).as_ref());
        Ok(out)
    }
}

/// Two numbers of SSH's kind as the fixed halves that ECDSA verification takes.
fn fixed(blob: &[u8], size: usize) -> Result<Vec<u8>, SshSigError> {
    let mut reader = Reader(blob);
    let mut out = Vec::with_capacity(2 * size);
    for _ in 0..2 {
        let number = strip(reader.string()?);
        if number.len() > size {
            return Err(SshSigError::Wrong);
        }
        out.resize(out.len() + size - number.len(), 0);
        out.extend_from_slice(number);
    }
    Ok(out)
}

/// Without the zeros that keep a number positive.
fn strip(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|b| **b == 0).count();
    &number[zeros..]
}

fn put(out: &mut Vec<u8>, part: &[u8]) {
    out.extend_from_slice(&(part.len() as u32).to_be_bytes());
    out.extend_from_slice(part);
}

/// SSH's wire encoding (RFC 4251, 5).
struct Reader<'b>(&'b [u8]);

impl<'b> Reader<'b> {
    fn take(&mut self, n: usize) -> Result<&'b [u8], SshSigError> {
        let (head, rest) = self.0.split_at_checked(n).ok_or(SshSigError::Malformed("it ends too early"))?;
        self.0 = rest;
        Ok(head)
    }
    fn number(&mut self) -> Result<u32, SshSigError> {
        let bytes = self.take(4)?;
        Ok(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }
    fn string(&mut self) -> Result<&'b [u8], SshSigError> {
        let length = self.number()? as usize;
        self.take(length)
    }
    fn text(&mut self) -> Result<String, SshSigError> {
        let bytes = self.string()?;
        let text = std::str::from_utf8(bytes).map_err(|_| SshSigError::Malformed("a name that is no text"))?;
        Ok(text.to_string())
    }
}

/// An `allowed_signers` file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowedSigners {
    lines: Vec<Signer>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Signer {
    /// Patterns; `!` in front excludes.
    principals: Vec<String>,
    /// `None`: any.
    namespaces: Option<Vec<String>>,
    after: Option<Timestamp>,
    before: Option<Timestamp>,
    key: PublicKey,
}

/// A house has fewer signers.
const SIGNERS_MAX: usize = 10_000;

impl AllowedSigners {
    /// Lines that cannot be read are given back by number (from 1) with what is wrong: they allow nobody.
    pub fn parse(text: &str) -> (AllowedSigners, Vec<(u32, &'static str)>) {
        let (mut out, mut bad) = (AllowedSigners::default(), Vec::new());
        for (index, line) in text.lines().enumerate().take(SIGNERS_MAX) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            match signer(line) {
                Ok(signer) => out.lines.push(signer),
                Err(why) => bad.push((index as u32 + 1, why)),
            }
        }
        (out, bad)
    }

    /// Does any line hold this key, for whatever name, namespace and time?
    pub fn knows(&self, key: &PublicKey) -> bool {
        self.lines.iter().any(|s| s.key == *key)
    }

    /// Whether the key may sign as `identity` in `namespace` at `at`.
    pub fn allows(&self, identity: &str, key: &PublicKey, namespace: &str, at: Timestamp) -> bool {
        self.granted(key, namespace, at).any(|s| matches_list(&s.principals, identity))
    }

    /// The names under which the key may sign, wildcards left out.
    pub fn principals(&self, key: &PublicKey, namespace: &str, at: Timestamp) -> Vec<String> {
        let plain = |p: &&String| !p.starts_with('!') && !p.contains(['*', '?']);
        self.granted(key, namespace, at).flat_map(|s| s.principals.iter().filter(plain).cloned()).collect()
    }

    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    fn granted<'a>(
        &'a self,
        key: &'a PublicKey,
        namespace: &'a str,
        at: Timestamp,
    ) -> impl Iterator<Item = &'a Signer> {
        self.lines.iter().filter(move |s| {
            s.key == *key
                && s.namespaces.as_ref().is_none_or(|n| matches_list(n, namespace))
                && s.after.is_none_or(|after| at >= after)
                && s.before.is_none_or(|before| at < before)
        })
    }
}

/// `principals [options] kind key [comment]`
fn signer(line: &str) -> Result<Signer, &'static str> {
    const SHAPE: &str = "not `names [options] key`";
    let (principals, rest) = word(line).ok_or(SHAPE)?;
    let principals: Vec<String> = principals.split(',').filter(|p| !p.is_empty()).map(str::to_string).collect();
    let (mut namespaces, mut after, mut before) = (None, None, None);
    let mut rest = rest.trim_start();
    let key = loop {
        if let Some(key) = PublicKey::parse(rest) {
            break key;
        }
        let (options, tail) = word(rest).ok_or("there is no key that can be read")?;
        for option in split_options(&options) {
            let (name, value) = option.split_once('=').unwrap_or((&option, ""));
            let when = |value| time(value).ok_or("a time is YYYYMMDD[HHMM[SS]]").map(Some);
            match name.to_ascii_lowercase().as_str() {
                "namespaces" => namespaces = Some(value.split(',').map(str::to_string).collect()),
                "valid-after" => after = when(value)?,
                "valid-before" => before = when(value)?,
                "cert-authority" => return Err("certificates are not supported: list each person's own key"),
                _ => return Err("an option that is not known, or a key that cannot be read"),
            }
        }
        rest = tail.trim_start();
    };
    if principals.is_empty() {
        return Err(SHAPE);
    }
    Ok(Signer { principals, namespaces, after, before, key })
}

/// The first word, in which quotes may hold blanks; the quotes are dropped.
fn word(text: &str) -> Option<(String, &str)> {
    let (mut out, mut quoted) = (String::new(), false);
    for (at, c) in text.char_indices() {
        match c {
            '"' => quoted = !quoted,
            c if c.is_whitespace() && !quoted => return Some((out, &text[at..])),
            // A comma inside quotes belongs to the value, one outside parts options.
            ',' if quoted => out.push('\u{1f}'),
            c => out.push(c),
        }
    }
    (!out.is_empty() && !quoted).then_some((out, ""))
}

fn split_options(options: &str) -> Vec<String> {
    options.split(',').map(|o| o.replace('\u{1f}', ",")).filter(|o| !o.is_empty()).collect()
}

/// `YYYYMMDD[HHMM[SS]]`, with or without `Z`. Read as UTC: what is built must not depend on the builder's time zone.
fn time(text: &str) -> Option<Timestamp> {
    let digits = text.trim_end_matches('Z');
    if !digits.bytes().all(|b| b.is_ascii_digit()) || !matches!(digits.len(), 8 | 12 | 14) {
        return None;
    }
    let part = |range: std::ops::Range<usize>| digits.get(range).unwrap_or("00");
    let date = format!("{}-{}-{}", part(0..4), part(4..6), part(6..8));
    Timestamp::parse(&format!("{date}T{}:{}:{}Z", part(8..10), part(10..12), part(12..14)))
}

/// ssh's pattern lists: one must match, none with `!` may.
fn matches_list(patterns: &[String], text: &str) -> bool {
    let mut any = false;
    for pattern in patterns {
        match pattern.strip_prefix('!') {
            Some(not) if glob(not.as_bytes(), text.as_bytes()) => return false,
            Some(_) => {}
            None => any |= glob(pattern.as_bytes(), text.as_bytes()),
        }
    }
    any
}

/// `*` and `?`, in time linear in both for each star.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        if p < pattern.len() && (pattern[p] == b'?' || (pattern[p] == text[t] && pattern[p] != b'*')) {
            (p, t) = (p + 1, t + 1);
        } else if p < pattern.len() && pattern[p] == b'*' {
            star = Some((p, t));
            p += 1;
        } else if let Some((at, from)) = star {
            star = Some((at, from + 1));
            (p, t) = (at + 1, from + 1);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|b| *b == b'*')
}

#[cfg(test)]
mod tests;
