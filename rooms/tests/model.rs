//! The engine against a naive model, with random operations (laws I1, I2, I6, I7).

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet, HashMap};

use frontdesk_rooms::{GoLive, Published, Rooms};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Operation {
    Join { room: u8, conn: u8 },
    GoLive { room: u8, conn: u8 },
    Leave { room: u8, conn: u8 },
    Disconnect { conn: u8 },
    Publish { room: u8, ahead: i8 },
}

fn operation() -> impl Strategy<Value = Operation> {
    let (room, conn) = (0..4u8, 0..6u8);
    prop_oneof![
        (room.clone(), conn.clone()).prop_map(|(room, conn)| Operation::Join { room, conn }),
        (room.clone(), conn.clone()).prop_map(|(room, conn)| Operation::GoLive { room, conn }),
        (room.clone(), conn.clone()).prop_map(|(room, conn)| Operation::Leave { room, conn }),
        conn.prop_map(|conn| Operation::Disconnect { conn }),
        (room.clone(), -3..5i8).prop_map(|(room, ahead)| Operation::Publish { room, ahead }),
        (room, Just(1)).prop_map(|(room, ahead)| Operation::Publish { room, ahead }),
    ]
}

/// The naive model: a list of pairs, and for each room the set of numbers offered to it.
#[derive(Default)]
struct Model {
    members: BTreeSet<(u8, u8)>,
    live: BTreeSet<(u8, u8)>,
    position: BTreeMap<u8, u64>,
    offered: BTreeMap<u8, BTreeSet<u64>>,
}

impl Model {
    fn prune(&mut self) {
        let members = &self.members;
        self.live.retain(|pair| members.contains(pair));
        self.position.retain(|room, _| members.iter().any(|(r, _)| r == room));
        let position = &self.position;
        self.offered.retain(|room, _| position.contains_key(room));
    }

    /// The items that each live subscriber must receive, in order.
    fn publish(&mut self, room: u8, seq: u64) -> Vec<(u8, u64)> {
        self.offered.entry(room).or_default().insert(seq);
        let mut heard = Vec::new();
        while self.offered[&room].contains(&(self.position[&room] + 1)) {
            *self.position.get_mut(&room).unwrap() += 1;
            for (_, conn) in self.live.iter().filter(|(r, _)| *r == room) {
                heard.push((*conn, self.position[&room]));
            }
        }
        heard
    }
}

proptest! {
    #[test]
    fn the_engine_does_what_the_model_does(operations in prop::collection::vec(operation(), 1..200)) {
        let mut rooms = Rooms::<u8, u8, u64>::default();
        let mut model = Model::default();
        for operation in operations {
            match operation {
                Operation::Join { room, conn } => {
                    let heard = rooms.join(&room, conn, 10);
                    let live = model.live.contains(&(room, conn));
                    prop_assert_eq!(heard, live.then(|| model.position[&room]));
                    model.members.insert((room, conn));
                    model.live.remove(&(room, conn));
                    model.position.entry(room).or_insert(10);
                }
                Operation::GoLive { room, conn } => {
                    let position = model.position.get(&room).copied().unwrap_or(0);
                    let member = model.members.contains(&(room, conn));
                    let behind = rooms.go_live(&room, conn, position.saturating_sub(1));
                    let expected = if member { GoLive::Behind(position) } else { GoLive::Absent };
                    // A live subscriber that names an older number changes nothing.
                    prop_assert_eq!(behind, expected);
                    if member {
                        prop_assert_eq!(rooms.go_live(&room, conn, position), GoLive::Live);
                        model.live.insert((room, conn));
                    }
                }
                Operation::Leave { room, conn } => {
                    let before = rooms.contains(&room);
                    let emptied = rooms.leave(&room, conn);
                    model.members.remove(&(room, conn));
                    prop_assert_eq!(emptied, before && !model.members.iter().any(|(r, _)| *r == room));
                }
                Operation::Disconnect { conn } => {
                    let mut gone = rooms.disconnect(conn);
                    gone.sort_unstable();
                    let had: BTreeSet<u8> =
                        model.members.iter().filter(|(_, c)| *c == conn).map(|(r, _)| *r).collect();
                    model.members.retain(|(_, c)| *c != conn);
                    let expected: Vec<u8> = had
                        .into_iter()
                        .filter(|room| !model.members.iter().any(|(r, _)| r == room))
                        .collect();
                    prop_assert_eq!(gone, expected);
                }
                Operation::Publish { room, ahead } => {
                    let Some(position) = model.position.get(&room).copied() else {
                        prop_assert_eq!(rooms.publish(&room, 1, 1, |_, _| {}), Published::NoRoom);
                        continue;
                    };
                    let seq = position.saturating_add_signed(i64::from(ahead)).max(1);
                    let mut heard: Vec<(u8, u64)> = Vec::new();
                    let published = rooms.publish(&room, seq, seq, |conn, item| heard.push((conn, *item)));
                    let expected = if seq <= position { vec![] } else { model.publish(room, seq) };
                    prop_assert_eq!(published, match seq {
                        _ if seq <= position => Published::Known,
                        _ if seq == position + 1 => Published::Delivered,
                        _ => Published::Early,
                    });
                    prop_assert!(heard.is_sorted_by_key(|(_, seq)| *seq), "items in order: {heard:?}");
                    heard.sort_unstable_by_key(|(conn, seq)| (*seq, *conn));
                    prop_assert_eq!(heard, expected);
                }
            }
            model.prune();
            compare(&rooms, &model)?;
        }
    }
}

