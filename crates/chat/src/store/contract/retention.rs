//! Data that is kept for a limited time.

use std::time::Duration;

use super::{
    committed,
    search::{index_all, search},
    world::{Acting, Database, World, actor, draft},
};
use model::message::amend::Amendment;

contract!(what_was_edited_or_deleted_long_ago_is_removed_in_batches);

const DAY: Duration = Duration::from_hours(24);

async fn what_was_edited_or_deleted_long_ago_is_removed_in_batches(world: World) {
    let (customer, _, id) = world.pair().await;
    let drafts: Vec<_> =
        ["zebra", "yak", "walrus"].iter().map(|body| draft(id, &customer, body)).collect();
    let appended = world.store.append(&drafts).await.unwrap();
    let ids: Vec<_> = appended.iter().map(|sent| committed(sent).id).collect();
    let edit = |body: &str| Amendment::Edit(body.to_owned().try_into().unwrap());
    for (message, amendment) in [
        (ids[0], edit("first")),
        (ids[0], edit("second")),
        (ids[1], Amendment::Delete),
        (ids[2], edit("third")),
    ] {
        world.store.amend(&customer.scope(), id, message, &amendment).await.unwrap().unwrap();
    }
    let past = async |at: usize| {
        let past = world.store.past_bodies(&actor().scope, id, ids[at]).await.unwrap().unwrap();
        past.iter().map(|past| past.body.as_str().to_owned()).collect::<Vec<_>>()
    };
    let forget = async |limit| world.store.forget_past_bodies(DAY, limit).await.unwrap();
    assert_eq!(forget(100).await, 0, "all of it is young");
    // Two days later, except for the last one.
    let two_days = match &world.database {
        Database::Postgres(_) => "interval '48 hours'",
        Database::Sqlite(..) => "172800000000",
    };
    let age =
        format!("update message_edits set replaced_at = replaced_at - {two_days} where seq < 3");
    assert!(world.execute(&age).await);
    assert_eq!((forget(2).await, forget(2).await, forget(2).await), (2, 1, 0));
    assert!(past(0).await.is_empty() && past(1).await.is_empty());
    assert_eq!(past(2).await, ["walrus"]);
    // A deleted text exists nowhere any more; an edited message has its current text.
    let everywhere = "select (select count(*) from messages where body = 'yak') \
                      + (select count(*) from message_edits where body = 'yak')";
    assert_eq!(world.count(everywhere).await, 0);
    index_all(&*world.store).await;
    assert_eq!(search(&*world.store, &customer, "yak or zebra or second").await, [1]);
    // Another node finds nothing left to remove.
    assert_eq!(world.another_node().await.forget_past_bodies(DAY, 100).await.unwrap(), 0);
}
