//! Expressions by precedence climbing. Operators from loose to tight: `or`; `and unless`; comparisons; `+ -`;
//! `* / % atan2`; unary signs with the same; `^` from the right; then `[…]`, `offset` and `@`.

use crate::promql::binary::{Cardinality, Op};
use crate::promql::plan::Grouping;

use super::ast::{Aggregate, Binary, Expr, Kind, Number, Span, Text};
use super::lex::{self, Token};
use super::{DEPTH_MAX, Fault, OPERATORS_MAX, literal};

pub(super) type Result<T> = std::result::Result<T, Fault>;

pub(super) struct Parser<'a> {
    tokens: Vec<Token<'a>>,
    at: usize,
    depth: usize,
    operators: usize,
    /// Where the last number, duration or closing bracket ended.
    pub(super) closed: usize,
}

/// Unary signs bind like `*`, so their operand takes only what binds tighter.
const POWER: u8 = 6;

fn precedence(op: Op) -> u8 {
    match op {
        Op::Or => 1,
        Op::And | Op::Unless => 2,
        Op::Equal | Op::NotEqual | Op::Greater | Op::Less | Op::GreaterEqual | Op::LessEqual => 3,
        Op::Add | Op::Sub => 4,
        Op::Mul | Op::Div | Op::Mod | Op::Atan2 => 5,
        Op::Pow => POWER,
    }
}

pub(super) fn parse(text: &str) -> Result<Expr> {
    let mut parser = Parser { tokens: lex::tokens(text), at: 0, depth: 0, operators: 0, closed: 0 };
    if parser.peek().kind == lex::Kind::End {
        return Err(Fault::new(0, "no expression found in input"));
    }
    let expr = parser.expr(0)?;
    if parser.peek().kind != lex::Kind::End {
        return Err(parser.unexpected("", ""));
    }
    Ok(expr)
}

