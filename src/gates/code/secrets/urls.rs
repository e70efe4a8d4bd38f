//! Passwords and signatures within URLs. Pure.

use super::scan::{Hit, People, View, hit};
use super::values::{is_placeholder, is_random, is_reference, is_wordy};
use crate::domain::verdict::{Confidence, Severity};

/// `&sig=…` of a shared access signature of Azure; `at` is where `sig=` stands.
pub(super) fn signature(text: &[u8], at: usize) -> Option<Hit> {
    const URL_BYTES_MAX: usize = 500;
    let from = at + "sig=".len();
    let rest = &text[from..text.len().min(from + 80)];
    let end = rest.iter().position(|b| !(b.is_ascii_alphanumeric() || b"%+/=".contains(b))).unwrap_or(rest.len());
    let value = std::str::from_utf8(&rest[..end]).ok()?;
    let near = String::from_utf8_lossy(&text[at.saturating_sub(URL_BYTES_MAX)..text.len().min(from + URL_BYTES_MAX)]);
    let signed = near.contains("sv=20") && near.contains("se=") && text[..at].ends_with(b"&");
    // SHA-256 in base64.
    let whole = value.replace("%2B", "+").replace("%2F", "/").replace("%3D", "=").replace("%3d", "=");
    let real = signed && whole.len() == 44 && whole.ends_with('=') && is_random(&whole) && !is_placeholder(&whole);
    real.then(|| hit("azure-sas", "Azure", from..from + end, value))
}

/// `jdbc:oracle:thin:user/password@host`; `at` is where that begins.
pub(super) fn oracle(text: &[u8], at: usize, view: View) -> Option<Hit> {
    let from = at + "jdbc:oracle:thin:".len();
    let rest = &text[from..text.len().min(from + 200)];
    let user = rest.iter().position(|b| *b == b'/')? + 1;
    let end = user + rest[user..].iter().position(|b| *b == b'@' || b.is_ascii_whitespace())?;
    let clear = rest[..user - 1].iter().all(u8::is_ascii_alphanumeric) && rest[end] == b'@';
    let value = std::str::from_utf8(&rest[user..end]).ok().filter(|_| clear)?;
    super::named::given(value, from + user..from + end, view)
}

/// Words for a password in place of one.
const WORDS: &[&str] = &["pass", "passwd", "pwd", "secret", "token", "user", "username", "userpass", "mypass"];

/// Who has it in examples.
const USERS: &[&str] = &["user", "username", "usr", "name", "login", "me", "foo", "someone", "uname"];

/// `scheme://user:password@host`; `at` is where `://` stands.
pub(super) fn url(text: &[u8], at: usize, view: View) -> Option<Hit> {
    const AUTHORITY_BYTES_MAX: usize = 300;
    let from = at + 3;
    let rest = &text[from..text.len().min(from + AUTHORITY_BYTES_MAX)];
    let until = |ends: &[u8]| {
        let end = rest.iter().position(|b| b.is_ascii_whitespace() || ends.contains(b)).unwrap_or(rest.len());
        Some((rest[..end].iter().rposition(|b| *b == b'@')?, end))
    };
    // Signs that do not belong there are met all the same, behind a colon.
    let (at_sign, end) = until(b"/\"'`<>?#,;)(\\|").or_else(|| until(b"/\"'`<>,)(\\"))?;
    let colon = rest[..at_sign].iter().position(|b| *b == b':')?;
    // `host:8080?to=me@…`, `host?a:b@c`.
    let query = rest[..at_sign].iter().position(|b| b"?#".contains(b));
    if query.is_some_and(|mark| mark < colon || rest[colon + 1..mark].iter().all(u8::is_ascii_digit)) {
        return None;
    }
    let host = std::str::from_utf8(&rest[at_sign + 1..end]).ok()?.to_ascii_lowercase();
    let user = std::str::from_utf8(&rest[..colon]).ok()?;
    let password = std::str::from_utf8(&rest[colon + 1..at_sign]).ok()?;
    if password.len() < 3
        || host.is_empty()
        || is_placeholder(password)
        || is_reference(password)
        || user.contains(['{', '$', '%'])
    {
        return None;
    }
    let lower = password.to_ascii_lowercase();
    let sample = view.people != People::Users;
    let said = ["pass", "secret", "token", "pwd", "user"].iter().any(|w| lower.contains(w));
    let own = user.eq_ignore_ascii_case(password)
        || ["postgres", "root", "admin", "guest", "mysql", "redis"].contains(&&*lower);
    let nowhere = is_nowhere(&host);
    let (severity, confidence) = match () {
        () if lower == "password" && USERS.contains(&&*user.to_ascii_lowercase()) => return None,
        () if own || said && (sample || WORDS.contains(&&*lower)) => return None,
        // `twilio://AccountSid:AuthToken@FromPhoneNo`: what belongs there.
        () if said && !host.contains('.') && is_wordy(user) && is_wordy(password) => return None,
        () if view.people == People::Prose && !is_random(password) => (Severity::High, Confidence::Low),
        () if view.people == People::Readers => (Severity::High, Confidence::Low),
        () if nowhere => (Severity::Low, Confidence::Low),
        () if view.people == People::Tests => (Severity::High, Confidence::Low),
        () if is_random(password) => (Severity::High, Confidence::High),
        () => (Severity::High, Confidence::Medium),
    };
    let place = from + colon + 1..from + at_sign;
    Some(Hit { severity, confidence, ..hit("url-password", "the service it opens", place, password) })
}

