//! Reading columns back into domain values; a word or document that does not read means a damaged file, never a default.

use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::Result;
use crate::domain::clock::Timestamp;
use crate::store::StoreError;

pub(super) fn text(row: &SqliteRow, column: &str) -> Result<String> {
    Ok(row.try_get(column)?)
}

pub(super) fn maybe_text(row: &SqliteRow, column: &str) -> Result<Option<String>> {
    Ok(row.try_get(column)?)
}

pub(super) fn int(row: &SqliteRow, column: &str) -> Result<i64> {
    Ok(row.try_get(column)?)
}

pub(super) fn time(row: &SqliteRow, column: &str) -> Result<Timestamp> {
    Ok(Timestamp::from_ms(row.try_get(column)?))
}

pub(super) fn maybe_time(row: &SqliteRow, column: &str) -> Result<Option<Timestamp>> {
    Ok(row.try_get::<Option<i64>, _>(column)?.map(Timestamp::from_ms))
}

pub(super) fn real(row: &SqliteRow, column: &str) -> Result<Option<f64>> {
    Ok(row.try_get(column)?)
}

/// A column that holds one word of an enum.
pub(super) fn word<T>(row: &SqliteRow, column: &str, parse: impl Fn(&str) -> Option<T>) -> Result<T> {
    let word: String = row.try_get(column)?;
    parse(&word).ok_or_else(|| StoreError::corrupt(format!("{column} holds the unknown word {word:?}")))
}

pub(super) fn json<T: DeserializeOwned>(row: &SqliteRow, column: &str) -> Result<T> {
    Ok(serde_json::from_str(&row.try_get::<String, _>(column)?)?)
}

pub(super) fn to_json<T: Serialize>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|e| StoreError::Database(format!("a value does not serialise: {e}")))
}

pub(super) fn ms(at: Option<Timestamp>) -> Option<i64> {
    at.map(Timestamp::ms)
}

/// The value of an enum that serialises as one word.
pub(super) fn from_serde_word<T: DeserializeOwned>(word: &str) -> Option<T> {
    serde_json::from_value(serde_json::Value::String(word.into())).ok()
}
