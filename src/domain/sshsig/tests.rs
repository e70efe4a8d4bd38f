//! Tests against the real ssh-keygen: what it signs is accepted here, what it refuses is refused here.

use std::path::Path;
use std::process::Command;

use proptest::prelude::*;

use super::*;

fn keygen(dir: &Path, args: &[&str]) -> std::process::Output {
    Command::new("ssh-keygen").current_dir(dir).args(args).output().expect("ssh-keygen is needed for this test")
}

fn make_key(dir: &Path, name: &str, kind: &[&str]) -> String {
    let out = keygen(dir, &[&["-q", "-N", "", "-C", "a comment", "-f", name], kind].concat());
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    std::fs::read_to_string(dir.join(format!("{name}.pub"))).unwrap()
}

fn sign(dir: &Path, key: &str, namespace: &str, message: &[u8], extra: &[&str]) -> String {
    std::fs::write(dir.join("m"), message).unwrap();
    let _ = std::fs::remove_file(dir.join("m.sig"));
    let out = keygen(dir, &[&["-q", "-Y", "sign", "-f", key, "-n", namespace], extra, &["m"]].concat());
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    std::fs::read_to_string(dir.join("m.sig")).unwrap()
}

/// What the real `ssh-keygen -Y verify` says.
fn theirs(dir: &Path, allowed: &str, identity: &str, namespace: &str, message: &[u8], signature: &str) -> bool {
    std::fs::write(dir.join("allowed"), allowed).unwrap();
    std::fs::write(dir.join("s.sig"), signature).unwrap();
    std::fs::write(dir.join("in"), message).unwrap();
    let out = Command::new("ssh-keygen")
        .current_dir(dir)
        .args(["-Y", "verify", "-f", "allowed", "-I", identity, "-n", namespace, "-s", "s.sig"])
        .stdin(std::fs::File::open(dir.join("in")).unwrap())
        .env("TZ", "UTC")
        .output()
        .unwrap();
    out.status.success()
}

fn ours(allowed: &str, identity: &str, namespace: &str, message: &[u8], signature: &str) -> bool {
    let Ok(parsed) = parse(signature) else { return false };
    let now = crate::domain::clock::SystemClock::shared().now();
    let (signers, _) = AllowedSigners::parse(allowed);
    parsed.verify(namespace, message).is_ok() && signers.allows(identity, &parsed.key, namespace, now)
}

const KINDS: [(&str, &[&str]); 5] = [
    ("ed", &["-t", "ed25519"]),
    ("p256", &["-t", "ecdsa", "-b", "256"]),
    ("p384", &["-t", "ecdsa", "-b", "384"]),
    ("rsa", &["-t", "rsa", "-b", "2048"]),
    ("rsa3", &["-t", "rsa", "-b", "3072"]),
];

#[test]
fn what_ssh_keygen_signs_is_accepted_and_what_was_changed_is_not() {
    let dir = tempfile::tempdir().unwrap();
    for (name, kind) in KINDS {
        let public = make_key(dir.path(), name, kind);
        let allowed = format!("ann@example.com {public}");
        for (message, extra) in [(&b"approved\n"[..], &[][..]), (b"", &["-O", "hashalg=sha256"]), (&[0xff; 5000], &[])]
        {
            let signature = sign(dir.path(), name, "hypercare-review", message, extra);
            let parsed = parse(&signature).unwrap();
            assert_eq!(parsed.verify("hypercare-review", message), Ok(()), "{name}");
            assert_eq!(Some(&parsed.key), PublicKey::parse(&public).as_ref());
            let wrong = [message, b"x"].concat();
            assert_eq!(parsed.verify("hypercare-review", &wrong), Err(SshSigError::Wrong), "{name}");
            assert!(matches!(parsed.verify("file", message), Err(SshSigError::Namespace { .. })));
            assert!(ours(&allowed, "ann@example.com", "hypercare-review", message, &signature), "{name}");
        }
        let shown = keygen(dir.path(), &["-l", "-f", &format!("{name}.pub")]);
        let fingerprint = PublicKey::parse(&public).unwrap().fingerprint();
        assert!(String::from_utf8_lossy(&shown.stdout).contains(&fingerprint), "{name}: {fingerprint}");
    }
}

