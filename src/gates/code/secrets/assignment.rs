//! `name = value` in whatever a repository has: programs, settings, shell, XML, JSON. Finds the value that is given to a
//! name, from where the name was seen. Pure, and short-sighted: it looks at one line.

/// How a file is written, as far as values without quotes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Values stand in quotes.
    Code,
    /// `name=value` and `name: value`, to the end of the line.
    Settings,
    /// `password value`: `.netrc`, `Dockerfile`.
    Words,
}

/// Longest value looked at; keys and tokens are shorter.
const VALUE_BYTES_MAX: usize = 1_400;
const NAME_BYTES_MAX: usize = 64;

/// A name with its value, as places in the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Assignment {
    pub name: std::ops::Range<usize>,
    pub value: std::ops::Range<usize>,
    pub quoted: bool,
}

/// Longest way from a name to a value on the next line: what stands between is an operator and blanks.
const GAP_BYTES_MAX: usize = 120;

fn in_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_-.".contains(&byte)
}

/// The whole name around `at`.
pub(super) fn name(text: &[u8], at: usize) -> std::ops::Range<usize> {
    let left = text[..at].iter().rev().take(NAME_BYTES_MAX).take_while(|b| in_name(**b)).count();
    let right = text[at..].iter().take(NAME_BYTES_MAX).take_while(|b| in_name(**b)).count();
    at - left..at + right
}

/// The value given to the name around `at`.
pub(super) fn around(text: &[u8], at: usize, form: Form) -> Option<Assignment> {
    let name = name(text, at);
    // A line of shell within something else: a machine's first commands in a manifest.
    let form = if text[..name.start].ends_with(b"export ") { Form::Settings } else { form };
    // `--password v4lue` of a command.
    let option = text[name.clone()].starts_with(b"--");
    let form = if option && form == Form::Settings { Form::Words } else { form };
    let mut cursor = Cursor { text, at: name.end };
    let quote = cursor.any(b"\"'`");
    cursor.any(b"]");
    cursor.spaces();
    // `<add key="Password" value="…"/>`.
    if quote && cursor.rest().starts_with(b"value=") {
        cursor.at += b"value".len();
    }
    let called = quote && cursor.any(b",");
    if !called && operator(&mut cursor, form).is_none() {
        worded(&mut cursor, quote)?;
    }
    cursor.blanks();
    // `b"…"`, `@"…"`, `r#"…"#`, `L"…"`.
    let prefix = cursor.rest().iter().take(3).position(|b| b"\"'`".contains(b)).unwrap_or(0);
    if cursor.rest()[..prefix].iter().all(|b| b.is_ascii_alphabetic() || b"@#".contains(b)) {
        cursor.at += prefix;
    }
    if form == Form::Code
        && let Some(value) = cursor.connection(name.start, quote)
    {
        return Some(Assignment { name, value, quoted: true });
    }
    let (value, quoted) = cursor.value(form)?;
    Some(Assignment { name, value, quoted })
}

/// Steps over what stands between a name and its value.
fn operator(cursor: &mut Cursor<'_>, form: Form) -> Option<()> {
    let rest = cursor.rest();
    let starts = |op: &[u8]| rest.starts_with(op);
    if starts(b"==") || starts(b"=~") || starts(b"::") {
        return None;
    }
    for op in [&b":="[..], b"=>", b"?=", b"||=", b"||", b"??", b"=", b":", b">"] {
        if starts(op) {
            cursor.at += op.len();
            cursor.spaces();
            // `password: string = "…"`; `<Pass encoding="base64">…`.
            let word = cursor.rest().iter().take(40).take_while(|b| in_name(**b) || b"<>[]?|&*' ".contains(b)).count();
            let after = cursor.rest().get(word..).unwrap_or_default();
            let typed = op == b":"
                && word > 0
                && form == Form::Code
                && after.first() == Some(&b'=')
                && after.get(1) != Some(&b'=');
            if typed {
                cursor.at += word + 1;
            }
            return Some(());
        }
    }
    if let Some(end) = attributes(rest) {
        cursor.at += end;
        return Some(());
    }
    (form == Form::Words && cursor.text.get(cursor.at.checked_sub(1)?).is_some_and(|b| b" \t".contains(b)))
        .then_some(())
}

