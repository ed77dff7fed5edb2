//! The contract of a store: one suite, run on both databases.

mod amend;
mod committer;
mod members;
mod names;
mod pages;
mod queue;
mod search;
mod search_cost;
mod search_scripts;
mod tenant_size;
mod uploads;
pub(crate) mod world;

use std::sync::Arc;

use super::{Appended, HistoryRange, Refusal, SessionPage};
use crate::writer::counts::WriterCounts;
use crate::writer::{Writer, WriterParts};
use amend::{
    a_change_is_kept_with_what_was_before, b39_only_members_change_messages_and_only_their_own,
};
use bus::{counts::BusCounts, one_node::OneNode};
use members::{
    a_new_name_is_seen_wherever_its_bearer_is_a_member, a_session_is_closed_opened_and_muted,
    each_member_has_a_view_and_a_delivery_mark, heads_are_the_last_seqs_and_revisions,
    when_someone_was_last_seen_is_kept,
};
use model::{
    ids::{SessionId, TenantId},
    message::Message,
    person::{Person, Side},
};
use pages::{
    a_history_is_read_from_either_end, a_list_of_long_last_messages_ends_where_it_is_full,
    a_list_of_sessions_is_by_activity_and_pages, a_page_of_long_messages_ends_where_it_is_full,
};
use platform::{jobs::JobsDue, new_id, tasks::Tasks};
use search::{
    a_page_of_hits_has_as_many_bytes_as_fit,
    a_reaction_while_a_text_is_indexed_takes_it_from_no_search,
    b39_search_finds_ones_own_messages_best_first, c3_no_query_makes_the_database_fail,
    i12_what_the_version_before_writes_and_reads_is_indexed,
    texts_that_wait_to_be_indexed_are_counted,
};
use search_cost::c1_no_short_pattern_costs_much_more_than_plain_text;
use search_scripts::{
    a_changed_part_of_a_text_is_found_no_more, a_part_of_a_text_is_found_in_every_script,
    i12_what_the_version_before_indexes_is_indexed_again,
};
use uploads::{
    a_picture_is_taken_by_one_message, a_picture_that_no_message_shows_is_an_orphan,
    an_upload_that_is_no_picture_is_removed_at_once,
    b39_b51_a_picture_is_its_uploaders_and_its_sessions,
};
use world::{Acting, Database, World, append, customer, dentist, draft, new_session};

/// Runs each of the suite's functions on each store.
macro_rules! contract {
    ($($name:ident),* $(,)?) => {
        mod on_postgres {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name(super::World::on_postgres().await).await;
            })*
        }
        mod on_sqlite {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $name() {
                super::$name(super::World::on_sqlite()).await;
            })*
        }
    };
}

mod audit;
mod blocks;
mod desk;
mod epoch;
mod housekeeping;
mod notes;
mod openings;
mod push_jobs;
mod retention;
mod tenants;
mod unread;

contract!(
    i6_a_session_counts_1_2_3_in_the_order_of_arrival,
    i6_a_repeated_client_id_gives_the_first_result,
    i6_two_nodes_at_once_leave_no_gap,
    f14_a_commit_whose_answer_was_lost_is_found_again,
    f17_one_bad_message_in_a_batch_fails_alone,
    one_who_is_refused_takes_nobody_along,
    one_session_is_open_between_two_people,
    b39_what_one_is_no_member_of_can_not_be_seen_or_changed,
    a_history_is_read_from_either_end,
    a_page_of_long_messages_ends_where_it_is_full,
    a_list_of_long_last_messages_ends_where_it_is_full,
    a_list_of_sessions_is_by_activity_and_pages,
    a_read_mark_only_moves_forward,
    a_new_name_is_seen_wherever_its_bearer_is_a_member,
    heads_are_the_last_seqs_and_revisions,
    a_session_is_closed_opened_and_muted,
    each_member_has_a_view_and_a_delivery_mark,
    when_someone_was_last_seen_is_kept,
    a_reaction_while_a_text_is_indexed_takes_it_from_no_search,
    b39_search_finds_ones_own_messages_best_first,
    a_page_of_hits_has_as_many_bytes_as_fit,
    texts_that_wait_to_be_indexed_are_counted,
    i12_what_the_version_before_writes_and_reads_is_indexed,
    a_part_of_a_text_is_found_in_every_script,
    a_changed_part_of_a_text_is_found_no_more,
    i12_what_the_version_before_indexes_is_indexed_again,
    c1_no_short_pattern_costs_much_more_than_plain_text,
    c3_no_query_makes_the_database_fail,
    a_change_is_kept_with_what_was_before,
    b39_only_members_change_messages_and_only_their_own,
    a_picture_is_taken_by_one_message,
    b39_b51_a_picture_is_its_uploaders_and_its_sessions,
    a_picture_that_no_message_shows_is_an_orphan,
    an_upload_that_is_no_picture_is_removed_at_once,
    the_database_enforces_every_limit,
    i12_a_database_that_a_newer_node_migrated_is_used_as_it_is,
);

