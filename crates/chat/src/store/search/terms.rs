//! The terms of a search, parsed from the typed text: one type for both databases.
//!
//! Neither database receives the typed text. Each receives quoted tokens of letters and digits,
//! between operators of our own.

use super::{
    tokens::{Placed, Token, tokens, written},
    words::{WORD_WEIGHT, digit, numbers},
};

/// Maximum of words in a search, including those of phrases and unwanted ones. The rest is ignored.
const WORDS_MAX: usize = 16;

/// A search. A message matches if it has all terms of one of the alternatives, and no unwanted one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Terms {
    alternatives: Vec<Vec<Term>>,
    unwanted: Vec<Term>,
}

/// Tokens that follow each other, in one of these ways. Usually there is one way, of one token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Term {
    ways: Vec<Vec<Token>>,
}

impl Terms {
    /// Parses words, `"a phrase"`, `or` and `-without`. `None` if no word is wanted.
    pub fn parse(typed: &str) -> Option<Self> {
        let mut terms = Self { alternatives: Vec::new(), unwanted: Vec::new() };
        let (mut room, mut or) = (WORDS_MAX * WORD_WEIGHT, false);
        let mut rest = typed.trim_start();
        while !rest.is_empty() && room > 0 {
            let (without, text) = rest.strip_prefix('-').map_or((false, rest), |text| (true, text));
            let (typed, quoted, after) = if let Some(quoted) = text.strip_prefix('"') {
                let (quoted, after) = quoted.split_once('"').unwrap_or((quoted, ""));
                (quoted, true, after)
            } else {
                let (word, after) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
                (word, false, after)
            };
            rest = after.trim_start();
            if !without && typed.eq_ignore_ascii_case("or") && !terms.alternatives.is_empty() {
                or = true;
                continue;
            }
            let Some(term) = Term::parse(typed, quoted, &mut room) else { continue };
            match terms.alternatives.last_mut() {
                _ if without => terms.unwanted.push(term),
                Some(last) if !or => last.push(term),
                _ => terms.alternatives.push(vec![term]),
            }
            or = false;
        }
        (!terms.alternatives.is_empty()).then_some(terms)
    }

    /// The search in the syntax of PostgreSQL's `to_tsquery`.
    pub(in crate::store) fn tsquery(&self) -> String {
        let any = joined(&self.alternatives, " | ", |all| {
            format!("({})", joined(all, " & ", |term| term.written(" | ", |way| followed(way))))
        });
        let mut query = format!("({any})");
        for term in &self.unwanted {
            let term = term.written(" | ", |way| followed(way));
            query.extend([" & !(", &term, ")"]);
        }
        query
    }

    /// Any of the wanted tokens, in the syntax of `to_tsquery`. Hits are ranked by this query:
    /// ranking by the distance of words takes time that is quadratic in their number.
    pub(in crate::store) fn any_token(&self) -> String {
        let wanted: Vec<_> = self.wanted().collect();
        joined(&wanted, " | ", |token| quoted(token))
    }

    /// The wanted words, separated by blanks, for reduction by the language. Empty if there are
    /// none.
    pub(in crate::store) fn wanted_words(&self) -> String {
        written(self.wanted().filter(|token| token.is_word()))
    }

    pub(super) fn wanted(&self) -> impl Iterator<Item = &Token> {
        self.ways().flatten()
    }

    fn ways(&self) -> impl Iterator<Item = &Vec<Token>> {
        self.alternatives.iter().flatten().flat_map(|term| &term.ways)
    }

    /// The parts of the wanted terms that are marked as hits: each word, and each sequence of
    /// tokens of a run or a number.
    pub(in crate::store) fn parts(&self) -> Vec<&[Token]> {
        let chunks =
            self.ways().flat_map(|way| way.chunk_by(|one, two| !one.is_word() && !two.is_word()));
        chunks.collect()
    }

    /// The search in the syntax of SQLite's FTS5.
    #[cfg(feature = "sqlite")]
    pub(in crate::store) fn fts5(&self) -> String {
        let phrase = |way: &Vec<Token>| {
            let prefix = if matches!(way.last(), Some(Token::First(_))) { "*" } else { "" };
            format!("\"{}\"{prefix}", written(way.iter()))
        };
        let written = |term: &Term| term.written(" OR ", phrase);
        let any = joined(&self.alternatives, " OR ", |all| {
            format!("({})", joined(all, " AND ", written))
        });
        let mut query = format!("({any})");
        for term in &self.unwanted {
            query.push_str(" NOT ");
            query.push_str(&written(term));
        }
        query
    }

