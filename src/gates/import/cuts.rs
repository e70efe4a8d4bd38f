//! What importer tests share: a report that was cut short must be refused, wherever the cut fell.

use proptest::test_runner::TestCaseError;

use super::ImportError;

/// `text` up to byte `at` (moved back to a character's edge) is an error, unless only white space is missing.
pub fn refused<T: std::fmt::Debug>(
    text: &str,
    at: usize,
    parse: impl Fn(&str) -> Result<T, ImportError>,
) -> Result<(), TestCaseError> {
    let whole = text.trim_end().len();
    let cut = (0..=at.min(whole)).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
    if cut < whole {
        let read = parse(&text[..cut]);
        proptest::prop_assert!(read.is_err(), "cut at {cut} of {whole} reads as {read:?}");
    }
    Ok(())
}
