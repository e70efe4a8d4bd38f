//! From `promql-parser`'s tree to a [`Plan`]. Every type is checked again and everything that the evaluator does not do
//! is refused here, with a message that quotes the word to blame (`syntax::located` finds it in the text).

use std::time::{Duration, SystemTime};

use promql_parser::parser as ast;

use crate::domain::metric::{Labels, MatchOp, Matcher, NAME, anchored};

use super::binary::{Binary, Cardinality, Op};
use super::plan::{AggregateOp, At, Grouping, Kind, Node, Plan, Relabel, Selector, Shift, SortBy};
use super::{functions, over_time};

type Result<T> = std::result::Result<T, String>;

pub(super) fn compile(expr: &ast::Expr) -> Result<Plan> {
    let mut compiler = Compiler { selectors: Vec::new() };
    let root = compiler.node(expr)?;
    Ok(Plan { root, selectors: compiler.selectors })
}

struct Compiler {
    selectors: Vec<Selector>,
}

impl Compiler {
    fn node(&mut self, expr: &ast::Expr) -> Result<Node> {
        match expr {
            ast::Expr::NumberLiteral(number) => Ok(Node::Number(number.val)),
            ast::Expr::StringLiteral(text) => Ok(Node::Text(text.val.clone())),
            ast::Expr::Paren(paren) => self.node(&paren.expr),
            ast::Expr::VectorSelector(selector) => Ok(Node::Instant(self.selector(selector, None)?)),
            ast::Expr::MatrixSelector(matrix) => {
                Ok(Node::Range(self.selector(&matrix.vs, Some(milliseconds(matrix.range)?))?))
            }
            ast::Expr::Subquery(sub) => {
                let shift = shift(sub.at.as_ref(), sub.offset.as_ref())?;
                let inner = self.typed(&sub.expr, &[Kind::Vector, Kind::Scalar], "subquery")?;
                let step_ms = sub.step.filter(|s| !s.is_zero()).map(milliseconds).transpose()?;
                let range_ms = milliseconds(sub.range)?;
                Ok(Node::Subquery { inner: Box::new(inner), range_ms, step_ms, shift })
            }
            ast::Expr::Unary(unary) => {
                let inner = self.typed(&unary.expr, &[Kind::Vector, Kind::Scalar], "unary expression")?;
                Ok(match inner {
                    Node::Number(v) => Node::Number(-v),
                    other => Node::Negate(Box::new(other)),
                })
            }
            ast::Expr::Aggregate(aggregate) => self.aggregate(aggregate),
            ast::Expr::Binary(binary) => self.binary(binary),
            ast::Expr::Call(call) => self.call(call),
            ast::Expr::Extension(_) => Err("extensions are not supported".into()),
        }
    }

    fn typed(&mut self, expr: &ast::Expr, kinds: &[Kind], context: &str) -> Result<Node> {
        let node = self.node(expr)?;
        if kinds.contains(&node.kind()) {
            return Ok(node);
        }
        let (wanted, got) = (kinds[0].title(), node.kind().title());
        Err(format!("expected type {wanted} in {context}, got {got}"))
    }

    fn boxed(&mut self, expr: &ast::Expr, kind: Kind, context: &str) -> Result<Box<Node>> {
        self.typed(expr, &[kind], context).map(Box::new)
    }

    fn selector(&mut self, selector: &ast::VectorSelector, range_ms: Option<i64>) -> Result<usize> {
        if !selector.matchers.or_matchers.is_empty() {
            return Err("'or' between matchers is not supported".into());
        }
        let mut matchers: Vec<Matcher> = Vec::new();
        matchers.extend(selector.name.iter().map(|name| Matcher::equal(NAME, name)));
        for matcher in &selector.matchers.matchers {
            matchers.push(Matcher { label: matcher.name.clone(), op: match_op(matcher)? });
        }
        if matchers.iter().all(|m| m.matches_value("")) {
            return Err("vector selector must contain at least one non-empty matcher".into());
        }
        let shift = shift(selector.at.as_ref(), selector.offset.as_ref())?;
        self.selectors.push(Selector { matchers, shift, range_ms });
        Ok(self.selectors.len() - 1)
    }

    fn aggregate(&mut self, aggregate: &ast::AggregateExpr) -> Result<Node> {
        let name = aggregate.op.to_string();
        let op = match name.as_str() {
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
            other => return Err(format!("aggregation '{other}' is not supported")),
        };
        let context = format!("aggregation '{name}'");
        let vector = self.boxed(&aggregate.expr, Kind::Vector, &context)?;
        let wanted = match op {
            AggregateOp::Quantile | AggregateOp::Topk | AggregateOp::Bottomk => Some(Kind::Scalar),
            AggregateOp::CountValues => Some(Kind::Text),
            _ => None,
        };
        let param = match (&aggregate.param, wanted) {
            (Some(param), Some(kind)) => Some(self.boxed(param, kind, &context)?),
            (None, None) => None,
            _ => return Err(format!("wrong number of arguments for {context}")),
        };
        if op == AggregateOp::CountValues
            && let Some(Node::Text(label)) = param.as_deref()
            && label.is_empty()
        {
            return Err("invalid label name \"\" in 'count_values'".into());
        }
        let grouping = match &aggregate.modifier {
            None => Grouping::By(Vec::new()),
            Some(ast::LabelModifier::Include(names)) => Grouping::By(names.labels.clone()),
            Some(ast::LabelModifier::Exclude(names)) => Grouping::Without(names.labels.clone()),
        };
        Ok(Node::Aggregate { op, vector, param, grouping })
    }