    /// The same terms with their words respelled.
    #[cfg(feature = "sqlite")]
    pub(super) fn map(&self, spell: impl Fn(&str) -> String) -> Self {
        let token = |token: &Token| match token {
            Token::Word(word) => Token::Word(spell(word)),
            other => other.clone(),
        };
        let term = |term: &Term| Term {
            ways: term.ways.iter().map(|way| way.iter().map(token).collect()).collect(),
        };
        let all = |all: &Vec<Term>| all.iter().map(term).collect();
        Self {
            alternatives: self.alternatives.iter().map(all).collect(),
            unwanted: self.unwanted.iter().map(term).collect(),
        }
    }

    /// Whether a text of these tokens matches.
    #[cfg(feature = "sqlite")]
    pub(super) fn match_tokens(&self, tokens: &[Placed]) -> bool {
        let has = |term: &Term| {
            let is_here =
                |way: &Vec<Token>| tokens.windows(way.len()).any(|part| is_part(way, part));
            term.ways.iter().any(is_here)
        };
        self.alternatives.iter().any(|all| all.iter().all(has)) && !self.unwanted.iter().any(has)
    }
}

impl Term {
    /// Parses a word or a phrase, as much of it as fits into `room`.
    fn parse(typed: &str, quoted: bool, room: &mut usize) -> Option<Self> {
        let tokens = tokens(typed);
        let (groups, mut others): (Vec<_>, Vec<_>) =
            tokens.into_iter().partition(|placed| matches!(placed.token, Token::Digits(_)));
        if !quoted {
            without_article(&mut others);
        }
        // The end of a typed run or number may lie inside a longer one of the text.
        let mut others: Vec<_> = others.into_iter().map(|placed| placed.token).collect();
        match others.pop() {
            Some(Token::Last(_)) if matches!(others.last(), Some(Token::Pair(..))) => {}
            Some(Token::Last(only)) => others.push(Token::First(only)),
            last => others.extend(last),
        }
        let mut ways = vec![others];
        let mut groups: Vec<_> = groups.into_iter().map(|placed| placed.token).collect();
        if groups.pop().is_some() && is_one_number(typed) {
            ways.insert(0, groups);
        }
        let weighs: usize = ways.iter().flatten().map(weight).sum();
        if weighs > *room {
            ways.truncate(1);
            for way in &mut ways {
                way.truncate(fitting(way, *room));
            }
        }
        *room = room.saturating_sub(weighs);
        ways.iter().all(|way| !way.is_empty()).then_some(Self { ways })
    }

    fn written(&self, or: &str, write: impl Fn(&Vec<Token>) -> String) -> String {
        let ways = joined(&self.ways, or, write);
        if self.ways.len() > 1 { format!("({ways})") } else { ways }
    }
}

/// Whether the typed text is a single number and nothing else that is searched for.
fn is_one_number(typed: &str) -> bool {
    let alone = typed.chars().all(|char| digit(char).is_some() || !char.is_alphanumeric());
    let digits = typed.chars().filter(|char| digit(*char).is_some()).count();
    alone && matches!(numbers(typed).as_slice(), [number] if number.len() == digits)
}

/// Removes the article of an Arabic word: the word is also found with another article or none.
fn without_article(tokens: &mut Vec<Placed>) {
    let [.., Placed { token: Token::Last(last), .. }] = tokens.as_slice() else { return };
    let pairs = tokens.iter().map(|placed| match placed.token {
        Token::Pair(first, _) => Some(first),
        _ => None,
    });
    let word: String = pairs.flatten().chain([*last]).collect();
    let articles = ["وال", "بال", "كال", "فال", "ال", "لل"];
    let rest = articles.iter().find_map(|article| word.strip_prefix(article));
    let Some(rest) = rest.filter(|rest| rest.chars().count() >= 2) else { return };
    // If the term is more than this word, it has more tokens than the word has characters.
    if tokens.len() == word.chars().count() {
        tokens.drain(..tokens.len() - rest.chars().count());
    }
}

/// Number of the tokens that fit into `room`.
fn fitting(way: &[Token], room: usize) -> usize {
    let weights = way.iter().scan(0, |all, token| {
        *all += weight(token);
        Some(*all)
    });
    weights.take_while(|all| *all <= room).count()
}

