//! The tokens by which texts are indexed and searched: the same on both databases.
//!
//! They are words, pairs of characters, and groups of three digits. The databases never cut a text:
//! pairs and groups are written in ASCII letters and digits, which every version and locale of both
//! takes for one word.
//!
//! PostgreSQL's `pg_trgm` needs rights to install, and trigrams miss words of one or two characters, as most
//! Chinese words are. A dictionary (`icu_segmenter`, 6 MB of data) may cut a word in a sentence differently
//! than in a query, and differently in its next version.

use std::{fmt, ops::Range};

#[cfg(feature = "sqlite")]
use super::words::{WORD_MAX, code_letter, is_accent};
use super::{
    scripts::characters,
    words::{GROUP, Run, numbers, runs, spelled},
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) enum Token {
    Word(String),
    /// Two adjacent characters of a run.
    Pair(char, char),
    /// The last character of a run.
    Last(char),
    /// Adjacent digits of a number. The last token of a number is shorter than a group.
    Digits(String),
    /// Any pair that begins with this character, or the last one. Only searches have it.
    First(char),
}

/// A token with its place in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::store) struct Placed {
    pub(in crate::store) token: Token,
    pub(in crate::store) place: Range<usize>,
    /// The end of a pair's first character.
    pub(super) first_end: usize,
}

impl Placed {
    fn new(token: Token, place: Range<usize>) -> Self {
        Self { token, first_end: place.end, place }
    }
}

/// All tokens of a text, in the order of the index. Groups of digits come after all others, so that
/// a phrase may continue after a number.
pub(in crate::store) fn tokens(text: &str) -> Vec<Placed> {
    let mut tokens = Vec::with_capacity(text.len() / 4);
    for run in runs(text) {
        match run {
            Run::Word(place) => {
                let word = spelled(text.get(place.clone()).unwrap_or_default());
                // Some accents are letters by themselves, and nothing is left of them.
                if !word.is_empty() {
                    tokens.push(Placed::new(Token::Word(word), place));
                }
            }
            Run::Pairs(run) => add_pairs(&mut tokens, &characters(text, &run)),
        }
    }
    for number in numbers(text) {
        for at in 0..number.len() - 1 {
            let digits = number.iter().skip(at).take(GROUP);
            let place = digits.clone().map(|(_, place)| place.clone());
            let place = place.reduce(|all, last| all.start..last.end).unwrap_or_default();
            let digits = digits.map(|(digit, _)| *digit).collect();
            tokens.push(Placed::new(Token::Digits(digits), place));
        }
    }
    tokens
}

fn add_pairs(tokens: &mut Vec<Placed>, characters: &[(char, Range<usize>)]) {
    for (at, (first, place)) in characters.iter().enumerate() {
        let placed = match characters.get(at + 1) {
            Some((second, last)) => Placed {
                token: Token::Pair(*first, *second),
                place: place.start..last.end,
                first_end: place.end,
            },
            None => Placed::new(Token::Last(*first), place.clone()),
        };
        tokens.push(placed);
    }
}

/// The text as sent to a database: its tokens, separated by blanks.
pub(in crate::store) fn cleaned(text: &str) -> String {
    written(tokens(text).iter().map(|placed| &placed.token))
}

/// The same for SQLite. `None` for a text whose own words are its tokens: it is indexed as it is.
#[cfg(feature = "sqlite")]
pub(in crate::store) fn cleaned_unless_plain(text: &str) -> Option<String> {
    let is_plain = |run| match run {
        Run::Word(place) => is_spelled_alike(text.get(place).unwrap_or_default()),
        Run::Pairs(_) => false,
    };
    let plain = numbers(text).is_empty() && runs(text).all(is_plain);
    (!plain).then(|| cleaned(text))
}

#[cfg(feature = "sqlite")]
fn is_spelled_alike(word: &str) -> bool {
    if word.is_ascii() {
        return word.len() <= WORD_MAX && code_letter(word).is_none();
    }
    spelled(word).chars().eq(word.chars().filter(|char| !is_accent(*char)))
}

/// The words among the tokens, separated by blanks.
pub(in crate::store) fn words(tokens: &[Placed]) -> String {
    written(tokens.iter().map(|placed| &placed.token).filter(|token| token.is_word()))
}

pub(super) fn written<'a>(tokens: impl Iterator<Item = &'a Token>) -> String {
    let mut written = String::new();
    for token in tokens {
        if !written.is_empty() {
            written.push(' ');
        }
        written.push_str(&token.to_string());
    }
    written
}

