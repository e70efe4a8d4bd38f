//! From the tree of the text to a [`Plan`]. Types are checked here, in Prometheus' words and with the place to blame,
//! and everything that the evaluator does not do is refused. Calls are in `call.rs`.

use crate::domain::metric::{Labels, MatchOp, Matcher, NAME};

use super::binary::Binary;
use super::plan::{AggregateOp, Grouping, Kind, Node, Plan, Selector, Shift};
use super::syntax::Fault;
use super::syntax::ast::{self, Expr, Frame};

pub(super) type Result<T> = std::result::Result<T, Fault>;

/// `frame` is what `step()` and `range()` mean in durations; without it those that need it stand for a second.
pub(super) fn compile(expr: &Expr, frame: Option<Frame>) -> Result<Plan> {
    let mut compiler = Compiler { selectors: Vec::new(), frame };
    let root = compiler.node(expr)?;
    Ok(Plan { root, selectors: compiler.selectors })
}

pub(super) struct Compiler {
    selectors: Vec<Selector>,
    frame: Option<Frame>,
}

impl Compiler {
    pub(super) fn node(&mut self, expr: &Expr) -> Result<Node> {
        match &expr.kind {
            ast::Kind::Number(number) => Ok(Node::Number(number.value)),
            ast::Kind::Text(text) => Ok(Node::Text(text.value.clone())),
            ast::Kind::Paren(inner) => self.node(inner),
            ast::Kind::Selector(selector) => Ok(Node::Instant(self.selector(expr, selector, None)?)),
            ast::Kind::Range { selector, range } => {
                let range_ms = self.positive(expr, range)?;
                Ok(Node::Range(self.selector(expr, selector, Some(range_ms))?))
            }
            ast::Kind::Subquery(sub) => self.subquery(expr, sub),
            ast::Kind::Unary { negative, inner } => self.unary(expr, *negative, inner),
            ast::Kind::Aggregate(aggregate) => self.aggregate(expr, aggregate),
            ast::Kind::Binary(binary) => self.binary(expr, binary),
            ast::Kind::Call { name, args } => self.call(expr, name, args),
        }
    }

    /// The message names what was wanted `in context`.
    pub(super) fn typed(&mut self, expr: &Expr, wanted: Kind, context: &str) -> Result<Node> {
        let node = self.node(expr)?;
        if node.kind() == wanted {
            return Ok(node);
        }
        let message = format!("expected type {} in {context}, got {}", wanted.title(), node.kind().title());
        Err(Fault::new(expr.span.start, message))
    }

    fn selector(&mut self, expr: &Expr, selector: &ast::Selector, range_ms: Option<i64>) -> Result<usize> {
        let start = expr.span.start;
        let mut matchers: Vec<Matcher> = Vec::new();
        matchers.extend(selector.name.iter().map(|name| Matcher::equal(NAME, name)));
        matchers.extend(selector.matchers.iter().cloned());
        if let Some(name) = &selector.name
            && let Some(at) = selector.matchers.iter().position(|m| m.label == NAME)
        {
            let message = format!("metric name must not be set twice: {name:?} or {:?}", selector.patterns[at]);
            return Err(Fault::new(start, message));
        }
        if matchers.iter().all(|m| m.matches_value("")) {
            return Err(Fault::new(start, "vector selector must contain at least one non-empty matcher"));
        }
        let shift = self.shift(expr, &selector.shift)?;
        self.selectors.push(Selector { matchers, shift, range_ms });
        Ok(self.selectors.len() - 1)
    }

    fn shift(&self, expr: &Expr, modifiers: &ast::Modifiers) -> Result<Shift> {
        let offset_ms = modifiers.offset.as_ref().map_or(Ok(0), |offset| self.milliseconds(expr, offset))?;
        Ok(Shift { at: modifiers.at, offset_ms })
    }

    fn milliseconds(&self, expr: &Expr, length: &ast::Length) -> Result<i64> {
        let frame = match self.frame {
            None if length.depends() => return Ok(1000),
            frame => frame.unwrap_or(Frame { step: 0.0, range: 0.0 }),
        };
        length.milliseconds(&frame).map_err(|why| Fault::new(expr.span.start, why))
    }

    fn positive(&self, expr: &Expr, length: &ast::Length) -> Result<i64> {
        let ms = self.milliseconds(expr, length)?;
        if ms > 0 { Ok(ms) } else { Err(Fault::new(expr.span.start, "duration must be greater than 0")) }
    }

    fn subquery(&mut self, expr: &Expr, sub: &ast::Subquery) -> Result<Node> {
        let shift = self.shift(expr, &sub.shift)?;
        let inner = self.node(&sub.inner)?;
        if inner.kind() != Kind::Vector {
            let message = format!("subquery is only allowed on instant vector, got {} instead", inner.kind().word());
            return Err(Fault::new(expr.span.start, message));
        }
        let step_ms = sub.step.as_ref().map(|step| self.positive(expr, step)).transpose()?;
        let range_ms = self.positive(expr, &sub.range)?;
        Ok(Node::Subquery { inner: Box::new(inner), range_ms, step_ms, shift })
    }

