//! The terms of a search: one type for both databases, from what someone has typed.
//!
//! Neither database sees what was typed: each is given words of letters and digits, quoted, between
//! operators of our own.

use super::words::{spelled, words};

/// How many words of a search count, those of phrases and unwanted ones included; the rest is ignored.
const WORDS_MAX: usize = 16;

/// A search: a message matches that has all terms of one of the alternatives, and no unwanted one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    alternatives: Vec<Vec<Term>>,
    unwanted: Vec<Term>,
}

/// Words that follow each other; mostly there is one.
pub(super) type Term = Vec<String>;

impl Terms {
    /// Reads words, `"a phrase"`, `or` and `-without`; `None` where no word is wanted.
    pub(crate) fn parse(typed: &str) -> Option<Self> {
        let mut terms = Self { alternatives: Vec::new(), unwanted: Vec::new() };
        let (mut room, mut or) = (WORDS_MAX, false);
        let mut rest = typed.trim_start();
        while !rest.is_empty() && room > 0 {
            let (without, text) = rest.strip_prefix('-').map_or((false, rest), |text| (true, text));
            let (typed, after) = match text.strip_prefix('"') {
                Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
                None => text.split_once(char::is_whitespace).unwrap_or((text, "")),
            };
            rest = after.trim_start();
            if !without && typed.eq_ignore_ascii_case("or") && !terms.alternatives.is_empty() {
                or = true;
                continue;
            }
            let term: Term = words(typed)
                .filter_map(|word| typed.get(word).map(str::to_owned))
                .take(room)
                .collect();
            if term.is_empty() {
                continue;
            }
            room -= term.len();
            match terms.alternatives.last_mut() {
                _ if without => terms.unwanted.push(term),
                Some(last) if !or => last.push(term),
                _ => terms.alternatives.push(vec![term]),
            }
            or = false;
        }
        (!terms.alternatives.is_empty()).then_some(terms)
    }

    /// The search in PostgreSQL's `to_tsquery`.
    pub(in crate::store) fn tsquery(&self) -> String {
        let any = joined(&self.alternatives, " | ", |all| {
            format!("({})", joined(all, " & ", |term| joined(term, " <-> ", |word| quoted(word))))
        });
        let mut query = format!("({any})");
        for term in &self.unwanted {
            let term = joined(term, " <-> ", |word| quoted(word));
            query.extend([" & !(", &term, ")"]);
        }
        query
    }

    /// Any of the wanted words, in PostgreSQL's `to_tsquery`. Hits are ranked by this: to rank one by
    /// how near its words are takes a time that grows with the square of their number.
    pub(in crate::store) fn any_word(&self) -> String {
        let wanted: Vec<_> = self.wanted().collect();
        joined(&wanted, " | ", |word| quoted(word))
    }

    /// The wanted words, with blanks between.
    pub(in crate::store) fn wanted_words(&self) -> String {
        let wanted: Vec<_> = self.wanted().collect();
        joined(&wanted, " ", |word| spelled(word).collect())
    }

    pub(super) fn wanted(&self) -> impl Iterator<Item = &str> {
        self.alternatives.iter().flatten().flatten().map(String::as_str)
    }

    /// The search in the words of SQLite's FTS5.
    #[cfg(feature = "embedded")]
    pub(in crate::store) fn fts5(&self) -> String {
        let phrase = |term: &Term| format!("\"{}\"", term.join(" "));
        let any =
            joined(&self.alternatives, " OR ", |all| format!("({})", joined(all, " AND ", phrase)));
        let mut query = format!("({any})");
        for term in &self.unwanted {
            query.push_str(" NOT ");
            query.push_str(&phrase(term));
        }
        query
    }

    #[cfg(feature = "embedded")]
    pub(super) fn map(&self, spell: impl Fn(&str) -> String) -> Self {
        let term = |term: &Term| -> Term { term.iter().map(|word| spell(word)).collect() };
        let all = |all: &Vec<Term>| all.iter().map(term).collect();
        Self {
            alternatives: self.alternatives.iter().map(all).collect(),
            unwanted: self.unwanted.iter().map(term).collect(),
        }
    }

    /// Whether a text of these words matches.
    #[cfg(feature = "embedded")]
    pub(super) fn match_words(&self, words: &[String]) -> bool {
        let has = |term: &Term| words.windows(term.len()).any(|part| part == term.as_slice());
        self.alternatives.iter().any(|all| all.iter().all(has)) && !self.unwanted.iter().any(has)
    }
}

fn joined<T>(parts: &[T], joint: &str, write: impl Fn(&T) -> String) -> String {
    parts.iter().map(write).collect::<Vec<_>>().join(joint)
}

/// A word has letters and digits alone, so that nothing in it needs to be escaped.
fn quoted(word: &str) -> String {
    format!("'{}'", spelled(word).collect::<String>())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_people_type_is_never_an_operator_that_we_did_not_write() {
        for (typed, tsquery, fts5) in [
            ("tooth ache", "(('tooth' & 'ache'))", r#"(("tooth" AND "ache"))"#),
            (
                "tooth or gum -crown",
                "(('tooth') | ('gum')) & !('crown')",
                r#"(("tooth") OR ("gum")) NOT "crown""#,
            ),
            (
                r#""my tooth" -"bad crown" x"#,
                "(('my' <-> 'tooth' & 'x')) & !('bad' <-> 'crown')",
                r#"(("my tooth" AND "x")) NOT "bad crown""#,
            ),
            (
                r#"body:x* NEAR( "unclosed"#,
                "(('body' <-> 'x' & 'NEAR' & 'unclosed'))",
                r#"(("body x" AND "NEAR" AND "unclosed"))"#,
            ),
            ("a\"b or", "(('a' <-> 'b'))", r#"(("a b"))"#),
            ("or", "(('or'))", r#"(("or"))"#),
        ] {
            let terms = Terms::parse(typed).unwrap();
            assert_eq!(
                (terms.tsquery().as_str(), terms.fts5().as_str()),
                (tsquery, fts5),
                "{typed}"
            );
        }
        for nothing in ["-only", "  ", "\" * ^ -", &"- ".repeat(60), &"<!--".repeat(50)] {
            assert_eq!(Terms::parse(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn the_first_words_count() {
        let terms = Terms::parse(&"a ".repeat(100)).unwrap();
        assert_eq!(terms.wanted().count(), WORDS_MAX);
        let terms = Terms::parse(&format!("x -\"{}\"", "y ".repeat(90))).unwrap();
        assert_eq!(terms.unwanted, [vec!["y"; WORDS_MAX - 1]]);
    }

    proptest! {
        #[test]
        fn a_query_is_words_and_our_own_operators(typed in any::<String>()) {
            let Some(terms) = Terms::parse(&typed) else { return Ok(()) };
            let ours = |char: char| char.is_alphanumeric() || "'()|&!<-> ".contains(char);
            prop_assert!(terms.tsquery().chars().all(ours));
            let blanks = typed.chars().filter(|char| char.is_whitespace()).count();
            prop_assert!(terms.alternatives.len() + terms.unwanted.len() <= WORDS_MAX.max(blanks));
        }
    }
}
