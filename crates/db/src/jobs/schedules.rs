//! Periodic jobs: each time of a schedule becomes one job, whatever the number of nodes.
//!
//! The table keeps the last time of each schedule. The node that moves it forward writes the job, in the same
//! transaction. Times that passed while no node ran become one job.

use std::time::Duration;

use anyhow::Context;
use cronexpr::Crontab;
use jiff::Timestamp;
use serde_json::json;
use tokio::time::sleep;

use super::{JobTable, NewJob, add};
use crate::{StoreError, text::Statement};
use model::ids::TenantId;
use platform::jobs::{JobsDue, Schedule};

/// Pause after a failure of the database, and the longest pause at all: clocks may be set.
const PAUSE: Duration = Duration::from_secs(60);
/// Maximum number of passed times that are looked at together.
const PASSED_MAX: usize = 10_000;

/// $1 name.
const BEGIN: &str = "insert into schedules (name, slot) values ($1, {now}) \
    on conflict (name) do nothing returning name";

/// $1 name.
const SLOT: &str = "select slot from schedules where name = $1";

/// $1 name, $2 the time.
const ADVANCE: &str = "update schedules set slot = $2 where name = $1 and slot < $2 returning name";

struct Parsed {
    schedule: Schedule,
    cron: Crontab,
}

/// Makes the jobs of these schedules. An expression that can't be parsed is an error.
pub(super) fn keep(
    table: JobTable,
    due: JobsDue,
    schedules: Vec<Schedule>,
) -> anyhow::Result<impl Future<Output = ()> + Send + 'static> {
    let parsed = |schedule: Schedule| {
        let cron = cronexpr::parse_crontab(&format!("{} UTC", schedule.cron));
        let cron = cron.with_context(|| format!("schedule {}", schedule.name))?;
        Ok(Parsed { schedule, cron })
    };
    let schedules = schedules.into_iter().map(parsed).collect::<anyhow::Result<Vec<_>>>()?;
    Ok(async move {
        loop {
            let mut pause = PAUSE;
            for schedule in &schedules {
                match table.advance(schedule, Timestamp::now(), &due).await {
                    Ok(next) => pause = pause.min(next),
                    Err(error) => {
                        let name = schedule.schedule.name;
                        tracing::warn!(name, %error, "periodic job not made; retried later");
                    }
                }
            }
            sleep(pause).await;
        }
    })
}

impl JobTable {
    /// Makes the job of the last time that has passed. Returns the time until the next one.
    async fn advance(
        &self,
        Parsed { schedule, cron }: &Parsed,
        now: Timestamp,
        due: &JobsDue,
    ) -> Result<Duration, StoreError> {
        let name = schedule.name;
        self.0.write(Statement::new(BEGIN, [name.into()])).await?;
        let rows = self.0.read(Statement::new(SLOT, [name.into()])).await?;
        let Some(row) = rows.first() else { return Ok(PAUSE) };
        let mut slot: Timestamp = row.get("slot")?;
        let Ok(times) = cron.iter_after(cronexpr::MakeTimestamp(slot)) else { return Ok(PAUSE) };
        let mut has_passed = false;
        for time in times.take(PASSED_MAX) {
            let Ok(time) = time.map(|time| time.timestamp()) else { return Ok(PAUSE) };
            if time > now {
                if has_passed {
                    break;
                }
                return Ok(time.duration_since(now).try_into().unwrap_or(PAUSE));
            }
            (slot, has_passed) = (time, true);
        }
        let job = NewJob {
            tenant: TenantId::MAIN.number().into(),
            queue: schedule.queue,
            kind: name,
            key: Some(name.to_owned()),
            ordering_key: Some(name.to_owned()),
            payload: json!({}),
            delay: Duration::ZERO,
        };
        let advance = Statement::new(ADVANCE, [name.into(), slot.into()]);
        let done = self.0.write_while_found([advance, add(&job)]).await?;
        if done.len() == 2 {
            due.written(Duration::ZERO);
        }
        Ok(Duration::ZERO)
    }
}

#[cfg(test)]
#[cfg(feature = "sqlite")]
mod tests {
    use super::super::tests::on_each;
    use super::*;
    use jiff::SignedDuration;

    fn hourly(queue: &'static str) -> Parsed {
        let schedule = Schedule { name: "hourly", queue, cron: "0 * * * *" };
        Parsed { schedule, cron: cronexpr::parse_crontab("0 * * * * UTC").unwrap() }
    }

    #[tokio::test]
    async fn i17_a_time_becomes_one_job_however_many_nodes_there_are() {
        on_each(async |table| {
            let (due, hourly) = (JobsDue::default(), hourly("housekeeping"));
            let now = Timestamp::now();
            let first = table.advance(&hourly, now, &due).await.unwrap();
            assert!(first <= Duration::from_hours(1), "nothing at the start");
            assert!(table.counts().await.unwrap().is_empty());
            // Three hours pass while no node runs: one job. Two nodes notice it at the same time.
            let later = now + SignedDuration::from_hours(3);
            let nodes = [&table, &table, &table].map(|table| table.advance(&hourly, later, &due));
            for outcome in futures_util::future::join_all(nodes).await {
                outcome.unwrap();
            }
            let leased = table.lease("housekeeping", 1, 10, Duration::from_secs(60)).await.unwrap();
            assert_eq!(leased.len(), 1);
            assert_eq!(leased[0].kind, "hourly");
            // The job is done. A node whose clock is behind does not make it again.
            table.finish("housekeeping", &leased[0]).await.unwrap();
            table.advance(&hourly, later - SignedDuration::from_mins(30), &due).await.unwrap();
            table.advance(&hourly, later, &due).await.unwrap();
            assert!(table.counts().await.unwrap().is_empty());
            table.advance(&hourly, later + SignedDuration::from_hours(1), &due).await.unwrap();
            assert_eq!(table.counts().await.unwrap()[0].jobs, 1);
        })
        .await;
    }

    #[tokio::test]
    async fn a_schedule_that_is_no_crontab_is_refused_at_the_start() {
        on_each(async |table| {
            let wrong = Schedule { name: "wrong", queue: "housekeeping", cron: "every day" };
            let refused = keep(table, JobsDue::default(), vec![wrong]).err().unwrap();
            assert!(refused.to_string().contains("wrong"));
        })
        .await;
    }
}