impl Token {
    pub(in crate::store) fn is_word(&self) -> bool {
        matches!(self, Self::Word(_))
    }

    /// Whether a token of a search matches one of a text.
    pub(super) fn matches(&self, of_text: &Self) -> bool {
        match (self, of_text) {
            (Self::First(first), Self::Pair(other, _) | Self::Last(other)) => first == other,
            _ => self == of_text,
        }
    }
}

/// Form in the databases: pairs and digits begin with a letter and a digit, so that no language of
/// PostgreSQL reduces them.
impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Word(word) => f.write_str(word),
            Self::Pair(first, second) => write!(f, "x{}{}", Coded(*first), Coded(*second)),
            Self::Last(only) | Self::First(only) => write!(f, "x{}", Coded(*only)),
            Self::Digits(digits) => write!(f, "y{digits}"),
        }
    }
}

/// A character by its code point, in four digits of base 32. The paired scripts have code points
/// below 2^18, so the first digit is 0 to 7.
struct Coded(char);

impl fmt::Display for Coded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        [15, 10, 5, 0].into_iter().try_for_each(|shift| {
            let digit = char::from_digit((u32::from(self.0) >> shift) & 31, 32);
            fmt::Write::write_char(f, digit.unwrap_or('0'))
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_is_its_tokens_with_blanks_between() {
        for (text, words) in [
            ("My tooth aches: \"Zahnweh\"!", "My tooth aches Zahnweh"),
            ("ada@example.com/a_b <b>x</b>", "ada example com a b b x b"),
            ("a@1a@1", "a 1a 1"),
            ("cafe\u{301} caf\u{e9}", "cafe caf\u{e9}"),
            ("\u{301}\u{301} -- !", ""),
            ("7½", "7½"),
            ("a \u{1dd3} b", "a b"),
            ("牙痛了", "x0sip0ter x0ter0jk6 x0jk6"),
            ("AB-12345 x", "AB 12345 x y123 y234 y345 y45"),
            ("12", "12"),
            ("y170 170", "yy170 170 y170 y701 y017 y170 y70"),
        ] {
            assert_eq!(cleaned(text), words, "{text}");
        }
    }

    #[test]
    fn a_text_of_words_is_indexed_as_it_is() {
        for plain in ["My tooth, and the gum: 12 cafe\u{301}s — b2b", "", "👍", "दाँत में दर्द"]
        {
            assert_eq!(cleaned_unless_plain(plain), None, "{plain}");
        }
        for other in ["牙", "call 555", "y12", "x1000", "ＭＲＩ", "٣", &"x".repeat(65)] {
            assert_eq!(cleaned_unless_plain(other), Some(cleaned(other)), "{other}");
        }
    }

    proptest! {
        /// The size of the index is bounded by the text's, up to a factor.
        #[test]
        fn the_tokens_of_a_text_are_bounded(text in any_text()) {
            let (tokens, chars) = (tokens(&text), text.chars().count());
            prop_assert!(tokens.len() <= 2 * chars, "{} tokens of {chars} characters", tokens.len());
            prop_assert!(cleaned(&text).len() <= 10 * text.len());
            for placed in &tokens {
                prop_assert!(text.get(placed.place.clone()).is_some_and(|part| !part.is_empty()));
                prop_assert!(text.is_char_boundary(placed.first_end));
            }
        }

        #[test]
        fn a_cleaned_text_is_letters_digits_and_single_blanks(text in any_text()) {
            let cleaned = cleaned(&text);
            prop_assert!(cleaned.chars().all(|char| char.is_alphanumeric() || char == ' '));
            prop_assert!(!cleaned.contains("  ") && cleaned.trim() == cleaned);
        }

        #[test]
        fn a_coded_token_is_a_letter_a_digit_and_ascii(text in any_text()) {
            for placed in tokens(&text).iter().filter(|placed| !placed.token.is_word()) {
                let coded = placed.token.to_string();
                prop_assert!(coded.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()));
                prop_assert!(coded.as_bytes()[0].is_ascii_lowercase() && coded.as_bytes()[1].is_ascii_digit());
            }
        }
    }

    fn any_text() -> impl Strategy<Value = String> {
        prop_oneof![
            any::<String>(),
            "[a-c0-9 牙痛了가각ก็ำبَأ\u{fdfa}ｶﾞ々ー\u{301}.,\\-]{0,200}",
            "[\\p{Han}\\p{Thai}\\p{Arabic}\\p{Hangul}\\p{M}\\p{Nd} ]{0,200}",
        ]
    }
}