#[track_caller]
fn committed(appended: &Appended) -> &Message {
    match appended {
        Appended::Committed(message) => message,
        other => panic!("not committed: {other:?}"),
    }
}

#[track_caller]
fn refused(appended: &Appended) -> Refusal {
    match appended {
        Appended::Refused(refusal) => *refusal,
        other => panic!("not refused: {other:?}"),
    }
}

async fn i6_a_session_counts_1_2_3_in_the_order_of_arrival(world: World) {
    let (customer, dentist, id) = world.pair().await;
    let (_, _, other) = world.pair().await;
    let (first, second) = (draft(id, &customer, "one"), draft(id, &dentist, "two"));
    let elsewhere = draft(other, &customer, "not a member");
    let mut answer = draft(id, &customer, "three");
    answer.reply_to = Some(second.id);
    let mut appended = world.store.append(&[first, elsewhere, second]).await.unwrap();
    assert_eq!(refused(&appended.remove(1)), Refusal::SessionNotFound);
    appended.extend(world.store.append(&[answer]).await.unwrap());
    let acknowledged: Vec<_> = appended.iter().map(|sent| committed(sent).clone()).collect();
    assert_eq!(acknowledged.iter().map(|message| message.seq).collect::<Vec<_>>(), [1, 2, 3]);
    assert_eq!(acknowledged[0].sender.name, "Ada");
    assert_eq!(acknowledged[1].sender.name, "Dana");
    // Stored messages equal the acknowledged ones, to the microsecond.
    let read = world.store.history(&dentist.scope(), id, HistoryRange::After(0), 10).await.unwrap();
    assert_eq!(read, acknowledged);
    assert_eq!(
        world.store.backfill_messages(dentist.session(id), 1, 10).await.unwrap(),
        acknowledged[1..]
    );
}

async fn i6_a_repeated_client_id_gives_the_first_result(world: World) {
    let (customer, dentist, id) = world.pair().await;
    let first = draft(id, &customer, "first");
    let appended = world.store.append(std::slice::from_ref(&first)).await.unwrap();
    let original = committed(&appended[0]).clone();
    let mut again = draft(id, &customer, "something else");
    again.client_id = first.client_id.clone();
    let node = world.another_node().await;
    let repeated = node.append(&[again.clone()]).await.unwrap();
    assert!(matches!(&repeated[0], Appended::Repeated(message) if *message == original));
    // Another sender's key is another key.
    again.sender = dentist.clone();
    again.id = new_id();
    assert_eq!(committed(&node.append(&[again]).await.unwrap()[0]).seq, 2);
    assert_eq!(world.history(&dentist, id, HistoryRange::After(0), 10).await, [1, 2]);
}

async fn i6_two_nodes_at_once_leave_no_gap(world: World) {
    let (customer, dentist, busy) = world.pair().await;
    let other = world.open(&customer, &self::dentist()).await;
    let nodes = [Arc::clone(&world.store), world.another_node().await];
    let sending = nodes.map(|node| {
        let customer = customer.clone();
        tokio::spawn(async move {
            let mut seqs = Vec::new();
            for _ in 0..15 {
                // Both sessions in either order: two nodes must not wait for each other.
                let mut drafts: Vec<_> =
                    (0..6).map(|n| draft([busy, other][n % 2], &customer, "x")).collect();
                if seqs.len() % 2 == 0 {
                    drafts.reverse();
                }
                let appended = append(&*node, drafts).await;
                let mine = appended.iter().map(committed).filter(|sent| sent.session_id == busy);
                seqs.extend(mine.map(|message| message.seq));
            }
            seqs
        })
    });
    let mut all = Vec::new();
    for node in sending {
        let seqs = node.await.unwrap();
        assert!(seqs.is_sorted(), "a node's own sends keep their order");
        all.extend(seqs);
    }
    all.sort_unstable();
    assert_eq!(all, (1..=90).collect::<Vec<_>>());
    assert_eq!(world.history(&dentist, busy, HistoryRange::After(0), 200).await, all);
}

async fn f14_a_commit_whose_answer_was_lost_is_found_again(world: World) {
    let (customer, _, id) = world.pair().await;
    let draft = draft(id, &customer, "once");
    let first = world.store.append(std::slice::from_ref(&draft)).await.unwrap();
    // The writer retries the same draft: it finds itself, not an earlier try.
    let again = world.store.append(&[draft]).await.unwrap();
    assert_eq!(committed(&first[0]), committed(&again[0]));
    assert_eq!(world.history(&customer, id, HistoryRange::After(0), 10).await, [1]);
}

