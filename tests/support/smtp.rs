//! `smtp.py`: a real SMTP server that keeps every mail it accepted.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::{python, root};

/// One accepted mail.
#[derive(Debug, Clone, serde::Deserialize)]
pub struct Mail {
    pub from: String,
    /// Envelope recipients.
    pub to: Vec<String>,
    pub tls: bool,
    pub login: Option<String>,
    /// Headers and body as sent.
    pub data: String,
}

impl Mail {
    /// First value of a header, folded lines joined.
    pub fn header(&self, name: &str) -> Option<String> {
        let head = self.data.replace("\r\n", "\n").split("\n\n").next()?.replace("\n ", " ").replace("\n\t", " ");
        head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim().to_string())
        })
    }
}

pub struct Smtp {
    child: Child,
    pub port: u16,
    mails: Arc<Mutex<Vec<Mail>>>,
}

impl Smtp {
    /// On a free port; `args` as in `smtp.py`.
    pub fn start(args: &[&str]) -> Smtp {
        let mut child = Command::new(python())
            .arg(root().join("tests/support/smtp.py"))
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python starts");
        let mut lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
        let first = lines.next().expect("the server says its port").expect("as text");
        let port = first.parse().expect("the first line is the port");
        let mails: Arc<Mutex<Vec<Mail>>> = Arc::default();
        let kept = mails.clone();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let mail = serde_json::from_str(&line).expect("one JSON document a line");
                kept.lock().expect("nobody panics with the lock").push(mail);
            }
        });
        Smtp { child, port, mails }
    }

    /// With the certificate of `tests/fixtures/tls` for `localhost`.
    pub fn with_tls(kind: &str, more: &[&str]) -> Smtp {
        let file = |name: &str| root().join("tests/fixtures/tls").join(name).display().to_string();
        let (cert, key) = (file("localhost.pem"), file("localhost.key"));
        let mut args = vec!["--tls", kind, "--cert", &cert, "--key", &key];
        args.extend(more);
        Smtp::start(&args)
    }

    pub fn mails(&self) -> Vec<Mail> {
        self.mails.lock().expect("nobody panics with the lock").clone()
    }

    /// Waits until `n` mails have arrived.
    pub fn wait(&self, n: usize) -> Vec<Mail> {
        let patience = Instant::now() + Duration::from_secs(30);
        while self.mails().len() < n && Instant::now() < patience {
            std::thread::sleep(Duration::from_millis(20));
        }
        let mails = self.mails();
        assert!(mails.len() >= n, "{} of {n} mails arrived", mails.len());
        mails
    }
}

impl Drop for Smtp {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