/// One's own machine, a neighbour in a compose file, or a name in an example.
pub(super) fn is_nowhere(host: &str) -> bool {
    const NAMES: &[&str] = &[
        "localhost",
        "127",
        "0",
        "[",
        "host",
        "hostname",
        "user",
        "foo",
        "server",
        "domain",
        "db",
        "database",
        "postgres",
        "postgresql",
        "mysql",
        "mariadb",
        "redis",
        "mongo",
        "mongodb",
        "rabbitmq",
        "example",
        "my",
        "your",
        "acme",
        "default",
        "ip",
    ];
    let first = host.split(['.', ':']).next().unwrap_or(host);
    let reserved = [".test", ".example", ".local", ".invalid", ".localhost", ".internal"];
    let bare = host.split(':').next().unwrap_or(host);
    NAMES.contains(&first)
        || reserved.iter().any(|end| bare.ends_with(end))
        || bare.contains("example.")
        || bare.ends_with("acme.com")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gates::code::secrets::files;

    #[test]
    fn passwords_before_hosts() {
        let found = |text: &str| {
            let view = files::view("a.sh", text.as_bytes()).unwrap();
            url(text.as_bytes(), text.find("://").unwrap(), view).map(|hit| text[hit.place].to_string())
        };
        for (text, expect) in [
            ("postgres://shop:Hx7kQ2vLp@pg1.corp.net/shop", "Hx7kQ2vLp"),
            ("redis://:Hx7k?Q2#vLp@cache.corp.net:6379/0", "Hx7k?Q2#vLp"),
        ] {
            assert_eq!(found(text).as_deref(), Some(expect), "{text}");
        }
        for text in [
            "http://user:password@www.acme.com:9000/dir",
            "https://shop.io/a:b?mail=me@shop.io",
            "https://shop.io:8080?to=me@shop.io",
            "https://$USER:$PASS@shop.io",
            "https://shop.io",
        ] {
            assert_eq!(found(text), None, "{text}");
        }
    }

    #[test]
    fn signatures_and_thin_clients() {
        let sas = "https://a.blob.core.windows.net/b?sv=2022-11-02&sp=r&se=2030-01-01&sig=";
        let found = |text: &str| signature(text.as_bytes(), text.find("sig=").unwrap()).map(|hit| hit.rule);
        let hash = "q7Xk2Lw9%2Fz4mVx7cRpW3eHt6Yb1Ns8Du5Gf0Aj%2BKoEx%3D";
        assert_eq!(found(&format!("{sas}{hash}")), Some("azure-sas"));
        assert_eq!(found(&format!("{sas}abc")), None);
        assert_eq!(found(&format!("&sig={hash}")), None);
        let text = "jdbc:oracle:thin:scott/Hx7kQ2vLp@ora1:1521/XE";
        let view = files::view("a.properties", text.as_bytes()).unwrap();
        assert_eq!(
            oracle(text.as_bytes(), 0, view).map(|hit| text[hit.place].to_string()).as_deref(),
            Some("Hx7kQ2vLp")
        );
        assert!(oracle(b"jdbc:oracle:thin:@//ora1:1521/XE", 0, view).is_none());
    }
}
