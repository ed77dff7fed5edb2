//! Private notes: their members are the professionals of their session, now and later, and its customer finds nothing.

use std::collections::BTreeSet;

use futures_util::future::join_all;

use super::{
    committed,
    world::{Acting, Database, World, actor, append, dentist, draft},
};
use crate::store::{
    Appended, HistoryRange, Refusal, SessionPage, SessionPatch,
    notes::NotesTable,
    participants::{ParticipantTable, Shared},
    search::terms::Terms,
};
use media::uploads::{Declined, NewUpload};
use model::{
    ids::{SessionId, TenantId},
    image::ImageKey,
    message::amend::{Amendment, Unamendable},
    person::Person,
    session::{Delivered, Member},
};

contract!(
    notes_are_opened_once_and_by_professionals_alone,
    a_customer_finds_notes_by_no_function,
    notes_follow_the_professionals_of_their_session,
    notes_are_in_no_list_and_count_as_no_session,
);

fn notes(world: &World) -> NotesTable {
    NotesTable(world.handle.clone())
}

fn colleague(person: &Person) -> Member {
    Member { person: person.clone(), name: "Eve".to_owned(), avatar_url: None, email: None }
}

async fn members(world: &World, me: &Person, id: SessionId) -> BTreeSet<String> {
    let members = world.store.members(me.session(id)).await.unwrap();
    members.iter().map(ToString::to_string).collect()
}

async fn notes_are_opened_once_and_by_professionals_alone(world: World) {
    let (customer, dentist, id) = world.pair().await;
    assert_eq!(notes(&world).find(&dentist.scope(), id).await.unwrap(), None);
    let twin = Person::new(TenantId::new(2).unwrap(), dentist.side, dentist.id.clone());
    for stranger in [&customer, &self::dentist(), &twin] {
        assert_eq!(notes(&world).open(&stranger.scope(), id).await.unwrap(), None);
    }
    // Two nodes at once make one.
    let other = NotesTable(world.another_handle().await);
    let tables = [notes(&world), other.clone(), notes(&world), other];
    let me = dentist.scope();
    let opened = join_all(tables.iter().map(|table| table.open(&me, id))).await;
    let opened: Vec<_> = opened.into_iter().map(|opened| opened.unwrap().unwrap()).collect();
    assert_eq!(opened.iter().filter(|(_, is_new)| *is_new).count(), 1);
    let found = opened[0].0;
    assert!(found != id && opened.iter().all(|(one, _)| *one == found));
    assert_eq!(notes(&world).find(&dentist.scope(), id).await.unwrap(), Some(found));
    // Notes have themselves, and no notes of their own.
    assert_eq!(notes(&world).open(&dentist.scope(), found).await.unwrap(), Some((found, false)));
    for stranger in [&customer, &self::dentist(), &twin] {
        assert_eq!(notes(&world).find(&stranger.scope(), id).await.unwrap(), None);
        assert_eq!(notes(&world).open(&stranger.scope(), found).await.unwrap(), None);
    }
    assert_eq!(members(&world, &dentist, found).await, [dentist.to_string()].into());
}

