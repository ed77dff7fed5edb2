//! Blocked people.

use super::world::{World, actor, customer, dentist};
use identity::blocks::table::{BlockTable, Blocked};

contract!(
    b41_who_is_blocked_is_seen_by_every_node_when_it_changes,
    a_block_is_one_whoever_repeats_it,
    the_blocks_are_listed_latest_first,
);

async fn news(blocks: &BlockTable, since: i64) -> Option<Blocked> {
    blocks.blocked(since).await.unwrap()
}

async fn b41_who_is_blocked_is_seen_by_every_node_when_it_changes(world: World) {
    let (rude, other, admin) = (customer(), dentist(), actor());
    let node = BlockTable(world.another_handle().await);
    let first = news(&node, 0).await.unwrap();
    assert!(first.people.is_empty());
    assert_eq!(news(&node, first.rev).await, None, "nothing is told twice");
    world.blocks().block(&admin, &rude.name(), None).await.unwrap();
    let second = news(&node, first.rev).await.unwrap();
    assert_eq!(second.people, [rude.clone()].into());
    world.blocks().block(&admin, &other.name(), None).await.unwrap();
    let third = news(&node, second.rev).await.unwrap();
    assert_eq!(third.people, [rude.clone(), other].into());
    assert!(world.blocks().unblock(&admin, &rude.name()).await.unwrap());
    assert_eq!(news(&node, third.rev).await.unwrap().people.len(), 1);
    // A change that an operator makes directly in the database counts too.
    let last = news(&node, 0).await.unwrap().rev;
    assert!(world.execute("delete from blocks").await);
    assert!(news(&node, last).await.unwrap().people.is_empty());
}

async fn a_block_is_one_whoever_repeats_it(world: World) {
    let (rude, admin, other) = (customer(), actor(), actor());
    let reason = "rude".to_owned().try_into().ok();
    let first = world.blocks().block(&admin, &rude.name(), reason.as_ref()).await.unwrap();
    assert_eq!((&first.person, &first.reason, &first.by), (&rude, &reason, admin.scope.person()));
    let again = world.blocks().block(&other, &rude.name(), None).await.unwrap();
    assert_eq!(again, first, "it is since then, and theirs");
    let better = "very rude".to_owned().try_into().ok();
    let again = world.blocks().block(&other, &rude.name(), better.as_ref()).await.unwrap();
    assert_eq!((again.reason, again.at), (better, first.at));
    assert!(world.blocks().unblock(&admin, &rude.name()).await.unwrap());
    assert!(!world.blocks().unblock(&admin, &rude.name()).await.unwrap());
    assert!(world.blocks().blocks(&actor().scope, None, 10).await.unwrap().is_empty());
}

async fn the_blocks_are_listed_latest_first(world: World) {
    let admin = actor();
    let mut people = vec![customer(), dentist(), customer()];
    for person in &people {
        world.blocks().block(&admin, &person.name(), None).await.unwrap();
    }
    people.reverse();
    let (mut listed, mut place) = (Vec::new(), None);
    loop {
        let page = world.blocks().blocks(&actor().scope, place.as_ref(), 2).await.unwrap();
        let Some(last) = page.last() else { break };
        place = Some((last.at, last.person.name()));
        listed.extend(page.into_iter().map(|block| block.person));
    }
    assert_eq!(listed, people);
}
