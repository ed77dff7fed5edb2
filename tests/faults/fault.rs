//! The faults of a round: how each begins and how it is mended.

use std::time::Duration;

use frontdesk_test_support::{Mood, Way, signal};
use futures_util::{FutureExt, future::LocalBoxFuture};
use rand::{RngExt, rngs::StdRng, seq::SliceRandom};
use tokio::time::{Instant, sleep};

use crate::{
    echo,
    world::{World, follower},
};

/// Minimum duration of lost publishes, longer than the delivery limit: only a node that checks the
/// heads delivers in time.
const UNTOLD: Duration = Duration::from_secs(10);

/// A fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    NodeKilled,
    NodeStopped,
    NodesRolled,
    ClockAhead,
    ClockBehind,
    RedisKilled,
    RedisCut,
    RedisStalled,
    RedisStopped,
    RedisSlow,
    RedisFailsOver,
    SubscribersCut,
    BusRepeats,
    BusForgets,
    PostgresCrashed,
    PostgresRestarted,
    PostgresCut,
    PostgresCutAmidCommits,
    PostgresStalled,
    PostgresSlow,
    PostgresBackendsKilled,
    PostgresTakesNoMore,
    MysqlCut,
    MysqlStalled,
    MysqlSlow,
    MysqlTalksNonsense,
    S3Cut,
    S3Stalled,
    S3Slow,
    S3TalksNonsense,
    PushesFail,
    PushesHang,
    PushesTalkNonsense,
    ClientsCut,
    ClientsStalled,
    ClientsSlow,
    ClientsGetCrumbs,
}

/// The part that a fault breaks. Only one fault of each part is active at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Node,
    Clock,
    Redis,
    Postgres,
    Mysql,
    S3,
    Pushes,
    Clients,
}

/// All faults.
pub(crate) const ALL: [Fault; 37] = [
    Fault::NodeKilled,
    Fault::NodeStopped,
    Fault::NodesRolled,
    Fault::ClockAhead,
    Fault::ClockBehind,
    Fault::RedisKilled,
    Fault::RedisCut,
    Fault::RedisStalled,
    Fault::RedisStopped,
    Fault::RedisSlow,
    Fault::RedisFailsOver,
    Fault::SubscribersCut,
    Fault::BusRepeats,
    Fault::BusForgets,
    Fault::PostgresCrashed,
    Fault::PostgresRestarted,
    Fault::PostgresCut,
    Fault::PostgresCutAmidCommits,
    Fault::PostgresStalled,
    Fault::PostgresSlow,
    Fault::PostgresBackendsKilled,
    Fault::PostgresTakesNoMore,
    Fault::MysqlCut,
    Fault::MysqlStalled,
    Fault::MysqlSlow,
    Fault::MysqlTalksNonsense,
    Fault::S3Cut,
    Fault::S3Stalled,
    Fault::S3Slow,
    Fault::S3TalksNonsense,
    Fault::PushesFail,
    Fault::PushesHang,
    Fault::PushesTalkNonsense,
    Fault::ClientsCut,
    Fault::ClientsStalled,
    Fault::ClientsSlow,
    Fault::ClientsGetCrumbs,
];

impl Fault {
    pub(crate) fn part(self) -> Part {
        match self {
            Self::NodeKilled | Self::NodeStopped | Self::NodesRolled => Part::Node,
            Self::ClockAhead | Self::ClockBehind => Part::Clock,
            Self::RedisKilled
            | Self::RedisCut
            | Self::RedisStalled
            | Self::RedisStopped
            | Self::RedisSlow
            | Self::RedisFailsOver
            | Self::SubscribersCut
            | Self::BusRepeats
            | Self::BusForgets => Part::Redis,
            Self::PostgresCrashed
            | Self::PostgresRestarted
            | Self::PostgresCut
            | Self::PostgresCutAmidCommits
            | Self::PostgresStalled
            | Self::PostgresSlow
            | Self::PostgresBackendsKilled
            | Self::PostgresTakesNoMore => Part::Postgres,
            Self::MysqlCut | Self::MysqlStalled | Self::MysqlSlow | Self::MysqlTalksNonsense => {
                Part::Mysql
            }
            Self::S3Cut | Self::S3Stalled | Self::S3Slow | Self::S3TalksNonsense => Part::S3,
            Self::PushesFail | Self::PushesHang | Self::PushesTalkNonsense => Part::Pushes,
            Self::ClientsCut
            | Self::ClientsStalled
            | Self::ClientsSlow
            | Self::ClientsGetCrumbs => Part::Clients,
        }
    }