/// Weight of a token in a search's room. A lookup of all pairs with one character costs as much as
/// a word.
fn weight(token: &Token) -> usize {
    match token {
        Token::Word(_) | Token::First(_) => WORD_WEIGHT,
        Token::Pair(..) | Token::Last(_) | Token::Digits(_) => 1,
    }
}

/// Whether the tokens of a search match these tokens of a text.
pub(super) fn is_part(wanted: &[Token], of_text: &[Placed]) -> bool {
    wanted.iter().zip(of_text).all(|(wanted, placed)| wanted.matches(&placed.token))
}

fn joined<T>(parts: &[T], joint: &str, write: impl Fn(&T) -> String) -> String {
    parts.iter().map(write).collect::<Vec<_>>().join(joint)
}

fn followed(way: &[Token]) -> String {
    joined(way, " <-> ", quoted)
}

/// A token consists of letters and digits only, so nothing has to be escaped.
fn quoted(token: &Token) -> String {
    let prefix = if matches!(token, Token::First(_)) { ":*" } else { "" };
    format!("'{token}'{prefix}")
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
            ("牙", "(('x0sip':*))", r#"(("x0sip"*))"#),
            ("牙痛了", "(('x0sip0ter' <-> 'x0ter0jk6'))", r#"(("x0sip0ter x0ter0jk6"))"#),
            (
                "5牙x -牙",
                "(('5' <-> 'x0sip' <-> 'x')) & !('x0sip':*)",
                r#"(("5 x0sip x")) NOT "x0sip"*"#,
            ),
            ("12", "(('12'))", r#"(("12"))"#),
            (
                "0170/12 x1234",
                "((('y017' <-> 'y170' <-> 'y701' <-> 'y012' | '0170' <-> '12') & 'xx1234'))",
                r#"((("y017 y170 y701 y012" OR "0170 12") AND "xx1234"))"#,
            ),
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
        let tokens = |typed: &str| Terms::parse(typed).unwrap().wanted().count();
        assert_eq!(tokens(&"a ".repeat(100)), WORDS_MAX);
        assert_eq!(tokens(&"牙 ".repeat(100)), WORDS_MAX);
        assert_eq!(tokens(&"牙".repeat(100)), 2 * WORDS_MAX);
        assert_eq!(tokens(&"1".repeat(100)), 2 * WORDS_MAX);
        let terms = Terms::parse(&format!("x -\"{}\"", "y ".repeat(90))).unwrap();
        let way = vec![Token::Word("y".into()); WORDS_MAX - 1];
        assert_eq!(terms.unwanted, [Term { ways: vec![way] }]);
    }

    #[test]
    fn an_article_is_left_out_but_in_a_phrase() {
        let terms = |typed: &str| Terms::parse(typed).unwrap();
        assert_eq!(terms("والأسنان"), terms("اسنان"));
        assert_ne!(terms("\"الأسنان\""), terms("اسنان"));
        assert_ne!(terms("الم"), terms("م"), "what is left is too short");
    }

    proptest! {
        #[test]
        fn a_query_is_words_and_our_own_operators(typed in "([\"\\- 牙痛가ب0-9a-c]|or|\\PC){0,200}") {
            let Some(terms) = Terms::parse(&typed) else { return Ok(()) };
            let ours = |char: char| char.is_alphanumeric() || "'()|&!<->:* ".contains(char);
            prop_assert!(terms.tsquery().chars().all(ours));
            let all = terms.alternatives.iter().flatten().chain(&terms.unwanted);
            let ways: Vec<_> = all.flat_map(|term| &term.ways).collect();
            prop_assert!(ways.iter().all(|way| !way.is_empty()));
            let weight: usize = ways.iter().flat_map(|way| way.iter()).map(weight).sum();
            prop_assert!(weight <= WORDS_MAX * WORD_WEIGHT);
        }

        /// A part of a run is found in every text that contains the run.
        #[test]
        fn what_is_in_a_run_is_found(
            before in "[a 牙痛了가각ก็ำب]{0,9}", run in "[牙痛了가각ก็ำب]{1,20}", after in "[a 牙痛了가각ก็ำب]{0,9}",
        ) {
            // A decomposed character may start in the middle of another one, which nobody types.
            prop_assume!(!before.ends_with('ก') || !run.starts_with('ำ'));
            let Some(terms) = Terms::parse(&run) else { return Ok(()) };
            let text = format!("{before}{run}{after}");
            prop_assert!(terms.match_tokens(&tokens(&text)), "{run} in {text}");
        }
    }
}
