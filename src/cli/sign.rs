//! Signing as people sign: through `ssh-keygen -Y sign`, which knows their agents, passphrases and hardware keys. The key
//! itself is never read here, only its public half.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::{Exit, Failure};
use crate::domain::clock::Timestamp;
use crate::domain::sshsig::{self, PublicKey};
use crate::gates::facts::git::Git;
use crate::gates::people::trust::Trust;

/// A public key file has one line.
const PUBLIC_BYTES_MAX: u64 = 64 * 1024;
/// Names for the signatures of one file: FILE.sig, FILE.2.sig, …
const SIGNATURES_MAX: usize = 9;

/// The key to sign with.
#[derive(Debug)]
pub struct Key {
    /// What ssh-keygen is given: a private key, or a public one whose private half an agent holds.
    path: PathBuf,
    pub public: PublicKey,
}

fn usage(message: impl Into<String>) -> Failure {
    Failure::new(Exit::Usage, message)
}

/// `--key`, else git's `user.signingkey` when git signs with SSH too.
pub fn choose(given: Option<&Path>, git: Option<&Git>) -> Result<Key, Failure> {
    let path = match given {
        Some(path) => path.to_path_buf(),
        None => configured(git)
            .ok_or_else(|| usage("no key to sign with").hint("give --key FILE, or set git's user.signingkey to one"))?,
    };
    let public = public_of(&path).ok_or_else(|| {
        usage(format!("{}: no SSH key that can be read", path.display()))
            .hint("name a private key file, or the .pub of a key that your agent holds")
    })?;
    Ok(Key { path, public })
}

/// The key if one is named, for commands that can do without.
pub fn choose_if_given(given: Option<&Path>, git: Option<&Git>) -> Result<Option<Key>, Failure> {
    given.map(|path| choose(Some(path), git)).transpose()
}

fn configured(git: Option<&Git>) -> Option<PathBuf> {
    let ask = |key: &str| git?.run(&["config", "--type=path", key]).ok().map(|v| v.trim().to_string());
    (ask("gpg.format")? == "ssh").then(|| ask("user.signingkey")).flatten().map(PathBuf::from)
}

fn public_of(path: &Path) -> Option<PublicKey> {
    let read = |path: &Path| {
        use std::io::Read as _;
        let mut text = String::new();
        std::fs::File::open(path).ok()?.take(PUBLIC_BYTES_MAX).read_to_string(&mut text).ok()?;
        text.lines().find_map(PublicKey::parse)
    };
    let mut beside = path.as_os_str().to_owned();
    beside.push(".pub");
    // A key without its public half beside it: ssh-keygen works it out, and asks for the passphrase.
    let derived = || {
        let out = Command::new("ssh-keygen").arg("-y").arg("-f").arg(path).stderr(Stdio::inherit()).output().ok()?;
        PublicKey::parse(String::from_utf8(out.stdout).ok()?.trim())
    };
    let is_public = path.extension().is_some_and(|e| e == "pub");
    if is_public { read(path) } else { read(Path::new(&beside)).or_else(derived) }
}

impl Key {
    /// The armoured signature over `message`, checked before it is given out. Blocking: waits for a passphrase or a touch.
    pub fn sign(&self, namespace: &str, message: &[u8]) -> Result<String, Failure> {
        let failed = |why: String| Failure::new(Exit::No, format!("ssh-keygen could not sign: {why}"));
        let mut child = Command::new("ssh-keygen")
            .args(["-q", "-Y", "sign", "-n", namespace, "-f"])
            .arg(&self.path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|_| Failure::new(Exit::Usage, "ssh-keygen is not on PATH").hint("install OpenSSH 8.1 or later"))?;
        if let Some(mut pipe) = child.stdin.take() {
            use std::io::Write as _;
            pipe.write_all(message).map_err(|e| failed(e.to_string()))?;
        }
        let out = child.wait_with_output().map_err(|e| failed(e.to_string()))?;
        if !out.status.success() {
            let said = String::from_utf8_lossy(&out.stderr);
            let last = said.lines().rfind(|l| !l.trim().is_empty()).unwrap_or("no reason given").to_string();
            return Err(failed(super::output::clean_line(&last)));
        }
        let armoured = String::from_utf8_lossy(&out.stdout).into_owned();
        let parsed = sshsig::parse(&armoured).map_err(|e| failed(e.to_string()))?;
        parsed.verify(namespace, message).map_err(|e| failed(e.to_string()))?;
        Ok(armoured)
    }

    /// Who signs: the name given, else the key's first one on the base branch, else git's address.
    pub fn name(
        &self,
        given: Option<String>,
        trust: &Trust,
        namespace: &str,
        git: Option<&Git>,
        now: Timestamp,
    ) -> String {
        let own = || git?.run(&["config", "user.email"]).ok().map(|v| v.trim().to_string()).filter(|v| !v.is_empty());
        given
            .or_else(|| trust.name_of(&self.public, namespace, now))
            .or_else(own)
            .unwrap_or_else(|| self.public.fingerprint())
    }
}

/// Writes a signature beside what it signs, under the first free name.
pub fn place(file: &Path, signature: &str) -> Result<PathBuf, Failure> {
    use std::io::Write as _;
    let io = |path: &Path, e: std::io::Error| Failure::new(Exit::Io, format!("{}: {e}", path.display()));
    for n in 1..=SIGNATURES_MAX {
        let mut name = file.as_os_str().to_owned();
        name.push(if n == 1 { ".sig".to_string() } else { format!(".{n}.sig") });
        let path = PathBuf::from(name);
        match std::fs::OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(mut out) => {
                out.write_all(signature.as_bytes()).map_err(|e| io(&path, e))?;
                return Ok(path);
            }
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(io(&path, e)),
        }
    }
    Err(usage(format!("{} has {SIGNATURES_MAX} signatures already", file.display())))
}