    fn binary(&mut self, binary: &ast::BinaryExpr) -> Result<Node> {
        let name = binary.op.to_string();
        let op = Op::parse(&name).ok_or_else(|| format!("operator '{name}' is not supported"))?;
        let either = [Kind::Vector, Kind::Scalar];
        let context = format!("operand of '{name}'");
        let left = self.typed(&binary.lhs, &either, &context)?;
        let right = self.typed(&binary.rhs, &either, &context)?;
        let scalars = (left.kind() == Kind::Scalar, right.kind() == Kind::Scalar);
        if op.is_set() && scalars != (false, false) {
            return Err(format!("set operator '{name}' not allowed in binary scalar expression"));
        }
        let default = ast::BinModifier::default();
        let modifier = binary.modifier.as_ref().unwrap_or(&default);
        if op.is_comparison() && scalars == (true, true) && !modifier.return_bool {
            return Err(format!("comparisons between scalars must use BOOL modifier, see '{name}'"));
        }
        if modifier.fill_values.lhs.is_some() || modifier.fill_values.rhs.is_some() {
            return Err("the modifier 'fill' is not supported".into());
        }
        let (on, names) = match &modifier.matching {
            None => (false, Vec::new()),
            Some(ast::LabelModifier::Include(names)) => (true, names.labels.clone()),
            Some(ast::LabelModifier::Exclude(names)) => (false, names.labels.clone()),
        };
        let (cardinality, include) = match &modifier.card {
            ast::VectorMatchCardinality::OneToOne | ast::VectorMatchCardinality::ManyToMany => {
                (Cardinality::OneToOne, Vec::new())
            }
            ast::VectorMatchCardinality::ManyToOne(names) => (Cardinality::ManyToOne, names.labels.clone()),
            ast::VectorMatchCardinality::OneToMany(names) => (Cardinality::OneToMany, names.labels.clone()),
        };
        let return_bool = modifier.return_bool;
        Ok(Node::Binary(Box::new(Binary { op, left, right, return_bool, cardinality, on, names, include })))
    }

