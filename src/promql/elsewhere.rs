//! Expressions over samples that lie in a store with an engine of its own: it is asked for the answer, not for the
//! samples. What its PromQL says is what counts.

use std::time::Duration;

use super::{Answer, Expr, Notes, Options, QueryError, Value};
use crate::domain::clock::Timestamp;
use crate::domain::metric::{Series, SeriesReader};
use crate::domain::query::{Answered, QueryEngine, Question, When};

/// The engine to ask, when this expression reads samples at all: `vector(1)` is answered here whatever is down.
pub(super) fn engine<'a>(reader: &'a dyn SeriesReader, expr: &Expr) -> Option<&'a dyn QueryEngine> {
    reader.engine().filter(|_| !expr.plan.selectors.is_empty())
}

pub(super) async fn instant(
    engine: &dyn QueryEngine,
    expr: &Expr,
    at: Timestamp,
    opts: &Options,
) -> Result<Answer<Value>, QueryError> {
    let mut answer = ask(engine, expr, When::At(at), opts).await?;
    if let Value::Vector(vector) = &mut answer.value
        && !expr.plan.root.orders_its_result()
    {
        vector.sort_by(|a, b| a.0.cmp(&b.0));
    }
    Ok(answer)
}

pub(super) async fn range(
    engine: &dyn QueryEngine,
    expr: &Expr,
    (start, end, step): (Timestamp, Timestamp, Duration),
    opts: &Options,
) -> Result<Answer<Vec<Series>>, QueryError> {
    let Answer { value, notes, samples } = ask(engine, expr, When::Each { start, end, step }, opts).await?;
    match value {
        Value::Matrix(value) => Ok(Answer { value, notes, samples }),
        other => Err(QueryError::Elsewhere(format!("a range query was answered with a {}", other.kind()))),
    }
}

async fn ask(engine: &dyn QueryEngine, expr: &Expr, when: When, opts: &Options) -> Result<Answer<Value>, QueryError> {
    let Options { lookback, timeout, samples_max, .. } = *opts;
    let question = Question { expr: expr.text(), when, lookback, timeout, samples_max };
    let Answered { mut value, warnings, infos } = engine.ask(question).await?;
    let samples = match &mut value {
        Value::Matrix(series) => {
            series.sort_by(|a, b| a.labels.cmp(&b.labels));
            series.iter().map(|s| s.samples.len()).sum()
        }
        Value::Vector(vector) => vector.len(),
        Value::Scalar(_) | Value::String(_) => 1,
    };
    Ok(Answer { value, notes: Notes { warnings, infos }, samples })
}
