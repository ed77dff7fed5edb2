//! Law I15: the same ids in another tenant are other people, and nothing of one tenant is found by the other.

use jiff::{SignedDuration, Timestamp};

use super::{
    committed,
    search::index_all,
    world::{Acting, World, actor, actor_of, append, customer, dentist, draft, new_session},
};
use crate::store::{
    Appended, HistoryRange, PatchOutcome, Refusal, SessionPage, SessionPatch,
    notes::NotesTable,
    participants::{ParticipantTable, Shared},
    search::terms::Terms,
};
use db::{StoreError, jobs::JobTable};
use identity::audit::Actor;
use media::uploads::{Declined, NewUpload};
use model::{
    ids::{MessageId, SessionId, TenantId},
    image::ImageKey,
    message::amend::{Amendment, Unamendable},
    person::{Person, Side},
    session::{Delivered, DeskStatus, Member, SessionStatus},
};

contract!(
    i15_a_twin_in_another_tenant_finds_nothing_and_changes_nothing,
    a_session_is_opened_by_its_own_people,
    i15_twins_have_their_own_sessions,
    i15_what_changes_in_a_session_does_not_change_its_twin,
    i15_what_is_kept_of_a_person_is_not_their_twins,
);

fn member(person: Person) -> Member {
    Member { person, name: "Eve".to_owned(), avatar_url: None, email: None }
}

/// The person with the same id in another tenant.
fn twin(person: &Person) -> Person {
    Person::new(TenantId::new(2).unwrap(), person.side, person.id.clone())
}

/// Admins of another tenant let nobody in, and read no earlier text.
async fn their_admins_change_nothing(
    world: &World,
    me: &Person,
    id: SessionId,
    message_id: MessageId,
) {
    let colleague = member(Person::new(me.tenant, Side::Desk, "8".parse().unwrap()));
    let table = ParticipantTable(world.handle.clone());
    // Nor does an admin of the session's tenant let in people of another one, or remove them.
    for by in [actor_of(me.tenant), actor()] {
        for shared in [
            table.add(&by, id, &colleague, None).await.unwrap(),
            table.transfer(&by, id, &colleague, None).await.unwrap(),
            table.remove(&by, id, &colleague.person).await.unwrap(),
        ] {
            assert_eq!(shared, Shared::NotFound);
        }
    }
    assert!(table.roster(&me.admin(), id).await.unwrap().is_none());
    let past = world.store.past_bodies(&me.admin(), id, message_id).await.unwrap();
    assert!(past.is_none());
}

async fn refuse_opening(world: &World, me: &Person, contact: &Person, agent: &Person) {
    let opened = world.store.open_session(&me.scope(), &new_session(contact, agent)).await;
    assert!(matches!(opened, Err(StoreError::Refused(_))), "{opened:?}");
}

async fn a_session_is_opened_by_its_own_people(world: World) {
    let [ada, dana, eve] = [customer(), dentist(), customer()];
    refuse_opening(&world, &eve, &ada, &dana).await;
    // Nor is one side taken for the other.
    refuse_opening(&world, &dana, &dana, &ada).await;
    refuse_opening(&world, &ada, &ada, &eve).await;
    assert_eq!(world.count("select count(*) from sessions").await, 0);
}

