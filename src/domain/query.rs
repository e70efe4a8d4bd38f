//! What a query yields, and whoever can answer one: our own evaluator, or a store elsewhere that has an engine of its own.

use std::time::Duration;

use futures_util::future::BoxFuture;

use super::clock::Timestamp;
use super::metric::{Labels, Matcher, ReadError, Series};

/// What an instant query yields.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Scalar(f64),
    /// Sorted by labels, unless the outermost operation orders by itself (`sort*`, `topk`, `bottomk`).
    Vector(Vec<(Labels, f64)>),
    /// Sorted by labels; the samples of the range, stale markers left out.
    Matrix(Vec<Series>),
    String(String),
}

impl Value {
    /// `scalar`, `vector`, `matrix`, `string`: Prometheus' `resultType`.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Scalar(_) => "scalar",
            Value::Vector(_) => "vector",
            Value::Matrix(_) => "matrix",
            Value::String(_) => "string",
        }
    }
}

/// When an expression is evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    At(Timestamp),
    /// `start`, `start + step`, … up to and including `end`.
    Each {
        start: Timestamp,
        end: Timestamp,
        step: Duration,
    },
}

/// A whole expression for an engine elsewhere.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    pub expr: &'a str,
    pub when: When,
    /// How long a sample stands for its series.
    pub lookback: Duration,
    /// The answer, or an error, comes within it.
    pub timeout: Duration,
    /// Samples the answer may have.
    pub samples_max: usize,
}

/// Its answer, with what should be known with it. A range query yields a matrix.
#[derive(Debug, Clone, PartialEq)]
pub struct Answered {
    pub value: Value,
    pub warnings: Vec<String>,
    pub infos: Vec<String>,
}

/// What label names or values to list.
#[derive(Debug, Clone, Copy)]
pub struct Listing<'a> {
    /// Of series that fit any of these; of all when there is none.
    pub matches: &'a [Vec<Matcher>],
    pub start: Timestamp,
    pub end: Timestamp,
}

/// A store elsewhere that evaluates PromQL by itself: it has more samples than anybody wants to fetch.
pub trait QueryEngine: Send + Sync {
    fn ask<'a>(&'a self, question: Question<'a>) -> BoxFuture<'a, Result<Answered, ReadError>>;
    /// Label sets of series, sorted, each once.
    fn label_sets<'a>(&'a self, of: Listing<'a>) -> BoxFuture<'a, Result<Vec<Labels>, ReadError>>;
    fn label_names<'a>(&'a self, of: Listing<'a>) -> BoxFuture<'a, Result<Vec<String>, ReadError>>;
    fn label_values<'a>(&'a self, name: &'a str, of: Listing<'a>) -> BoxFuture<'a, Result<Vec<String>, ReadError>>;
}
