//! An expression over a SeriesReader; knows no store.