async fn i15_a_twin_in_another_tenant_finds_nothing_and_changes_nothing(world: World) {
    let (customer, dentist, id) = world.pair().await;
    let drafts = vec![draft(id, &customer, "toothache"), draft(id, &dentist, "tomorrow")];
    let first = committed(&append(&*world.store, drafts).await[0]).clone();
    for (me, other) in [(&customer, &dentist), (&dentist, &customer)] {
        let (me, other) = (twin(me), twin(other));
        let store = &world.store;
        let all = SessionPage { after: None, status: None, since: None, limit: 10 };
        assert!(store.session(&me.scope(), id).await.unwrap().is_none());
        assert!(store.head(&me.scope(), id).await.unwrap().is_none());
        assert!(store.sessions(&me.scope(), &all).await.unwrap().sessions.is_empty());
        assert!(store.unread(&me.scope()).await.unwrap().is_empty());
        for range in [HistoryRange::After(0), HistoryRange::Before(u64::MAX)] {
            assert!(world.history(&me, id, range, 10).await.is_empty());
        }
        assert!(store.changes(&me.scope(), id, 0, 10).await.unwrap().is_empty());
        let terms = Terms::parse("toothache").unwrap();
        let hits = store.search(&me.scope(), &terms, 0, 10).await.unwrap().unwrap();
        assert!(hits.found.is_empty());
        assert!(!store.has_written(&me.scope(), id, &other.name()).await.unwrap());
        let later = Timestamp::now() + SignedDuration::from_hours(1);
        assert_eq!(store.last_before(&me.scope(), id, 9, later).await.unwrap(), 0);
        // Nor by the parts of the server that read for everybody in a room.
        let key = me.session(id);
        assert!(store.heads(&[key]).await.unwrap().is_empty());
        assert!(store.views(&[key]).await.unwrap().is_empty());
        assert!(store.backfill_messages(key, 0, 10).await.unwrap().is_empty());
        assert!(store.backfill_changes(key, 0, 10).await.unwrap().is_empty());
        // Nothing is changed either.
        assert!(store.mark_read(&me.scope(), id, 1).await.unwrap().is_none());
        let delivered = Delivered { session_id: id, to: me.clone(), seq: 2 };
        assert!(store.mark_delivered(&[delivered]).await.unwrap().moved.is_empty());
        let close = SessionPatch {
            status: Some(DeskStatus::Closed),
            muted: Some(true),
            ..SessionPatch::default()
        };
        assert!(store.set_session(&me.scope(), id, close).await.unwrap().is_none());
        let amended = store.amend(&me.scope(), id, first.id, &Amendment::Delete).await.unwrap();
        assert!(matches!(amended, Err(Unamendable::NotFound)));
        let sent = append(&**store, vec![draft(id, &me, "hello")]).await.remove(0);
        assert!(matches!(sent, Appended::Refused(Refusal::SessionNotFound)), "{sent:?}");
        their_admins_change_nothing(&world, &me, id, first.id).await;
        let key = ImageKey::new(7);
        assert!(world.uploads().upload(&me.scope(), id, &key).await.unwrap().is_none());
        let upload =
            NewUpload { session_id: id, key, format: media::Format::Png, size: 1, file_name: None };
        let noted = world.uploads().note_upload(&me.scope(), &upload).await.unwrap();
        assert_eq!(noted, Err(Declined::SessionNotFound));
        assert_eq!(store.open_between(&me.scope(), &other.id).await.unwrap(), None);
        for (one, two) in [(&customer, &dentist), (&customer, &other), (&me, &dentist)] {
            refuse_opening(&world, &me, one, two).await;
        }
        world.people().rename(&me, "Somebody else", None).await.unwrap();
    }
    let session = world.store.session(&customer.scope(), id).await.unwrap().unwrap();
    assert_eq!((session.last_seq, session.read_seq, session.delivered_seq), (2, 0, 0));
    assert_eq!((session.status, session.muted), (SessionStatus::Open, false));
    assert_eq!((&*session.contact.name, &*session.agent.name), ("Ada", "Dana"));
}

/// Two sessions with one id, of twins, and the message with which both begin.
async fn equal_sessions(world: &World) -> ([Person; 4], SessionId, MessageId) {
    let (customer, dentist, id) = world.pair().await;
    let (their_customer, their_dentist) = (twin(&customer), twin(&dentist));
    world.open_as(id, &their_customer, &their_dentist).await;
    let mut both = vec![draft(id, &customer, "our pain"), draft(id, &their_customer, "their pain")];
    both[1].client_id = both[0].client_id.clone();
    both[1].id = both[0].id;
    let message_id = both[0].id;
    for (appended, sender) in
        append(&*world.store, both).await.iter().zip([&customer, &their_customer])
    {
        let message = committed(appended);
        assert_eq!((message.seq, &message.sender.person), (1, sender));
    }
    ([customer, dentist, their_customer, their_dentist], id, message_id)
}

async fn i15_twins_have_their_own_sessions(world: World) {
    let ([customer, dentist, their_customer, their_dentist], id, _) = equal_sessions(&world).await;
    for (one, two) in [(&customer, &dentist), (&their_customer, &their_dentist)] {
        for (me, other) in [(one, two), (two, one)] {
            let found = world.store.open_between(&me.scope(), &other.id).await.unwrap();
            assert_eq!(found, Some(id));
        }
    }
    let stranger = Person::new(their_dentist.tenant, Side::Desk, "8".parse().unwrap());
    assert_eq!(
        world.store.open_between(&their_customer.scope(), &stranger.id).await.unwrap(),
        None
    );
    for (me, body) in [(&dentist, "our pain"), (&their_dentist, "their pain")] {
        let session = world.store.session(&me.scope(), id).await.unwrap().unwrap();
        assert_eq!(session.agent.person, *me);
        let last = session.last_message.unwrap();
        assert_eq!(last.sender.person.tenant, me.tenant);
        assert_eq!(last.body.as_ref().unwrap().as_str(), body);
        assert_eq!(world.store.unread(&me.scope()).await.unwrap(), [(id, 1)]);
        let found = async || {
            let hits = world.store.search(&me.scope(), &Terms::parse("pain").unwrap(), 0, 10).await;
            let found = hits.unwrap().unwrap().found;
            found.into_iter().map(|found| found.message.sender.person.tenant).collect::<Vec<_>>()
        };
        assert_eq!(found().await, [me.tenant]);
        index_all(&*world.store).await;
        assert_eq!(found().await, [me.tenant]);
        // Reactions are read with their tenant.
        let react = Amendment::React { emoji: "👍".parse().unwrap(), on: true };
        let amended = world.store.amend(&me.scope(), id, last.id, &react).await.unwrap().unwrap();
        assert_eq!(amended.message.reactions[0].by, std::slice::from_ref(me));
        let stored = world.store.history(&me.scope(), id, HistoryRange::After(0), 1).await.unwrap();
        assert_eq!(stored[0].reactions[0].by, std::slice::from_ref(me));
    }
    assert_eq!(world.store.unanswered(&customer.scope(), 10).await.unwrap(), 1);
    assert_eq!(world.store.unanswered(&their_customer.scope(), 10).await.unwrap(), 1);
    let close = SessionPatch { status: Some(DeskStatus::Closed), ..SessionPatch::default() };
    let closed = world.store.set_session(&their_dentist.scope(), id, close).await.unwrap();
    assert_eq!(closed, Some(PatchOutcome::Done { status: true, desk: false, muted: false }));
    let ours = world.store.session(&dentist.scope(), id).await.unwrap().unwrap();
    assert_eq!(ours.status, SessionStatus::Open);
    // Each member's view is in their own tenant.
    let keys = [customer.session(id), their_customer.session(id)];
    let views = world.store.views(&keys).await.unwrap();
    assert_eq!(views.len(), 4);
    for (member, session) in views {
        assert_eq!(session.contact.person.tenant, member.tenant);
        let is_open = session.status == SessionStatus::Open;
        assert_eq!(is_open, member.tenant == TenantId::MAIN);
    }
    assert_eq!(world.store.heads(&keys).await.unwrap().len(), 2);
    assert!(JobTable(world.another_handle().await).counts().await.unwrap().is_empty());
}

