//! Rejection of repeated items, by a window of numbers for each node.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::{AGE_MAX_MS, Origin};

/// Numbers tracked per node. An item further behind the latest is lost, which a bus may do.
const WINDOW: u64 = 65_536;
/// Maximum number of tracked nodes. Only a valid signature adds one.
const NODES_MAX: usize = 256;
/// Silence after which a node may be forgotten. Its signatures are too old by then, by either clock.
const FORGET: Duration = Duration::from_millis(2 * AGE_MAX_MS + 60_000);

/// Numbers accepted so far, by node.
#[derive(Debug, Default)]
pub struct Replays(Mutex<HashMap<String, Window>>);

impl Replays {
    /// Whether the item is new.
    pub fn admit(&self, origin: &Origin<'_>) -> bool {
        let now = Instant::now();
        let mut nodes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(window) = nodes.get_mut(origin.node) {
            window.last_used = now;
            return window.admit(origin.number);
        }
        if nodes.len() >= NODES_MAX {
            nodes.retain(|_, window| now - window.last_used < FORGET);
            if nodes.len() >= NODES_MAX {
                return false;
            }
        }
        let mut window = Window::at(origin.number, now);
        let first = window.admit(origin.number);
        nodes.insert(origin.node.to_owned(), window);
        first
    }
}

#[derive(Debug)]
struct Window {
    latest: u64,
    /// One bit per number, indexed by its remainder.
    taken: Box<[u64]>,
    last_used: Instant,
}

impl Window {
    fn at(latest: u64, last_used: Instant) -> Self {
        let words = usize::try_from(WINDOW / 64).unwrap_or_default();
        Self { latest, taken: vec![0; words].into(), last_used }
    }

    fn admit(&mut self, number: u64) -> bool {
        if number > self.latest {
            if number - self.latest >= WINDOW {
                self.taken.fill(0);
            } else {
                for skipped in self.latest + 1..=number {
                    self.set(skipped, false);
                }
            }
            self.latest = number;
        }
        self.latest - number < WINDOW && !self.set(number, true)
    }

    /// Sets the number's bit, and returns its previous value.
    fn set(&mut self, number: u64, taken: bool) -> bool {
        let at = number % WINDOW;
        let (word, bit) = (usize::try_from(at / 64).unwrap_or_default(), 1 << (at % 64));
        // The index is always in range.
        let Some(word) = self.taken.get_mut(word) else { return true };
        let before = *word & bit != 0;
        *word = if taken { *word | bit } else { *word & !bit };
        before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admit(replays: &Replays, node: &str, number: u64) -> bool {
        replays.admit(&Origin { node, number })
    }

    #[test]
    fn c14_each_number_of_a_node_is_taken_once_in_whatever_order() {
        let replays = Replays::default();
        for number in [7, 5, 6, 100, 99, 7 + WINDOW, 8 + WINDOW / 2] {
            assert!(admit(&replays, "a", number), "{number}");
            assert!(!admit(&replays, "a", number), "{number} again");
        }
        assert!(!admit(&replays, "a", 7), "it is out of the window");
        assert!(admit(&replays, "b", 7), "another node has its own numbers");
        assert!(admit(&replays, "a", 10 * WINDOW));
        assert!(admit(&replays, "a", 10 * WINDOW - 1), "nothing is left of the round before");
    }

    #[test]
    fn c14_nodes_that_are_known_are_bounded_and_none_of_them_is_pushed_out() {
        let replays = Replays::default();
        for node in 0..NODES_MAX {
            assert!(admit(&replays, &node.to_string(), 1));
        }
        assert!(!admit(&replays, "one more", 1));
        assert!(!admit(&replays, "0", 1), "nothing that was taken is taken again");
        assert!(admit(&replays, "0", 2));
    }
}
