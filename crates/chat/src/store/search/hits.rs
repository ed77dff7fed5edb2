//! The places of a search's wanted parts in a text.

use std::ops::Range;

use super::{
    terms::is_part,
    tokens::{Placed, Token},
};

/// The places of all parts, in order.
pub(in crate::store) fn places(parts: &[&[Token]], tokens: &[Placed]) -> Vec<Range<usize>> {
    let mut places = Vec::new();
    for part in parts.iter().filter(|part| !part.is_empty()) {
        let found = tokens.windows(part.len()).filter(|of_text| is_part(part, of_text));
        places.extend(found.filter_map(|of_text| place(part, of_text)));
    }
    merged(places)
}

fn place(part: &[Token], of_text: &[Placed]) -> Option<Range<usize>> {
    let (first, last) = (of_text.first()?, of_text.last()?);
    let is_first = matches!(part.last(), Some(Token::First(_)));
    Some(first.place.start..if is_first { last.first_end } else { last.place.end })
}

/// Places in order; overlapping ones are merged.
pub(in crate::store) fn merged(mut places: Vec<Range<usize>>) -> Vec<Range<usize>> {
    places.sort_unstable_by_key(|place| (place.start, place.end));
    let mut merged: Vec<Range<usize>> = Vec::with_capacity(places.len());
    for place in places {
        match merged.last_mut() {
            Some(last) if place.start < last.end => last.end = last.end.max(place.end),
            _ => merged.push(place),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::{
        super::{terms::Terms, tokens::tokens},
        *,
    };

    #[test]
    fn a_part_is_a_hit_wherever_it_is() {
        for (typed, text, hits) in [
            ("東京都", "私は東京都と京都", &["東京都"][..]),
            ("牙", "牙医说牙牙", &["牙", "牙", "牙"]),
            ("がいた", "歯ｶﾞいたい、歯がいたい", &["がいた"]),
            ("tooth", "a tooth, tooth", &["tooth", "tooth"]),
            ("iPhone手机", "iPhone手机 手机", &["iPhone", "手机", "手机"]),
            ("0123", "call 00-12 34", &["0-12 3"]),
            ("1234", "1234", &["1234"]),
            ("اسنان", "طبيب الأَسنان", &["أَسنان"]),
        ] {
            let terms = Terms::parse(typed).unwrap();
            let places = places(&terms.parts(), &tokens(text));
            let found: Vec<_> = places.into_iter().map(|place| &text[place]).collect();
            assert_eq!(found, hits, "{typed} in {text}");
        }
    }
}
