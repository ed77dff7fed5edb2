//! No text costs its commit, or its index, much more than a plain text of the same length.

use std::time::{Duration, Instant};

use super::{
    search::index_all,
    world::{Acting, World, draft},
};
use crate::store::Appended;
use model::{ids::SessionId, message::amend::Amendment, person::Person};

const ALPHABET: &str = "a@_~/<!-.:1&;\"'";
/// Number of texts that are committed together. PostgreSQL's own parser takes more than a second
/// for one bad text; this many plain ones take some tens of milliseconds.
const TOGETHER: usize = 8;
const LENGTH: usize = 8_000;
/// Allowed time relative to plain texts, and an absolute allowance on top.
const FACTOR: u32 = 5;
const GRACE: Duration = Duration::from_millis(60);
/// A busy machine is slow now and then; a bad text is slow each time.
const TRIES: usize = 6;

/// All patterns of one and two characters, and those of three that are not rotations of another
/// one.
fn patterns() -> Vec<String> {
    let chars: Vec<char> = ALPHABET.chars().collect();
    let mut patterns: Vec<String> = chars.iter().map(char::to_string).collect();
    for one in &chars {
        for two in &chars {
            patterns.push(String::from_iter([one, two]));
            for three in &chars {
                let turned = [[one, two, three], [two, three, one], [three, one, two]];
                if turned.iter().min() == Some(&turned[0]) {
                    patterns.push(String::from_iter([one, two, three]));
                }
            }
        }
    }
    // The known bad patterns as they were found.
    patterns.extend(["a@1", "<!--"].map(str::to_owned));
    patterns
}

/// Pairs of characters and groups of digits, alone and between other words.
fn dense_patterns() -> Vec<String> {
    ["牙", "牙痛", "ก็ำ", "가a", "牙1", "12 3", "\u{fdfa}", "ا\u{64b}"].map(str::to_owned).into()
}

fn repeated(pattern: &str) -> String {
    pattern.chars().cycle().take(LENGTH).collect()
}

struct Cost {
    world: World,
    me: Person,
    id: SessionId,
}

impl Cost {
    /// Sends the texts, edits the first, and indexes all.
    async fn of(&self, texts: &[String]) -> Duration {
        let drafts: Vec<_> = texts.iter().map(|text| draft(self.id, &self.me, text)).collect();
        let began = Instant::now();
        let sent = self.world.store.append(&drafts).await.unwrap();
        let Appended::Committed(first) = &sent[0] else { panic!("not committed") };
        let edited: String = texts[0].chars().skip(1).chain(['x']).collect();
        let edit = Amendment::Edit(edited.try_into().unwrap());
        self.world.store.amend(&self.me.scope(), self.id, first.id, &edit).await.unwrap().unwrap();
        assert!(index_all(&*self.world.store).await as usize >= TOGETHER);
        began.elapsed()
    }
}

pub(super) async fn c1_no_short_pattern_costs_much_more_than_plain_text(world: World) {
    let (me, _, id) = world.pair().await;
    let cost = Cost { world, me, id };
    is_bounded(&cost, "the tooth aches since noon ", &patterns()).await;
    // A text without blanks has as many tokens as characters, so its plain text takes several times
    // as long.
    is_bounded(&cost, "我的牙从昨天中午开始一直很痛，", &dense_patterns()).await;
}

async fn is_bounded(cost: &Cost, plain: &str, patterns: &[String]) {
    let plain = vec![repeated(plain); TOGETHER];
    let mut usual = cost.of(&plain).await;
    for _ in 0..4 {
        usual = usual.min(cost.of(&plain).await);
    }
    let bound = usual * FACTOR + GRACE;
    let texts: Vec<String> = patterns.iter().map(|pattern| repeated(pattern)).collect();
    let mut slowest = Duration::ZERO;
    for (number, texts) in texts.chunks(TOGETHER).enumerate() {
        let mut texts = texts.to_vec();
        texts.resize(TOGETHER, plain[0].clone());
        let mut took = cost.of(&texts).await;
        for _ in 1..TRIES {
            if took <= bound {
                break;
            }
            took = took.min(cost.of(&texts).await);
        }
        slowest = slowest.max(took);
        let these: Vec<_> = patterns.iter().skip(number * TOGETHER).take(TOGETHER).collect();
        assert!(took <= bound, "{these:?} take {took:?}; plain texts take {usual:?}");
    }
    eprintln!("{} patterns: plain texts take {usual:?}, the slowest {slowest:?}", patterns.len());
}