async fn a_customer_finds_notes_by_no_function(world: World) {
    let (customer, dentist, id) = world.pair().await;
    world.say(id, &customer, 1).await;
    let (private, _) = notes(&world).open(&dentist.scope(), id).await.unwrap().unwrap();
    let store = &world.store;
    let sent = append(&**store, vec![draft(private, &dentist, "cavity suspected")]).await;
    let secret = committed(&sent[0]).clone();
    assert_eq!(secret.seq, 1, "notes are numbered by themselves");
    let me = &customer;
    assert!(store.session(&me.scope(), private).await.unwrap().is_none());
    assert!(store.head(&me.scope(), private).await.unwrap().is_none());
    for range in [HistoryRange::After(0), HistoryRange::Before(u64::MAX)] {
        assert!(world.history(me, private, range, 10).await.is_empty());
        assert_eq!(world.history(me, id, range, 10).await, [1], "without a gap");
    }
    assert!(store.changes(&me.scope(), private, 0, 10).await.unwrap().is_empty());
    let terms = Terms::parse("cavity").unwrap();
    assert!(store.search(&me.scope(), &terms, 0, 10).await.unwrap().unwrap().found.is_empty());
    assert!(!store.has_written(&me.scope(), private, &dentist.name()).await.unwrap());
    assert!(store.mark_read(&me.scope(), private, 1).await.unwrap().is_none());
    let delivered = Delivered { session_id: private, to: me.clone(), seq: 1 };
    assert!(store.mark_delivered(&[delivered]).await.unwrap().moved.is_empty());
    let mute = SessionPatch { muted: Some(true), ..SessionPatch::default() };
    assert!(store.set_session(&me.scope(), private, mute).await.unwrap().is_none());
    for amendment in
        [Amendment::Delete, Amendment::React { emoji: "👍".parse().unwrap(), on: true }]
    {
        let amended = store.amend(&me.scope(), private, secret.id, &amendment).await.unwrap();
        assert!(matches!(amended, Err(Unamendable::NotFound)));
    }
    let sent = append(&**store, vec![draft(private, me, "hello")]).await.remove(0);
    assert!(matches!(sent, Appended::Refused(Refusal::SessionNotFound)), "{sent:?}");
    let key = ImageKey::new(7);
    assert!(world.uploads().upload(&me.scope(), private, &key).await.unwrap().is_none());
    let upload = NewUpload {
        session_id: private,
        key,
        format: media::Format::Png,
        size: 1,
        file_name: None,
    };
    let noted = world.uploads().note_upload(&me.scope(), &upload).await.unwrap();
    assert_eq!(noted, Err(Declined::SessionNotFound));
    // A reply to a note shows that it exists no more than one to nothing.
    let mut reply = draft(id, me, "what is this?");
    reply.reply_to = Some(secret.id);
    let refused = append(&**store, vec![reply]).await.remove(0);
    assert!(matches!(refused, Appended::Refused(Refusal::ReplyNotFound)), "{refused:?}");
    // A note may answer a message of its session.
    let said =
        store.history(&dentist.scope(), id, HistoryRange::After(0), 1).await.unwrap().remove(0);
    let mut answer = draft(private, &dentist, "he says so");
    answer.reply_to = Some(said.id);
    let answered = append(&**store, vec![answer]).await;
    assert_eq!(committed(&answered[0]).reply_to, Some(said.id));
    // The customer's own session looks as it would without notes.
    let views = store.views(&[me.session(id), me.session(private)]).await.unwrap();
    let theirs: Vec<_> = views.iter().filter(|(member, _)| member == me).collect();
    assert_eq!(theirs.len(), 1);
    assert_eq!((theirs[0].1.id, theirs[0].1.last_seq, theirs[0].1.unread), (id, 1, 0));
    assert_eq!(store.unanswered(&me.scope(), 10).await.unwrap(), 1);
    // A node that sends pushes makes no job for notes.
    let pushing = world.pushing(std::time::Duration::ZERO).await;
    append(&*pushing, vec![draft(private, &dentist, "x-ray on Monday")]).await;
    assert_eq!(world.count("select count(*) from jobs").await, 0);
}