    /// Whether the fault may delay delivery: messages come from the database, through the client's node
    /// and connection.
    pub(crate) fn is_trouble(self) -> bool {
        matches!(self.part(), Part::Postgres)
            || matches!(self, Self::NodeStopped | Self::ClientsStalled | Self::ClientsSlow)
    }

    /// Whether another fault can be active within it: it lasts, and is no series of short faults.
    pub(crate) fn lasts(self) -> bool {
        !matches!(
            self,
            Self::NodesRolled
                | Self::SubscribersCut
                | Self::PostgresCutAmidCommits
                | Self::PostgresBackendsKilled
        )
    }

    /// Whether both can be active at the same time. A node cannot start without its database.
    pub(crate) fn goes_with(self, other: Self) -> bool {
        let pair = [self.part(), other.part()];
        pair[0] != pair[1] && !(pair.contains(&Part::Node) && pair.contains(&Part::Postgres))
    }
}

/// Starts the first fault, the others within it, holds them for this time, and mends them.
pub(crate) fn strike<'a>(
    world: &'a mut World,
    faults: &'a [Fault],
    hold: Duration,
    rng: &'a mut StdRng,
) -> LocalBoxFuture<'a, ()> {
    async move {
        let Some((fault, within)) = faults.split_first() else { return sleep(hold).await };
        match fault.part() {
            Part::Node => node(world, *fault, within, hold, rng).await,
            Part::Redis => redis(world, *fault, within, hold, rng).await,
            Part::Postgres => postgres(world, *fault, within, hold, rng).await,
            Part::Clock => {
                let ahead = if *fault == Fault::ClockAhead { 3_000 } else { -3_000 };
                world.clock.be_off_by(ahead);
                strike(world, within, hold, rng).await;
                world.clock.be_off_by(0);
            }
            Part::Pushes => {
                world.onesignal.be(match fault {
                    Fault::PushesFail => Mood::Failing(500),
                    Fault::PushesHang => Mood::Hanging,
                    _ => Mood::Talking("<html>no answer</html>"),
                });
                strike(world, within, hold, rng).await;
                world.onesignal.be(Mood::Well);
            }
            Part::Mysql | Part::S3 | Part::Clients => {
                way(world, *fault, within, hold, rng).await;
            }
        }
    }
    .boxed_local()
}

/// Applies a fault of a relay.
async fn way(world: &mut World, fault: Fault, within: &[Fault], hold: Duration, rng: &mut StdRng) {
    let front = rng.random_range(0..world.fronts.len());
    let is = match fault {
        Fault::MysqlCut | Fault::S3Cut | Fault::ClientsCut => Way::Cut,
        Fault::MysqlStalled | Fault::S3Stalled | Fault::ClientsStalled => Way::Stalled,
        Fault::MysqlSlow | Fault::S3Slow | Fault::ClientsSlow => {
            Way::Slow(Duration::from_millis(400))
        }
        Fault::ClientsGetCrumbs => Way::Crumbs,
        _ => Way::Nonsense,
    };
    for is in [is, Way::Open] {
        match fault.part() {
            Part::Mysql => &world.to_mysql,
            Part::S3 => &world.to_s3,
            _ => &world.fronts[front],
        }
        .be(is);
        if is != Way::Open {
            strike(world, within, hold, rng).await;
        }
    }
}

async fn node(world: &mut World, fault: Fault, within: &[Fault], hold: Duration, rng: &mut StdRng) {
    let at = rng.random_range(0..world.nodes.len());
    match fault {
        Fault::NodeKilled => {
            world.nodes[at].kill().await;
            strike(world, within, hold, rng).await;
            world.nodes[at].restart().await;
        }
        Fault::NodeStopped => {
            let pid = world.nodes[at].pid();
            signal(pid, "STOP");
            strike(world, within, hold, rng).await;
            signal(pid, "CONT");
        }
        _ => {
            let mut order: Vec<usize> = (0..world.nodes.len()).collect();
            order.shuffle(rng);
            for at in order {
                world.nodes[at].terminate();
                world.nodes[at].exit().await;
                world.nodes[at].restart().await;
                world.ready(at).await;
            }
        }
    }
}

