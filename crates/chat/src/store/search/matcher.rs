//! Matching and ranking in this process, which SQLite does not do: it matches the messages that
//! wait to be indexed, and ranks all hits.

use std::ops::Range;

use unicode_normalization::UnicodeNormalization;

use super::{
    hits::places,
    terms::Terms,
    tokens::{Placed, Token, tokens},
    words::is_accent,
};

/// Saturation of a repeated word, as in BM25: further repetitions add less and less to the score.
const SATURATION: f64 = 1.2;
/// Number of words of a text of average length.
const USUAL_WORDS: f64 = 30.0;
/// Length of a pair of characters or a group of digits, in words.
const PART: f64 = 0.5;

/// A search whose words are spelled as FTS5 spells them: in lower case, without accents.
#[derive(Debug)]
pub(in crate::store) struct Matcher {
    terms: Terms,
    wanted: Vec<Token>,
}

impl Matcher {
    pub(in crate::store) fn new(terms: &Terms) -> Self {
        let terms = terms.map(folded);
        let mut wanted: Vec<Token> = Vec::new();
        for token in terms.wanted() {
            if !wanted.contains(token) {
                wanted.push(token.clone());
            }
        }
        Self { terms, wanted }
    }

    pub(in crate::store) fn is_match(&self, text: &str) -> bool {
        self.terms.match_tokens(&folded_tokens(text))
    }

    /// Score of a hit: higher with more wanted words, lower with more other words.
    pub(in crate::store) fn score(&self, text: &str) -> f64 {
        let mut counts = vec![0.0_f64; self.wanted.len()];
        let mut length = 0.0;
        for placed in folded_tokens(text) {
            length += if placed.token.is_word() { 1.0 } else { PART };
            let at = self.wanted.iter().position(|wanted| wanted.matches(&placed.token));
            if let Some(count) = at.and_then(|at| counts.get_mut(at)) {
                *count += 1.0;
            }
        }
        let norm = SATURATION * (0.25 + 0.75 * length / USUAL_WORDS);
        counts.iter().map(|count| count / (count + norm)).sum()
    }

    /// The places of the wanted parts in a text.
    pub(in crate::store) fn hits(&self, text: &str) -> Vec<Range<usize>> {
        places(&self.terms.parts(), &folded_tokens(text))
    }
}

fn folded_tokens(text: &str) -> Vec<Placed> {
    let mut tokens = tokens(text);
    for placed in &mut tokens {
        if let Token::Word(word) = &mut placed.token {
            *word = folded(word);
        }
    }
    tokens
}

fn folded(word: &str) -> String {
    if word.is_ascii() {
        return word.to_ascii_lowercase();
    }
    word.nfd().filter(|char| !is_accent(*char)).flat_map(char::to_lowercase).nfc().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_matched_and_ranked_by_its_words() {
        let matcher = |typed: &str| Matcher::new(&Terms::parse(typed).unwrap());
        for (typed, text, matches) in [
            ("CAFE", "at the café!", true),
            ("cafe\u{301}", "Cafés", false),
            ("\"a tooth\"", "My crown and a tooth", true),
            ("\"tooth a\"", "My crown and a tooth", false),
            ("crown or gums -tooth", "Gums bleed", true),
            ("crown or gums -tooth", "gums, tooth", false),
            ("tooth gum", "tooth", false),
            ("牙 -痛", "牙医", true),
            ("牙 -痛", "牙痛", false),
        ] {
            assert_eq!(matcher(typed).is_match(text), matches, "{typed} in {text}");
        }
        let tooth = matcher("tooth");
        assert!(tooth.score("tooth, tooth") > tooth.score("My crown and a tooth"));
        assert!(tooth.score("a tooth") > tooth.score(&format!("a tooth {}", "x ".repeat(99))));
        assert_eq!(tooth.hits("My Tooth: tooth"), [3..8, 10..15]);
        let number = matcher("100");
        assert!(number.score("100 EUR") > number.score("1000 EUR"), "a whole number is better");
    }
}
