//! Supervision of a node's background tasks.
//!
//! Law I19: no background task ends unseen. Each task has a name and belongs to a [`Stage`]. A drain ends the
//! stages in their order. A task that ends before its stage, whether it returned, panicked or was aborted, has
//! failed: it is logged and counted, the node is not ready any more, and it drains and exits with an error, so
//! that it is started anew.

pub mod counts;
#[cfg(test)]
mod tests;

use std::sync::{Arc, OnceLock};

use strum::EnumCount;
use tokio::sync::Notify;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::tasks::counts::TaskCounts;

/// Stage of a drain in which a task ends. They end in the order of this list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumCount)]
pub enum Stage {
    /// Work that no client waits for: pushes, indexing, sweeps.
    Jobs,
    /// Commits of sends.
    Commits,
    /// Delivery to connections, and the state that other nodes read.
    Delivery,
    /// Connections to other nodes.
    Bus,
    /// Metrics and traces.
    Observation,
}

/// The background tasks of a node. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Tasks(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    stages: [Tracked; Stage::COUNT],
    /// Name of the first task that failed.
    failed: OnceLock<&'static str>,
    failure: Notify,
    counts: TaskCounts,
    #[cfg(any(test, feature = "testing"))]
    handles: std::sync::Mutex<Vec<(&'static str, tokio::task::AbortHandle)>>,
}

/// Tasks of one stage.
#[derive(Debug, Default)]
struct Tracked {
    ending: CancellationToken,
    tasks: TaskTracker,
}

impl Tasks {
    /// No tasks yet.
    pub fn new(counts: TaskCounts) -> Self {
        Self(Arc::new(Inner { counts, ..Inner::default() }))
    }

    fn stage(&self, stage: Stage) -> &Tracked {
        let [jobs, commits, delivery, bus, observation] = &self.0.stages;
        match stage {
            Stage::Jobs => jobs,
            Stage::Commits => commits,
            Stage::Delivery => delivery,
            Stage::Bus => bus,
            Stage::Observation => observation,
        }
    }

    /// Starts a task that runs until its stage ends. It is dropped then, at its next await.
    pub fn spawn(
        &self,
        stage: Stage,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let ending = self.stage(stage).ending.clone();
        self.spawn_settling(stage, name, async move {
            tokio::select! {
                () = ending.cancelled() => {}
                () = task => {}
            }
        });
    }

    /// Starts a task that ends by itself, some time after its stage has begun to end.
    pub fn spawn_settling(
        &self,
        stage: Stage,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let tracked = self.stage(stage);
        let watch =
            Watch { inner: Arc::clone(&self.0), name, ending: Some(tracked.ending.clone()) };
        let handle = tracked.tasks.spawn(async move {
            let _watch = watch;
            task.await;
        });
        #[cfg(any(test, feature = "testing"))]
        self.handles().push((name, handle.abort_handle()));
        // A tracker waits for it, and the watch reports its end.
        drop(handle);
    }

    /// Starts a task that ends when its work is done. A panic is logged and counted. The node goes on, because
    /// a periodic task repeats such work, or it concerns one connection only.
    pub fn spawn_once(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(self.watched(name, task));
    }

    /// The task itself, for a caller that owns it. A panic is logged and counted.
    pub fn watched<T, F: Future<Output = T>>(
        &self,
        name: &'static str,
        task: F,
    ) -> impl Future<Output = T> + use<T, F> {
        let watch = Watch { inner: Arc::clone(&self.0), name, ending: None };
        // Boxed, because a future that contains another one is twice its size: one per connection is alive.
        let task = Box::pin(task);
        async move {
            let _watch = watch;
            task.await
        }
    }

    /// Resolves when this stage begins to end.
    pub async fn ending(&self, stage: Stage) {
        self.stage(stage).ending.cancelled().await;
    }

    /// Lets a stage begin to end.
    pub fn begin_ending(&self, stage: Stage) {
        let tracked = self.stage(stage);
        tracked.ending.cancel();
        tracked.tasks.close();
    }

    /// Ends a stage, and waits for its tasks.
    pub async fn end(&self, stage: Stage) {
        self.begin_ending(stage);
        self.stage(stage).tasks.wait().await;
    }

    /// Name of the first task that failed.
    pub fn failed(&self) -> Option<&'static str> {
        self.0.failed.get().copied()
    }

    /// Resolves with the name of the first task that failed.
    pub async fn failure(&self) -> &'static str {
        loop {
            let noticed = self.0.failure.notified();
            if let Some(name) = self.failed() {
                return name;
            }
            noticed.await;
        }
    }

    #[cfg(any(test, feature = "testing"))]
    fn handles(&self) -> std::sync::MutexGuard<'_, Vec<(&'static str, tokio::task::AbortHandle)>> {
        self.0.handles.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Aborts the tasks of this name. Returns how many there were.
    #[cfg(any(test, feature = "testing"))]
    pub fn kill(&self, name: &str) -> usize {
        let handles = self.handles();
        handles.iter().filter(|(its, _)| *its == name).map(|(_, handle)| handle.abort()).count()
    }

    /// Names of all tasks that were started and have a stage.
    #[cfg(any(test, feature = "testing"))]
    pub fn names(&self) -> Vec<&'static str> {
        self.handles().iter().map(|(name, _)| *name).collect()
    }
}

/// Reports the end of a task when it is dropped with the task's future. So no kind of end is missed.
struct Watch {
    inner: Arc<Inner>,
    name: &'static str,
    /// Token of the stage; `None` for a task that ends with its work.
    ending: Option<CancellationToken>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        let panicked = std::thread::panicking();
        let is_early = self.ending.as_ref().is_some_and(|ending| !ending.is_cancelled());
        if !panicked && !is_early {
            return;
        }
        self.inner.counts.failed.inc();
        tracing::error!(task = self.name, panicked, "background task ended unexpectedly");
        if self.ending.is_some() && self.inner.failed.set(self.name).is_ok() {
            self.inner.failure.notify_waiters();
        }
    }
}
