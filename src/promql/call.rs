//! Calls of functions: how many arguments, of which types, and the node that computes them.

use crate::domain::metric::anchored;

use super::compile::{Compiler, Result, label_name};
use super::plan::{Kind, Node, Relabel, SortBy};
use super::syntax::Fault;
use super::syntax::ast::Expr;
use super::{functions, over_time};

/// Prometheus has them behind a feature flag, and so do we not.
const EXPERIMENTAL: &[&str] = &[
    "end",
    "histogram_quantiles",
    "double_exponential_smoothing",
    "info",
    "max_of",
    "min_of",
    "ts_of_first_over_time",
    "ts_of_max_over_time",
    "ts_of_min_over_time",
    "ts_of_last_over_time",
    "range",
    "start",
    "start_timestamp",
    "step",
];

/// One call while it is compiled.
struct Call<'c> {
    compiler: &'c mut Compiler,
    expr: &'c Expr,
    name: &'c str,
    args: &'c [Expr],
    context: String,
}

impl Compiler {
    pub(super) fn call(&mut self, expr: &Expr, name: &str, args: &[Expr]) -> Result<Node> {
        let context = format!("call to function {name:?}");
        Call { compiler: self, expr, name, args, context }.node()
    }
}

impl Call<'_> {
    fn fault(&self, message: impl Into<String>) -> Fault {
        Fault::new(self.expr.span.start, message)
    }

    fn arity(&self, least: usize, most: usize) -> Result<()> {
        let (got, name) = (self.args.len(), self.name);
        match () {
            () if (least..=most).contains(&got) => Ok(()),
            () if least == most => {
                Err(self.fault(format!("expected {least} argument(s) in call to {name:?}, got {got}")))
            }
            () if got < least => {
                Err(self.fault(format!("expected at least {least} argument(s) in call to {name:?}, got {got}")))
            }
            () => Err(self.fault(format!("expected at most {most} argument(s) in call to {name:?}, got {got}"))),
        }
    }

    fn arg(&mut self, i: usize, kind: Kind) -> Result<Box<Node>> {
        let context = self.context.clone();
        self.compiler.typed(&self.args[i], kind, &context).map(Box::new)
    }

    fn text(&mut self, i: usize) -> Result<String> {
        match *self.arg(i, Kind::Text)? {
            Node::Text(text) => Ok(text),
            _ => Err(self.fault("a text was expected")),
        }
    }

    fn texts(&mut self, from: usize) -> Result<Vec<String>> {
        (from..self.args.len()).map(|i| self.text(i)).collect()
    }

    fn node(mut self) -> Result<Node> {
        if let Some((compute, keep_name)) = over_time::find(self.name) {
            return self.over_time(compute, keep_name);
        }
        if let Some((compute, least, most)) = functions::find(self.name) {
            if functions::is_date(self.name) && self.args.is_empty() {
                let vector = Box::new(Node::ToVector(Box::new(Node::Time)));
                return Ok(Node::Map { compute, vector, params: Vec::new() });
            }
            let least = if functions::is_date(self.name) { 0 } else { least + 1 };
            self.arity(least, most + 1)?;
            let vector = self.arg(0, Kind::Vector)?;
            let params = (1..self.args.len()).map(|i| self.arg(i, Kind::Scalar).map(|p| *p)).collect::<Result<_>>()?;
            return Ok(Node::Map { compute, vector, params });
        }
        match self.name {
            "time" => self.arity(0, 0).map(|()| Node::Time),
            "pi" => self.arity(0, 0).map(|()| Node::Number(std::f64::consts::PI)),
            "scalar" => {
                self.arity(1, 1)?;
                Ok(Node::ToScalar(self.arg(0, Kind::Vector)?))
            }
            "vector" => {
                self.arity(1, 1)?;
                Ok(Node::ToVector(self.arg(0, Kind::Scalar)?))
            }
            "timestamp" => {
                self.arity(1, 1)?;
                Ok(Node::Timestamp(self.arg(0, Kind::Vector)?))
            }
            "absent" => {
                self.arity(1, 1)?;
                let vector = self.arg(0, Kind::Vector)?;
                Ok(Node::Absent { labels: self.compiler.absent_labels(&vector), vector })
            }
            "absent_over_time" => {
                self.arity(1, 1)?;
                let source = self.arg(0, Kind::Matrix)?;
                Ok(Node::AbsentOverTime { labels: self.compiler.absent_labels(&source), source })
            }
            "sort" | "sort_desc" | "sort_by_label" | "sort_by_label_desc" => self.sort(),
            "histogram_quantile" => {
                self.arity(2, 2)?;
                let quantile = self.arg(0, Kind::Scalar)?;
                let vector = self.arg(1, Kind::Vector)?;
                let [quantile_at, vector_at] = [0, 1].map(|i| self.args[i].span.start);
                Ok(Node::HistogramQuantile { quantile, vector, quantile_at, vector_at })
            }
            "histogram_fraction" => {
                self.arity(3, 3)?;
                let (lower, upper) = (self.arg(0, Kind::Scalar)?, self.arg(1, Kind::Scalar)?);
                let vector = self.arg(2, Kind::Vector)?;
                Ok(Node::HistogramFraction { lower, upper, vector, vector_at: self.args[2].span.start })
            }
            "label_replace" => self.label_replace(),
            "label_join" => self.label_join(),
            name if EXPERIMENTAL.contains(&name) => Err(self.fault(format!("function {name:?} is not enabled"))),
            name => Err(self.fault(format!("unknown function with name {name:?}"))),
        }
    }

    fn over_time(mut self, compute: over_time::Compute, keep_name: bool) -> Result<Node> {
        let (source, param) = match self.name {
            "quantile_over_time" => (1, Some(0)),
            "predict_linear" => (0, Some(1)),
            _ => (0, None),
        };
        let count = 1 + usize::from(param.is_some());
        self.arity(count, count)?;
        let is_quantile = self.name == "quantile_over_time";
        let is_rate = matches!(self.name, "rate" | "increase");
        let place = |i: usize| self.args[i].span.start;
        let (quantile_at, counter_at) = (is_quantile.then(|| place(0)), is_rate.then(|| place(0)));
        // In the order of the text, as Prometheus checks them.
        let mut nodes = (0..count)
            .map(|i| self.arg(i, if i == source { Kind::Matrix } else { Kind::Scalar }))
            .collect::<Result<Vec<_>>>()?;
        let source = nodes.remove(source);
        let param = nodes.pop();
        Ok(Node::OverTime { compute, keep_name, source, param, quantile_at, counter_at })
    }

    fn sort(mut self) -> Result<Node> {
        let descending = self.name.ends_with("_desc");
        let by_label = self.name.starts_with("sort_by_label");
        self.arity(1, if by_label { usize::MAX } else { 1 })?;
        let vector = self.arg(0, Kind::Vector)?;
        let by =
            if by_label { SortBy::Labels { names: self.texts(1)?, descending } } else { SortBy::Value { descending } };
        Ok(Node::Sort { vector, by, at: self.expr.span.start })
    }

    fn label_replace(mut self) -> Result<Node> {
        self.arity(5, 5)?;
        let vector = self.arg(0, Kind::Vector)?;
        let texts = self.texts(1)?;
        let [_, replacement, src, pattern] = &texts[..] else { return Err(self.fault("five arguments were expected")) };
        let dst = self.destination()?;
        let regex = anchored(pattern)
            .map_err(|_| Fault::late(format!("invalid regular expression in label_replace(): {pattern}")))?;
        let how = Relabel::Replace { dst, replacement: replacement.clone(), src: src.clone(), regex };
        Ok(Node::Relabel { vector, how })
    }

    fn label_join(mut self) -> Result<Node> {
        self.arity(3, usize::MAX)?;
        let vector = self.arg(0, Kind::Vector)?;
        let mut texts = self.texts(1)?;
        let dst = self.destination()?;
        let sources = texts.split_off(2);
        if sources.iter().any(String::is_empty) {
            return Err(Fault::late("invalid source label name in label_join(): "));
        }
        let separator = texts.swap_remove(1);
        Ok(Node::Relabel { vector, how: Relabel::Join { dst, separator, sources } })
    }

    fn destination(&self) -> Result<String> {
        let name = self.name;
        label_name(&self.args[1])
            .map_err(|given| Fault::late(format!("invalid destination label name in {name}(): {given}")))
    }
}
