//! `frontdesk jobs`: the jobs of all nodes, for operators.

use clap::{Args, Subcommand, ValueEnum};
use uuid::Uuid;

use super::say;
use crate::{config::Config, modules};
use db::jobs::{JobFilter, JobRow, JobTable};

#[derive(Debug, Subcommand)]
pub(super) enum Ask {
    /// List jobs, the oldest first
    List {
        /// Only of this queue, such as `pushes`
        #[arg(long)]
        queue: Option<String>,
        /// Only in this state
        #[arg(long)]
        state: Option<State>,
        /// Maximum number of lines
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        limit: u32,
    },
    /// Run dead letters again, with all their attempts
    ///
    /// Jobs are safe to repeat: a push service recognises the job's id for some time.
    Replay(Which),
    /// Remove dead letters, or a single job in any state
    Drop(Which),
}

/// State of a job.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum State {
    /// Not started yet.
    Waiting,
    /// Under way, or waiting for its next attempt.
    Taken,
    /// Given up: a dead letter.
    Dead,
}

impl State {
    fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Taken => "taken",
            Self::Dead => "dead",
        }
    }
}

/// The jobs that are meant.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub(super) struct Which {
    /// This job
    #[arg(long)]
    id: Option<Uuid>,
    /// All dead letters of this queue
    #[arg(long)]
    queue: Option<String>,
    /// All dead letters
    #[arg(long)]
    all: bool,
}

pub(super) async fn run(ask: &Ask, config: &Config) -> anyhow::Result<()> {
    let jobs = JobTable(modules::open_database(config).await?);
    match ask {
        Ask::List { queue, state, limit } => {
            let state = state.map(|state| state.as_str().to_owned());
            let filter = JobFilter { id: None, queue: queue.clone(), state };
            for job in jobs.list(&filter, *limit).await? {
                say(&line(&job))?;
            }
        }
        Ask::Replay(which) => {
            let filter = JobFilter { id: which.id, queue: which.queue.clone(), state: None };
            let replayed = jobs.replay(&filter).await?;
            say(&format!("{replayed} dead letters run again"))?;
        }
        Ask::Drop(which) => {
            // A single job may be dropped in any state.
            let state = which.id.is_none().then(|| State::Dead.as_str().to_owned());
            let filter = JobFilter { id: which.id, queue: which.queue.clone(), state };
            let removed = jobs.remove(&filter).await?;
            say(&format!("{removed} jobs removed"))?;
        }
    }
    Ok(())
}

/// One job. Its payload is not shown, because it names people.
fn line(job: &JobRow) -> String {
    let JobRow { id, tenant, queue, kind, state, attempts, run_at, created_at, error } = job;
    let error = error.as_deref().unwrap_or("-");
    format!(
        "{id}  queue={queue} kind={kind} state={state} attempts={attempts} tenant={tenant} \
         created={created_at:.0} next={run_at:.0} error={error}"
    )
}
