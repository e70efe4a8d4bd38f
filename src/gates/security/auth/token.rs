//! JSON Web Tokens (RFC 7519) as an attacker would bend one that he has: read, altered, signed with what he knows.
//! Nothing here is sent by itself; secrets are guessed offline.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::hmac;
use serde_json::{Value as Json, json};

/// The three parts of a signed token.
pub(super) struct Jwt {
    header: Json,
    payload: Json,
    parts: [String; 3],
}

/// A token that no honest server accepts.
pub(super) struct Forged {
    /// `alg-none`
    pub rule: &'static str,
    pub what: String,
    pub token: String,
}

impl Jwt {
    /// `None`: the credential is something else.
    pub(super) fn parse(token: &str) -> Option<Jwt> {
        let parts: Vec<&str> = token.split('.').collect();
        let [header, payload, signature] = parts.as_slice() else { return None };
        let object = |part: &str| -> Option<Json> {
            let value: Json = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()?;
            value.is_object().then_some(value)
        };
        let (own, claims) = (object(header)?, object(payload)?);
        own["alg"].is_string().then(|| Jwt {
            header: own,
            payload: claims,
            parts: [header.to_string(), payload.to_string(), signature.to_string()],
        })
    }

    pub(super) fn algorithm(&self) -> &str {
        self.header["alg"].as_str().unwrap_or_default()
    }

    /// What must be refused, however good the token was that it was made from (RFC 8725, 2.1 and 3.1). `public`: public keys
    /// of the service as PEM texts.
    pub(super) fn forged(&self, public: &[String]) -> Vec<Forged> {
        let mut out = Vec::new();
        let mut add = |rule, what: &str, token| out.push(Forged { rule, what: what.to_string(), token });
        let [header, payload, signature] = &self.parts;
        add(
            "forged-payload",
            "another payload under the old signature",
            format!("{header}.{}.{signature}", self.other()),
        );
        for spelling in ["none", "None", "NONE"] {
            let what = format!("no signature, alg \"{spelling}\"");
            add("alg-none", &what, format!("{}.{payload}.", self.under(spelling)));
        }
        add("empty-signature", "an empty signature", format!("{header}.{payload}."));
        if !self.algorithm().starts_with("HS") {
            for key in public {
                let head = self.under("HS256");
                let what = "signed by HMAC with the public key, alg \"HS256\"";
                add("key-confusion", what, signed(&format!("{head}.{payload}"), key.as_bytes()));
            }
        }
        out
    }

    /// The word among `words` that signs this token; offline.
    pub(super) fn weak_secret<'w>(&self, mut words: impl Iterator<Item = &'w str>) -> Option<&'w str> {
        let algorithm = match self.algorithm() {
            "HS256" => hmac::HMAC_SHA256,
            "HS384" => hmac::HMAC_SHA384,
            "HS512" => hmac::HMAC_SHA512,
            _ => return None,
        };
        let [header, payload, signature] = &self.parts;
        let (message, tag) = (format!("{header}.{payload}"), URL_SAFE_NO_PAD.decode(signature).ok()?);
        words.find(|word| {
            let key = hmac::Key::new(algorithm, word.as_bytes());
            hmac::verify(&key, message.as_bytes(), &tag).is_ok()
        })
    }

    fn under(&self, algorithm: &str) -> String {
        let mut header = self.header.clone();
        header["alg"] = json!(algorithm);
        URL_SAFE_NO_PAD.encode(header.to_string())
    }

    /// The claims with one more, so that the signature cannot fit.
    fn other(&self) -> String {
        let mut payload = self.payload.clone();
        payload["hc"] = json!("forged");
        URL_SAFE_NO_PAD.encode(payload.to_string())
    }
}

fn signed(message: &str, key: &[u8]) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag))
}

/// RSA keys of a JWK set (RFC 7517) as servers keep them: PEM of the SubjectPublicKeyInfo, with and without a last newline,
/// and certificates.
pub(super) fn public_keys(set: &Json) -> Vec<String> {
    let mut out = Vec::new();
    for key in set["keys"].as_array().into_iter().flatten().take(4) {
        let part = |name: &str| URL_SAFE_NO_PAD.decode(key[name].as_str()?).ok();
        if let (Some(n), Some(e)) = (part("n"), part("e")) {
            let text = pem("PUBLIC KEY", &spki(&n, &e));
            out.push(text.trim_end().to_string());
            out.push(text);
        }
        if let Some(Ok(certificate)) = key["x5c"][0].as_str().map(|text| STANDARD.decode(text)) {
            out.push(pem("CERTIFICATE", &certificate));
        }
    }
    out
}

