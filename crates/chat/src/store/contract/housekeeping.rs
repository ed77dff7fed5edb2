//! Periodic jobs.

use std::time::Duration;

use super::world::World;
use crate::{
    housekeeping::{self, Housekeeping},
    pushes::PushTable,
    recount,
    store::unread::UnreadTable,
};
use platform::{
    jobs::{Job, Module, Outcome},
    new_id,
};

contract!(i17_each_periodic_job_may_run_twice);

async fn i17_each_periodic_job_may_run_twice(world: World) {
    let module = housekeeping::module(Housekeeping {
        retention: world.store.clone(),
        edits_kept: Some(Duration::from_secs(60)),
        pushes: PushTable(world.another_handle().await),
    });
    let recount = recount::module(UnreadTable(world.another_handle().await));
    assert_eq!((module.schedules.len(), recount.schedules.len()), (3, 1));
    let run = async |module: &Module, kind: &str| {
        let (id, kind) = (new_id(), kind.to_owned());
        let payload = serde_json::json!({});
        let job =
            Job { id, tenant: 1, number: 1, kind, key: None, payload, attempts: 1, error: None };
        module.handlers[0].run(&job).await
    };
    for module in [&module, &recount] {
        for schedule in &module.schedules {
            for _ in 0..2 {
                assert_eq!(run(module, schedule.name).await, Outcome::Done, "{}", schedule.name);
            }
        }
    }
    let unknown = Outcome::Refused { code: "unknown_kind".to_owned() };
    assert_eq!(run(&module, "make_tea").await, unknown);
}
