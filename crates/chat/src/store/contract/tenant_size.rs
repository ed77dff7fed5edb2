//! The work of a statement in PostgreSQL does not grow with its tenant, though all keys begin with the tenant, and though
//! the database knows nothing of its tables yet: plans are made on empty tables, and no statistics follow. Nodes have the
//! database look at tables that have grown.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::world::{Acting, World, actor, draft};
use crate::{
    pushes::PushTable,
    store::{
        HistoryRange, SessionPage, SessionPatch, notes::NotesTable, participants::ParticipantTable,
    },
};
use db::text::Statement;
use media::uploads::NewUpload;
use model::{
    ids::{SessionId, TenantId},
    image::ImageKey,
    message::{Draft, amend::Amendment},
    person::{Person, Side},
    session::{Delivered, DeskStatus, Member},
};

/// A change of these settings would have the statements planned anew.
const NO_STATISTICS: &str = "
    alter table sessions set (autovacuum_enabled = false);
    alter table members set (autovacuum_enabled = false);
    alter table messages set (autovacuum_enabled = false);
    alter table uploads set (autovacuum_enabled = false);
    alter table message_edits set (autovacuum_enabled = false);";

/// Other sessions of the tenant, each with two members and ten messages.
const FILL: &str = "
    insert into sessions (id, customer_id, dentist_id, last_seq, created_at, active_at)
        select gen_random_uuid(), 'c' || n, 'd' || n, 10, now(), now() from generate_series(1, 2000) n;
    insert into members (session_id, kind, person_id, name)
        select id, kind, person_id, 'Somebody' from sessions,
            lateral (values ('customer', customer_id), ('dentist', dentist_id)) as m(kind, person_id)
        where last_seq = 10;
    insert into messages (session_id, seq, id, sender_kind, sender_id, client_id, kind, body, created_at)
        select id, n, gen_random_uuid(), 'customer', customer_id, n::text, 'text', 'hello', now()
        from sessions, generate_series(1, 10) n where last_seq = 10;";

/// Maximum of rows and entries of indexes that a call may read. The tenant has 2,000 sessions, 4,000 members and 20,000
/// messages more than the session that is used.
const READ_MAX: i64 = 1_000;

const READ: &str = "select coalesce(sum(seq_tup_read) + sum(idx_tup_fetch), 0)::bigint
    + (select coalesce(sum(idx_tup_read), 0)::bigint from pg_stat_user_indexes) from pg_stat_user_tables";

fn member(id: &str) -> Member {
    let person = Person::new(TenantId::MAIN, Side::Desk, id.parse().unwrap());
    Member { person, name: "Eve".to_owned(), avatar_url: None, email: None }
}

