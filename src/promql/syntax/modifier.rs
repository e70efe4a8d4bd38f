//! Selectors and what follows them: `{…}`, `[range]`, `[range:step]`, `offset`, `@`, and arithmetic with durations.

use crate::domain::metric::{MatchOp, Matcher, NAME, anchored};
use crate::promql::binary::Op;
use crate::promql::plan::At;

use super::Fault;
use super::ast::{Expr, Kind, Length, Modifiers, Number, Selector, Span, Subquery};
use super::lex::{self, Token};
use super::parse::{Parser, Result};

impl<'a> Parser<'a> {
    /// After the name, if there is one.
    pub(super) fn selector(&mut self, name: Option<Token<'a>>) -> Result<Expr> {
        let mut span = match &name {
            Some(token) => Span { start: token.start, end: token.end() },
            None => Span { start: self.peek().start, end: self.peek().end() },
        };
        let mut selector = Selector {
            name: name.map(|t| t.text.to_string()),
            matchers: Vec::new(),
            patterns: Vec::new(),
            shift: Modifiers::default(),
        };
        if self.take_sign("{") {
            self.matchers(&mut selector)?;
            span.end = self.closed;
        }
        Ok(Expr { span, kind: Kind::Selector(selector) })
    }

    fn matchers(&mut self, selector: &mut Selector) -> Result<()> {
        while !self.take_sign("}") {
            let (matcher, pattern) = self.matcher()?;
            selector.matchers.push(matcher);
            selector.patterns.push(pattern);
            if !self.take_sign(",") && !self.peek().is("}") {
                return Err(self.unexpected("label matching", "\",\" or \"}\""));
            }
        }
        Ok(())
    }

    /// `name="value"`, `"utf-8 name"="value"`, or `"metric name"`.
    fn matcher(&mut self) -> Result<(Matcher, String)> {
        const CONTEXT: &str = "label matching";
        let token = self.peek().clone();
        let label = match token.kind {
            lex::Kind::Word => {
                self.take();
                token.text.to_string()
            }
            lex::Kind::Text => self.text()?.value,
            _ => return Err(self.unexpected(CONTEXT, "identifier or \"}\"")),
        };
        let sign = self.peek().text;
        if !["=", "!=", "=~", "!~"].iter().any(|s| self.peek().is(s)) {
            let names_metric = token.kind == lex::Kind::Text && (self.peek().is(",") || self.peek().is("}"));
            return match names_metric {
                true => Ok((Matcher::equal(NAME, &label), label)),
                false if token.kind == lex::Kind::Text => Err(self.unexpected(CONTEXT, "\",\" or \"}\"")),
                false => Err(self.unexpected(CONTEXT, "label matching operator")),
            };
        }
        self.take();
        if self.peek().kind != lex::Kind::Text {
            return Err(self.unexpected(CONTEXT, "string"));
        }
        let value = self.text()?.value;
        let regex = || {
            compiled(&value)
                .ok_or_else(|| Fault::new(token.start, format!("error parsing regexp: invalid pattern: `{value}`")))
        };
        let op = match sign {
            "=" => MatchOp::Equal(value.clone()),
            "!=" => MatchOp::NotEqual(value.clone()),
            "=~" => MatchOp::Regex(regex()?),
            _ => MatchOp::NotRegex(regex()?),
        };
        Ok((Matcher { label, op }, value))
    }

    /// `[…]`, `offset` and `@` bind tighter than any operator.
    pub(super) fn postfix(&mut self, mut expr: Expr) -> Result<Expr> {
        loop {
            if self.peek().is("[") {
                expr = self.deeper(|p| p.brackets(expr))?;
            } else if self.peek().is("@") {
                self.take();
                let at = self.at_value(&expr)?;
                let shift = shift_of(&mut expr, "@")?;
                if shift.at.is_some() {
                    return Err(Fault::new(expr.span.start, "@ <timestamp> may not be set multiple times"));
                }
                shift.at = Some(at);
                expr.span.end = self.closed;
            } else if self.peek().keyword() == "offset" {
                self.take();
                let length = self.offset_length()?;
                let shift = shift_of(&mut expr, "offset")?;
                if shift.offset.is_some() {
                    return Err(Fault::new(expr.span.start, "offset may not be set multiple times"));
                }
                shift.offset = Some(length);
                expr.span.end = self.closed;
            } else if matches!(self.peek().keyword(), "anchored" | "smoothed") {
                let message = format!("{} modifier is experimental and not supported", self.peek().keyword());
                return Err(Fault::new(expr.span.start, message));
            } else {
                return Ok(expr);
            }
        }
    }