    fn unary(&mut self, expr: &Expr, negative: bool, inner: &Expr) -> Result<Node> {
        let node = self.node(inner)?;
        match (node.kind(), node) {
            (Kind::Scalar | Kind::Vector, node) if !negative => Ok(node),
            (Kind::Scalar | Kind::Vector, Node::Number(v)) => Ok(Node::Number(-v)),
            (Kind::Scalar | Kind::Vector, node) => Ok(Node::Negate(Box::new(node))),
            (kind, _) => {
                let wanted = "unary expression only allowed on expressions of type scalar or instant vector";
                Err(Fault::new(expr.span.start, format!("{wanted}, got {:?}", kind.title())))
            }
        }
    }

    fn aggregate(&mut self, expr: &Expr, aggregate: &ast::Aggregate) -> Result<Node> {
        let op = match aggregate.op.as_str() {
            "sum" => AggregateOp::Sum,
            "avg" => AggregateOp::Avg,
            "min" => AggregateOp::Min,
            "max" => AggregateOp::Max,
            "count" => AggregateOp::Count,
            "group" => AggregateOp::Group,
            "stddev" => AggregateOp::Stddev,
            "stdvar" => AggregateOp::Stdvar,
            "quantile" => AggregateOp::Quantile,
            "topk" => AggregateOp::Topk,
            "bottomk" => AggregateOp::Bottomk,
            "count_values" => AggregateOp::CountValues,
            other => return Err(Fault::new(expr.span.start, format!("aggregation {other:?} is not supported"))),
        };
        let vector = Box::new(self.typed(&aggregate.inner, Kind::Vector, "aggregation expression")?);
        let wanted = if op == AggregateOp::CountValues { Kind::Text } else { Kind::Scalar };
        let param = match &aggregate.param {
            None => None,
            Some(param) => Some(Box::new(self.typed(param, wanted, "aggregation parameter")?)),
        };
        if op == AggregateOp::CountValues {
            let name = aggregate.param.as_ref().map(label_name).unwrap_or(Err(String::new()));
            name.map_err(|quoted| Fault::late(format!("invalid label name {quoted}")))?;
        }
        let grouping = match &aggregate.grouping {
            Grouping::By(names) => Grouping::By(names.clone()),
            Grouping::Without(names) => Grouping::Without(names.clone()),
        };
        let param_at = aggregate.param.as_ref().map_or(0, |p| p.span.start);
        Ok(Node::Aggregate { op, vector, param, param_at, grouping })
    }

    fn binary(&mut self, expr: &Expr, b: &ast::Binary) -> Result<Node> {
        let (left, right) = (self.node(&b.left)?, self.node(&b.right)?);
        let (start, op) = (expr.span.start, b.op.text());
        // Prometheus points at the sign; the blank after the left operand is as near as we come.
        let sign = b.left.span.end + 1;
        if b.return_bool && !b.op.is_comparison() {
            return Err(Fault::new(sign, "bool modifier can only be used on comparison operators"));
        }
        let scalars = (left.kind() == Kind::Scalar, right.kind() == Kind::Scalar);
        if b.op.is_comparison() && scalars == (true, true) && !b.return_bool {
            return Err(Fault::new(sign, "comparisons between scalars must use BOOL modifier"));
        }
        if let Some(twice) = b.names.iter().find(|n| b.on && b.include.contains(n)) {
            let message = format!("label {twice:?} must not occur in ON and GROUP clause at once");
            return Err(Fault::new(sign, message));
        }
        for (node, side) in [(&left, &b.left), (&right, &b.right)] {
            if !matches!(node.kind(), Kind::Scalar | Kind::Vector) {
                let message = "binary expression must contain only scalar and instant vector types";
                return Err(Fault::new(side.span.start, message));
            }
        }
        if scalars != (false, false) && !b.names.is_empty() {
            return Err(Fault::new(start, "vector matching only allowed between instant vectors"));
        }
        if scalars != (false, false) && b.op.is_set() {
            return Err(Fault::new(start, format!("set operator {op:?} not allowed in binary scalar expression")));
        }
        if b.op.is_set() && b.cardinality != super::binary::Cardinality::OneToOne {
            return Err(Fault::new(start, format!("no grouping allowed for {op:?} operation")));
        }
        Ok(Node::Binary(Box::new(Binary {
            op: b.op,
            left,
            right,
            return_bool: b.return_bool,
            cardinality: b.cardinality,
            on: b.on,
            names: b.names.clone(),
            include: b.include.clone(),
        })))
    }

    /// What `absent` can say about the series that is not there: labels that the selector demands by equality, once.
    pub(super) fn absent_labels(&self, node: &Node) -> Labels {
        let (Node::Instant(i) | Node::Range(i)) = node else { return Labels::empty() };
        let matchers = &self.selectors[*i].matchers;
        let known = matchers.iter().filter_map(|m| match &m.op {
            MatchOp::Equal(value) if m.label != NAME => {
                let once = matchers.iter().filter(|other| other.label == m.label).count() == 1;
                once.then_some((m.label.as_str(), value.as_str()))
            }
            _ => None,
        });
        Labels::new(known)
    }
}

/// A text that can name a label; else what was written, quoted.
pub(super) fn label_name(expr: &Expr) -> std::result::Result<String, String> {
    match &expr.kind {
        ast::Kind::Paren(inner) => label_name(inner),
        ast::Kind::Text(ast::Text { raw: Some(raw), .. }) => Err(raw.clone()),
        ast::Kind::Text(text) if text.value.is_empty() => Err("\"\"".into()),
        ast::Kind::Text(text) => Ok(text.value.clone()),
        _ => Err(String::new()),
    }
}