impl<'a> Parser<'a> {
    pub(super) fn peek(&self) -> &Token<'a> {
        // The last token is never taken, so there always is one.
        &self.tokens[self.at.min(self.tokens.len() - 1)]
    }

    pub(super) fn take(&mut self) -> Token<'a> {
        let token = self.peek().clone();
        let closes = matches!(token.kind, lex::Kind::Number | lex::Kind::Duration)
            || [")", "}", "]"].iter().any(|s| token.is(s));
        if closes {
            self.closed = token.end();
        }
        if self.at + 1 < self.tokens.len() {
            self.at += 1;
        }
        token
    }

    pub(super) fn take_sign(&mut self, sign: &str) -> bool {
        let found = self.peek().is(sign);
        if found {
            self.take();
        }
        found
    }

    pub(super) fn take_keyword(&mut self, keyword: &str) -> bool {
        let found = self.peek().keyword() == keyword;
        if found {
            self.take();
        }
        found
    }

    pub(super) fn need(&mut self, sign: &str, context: &str, expected: &str) -> Result<Token<'a>> {
        if self.peek().is(sign) { Ok(self.take()) } else { Err(self.unexpected(context, expected)) }
    }

    /// Is the token after the next one this sign?
    pub(super) fn followed_by(&self, sign: &str) -> bool {
        self.tokens.get(self.at + 1).is_some_and(|t| t.is(sign))
    }

    pub(super) fn unexpected(&self, context: &str, expected: &str) -> Fault {
        let token = self.peek();
        if let lex::Kind::Bad(why) = &token.kind {
            return Fault::new(token.start, why.clone());
        }
        let mut message = format!("unexpected {}", token.described());
        if !context.is_empty() {
            message.push_str(&format!(" in {context}"));
        }
        if !expected.is_empty() {
            message.push_str(&format!(", expected {expected}"));
        }
        Fault::new(token.start, message)
    }

    /// Trees are walked by recursion, so they have a bound.
    pub(super) fn deeper<T>(&mut self, inner: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(Fault::new(self.peek().start, format!("nested more than {DEPTH_MAX} deep")));
        }
        let result = inner(self);
        self.depth -= 1;
        result
    }

    fn operator(&self) -> Option<Op> {
        let token = self.peek();
        match token.kind {
            lex::Kind::Sign => Op::parse(token.text),
            lex::Kind::Word => Op::parse(token.keyword()),
            _ => None,
        }
    }

    fn count_operator(&mut self) -> Result<()> {
        self.operators += 1;
        if self.operators > OPERATORS_MAX {
            return Err(Fault::new(self.peek().start, format!("more than {OPERATORS_MAX} operators")));
        }
        Ok(())
    }

    pub(super) fn expr(&mut self, least: u8) -> Result<Expr> {
        let mut left = self.unary()?;
        while let Some(op) = self.operator().filter(|op| precedence(*op) >= least) {
            self.count_operator()?;
            self.take();
            let mut binary = self.modifiers(op)?;
            // `^` is right associative.
            let right = self.expr(precedence(op) + u8::from(op != Op::Pow))?;
            let span = Span { start: left.span.start, end: right.span.end };
            (binary.left, binary.right) = (left, right);
            left = Expr { span, kind: Kind::Binary(Box::new(binary)) };
        }
        if self.peek().is("</") || self.peek().is(">/") {
            let message = format!("operator {:?} is for native histograms and not supported", self.peek().text);
            return Err(Fault::new(self.peek().start, message));
        }
        Ok(left)
    }

    fn unary(&mut self) -> Result<Expr> {
        let negative = self.peek().is("-");
        if !negative && !self.peek().is("+") {
            let primary = self.primary()?;
            return self.postfix(primary);
        }
        self.count_operator()?;
        let start = self.take().start;
        let inner = self.deeper(|p| p.expr(POWER))?;
        let span = Span { start, end: inner.span.end };
        if let Kind::Number(number) = inner.kind {
            let value = if negative { -number.value } else { number.value };
            return Ok(Expr { span, kind: Kind::Number(Number { value, ..number }) });
        }
        Ok(Expr { span, kind: Kind::Unary { negative, inner: Box::new(inner) } })
    }

    fn primary(&mut self) -> Result<Expr> {
        let token = self.peek().clone();
        let start = token.start;
        match &token.kind {
            lex::Kind::Number | lex::Kind::Duration => {
                let number = self.number()?;
                Ok(Expr { span: Span { start, end: token.end() }, kind: Kind::Number(number) })
            }
            lex::Kind::Text => {
                let text = self.text()?;
                Ok(Expr { span: Span { start, end: token.end() }, kind: Kind::Text(text) })
            }
            lex::Kind::Sign if token.text == "(" => {
                self.take();
                let inner = self.deeper(|p| p.expr(0))?;
                let end = self.need(")", "", "")?.end();
                Ok(Expr { span: Span { start, end }, kind: Kind::Paren(Box::new(inner)) })
            }
            lex::Kind::Sign if token.text == "{" => self.selector(None),
            lex::Kind::Word => self.word(token),
            _ => Err(self.unexpected("", "")),
        }
    }

    /// A number, an aggregation, a call, or the name of a metric.
    fn word(&mut self, token: Token<'a>) -> Result<Expr> {
        let start = token.start;
        let keyword = token.keyword();
        if ["inf", "nan"].iter().any(|n| n.eq_ignore_ascii_case(token.text)) {
            self.take();
            let value = literal::number(token.text).unwrap_or(f64::NAN);
            self.closed = token.end();
            let number = Number { value, duration: false };
            return Ok(Expr { span: Span { start, end: token.end() }, kind: Kind::Number(number) });
        }
        let next_is_grouping = self.tokens.get(self.at + 1).is_some_and(|t| matches!(t.keyword(), "by" | "without"));
        if lex::is_aggregation(keyword) && (self.followed_by("(") || next_is_grouping) {
            self.take();
            return self.aggregate(keyword, start);
        }
        let callable = matches!(keyword, "" | "start" | "end" | "step" | "range" | "max_of" | "min_of");
        if callable && !token.text.contains(':') && self.followed_by("(") {
            self.take();
            let args = self.deeper(Self::arguments)?;
            let span = Span { start, end: self.closed };
            return Ok(Expr { span, kind: Kind::Call { name: token.text.to_string(), args } });
        }
        let not_a_metric = matches!(keyword, "bool" | "group_left" | "group_right" | "ignoring" | "on" | "atan2");
        let fill = matches!(keyword, "fill" | "fill_left" | "fill_right") && self.followed_by("(");
        if not_a_metric || fill {
            return Err(self.unexpected("", ""));
        }
        self.take();
        self.selector(Some(token))
    }

    fn arguments(&mut self) -> Result<Vec<Expr>> {
        self.need("(", "", "")?;
        let mut args = Vec::new();
        if self.take_sign(")") {
            return Ok(args);
        }
        loop {
            args.push(self.expr(0)?);
            let comma = self.peek().start;
            if self.take_sign(")") {
                return Ok(args);
            }
            self.need(",", "", "")?;
            if self.peek().is(")") {
                return Err(Fault::new(comma, "trailing commas not allowed in function call args"));
            }
        }
    }

    fn aggregate(&mut self, op: &str, start: usize) -> Result<Expr> {
        let mut grouping = self.grouping()?;
        if !self.peek().is("(") {
            return Err(self.unexpected("aggregation", ""));
        }
        let mut args = self.deeper(Self::arguments)?;
        if grouping.is_none() {
            let closed = self.closed;
            grouping = self.grouping()?;
            if grouping.is_none() {
                self.closed = closed;
            }
        }
        let span = Span { start, end: self.closed };
        if args.is_empty() {
            return Err(Fault::new(start, "no arguments for aggregate expression provided"));
        }
        if matches!(op, "limitk" | "limit_ratio") {
            let message = format!("{op}() is experimental and is not supported");
            return Err(Fault::new(start, message));
        }
        let wanted = if matches!(op, "topk" | "bottomk" | "count_values" | "quantile") { 2 } else { 1 };
        let got = args.len();
        let inner = args.pop().filter(|_| got == wanted).ok_or_else(|| {
            let message =
                format!("wrong number of arguments for aggregate expression provided, expected {wanted}, got {got}");
            Fault::new(start, message)
        })?;
        let grouping = grouping.unwrap_or(Grouping::By(Vec::new()));
        let aggregate = Aggregate { op: op.to_string(), param: args.pop(), inner, grouping };
        Ok(Expr { span, kind: Kind::Aggregate(Box::new(aggregate)) })
    }

    fn grouping(&mut self) -> Result<Option<Grouping>> {
        match self.peek().keyword() {
            "by" => {
                self.take();
                Ok(Some(Grouping::By(self.label_list()?)))
            }
            "without" => {
                self.take();
                Ok(Some(Grouping::Without(self.label_list()?)))
            }
            _ => Ok(None),
        }
    }

    /// `(a, "b.c")`; a keyword may name a label.
    fn label_list(&mut self) -> Result<Vec<String>> {
        self.need("(", "grouping opts", "\"(\"")?;
        let mut names = Vec::new();
        while !self.take_sign(")") {
            let token = self.peek().clone();
            let name = match token.kind {
                lex::Kind::Word => {
                    self.take();
                    token.text.to_string()
                }
                lex::Kind::Text => self.text()?.value,
                _ => return Err(self.unexpected("grouping opts", "label")),
            };
            if name.is_empty() {
                return Err(Fault::new(token.start, "invalid label name for grouping: \"\""));
            }
            names.push(name);
            if !self.take_sign(",") && !self.peek().is(")") {
                return Err(self.unexpected("grouping opts", "\",\" or \")\""));
            }
        }
        Ok(names)
    }

    /// `bool`, `on`, `ignoring`, `group_left`, `group_right` after an operator; the operands are filled in later.
    fn modifiers(&mut self, op: Op) -> Result<Binary> {
        let nothing = || Expr { span: Span::default(), kind: Kind::Text(Text { value: String::new(), raw: None }) };
        let mut binary = Binary {
            op,
            left: nothing(),
            right: nothing(),
            return_bool: self.take_keyword("bool"),
            cardinality: Cardinality::OneToOne,
            on: false,
            names: Vec::new(),
            include: Vec::new(),
        };
        let matching = self.peek().keyword();
        if matches!(matching, "on" | "ignoring") {
            self.take();
            binary.on = matching == "on";
            binary.names = self.label_list()?;
            let card = self.peek().keyword();
            if matches!(card, "group_left" | "group_right") {
                self.take();
                binary.cardinality = if card == "group_left" { Cardinality::ManyToOne } else { Cardinality::OneToMany };
                if self.peek().is("(") {
                    binary.include = self.label_list()?;
                }
            }
        }
        let fill = matches!(self.peek().keyword(), "fill" | "fill_left" | "fill_right") && self.followed_by("(");
        if fill {
            let message = "binop fill modifiers are experimental and not supported";
            return Err(Fault::new(self.peek().start, message));
        }
        Ok(binary)
    }

    pub(super) fn number(&mut self) -> Result<Number> {
        let token = self.take();
        let duration = token.kind == lex::Kind::Duration;
        let value = if duration {
            literal::duration(token.text)
        } else {
            literal::number(token.text).ok_or_else(|| format!("error parsing number: {:?}", token.text))
        };
        value.map(|value| Number { value, duration }).map_err(|why| Fault::new(token.start, why))
    }

    pub(super) fn text(&mut self) -> Result<Text> {
        let token = self.take();
        literal::unquote(token.text).map_err(|why| Fault::new(token.start, why))
    }
}
