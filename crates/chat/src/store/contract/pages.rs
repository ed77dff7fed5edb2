//! Size of a page.

use std::ops::RangeInclusive;

use super::world::{Acting, World, customer, dentist, draft};
use crate::store::{AROUND_A_BODY, HistoryRange, Listed, PAGE_BYTES, PAGE_MAX, SessionPage};
use model::{ids::SessionId, message::Draft, person::Person, session::DeskStatus};

const LONGEST: usize = 8_000;
/// Number of the longest messages that fit into a page.
const FIT: u64 = (PAGE_BYTES / (LONGEST + AROUND_A_BODY)) as u64;

fn all(range: RangeInclusive<u64>) -> Vec<u64> {
    range.collect()
}

impl World {
    async fn say_at_length(&self, id: SessionId, sender: &Person, count: usize) {
        let body = "x".repeat(LONGEST);
        let drafts: Vec<Draft> = (0..count).map(|_| draft(id, sender, &body)).collect();
        self.store.append(&drafts).await.unwrap();
    }
}

pub(super) async fn a_history_is_read_from_either_end(world: World) {
    let (customer, dentist, id) = world.pair().await;
    world.say(id, &customer, 10).await;
    assert_eq!(world.history(&dentist, id, HistoryRange::After(0), 3).await, [1, 2, 3]);
    assert_eq!(world.history(&dentist, id, HistoryRange::After(8), 3).await, [9, 10]);
    assert_eq!(world.history(&dentist, id, HistoryRange::Before(u64::MAX), 3).await, [8, 9, 10]);
    assert_eq!(world.history(&dentist, id, HistoryRange::Before(3), 5).await, [1, 2]);
    for none in [
        HistoryRange::After(10),
        HistoryRange::After(u64::MAX),
        HistoryRange::Before(0),
        HistoryRange::Before(1),
    ] {
        assert!(world.history(&dentist, id, none, 5).await.is_empty());
    }
}

pub(super) async fn a_page_of_long_messages_ends_where_it_is_full(world: World) {
    let (customer, dentist, id) = world.pair().await;
    world.say_at_length(id, &customer, 40).await;
    let seqs = async |span| world.history(&dentist, id, span, PAGE_MAX).await;
    assert_eq!(seqs(HistoryRange::After(0)).await, all(1..=FIT));
    assert_eq!(seqs(HistoryRange::After(30)).await, all(31..=40));
    assert_eq!(seqs(HistoryRange::Before(u64::MAX)).await, all(41 - FIT..=40));
    assert_eq!(seqs(HistoryRange::Before(11)).await, all(1..=10));
    assert!(
        world
            .execute(&format!("update messages set rev = seq where session_id = '{}'", id.0))
            .await
    );
    for changed in [
        world.store.backfill_messages(dentist.session(id), 0, PAGE_MAX).await.unwrap(),
        world.store.backfill_changes(dentist.session(id), 0, PAGE_MAX).await.unwrap(),
        world.store.changes(&dentist.scope(), id, 0, PAGE_MAX).await.unwrap(),
    ] {
        assert_eq!(changed.iter().map(|message| message.seq).collect::<Vec<_>>(), all(1..=FIT));
    }
    // A short message behind them is read with the ones before it. Of short messages the page has
    // as many as the limit allows.
    world.say(id, &customer, 100).await;
    assert_eq!(seqs(HistoryRange::After(38)).await, all(39..=140));
    assert_eq!(world.history(&dentist, id, HistoryRange::After(40), 70).await, all(41..=110));
}

pub(super) async fn a_list_of_long_last_messages_ends_where_it_is_full(world: World) {
    let me = dentist();
    for _ in 0..40 {
        let customer = customer();
        let id = world.open(&customer, &me).await;
        world.say_at_length(id, &customer, 1).await;
    }
    let mut page = SessionPage { status: None, after: None, since: None, limit: PAGE_MAX };
    let Listed { sessions, is_cut } = world.store.sessions(&me.scope(), &page).await.unwrap();
    assert!(is_cut && (20..40).contains(&sessions.len()), "{}", sessions.len());
    page.after = sessions.last().map(|last| (last.active_at, last.id));
    let rest = world.store.sessions(&me.scope(), &page).await.unwrap();
    assert!(!rest.is_cut);
    assert_eq!(sessions.len() + rest.sessions.len(), 40);
}

pub(super) async fn a_list_of_sessions_is_by_activity_and_pages(world: World) {
    let me = dentist();
    let mut ids = Vec::new();
    for _ in 0..5 {
        let customer = customer();
        ids.push(world.open(&customer, &me).await);
    }
    world.say(ids[1], &me, 1).await;
    let closed = ids[3].0;
    assert!(
        world
            .execute(&format!("update sessions set status = 'closed' where id = '{closed}'"))
            .await
    );
    let expected = [1, 4, 3, 2, 0].map(|at| ids[at]);
    let mut page = SessionPage { status: None, after: None, since: None, limit: 2 };
    let mut listed = Vec::new();
    loop {
        let sessions = world.store.sessions(&me.scope(), &page).await.unwrap().sessions;
        let Some(last) = sessions.last() else { break };
        page.after = Some((last.active_at, last.id));
        listed.extend(sessions.iter().map(|session| session.id));
    }
    assert_eq!(listed, expected);
    for (status, count) in [(DeskStatus::Open, 4), (DeskStatus::Closed, 1)] {
        let page = SessionPage { status: Some(status), after: None, since: None, limit: 10 };
        let sessions = world.store.sessions(&me.scope(), &page).await.unwrap().sessions;
        assert_eq!(sessions.len(), count);
        assert!(sessions.iter().all(|session| session.status == status.plain()));
    }
    let session = world.store.session(&me.scope(), ids[1]).await.unwrap().unwrap();
    assert_eq!(session.last_message.map(|message| message.seq), Some(1));
    assert_eq!((session.agent.person, session.agent.name.as_str()), (me, "Dana"));
}