    fn at_value(&mut self, expr: &Expr) -> Result<At> {
        let keyword = self.peek().keyword();
        if matches!(keyword, "start" | "end") {
            self.take();
            self.need("(", "@", "timestamp")?;
            self.need(")", "@", "timestamp")?;
            return Ok(if keyword == "start" { At::Start } else { At::End });
        }
        let negative = self.peek().is("-");
        if negative || self.peek().is("+") {
            self.take();
        }
        let token = self.peek().clone();
        let word = ["inf", "nan"].iter().any(|n| token.text.eq_ignore_ascii_case(n));
        let seconds = match token.kind {
            lex::Kind::Number | lex::Kind::Duration => self.number()?.value,
            lex::Kind::Word if word => f64::NAN,
            _ => return Err(self.unexpected("@", "timestamp")),
        };
        let seconds = if negative { -seconds } else { seconds };
        if seconds.is_nan() || seconds.abs() >= i64::MAX as f64 / 1000.0 {
            let message = format!("timestamp out of bounds for @ modifier: {seconds:.6}");
            return Err(Fault::new(expr.span.start, message));
        }
        Ok(At::Ms((seconds * 1000.0).round() as i64))
    }

    fn brackets(&mut self, expr: Expr) -> Result<Expr> {
        let open = self.take().start;
        let range = self.positive("subquery or range selector")?;
        let start = expr.span.start;
        if self.take_sign(":") {
            let step = if self.peek().is("]") { None } else { Some(self.positive("subquery selector")?) };
            let end = self.need("]", "subquery selector", "\"]\"")?.end();
            let sub = Subquery { inner: expr, range, step, shift: Modifiers::default() };
            return Ok(Expr { span: Span { start, end }, kind: Kind::Subquery(Box::new(sub)) });
        }
        let end = self.need("]", "subquery or range", "\":\" or \"]\"")?.end();
        let Kind::Selector(selector) = expr.kind else {
            return Err(Fault::new(open, "ranges only allowed for vector selectors"));
        };
        match &selector.shift {
            Modifiers { offset: Some(_), .. } => Err(Fault::new(open, "no offset modifiers allowed before range")),
            Modifiers { at: Some(_), .. } => Err(Fault::new(open, "no @ modifiers allowed before range")),
            _ => Ok(Expr { span: Span { start, end }, kind: Kind::Range { selector, range } }),
        }
    }

    fn positive(&mut self, context: &str) -> Result<Length> {
        let start = self.peek().start;
        let length = self.length(0, context)?;
        match &length {
            Length::Number(Number { value, .. }) if *value <= 0.0 => {
                Err(Fault::new(start, "duration must be greater than 0"))
            }
            _ => Ok(length),
        }
    }

    /// Arithmetic with durations; binds like that of expressions.
    fn length(&mut self, least: u8, context: &str) -> Result<Length> {
        let mut left = if self.peek().is("-") || self.peek().is("+") {
            let negative = self.take().text == "-";
            signed(negative, self.deeper(|p| p.length(3, context))?)
        } else {
            self.length_primary(context)?
        };
        loop {
            let (op, binds) = match self.peek().text {
                _ if self.peek().kind != lex::Kind::Sign => return Ok(left),
                "+" => (Op::Add, 1),
                "-" => (Op::Sub, 1),
                "*" => (Op::Mul, 2),
                "/" => (Op::Div, 2),
                "%" => (Op::Mod, 2),
                "^" => (Op::Pow, 3),
                _ => return Ok(left),
            };
            if binds < least {
                return Ok(left);
            }
            let at = self.take().start;
            let right = self.deeper(|p| p.length(binds + u8::from(op != Op::Pow), context))?;
            if let (Op::Div | Op::Mod, Length::Number(Number { value: 0.0, .. })) = (op, &right) {
                let what = if op == Op::Div { "division by zero" } else { "modulo by zero" };
                return Err(Fault::new(at, what));
            }
            left = Length::Calc { op, left: Box::new(left), right: Box::new(right) };
        }
    }

