//! Secrets in base64, hex or percent signs, also one within the other. Pure.

use std::ops::Range;

use super::checks;
use super::scan::{Hit, View, tokens};

/// Encodings within encodings that are looked into.
pub(super) const DEPTH_MAX: u8 = 2;
/// Shortest encoded text that could hold a token.
const ENCODED_BYTES_MIN: usize = 32;
const ENCODED_BYTES_MAX: usize = 64 * 1024;

/// Secrets in base64, hex or percent signs.
pub(super) fn encoded(text: &[u8], path: &str, view: View, depth: u8) -> Vec<Hit> {
    let mut hits = Vec::new();
    if depth == 0 {
        return hits;
    }
    let mut start = 0;
    for at in 0..=text.len() {
        if at < text.len() && IN_RUN[usize::from(text[at])] {
            continue;
        }
        if (ENCODED_BYTES_MIN..=ENCODED_BYTES_MAX).contains(&(at - start)) {
            hits.extend(decoded(&text[start..at], path, view, depth, start..at));
        }
        start = at + 1;
    }
    hits
}

/// Of what encoded texts are made.
static IN_RUN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        table[byte] =
            b.is_ascii_alphanumeric() || b == b'+' || b == b'/' || b == b'=' || b == b'_' || b == b'-' || b == b'%';
        byte += 1;
    }
    table
};

fn decoded(run: &[u8], path: &str, view: View, depth: u8, place: Range<usize>) -> Option<Hit> {
    let run = std::str::from_utf8(run).ok()?;
    // `key=BASE64`: what stands before the sign is no part of it.
    let value = match run.trim_end_matches('=').rfind('=') {
        Some(at) => &run[at + 1..],
        None => run,
    };
    let (how, inner) = if value.contains('%') {
        ("percent signs", percent(value)?)
    } else if value.len() % 2 == 0 && value.bytes().all(|b| b.is_ascii_hexdigit()) {
        ("hex", hex(value)?)
    } else {
        ("base64", checks::base64(value)?)
    };
    let printable = inner.iter().filter(|b| b.is_ascii_graphic() || b.is_ascii_whitespace()).count();
    if inner.len() < 16 || printable * 20 < inner.len() * 19 {
        return None;
    }
    let mut found = tokens(&inner, path, view);
    if found.is_empty() {
        found = encoded(&inner, path, view, depth - 1);
    }
    // Signed tokens are base64 themselves, and their parts are not what leaked.
    let best = found.into_iter().filter(|h| h.rule != "jwt").max_by_key(|h| (h.confidence, h.severity))?;
    Some(Hit { place, encoded: Some(how), ..best })
}

fn percent(text: &str) -> Option<Vec<u8>> {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        if bytes[at] == b'%' {
            out.push(u8::from_str_radix(text.get(at + 1..at + 3)?, 16).ok()?);
            at += 3;
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    Some(out)
}

fn hex(text: &str) -> Option<Vec<u8>> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}
