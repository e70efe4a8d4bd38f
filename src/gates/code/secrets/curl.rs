//! `curl -u user:password https://…`: what a shell line gives away. Pure.

use super::scan::{Hit, People, View, hit};
use super::values::{is_placeholder, is_reference, is_wordy};
use crate::domain::verdict::Confidence;

/// A line of a script is no longer.
const LINE_BYTES_MAX: usize = 400;

/// The password of `-u` or `--user`; `at` is where `curl ` stands.
pub(super) fn user(text: &[u8], at: usize, view: View) -> Option<Hit> {
    let line = &text[at..text.len().min(at + LINE_BYTES_MAX)];
    let line = &line[..line.iter().position(|b| *b == b'\n').unwrap_or(line.len())];
    let line = line.utf8_chunks().next()?.valid();
    let (option, length) =
        [" -u ", " --user ", " -u", " --user="].iter().find_map(|option| Some((line.find(option)?, option.len())))?;
    let rest = &line[option + length..];
    let quoted = rest.starts_with(['"', '\'']);
    let from = option + length + usize::from(quoted);
    let value = &line[from..];
    let end =
        value.find(|c: char| if quoted { matches!(c, '"' | '\'') } else { c.is_whitespace() || "\"'`".contains(c) });
    let (name, password) = value[..end.unwrap_or(value.len())].split_once(':')?;
    let real = password.len() >= 6
        && !name.is_empty()
        && !name.contains(['$', '<', '{', '/'])
        && name != password
        && !is_placeholder(password)
        && !is_reference(password)
        && !is_wordy(password)
        && password.bytes().any(|b| b.is_ascii_digit());
    let start = at + from + name.len() + 1;
    let confidence = if view.people == People::Users { Confidence::Medium } else { Confidence::Low };
    real.then(|| Hit {
        confidence,
        ..hit("curl-user", "the service it opens", start..start + password.len(), password)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gates::code::secrets::files;

    #[test]
    fn passwords_of_shell_lines() {
        let found = |text: &str| {
            let view = files::view("deploy.sh", text.as_bytes()).unwrap();
            user(text.as_bytes(), text.find("curl ").unwrap(), view).map(|h| text[h.place].to_string())
        };
        for text in [
            "x; curl -s -u admin:hJ8s0aK2 https://shop.io",
            "curl --user 'admin:hJ8s0aK2' https://shop.io",
            "curl -uadmin:hJ8s0aK2 https://shop.io\n",
        ] {
            assert_eq!(found(text).as_deref(), Some("hJ8s0aK2"), "{text}");
        }
        for text in [
            "curl -u user:password https://shop.io",
            "curl -u $USER:$PASS https://shop.io",
            "curl -u admin:${PASS1234} https://shop.io",
            "curl https://shop.io\n -u admin:hJ8s0aK2",
            "curl -u é",
        ] {
            assert_eq!(found(text), None, "{text}");
        }
    }
}