async fn f17_one_bad_message_in_a_batch_fails_alone(world: World) {
    let (customer, dentist, id) = world.pair().await;
    let (bus, _events) = OneNode::open(BusCounts::default());
    let counts = WriterCounts::default();
    let writer = Writer::start(WriterParts {
        tasks: Tasks::default(),
        store: world.store.clone(),
        bus: Arc::new(bus),
        inbox: Arc::default(),
        counts: counts.clone(),
        due: JobsDue::default(),
    });
    let mut drafts: Vec<_> = (0..9).map(|n| draft(id, &customer, &n.to_string())).collect();
    // No parser can detect this one: only the database knows that its id is taken.
    drafts[4].id = drafts[1].id;
    let pending: Vec<_> = drafts.into_iter().map(|draft| writer.submit(draft).unwrap()).collect();
    let mut seqs = Vec::new();
    for (at, pending) in pending.into_iter().enumerate() {
        let decided = pending.decided().await.unwrap();
        if at == 4 {
            assert_eq!(refused(&decided), Refusal::Value);
        } else {
            seqs.push(committed(&decided).seq);
        }
    }
    assert_eq!(seqs, (1..=8).collect::<Vec<_>>());
    let is_halved = matches!(world.database, Database::Postgres(_));
    assert_eq!(counts.batches_refused.get() > 0, is_halved);
    assert_eq!(counts.batch.total(), counts.batches_committed.get(), "a try is no commit");
    assert_eq!(world.history(&dentist, id, HistoryRange::After(0), 10).await, seqs);
}

async fn one_who_is_refused_takes_nobody_along(world: World) {
    let (customer, _, id) = world.pair().await;
    let (_, dentist, closed) = world.pair().await;
    world.say(closed, &dentist, 1).await;
    assert!(
        world
            .execute(&format!("update sessions set status = 'closed' where id = '{}'", closed.0))
            .await
    );
    let mut reply = draft(id, &customer, "to nothing");
    reply.reply_to = Some(new_id());
    let batch = [
        draft(id, &customer, "good"),
        draft(closed, &dentist, "late"),
        reply,
        draft(SessionId(new_id()), &customer, "nowhere"),
        draft(id, &customer, "good too"),
    ];
    let appended = world.store.append(&batch).await.unwrap();
    assert_eq!((committed(&appended[0]).seq, committed(&appended[4]).seq), (1, 2));
    assert_eq!(refused(&appended[1]), Refusal::SessionClosed);
    assert_eq!(refused(&appended[2]), Refusal::ReplyNotFound);
    assert_eq!(refused(&appended[3]), Refusal::SessionNotFound);
    assert_eq!(world.history(&dentist, closed, HistoryRange::After(0), 10).await, [1]);
}

async fn one_session_is_open_between_two_people(world: World) {
    let (customer, dentist) = (customer(), dentist());
    let node = world.another_node().await;
    let opening = (0..16).map(|at| {
        let store = if at % 2 == 0 { Arc::clone(&world.store) } else { Arc::clone(&node) };
        let me = if at % 3 == 0 { &dentist } else { &customer };
        let (me, new) = (me.scope(), new_session(&customer, &dentist));
        tokio::spawn(async move { store.open_session(&me, &new).await.unwrap() })
    });
    let opened = futures_util::future::join_all(opening).await;
    let opened: Vec<_> = opened.into_iter().map(Result::unwrap).collect();
    assert!(opened.iter().all(|(id, _)| *id == opened[0].0));
    assert_eq!(opened.iter().filter(|(_, new)| *new).count(), 1);
    // A closed session does not prevent a new one.
    let id = opened[0].0.0;
    assert!(
        world.execute(&format!("update sessions set status = 'closed' where id = '{id}'")).await
    );
    let (second, new) =
        node.open_session(&dentist.scope(), &new_session(&customer, &dentist)).await.unwrap();
    assert!(new && second.0 != id);
}

