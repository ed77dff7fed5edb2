//! The part of a found text that is shown.

use super::{Piece, words::words};

/// How many words behind a hit other hits are looked for, and how many are shown before the first.
const AFTER: usize = 16;
const BEFORE: usize = 4;
/// How many bytes of text are shown at most, and how many before the first hit.
const BYTES: usize = 300;
const BYTES_BEFORE: usize = 80;

/// The part of the text that has most hits; `hits` are the numbers of words, from 0 on, in order.
pub(in crate::store) fn snippet(text: &str, hits: &[usize]) -> Vec<Piece> {
    let near = |at: usize| {
        let end = hits_at(hits, at) + AFTER;
        hits.iter().skip(at).take_while(|hit| **hit < end).count()
    };
    // The first of equals.
    let best = (0..hits.len()).rev().max_by_key(|at| near(*at));
    let first = best.map_or(0, |at| hits_at(hits, at));
    let shown = (first.saturating_sub(BEFORE), first + AFTER);
    let (mut start, mut end, mut anchor) = (None, 0, 0);
    let mut marked = Vec::new();
    for (number, word) in words(text).enumerate().take(shown.1).skip(shown.0) {
        start.get_or_insert(word.start);
        if number <= first {
            anchor = word.start;
        }
        end = word.end;
        if hits.binary_search(&number).is_ok() {
            marked.push(word);
        }
    }
    let (mut start, mut end) =
        if text.len() <= BYTES { (0, text.len()) } else { (start.unwrap_or(0), end) };
    start = text.ceil_char_boundary(start.max(anchor.saturating_sub(BYTES_BEFORE)));
    end = text.floor_char_boundary(end.min(start + BYTES));
    let mut pieces = Vec::with_capacity(2 * marked.len() + 1);
    let mut push = |from: usize, to: usize, hit| {
        if let Some(text) = text.get(from..to.min(end)).filter(|text| !text.is_empty()) {
            pieces.push(Piece { text: text.to_owned(), hit });
        }
    };
    let mut shown_to = start;
    for word in marked.into_iter().filter(|word| word.start >= start && word.start < end) {
        push(shown_to, word.start, false);
        push(word.start, word.end, true);
        shown_to = word.end;
    }
    push(shown_to, end, false);
    pieces
}

fn hits_at(hits: &[usize], at: usize) -> usize {
    hits.get(at).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn piece(text: &str, hit: bool) -> Piece {
        Piece { text: text.into(), hit }
    }

    #[test]
    fn a_short_text_is_shown_as_it_is() {
        assert_eq!(
            snippet("My tooth, and the gum!", &[1, 4]),
            [
                piece("My ", false),
                piece("tooth", true),
                piece(", and the ", false),
                piece("gum", true),
                piece("!", false)
            ]
        );
        assert_eq!(snippet("tooth", &[0]), [piece("tooth", true)]);
        assert_eq!(snippet("<b>", &[]), [piece("<b>", false)]);
        assert!(snippet("", &[]).is_empty());
    }

    #[test]
    fn of_a_long_text_the_part_with_most_hits_is_shown() {
        let text = format!(
            "{}tooth {}tooth gum tooth {}",
            "x ".repeat(300),
            "y ".repeat(300),
            "z ".repeat(300)
        );
        let pieces = snippet(&text, &[300, 601, 602, 603]);
        let shown: String = pieces.iter().map(|piece| piece.text.as_str()).collect();
        assert!(shown.starts_with("y y y y tooth gum tooth z"), "{shown}");
        assert_eq!(pieces.iter().filter(|piece| piece.hit).count(), 3);
    }

    #[test]
    fn one_word_of_8_000_characters_is_cut() {
        let pieces = snippet(&"é".repeat(8_000), &[0]);
        assert_eq!(pieces, [piece(&"é".repeat(BYTES / 2), true)]);
    }

    proptest! {
        #[test]
        fn a_snippet_is_a_bounded_part_of_its_text(
            text in "[a-c é<>@\u{301}牙]{0,600}", mut hits in prop::collection::vec(0_usize..300, 0..9),
        ) {
            hits.sort_unstable();
            hits.dedup();
            let shown: String = snippet(&text, &hits).iter().map(|piece| piece.text.as_str()).collect();
            prop_assert!(text.contains(&shown) && shown.len() <= BYTES);
        }
    }
}
