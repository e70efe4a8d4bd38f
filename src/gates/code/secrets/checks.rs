//! What a secret's own structure says, without asking anybody: checksums, headers, key files. Pure; a value goes in and
//! never comes out.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

pub(super) use crate::gates::infrastructure::secret_values::entropy;

pub(super) const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Is the structure right? `None`: this kind has none that can be checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Check {
    None,
    /// The last six characters are the CRC32 of those between the prefix and them, in base 62. GitHub's blog, "Behind
    /// GitHub's new authentication token formats".
    GithubCrc,
    /// `…_` and the CRC32 of what stands before it, in hex. Grafana, `glsa_`.
    GrafanaCrc,
    /// The first part decodes to a JSON header with an algorithm. RFC 7519.
    Jwt,
    /// Bech32's checksum. The age specification.
    Bech32,
    /// The first part is a number in base64. Discord's documentation, "Snowflakes".
    Snowflake,
}

impl Check {
    /// `prefix` is the part that the rule names.
    pub fn of(self, token: &str, prefix: &str) -> Option<bool> {
        match self {
            Check::None => None,
            Check::GithubCrc => Some(github(token.get(prefix.len()..)?)),
            Check::GrafanaCrc => {
                let (body, crc) = token.rsplit_once('_')?;
                Some(u32::from_str_radix(crc, 16).ok()? == crc32fast::hash(body.as_bytes()))
            }
            Check::Jwt => Some(jwt(token)),
            Check::Bech32 => Some(bech32(&token.to_ascii_lowercase())),
            Check::Snowflake => Some(
                token
                    .split('.')
                    .next()
                    .and_then(base64)
                    .is_some_and(|bytes| bytes.len() >= 17 && bytes.iter().all(u8::is_ascii_digit)),
            ),
        }
    }
}

fn github(token: &str) -> bool {
    let Some((body, sum)) = token.len().checked_sub(6).and_then(|at| token.split_at_checked(at)) else { return false };
    let digit = |b: u8| BASE62.iter().position(|known| *known == b).map(|at| at as u64);
    let sum = sum.bytes().try_fold(0u64, |sum, b| Some(sum * 62 + digit(b)?));
    sum == Some(u64::from(crc32fast::hash(body.as_bytes())))
}

fn jwt(token: &str) -> bool {
    let header = token.split('.').next().and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
    let header = header.and_then(|bytes| serde_json::from_slice::<serde_json::Value>(&bytes).ok());
    header.is_some_and(|h| h["alg"].as_str().is_some_and(|alg| !alg.eq_ignore_ascii_case("none")))
}

/// BIP 173.
fn bech32(text: &str) -> bool {
    let Some((prefix, data)) = text.rsplit_once('1') else { return false };
    let data: Option<Vec<u32>> =
        data.bytes().map(|b| BECH32.iter().position(|c| *c == b).map(|at| at as u32)).collect();
    data.is_some_and(|data| polymod(prefix, &data) == 1)
}

const BECH32: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";

fn polymod(prefix: &str, data: &[u32]) -> u32 {
    const GENERATORS: [u32; 5] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
    let high = prefix.bytes().map(|b| u32::from(b >> 5));
    let low = prefix.bytes().map(|b| u32::from(b & 31));
    high.chain([0]).chain(low).chain(data.iter().copied()).fold(1, |sum, value| {
        let (top, mixed) = (sum >> 25, ((sum & 0x1ff_ffff) << 5) ^ value);
        (0..5).filter(|i| top >> i & 1 == 1).fold(mixed, |sum, i| sum ^ GENERATORS[i])
    })
}

/// What a key file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pem {
    /// Whoever has the file has the key.
    Clear,
    /// Needs a passphrase.
    Encrypted,
    /// A header without a key: documentation, or code that looks for one.
    Nothing,
}