async fn b39_what_one_is_no_member_of_can_not_be_seen_or_changed(world: World) {
    let (customer, dentist, id) = world.pair().await;
    world.say(id, &customer, 2).await;
    // The same id on the other side is another person.
    let twin = Person::new(TenantId::MAIN, Side::Desk, customer.id.clone());
    for stranger in [self::customer(), self::dentist(), twin] {
        assert!(world.store.session(&stranger.scope(), id).await.unwrap().is_none());
        assert!(world.store.head(&stranger.scope(), id).await.unwrap().is_none());
        assert!(world.history(&stranger, id, HistoryRange::After(0), 10).await.is_empty());
        assert!(world.history(&stranger, id, HistoryRange::Before(9), 10).await.is_empty());
        assert!(world.store.mark_read(&stranger.scope(), id, 1).await.unwrap().is_none());
        assert!(world.store.unread(&stranger.scope()).await.unwrap().is_empty());
        let page = SessionPage { status: None, after: None, since: None, limit: 10 };
        assert!(world.store.sessions(&stranger.scope(), &page).await.unwrap().sessions.is_empty());
        let sent = world.store.append(&[draft(id, &stranger, "x")]).await.unwrap();
        assert_eq!(refused(&sent[0]), Refusal::SessionNotFound);
    }
    assert_eq!(world.history(&dentist, id, HistoryRange::After(0), 10).await, [1, 2]);
}

async fn a_read_mark_only_moves_forward(world: World) {
    let (customer, dentist, id) = world.pair().await;
    world.say(id, &customer, 5).await;
    world.say(id, &dentist, 1).await;
    let mark = async |seq| {
        let mark = world.store.mark_read(&dentist.scope(), id, seq).await.unwrap().unwrap();
        (mark.seq, mark.moved)
    };
    assert_eq!(world.store.unread(&dentist.scope()).await.unwrap(), [(id, 5)]);
    assert_eq!(mark(2).await, (2, true));
    assert_eq!(mark(1).await, (2, false));
    assert_eq!(world.store.unread(&dentist.scope()).await.unwrap(), [(id, 3)]);
    assert_eq!(mark(u64::MAX).await, (6, true), "at most to the end");
    assert!(world.store.unread(&dentist.scope()).await.unwrap().is_empty());
    let seen = world.store.session(&customer.scope(), id).await.unwrap().unwrap();
    assert_eq!((seen.read_seq, seen.other_read_seq, seen.unread), (0, 6, 1));
    let seen = world.store.session(&dentist.scope(), id).await.unwrap().unwrap();
    assert_eq!((seen.read_seq, seen.other_read_seq, seen.unread), (6, 0, 0));
}

async fn the_database_enforces_every_limit(world: World) {
    let (customer, _, id) = world.pair().await;
    let (id, me) = (id.0, customer.id.as_str());
    let message = |seq: i64, sender: &str, client_id: &str, body: &str| {
        format!(
            "insert into messages (session_id, seq, id, sender_kind, sender_id, client_id, kind, \
             body, created_at) values ('{id}', {seq}, '{}', 'customer', '{sender}', '{client_id}', \
             'text', '{body}', {})",
            new_id(),
            if matches!(world.database, Database::Postgres(_)) {
                "now()"
            } else {
                "1800000000000000"
            },
        )
    };
    assert!(world.execute(&message(1, me, "k", &"x".repeat(8_000))).await, "a good one goes in");
    let postgres = matches!(world.database, Database::Postgres(_));
    let early = if postgres { "'1999-01-01T00:00:00Z'" } else { "0" };
    for bad in [
        message(0, me, "k1", "x"),
        message(1, me, "k2", "the same seq"),
        message(2, me, "k", "the same client_id"),
        message(2, me, "k3", ""),
        message(2, me, "k4", &"x".repeat(8_001)),
        message(2, me, &"k".repeat(65), "x"),
        message(2, &"s".repeat(129), "k5", "x"),
        format!("update messages set kind = 'spell' where session_id = '{id}'"),
        format!("update sessions set status = 'ajar' where id = '{id}'"),
        format!("update sessions set customer_id = '' where id = '{id}'"),
        format!("update members set name = '{}' where session_id = '{id}'", "n".repeat(201)),
        format!("update sessions set created_at = {early} where id = '{id}'"),
        format!("update sessions set active_at = {early} where id = '{id}'"),
        format!("update messages set created_at = {early} where session_id = '{id}'"),
        format!("update members set read_seq = -1 where session_id = '{id}'"),
        format!(
            "insert into members (session_id, kind, person_id, name) values ('{id}', 'cat', 'c', 'C')"
        ),
    ] {
        assert!(!world.execute(&bad).await, "{}", &bad[..bad.len().min(300)]);
    }
}

async fn i12_a_database_that_a_newer_node_migrated_is_used_as_it_is(world: World) {
    let (customer, dentist, id) = world.pair().await;
    assert!(world.execute("alter table messages add column mood text").await);
    let newer = "insert into refinery_schema_history (version, name, applied_on, checksum) \
                 values (999, 'mood', '2030-01-01T00:00:00Z', '1')";
    assert!(world.execute(newer).await);
    let old = world.another_node().await;
    old.append(&[draft(id, &customer, "still here")]).await.unwrap();
    assert_eq!(world.history(&dentist, id, HistoryRange::After(0), 10).await, [1]);
}
