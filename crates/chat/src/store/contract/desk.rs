//! How the desk handles a session: put aside, assigned, and with bots.

use std::time::Duration;

use jiff::{Timestamp, ToSpan};

use super::{
    committed,
    world::{Acting, World, actor, append, customer, dentist, draft},
};
use crate::{
    inbox::Inbox,
    snoozes,
    store::{
        HistoryRange, PatchOutcome, SessionPage, SessionPatch,
        notes::NotesTable,
        participants::{ParticipantTable, Shared},
    },
};
use model::{
    ids::{SessionId, TenantId},
    person::{ActorKind, Person, Side},
    session::{Desk, DeskStatus, Member, Session, SessionStatus},
};
use platform::{
    jobs::{Job, Outcome},
    new_id,
};

contract!(
    a_session_is_put_aside_and_its_customer_sees_nothing_of_it,
    i17_snoozed_sessions_wake_at_their_time_or_when_their_customers_write,
    a_session_is_assigned_to_someone_who_takes_part,
    bots_take_part_on_the_desks_side,
    i15_what_belongs_to_a_session_is_of_its_tenant,
);

async fn seen(world: &World, me: &Person, id: SessionId) -> Session {
    world.store.session(&me.scope(), id).await.unwrap().unwrap()
}

async fn set(world: &World, me: &Person, id: SessionId, patch: SessionPatch) -> PatchOutcome {
    world.store.set_session(&me.scope(), id, patch).await.unwrap().unwrap()
}

fn status(status: DeskStatus) -> SessionPatch {
    SessionPatch { status: Some(status), ..SessionPatch::default() }
}

fn snoozed(until: Timestamp) -> SessionPatch {
    SessionPatch { snoozed_until: Some(until), ..status(DeskStatus::Snoozed) }
}

/// To the microsecond, as rows hold it.
fn in_an_hour() -> Timestamp {
    let at = Timestamp::now() + 1.hour();
    Timestamp::from_microsecond(at.as_microsecond()).unwrap()
}

const CHANGED: PatchOutcome = done(false, true, false);
const UNCHANGED: PatchOutcome = done(false, false, false);
/// It was closed or opened again, whatever else has changed.
const TURNED: PatchOutcome = done(true, false, false);

const fn done(status: bool, desk: bool, muted: bool) -> PatchOutcome {
    PatchOutcome::Done { status, desk, muted }
}

async fn add(world: &World, id: SessionId, person: &Person) {
    let member =
        Member { person: person.clone(), name: "Eve".to_owned(), avatar_url: None, email: None };
    let table = ParticipantTable(world.handle.clone());
    let added = table.add(&actor(), id, &member, Some(Duration::ZERO)).await.unwrap();
    assert_eq!(added, Shared::Done);
}