async fn notes_follow_the_professionals_of_their_session(world: World) {
    let (customer, dana, id) = world.pair().await;
    let (eve, finn) = (dentist(), dentist());
    let table = ParticipantTable(world.handle.clone());
    let (private, _) = notes(&world).open(&dana.scope(), id).await.unwrap().unwrap();
    world.say(private, &dana, 2).await;
    assert_eq!(table.add(&actor(), id, &colleague(&eve), None).await.unwrap(), Shared::Done);
    let names = |people: &[&Person]| people.iter().map(ToString::to_string).collect();
    assert_eq!(members(&world, &dana, private).await, names(&[&dana, &eve]));
    // As their session shows them, with own marks and counts.
    let seen = world.store.session(&eve.scope(), private).await.unwrap().unwrap();
    assert_eq!((seen.notes_of, seen.last_seq, seen.unread), (Some(id), 2, 2));
    assert_eq!((&seen.contact.person, &*seen.contact.name), (&customer, "Ada"));
    assert_eq!((&seen.agent.person, &*seen.agent.name), (&dana, "Dana"));
    assert_eq!(seen.participants.len(), 1);
    assert_eq!((seen.other_read_seq, seen.other_delivered_seq), (0, 0));
    world.store.mark_read(&eve.scope(), private, 2).await.unwrap().unwrap();
    world.say(private, &eve, 1).await;
    let unread = async |me: &Person| {
        world.store.session(&me.scope(), private).await.unwrap().unwrap().unread
    };
    assert_eq!((unread(&eve).await, unread(&dana).await), (0, 1));
    assert_eq!(table.transfer(&actor(), id, &colleague(&finn), None).await.unwrap(), Shared::Done);
    assert_eq!(members(&world, &dana, private).await, names(&[&dana, &eve, &finn]));
    let before = world.store.heads(&[dana.session(private)]).await.unwrap()[0].rev;
    assert_eq!(table.remove(&actor(), id, &eve).await.unwrap(), Shared::Done);
    assert_eq!(members(&world, &dana, private).await, names(&[&dana, &finn]));
    let after = world.store.heads(&[dana.session(private)]).await.unwrap()[0].rev;
    assert!(after > before, "the head check looks at the members of the notes");
    assert!(world.store.session(&eve.scope(), private).await.unwrap().is_none());
    assert_eq!(notes(&world).find(&eve.scope(), id).await.unwrap(), None);
    // A node of the version before knows no notes, and adds and removes as well.
    let now =
        if matches!(world.database, Database::Postgres(_)) { "now()" } else { "1800000000000000" };
    for (left_at, expected) in
        [("null", names(&[&dana, &eve, &finn])), (now, names(&[&dana, &finn]))]
    {
        let by_that = format!(
            "update members set left_at = {left_at} where session_id = '{}' and person_id = '{}'",
            id.0,
            eve.id.as_str()
        );
        assert!(world.execute(&by_that).await);
        assert_eq!(members(&world, &dana, private).await, expected);
    }
    let gus = dentist();
    let by_that = format!(
        "insert into members (session_id, kind, person_id, name) values ('{}', 'dentist', '{}', 'Gus')",
        id.0,
        gus.id.as_str()
    );
    assert!(world.execute(&by_that).await);
    assert_eq!(members(&world, &dana, private).await, names(&[&dana, &finn, &gus]));
    // Nobody is added to notes alone.
    for shared in [
        table.add(&actor(), private, &colleague(&eve), None).await.unwrap(),
        table.transfer(&actor(), private, &colleague(&eve), None).await.unwrap(),
        table.remove(&actor(), private, &dana).await.unwrap(),
    ] {
        assert_eq!(shared, Shared::NotFound);
    }
    assert!(table.roster(&dana.admin(), private).await.unwrap().is_none());
}

async fn notes_are_in_no_list_and_count_as_no_session(world: World) {
    let (customer, dana, id) = world.pair().await;
    let eve = dentist();
    let table = ParticipantTable(world.handle.clone());
    table.add(&actor(), id, &colleague(&eve), None).await.unwrap();
    let (private, _) = notes(&world).open(&dana.scope(), id).await.unwrap().unwrap();
    world.say(private, &dana, 3).await;
    for me in [&customer, &dana, &eve] {
        let all = SessionPage { after: None, status: None, since: None, limit: 10 };
        let listed = world.store.sessions(&me.scope(), &all).await.unwrap().sessions;
        assert_eq!(listed.iter().map(|session| session.id).collect::<Vec<_>>(), [id]);
        assert!(world.store.unread(&me.scope()).await.unwrap().is_empty());
    }
    // Each professional finds them by search, and has a view of them.
    let terms = Terms::parse("1").unwrap();
    let hits = world.store.search(&eve.scope(), &terms, 0, 10).await.unwrap().unwrap();
    assert_eq!(hits.found.len(), 1);
    let views = world.store.views(&[dana.session(private)]).await.unwrap();
    assert_eq!(views.len(), 2);
    // They hinder no opening: of the customer with another dentist, nor of the same two after a close.
    let second = world.open(&customer, &self::dentist()).await;
    assert!(second != id && second != private);
    assert_eq!(world.open(&customer, &dana).await, id);
}
