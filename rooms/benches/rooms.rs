//! Benchmarks of the engine: `cargo bench -p frontdesk-rooms`.

use divan::{Bencher, black_box};
use frontdesk_rooms::Rooms;

fn main() {
    divan::main();
}

fn room_of(subscribers: u64) -> Rooms<u64, u64, u64> {
    let mut rooms = Rooms::default();
    for conn in 0..subscribers {
        rooms.join(&1, conn, 0);
        rooms.go_live(&1, conn, 0);
    }
    rooms
}

#[divan::bench(args = [2, 100, 10_000])]
fn deliver(bencher: Bencher, subscribers: u64) {
    let mut rooms = room_of(subscribers);
    let mut seq = 0;
    bencher.counter(subscribers).bench_local(|| {
        seq += 1;
        rooms.publish(&1, seq, seq, |conn, item| {
            black_box((conn, item));
        })
    });
}

#[divan::bench(args = [2, 100, 10_000])]
fn join_and_leave(bencher: Bencher, subscribers: u64) {
    let mut rooms = room_of(subscribers);
    bencher.bench_local(|| {
        rooms.join(&1, u64::MAX, 0);
        rooms.leave(&1, u64::MAX)
    });
}

#[divan::bench(args = [2, 100, 10_000])]
fn disconnect_from_rooms(bencher: Bencher, joined: u64) {
    bencher
        .with_inputs(|| {
            let mut rooms = Rooms::<u64, u64, u64>::default();
            for room in 0..joined {
                rooms.join(&room, 1, 0);
            }
            rooms
        })
        .bench_local_values(|mut rooms| rooms.disconnect(1));
}