async fn redis(
    world: &mut World,
    fault: Fault,
    within: &[Fault],
    hold: Duration,
    rng: &mut StdRng,
) {
    match fault {
        Fault::RedisKilled => {
            world.redis[0].kill().await;
            strike(world, within, hold, rng).await;
            world.redis[0].revive().await;
        }
        Fault::RedisStopped => {
            world.redis[0].hang();
            strike(world, within, hold, rng).await;
            world.redis[0].resume();
        }
        Fault::RedisFailsOver => {
            world.redis[0].kill().await;
            strike(world, within, hold, rng).await;
            let [_, replica] = &world.redis;
            replica.command("REPLICAOF NO ONE").await;
            world.to_redis.lead_to(replica.port);
            let next = follower(replica).await;
            world.redis.swap(0, 1);
            world.redis[1] = next;
        }
        Fault::BusRepeats => {
            let repeating = tokio::spawn(echo::repeat(world.redis[0].port));
            strike(world, within, hold, rng).await;
            repeating.abort();
        }
        Fault::BusForgets => {
            world.redis[0].command("ACL SETUSER default -publish -spublish").await;
            strike(world, within, hold.max(UNTOLD), rng).await;
            world.redis[0].command("ACL SETUSER default +publish +spublish").await;
        }
        Fault::SubscribersCut => {
            for _ in 0..4 {
                world.redis[0].command("CLIENT KILL TYPE pubsub").await;
                sleep(hold / 4).await;
            }
        }
        _ => {
            world.to_redis.be(match fault {
                Fault::RedisCut => Way::Cut,
                Fault::RedisStalled => Way::Stalled,
                _ => Way::Slow(Duration::from_millis(300)),
            });
            strike(world, within, hold, rng).await;
            world.to_redis.be(Way::Open);
        }
    }
}

/// Terminates connections of nodes: the active ones, or all.
const KILL_BACKENDS: &str = "select pg_terminate_backend(pid) from pg_stat_activity \
    where application_name = 'frontdesk' and (state = 'active' or $1)";

async fn postgres(
    world: &mut World,
    fault: Fault,
    within: &[Fault],
    hold: Duration,
    rng: &mut StdRng,
) {
    let until = Instant::now() + hold;
    match fault {
        Fault::PostgresCrashed | Fault::PostgresRestarted => {
            if fault == Fault::PostgresCrashed {
                world.postgres.crash().await;
            } else {
                world.postgres.stop().await;
            }
            strike(world, within, hold, rng).await;
            world.postgres.revive().await;
        }
        Fault::PostgresCutAmidCommits => {
            while Instant::now() < until {
                world.to_postgres.be(Way::Cut);
                sleep(Duration::from_millis(10)).await;
                world.to_postgres.be(Way::Open);
                sleep(Duration::from_millis(rng.random_range(50..900))).await;
            }
        }
        Fault::PostgresBackendsKilled => {
            let admin = world.postgres.database().client().await;
            while Instant::now() < until {
                admin.execute(KILL_BACKENDS, &[&false]).await.unwrap();
                sleep(Duration::from_millis(rng.random_range(5..300))).await;
            }
        }
        Fault::PostgresTakesNoMore => {
            let database = world.postgres.database();
            let admin = database.client().await;
            let mut taken = Vec::new();
            // The second pass also takes the connections that the nodes had.
            for _ in 0..2 {
                while let Some(client) = database.try_client().await {
                    taken.push(client);
                }
                admin.execute(KILL_BACKENDS, &[&true]).await.unwrap();
            }
            strike(world, within, hold, rng).await;
        }
        _ => {
            world.to_postgres.be(match fault {
                Fault::PostgresCut => Way::Cut,
                Fault::PostgresStalled => Way::Stalled,
                _ => Way::Slow(Duration::from_millis(rng.random_range(500..5_000))),
            });
            strike(world, within, hold, rng).await;
            world.to_postgres.be(Way::Open);
        }
    }
}