/// A name and a quoted value with nothing between them, or a type: `PASSWORD 'v4lue'`, `#define PASS "v4lue"`,
/// `password As String = "v4lue"`, `token string = "v4lue"`.
fn worded(cursor: &mut Cursor<'_>, quote: bool) -> Option<()> {
    const WORDS_BYTES_MAX: usize = 40;
    if quote || !cursor.text.get(cursor.at.checked_sub(1)?).is_some_and(|b| b" \t".contains(b)) {
        return None;
    }
    let rest = cursor.rest();
    let words = rest.iter().take(WORDS_BYTES_MAX).take_while(|b| in_name(**b) || b"*[] ".contains(b)).count();
    let typed = words > 0 && rest[words - 1] == b' ' && rest.get(words) == Some(&b'=');
    let typed =
        typed && rest.get(words + 1).is_some_and(|b| *b == b' ') && rest[..words].split(|b| *b == b' ').count() < 4;
    if typed {
        cursor.at += words + 1;
    }
    (typed || rest.first().is_some_and(|b| b"\"'".contains(b))).then_some(())
}

/// The end of an element's opening tag: ` encoding="base64">`.
fn attributes(rest: &[u8]) -> Option<usize> {
    let tag = &rest[..rest.len().min(60)];
    let end = tag.iter().position(|b| b"<>\n;{(".contains(b))?;
    (tag[end] == b'>' && tag[..end].contains(&b'=') && tag[..end].ends_with(b"\"")).then_some(end + 1)
}

struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn rest(&self) -> &'a [u8] {
        &self.text[self.at.min(self.text.len())..]
    }
    fn spaces(&mut self) {
        self.at += self.rest().iter().take(40).take_while(|b| b" \t".contains(b)).count();
    }
    /// Spaces, and a way to a quote on the next line: `(`, `\\`.
    fn blanks(&mut self) {
        self.spaces();
        let rest = self.rest();
        let gap = &rest[..rest.len().min(GAP_BYTES_MAX)];
        let open = gap.iter().position(|b| !b" \t\r\n(\\".contains(b)).unwrap_or(gap.len());
        let turned = gap[..open].contains(&b'\n') && !gap[..open].windows(2).any(|two| two == b"\n\n");
        if turned && gap.get(open).is_some_and(|b| b"\"'`".contains(b)) {
            self.at += open;
        }
    }
    fn any(&mut self, of: &[u8]) -> bool {
        let hit = self.rest().first().is_some_and(|b| of.contains(b));
        self.at += usize::from(hit);
        hit
    }

    /// `host=a password=…;` within a string: the name stands behind what parts such pairs.
    fn connection(&self, name: usize, quote: bool) -> Option<std::ops::Range<usize>> {
        let opens = self.text[..name].last().is_some_and(|b| b"; \"'&?,".contains(b));
        let equals = self.text[..self.at].ends_with(b"=");
        let rest = self.rest();
        let line = &rest[..rest.len().min(VALUE_BYTES_MAX)];
        let end = line.iter().position(|b| b";\"'\n<> {}()&\\".contains(b))?;
        let within = opens && equals && !quote && end > 0 && in_string(&self.text[..name]);
        (within && b";\"'& \\".contains(&line[end])).then_some(self.at..self.at + end)
    }

    fn value(&mut self, form: Form) -> Option<(std::ops::Range<usize>, bool)> {
        let rest = self.rest();
        let line = &rest[..rest.len().min(VALUE_BYTES_MAX)];
        let escaped = line.starts_with(b"\\\"");
        let quote = if escaped { Some(b'"') } else { line.first().copied().filter(|b| b"\"'`".contains(b)) };
        if let Some(quote) = quote {
            let triple = !escaped && line.len() > 3 && line[..3] == [quote; 3];
            let from = if escaped {
                2
            } else if triple {
                3
            } else {
                1
            };
            let mut before = 0u8;
            for (i, byte) in line.iter().enumerate().skip(from) {
                match *byte {
                    b'\n' | b'\r' => return None,
                    b if b == quote && (escaped || before != b'\\') => {
                        let end = if escaped && before == b'\\' { i - 1 } else { i };
                        return Some((self.at + from..self.at + end, true));
                    }
                    b => before = b,
                }
            }
            return None;
        }
        if form == Form::Code {
            // An element's content is as good as quoted.
            let element = self.at > 0 && self.text[self.at - 1] == b'>';
            let end = line.iter().position(|b| b"<\n".contains(b)).filter(|end| element && line[*end] == b'<')?;
            return Some((self.at..self.at + end, true));
        }
        let stop = |b: &u8| b.is_ascii_whitespace() || b"\"'`,;".contains(b);
        let end = line.iter().position(stop).unwrap_or(line.len());
        (end < VALUE_BYTES_MAX).then_some((self.at..self.at + end, false))
    }
}