/// `text` begins with `-----BEGIN … PRIVATE KEY-----`. Line ends may be written as `\n`. Returns its length too.
pub(super) fn pem(text: &str) -> (Pem, usize) {
    /// Some 16 Kbit of RSA; longer is not a key.
    const BYTES_MAX: usize = 16 * 1024;
    let cut = (0..=BYTES_MAX.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let text = &text[..cut];
    let Some((label, rest)) = text.strip_prefix("-----BEGIN ").and_then(|rest| rest.split_once("-----")) else {
        return (Pem::Nothing, 0);
    };
    let Some(length) = rest.find("-----END ") else { return (Pem::Nothing, 0) };
    let body = &rest[..length];
    let whole = text.len() - rest.len() + length + "-----END -----".len() + label.len();
    let body = body.replace("\\r", "").replace("\\n", "\n").replace("\\\n", "\n");
    let encrypted = label.starts_with("ENCRYPTED") || body.contains("ENCRYPTED");
    // Headers (`Proc-Type: 4,ENCRYPTED`) end before the key; quotes and pluses of code that joins lines do not count.
    let data: String = body
        .lines()
        .filter(|line| !line.contains(": "))
        .flat_map(str::chars)
        .filter(|c| c.is_ascii_alphanumeric() || "+/".contains(*c))
        .collect();
    // An Ed25519 key in PKCS #8 has 48 bytes.
    if data.len() < 60 || entropy(&data) < 3.0 {
        return (Pem::Nothing, whole);
    }
    if encrypted || label.starts_with("OPENSSH") && openssh_encrypted(&data) {
        return (Pem::Encrypted, whole);
    }
    (Pem::Clear, whole)
}

/// OpenSSH's PROTOCOL.key: a magic word, then the cipher's name with its length.
fn openssh_encrypted(data: &str) -> bool {
    const MAGIC: &[u8] = b"openssh-key-v1\0";
    let Ok(bytes) = STANDARD_NO_PAD.decode(&data[..data.len() / 4 * 4]) else { return false };
    bytes.strip_prefix(MAGIC).is_some_and(|rest| !rest.get(4..).is_some_and(|cipher| cipher.starts_with(b"none")))
}

/// What base64 of either alphabet stands for.
pub(super) fn base64(text: &str) -> Option<Vec<u8>> {
    let plain = text.trim_end_matches('=');
    STANDARD_NO_PAD.decode(plain).or_else(|_| URL_SAFE_NO_PAD.decode(plain)).ok()
}

/// [`entropy`] of hex digits, less for digits alone: dates and numbers are not keys.
pub(super) fn hex_entropy(text: &str) -> f64 {
    let all_digits = text.len() > 1 && text.bytes().all(|b| b.is_ascii_digit());
    let penalty = if all_digits { 1.2 / (text.len() as f64).log2() } else { 0.0 };
    entropy(text) - penalty
}

/// The token of that body with the checksum that GitHub and npm give it.
#[cfg(test)]
pub(super) fn github_token(prefix: &str, body: &str) -> String {
    let mut crc = crc32fast::hash(body.as_bytes());
    let mut sum = [b'0'; 6];
    for place in sum.iter_mut().rev() {
        *place = BASE62[(crc % 62) as usize];
        crc /= 62;
    }
    format!("{prefix}{body}{}", String::from_utf8_lossy(&sum))
}

/// Thirty-two bytes in bech32, in capitals, as age writes its keys.
#[cfg(test)]
pub(super) fn age_key(values: &[u32; 52]) -> String {
    let zeros = [values.as_slice(), &[0; 6]].concat();
    let sum = polymod("age-secret-key-", &zeros) ^ 1;
    let checksum = (0..6).map(|i| sum >> (5 * (5 - i)) & 31);
    let data: String = values.iter().copied().chain(checksum).map(|v| char::from(BECH32[v as usize])).collect();
    format!("AGE-SECRET-KEY-1{}", data.to_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    #[test]
    fn checksums() {
        let good = github_token("ghp_", "zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ");
        // GitHub's own example in its documentation of the format has this checksum.
        assert!(good.ends_with("0mLq17"), "{good}");
        assert_eq!(Check::GithubCrc.of(&good, "ghp_"), Some(true));
        assert_eq!(Check::GithubCrc.of(&good.replace("zQ", "zR"), "ghp_"), Some(false));
        assert_eq!(Check::GithubCrc.of("ghp_abc", "ghp_"), Some(false));
        let body = "glsa_HOruNAb7SOiCdshU7algkrq7FDsNSLAa";
        let token = format!("{body}_{:08x}", crc32fast::hash(body.as_bytes()));
        assert_eq!(Check::GrafanaCrc.of(&token, "glsa_"), Some(true));
        assert_eq!(Check::GrafanaCrc.of(&token.replace("HO", "HP"), "glsa_"), Some(false));
        // BIP 173's valid example, and one character off.
        assert!(bech32("abcdef1qpzry9x8gf2tvdw0s3jn54khce6mua7lmqqqxw"));
        assert!(!bech32("abcdef1qpzry9x8gf2tvdw0s3jn54khce6mua7lmqqqxx"));
    }

    #[test]
    fn jwt_headers_decode() {
        let part = |json: &str| URL_SAFE_NO_PAD.encode(json);
        assert!(jwt(&format!("{}.x.y", part("{\"alg\":\"HS256\"}"))));
        assert!(!jwt(&format!("{}.x.y", part("{\"alg\":\"none\"}"))));
        assert!(!jwt("eyJabc.x.y"));
    }

    #[test]
    fn key_files() {
        let key = |label: &str, body: &str| format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n");
        let body = "MC4CAQAwBQYDK2VwBCIEIJ+DYvh6SEqVTm50DFtMDoQikTmiCqirVv9mWG9qfSnF";
        assert_eq!(pem(&key("PRIVATE KEY", body)).0, Pem::Clear);
        assert_eq!(pem(&key("PRIVATE KEY", body).replace('\n', "\\n")).0, Pem::Clear);
        assert_eq!(pem(&key("ENCRYPTED PRIVATE KEY", body)).0, Pem::Encrypted);
        let old = format!("Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\n{body}");
        assert_eq!(pem(&key("RSA PRIVATE KEY", &old)).0, Pem::Encrypted);
        let openssh = |cipher: &str| {
            let mut bytes = b"openssh-key-v1\0\0\0\0\x04".to_vec();
            bytes.extend(cipher.as_bytes());
            bytes.extend((0..60u8).map(|i| i.wrapping_mul(37)));
            key("OPENSSH PRIVATE KEY", &STANDARD.encode(bytes))
        };
        assert_eq!(pem(&openssh("none")).0, Pem::Clear);
        assert_eq!(pem(&openssh("aes256-ctr")).0, Pem::Encrypted);
        for nothing in
            ["-----BEGIN PRIVATE KEY-----", &key("PRIVATE KEY", "..."), &key("PRIVATE KEY", &"A".repeat(200))]
        {
            assert_eq!(pem(nothing).0, Pem::Nothing, "{nothing}");
        }
    }

    #[test]
    fn digits_alone_are_worth_less() {
        assert!(hex_entropy("20261122100000") < entropy("20261122100000"));
        assert_eq!(hex_entropy("2026aa"), entropy("2026aa"));
    }
}
