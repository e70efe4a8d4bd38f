//! A folder of tests in which providers' tokens and people's keys lie together is no suite with invented values: it is a
//! collection, and what looks like a secret beside them is told too. So is what a test or a manual has of a secret that
//! stands elsewhere. Pure.

use std::collections::{HashMap, HashSet};

use super::scan::Value;
use super::values::is_random;
use super::{Looked, Told, files};
use crate::domain::verdict::{Confidence, Severity};

/// Suites have one or two such tokens.
const STRONG_MIN: usize = 5;

/// Raises what is only counted otherwise: in such folders, and of such values.
pub(super) fn raise<'a>(looked: impl Iterator<Item = &'a mut Looked>) {
    let mut all: Vec<_> = looked.flat_map(|looked| looked.told.iter_mut()).collect();
    let mut strong: HashMap<String, usize> = HashMap::new();
    for told in &all {
        let known = told.hit.confidence > Confidence::Low && told.hit.severity >= Severity::High;
        let formed = known && !matches!(told.hit.rule, "generic-secret" | "password" | "url-password" | "bearer-token");
        if let Some(folder) = files::suite(&told.path).filter(|_| formed) {
            *strong.entry(folder.to_string()).or_default() += 1;
        }
    }
    strong.retain(|_, count| *count >= STRONG_MIN);
    let open = |told: &&&mut Told| told.hit.confidence > Confidence::Low && told.suppressed.is_none();
    let known: HashSet<Value> = all.iter().filter(open).map(|told| told.hit.value.clone()).filter(is_its_own).collect();
    for told in all.iter_mut().filter(|told| told.hit.confidence == Confidence::Low) {
        let beside = files::suite(&told.path).is_some_and(|folder| strong.contains_key(folder));
        if beside || known.contains(&told.hit.value) {
            told.hit.confidence = Confidence::Medium;
        }
    }
}

/// No other secret is written so: what people call every account of a test is.
fn is_its_own(value: &Value) -> bool {
    let has = |class: fn(&u8) -> bool| value.0.iter().any(class);
    let mixed = has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase) && has(u8::is_ascii_digit);
    value.0.len() >= 8 && mixed || std::str::from_utf8(&value.0).is_ok_and(is_random)
}