/// Is the end of this text within quotes that were opened on its last line?
pub(super) fn in_string(text: &[u8]) -> bool {
    const LOOKED_AT: usize = 300;
    let near = &text[text.len().saturating_sub(LOOKED_AT)..];
    let line = near.rsplit(|b| *b == b'\n').next().unwrap_or(near);
    let mut open = None;
    for (i, byte) in line.iter().enumerate() {
        let escaped = i > 0 && line[i - 1] == b'\\';
        match open {
            None if b"\"'`".contains(byte) && !escaped => open = Some(*byte),
            Some(quote) if quote == *byte && !escaped => open = None,
            _ => {}
        }
    }
    open.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, form: Form) -> Option<(String, String)> {
        let at = text.find("pass").unwrap();
        let found = around(text.as_bytes(), at, form)?;
        Some((text[found.name].to_string(), text[found.value].to_string()))
    }

    #[test]
    fn values_in_programs() {
        for text in [
            "db.password = 'v4lue'",
            "  \"db.password\": \"v4lue\",",
            "let db.password: Option<String> = \"v4lue\";",
            "$c['db.password'] = \"v4lue\";",
            "define('db.password', 'v4lue');",
            "{ db.password: `v4lue` }",
            "db.password := \"v4lue\"",
            "db.password => b'v4lue'",
            "<db.password>v4lue</db.password>",
            "<db.password enc=\"plain\">v4lue</db.password>",
            "<add key=\"db.password\" value=\"v4lue\" />",
            "\"Server=a;db.password=v4lue;X=1\"",
            "  export db.password=v4lue\n",
            "\"Server=a; db.password=v4lue\"",
            "x = \"{\\\"db.password\\\": \\\"v4lue\\\"}\"",
            "\"host=a db.password=v4lue user=x\"",
            "'dsn: a&db.password=v4lue&x=1'",
            "#define db.password \"v4lue\"",
            "ALTER ROLE a WITH db.password 'v4lue'",
            "Dim db.password As String = \"v4lue\"",
            "var db.password string = `v4lue`",
            "const db.password: &str = \"v4lue\"",
            "ENV['db.password'] ||= 'v4lue'",
            "db.password = '''v4lue'''",
            "db.password = (\n    'v4lue'\n)",
            "db.password =\n  \"v4lue\"",
        ] {
            let text = text.replace("{\\\"db.password\\\": ", "{db.password: ");
            assert_eq!(found(&text, Form::Code), Some(("db.password".into(), "v4lue".into())), "{text}");
        }
        for text in [
            "f(a, password=v4lue , b)",
            "db.password\n\n'v4lue'",
            "if password == 'v4lue'",
            "password(\"v4lue\")",
            "password = get()",
            "password = 'v4\nlue'",
            "password",
            "password::new('x')",
        ] {
            assert_eq!(found(text, Form::Code), None, "{text}");
        }
    }

    #[test]
    fn values_in_settings() {
        for text in ["password=v4lue", "password: v4lue # why", "export password=v4lue;", "password = \"v4lue\""] {
            assert_eq!(found(text, Form::Settings), Some(("password".into(), "v4lue".into())), "{text}");
        }
        assert_eq!(found("login x password v4lue\n", Form::Words), Some(("password".into(), "v4lue".into())));
        assert_eq!(found("password v4lue", Form::Settings), None);
        assert_eq!(found("x --password v4lue y", Form::Settings), Some(("--password".into(), "v4lue".into())));
        let _ = found("pass=", Form::Settings);
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in ".{0,40}pass.{0,60}", form in 0..3) {
            let form = [Form::Code, Form::Settings, Form::Words][form as usize];
            let at = text.find("pass").unwrap();
            if let Some(found) = around(text.as_bytes(), at, form) {
                proptest::prop_assert!(found.value.end <= text.len() && found.name.end <= found.value.start);
            }
        }
    }
}
