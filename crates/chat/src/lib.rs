//! The core: sessions and messages, their store, the committer, delivery to this node's connections.
//!
//! It knows no transport, no HTTP and no limits of rates: a caller checks those first.

mod amend;
pub mod history;
pub mod housekeeping;
pub mod hub;
pub mod inbox;
pub mod indexer;
pub mod joins;
pub mod memory;
mod notes;
mod open;
pub mod outbound;
pub mod presence;
pub mod pushes;
mod read;
pub mod reads;
pub mod receipts;
pub mod recount;
pub mod recovery;
mod refused;
pub mod retention;
mod send;
mod set;
mod share;
pub mod snoozes;
pub mod store;
pub mod strangers;
pub mod writer;

use std::{sync::Arc, time::Duration};

use bus::{Bus, BusEvents, PubSub, delivery::Delivery};
use db::{Database, StoreError};
use identity::{
    admission::Admission,
    auth::Verifier,
    blocks::{Blocks, table::BlockTable},
    directory::{
        Directory,
        counts::DirectoryCounts,
        people::{People, PeopleParts},
    },
    people_table::PeopleTable,
    sealing::Sealing,
    tenants::{Tenants, TenantsParts, table::TenantTable},
};
use media::{Images, uploads::UploadTable};
use model::person::Person;
use platform::{
    jobs::JobsDue,
    tasks::{Stage, Tasks},
};
use protocol::error::Error;

use hub::{Hub, HubParts, counts::HubCounts};
use inbox::Inbox;
use memory::{Memory, counts::MemoryCounts};
use presence::{Presence, PresenceParts};
use pushes::PushTable;
use reads::{Reads, counts::ReadCounts};
use receipts::Receipts;
use refused::RefusedConnections;
use store::{Store, notes::NotesTable, participants::ParticipantTable};
use writer::{Writer, WriterParts, counts::WriterCounts};

/// The core's parts on one node. What people do is a method, in a file of its name.
pub struct Chat {
    /// Sessions and messages.
    pub store: Arc<dyn Store>,
    /// Commits sends in batches, in their order of arrival.
    pub writer: Writer,
    /// Publishes to rooms.
    pub bus: Arc<dyn PubSub>,
    /// Delivers to this node's connections.
    pub hub: Arc<Hub>,
    /// Professionals who share a session.
    pub participants: ParticipantTable,
    notes: NotesTable,
    /// Sends changed sessions to their members.
    pub inbox: Arc<Inbox>,
    /// Records delivery marks.
    pub receipts: Arc<Receipts>,
    /// Names of people.
    pub people: Arc<People>,
    /// People online.
    pub presence: Arc<Presence>,
    /// People shut out, and suspended tenants.
    pub admission: Admission,
    /// Pictures in the bucket.
    pub images: Arc<Images>,
    /// Pictures that may be uploaded.
    pub uploads: UploadTable,
    /// Permits for costly reads.
    pub reads: Reads,
    /// Memory budget for data that waits for readers.
    pub memory: Arc<Memory>,
    /// Times of messages in each stage of delivery.
    pub delivery: Arc<Delivery>,
    /// Workers of jobs on this node.
    due: JobsDue,
}

/// Parts of the core, made by lower floors.
pub struct ChatParts {
    /// Owner of the background tasks.
    pub tasks: Tasks,
    /// Sessions and messages.
    pub store: Arc<dyn Store>,
    /// The other tables.
    pub database: Database,
    /// Pub/sub, presence and control messages.
    pub bus: Arc<dyn Bus>,
    /// Events that the bus receives.
    pub events: BusEvents,
    /// Verifier of tokens, which receives the tenants' issuers.
    pub verifier: Arc<Verifier>,
    /// Keys of the tenants' secrets.
    pub sealing: Arc<Sealing>,
    /// Names of people.
    pub directory: Arc<dyn Directory>,
    /// Lifetime of a cached entry of the directory.
    pub directory_cache: Duration,
    /// Pictures in the bucket.
    pub images: Arc<Images>,
    /// Maximum bytes of outbound data in memory. `None`: a share of the available memory.
    pub outbound_memory: Option<usize>,
    /// Workers of jobs on this node.
    pub due: JobsDue,
    /// Counters of the core.
    pub counts: ChatCounts,
}

