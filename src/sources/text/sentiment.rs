//! Sentiment: only what the writer said in numbers. Words alone mislead (a lexicon reads "can't log in" as neutral and
//! "killer feature" as negative), so text without stars has none.

/// Stars 1 to 5 as −1 to 1: 1–2 negative, 3 neutral, 4–5 positive. `None` without stars or outside the scale.
pub fn of_rating(rating: Option<u8>) -> Option<f64> {
    rating.filter(|r| (1..=5).contains(r)).map(|r| (f64::from(r) - 3.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_are_the_truth_and_nothing_else_is() {
        assert_eq!([1, 3, 5].map(|r| of_rating(Some(r))), [Some(-1.0), Some(0.0), Some(1.0)]);
        assert_eq!([None, Some(0), Some(9)].map(of_rating), [None, None, None]);
    }
}
