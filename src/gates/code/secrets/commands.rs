//! Passwords that a command line or a call gives away by their place: `mysql -p…`, `IDENTIFIED BY '…'`,
//! `SetBasicAuth("me", "…")`. Pure.

use super::named;
use super::scan::{Hit, View};

/// Where the password stands.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place {
    /// In the next quotes.
    Quoted,
    /// Behind this option, which ends in a blank if one stands between them.
    Option(&'static str),
    /// Within what `echo` says before it; behind a colon, or all of it.
    Echoed(&'static str),
    /// The argument of that number, from 0, of a call.
    Argument(usize),
}

/// What a line has to say, and where the password is then.
pub(super) const COMMANDS: &[(&str, Place)] = &[
    ("IDENTIFIED BY ", Place::Quoted),
    ("identified by ", Place::Quoted),
    ("ConvertTo-SecureString ", Place::Quoted),
    ("SymmetricSecurityKey(", Place::Quoted),
    ("mysql -", Place::Option(" -p")),
    ("mysqldump -", Place::Option(" -p")),
    ("mysqladmin -", Place::Option(" -p")),
    ("mongo -", Place::Option(" -p ")),
    ("mongodump -", Place::Option(" -p ")),
    ("sshpass -p", Place::Option(" -p")),
    ("sshpass -p ", Place::Option(" -p ")),
    ("sqlcmd -", Place::Option(" -P ")),
    ("redis-cli -", Place::Option(" -a ")),
    ("docker login ", Place::Option(" -p ")),
    ("az login ", Place::Option(" -p ")),
    ("chpasswd", Place::Echoed(":")),
    ("--password-stdin", Place::Echoed("")),
    ("SetBasicAuth(", Place::Argument(1)),
    ("HTTPBasicAuth(", Place::Argument(1)),
    ("NetworkCredential(", Place::Argument(1)),
    ("basic_auth(", Place::Argument(1)),
    ("basicAuth(", Place::Argument(1)),
    (".login(", Place::Argument(1)),
    ("jwt.sign(", Place::Argument(1)),
    ("jwt.verify(", Place::Argument(1)),
    ("jwt.encode(", Place::Argument(1)),
    ("jwt.decode(", Place::Argument(1)),
    ("JWT.encode(", Place::Argument(1)),
    ("getConnection(", Place::Argument(2)),
    ("mysqli(", Place::Argument(2)),
    ("mysqli_connect(", Place::Argument(2)),
    ("mysql_connect(", Place::Argument(2)),
    ("new PDO(", Place::Argument(2)),
    ("DBI->connect(", Place::Argument(2)),
    ("etPassword(", Place::Argument(0)),
    (".password(", Place::Argument(0)),
];

/// A line of a script is no longer.
const LINE_BYTES_MAX: usize = 400;

/// The password of the command at `at`.
pub(super) fn password(text: &[u8], at: usize, (head, place): (&str, Place), view: View) -> Option<Hit> {
    let rest = line(text, at);
    let found = match place {
        Place::Quoted => quoted(&rest[head.len()..]).map(|(from, value)| (at + head.len() + from, value)),
        Place::Option(option) => {
            let from = rest.find(option)? + option.len();
            // `mysql -p shop`: it will be asked for, and that is the database.
            if !option.ends_with(' ') && rest[from..].starts_with(' ') {
                return None;
            }
            word(&rest[from..]).map(|(skipped, value)| (at + from + skipped, value))
        }
        Place::Echoed(sign) => {
            let begins = text[..at].iter().rposition(|b| *b == b'\n').map_or(0, |end| end + 1);
            let begins = begins.max(at.saturating_sub(LINE_BYTES_MAX));
            let before = std::str::from_utf8(&text[begins..at]).ok()?;
            let from = before.rfind("echo ")? + "echo ".len();
            let (skipped, said) = word(before[from..].strip_prefix("-n ").unwrap_or(&before[from..]))?;
            let skipped = skipped + if before[from..].starts_with("-n ") { 3 } else { 0 };
            let cut = said.find(sign)? + sign.len();
            Some((begins + from + skipped + cut, &said[cut..]))
        }
        Place::Argument(nth) => argument(&rest[head.len()..], nth).map(|(from, value)| (at + head.len() + from, value)),
    };
    let (start, value) = found?;
    named::given(value, start..start + value.len(), view)
}

fn line(text: &[u8], at: usize) -> &str {
    let line = &text[at..text.len().min(at + LINE_BYTES_MAX)];
    let line = &line[..line.iter().position(|b| *b == b'\n').unwrap_or(line.len())];
    line.utf8_chunks().next().map_or("", |chunk| chunk.valid())
}

/// What stands in the first quotes, which are near.
fn quoted(rest: &str) -> Option<(usize, &str)> {
    const NEAR: usize = 50;
    let open = rest.bytes().take(NEAR).position(|b| b == b'"' || b == b'\'')?;
    let end = rest[open + 1..].find(char::from(rest.as_bytes()[open]))?;
    // `IDENTIFIED BY PASSWORD '*…'` is a hash; a plus makes it a part of something.
    let clear = !rest[..open].to_ascii_uppercase().contains("PASSWORD") && !rest[open + 2 + end..].starts_with(" +");
    clear.then(|| (open + 1, &rest[open + 1..open + 1 + end]))
}

/// A word of a shell, quoted or not.
fn word(rest: &str) -> Option<(usize, &str)> {
    let blanks = rest.len() - rest.trim_start_matches(' ').len();
    // `-p -h host`: it will be asked for.
    let rest = &rest[blanks..];
    if rest.starts_with('-') {
        return None;
    }
    if rest.starts_with(['"', '\'']) {
        let end = rest[1..].find(char::from(rest.as_bytes()[0]))?;
        return Some((blanks + 1, &rest[1..1 + end]));
    }
    let end = rest.find(|c: char| c.is_whitespace() || "\"'`;|&)".contains(c)).unwrap_or(rest.len());
    (end > 0).then(|| (blanks, &rest[..end]))
}

/// A literal among the arguments of a call.
fn argument(rest: &str, nth: usize) -> Option<(usize, &str)> {
    let (mut depth, mut count, mut open) = (0u32, 0, None);
    for (at, byte) in rest.bytes().enumerate() {
        match (open, byte) {
            (None, b'"' | b'\'' | b'`') => open = Some((at, byte)),
            (Some((from, quote)), _) if byte == quote => {
                let alone = rest[at + 1..].trim_start().starts_with([',', ')']);
                if count == nth && depth == 0 {
                    return alone.then(|| (from + 1, &rest[from + 1..at]));
                }
                open = None;
            }
            (Some(_), _) => {}
            (None, b'(' | b'[' | b'{') => depth += 1,
            (None, b')' | b']' | b'}') => depth = depth.checked_sub(1)?,
            (None, b',') if depth == 0 => count += 1,
            // Something else than a literal.
            (None, b) if count == nth && depth == 0 && b.is_ascii_alphanumeric() => return None,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gates::code::secrets::files;

    fn found(path: &str, text: &str) -> Option<String> {
        let view = files::view(path, text.as_bytes()).unwrap();
        let hit = COMMANDS.iter().find_map(|c| password(text.as_bytes(), text.find(c.0)?, *c, view));
        hit.map(|hit| text[hit.place].to_string())
    }

    #[test]
    fn passwords_by_their_place() {
        for (path, text) in [
            ("a.sql", "CREATE USER 'shop'@'%' IDENTIFIED BY 'Hx7kQ2vLp';"),
            ("a.sql", "create user a identified by \"Hx7kQ2vLp\""),
            ("a.sh", "mysql -u root -pHx7kQ2vLp shop < a.sql"),
            ("a.sh", "mysqldump -h db -u root -p'Hx7kQ2vLp' shop"),
            ("a.sh", "sshpass -p Hx7kQ2vLp ssh root@10.0.0.5"),
            ("a.bat", "sqlcmd -S sql1 -U sa -P Hx7kQ2vLp"),
            ("a.sh", "redis-cli -h r1 -a Hx7kQ2vLp ping"),
            ("a.sh", "docker login -u shop -p Hx7kQ2vLp"),
            ("a.sh", "echo -n Hx7kQ2vLp | docker login -u shop --password-stdin"),
            ("Dockerfile", "RUN echo 'root:Hx7kQ2vLp' | chpasswd"),
            ("a.ps1", "$p = ConvertTo-SecureString 'Hx7kQ2vLp' -AsPlainText"),
            ("a.go", "req.SetBasicAuth(\"admin\", \"Hx7kQ2vLp\")"),
            ("A.cs", "new NetworkCredential(\"svc\", \"Hx7kQ2vLp\");"),
            ("A.cs", "new SymmetricSecurityKey(Encoding.UTF8.GetBytes(\"Hx7kQ2vLp\"))"),
            ("A.java", "DriverManager.getConnection(url(\"a\", 1), \"root\", \"Hx7kQ2vLp\")"),
            ("a.php", "$m = new mysqli('db1', 'root', 'Hx7kQ2vLp', 'shop');"),
            ("a.ts", "jwt.sign({ a: 1, b: 'x' }, 'Hx7kQ2vLp')"),
            ("a.py", "server.login('me@shop.io', 'Hx7kQ2vLp')"),
            ("A.java", "factory.setPassword(\"Hx7kQ2vLp\");"),
        ] {
            assert_eq!(found(path, text).as_deref(), Some("Hx7kQ2vLp"), "{text}");
        }
        for (path, text) in [
            ("a.sql", "IDENTIFIED BY PASSWORD '*2470C0C06DEE42FD1618BB99005ADCA2EC9D1E19'"),
            ("a.sql", "IDENTIFIED BY 'password'"),
            ("a.sh", "mysql -u root -p shop"),
            ("a.sh", "mysql -u root -p$PASS shop"),
            ("a.sh", "echo $PASS | docker login -u shop --password-stdin"),
            ("a.sh", "docker login -u shop --password-stdin"),
            ("a.go", "req.SetBasicAuth(\"admin\", Hx7kQ2vLp)"),
            ("a.ts", "jwt.sign(payload, key, 'Hx7kQ2vLp')"),
            ("A.java", "getConnection(url, \"root\", prefix + \"Hx7kQ2vLp\")"),
            ("a.py", "client.login('me@shop.io', 'secret')"),
        ] {
            assert_eq!(found(path, text), None, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(nth in 0..COMMANDS.len(), before in ".{0,12}", after in "[-pPa('\", :x1é)]{0,40}") {
            let (head, place) = COMMANDS[nth];
            let text = format!("{before}{head}{after}");
            let view = files::view("a.sh", text.as_bytes()).unwrap();
            let _ = password(text.as_bytes(), before.len(), (head, place), view);
        }
    }
}