/// Counters of the core.
pub struct ChatCounts {
    /// Times of messages in each stage of delivery.
    pub delivery: Arc<Delivery>,
    /// Look-ups of people.
    pub directory: DirectoryCounts,
    /// Deliveries and backfills.
    pub hub: HubCounts,
    /// The memory budget.
    pub memory: MemoryCounts,
    /// Waits for costly reads.
    pub reads: ReadCounts,
    /// Commits of sends.
    pub writer: WriterCounts,
}

impl Chat {
    /// Starts the core's background tasks.
    pub async fn start(parts: ChatParts) -> Result<Arc<Self>, StoreError> {
        let ChatParts { tasks, store, database, bus, counts, .. } = parts;
        let pubsub: Arc<dyn PubSub> = Arc::clone(&bus) as _;
        let hub = Hub::start(HubParts {
            tasks: tasks.clone(),
            bus: Arc::clone(&pubsub),
            events: parts.events,
            store: Arc::clone(&store),
            counts: counts.hub,
            due: parts.due.clone(),
        });
        let announcing = pushes::keep_announcing(parts.due.clone(), Arc::clone(&bus) as _);
        tasks.spawn(Stage::Delivery, "jobs.announce", announcing);
        let connections =
            Arc::new(RefusedConnections { hub: Arc::clone(&hub), control: Arc::clone(&bus) as _ });
        let table = BlockTable(database.clone());
        let blocks = Blocks::start(&tasks, table, Arc::clone(&connections) as _).await?;
        let (sealing, verifier) = (parts.sealing, parts.verifier);
        let table = TenantTable(database.clone());
        let tenants = TenantsParts { table, sealing, verifier, connections };
        let tenants = Tenants::start(&tasks, tenants).await?;
        let inbox = Inbox::start(&tasks, store.clone(), Arc::clone(&pubsub));
        let receipts =
            Receipts::start(&tasks, store.clone(), Arc::clone(&pubsub), Arc::clone(&inbox));
        let writer = Writer::start(WriterParts {
            tasks: tasks.clone(),
            store: store.clone(),
            bus: Arc::clone(&pubsub),
            inbox: Arc::clone(&inbox),
            counts: counts.writer,
            due: parts.due.clone(),
        });
        let people = PeopleTable(database.clone());
        let presence = Presence::start(PresenceParts {
            tasks: tasks.clone(),
            table: Arc::clone(&bus) as _,
            seen: people.clone(),
            pushes: PushTable(database.clone()),
            due: parts.due.clone(),
            hub: Arc::clone(&hub),
        });
        let memory = Memory::start(&tasks, parts.outbound_memory, counts.memory);
        let people = People::start(PeopleParts {
            tasks: tasks.clone(),
            directory: parts.directory,
            table: people,
            lifetime: parts.directory_cache,
            counts: counts.directory,
        });
        Ok(Arc::new(Self {
            store,
            writer,
            bus: pubsub,
            hub,
            inbox,
            receipts,
            people,
            presence,
            admission: Admission { blocks, tenants },
            images: parts.images,
            participants: ParticipantTable(database.clone()),
            notes: NotesTable(database.clone()),
            uploads: UploadTable(database),
            reads: Reads::new(counts.reads),
            memory,
            delivery: counts.delivery,
            due: parts.due,
        }))
    }

    /// Checks that an admitted person has not been shut out since.
    pub fn still_admits(&self, person: &Person) -> Result<(), Error> {
        Ok(self.admission.check(person)?)
    }
}
