//! Acts of administrators.

use super::world::{Database, World, actor, customer};
use identity::audit::{Act, Entry, NewEntry};
use model::ids::SessionId;
use platform::new_id;

contract!(
    what_an_admin_does_is_noted_with_whom_from_where_and_by_which_request,
    an_act_that_can_not_be_noted_is_not_done,
    the_audit_log_is_append_only,
);

async fn what_an_admin_does_is_noted_with_whom_from_where_and_by_which_request(world: World) {
    let (rude, admin) = (customer(), actor());
    let (session_id, message_id) = (SessionId(new_id()), new_id());
    world.blocks().block(&admin, &rude.name(), None).await.unwrap();
    let looked = NewEntry::of_message(&admin, Act::ReadEdits, session_id, message_id);
    world.audit().note_act(&looked).await.unwrap();
    assert!(world.blocks().unblock(&admin, &rude.name()).await.unwrap());
    assert!(
        !world.blocks().unblock(&admin, &rude.name()).await.unwrap(),
        "nothing is done, or noted"
    );
    let (mut acts, mut place) = (Vec::new(), None);
    loop {
        let page = world.audit().acts(&actor().scope, place.as_ref(), 2).await.unwrap();
        let Some(last) = page.last() else { break };
        place = Some((last.at, last.id));
        acts.extend(page);
    }
    let named: Vec<&str> = acts.iter().map(|entry| entry.act.as_str()).collect();
    assert_eq!(named, ["unblock_user", "read_edits", "block_user"], "the latest first");
    for Entry { actor, address, request_id, .. } in &acts {
        assert_eq!((actor, address.as_str()), (admin.scope.person(), "192.0.2.7"));
        assert_eq!(request_id, &admin.request_id);
    }
    for entry in [&acts[0], &acts[2]] {
        assert_eq!((&entry.user, entry.session_id), (&Some(rude.clone()), None));
    }
    let looked = (&acts[1].user, acts[1].session_id, acts[1].message_id);
    assert_eq!(looked, (&None, Some(session_id), Some(message_id)));
}

async fn an_act_that_can_not_be_noted_is_not_done(world: World) {
    let (rude, admin) = (customer(), actor());
    let (refuse, allow) = match &world.database {
        Database::Postgres(_) => (
            "alter table audit add constraint no_more check (act = '') not valid",
            "alter table audit drop constraint no_more",
        ),
        Database::Sqlite(..) => (
            "create trigger no_more before insert on audit begin select raise(abort, 'full'); end",
            "drop trigger no_more",
        ),
    };
    assert!(world.execute(refuse).await);
    assert!(world.blocks().block(&admin, &rude.name(), None).await.is_err());
    assert!(world.blocks().blocks(&actor().scope, None, 10).await.unwrap().is_empty());
    assert!(world.execute(allow).await);
    world.blocks().block(&admin, &rude.name(), None).await.unwrap();
    assert!(world.execute(refuse).await);
    assert!(world.blocks().unblock(&admin, &rude.name()).await.is_err());
    assert_eq!(world.blocks().blocks(&actor().scope, None, 10).await.unwrap().len(), 1);
    assert_eq!(world.audit().acts(&actor().scope, None, 10).await.unwrap().len(), 1);
}

async fn the_audit_log_is_append_only(world: World) {
    world.blocks().block(&actor(), &customer().name(), None).await.unwrap();
    let before = world.audit().acts(&actor().scope, None, 10).await.unwrap();
    let mut forbidden = vec![
        "update audit set act = 'nothing'",
        "delete from audit",
        "delete from audit where act = 'nothing of the kind' or true",
    ];
    match &world.database {
        Database::Postgres(_) => forbidden.push("truncate audit"),
        Database::Sqlite(..) => forbidden.push(
            "insert or replace into audit (tenant_id, id, at, actor_kind, actor_id, act, address, \
             request_id) select tenant_id, id, at, actor_kind, 'another', act, address, request_id \
             from audit",
        ),
    }
    for sql in forbidden {
        assert!(!world.execute(sql).await, "{sql}");
    }
    assert_eq!(world.audit().acts(&actor().scope, None, 10).await.unwrap(), before);
}
