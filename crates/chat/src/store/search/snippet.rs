//! The part of a found text that is shown.

use std::ops::Range;

use super::{
    Piece,
    words::{WORD_WEIGHT, steps},
};

/// Weight of the text after a hit in which further hits count, and of the text shown before the
/// first hit: 16 and 4 words, or twice as many characters of a script that is indexed by pairs.
const AFTER: usize = 16 * WORD_WEIGHT;
const BEFORE: usize = 4 * WORD_WEIGHT;
/// Maximum bytes of a snippet, and of its text before the first hit.
const BYTES: usize = 300;
const BYTES_BEFORE: usize = 80;

/// A word or character of the text, with the weight of everything before it.
struct Step {
    place: Range<usize>,
    before: usize,
}

/// The part of the text with the most hits. `hits` are their places, in order and not overlapping.
pub(in crate::store) fn snippet(text: &str, hits: &[Range<usize>]) -> Vec<Piece> {
    let mut all = 0;
    let weighed = steps(text).map(|(place, weight)| {
        all += weight;
        Step { place, before: all - weight }
    });
    let steps: Vec<Step> = weighed.collect();
    let step_at = |at: usize| steps.partition_point(|step| step.place.end <= at);
    let before = |at: usize| steps.get(step_at(at)).map_or(0, |step| step.before);
    let weights: Vec<usize> = hits.iter().map(|hit| before(hit.start)).collect();
    let near = |at: usize| {
        let end = weights.get(at).copied().unwrap_or(0) + AFTER;
        weights.iter().skip(at).take_while(|weight| **weight < end).count()
    };
    // The first of equals.
    let best = (0..hits.len()).rev().max_by_key(|at| near(*at));
    let anchor = best.and_then(|at| hits.get(at)).map_or(0, |hit| hit.start);
    let first = before(anchor);
    let mut shown =
        steps.iter().filter(|step| step.before + BEFORE >= first && step.before < first + AFTER);
    let (mut start, mut end) = (0, text.len());
    if text.len() > BYTES {
        start = shown.clone().next().map_or(0, |step| step.place.start);
        end = shown.next_back().map_or(0, |step| step.place.end);
    }
    start = text.ceil_char_boundary(start.max(anchor.saturating_sub(BYTES_BEFORE)));
    end = text.floor_char_boundary(end.min(start + BYTES));
    pieces(text, hits, start..end)
}

fn pieces(text: &str, hits: &[Range<usize>], shown: Range<usize>) -> Vec<Piece> {
    let mut pieces = Vec::new();
    let mut push = |from: usize, to: usize, hit| {
        if let Some(text) = text.get(from..to.min(shown.end)).filter(|text| !text.is_empty()) {
            pieces.push(Piece { text: text.to_owned(), hit });
        }
    };
    let mut shown_to = shown.start;
    for hit in hits.iter().filter(|hit| hit.start >= shown.start && hit.start < shown.end) {
        push(shown_to, hit.start, false);
        push(hit.start, hit.end, true);
        shown_to = hit.end;
    }
    push(shown_to, shown.end, false);
    pieces
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "a text may have one hit")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn piece(text: &str, hit: bool) -> Piece {
        Piece { text: text.into(), hit }
    }

    /// The places of a word in a text.
    fn places(text: &str, word: &str) -> Vec<Range<usize>> {
        text.match_indices(word).map(|(at, _)| at..at + word.len()).collect()
    }

    #[test]
    fn a_short_text_is_shown_as_it_is() {
        assert_eq!(
            snippet("My tooth, and the gum!", &[3..8, 18..21]),
            [
                piece("My ", false),
                piece("tooth", true),
                piece(", and the ", false),
                piece("gum", true),
                piece("!", false)
            ]
        );
        assert_eq!(snippet("tooth", &[0..5]), [piece("tooth", true)]);
        assert_eq!(snippet("<b>", &[]), [piece("<b>", false)]);
        assert!(snippet("", &[]).is_empty());
        assert_eq!(
            snippet("我牙痛了", &[3..9]),
            [piece("我", false), piece("牙痛", true), piece("了", false)]
        );
    }

    #[test]
    fn of_a_long_text_the_part_with_most_hits_is_shown() {
        let text = format!(
            "{}tooth {}tooth gum tooth {}",
            "x ".repeat(300),
            "y ".repeat(300),
            "z ".repeat(300)
        );
        let mut hits = places(&text, "tooth");
        hits.extend(places(&text, "gum"));
        hits.sort_unstable_by_key(|hit| hit.start);
        let pieces = snippet(&text, &hits);
        let shown: String = pieces.iter().map(|piece| piece.text.as_str()).collect();
        assert!(shown.starts_with("y y y y tooth gum tooth z"), "{shown}");
        assert_eq!(pieces.iter().filter(|piece| piece.hit).count(), 3);
    }

    #[test]
    fn of_a_long_text_without_blanks_the_part_with_the_hit_is_shown() {
        let text = format!("{}牙痛{}", "天".repeat(2_000), "地".repeat(2_000));
        let pieces = snippet(&text, &places(&text, "牙痛"));
        let [before, hit, after] = pieces.as_slice() else { panic!("{pieces:?}") };
        assert_eq!((hit.text.as_str(), hit.hit), ("牙痛", true));
        assert_eq!((before.text.chars().count(), after.text.chars().count()), (8, 30));
    }

    #[test]
    fn one_word_of_8_000_characters_is_cut() {
        let pieces = snippet(&"é".repeat(8_000), &[0..16_000]);
        assert_eq!(pieces, [piece(&"é".repeat(BYTES / 2), true)]);
        // A hit in the middle of it is shown.
        let text = "5".repeat(8_000);
        let pieces = snippet(&text, &[7_000..7_005]);
        assert!(pieces.contains(&piece("55555", true)), "{pieces:?}");
    }

    proptest! {
        #[test]
        fn a_snippet_is_a_bounded_part_of_its_text_with_its_hit(
            text in "[a-c é<>@\u{301}牙]{0,600}", hit in any::<prop::sample::Index>(),
        ) {
            let places: Vec<_> = steps(&text).map(|(place, _)| place).collect();
            let hits: Vec<_> =
                if places.is_empty() { vec![] } else { vec![hit.get(&places).clone()] };
            let pieces = snippet(&text, &hits);
            let shown: String = pieces.iter().map(|piece| piece.text.as_str()).collect();
            prop_assert!(text.contains(&shown) && shown.len() <= BYTES);
            for hit in hits {
                let hit = &text[hit];
                let hit = &hit[..hit.floor_char_boundary(BYTES)];
                prop_assert!(pieces.iter().any(|piece| piece.hit && hit.starts_with(&piece.text)));
            }
        }
    }
}
