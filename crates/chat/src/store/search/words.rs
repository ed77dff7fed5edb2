//! The words of a text, and its runs of characters that are indexed by pairs.
//!
//! PostgreSQL's own parser looks for addresses, tags and paths in a text, and takes quadratic time
//! for some. Therefore it receives only words separated by blanks: on those it is linear.

use std::ops::Range;

use unicode_normalization::UnicodeNormalization;

use super::scripts::{characters, continues, is_paired};

/// Maximum of characters of a word that are indexed.
pub(super) const WORD_MAX: usize = 64;
/// Weight of a word, relative to a character that is indexed by pairs: about two of these
/// correspond to a word.
pub(super) const WORD_WEIGHT: usize = 2;

/// A part of a text, by its place in bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Run {
    /// Letters and digits.
    Word(Range<usize>),
    /// Characters that are indexed by pairs.
    Pairs(Range<usize>),
}

/// The places of a text's words and runs.
pub(super) fn runs(text: &str) -> impl Iterator<Item = Run> {
    let mut chars = text.char_indices().peekable();
    std::iter::from_fn(move || {
        let (start, first) = chars.find(|(_, char)| char.is_alphanumeric() || is_paired(*char))?;
        let pairs = is_paired(first);
        let goes_on = |char: char| {
            if is_paired(char) {
                return pairs;
            }
            if pairs { continues(char) } else { char.is_alphanumeric() || is_accent(char) }
        };
        let mut end = start + first.len_utf8();
        while let Some((at, char)) = chars.next_if(|(_, char)| goes_on(*char)) {
            end = at + char.len_utf8();
        }
        Some(if pairs { Run::Pairs(start..end) } else { Run::Word(start..end) })
    })
}

/// The words of a text and its characters that are indexed by pairs, each with its weight.
pub(super) fn steps(text: &str) -> impl Iterator<Item = (Range<usize>, usize)> {
    runs(text).flat_map(move |run| match run {
        Run::Word(word) => vec![(word, WORD_WEIGHT)],
        Run::Pairs(run) => {
            let mut steps: Vec<_> =
                characters(text, &run).into_iter().map(|(_, place)| (place, 1)).collect();
            steps.dedup();
            steps
        }
    })
}

/// A word in its indexed form: without combining accents, of bounded length, with digits and
/// letters of normal width. A word that looks like a coded token has one more `x` or `y` in front, so
/// that it is not taken for one.
pub(super) fn spelled(word: &str) -> String {
    let spell = |char: char| match char {
        '\u{ff21}'..='\u{ff3a}' | '\u{ff41}'..='\u{ff5a}' => narrowed(char),
        _ => digit(char).unwrap_or(char),
    };
    let mut spelled: String =
        word.chars().filter(|char| !is_accent(*char)).take(WORD_MAX).map(spell).collect();
    if let Some(letter) = code_letter(&spelled) {
        spelled.insert(0, letter);
    }
    spelled
}

/// The first letter of a word that looks like a coded token ([`super::tokens::Token`]), or like such
/// a word with more of that letter in front. Case and accents don't count: SQLite removes them.
pub(super) fn code_letter(word: &str) -> Option<char> {
    let letters =
        || word.nfd().filter(|char| !is_accent(*char)).map(|char| char.to_ascii_lowercase());
    let first = letters().next().filter(|first| matches!(first, 'x' | 'y'))?;
    let rest: Vec<char> = letters().skip_while(|char| *char == first).take(4).collect();
    let is_code = match (first, rest.as_slice()) {
        // A search for one character finds every word that begins like its code.
        ('x', [octal, others @ ..]) => {
            others.len() == 3 && octal.is_digit(8) && others.iter().all(|digit| digit.is_digit(32))
        }
        ('y', digits) => matches!(digits.len(), 2 | 3) && digits.iter().all(char::is_ascii_digit),
        _ => false,
    };
    is_code.then_some(first)
}

fn narrowed(char: char) -> char {
    char::from_u32(u32::from(char) - 0xfee0).unwrap_or(char)
}

/// The zeros of the digits in which people write telephone numbers; the other nine follow each.
const ZEROS: [char; 11] = [
    '0', '\u{660}', '\u{6f0}', '\u{966}', '\u{9e6}', '\u{e50}', '\u{ed0}', '\u{1040}', '\u{17e0}',
    '\u{ff10}', '\u{1090}',
];

