//! Whether a text holds one of a few words: the question that spares most files a closer look, asked of every byte of a
//! repository. Many words at once by SIMD where the processor has it, which is several times as fast as an automaton.

use aho_corasick::{AhoCorasick, packed};

/// As many as the packed search takes.
const TOGETHER_MAX: usize = 64;

#[derive(Debug)]
pub struct Words(Vec<Search>);

#[derive(Debug)]
enum Search {
    Packed(packed::Searcher),
    Automaton(AhoCorasick),
    /// No search could be built: every text may hold them.
    Unknown,
}

impl Words {
    pub fn new(words: &[&str]) -> Words {
        let search = |some: &[&str]| match packed::Searcher::new(some) {
            Some(packed) => Search::Packed(packed),
            None => AhoCorasick::new(some).map_or(Search::Unknown, Search::Automaton),
        };
        Words(words.chunks(TOGETHER_MAX).map(search).collect())
    }

    /// Does the text hold one of them, with its capitals as they are?
    pub fn any_in(&self, text: &[u8]) -> bool {
        self.0.iter().any(|search| match search {
            Search::Packed(packed) => packed.find(text).is_some(),
            Search::Automaton(automaton) => automaton.is_match(text),
            Search::Unknown => true,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn agrees_with_a_search_for_each(words in prop::collection::vec("[a-c]{1,4}", 1..150), text in "[a-d]{0,80}") {
            let all: Vec<&str> = words.iter().map(String::as_str).collect();
            prop_assert_eq!(Words::new(&all).any_in(text.as_bytes()), all.iter().any(|w| text.contains(w)));
        }
    }
}
