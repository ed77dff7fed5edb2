//! Changes of messages.

use super::{
    committed,
    world::{Acting, World, customer, draft},
};
use crate::store::HistoryRange;
use model::{
    message::{
        Message,
        amend::{Amendment, Unamendable},
    },
    person::Person,
};
use platform::new_id;

fn edit(body: &str) -> Amendment {
    Amendment::Edit(body.to_owned().try_into().unwrap())
}

fn thumb(on: bool) -> Amendment {
    Amendment::React { emoji: "👍".parse().unwrap(), on }
}

async fn amend(
    world: &World,
    me: &Person,
    message: &Message,
    amendment: &Amendment,
) -> Result<(Message, bool), Unamendable> {
    let amended =
        world.store.amend(&me.scope(), message.session_id, message.id, amendment).await.unwrap();
    amended.map(|amended| (amended.message, amended.changed))
}

pub(super) async fn a_change_is_kept_with_what_was_before(world: World) {
    let (customer, dentist, id) = world.pair().await;
    let drafts = [draft(id, &customer, "first"), draft(id, &dentist, "second")];
    let appended = world.store.append(&drafts).await.unwrap();
    let [first, second] = [committed(&appended[0]).clone(), committed(&appended[1]).clone()];
    let (edited, changed) = amend(&world, &customer, &first, &edit("mended")).await.unwrap();
    assert!(changed && edited.edited_at.is_some() && edited.rev == Some(1));
    assert_eq!(amend(&world, &customer, &first, &edit("mended")).await, Ok((edited, false)));
    amend(&world, &dentist, &first, &thumb(true)).await.unwrap();
    let (liked, _) = amend(&world, &customer, &first, &thumb(true)).await.unwrap();
    assert_eq!(liked.reactions[0].by, [dentist.clone(), customer.clone()]);
    let (deleted, _) = amend(&world, &dentist, &second, &Amendment::Delete).await.unwrap();
    // Stored messages equal the results, and changes are found by revision.
    let history =
        world.store.history(&dentist.scope(), id, HistoryRange::After(0), 10).await.unwrap();
    assert_eq!(history, [liked.clone(), deleted.clone()]);
    let since = async |rev| world.store.changes(&customer.scope(), id, rev, 10).await.unwrap();
    assert_eq!(since(0).await, [liked, deleted.clone()]);
    assert_eq!(since(3).await, std::slice::from_ref(&deleted));
    assert!(since(4).await.is_empty());
    assert_eq!(
        world.store.backfill_changes(customer.session(id), 3, 10).await.unwrap(),
        since(3).await
    );
    assert_eq!(
        world.store.backfill_changes(customer.session(id), 0, 1).await.unwrap(),
        since(0).await[..1]
    );
    assert_eq!(world.store.session(&dentist.scope(), id).await.unwrap().unwrap().rev, 4);
    assert!(deleted.body.is_none() && deleted.deleted_at.is_some());
    // A node of an earlier version reads a placeholder, never the text. The text is kept for
    // admins.
    assert_eq!(world.count("select count(*) from messages where body = 'second'").await, 0);
    let kept = "select count(*) from message_edits where body in ('first', 'second')";
    assert_eq!(world.count(kept).await, 2);
    // A late retry of the first send returns the message as it is now.
    let again = world.store.append(&drafts[..1]).await.unwrap();
    assert_eq!(committed(&again[0]).body, Some("mended".to_owned().try_into().unwrap()));
}

pub(super) async fn b39_only_members_change_messages_and_only_their_own(world: World) {
    let (customer, dentist, id) = world.pair().await;
    let appended = world.store.append(&[draft(id, &customer, "mine")]).await.unwrap();
    let message = committed(&appended[0]).clone();
    let (stranger, _, elsewhere) = world.pair().await;
    for amendment in [edit("x"), Amendment::Delete, thumb(true)] {
        let absent = amend(&world, &stranger, &message, &amendment).await;
        assert_eq!(absent, Err(Unamendable::NotFound));
        // A session of their own does not help either.
        let moved = Message { session_id: elsewhere, ..message.clone() };
        assert_eq!(amend(&world, &stranger, &moved, &amendment).await, Err(Unamendable::NotFound));
        let unknown = Message { id: new_id(), ..message.clone() };
        assert_eq!(
            amend(&world, &customer, &unknown, &amendment).await,
            Err(Unamendable::NotFound)
        );
    }
    let foreign = amend(&world, &dentist, &message, &edit("x")).await;
    assert_eq!(foreign, Err(Unamendable::NotItsSender));
    assert!(world.store.changes(&self::customer().scope(), id, 0, 10).await.unwrap().is_empty());
    assert!(world.execute("update sessions set status = 'closed'").await);
    let closed = amend(&world, &customer, &message, &edit("x")).await;
    assert_eq!(closed, Err(Unamendable::SessionClosed));
    assert_eq!(world.history(&dentist, id, HistoryRange::After(0), 9).await, [1]);
}
