//! Matching and ranking in the process, where SQLite does neither: messages that wait to be indexed are
//! matched here, and all hits are ranked here.

use unicode_normalization::UnicodeNormalization;

use super::{
    terms::Terms,
    words::{is_accent, words},
};

/// How often a word counts at most, about: a text that repeats it is not better without end.
const SATURATION: f64 = 1.2;
/// A text of so many words is neither short nor long.
const USUAL_WORDS: f64 = 30.0;

/// A search whose words are spelled as FTS5 spells them: in lower case, without accents.
#[derive(Debug)]
pub(in crate::store) struct Matcher {
    terms: Terms,
    wanted: Vec<String>,
}

impl Matcher {
    pub(in crate::store) fn new(terms: &Terms) -> Self {
        let terms = terms.map(folded);
        let mut wanted: Vec<_> = terms.wanted().map(str::to_owned).collect();
        wanted.sort_unstable();
        wanted.dedup();
        Self { terms, wanted }
    }

    pub(in crate::store) fn is_match(&self, text: &str) -> bool {
        let folded: Vec<_> =
            words(text).map(|word| folded(text.get(word).unwrap_or_default())).collect();
        self.terms.match_words(&folded)
    }

    /// How good a hit is: the more of the wanted words, and the fewer others.
    pub(in crate::store) fn score(&self, text: &str) -> f64 {
        let mut counts = vec![0.0_f64; self.wanted.len()];
        let mut length = 0.0;
        for word in words(text) {
            length += 1.0;
            if let Some(count) = self.wanted_at(text.get(word)).and_then(|at| counts.get_mut(at)) {
                *count += 1.0;
            }
        }
        let norm = SATURATION * (0.25 + 0.75 * length / USUAL_WORDS);
        counts.iter().map(|count| count / (count + norm)).sum()
    }

    /// The numbers of the wanted words in a text.
    pub(in crate::store) fn hits(&self, text: &str) -> Vec<usize> {
        let numbered = words(text).enumerate();
        numbered
            .filter(|(_, word)| self.wanted_at(text.get(word.clone())).is_some())
            .map(|(number, _)| number)
            .collect()
    }

    fn wanted_at(&self, word: Option<&str>) -> Option<usize> {
        let word = word?;
        if word.is_ascii() {
            return self.wanted.iter().position(|wanted| wanted.eq_ignore_ascii_case(word));
        }
        let word = folded(word);
        self.wanted.iter().position(|wanted| *wanted == word)
    }
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
        ] {
            assert_eq!(matcher(typed).is_match(text), matches, "{typed} in {text}");
        }
        let tooth = matcher("tooth");
        assert!(tooth.score("tooth, tooth") > tooth.score("My crown and a tooth"));
        assert!(tooth.score("a tooth") > tooth.score(&format!("a tooth {}", "x ".repeat(99))));
        assert_eq!(tooth.hits("My Tooth: tooth"), [1, 2]);
    }
}
