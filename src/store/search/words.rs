//! The words of a text: runs of letters and digits.
//!
//! PostgreSQL's own parser looks for addresses, tags and paths in a text, and takes a time that grows
//! with the square of some. So it is given words alone, with a blank between: on those it is linear.

use std::ops::Range;

/// How many characters of a word count.
const WORD_MAX: usize = 64;

/// Where the words of a text are, in bytes.
pub(in crate::store) fn words(text: &str) -> impl Iterator<Item = Range<usize>> {
    let mut chars = text.char_indices().peekable();
    std::iter::from_fn(move || {
        let (start, first) = chars.find(|(_, char)| char.is_alphanumeric())?;
        let mut end = start + first.len_utf8();
        while let Some((at, char)) =
            chars.next_if(|(_, char)| char.is_alphanumeric() || is_accent(*char))
        {
            end = at + char.len_utf8();
        }
        Some(start..end)
    })
}

/// A word as it is indexed and searched for: without combining accents, of bounded length.
pub(in crate::store) fn spelled(word: &str) -> impl Iterator<Item = char> {
    word.chars().filter(|char| !is_accent(*char)).take(WORD_MAX)
}

/// A text's words, with a blank between.
pub(in crate::store) fn cleaned(text: &str) -> String {
    let mut cleaned = String::with_capacity(text.len());
    for word in words(text) {
        if !cleaned.is_empty() {
            cleaned.push(' ');
        }
        cleaned.extend(spelled(text.get(word).unwrap_or_default()));
    }
    cleaned
}

/// An accent that follows its letter as a character of its own.
pub(super) fn is_accent(char: char) -> bool {
    matches!(char, '\u{300}'..='\u{36f}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}'
        | '\u{20d0}'..='\u{20ff}' | '\u{fe20}'..='\u{fe2f}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_is_its_words_with_blanks_between() {
        for (text, words) in [
            ("My tooth aches: \"Zahnweh\"!", "My tooth aches Zahnweh"),
            ("ada@example.com/a_b <b>x</b>", "ada example com a b b x b"),
            ("a@1a@1", "a 1a 1"),
            ("cafe\u{301} caf\u{e9}", "cafe caf\u{e9}"),
            ("\u{301}\u{301} -- !", ""),
            ("7½ 牙痛", "7½ 牙痛"),
        ] {
            assert_eq!(cleaned(text), words, "{text}");
        }
        assert_eq!(cleaned(&"x".repeat(8_000)).len(), WORD_MAX);
        assert_eq!(cleaned(&format!("e{}", "\u{301}".repeat(7_999))), "e");
    }

    proptest! {
        #[test]
        fn a_cleaned_text_is_letters_digits_and_single_blanks(text in any::<String>()) {
            let cleaned = cleaned(&text);
            prop_assert!(cleaned.chars().all(|char| char.is_alphanumeric() || char == ' '));
            prop_assert!(!cleaned.contains("  ") && cleaned.trim() == cleaned);
            prop_assert!(cleaned.len() <= text.len());
            prop_assert_eq!(super::cleaned(&cleaned), cleaned);
        }
    }
}
