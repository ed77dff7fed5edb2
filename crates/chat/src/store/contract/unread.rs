//! Unread counts by subtraction: they are what a count of the messages gives, whatever was written, read and deleted.

use super::{
    committed,
    world::{Acting, Database, World, actor, append, draft},
};
use crate::store::{HistoryRange, participants::ParticipantTable, unread::UnreadTable};
use model::{
    ids::{SessionId, TenantId},
    message::{Message, amend::Amendment},
    person::{Person, Side},
    session::Member,
};
use platform::new_id;

contract!(
    unread_is_what_a_count_gives_after_any_acts,
    unread_is_exact_while_nodes_write_read_and_delete_at_once,
    i12_what_the_version_before_writes_and_reads_is_counted,
    sessions_of_the_version_before_are_counted_once,
);

/// Numbers that look random (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}

/// Messages of the other side beyond the read position, without deleted ones.
async fn counted(world: &World, me: &Person, id: SessionId) -> u64 {
    let read_seq = world.store.session(&me.scope(), id).await.unwrap().unwrap().read_seq;
    let mut unread = 0;
    let mut after = read_seq;
    loop {
        let page =
            world.store.history(&me.scope(), id, HistoryRange::After(after), 200).await.unwrap();
        let Some(last) = page.last() else { return unread };
        after = last.seq;
        let is_unread = |message: &&Message| {
            message.sender.person.side != me.side && message.deleted_at.is_none()
        };
        unread += page.iter().filter(is_unread).count() as u64;
    }
}

/// Checks the count of each member, in the session, the views and the list of counts.
async fn check(world: &World, members: &[&Person], id: SessionId, seed: u64) {
    let views = world.store.views(&[members[0].session(id)]).await.unwrap();
    for me in members {
        let expected = counted(world, me, id).await;
        let own = world.store.session(&me.scope(), id).await.unwrap().unwrap();
        assert_eq!(own.unread, expected, "{me}, seed {seed}");
        let view = views.iter().find(|(member, _)| member == *me).unwrap();
        assert_eq!(view.1.unread, expected, "{me}, seed {seed}");
        let listed: u64 =
            world.store.unread(&me.scope()).await.unwrap().iter().map(|(_, count)| count).sum();
        assert_eq!(listed, expected, "{me}, seed {seed}");
    }
}

async fn unread_is_what_a_count_gives_after_any_acts(world: World) {
    let seed = u64::from(new_id().as_fields().0);
    let mut dice = Dice(seed);
    let (customer, dana, id) = world.pair().await;
    let eve = super::world::dentist();
    let table = ParticipantTable(world.handle.clone());
    let mut members = vec![&customer, &dana];
    let mut said = Vec::<Message>::new();
    for step in 0..120 {
        let me = members[usize::try_from(dice.below(members.len() as u64)).unwrap()];
        match dice.below(10) {
            0..=4 => {
                let count = 1 + dice.below(3);
                let drafts = (0..count).map(|_| draft(id, me, "x")).collect();
                let appended = append(&*world.store, drafts).await;
                said.extend(appended.iter().map(|it| committed(it).clone()));
            }
            5..=7 => {
                // Before the end, at it, or beyond.
                let seq = dice.below(said.len() as u64 + 3);
                world.store.mark_read(&me.scope(), id, seq).await.unwrap().unwrap();
            }
            8 if !said.is_empty() => {
                let message = &said[usize::try_from(dice.below(said.len() as u64)).unwrap()];
                let sender = &message.sender.person;
                let amended =
                    world.store.amend(&sender.scope(), id, message.id, &Amendment::Delete).await;
                drop(amended.unwrap());
            }
            _ if step > 60 && members.len() == 2 => {
                let (person, name) = (eve.clone(), "Eve".to_owned());
                let member = Member { person, name, avatar_url: None, email: None };
                table.add(&actor(), id, &member, None).await.unwrap();
                members.push(&eve);
            }
            _ => {}
        }
        check(&world, &members, id, seed).await;
    }
    // More than a hundred are exact, too.
    world.say(id, &customer, 130).await;
    check(&world, &members, id, seed).await;
    assert!(world.store.session(&dana.scope(), id).await.unwrap().unwrap().unread >= 130);
}

async fn unread_is_exact_while_nodes_write_read_and_delete_at_once(world: World) {
    let (customer, dana, id) = world.pair().await;
    let nodes =
        [world.another_node().await, world.another_node().await, world.another_node().await];
    let writing = async |node: usize, me: &Person| {
        let mut said = Vec::new();
        for _ in 0..40 {
            let appended =
                append(&*nodes[node], vec![draft(id, me, "x"), draft(id, me, "y")]).await;
            said.extend(appended.iter().map(|it| committed(it).id));
            if let Some(message) = said.get(said.len() / 3)
                && said.len() % 6 == 0
            {
                drop(
                    nodes[node].amend(&me.scope(), id, *message, &Amendment::Delete).await.unwrap(),
                );
            }
        }
    };
    let reading = async |me: &Person| {
        for seq in 0..80 {
            // Now to the end, now behind it.
            let seq = if seq % 2 == 0 { seq } else { u64::MAX };
            nodes[2].mark_read(&me.scope(), id, seq).await.unwrap().unwrap();
        }
    };
    tokio::join!(writing(0, &customer), writing(1, &dana), reading(&dana), reading(&customer));
    check(&world, &[&customer, &dana], id, 0).await;
    world.say(id, &customer, 3).await;
    world.say(id, &dana, 5).await;
    check(&world, &[&customer, &dana], id, 0).await;
}

