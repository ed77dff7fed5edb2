//! Members.

use super::world::{Acting, World, customer, dentist, new_session};
use crate::store::{Head, HistoryRange, PatchOutcome, SessionPatch};
use model::{
    ids::SessionId,
    session::{Delivered, DeskStatus, SessionStatus},
};
use platform::new_id;

pub(super) async fn a_session_is_closed_opened_and_muted(world: World) {
    let (customer, dentist, id) = world.pair().await;
    let set = async |status, muted| {
        let patch = SessionPatch { status, muted, ..SessionPatch::default() };
        world.store.set_session(&dentist.scope(), id, patch).await.unwrap()
    };
    let done = |status, muted| Some(PatchOutcome::Done { status, desk: false, muted });
    assert_eq!(set(None, None).await, done(false, false));
    assert_eq!(set(Some(DeskStatus::Open), Some(false)).await, done(false, false));
    assert_eq!(set(Some(DeskStatus::Closed), Some(true)).await, done(true, true));
    assert_eq!(set(Some(DeskStatus::Closed), Some(true)).await, done(false, false));
    let seen = world.store.session(&customer.scope(), id).await.unwrap().unwrap();
    assert!(seen.status == SessionStatus::Closed && !seen.muted && seen.rev == 1);
    world.store.open_session(&customer.scope(), &new_session(&customer, &dentist)).await.unwrap();
    assert_eq!(set(Some(DeskStatus::Open), None).await, Some(PatchOutcome::AnotherIsOpen));
    let patch = SessionPatch {
        status: Some(DeskStatus::Closed),
        muted: Some(true),
        ..SessionPatch::default()
    };
    let stranger = self::customer();
    assert_eq!(world.store.set_session(&stranger.scope(), id, patch).await.unwrap(), None);
}

pub(super) async fn each_member_has_a_view_and_a_delivery_mark(world: World) {
    let (customer, dentist, id) = world.pair().await;
    world.say(id, &customer, 3).await;
    let mark = |to: &model::person::Person, seq| Delivered { session_id: id, to: to.clone(), seq };
    let nowhere = Delivered { session_id: SessionId(new_id()), ..mark(&dentist, 1) };
    let marks = [mark(&dentist, 2), nowhere, mark(&self::customer(), 3), mark(&customer, 0)];
    let moved = async |marks: &[Delivered]| {
        let done = world.store.mark_delivered(marks).await.unwrap();
        assert!(done.locked.is_empty());
        done.moved
    };
    assert_eq!(moved(&marks).await, [mark(&dentist, 2)]);
    assert!(moved(&[mark(&dentist, 1)]).await.is_empty());
    let end = moved(&[mark(&dentist, 99)]).await;
    assert_eq!(end, [mark(&dentist, 3)], "at most to the end");
    let views = world
        .store
        .views(&[dentist.session(id), dentist.session(SessionId(new_id()))])
        .await
        .unwrap();
    assert_eq!(views.len(), 2);
    for (member, session) in views {
        let own = world.store.session(&member.scope(), id).await.unwrap().unwrap();
        assert_eq!((own.unread, own.delivered_seq), (session.unread, session.delivered_seq));
        let expected = if member == dentist { (3, 3, 0) } else { (0, 0, 3) };
        let seen = (session.unread, session.delivered_seq, session.other_delivered_seq);
        assert_eq!(seen, expected);
    }
    // A person who never reads has more than a page of them.
    world.say(id, &customer, 250).await;
    let waiting = world.store.session(&dentist.scope(), id).await.unwrap().unwrap();
    assert_eq!((waiting.last_seq, waiting.unread), (253, 253));
    assert_eq!(world.store.unread(&dentist.scope()).await.unwrap(), [(id, 253)]);
}

pub(super) async fn when_someone_was_last_seen_is_kept(world: World) {
    let (customer, dentist, _) = world.pair().await;
    assert_eq!(world.people().last_seen(&dentist).await.unwrap(), None);
    world.people().seen(&[customer.clone(), dentist.clone()]).await.unwrap();
    let first = world.people().last_seen(&dentist).await.unwrap().unwrap();
    world.people().seen(std::slice::from_ref(&dentist)).await.unwrap();
    assert!(world.people().last_seen(&dentist).await.unwrap().unwrap() > first);
    assert_eq!(world.people().last_seen(&customer).await.unwrap(), Some(first));
}

pub(super) async fn a_new_name_is_seen_wherever_its_bearer_is_a_member(world: World) {
    let (customer, dentist, id) = world.pair().await;
    let (other, _, elsewhere) = world.pair().await;
    world.say(id, &customer, 1).await;
    let second = world.open(&customer, &self::dentist()).await;
    let avatar_url = "https://pictures.example/2.png".parse().ok();
    for _ in 0..2 {
        world.people().rename(&customer, "Ada King", avatar_url.as_ref()).await.unwrap();
    }
    for (me, id) in [(&customer, id), (&dentist, id), (&customer, second)] {
        let session = world.store.session(&me.scope(), id).await.unwrap().unwrap();
        assert_eq!(session.contact.name, "Ada King");
        assert_eq!(session.contact.avatar_url, avatar_url);
        assert_eq!(session.agent.name, "Dana");
    }
    let said = world.store.history(&dentist.scope(), id, HistoryRange::After(0), 1).await.unwrap();
    assert_eq!(said[0].sender.name, "Ada King");
    world.people().rename(&dentist, "Dana", None).await.unwrap();
    let session = world.store.session(&dentist.scope(), id).await.unwrap().unwrap();
    assert_eq!(session.agent.avatar_url, None);
    let session = world.store.session(&other.scope(), elsewhere).await.unwrap().unwrap();
    assert_eq!(session.contact.name, "Ada", "another customer keeps theirs");
    assert!(session.contact.avatar_url.is_some() && session.contact.email.is_none());
}

pub(super) async fn heads_are_the_last_seqs_and_revisions(world: World) {
    let (customer, _, busy) = world.pair().await;
    let (member, _, quiet) = world.pair().await;
    world.say(busy, &customer, 3).await;
    let closed = SessionPatch { status: Some(DeskStatus::Closed), ..SessionPatch::default() };
    let closed = world.store.set_session(&member.scope(), quiet, closed).await.unwrap();
    assert!(closed.is_some());
    let [quiet, busy, none] = [quiet, busy, SessionId(new_id())].map(|id| member.session(id));
    let mut heads = world.store.heads(&[quiet, busy, none]).await.unwrap();
    heads.sort_unstable_by_key(|head| head.last_seq);
    let head = |key, last_seq, rev| Head { key, last_seq, rev };
    assert_eq!(heads, [head(quiet, 0, 1), head(busy, 3, 0)]);
    world.handle.server().ping().await.unwrap();
}
