//! Scripts that are indexed by pairs of characters, so that a part of a run is found.
//!
//! Chinese, Japanese, Thai, Lao, Khmer and Burmese put no blanks between words. Korean appends
//! particles to words; Arabic and Hebrew prefix the article. Lucene's `CJKAnalyzer` indexes
//! overlapping pairs for Chinese and Japanese in the same way. Pairs need no dictionary: a text and
//! a query are always cut alike, whatever surrounds the word, and whichever version indexed the
//! text.

use std::ops::Range;

use icu_properties::props::{EnumeratedProperty, Script};
use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

/// A character as it is indexed, with its place in the text.
pub(super) type Character = (char, Range<usize>);

/// Whether a character begins a run, or continues it.
pub(super) fn is_paired(char: char) -> bool {
    // All these scripts come after this character in Unicode.
    char >= '\u{590}' && is_letter_or_mark(char) && is_of_paired_script(char)
}

/// Whether a character continues a run, but begins none.
pub(super) fn continues(char: char) -> bool {
    is_combining_mark(char)
        || is_left_out(char)
        || matches!(char, '\u{30fc}' | '\u{ff70}' | '\u{ff9e}' | '\u{ff9f}')
}

/// The characters of a run. Each character of the text gives at most two, so that the size of the
/// index is bounded by that of the text.
pub(super) fn characters(text: &str, run: &Range<usize>) -> Vec<Character> {
    let run_text = text.get(run.clone()).unwrap_or_default();
    let mut characters = Vec::with_capacity(run_text.len() / 2);
    let mut chars = run_text.char_indices().peekable();
    while let Some((at, char)) = chars.next() {
        let (mut end, mut count) = (at + char.len_utf8(), 1);
        while let Some((at, more)) = chars.next_if(|(_, more)| is_joined(*more)) {
            (end, count) = (at + more.len_utf8(), count + 1);
        }
        let cluster = run_text.get(at..end).unwrap_or_default();
        let place = run.start + at..run.start + end;
        let folded = cluster.nfkd().filter(|char| is_kept(*char)).map(folded).nfc();
        characters.extend(folded.take(2 * count).map(|char| (char, place.clone())));
    }
    characters
}

/// Whether a character belongs to the one before it.
fn is_joined(char: char) -> bool {
    match char {
        // Voice marks, and the vowels and finals of decomposed Korean syllables.
        '\u{ff9e}' | '\u{ff9f}' | '\u{1160}'..='\u{11ff}' | '\u{d7b0}'..='\u{d7fb}' => true,
        _ => is_left_out(char) || (is_combining_mark(char) && !is_letter_like(char)),
    }
}

/// Whether a decomposed character is indexed. Vowel points are not: few people type them.
fn is_kept(char: char) -> bool {
    let voice_mark = matches!(char, '\u{3099}' | '\u{309a}');
    let left_out = is_left_out(char) || (is_combining_mark(char) && !is_letter_like(char));
    voice_mark || (!left_out && is_letter_or_mark(char))
}

/// Maps spellings of one letter to a single one, as Lucene's `ArabicNormalizer` does. People and
/// keyboards differ in them.
fn folded(char: char) -> char {
    match char {
        '\u{629}' => '\u{647}',
        '\u{649}' | '\u{6cc}' => '\u{64a}',
        '\u{6a9}' => '\u{643}',
        other => other,
    }
}

/// Joiners, invisible breaks, and the stroke that lengthens an Arabic word.
fn is_left_out(char: char) -> bool {
    matches!(char, '\u{640}' | '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}')
}

fn is_letter_or_mark(char: char) -> bool {
    (char.is_alphanumeric() && !char.is_numeric()) || char == '〇' || is_combining_mark(char)
}

/// Whether marks of the character's script are vowels and tones that distinguish words.
fn is_letter_like(mark: char) -> bool {
    matches!(Script::for_char(mark), Script::Khmer | Script::Lao | Script::Myanmar | Script::Thai)
}

fn is_of_paired_script(char: char) -> bool {
    matches!(
        Script::for_char(char),
        Script::Arabic
            | Script::Bopomofo
            | Script::Han
            | Script::Hangul
            | Script::Hebrew
            | Script::Hiragana
            | Script::Katakana
            | Script::Khmer
            | Script::Lao
            | Script::Myanmar
            | Script::Thai
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folded(run: &str) -> String {
        characters(run, &(0..run.len())).into_iter().map(|(char, _)| char).collect()
    }

    #[test]
    fn what_is_spelled_in_two_ways_is_indexed_in_one() {
        for (one, other) in [
            ("ｶﾞﾑ", "ガム"),
            ("か\u{3099}", "が"),
            ("\u{1100}\u{1161}\u{11a8}", "각"),
            ("الأسنان", "الاسنان"),
            ("اَلأَسْنَان", "الاسنان"),
            ("عيـــادة", "عياده"),
            ("می\u{200c}خواهم", "ميخواهم"),
            ("שָׁלוֹם", "שלום"),
            ("ភាសា\u{200b}ខ្មែរ", "ភាសាខ្មែរ"),
        ] {
            assert_eq!(folded(one), folded(other), "{one} {other}");
        }
        for other_words in [["ปู", "ปี"], ["か", "が"], ["は", "ば"]] {
            assert_ne!(folded(other_words[0]), folded(other_words[1]));
        }
    }

    #[test]
    fn a_character_knows_its_place() {
        assert_eq!(characters("a歯が", &(1..7)), [('歯', 1..4), ('が', 4..7)]);
        assert_eq!(characters("ｶﾞ", &(0..6)), [('ガ', 0..6)]);
        assert_eq!(characters("\u{fdfa}", &(0..3)).len(), 2, "of 18");
    }

    #[test]
    fn letters_of_other_scripts_and_what_is_no_letter_are_not_paired() {
        for char in "牙あアｱ々〇ㄅ가ㅋกำ็ລຂមាبא".chars() {
            assert!(is_paired(char), "{char}");
        }
        for char in "aéßЖα5٥๕。・「」฿؟، 🦷ー".chars() {
            assert!(!is_paired(char), "{char}");
        }
    }
}
