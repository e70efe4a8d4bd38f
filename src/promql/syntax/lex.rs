//! Text into words, numbers, durations, strings and signs, with Prometheus' rules of what may stand in braces and
//! brackets. A character that fits nowhere becomes a token of its own, so that a fault before it is reported first.

/// What a token is; its text says the rest.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    /// An identifier, a keyword or the name of a metric.
    Word,
    Number,
    Duration,
    /// Quotes included.
    Text,
    Sign,
    End,
    /// Nothing can be read from here on; the message says why.
    Bad(String),
}

#[derive(Debug, Clone)]
pub(super) struct Token<'a> {
    pub kind: Kind,
    pub start: usize,
    pub text: &'a str,
    /// Inside braces keywords are plain names.
    pub braced: bool,
}

impl Token<'_> {
    pub(super) fn end(&self) -> usize {
        self.start + self.text.len()
    }

    pub(super) fn is(&self, sign: &str) -> bool {
        self.kind == Kind::Sign && self.text == sign
    }

    /// The keyword, in lower case; empty for anything else. `fill…` is one only before a parenthesis.
    pub(super) fn keyword(&self) -> &'static str {
        if self.kind != Kind::Word || self.braced {
            return "";
        }
        KEYWORDS.iter().find(|k| k.eq_ignore_ascii_case(self.text)).copied().unwrap_or("")
    }

    /// As Prometheus names it in "unexpected …".
    pub(super) fn described(&self) -> String {
        let quoted = || match self.text.char_indices().nth(10) {
            Some((cut, _)) if self.text.len() > 10 => format!("{:?}...", &self.text[..cut]),
            _ => format!("{:?}", self.text),
        };
        match &self.kind {
            Kind::End => "end of input".into(),
            Kind::Bad(why) => format!("error {why}"),
            Kind::Number => format!("number {}", quoted()),
            Kind::Duration => format!("duration {}", quoted()),
            Kind::Text => format!("string {}", quoted()),
            Kind::Sign if OPERATORS.contains(&self.text) => format!("<op:{}>", self.text),
            Kind::Sign => quoted(),
            Kind::Word => match self.keyword() {
                "" if self.text.contains(':') => format!("metric identifier {:?}", self.text),
                "" => format!("identifier {:?}", self.text),
                "and" | "or" | "unless" | "atan2" => format!("<op:{}>", self.text),
                k if is_aggregation(k) => format!("<aggr:{}>", self.text),
                "start" | "end" | "step" | "range" | "max_of" | "min_of" => quoted(),
                _ => format!("<{}>", self.text),
            },
        }
    }
}

const KEYWORDS: &[&str] = &[
    "and",
    "or",
    "unless",
    "atan2",
    "sum",
    "avg",
    "count",
    "min",
    "max",
    "group",
    "stddev",
    "stdvar",
    "topk",
    "bottomk",
    "count_values",
    "quantile",
    "limitk",
    "limit_ratio",
    "offset",
    "smoothed",
    "anchored",
    "by",
    "without",
    "on",
    "ignoring",
    "group_left",
    "group_right",
    "fill",
    "fill_left",
    "fill_right",
    "bool",
    "start",
    "end",
    "step",
    "range",
    "max_of",
    "min_of",
];

/// Longer signs first.
const SIGNS: &[&str] = &[
    "==", "!=", "<=", ">=", "</", ">/", "=", "<", ">", "+", "-", "*", "/", "%", "^", ",", "(", ")", "[", "]", "{", "@",
];
const OPERATORS: &[&str] =
    &["==", "!=", "<=", ">=", "</", ">/", "<", ">", "+", "-", "*", "/", "%", "^", "=~", "!~", "@"];
const SIGNS_IN_BRACES: &[&str] = &["=~", "!~", "!=", "=", ",", "}"];

pub(super) fn is_aggregation(keyword: &str) -> bool {
    matches!(
        keyword,
        "sum"
            | "avg"
            | "count"
            | "min"
            | "max"
            | "group"
            | "stddev"
            | "stdvar"
            | "topk"
            | "bottomk"
            | "count_values"
            | "quantile"
            | "limitk"
            | "limit_ratio"
    )
}

/// All tokens; the last one is `End` or `Bad`.
pub(super) fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut lexer = Lexer { text, at: 0, parens: 0, braces: false, brackets: false, colon: false };
    let mut all = Vec::new();
    loop {
        let token = lexer.next();
        let last = matches!(token.kind, Kind::End | Kind::Bad(_));
        all.push(token);
        if last {
            return all;
        }
    }
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    parens: usize,
    braces: bool,
    brackets: bool,
    colon: bool,
}