/// The digit 0 to 9 that a character represents.
pub(super) fn digit(char: char) -> Option<char> {
    if char.is_ascii() {
        return char.is_ascii_digit().then_some(char);
    }
    ZEROS.iter().find_map(|zero| {
        let value = u32::from(char).checked_sub(u32::from(*zero))?;
        char::from_digit(value, 10)
    })
}

/// A combining accent, which follows its letter.
pub(super) fn is_accent(char: char) -> bool {
    matches!(char, '\u{300}'..='\u{36f}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}'
        | '\u{20d0}'..='\u{20ff}' | '\u{fe20}'..='\u{fe2f}')
}

/// Digits that belong together, each with its place: `+49 (170) 123-45` is one number.
pub(super) type Number = Vec<(char, Range<usize>)>;

/// Number of digits in an indexed group. A shorter number is found only as a whole word.
pub(super) const GROUP: usize = 3;
/// Maximum of characters between two digits of a number.
const JOINT_MAX: usize = 2;

/// The numbers of a text with at least [`GROUP`] digits.
pub(super) fn numbers(text: &str) -> Vec<Number> {
    let (mut numbers, mut number, mut joint) = (Vec::new(), Number::new(), 0);
    for (at, char) in text.char_indices() {
        if let Some(digit) = digit(char) {
            number.push((digit, at..at + char.len_utf8()));
            joint = 0;
        } else if !number.is_empty() {
            joint += 1;
            if joint > JOINT_MAX || !is_joint(char) {
                if number.len() >= GROUP {
                    numbers.push(std::mem::take(&mut number));
                }
                number.clear();
                joint = 0;
            }
        }
    }
    if number.len() >= GROUP {
        numbers.push(number);
    }
    numbers
}

/// A character that people write between the digits of a number.
fn is_joint(char: char) -> bool {
    " -./,()'\u{a0}\u{202f}\u{2009}\u{2010}\u{2011}\u{2013}’".contains(char)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_into_words_and_runs() {
        let cut = |text: &str| -> Vec<String> {
            runs(text)
                .map(|run| match run {
                    Run::Word(place) => text[place].to_owned(),
                    Run::Pairs(place) => format!("[{}]", &text[place]),
                })
                .collect()
        };
        for (text, parts) in [
            ("iPhone手机、5G", &["iPhone", "[手机]", "5G"][..]),
            ("歯がいたーい", &["[歯がいたーい]"]),
            ("ジョン・スミス", &["[ジョン]", "[スミス]"]),
            ("ปวดฟันน้ำ 3 วัน", &["[ปวดฟันน้ำ]", "3", "[วัน]"]),
            ("치과에서 봤어요", &["[치과에서]", "[봤어요]"]),
            ("طبيب الأَسنان؟", &["[طبيب]", "[الأَسنان]"]),
            ("cafe\u{301} a_b 7½", &["cafe\u{301}", "a", "b", "7½"]),
            ("\u{301}\u{301} -- !", &[]),
        ] {
            assert_eq!(cut(text), parts, "{text}");
        }
    }

    #[test]
    fn digits_that_belong_together_are_one_number() {
        let found = |text: &str| -> Vec<String> {
            numbers(text)
                .into_iter()
                .map(|number| number.into_iter().map(|(digit, _)| digit).collect())
                .collect()
        };
        assert_eq!(found("+49 (170) 123-45.67, AB12345"), ["491701234567", "12345"]);
        assert_eq!(found("1,000 EUR · 12:30 · 555"), ["1000", "555"]);
        assert_eq!(found("٠١٢٣ ๑๒ ０９"), ["01231209"]);
    }

    #[test]
    fn a_word_is_spelled_in_one_way() {
        for (word, is) in [
            ("cafe\u{301}", "cafe"),
            ("ＭＲＩ２", "MRI2"),
            ("٣", "3"),
            ("7½", "7½"),
            ("y170", "yy170"),
            ("Ýy17", "yÝy17"),
            ("y1", "y1"),
            ("y1234", "y1234"),
            ("x0sip", "xx0sip"),
            ("x0sipz", "xx0sipz"),
            ("XX0SIP0TER", "xXX0SIP0TER"),
            ("x8000", "x8000"),
            ("xylem", "xylem"),
            ("x", "x"),
        ] {
            assert_eq!(spelled(word), is);
        }
        assert_eq!(spelled(&"x".repeat(8_000)).len(), WORD_MAX);
        assert_eq!(spelled(&format!("e{}", "\u{301}".repeat(7_999))), "e");
    }
}