/// SubjectPublicKeyInfo of an RSA key (RFC 8017, A.1.1; RFC 5280, 4.1).
fn spki(n: &[u8], e: &[u8]) -> Vec<u8> {
    /// `rsaEncryption` with its NULL.
    const RSA: [u8; 15] = [0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];
    let integer = |bytes: &[u8]| {
        let significant = &bytes[bytes.iter().take_while(|b| **b == 0).count().min(bytes.len().saturating_sub(1))..];
        let sign = significant.first().is_some_and(|b| b & 0x80 != 0);
        let value: Vec<u8> = sign.then_some(0).into_iter().chain(significant.iter().copied()).collect();
        der(0x02, &value)
    };
    let key = der(0x30, &[integer(n), integer(e)].concat());
    let bits: Vec<u8> = std::iter::once(0).chain(key).collect();
    der(0x30, &[RSA.to_vec(), der(0x03, &bits)].concat())
}

fn der(tag: u8, value: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    match value.len() {
        short if short < 0x80 => out.push(short as u8),
        long => {
            let bytes: Vec<u8> = long.to_be_bytes().into_iter().skip_while(|b| *b == 0).collect();
            out.push(0x80 | bytes.len() as u8);
            out.extend(bytes);
        }
    }
    out.extend(value);
    out
}

fn pem(label: &str, bytes: &[u8]) -> String {
    let text = STANDARD.encode(bytes);
    let mut out = format!("-----BEGIN {label}-----\n");
    for line in text.as_bytes().chunks(64) {
        out.push_str(&String::from_utf8_lossy(line));
        out.push('\n');
    }
    out.push_str(&format!("-----END {label}-----\n"));
    out
}