fn compare(rooms: &Rooms<u8, u8, u64>, model: &Model) -> Result<(), TestCaseError> {
    let positions: BTreeMap<u8, u64> = rooms.positions().map(|(room, at)| (*room, at)).collect();
    prop_assert_eq!(&positions, &model.position);
    prop_assert_eq!(rooms.len(), model.position.len(), "no empty room stays");
    let mut joined: HashMap<u8, usize> = HashMap::new();
    for (room, conn) in &model.members {
        *joined.entry(*conn).or_default() += 1;
        prop_assert!(rooms.is_in(room, *conn), "both directions hold");
    }
    for conn in 0..6 {
        prop_assert_eq!(rooms.joined(conn), joined.get(&conn).copied().unwrap_or(0));
    }
    for room in 0..4 {
        let subscribers: BTreeSet<u8> = rooms.subscribers(&room).collect();
        let expected: BTreeSet<u8> =
            model.members.iter().filter(|(r, _)| *r == room).map(|(_, conn)| *conn).collect();
        prop_assert_eq!(subscribers, expected);
    }
    Ok(())
}

#[test]
fn a_subscriber_that_read_ahead_of_its_room_hears_nothing_twice() {
    let mut rooms = Rooms::<&str, u8, u64>::default();
    rooms.join(&"a", 1, 4);
    assert_eq!(rooms.go_live(&"a", 1, 6), GoLive::Live);
    let mut heard = Vec::new();
    for seq in 5..=7 {
        rooms.publish(&"a", seq, seq, |_, seq| heard.push(*seq));
    }
    assert_eq!(heard, [7]);
}

#[test]
fn early_items_are_held_up_to_a_bound_and_then_left_to_the_filler() {
    let mut rooms = Rooms::<&str, u8, u64>::default();
    rooms.join(&"a", 1, 0);
    rooms.go_live(&"a", 1, 0);
    let mut heard = Vec::new();
    let last = frontdesk_rooms::HELD_MAX as u64 + 50;
    for seq in (2..=last).rev() {
        assert_eq!(rooms.publish(&"a", seq, seq, |_, seq| heard.push(*seq)), Published::Early);
    }
    for seq in 1..=last {
        rooms.publish(&"a", seq, seq, |_, seq| heard.push(*seq));
    }
    assert_eq!(heard, (1..=last).collect::<Vec<_>>());
}

#[test]
fn i1_the_engine_depends_on_nothing_and_does_nothing_but_compute() {
    let manifest = include_str!("../Cargo.toml");
    assert!(!manifest.contains("[dependencies]"), "the engine has no dependency");
    for source in [include_str!("../src/lib.rs"), include_str!("../src/room.rs")] {
        let code = source.lines().filter(|line| !line.trim_start().starts_with("//"));
        for line in code {
            for word in
                ["std::net", "std::fs", "std::io", "std::time", "std::thread", "async ", "Mutex"]
            {
                assert!(!line.contains(word), "{word} in {line:?}");
            }
        }
    }
}

#[test]
fn a_room_that_was_led_astray_is_taken_back_and_delivers_these_numbers_anew() {
    let mut rooms = Rooms::<&str, u8, &str>::default();
    for conn in [1, 2, 3] {
        rooms.join(&"room", conn, 0);
    }
    rooms.go_live(&"room", 1, 0);
    rooms.go_live(&"room", 2, 0);
    let publish = |rooms: &mut Rooms<_, _, _>, seq, item| {
        let mut heard = BTreeSet::new();
        rooms.publish(&"room", seq, item, |conn, item: &&str| assert!(heard.insert((conn, *item))));
        heard
    };
    for (seq, item) in [(1, "real"), (2, "false"), (4, "early")] {
        publish(&mut rooms, seq, item);
    }
    assert!(rooms.rewind(&"room", 1));
    assert_eq!(rooms.position(&"room"), Some(1));
    assert_eq!(publish(&mut rooms, 2, "true"), BTreeSet::from([(1, "true"), (2, "true")]));
    // A connection that was catching up still is.
    assert_eq!(rooms.go_live(&"room", 3, 2), GoLive::Live);
    assert_eq!(publish(&mut rooms, 3, "next").len(), 3);
    assert_eq!(rooms.position(&"room"), Some(3), "nothing that was held is left");
    assert!(!rooms.rewind(&"room", 3) && !rooms.rewind(&"nowhere", 0));
}