    fn call(&mut self, call: &ast::Call) -> Result<Node> {
        let name = call.func.name;
        let context = format!("call to function '{name}'");
        let args: Vec<&ast::Expr> = call.args.args.iter().map(|a| &**a).collect();
        let arity = |least: usize, most: usize| -> Result<()> {
            if (least..=most).contains(&args.len()) {
                return Ok(());
            }
            Err(format!("wrong number of arguments in {context}: {}", args.len()))
        };

        if let Some((compute, keep_name)) = over_time::find(name) {
            let (source, param) = match name {
                "quantile_over_time" => {
                    arity(2, 2)?;
                    (args[1], Some(args[0]))
                }
                "predict_linear" => {
                    arity(2, 2)?;
                    (args[0], Some(args[1]))
                }
                _ => {
                    arity(1, 1)?;
                    (args[0], None)
                }
            };
            let param = param.map(|p| self.boxed(p, Kind::Scalar, &context)).transpose()?;
            let source = self.boxed(source, Kind::Matrix, &context)?;
            return Ok(Node::OverTime { compute, keep_name, source, param });
        }
        if let Some((compute, least, most)) = functions::find(name) {
            if functions::is_date(name) && args.is_empty() {
                let vector = Box::new(Node::ToVector(Box::new(Node::Time)));
                return Ok(Node::Map { compute, vector, params: Vec::new() });
            }
            arity(least + 1, most + 1)?;
            let vector = self.boxed(args[0], Kind::Vector, &context)?;
            let params = args[1..].iter().map(|p| self.typed(p, &[Kind::Scalar], &context)).collect::<Result<_>>()?;
            return Ok(Node::Map { compute, vector, params });
        }
        match name {
            "time" => arity(0, 0).map(|()| Node::Time),
            "pi" => arity(0, 0).map(|()| Node::Number(std::f64::consts::PI)),
            "scalar" => {
                arity(1, 1)?;
                Ok(Node::ToScalar(self.boxed(args[0], Kind::Vector, &context)?))
            }
            "vector" => {
                arity(1, 1)?;
                Ok(Node::ToVector(self.boxed(args[0], Kind::Scalar, &context)?))
            }
            "timestamp" => {
                arity(1, 1)?;
                Ok(Node::Timestamp(self.boxed(args[0], Kind::Vector, &context)?))
            }
            "absent" => {
                arity(1, 1)?;
                let vector = self.boxed(args[0], Kind::Vector, &context)?;
                Ok(Node::Absent { labels: self.absent_labels(&vector), vector })
            }
            "absent_over_time" => {
                arity(1, 1)?;
                let source = self.boxed(args[0], Kind::Matrix, &context)?;
                Ok(Node::AbsentOverTime { labels: self.absent_labels(&source), source })
            }
            "sort" | "sort_desc" => {
                arity(1, 1)?;
                let by = SortBy::Value { descending: name == "sort_desc" };
                Ok(Node::Sort { vector: self.boxed(args[0], Kind::Vector, &context)?, by })
            }
            "sort_by_label" | "sort_by_label_desc" => {
                arity(1, usize::MAX)?;
                let vector = self.boxed(args[0], Kind::Vector, &context)?;
                let names = args[1..].iter().map(|a| self.text(a, &context)).collect::<Result<_>>()?;
                Ok(Node::Sort { vector, by: SortBy::Labels { names, descending: name == "sort_by_label_desc" } })
            }
            "histogram_quantile" => {
                arity(2, 2)?;
                let quantile = self.boxed(args[0], Kind::Scalar, &context)?;
                Ok(Node::HistogramQuantile { quantile, vector: self.boxed(args[1], Kind::Vector, &context)? })
            }
            "histogram_fraction" => {
                arity(3, 3)?;
                let lower = self.boxed(args[0], Kind::Scalar, &context)?;
                let upper = self.boxed(args[1], Kind::Scalar, &context)?;
                Ok(Node::HistogramFraction { lower, upper, vector: self.boxed(args[2], Kind::Vector, &context)? })
            }
            "label_replace" => {
                arity(5, 5)?;
                let vector = self.boxed(args[0], Kind::Vector, &context)?;
                let dst = self.label(args[1], &context)?;
                let [replacement, src, pattern] = [args[2], args[3], args[4]].map(|a| self.text(a, &context));
                let pattern = pattern?;
                let regex = anchored(&pattern)
                    .map_err(|_| format!("invalid regular expression '{pattern}' in label_replace()"))?;
                Ok(Node::Relabel { vector, how: Relabel::Replace { dst, replacement: replacement?, src: src?, regex } })
            }
            "label_join" => {
                arity(3, usize::MAX)?;
                let vector = self.boxed(args[0], Kind::Vector, &context)?;
                let dst = self.label(args[1], &context)?;
                let separator = self.text(args[2], &context)?;
                let sources = args[3..].iter().map(|a| self.text(a, &context)).collect::<Result<_>>()?;
                Ok(Node::Relabel { vector, how: Relabel::Join { dst, separator, sources } })
            }
            other => Err(format!("function '{other}' is not supported")),
        }
    }

    fn text(&mut self, expr: &ast::Expr, context: &str) -> Result<String> {
        match self.typed(expr, &[Kind::Text], context)? {
            Node::Text(text) => Ok(text),
            _ => Err(format!("expected type string in {context}")),
        }
    }

    fn label(&mut self, expr: &ast::Expr, context: &str) -> Result<String> {
        let name = self.text(expr, context)?;
        if name.is_empty() { Err(format!("invalid destination label name in {context}: \"\"")) } else { Ok(name) }
    }

    /// What `absent` can say about the series that is not there: labels that the selector demands by equality, once.
    fn absent_labels(&self, node: &Node) -> Labels {
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

fn match_op(matcher: &promql_parser::label::Matcher) -> Result<MatchOp> {
    use promql_parser::label::MatchOp as Theirs;
    // Their second try, with braces escaped, covers patterns that are valid in Go and not here.
    let compiled = |fallback: &regex::Regex| anchored(&matcher.value).unwrap_or_else(|_| fallback.clone());
    Ok(match &matcher.op {
        Theirs::Equal => MatchOp::Equal(matcher.value.clone()),
        Theirs::NotEqual => MatchOp::NotEqual(matcher.value.clone()),
        Theirs::Re(re) => MatchOp::Regex(compiled(re)),
        Theirs::NotRe(re) => MatchOp::NotRegex(compiled(re)),
    })
}

fn shift(at: Option<&ast::AtModifier>, offset: Option<&ast::Offset>) -> Result<Shift> {
    let at = match at {
        None => None,
        Some(ast::AtModifier::Start) => Some(At::Start),
        Some(ast::AtModifier::End) => Some(At::End),
        Some(ast::AtModifier::At(time)) => Some(At::Ms(epoch_ms(*time)?)),
    };
    let offset_ms = match offset {
        None => 0,
        Some(ast::Offset::Pos(d)) => milliseconds(*d)?,
        Some(ast::Offset::Neg(d)) => -milliseconds(*d)?,
    };
    Ok(Shift { at, offset_ms })
}

fn epoch_ms(time: SystemTime) -> Result<i64> {
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => milliseconds(after),
        Err(before) => milliseconds(before.duration()).map(|ms| -ms),
    }
}

/// Bounded so that sums of a few of them cannot overflow.
fn milliseconds(d: Duration) -> Result<i64> {
    i64::try_from(d.as_millis()).ok().filter(|ms| *ms <= i64::MAX / 16).ok_or_else(|| "duration out of range".into())
}