impl<'a> Lexer<'a> {
    fn next(&mut self) -> Token<'a> {
        self.skip_blanks();
        let start = self.at;
        let braced = self.braces;
        match self.read() {
            Ok((kind, length)) => {
                self.at += length;
                Token { kind, start, text: &self.text[start..self.at], braced }
            }
            Err(why) => Token { kind: Kind::Bad(why), start, text: "", braced },
        }
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn skip_blanks(&mut self) {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start_matches([' ', '\t', '\n', '\r']);
            self.at += rest.len() - trimmed.len();
            if !trimmed.starts_with('#') {
                return;
            }
            self.at += trimmed.find(['\n', '\r']).unwrap_or(trimmed.len());
        }
    }

    fn read(&mut self) -> Result<(Kind, usize), String> {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else { return self.end().map(|()| (Kind::End, 0)) };
        if matches!(first, '"' | '\'' | '`') {
            return text_length(rest, first).map(|length| (Kind::Text, length));
        }
        if self.braces {
            return self.in_braces(rest, first);
        }
        let digit_follows = rest.as_bytes().get(1).is_some_and(u8::is_ascii_digit);
        if first.is_ascii_digit() || (first == '.' && digit_follows) {
            return number_or_duration(rest);
        }
        if first == ':' && self.brackets {
            if std::mem::replace(&mut self.colon, true) {
                return Err("unexpected colon ':'".into());
            }
            return Ok((Kind::Sign, 1));
        }
        if first.is_ascii_alphabetic() || first == '_' || first == ':' {
            let length = rest.find(|c: char| !(is_word(c) || c == ':')).unwrap_or(rest.len());
            return if self.brackets { in_brackets(rest, first) } else { Ok((Kind::Word, length)) };
        }
        self.sign(rest, first)
    }

    fn end(&self) -> Result<(), String> {
        match () {
            () if self.braces => Err("unexpected end of input inside braces".into()),
            () if self.parens > 0 => Err("unclosed left parenthesis".into()),
            () if self.brackets => Err("unclosed left bracket".into()),
            () => Ok(()),
        }
    }

    fn in_braces(&mut self, rest: &str, first: char) -> Result<(Kind, usize), String> {
        if first.is_ascii_alphabetic() || first == '_' {
            return Ok((Kind::Word, rest.find(|c| !is_word(c)).unwrap_or(rest.len())));
        }
        if let Some(sign) = SIGNS_IN_BRACES.iter().find(|s| rest.starts_with(**s)) {
            self.braces = *sign != "}";
            return Ok((Kind::Sign, sign.len()));
        }
        Err(match first {
            '{' => "unexpected left brace '{'".into(),
            '!' => {
                format!("unexpected character after '!' inside braces: {:?}", rest.chars().nth(1).unwrap_or('\0'))
            }
            other => format!("unexpected character inside braces: {other:?}"),
        })
    }

    fn sign(&mut self, rest: &str, first: char) -> Result<(Kind, usize), String> {
        if rest.starts_with("=~") {
            return Err("unexpected character after '=': '~'".into());
        }
        let Some(sign) = SIGNS.iter().find(|s| rest.starts_with(**s)) else {
            return Err(match first {
                '!' => format!("unexpected character after '!': {:?}", rest.chars().nth(1).unwrap_or('\0')),
                other => format!("unexpected character: {other:?}"),
            });
        };
        match *sign {
            "(" => self.parens += 1,
            ")" => {
                self.parens = self.parens.checked_sub(1).ok_or("unexpected right parenthesis ')'")?;
            }
            "{" => self.braces = true,
            "[" if self.brackets => return Err("unexpected left bracket '['".into()),
            "[" => (self.brackets, self.colon) = (true, false),
            "]" if !self.brackets => return Err("unexpected right bracket ']'".into()),
            "]" => self.brackets = false,
            _ => {}
        }
        Ok((Kind::Sign, sign.len()))
    }
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// Only the words of a duration expression may stand in brackets.
fn in_brackets(rest: &str, first: char) -> Result<(Kind, usize), String> {
    let length = rest.find(|c: char| !(c.is_ascii_alphabetic() || c == '_')).unwrap_or(rest.len());
    let known = ["step", "range", "max_of", "min_of"].iter().any(|k| k.eq_ignore_ascii_case(&rest[..length]));
    if known { Ok((Kind::Word, length)) } else { Err(format!("unexpected character: {first:?}, expected ':'")) }
}

/// Length of a string with its quotes.
fn text_length(rest: &str, quote: char) -> Result<usize, String> {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' if quote != '`' => escaped = true,
            '\n' if quote != '`' => break,
            c if c == quote => return Ok(at + 1),
            _ => {}
        }
    }
    Err(if quote == '`' { "unterminated raw string" } else { "unterminated quoted string" }.into())
}

fn number_or_duration(rest: &str) -> Result<(Kind, usize), String> {
    let bytes = rest.as_bytes();
    let run = |from: usize, fits: fn(&u8) -> bool| bytes[from..].iter().take_while(|b| fits(b)).count();
    let word_at = |at: usize| bytes.get(at).is_some_and(|b| is_word(char::from(*b)));
    let digits: fn(&u8) -> bool = |b| b.is_ascii_digit() || *b == b'_';
    let mut at;
    if rest.len() > 1 && bytes[0] == b'0' && matches!(bytes[1], b'x' | b'X') {
        at = 2 + run(2, |b| b.is_ascii_hexdigit() || *b == b'_');
    } else {
        at = run(0, digits);
        if bytes.get(at) == Some(&b'.') {
            at += 1;
            at += run(at, digits);
        }
        if matches!(bytes.get(at), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
            let exponent = run(at + 1 + sign, |b| b.is_ascii_digit());
            if exponent > 0 {
                at += 1 + sign + exponent;
            }
        }
    }
    if !word_at(at) && bytes.get(at) != Some(&b'.') {
        return Ok((Kind::Number, at));
    }
    // `1h30m`: units follow the digits; which order is right is decided when it is read.
    let number_ends = at;
    while word_at(at) {
        at += 1;
    }
    if rest[number_ends..at].bytes().all(|b| b.is_ascii_digit() || b"smhdwy".contains(&b)) && !rest[..at].contains('_')
    {
        return Ok((Kind::Duration, at));
    }
    Err(format!("bad number or duration syntax: {:?}", &rest[..at.max(number_ends + 1).min(rest.len())]))
}