/// Everything that people, rooms and the writer ask of the store, once.
async fn everything(
    world: &World,
    customer: &Person,
    dentist: &Person,
    id: SessionId,
) -> Vec<(&'static str, i64)> {
    let (store, key) = (&world.store, customer.session(id));
    let mut costs = Vec::new();
    macro_rules! cost {
        ($name:literal, $call:expr) => {
            let before = read(world).await;
            assert!($call.await.is_ok(), $name);
            costs.push(($name, read(world).await - before));
        };
    }
    let later = Timestamp::now() + SignedDuration::from_hours(1);
    let page = SessionPage { after: None, status: None, since: None, limit: 10 };
    let drafts = [draft(id, customer, "one"), draft(id, dentist, "two")];
    let reply = Draft { reply_to: Some(drafts[0].id), ..draft(id, dentist, "three") };
    cost!("append", store.append(&drafts));
    cost!("append a reply", store.append(std::slice::from_ref(&reply)));
    cost!("append again", store.append(&drafts));
    for me in [customer, dentist] {
        cost!("session", store.session(&me.scope(), id));
        cost!("head", store.head(&me.scope(), id));
        cost!("sessions", store.sessions(&me.scope(), &page));
        cost!("unread", store.unread(&me.scope()));
        cost!("history after", store.history(&me.scope(), id, HistoryRange::After(0), 10));
        cost!("history before", store.history(&me.scope(), id, HistoryRange::Before(9), 10));
        cost!("changes", store.changes(&me.scope(), id, 0, 10));
        cost!("has_written", store.has_written(&me.scope(), id, &me.name()));
        cost!("last_before", store.last_before(&me.scope(), id, 9, later));
        cost!("mark_read", store.mark_read(&me.scope(), id, 1));
    }
    cost!("unanswered", store.unanswered(&customer.scope(), 10));
    cost!("open_between", store.open_between(&customer.scope(), &dentist.id));
    cost!("heads", store.heads(&[key]));
    cost!("members", store.members(key));
    cost!("views", store.views(&[key]));
    cost!("backfill_messages", store.backfill_messages(key, 0, 10));
    cost!("backfill_changes", store.backfill_changes(key, 0, 10));
    let delivered = Delivered { session_id: id, to: dentist.clone(), seq: 1 };
    cost!("mark_delivered", store.mark_delivered(&[delivered]));
    let edit = Amendment::Edit("other".to_owned().try_into().unwrap());
    cost!("amend", store.amend(&customer.scope(), id, drafts[0].id, &edit));
    cost!("past_bodies", store.past_bodies(&customer.admin(), id, drafts[0].id));
    let assignee = Some(dentist.id.clone());
    let wait =
        SessionPatch { status: Some(DeskStatus::Pending), assignee, ..SessionPatch::default() };
    cost!("set_session", store.set_session(&dentist.scope(), id, wait));
    let table = ParticipantTable(world.handle.clone());
    cost!("roster", table.roster(&customer.admin(), id));
    let eve = member("8");
    cost!("remove", table.remove(&actor(), id, &eve.person));
    cost!("add", table.add(&actor(), id, &eve, Some(Duration::ZERO)));
    cost!("transfer", table.transfer(&actor(), id, &eve, Some(Duration::ZERO)));
    cost!("transfer back", table.transfer(&actor(), id, &member(dentist.id.as_str()), None));
    let notes = NotesTable(world.handle.clone());
    cost!("open notes", notes.open(&dentist.scope(), id));
    cost!("find notes", notes.open(&dentist.scope(), id));
    let upload = NewUpload {
        session_id: id,
        key: ImageKey::new(rand::random()),
        format: media::Format::Png,
        size: 1,
        file_name: None,
    };
    cost!("note_upload", world.uploads().note_upload(&customer.scope(), &upload));
    cost!("upload", world.uploads().upload(&customer.scope(), id, &ImageKey::new(7)));
    cost!("rename", world.people().rename(customer, "Another", None));
    cost!("hasten", PushTable(world.handle.clone()).hasten(std::slice::from_ref(dentist)));
    costs
}

/// Rows and entries of indexes that were read so far. The store uses one connection, as its calls follow each other.
async fn read(world: &World) -> i64 {
    let flush = "select 1 as one from (select pg_stat_force_next_flush()) flush";
    world.handle.read(Statement::new(flush, [])).await.unwrap();
    world.count(READ).await
}

#[tokio::test]
async fn i15_what_a_statement_reads_does_not_grow_with_the_tenant() {
    let world = World::on_postgres().await;
    assert!(world.execute(NO_STATISTICS).await);
    let (customer, dentist, id) = world.pair().await;
    ParticipantTable(world.handle.clone()).add(&actor(), id, &member("8"), None).await.unwrap();
    everything(&world, &customer, &dentist, id).await;
    assert!(world.execute(FILL).await);
    let costs = everything(&world, &customer, &dentist, id).await;
    let dear: Vec<_> = costs.iter().filter(|(_, rows)| *rows > READ_MAX).collect();
    assert!(dear.is_empty(), "{dear:?} of {costs:?}");
    let all: i64 = costs.iter().map(|(_, rows)| rows).sum();
    assert!(all > 100, "the rows are counted: {costs:?}");
    // The next rounds of the index bring the statistics, of one table each.
    let looked_at = "select count(*) from pg_class where relname = 'messages' and reltuples > 1000";
    assert_eq!(world.count(looked_at).await, 0);
    for _ in 0..3 {
        world.store.index_waiting(64).await.unwrap();
    }
    assert_eq!(world.count(looked_at).await, 1);
}