async fn a_session_is_put_aside_and_its_customer_sees_nothing_of_it(world: World) {
    let (customer, dentist, id) = world.pair().await;
    assert!(seen(&world, &dentist, id).await.desk.is_plain());
    assert_eq!(set(&world, &dentist, id, status(DeskStatus::Open)).await, UNCHANGED);
    assert_eq!(set(&world, &dentist, id, status(DeskStatus::Pending)).await, CHANGED);
    assert_eq!(set(&world, &dentist, id, status(DeskStatus::Pending)).await, UNCHANGED);
    let until = in_an_hour();
    let page = |status| SessionPage { status: Some(status), after: None, since: None, limit: 10 };
    for (patch, wanted, wakes) in [
        (status(DeskStatus::Pending), DeskStatus::Pending, None),
        (snoozed(until), DeskStatus::Snoozed, Some(until)),
        (status(DeskStatus::Snoozed), DeskStatus::Snoozed, None),
    ] {
        set(&world, &dentist, id, patch).await;
        let desk = Desk { status: Some(wanted), snoozed_until: wakes, ..Desk::default() };
        for (member, session) in world.store.views(&[dentist.session(id)]).await.unwrap() {
            let expected = if member == dentist { desk.clone() } else { Desk::default() };
            assert_eq!((session.status, session.desk), (SessionStatus::Open, expected));
        }
        assert!(seen(&world, &customer, id).await.desk.is_plain());
        for listed in [DeskStatus::Open, DeskStatus::Pending, DeskStatus::Snoozed] {
            let found =
                world.store.sessions(&dentist.scope(), &page(listed)).await.unwrap().sessions;
            let fits = listed == DeskStatus::Open || listed == wanted;
            assert_eq!(found.len(), usize::from(fits), "{wanted:?} in {listed:?}");
        }
    }
    // It stays aside while the desk writes, and accepts messages as before.
    world.say(id, &dentist, 1).await;
    assert_eq!(seen(&world, &dentist, id).await.desk.status, Some(DeskStatus::Snoozed));
    assert_eq!(seen(&world, &customer, id).await.rev, 0, "its customer notices nothing");
    assert_eq!(set(&world, &dentist, id, status(DeskStatus::Closed)).await, TURNED);
    let closed = seen(&world, &dentist, id).await;
    assert_eq!((closed.status, closed.desk), (SessionStatus::Closed, Desk::default()));
    // A closed session may be opened aside; the version before closes one and leaves what it waited for.
    assert_eq!(set(&world, &dentist, id, status(DeskStatus::Pending)).await, TURNED);
    let closed = format!("update sessions set status = 'closed' where id = '{}'", id.0);
    assert!(world.execute(&closed).await);
    assert!(seen(&world, &dentist, id).await.desk.is_plain());
    let found =
        world.store.sessions(&dentist.scope(), &page(DeskStatus::Pending)).await.unwrap().sessions;
    assert!(found.is_empty());
    assert_eq!(set(&world, &dentist, id, status(DeskStatus::Open)).await, TURNED);
    assert!(seen(&world, &dentist, id).await.desk.is_plain());
}

async fn i17_snoozed_sessions_wake_at_their_time_or_when_their_customers_write(world: World) {
    let (customer, dentist, id) = world.pair().await;
    let module = snoozes::module(world.handle.clone(), std::sync::Arc::<Inbox>::default());
    let job = Job {
        id: new_id(),
        tenant: 1,
        number: 1,
        kind: "wake_sessions".to_owned(),
        key: None,
        payload: serde_json::Value::Null,
        attempts: 1,
        error: None,
    };
    let run = async || assert_eq!(module.handlers[0].run(&job).await, Outcome::Done);
    let waiting = async || seen(&world, &dentist, id).await.desk.status;
    set(&world, &dentist, id, snoozed(in_an_hour())).await;
    run().await;
    assert_eq!(waiting().await, Some(DeskStatus::Snoozed), "it is too early");
    set(&world, &dentist, id, status(DeskStatus::Snoozed)).await;
    run().await;
    assert_eq!(waiting().await, Some(DeskStatus::Snoozed), "it has no time");
    // More than a transaction wakes, of two tenants, and each of them once.
    let twin = TenantId::new(2).unwrap();
    let twins = [customer.id.clone(), dentist.id.clone()];
    let [their_customer, their_dentist] = [(Side::Contact, 0), (Side::Desk, 1)]
        .map(|(side, at): (Side, usize)| Person::new(twin, side, twins[at].clone()));
    world.open_as(id, &their_customer, &their_dentist).await;
    let mut all = Vec::new();
    for _ in 0..230 {
        all.push(world.open(&self::customer(), &dentist).await);
    }
    let past = Timestamp::now();
    set(&world, &their_dentist, id, snoozed(past)).await;
    for one in &all {
        set(&world, &dentist, *one, snoozed(past)).await;
    }
    run().await;
    run().await;
    for one in &all {
        assert!(seen(&world, &dentist, *one).await.desk.is_plain());
    }
    assert!(seen(&world, &their_dentist, id).await.desk.is_plain());
    assert_eq!(waiting().await, Some(DeskStatus::Snoozed));
    // A message of its customer wakes it. A session that waits for somebody else still waits.
    set(&world, &dentist, id, snoozed(in_an_hour())).await;
    world.say(id, &customer, 2).await;
    assert!(seen(&world, &dentist, id).await.desk.is_plain());
    set(&world, &dentist, id, status(DeskStatus::Pending)).await;
    world.say(id, &customer, 1).await;
    run().await;
    assert_eq!(waiting().await, Some(DeskStatus::Pending));
}