/// Secrets that people leave in: words of tutorials and defaults, with what people add to them, and the service's name.
pub(super) fn weak_words(service: &str) -> Vec<String> {
    const STEMS: [&str; 85] = [
        "secret",
        "Secret",
        "SECRET",
        "s3cr3t",
        "s3cret",
        "supersecret",
        "super-secret",
        "super_secret",
        "topsecret",
        "mysecret",
        "my-secret",
        "my_secret",
        "verysecret",
        "shhhh",
        "shhhhh",
        "shh",
        "secretkey",
        "secret-key",
        "secret_key",
        "SECRET_KEY",
        "secretKey",
        "jwt",
        "JWT",
        "jwtsecret",
        "jwt-secret",
        "jwt_secret",
        "JWT_SECRET",
        "jwtSecret",
        "jwtkey",
        "jwt-key",
        "jwt_key",
        "token",
        "tokensecret",
        "token-secret",
        "accesstoken",
        "access_token_secret",
        "key",
        "mykey",
        "my-key",
        "privatekey",
        "private-key",
        "private",
        "password",
        "Password",
        "passw0rd",
        "p@ssw0rd",
        "pass",
        "changeme",
        "change-me",
        "change_me",
        "changeit",
        "default",
        "test",
        "testing",
        "dev",
        "development",
        "debug",
        "demo",
        "example",
        "sample",
        "admin",
        "root",
        "user",
        "guest",
        "qwerty",
        "letmein",
        "welcome",
        "abc",
        "abcd",
        "abcdef",
        "node",
        "express",
        "flask",
        "django",
        "laravel",
        "spring",
        "hmac",
        "auth",
        "authsecret",
        "session",
        "sessionsecret",
        "keyboard cat",
        "random",
        "foo",
        "bar",
    ];
    const ENDS: [&str; 11] = ["", "1", "12", "123", "1234", "12345", "123456", "!", "key", "2024", "2025"];
    const WHOLE: [&str; 34] = [
        "your-256-bit-secret",
        "your-384-bit-secret",
        "your-512-bit-secret",
        "your_secret",
        "your-secret",
        "yoursecret",
        "your_jwt_secret",
        "your-jwt-secret",
        "your_secret_key",
        "your-secret-key",
        "your_jwt_secret_key",
        "your-secret-key-here",
        "my-32-character-ultra-secure-and-ultra-long-secret",
        "a-string-secret-at-least-256-bits-long",
        "this-is-a-secret",
        "thisisasecret",
        "thisismysecret",
        "this is a secret",
        "super-secret-key",
        "super_secret_key",
        "supersecretkey",
        "my_super_secret",
        "my-super-secret",
        "mysupersecretkey",
        "secret123!",
        "123456",
        "1234567890",
        "0123456789",
        "111111",
        "000000",
        "",
        "undefined",
        "null",
        "gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr9C",
    ];
    let mut out: Vec<String> = WHOLE.iter().map(|w| w.to_string()).collect();
    for stem in STEMS {
        out.extend(ENDS.iter().map(|end| format!("{stem}{end}")));
    }
    let own = service.to_ascii_lowercase();
    for end in ["", "-secret", "_secret", "secret", "123", "-jwt", "-key", "key", "-api"] {
        out.push(format!("{own}{end}"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(header: &Json, payload: &Json, key: &str) -> String {
        let message =
            format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(payload.to_string()));
        signed(&message, key.as_bytes())
    }

    #[test]
    fn a_weak_secret_is_found_and_a_strong_one_is_not() {
        let words = weak_words("Shop");
        assert!(words.len() >= 950, "{}", words.len());
        let guess = |key: &str| {
            let token = made(&json!({ "alg": "HS256" }), &json!({ "sub": "a" }), key);
            Jwt::parse(&token).unwrap().weak_secret(words.iter().map(String::as_str)).map(str::to_string)
        };
        assert_eq!(guess("secret123").as_deref(), Some("secret123"));
        assert_eq!(guess("shop-secret").as_deref(), Some("shop-secret"));
        assert_eq!(guess("3f8Qx9-long-and-random-enough"), None);
    }

    #[test]
    fn what_is_forged_differs_from_the_token_in_what_it_says() {
        let token = made(&json!({ "alg": "RS256", "kid": "1" }), &json!({ "sub": "a", "exp": 5 }), "x");
        let jwt = Jwt::parse(&token).unwrap();
        assert_eq!(jwt.algorithm(), "RS256");
        let forged = jwt.forged(&["PEM".to_string()]);
        let rules: Vec<&str> = forged.iter().map(|f| f.rule).collect();
        assert_eq!(rules, ["forged-payload", "alg-none", "alg-none", "alg-none", "empty-signature", "key-confusion"]);
        assert!(forged.iter().all(|f| f.token != token && f.token.split('.').count() == 3));
        let confused = Jwt::parse(&forged[5].token).unwrap();
        assert_eq!((confused.algorithm(), confused.header["kid"].as_str()), ("HS256", Some("1")));
        assert_eq!(confused.weak_secret(["PEM"].into_iter()), Some("PEM"));
        for other in ["", "a.b.c", "opaque", "e30.e30.x"] {
            assert!(Jwt::parse(other).is_none(), "{other}");
        }
    }

    /// The key of RFC 7517, A.1, as `openssl rsa -pubin` prints it begins and ends so.
    #[test]
    fn a_jwk_becomes_the_pem_that_servers_keep() {
        let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
        let keys = public_keys(&json!({ "keys": [{ "kty": "RSA", "n": n, "e": "AQAB" }, { "kty": "EC" }] }));
        assert_eq!(keys.len(), 2);
        assert!(keys[1].starts_with(
            "-----BEGIN PUBLIC KEY-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA0vx7agoebGcQSuuPiLJX\n"
        ));
        assert!(keys[1].ends_with("IDAQAB\n-----END PUBLIC KEY-----\n"), "{}", keys[1]);
        assert_eq!(keys[0], keys[1].trim_end());
    }

    proptest::proptest! {
        #[test]
        fn no_token_stops_it(text in "[A-Za-z0-9_.-]{0,60}", n in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
            if let Some(jwt) = Jwt::parse(&text) {
                jwt.forged(&[]);
            }
            spki(&n, &n);
        }
    }
}