async fn i15_what_changes_in_a_session_does_not_change_its_twin(world: World) {
    let ([customer, dentist, _, their_dentist], id, message_id) = equal_sessions(&world).await;
    let read = world.store.mark_read(&dentist.scope(), id, 1).await.unwrap().unwrap();
    assert!(read.moved);
    let delivered = Delivered { session_id: id, to: dentist.clone(), seq: 1 };
    assert_eq!(world.store.mark_delivered(&[delivered]).await.unwrap().moved.len(), 1);
    let deleted =
        world.store.amend(&customer.scope(), id, message_id, &Amendment::Delete).await.unwrap();
    assert!(deleted.unwrap().changed);
    let theirs = world.store.session(&their_dentist.scope(), id).await.unwrap().unwrap();
    assert_eq!((theirs.read_seq, theirs.delivered_seq, theirs.unread), (0, 0, 1));
    assert!(theirs.last_message.unwrap().deleted_at.is_none());
    let past = async |admin: &Person| {
        world.store.past_bodies(&admin.admin(), id, message_id).await.unwrap().unwrap()
    };
    assert_eq!((past(&dentist).await.len(), past(&their_dentist).await.len()), (1, 0));
    let ours = committed(&append(&*world.store, vec![draft(id, &customer, "more")]).await[0]).seq;
    assert_eq!(ours, 2);
    assert_eq!(world.history(&their_dentist, id, HistoryRange::After(0), 10).await, [1]);
    // A professional who joins, and their notes, are in one of them.
    let table = ParticipantTable(world.handle.clone());
    let eve = member(Person::new(TenantId::MAIN, Side::Desk, "8".parse().unwrap()));
    assert_eq!(table.add(&actor(), id, &eve, None).await.unwrap(), Shared::Done);
    let roster = async |admin: &Person| {
        table.roster(&admin.admin(), id).await.unwrap().unwrap().participants.len()
    };
    assert_eq!((roster(&dentist).await, roster(&their_dentist).await), (1, 0));
    let notes = NotesTable(world.handle.clone());
    let (of_ours, _) = notes.open(&eve.person.scope(), id).await.unwrap().unwrap();
    let (of_theirs, is_new) = notes.open(&their_dentist.scope(), id).await.unwrap().unwrap();
    assert!(is_new && of_theirs != of_ours);
}

async fn i15_what_is_kept_of_a_person_is_not_their_twins(world: World) {
    let (customer, _, _) = world.pair().await;
    let other = twin(&customer);
    world.people().seen(std::slice::from_ref(&customer)).await.unwrap();
    assert!(world.people().last_seen(&customer).await.unwrap().is_some());
    assert!(world.people().last_seen(&other).await.unwrap().is_none());
    let admin = actor();
    world.blocks().block(&admin, &customer.name(), None).await.unwrap();
    let blocked = world.blocks().blocked(-1).await.unwrap().unwrap();
    assert!(blocked.people.contains(&customer) && !blocked.people.contains(&other));
    let theirs = actor_of(other.tenant);
    let listed = async |by: &Actor| world.blocks().blocks(&by.scope, None, 10).await.unwrap();
    assert_eq!((listed(&admin).await.len(), listed(&theirs).await.len()), (1, 0));
    assert!(!world.blocks().unblock(&theirs, &customer.name()).await.unwrap());
    assert_eq!(listed(&admin).await.len(), 1, "another tenant's admin can't unblock");
    let acts = async |by: &Actor| world.audit().acts(&by.scope, None, 10).await.unwrap();
    assert_eq!((acts(&admin).await.len(), acts(&theirs).await.len()), (1, 0));
}