#[test]
fn signers_are_allowed_and_refused_as_ssh_keygen_does() {
    let dir = tempfile::tempdir().unwrap();
    let ann = make_key(dir.path(), "ann", KINDS[0].1);
    let bob = make_key(dir.path(), "bob", KINDS[1].1);
    let (ann, bob) = (ann.trim(), bob.trim());
    let message = b"approved\n";
    let signature = sign(dir.path(), "ann", "hypercare-review", message, &[]);
    let mut seen = [0, 0];
    for allowed in [
        format!("ann@example.com {ann}"),
        format!("# a comment\n\nbob@example.com {bob}\nann@example.com {ann}"),
        format!("bob@example.com {ann}"),
        format!("*@example.com {ann}"),
        format!("*@example.com,!ann@example.com {ann}"),
        format!("ann@example.co? {ann}"),
        format!("\"ann@example.com\" {ann}"),
        format!("ann@example.com namespaces=\"file,hypercare-*\" {ann}"),
        format!("ann@example.com namespaces=\"file\" {ann}"),
        format!("ann@example.com namespaces=\"git\",valid-before=\"20990101\" {ann}"),
        format!("ann@example.com valid-after=\"20200101\",valid-before=\"20990101Z\" {ann}"),
        format!("ann@example.com valid-before=\"20200101\" {ann}"),
        format!("ann@example.com valid-after=\"209901010000\" {ann}"),
        format!("ann@example.com cert-authority {ann}"),
        format!("ann@example.com {bob}"),
        format!("ann@example.com nonsense {ann}"),
        "ann@example.com".to_string(),
        String::new(),
    ] {
        let (here, there) = (
            ours(&allowed, "ann@example.com", "hypercare-review", message, &signature),
            theirs(dir.path(), &allowed, "ann@example.com", "hypercare-review", message, &signature),
        );
        assert_eq!(here, there, "{allowed}");
        seen[usize::from(here)] += 1;
    }
    assert!(seen[0] > 5 && seen[1] > 5, "{seen:?}");
    let (signers, bad) = AllowedSigners::parse(&format!("ann@example.com,ann,*@x {ann}\ngarbage\n"));
    let key = PublicKey::parse(ann).unwrap();
    let at = Timestamp::from_ms(1_795_341_600_000);
    assert_eq!(
        (signers.principals(&key, "n", at), bad),
        (vec!["ann@example.com".into(), "ann".into()], vec![(2, "there is no key that can be read")])
    );
    let (none, bad) = AllowedSigners::parse(&format!("*@example.com cert-authority {ann}"));
    assert!(none.is_empty() && bad[0].1.starts_with("certificates are not supported"), "{bad:?}");
}

#[test]
fn ssh_keygen_accepts_what_is_signed_here() {
    let dir = tempfile::tempdir().unwrap();
    let (key, other) = (Ephemeral::new().unwrap(), Ephemeral::new().unwrap());
    assert_eq!(PublicKey::parse(&key.public().line()), Some(key.public()));
    let allowed = format!("ann@example.com namespaces=\"n\" {}", key.public().line());
    for message in [&b""[..], b"approved\n", &[0xff; 5000]] {
        let signature = key.sign("n", message);
        assert_eq!(parse(&signature).unwrap().verify("n", message), Ok(()));
        assert!(theirs(dir.path(), &allowed, "ann@example.com", "n", message, &signature));
        let foreign = other.sign("n", message);
        assert!(!theirs(dir.path(), &allowed, "ann@example.com", "n", message, &foreign));
        assert!(!ours(&allowed, "ann@example.com", "n", message, &foreign));
        assert!(signature.lines().all(|l| l.len() <= 70));
    }
}

#[test]
fn damaged_signatures_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    make_key(dir.path(), "ann", KINDS[0].1);
    let signature = sign(dir.path(), "ann", "n", b"m", &[]);
    let blob: String = signature.lines().filter(|l| !l.starts_with("--")).collect();
    let bytes = base64::engine::general_purpose::STANDARD.decode(blob).unwrap();
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        let text = format!("{BEGIN}\n{}\n{END}\n", base64::engine::general_purpose::STANDARD.encode(damaged));
        let accepted = parse(&text).is_ok_and(|s| s.verify("n", b"m").is_ok());
        assert!(!accepted, "byte {at}");
    }
    for text in ["", BEGIN, "-----BEGIN SSH SIGNATURE-----\n!!\n-----END SSH SIGNATURE-----"] {
        assert!(parse(text).is_err());
    }
}

proptest! {
    #[test]
    fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "\\PC{0,200}") {
        let armour = |blob: &[u8]| format!("{BEGIN}\n{}\n{END}", base64::engine::general_purpose::STANDARD.encode(blob));
        let framed = [MAGIC, &[0, 0, 0, 1], &bytes].concat();
        for candidate in [armour(&bytes), armour(&framed), text.clone()] {
            if let Ok(signature) = parse(&candidate) {
                let _ = signature.verify(&signature.namespace.clone(), b"m");
            }
        }
        AllowedSigners::parse(&text);
    }
}
