//! Full text: what is looked for, and what is found.
//!
//! Both databases take what people type into a search box: words, `"a phrase"`, `or`, `-without`.

use serde::Serialize;
use utoipa::ToSchema;

use crate::message::Message;

/// What both databases put around a hit: characters for private use, which nobody types.
pub(super) const HIT: [char; 2] = ['\u{e000}', '\u{e001}'];

/// A message that was found.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Found {
    pub(crate) message: Message,
    /// The part of its text in which the words are.
    pub(crate) snippet: Vec<Piece>,
}

/// A piece of text, which is a hit or is not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Piece {
    pub(crate) text: String,
    pub(crate) hit: bool,
}

/// Takes a snippet apart at the marks.
pub(super) fn pieces(marked: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for (number, part) in marked.split(HIT[0]).enumerate() {
        let (hit, rest) = match part.split_once(HIT[1]) {
            Some((hit, rest)) if number > 0 => (hit, rest),
            _ => ("", part),
        };
        for (text, hit) in [(hit, true), (rest, false)] {
            if !text.is_empty() {
                pieces.push(Piece { text: text.replace(HIT, ""), hit });
            }
        }
    }
    pieces
}

/// The same search in the words of SQLite's FTS5, where everything is quoted and so nothing is an
/// operator that we did not write; `None` where nothing is looked for.
pub(super) fn fts5(query: &str) -> Option<String> {
    let (mut wanted, mut unwanted) = (String::new(), String::new());
    let mut or = false;
    let mut rest = query.trim_start();
    while !rest.is_empty() {
        let (without, text) = rest.strip_prefix('-').map_or((false, rest), |text| (true, text));
        let (term, after) = match text.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"').unwrap_or((quoted, "")),
            None => text.split_once(char::is_whitespace).unwrap_or((text, "")),
        };
        rest = after.trim_start();
        if !without && term.eq_ignore_ascii_case("or") && !wanted.is_empty() {
            or = true;
        } else if term.chars().any(char::is_alphanumeric) {
            let quoted = format!("\"{}\"", term.replace('"', " "));
            if without {
                unwanted.push_str(" NOT ");
                unwanted.push_str(&quoted);
            } else {
                let joint = match (wanted.is_empty(), or) {
                    (true, _) => "",
                    (false, true) => " OR ",
                    (false, false) => " AND ",
                };
                wanted.push_str(joint);
                wanted.push_str(&quoted);
            }
            or = false;
        }
    }
    (!wanted.is_empty()).then(|| format!("({wanted}){unwanted}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snippet_comes_apart_at_its_hits() {
        let piece = |text: &str, hit| Piece { text: text.into(), hit };
        let pieces =
            |marked: &str| super::pieces(&marked.replace('<', "\u{e000}").replace('>', "\u{e001}"));
        assert_eq!(
            pieces("my <tooth> and <gum>"),
            [piece("my ", false), piece("tooth", true), piece(" and ", false), piece("gum", true)]
        );
        assert_eq!(pieces("<a>"), [piece("a", true)]);
        // Whoever writes such characters confuses nobody but the highlights.
        assert_eq!(pieces("a>b<c<"), [piece("ab", false), piece("c", false)]);
        assert!(pieces("").is_empty());
    }

    #[test]
    fn what_people_type_is_never_an_operator_of_fts5() {
        for (typed, query) in [
            ("tooth ache", Some(r#"("tooth" AND "ache")"#)),
            ("tooth or gum -crown", Some(r#"("tooth" OR "gum") NOT "crown""#)),
            (r#""my tooth" -"bad crown" x"#, Some(r#"("my tooth" AND "x") NOT "bad crown""#)),
            (r#"body:x* NEAR( "unclosed"#, Some(r#"("body:x*" AND "NEAR(" AND "unclosed")"#)),
            ("a\"b", Some("(\"a b\")")),
            ("-only", None),
            ("  ", None),
            ("or", Some(r#"("or")"#)),
            ("\" * ^ -", None),
        ] {
            assert_eq!(fts5(typed).as_deref(), query, "{typed}");
        }
    }
}