async fn a_session_is_assigned_to_someone_who_takes_part(world: World) {
    let (customer, dentist, id) = world.pair().await;
    let (eve, stranger) = (self::dentist(), self::dentist());
    add(&world, id, &eve).await;
    let to_assign = |to: &Person| SessionPatch {
        assignee: Some(to.id.clone()),
        muted: Some(true),
        ..SessionPatch::default()
    };
    let assignee = async |me: &Person| seen(&world, me, id).await.desk.assignee;
    let twin = Person::new(TenantId::MAIN, Side::Desk, customer.id.clone());
    for nobody in [&stranger, &twin] {
        assert_eq!(set(&world, &dentist, id, to_assign(nobody)).await, PatchOutcome::NoParticipant);
    }
    assert!(!seen(&world, &dentist, id).await.muted, "nothing of it is done");
    let both = done(false, true, true);
    assert_eq!(set(&world, &dentist, id, to_assign(&eve)).await, both);
    assert_eq!(set(&world, &dentist, id, to_assign(&eve)).await, UNCHANGED);
    for me in [&dentist, &eve] {
        assert_eq!(assignee(me).await.as_ref(), Some(&eve));
    }
    assert_eq!(assignee(&customer).await, None);
    // Back to the dentist, and away with the assignee.
    assert_eq!(set(&world, &dentist, id, to_assign(&dentist)).await, CHANGED);
    assert!(seen(&world, &eve, id).await.desk.is_plain());
    set(&world, &dentist, id, to_assign(&eve)).await;
    let table = ParticipantTable(world.handle.clone());
    // The version before removes a participant and leaves the assignee.
    let gone = format!(
        "update members set left_at = created_at from sessions s \
         where s.id = session_id and session_id = '{}' and person_id = '{}'",
        id.0,
        eve.id.as_str()
    );
    assert!(world.execute(&gone).await);
    assert_eq!(assignee(&dentist).await, None);
    let roster = table.roster(&actor().scope, id).await.unwrap().unwrap();
    assert!(roster.desk.is_plain());
    add(&world, id, &eve).await;
    let roster = table.roster(&actor().scope, id).await.unwrap().unwrap();
    assert_eq!(roster.desk.assignee.as_ref(), Some(&eve));
    assert_eq!(table.remove(&actor(), id, &eve).await.unwrap(), Shared::Done);
    add(&world, id, &eve).await;
    assert_eq!(assignee(&dentist).await, None, "a return is no assignment");
    // A session that is handed over is its new dentist's.
    set(&world, &dentist, id, to_assign(&eve)).await;
    let member =
        Member { person: eve.clone(), name: "Eve".to_owned(), avatar_url: None, email: None };
    assert_eq!(table.transfer(&actor(), id, &member, None).await.unwrap(), Shared::Done);
    assert_eq!(assignee(&eve).await, None);
    assert_eq!(set(&world, &eve, id, to_assign(&dentist)).await, both);
    assert_eq!(assignee(&eve).await.as_ref(), Some(&dentist));
}