    fn length_primary(&mut self, context: &str) -> Result<Length> {
        let token = self.peek().clone();
        match (&token.kind, token.keyword()) {
            (lex::Kind::Number | lex::Kind::Duration, _) => {
                let number = self.number()?;
                // Nanoseconds in 63 bits.
                if number.value > 9_223_372_036.0 {
                    return Err(Fault::new(token.start, "duration out of range"));
                }
                Ok(Length::Number(number))
            }
            (_, "step" | "range") => {
                self.take();
                self.need("(", context, "")?;
                self.need(")", context, "")?;
                Ok(if token.keyword() == "step" { Length::Step } else { Length::Range })
            }
            (_, "min_of" | "max_of") => {
                self.take();
                self.need("(", context, "")?;
                let left = Box::new(self.deeper(|p| p.length(0, context))?);
                self.need(",", context, "")?;
                let right = Box::new(self.deeper(|p| p.length(0, context))?);
                self.need(")", context, "")?;
                Ok(if token.keyword() == "min_of" { Length::Least(left, right) } else { Length::Most(left, right) })
            }
            (lex::Kind::Sign, _) if token.text == "(" => {
                self.take();
                let inner = self.deeper(|p| p.length(0, context))?;
                self.need(")", context, "")?;
                Ok(Length::Paren(Box::new(inner)))
            }
            _ => Err(self.unexpected(context, "number, duration, step(), or range()")),
        }
    }

    /// After `offset` only one operand with its sign: `a offset 5m * 2` is `(a offset 5m) * 2`.
    fn offset_length(&mut self) -> Result<Length> {
        let sign = self.peek().is("-") || self.peek().is("+");
        let negative = sign && self.take().text == "-";
        Ok(signed(negative, self.length_primary("offset")?))
    }
}

fn signed(negative: bool, length: Length) -> Length {
    match length {
        Length::Number(number) if negative => Length::Number(Number { value: -number.value, ..number }),
        other if negative => Length::Negative(Box::new(other)),
        other => other,
    }
}

fn shift_of<'e>(expr: &'e mut Expr, word: &str) -> Result<&'e mut Modifiers> {
    match &mut expr.kind {
        Kind::Selector(selector) | Kind::Range { selector, .. } => Ok(&mut selector.shift),
        Kind::Subquery(sub) => Ok(&mut sub.shift),
        _ => {
            let what = "must be preceded by an instant vector selector or range vector selector or a subquery";
            Err(Fault::new(expr.span.start, format!("{word} modifier {what}")))
        }
    }
}

/// Go takes a brace that opens no repetition literally; here it must be escaped.
fn compiled(pattern: &str) -> Option<regex::Regex> {
    anchored(pattern).or_else(|_| anchored(&braces_escaped(pattern))).ok()
}

fn braces_escaped(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 4);
    let (mut escaped, mut rest) = (false, pattern);
    while let Some(c) = rest.chars().next() {
        let repetition = || {
            let inner = rest[1..].split_once('}').map_or("", |(inner, _)| inner);
            let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
            let (low, high) = inner.split_once(',').unwrap_or((inner, "0"));
            digits(low) && (high.is_empty() || digits(high))
        };
        if escaped || !matches!(c, '{' | '}') {
            escaped = c == '\\' && !escaped;
            out.push(c);
            rest = &rest[c.len_utf8()..];
            // `\p{Greek}` and `\x{10FFFF}` have braces of their own.
            if matches!(c, 'p' | 'P' | 'x') && out.ends_with(&format!("\\{c}")) && rest.starts_with('{') {
                let end = rest.find('}').map_or(rest.len(), |i| i + 1);
                out.push_str(&rest[..end]);
                rest = &rest[end..];
            }
        } else if c == '{' && repetition() {
            let end = rest.find('}').map_or(rest.len(), |i| i + 1);
            out.push_str(&rest[..end]);
            rest = &rest[end..];
        } else {
            out.push('\\');
            out.push(c);
            rest = &rest[1..];
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stray_braces_are_literal_as_in_go() {
        assert!(compiled("a{b}").unwrap().is_match("a{b}"));
        assert!(compiled("a{2}").unwrap().is_match("aa"));
        assert!(compiled(r"{\p{Greek}+}").unwrap().is_match("{αβ}"));
        assert!(compiled("(").is_none());
    }
}
