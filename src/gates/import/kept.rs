//! Reading back what importers wrote: the few words that importers use are known, others are refused.

use std::collections::BTreeMap;

use serde::{Deserialize as _, Deserializer};

/// A word of ours.
pub type Word = &'static str;

/// Tools, classes of errors and labels, as the importers spell them.
const WORDS: [Word; 25] = [
    "k6",
    "oha",
    "wrk",
    "wrk2",
    "hey",
    "autocannon",
    "artillery",
    "gatling",
    "locust",
    "jmeter",
    "vegeta",
    "bombardier",
    "pgbackrest",
    "barman",
    "restic",
    "borg",
    "4xx",
    "429",
    "5xx",
    "timeout",
    "socket",
    "failed",
    "co-biased",
    "3xx",
    "dns",
];

fn known<E: serde::de::Error>(text: &str) -> Result<Word, E> {
    WORDS.into_iter().find(|w| *w == text).ok_or_else(|| E::custom("a word that no importer writes"))
}

pub fn word<'de, D: Deserializer<'de>>(from: D) -> Result<Word, D::Error> {
    known(&String::deserialize(from)?)
}

pub fn some_word<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Word>, D::Error> {
    Option::<String>::deserialize(from)?.map(|text| known(&text)).transpose()
}

pub fn counts<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<Word, u64>, D::Error> {
    let read = BTreeMap::<String, u64>::deserialize(from)?;
    read.into_iter().map(|(text, n)| Ok((known::<D::Error>(&text)?, n))).collect()
}