/// Law I12.
async fn i12_what_the_version_before_writes_and_reads_is_counted(world: World) {
    let (customer, dana, id) = world.pair().await;
    world.say(id, &customer, 2).await;
    let now = match world.database {
        Database::Postgres(_) => "now()",
        Database::Sqlite(..) => "1800000000000000",
    };
    for (seq, sender) in [(3, &customer), (4, &dana), (5, &customer)] {
        let (kind, person, message) = (sender.side.as_str(), sender.id.as_str(), new_id());
        let insert = format!(
            "insert into messages (session_id, seq, id, sender_kind, sender_id, client_id, kind, body, bodiless, \
             created_at) values ('{id}', {seq}, '{message}', '{kind}', '{person}', 'k{seq}', 'text', 'x', false, {now}); \
             update sessions set last_seq = {seq} where id = '{id}';",
            id = id.0,
        );
        assert!(world.execute(&insert).await);
        check(&world, &[&customer, &dana], id, 0).await;
    }
    for (me, seq) in [(&dana, 1), (&dana, 4), (&dana, 3), (&customer, 5)] {
        let (id, kind) = (id.0, me.side.as_str());
        let read = format!(
            "update members set read_seq = {seq} where session_id = '{id}' and kind = '{kind}'"
        );
        assert!(world.execute(&read).await);
    }
    check(&world, &[&customer, &dana], id, 0).await;
    let delete = "update messages set body = '[deleted]', bodiless = true, deleted_at = created_at, rev = 1 \
        where seq = 5";
    assert!(world.execute(delete).await);
    check(&world, &[&customer, &dana], id, 0).await;
    // A further member of that version begins in the middle.
    let seat = format!(
        "insert into members (session_id, kind, person_id, name, read_seq) values ('{}', 'dentist', 'late', 'Late', 2)",
        id.0
    );
    assert!(world.execute(&seat).await);
    let late = Person::new(dana.tenant, Side::Desk, "late".parse().unwrap());
    world.say(id, &customer, 1).await;
    check(&world, &[&customer, &dana, &late], id, 0).await;
}

async fn sessions_of_the_version_before_are_counted_once(world: World) {
    let (customer, dana, id) = world.pair().await;
    world.say(id, &customer, 7).await;
    world.say(id, &dana, 3).await;
    world.store.mark_read(&dana.scope(), id, 4).await.unwrap();
    let said =
        world.store.history(&customer.scope(), id, HistoryRange::After(0), 10).await.unwrap();
    for at in [1, 5] {
        let deleted = world
            .store
            .amend(&customer.scope(), id, said[at].id, &Amendment::Delete)
            .await
            .unwrap();
        assert!(deleted.unwrap().changed);
    }
    // As the migration leaves what was there.
    let uncounted = "update sessions set contact_messages = null; update members set read_messages = null; \
        delete from deleted_messages;";
    let counts = UnreadTable(world.another_handle().await);
    assert!(counts.count_earlier(10).await.unwrap(), "a session of this version, too");
    check(&world, &[&customer, &dana], id, 0).await;
    // Another tenant has a session with the same id.
    let [theirs, their_dana] = [&customer, &dana]
        .map(|person| Person::new(TenantId::new(2).unwrap(), person.side, person.id.clone()));
    world.open_as(id, &theirs, &their_dana).await;
    world.say(id, &theirs, 3).await;
    let again = "update uncounted_tenants set session_id = 'ffffffff-ffff-ffff-ffff-ffffffffffff'; \
        insert into uncounted_tenants values (2, 'ffffffff-ffff-ffff-ffff-ffffffffffff')";
    assert!(world.execute(again).await);
    assert!(world.execute(uncounted).await);
    check(&world, &[&customer, &dana], id, 0).await;
    // Reads and messages before the count change nothing about it.
    world.store.mark_read(&customer.scope(), id, 8).await.unwrap();
    world.say(id, &customer, 2).await;
    check(&world, &[&customer, &dana], id, 0).await;
    // A batch of each tenant, and its end.
    for more in [true, true, true, true, false, false] {
        assert_eq!(counts.count_earlier(10).await.unwrap(), more);
    }
    let left = "select count(*) from sessions where contact_messages is null";
    assert_eq!(world.count(left).await, 0);
    assert_eq!(world.count("select count(*) from deleted_messages").await, 2);
    check(&world, &[&customer, &dana], id, 0).await;
    check(&world, &[&theirs, &their_dana], id, 0).await;
    world.say(id, &customer, 150).await;
    world.store.mark_read(&dana.scope(), id, 13).await.unwrap();
    check(&world, &[&customer, &dana], id, 0).await;
}
