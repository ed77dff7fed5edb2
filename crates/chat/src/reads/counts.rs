//! Costly reads: numbers of waiting ones, times of waiting, and refusals.

use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use tokio::time::Instant;

use crate::reads::Operation;
use platform::metrics::{Histogram, Label};

/// Waiting reads of one operation.
#[derive(Clone, Debug)]
pub struct Waits {
    waiting: Gauge,
    waited: Histogram,
    /// Refusals: too many reads of one person waited, or one waited too long.
    pub refused: Counter,
}

impl Waits {
    /// Counts one more waiting read, until the result is dropped.
    pub fn begin(&self) -> Wait<'_> {
        self.waiting.inc();
        Wait { waits: self, began: Instant::now() }
    }
}

/// One waiting read.
#[derive(Debug)]
pub struct Wait<'a> {
    waits: &'a Waits,
    began: Instant,
}

impl Drop for Wait<'_> {
    fn drop(&mut self) {
        self.waits.waiting.dec();
        self.waits.waited.took(self.began.elapsed());
    }
}

/// Waiting reads and refusals, by operation.
#[derive(Clone, Debug)]
pub struct ReadCounts {
    join: Waits,
    catch_up: Waits,
    history: Waits,
    search: Waits,
    list: Waits,
    unread: Waits,
    open: Waits,
    picture: Waits,
}

impl ReadCounts {
    /// Registers the counters.
    pub fn new(registry: &mut Registry) -> Self {
        let waiting = Family::<Label, Gauge>::default();
        let waited = Family::<Label, Histogram>::default();
        let refused = Family::<Label, Counter>::default();
        let waits = |operation| {
            let label = [("operation", operation)];
            Waits {
                waiting: waiting.get_or_create_owned(&label),
                waited: waited.get_or_create_owned(&label),
                refused: refused.get_or_create_owned(&label),
            }
        };
        let counts = Self {
            join: waits("join"),
            catch_up: waits("catch_up"),
            history: waits("history"),
            search: waits("search"),
            list: waits("list"),
            unread: waits("unread"),
            open: waits("open"),
            picture: waits("picture"),
        };
        let help = "Costly reads that wait for a permit of their person";
        registry.register("reads_waiting", help, waiting);
        let help = "Time of waiting for the permit of a costly read";
        registry.register("read_wait_seconds", help, waited);
        let help = "Costly reads refused because too many wait";
        registry.register("read_refusals", help, refused);
        counts
    }

    /// The counters of this operation.
    pub fn of(&self, operation: Operation) -> &Waits {
        match operation {
            Operation::Join => &self.join,
            Operation::CatchUp => &self.catch_up,
            Operation::History => &self.history,
            Operation::Search => &self.search,
            Operation::List => &self.list,
            Operation::Unread => &self.unread,
            Operation::Open => &self.open,
            Operation::Picture => &self.picture,
        }
    }
}