async fn bots_take_part_on_the_desks_side(world: World) {
    let (customer, dentist, id) = world.pair().await;
    let (private, _) =
        NotesTable(world.handle.clone()).open(&dentist.scope(), id).await.unwrap().unwrap();
    let person = |id: &str| Person::new(TenantId::MAIN, Side::Desk, id.parse().unwrap());
    let (bot, system) = (person("bot:assistant"), person("system:desk"));
    world.say(id, &customer, 1).await;
    for one in [&bot, &system] {
        add(&world, id, one).await;
    }
    let unread = async |me: &Person| seen(&world, me, id).await.unread;
    assert_eq!((unread(&dentist).await, unread(&bot).await), (1, 1));
    let store = world.pushing(Duration::ZERO).await;
    let drafts = [&bot, &system, &customer].map(|one| draft(id, one, "hello"));
    let sent = append(&*store, drafts.into()).await;
    let senders: Vec<_> = sent.iter().map(|sent| committed(sent).sender.person.actor()).collect();
    assert_eq!(senders, [ActorKind::Bot, ActorKind::System, ActorKind::Contact]);
    // For the customer they are the other side; for its professionals they are their own.
    assert_eq!((unread(&customer).await, unread(&dentist).await), (2, 2));
    let subjects = async |of: &Person| {
        let sql = format!("select count(*) from jobs where subject = '{of}'");
        world.count(&sql).await
    };
    assert_eq!((subjects(&customer).await, subjects(&dentist).await), (1, 1));
    assert_eq!((subjects(&bot).await, subjects(&system).await), (0, 0), "they have no device");
    let said =
        world.store.history(&customer.scope(), id, HistoryRange::After(1), 10).await.unwrap();
    let shown = serde_json::to_value(&said[0].sender).unwrap();
    let expected = serde_json::json!({ "kind": "dentist", "id": "bot:assistant", "actor": "bot", "name": "Eve" });
    assert_eq!(shown, expected, "today's apps know two kinds");
    // They read nothing of the notes, whether they came before or after.
    assert!(store.session(&bot.scope(), private).await.unwrap().is_none());
    let (_, other, id) = world.pair().await;
    // A person may have such a name.
    let namesake = person("Bot:7");
    for one in [&bot, &namesake] {
        add(&world, id, one).await;
    }
    let (private, _) =
        NotesTable(world.handle.clone()).open(&other.scope(), id).await.unwrap().unwrap();
    add(&world, id, &person("SYSTEM:x")).await;
    assert!(store.session(&bot.scope(), private).await.unwrap().is_none());
    for one in [&other, &namesake, &person("SYSTEM:x")] {
        assert!(store.session(&one.scope(), private).await.unwrap().is_some(), "{one}");
    }
}

async fn i15_what_belongs_to_a_session_is_of_its_tenant(world: World) {
    let (_, _, id) = world.pair().await;
    let id = id.0;
    let now = "(select created_at from sessions where notes_of is null)";
    let rows = |tenant: u8| {
        [
            format!(
                "insert into members (tenant_id, session_id, kind, person_id, name) \
                 values ({tenant}, '{id}', 'dentist', 'eve', 'Eve')"
            ),
            format!(
                "insert into messages (tenant_id, session_id, seq, id, sender_kind, sender_id, client_id, kind, \
                 body, created_at) values ({tenant}, '{id}', 9, '{}', 'dentist', 'eve', 'k', 'text', 'x', {now})",
                new_id()
            ),
            format!(
                "insert into uploads (tenant_id, key, session_id, kind, person_id, content_type, size, created_at) \
                 values ({tenant}, 'k', '{id}', 'dentist', 'eve', 'image/png', 1, {now})"
            ),
            format!(
                "insert into sessions (tenant_id, id, customer_id, dentist_id, created_at, active_at, notes_of) \
                 values ({tenant}, '{}', 'n', 'n', {now}, {now}, '{id}')",
                new_id()
            ),
        ]
    };
    let odd = format!("update sessions set inbox = 'Whats App' where id = '{id}'");
    assert!(!world.execute(&odd).await, "no text that a node can't read");
    for row in rows(2) {
        assert!(!world.execute(&row).await, "{row}");
    }
    for row in rows(1) {
        assert!(world.execute(&row).await, "{row}");
    }
}
