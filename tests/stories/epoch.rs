//! History that was cut by a restored backup, or by the promotion of a lagging replica.

use std::path::Path;

use frontdesk_test_support::{
    Backup, Client, Desk, Framing, Http, Person, Postgres, Relay, Servers, eventually,
};
use serde_json::{Value, json};

use crate::{FRONTDESK, command_line::said, engineio::Poller, one_node, seqs};

/// A session of ten messages, of which the database lost the last five.
struct Cut {
    desk: Desk,
    patient: Person,
    dentist: Person,
    session: String,
    /// Epoch of the ten messages.
    old: Value,
}

impl Cut {
    /// Starts two nodes and, after five of ten messages, replaces their database by a backup that
    /// `lose` turns into a server. A device of each framing receives the ten messages live, and is then
    /// closed so that it must rejoin.
    async fn with(lose: impl AsyncFnOnce(Backup) -> Postgres) -> (Self, Postgres, Relay) {
        let mut first = Postgres::start(60).await;
        let relay = Relay::start(first.port).await;
        let (port, redis) = (relay.port.to_string(), Servers::get().await.redis_port);
        let variables = [("POSTGRES_PORT", port.as_str()), ("POSTGRES_DB", "postgres")];
        let desk = Desk::cluster_with(FRONTDESK, 2, redis, &variables).await;
        let (patient, dentist, session) = desk.pair().await;
        let cut = Self { desk, patient, dentist, session, old: Value::Null };
        cut.write("kept", 5).await;
        let backup = first.backup().await;
        let (mut listeners, mut old) = (Vec::new(), Value::Null);
        for framing in [Framing::Native, Framing::SocketIo] {
            let mut listener = cut.desk.connect_by(framing, 1, &cut.dentist).await;
            let joined = listener.join(&cut.session, None).await;
            assert_eq!((seqs(&joined["messages"]), &joined["resync"]), (up_to(5), &Value::Null));
            old = joined["epoch"].clone();
            listeners.push(listener);
        }
        cut.write("lost", 5).await;
        for listener in &mut listeners {
            for seq in 6..=10 {
                assert_eq!(listener.message().await["seq"], seq);
            }
        }
        let second = lose(backup).await;
        relay.lead_to(second.port);
        for listener in &mut listeners {
            assert_eq!(
                listener.closed().await,
                1001,
                "the device is closed before any wrong message"
            );
        }
        (Self { old, ..cut }, second, relay)
    }

    /// Sends this number of messages of the patient.
    async fn write(&self, word: &str, count: usize) {
        let mut patient = self.desk.connect(0, &self.patient).await;
        for number in 1..=count {
            let client_id = format!("{word}-{number}");
            let text = json!({
                "sessionId": self.session, "clientId": client_id, "kind": "text", "body": word,
            });
            // The node may be without its database for a moment.
            eventually("the message is sent", async || {
                patient.request("message:send", text.clone()).await.is_ok()
            })
            .await;
        }
    }

    /// Rejoins with a new device of the dentist.
    async fn join(&self, framing: Framing, after: u64, epoch: &Value) -> (Client, Value) {
        let mut client = self.desk.connect_by(framing, 0, &self.dentist).await;
        let mut join = json!({ "sessionId": self.session, "after": after, "rev": 0 });
        if !epoch.is_null() {
            join["epoch"] = epoch.clone();
        }
        let joined = client.request("session:join", join).await.unwrap();
        (client, joined)
    }

    fn http(&self) -> Http {
        self.desk.http(0, &self.dentist)
    }

    /// Five messages are left. Checks that every device receives those, and the later ones.
    async fn is_noticed_by_all_devices(&self) {
        self.write("new", 3).await;
        for framing in [Framing::Native, Framing::SocketIo] {
            // The position names messages that are lost, or numbers that other messages have now.
            for (after, epoch) in [(10, &self.old), (3, &self.old), (10, &Value::Null)] {
                let (_, joined) = self.join(framing, after, epoch).await;
                assert_eq!(
                    (seqs(&joined["messages"]), &joined["resync"]),
                    (up_to(8), &json!(true))
                );
                assert_eq!((&joined["lastSeq"], &joined["updated"]), (&json!(8), &Value::Null));
                assert!(
                    joined["epoch"] != self.old && joined["epoch"] == joined["session"]["epoch"]
                );
            }
        }
        self.write("newer", 4).await;
        let path = format!("/api/chats/{}/messages", self.session);
        let new = self.http().get(&path).await.expect(200)["epoch"].take();
        let (_, joined) = self.join(Framing::Native, 10, &self.old).await;
        assert_eq!((&joined["epoch"], &joined["resync"]), (&new, &json!(true)));
        // An app without epochs has a position beyond the old end. It receives everything since the
        // cut.
        let (_, joined) = self.join(Framing::Native, 10, &Value::Null).await;
        let sent = seqs(&joined["messages"]);
        assert!(sent.first().is_some_and(|first| *first <= 6), "{sent:?}");
        assert_eq!((sent.last(), &joined["resync"]), (Some(&12), &Value::Null));
        // In the new epoch joins work as usual.
        let (mut device, joined) = self.join(Framing::Native, 10, &new).await;
        assert_eq!((seqs(&joined["messages"]), &joined["resync"]), (vec![11, 12], &Value::Null));
        self.write("newest", 1).await;
        assert_eq!(device.message().await["seq"], 13);
    }

    async fn is_told_to_the_operator(&self) {
        for node in &self.desk.nodes {
            let http = Http::new(node.address, None);
            let epochs = async || {
                let metrics = http.get("/metrics").await.text;
                let count =
                    metrics.lines().find_map(|line| line.strip_prefix("frontdesk_epochs_total "));
                count.map(ToOwned::to_owned)
            };
            // A node without devices notices it at its next check.
            eventually("the epoch is counted", async || epochs().await.as_deref() != Some("0"))
                .await;
            assert_eq!(epochs().await.as_deref(), Some("1"), "each node counts one epoch");
            assert!(node.log().iter().any(|line| line.contains("message order has a new epoch")));
        }
    }
}

fn up_to(last: u64) -> Vec<u64> {
    (1..=last).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn f32_a_promoted_replica_that_lagged_hides_no_message() {
    let (cut, _second, _relay) = Cut::with(Backup::promote).await;
    cut.is_noticed_by_all_devices().await;
    cut.is_told_to_the_operator().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f32_a_backup_that_is_restored_under_the_nodes_hides_no_message() {
    // The server and its timeline are the same, so the nodes must detect heads below the delivered
    // ones.
    let (cut, _second, _relay) = Cut::with(Backup::restore).await;
    cut.is_noticed_by_all_devices().await;
    cut.is_told_to_the_operator().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn f32_a_restored_file_has_a_new_epoch_by_command() {
    let desk = one_node().await;
    let (patient, dentist, session) = desk.pair().await;
    let data = desk.data.path().to_owned();
    let mut cut = Cut { desk, patient, dentist, session, old: Value::Null };
    cut.write("kept", 5).await;
    cut.old = cut.join(Framing::Native, 0, &Value::Null).await.1["epoch"].take();
    cut.desk.nodes[0].kill().await;
    let backup = tempfile::tempdir().unwrap();
    copy_database(&data, backup.path());
    cut.desk.nodes[0].restart().await;
    cut.write("lost", 5).await;
    // Position of a client for connection state recovery.
    let auth = json!({ "token": cut.dentist.token });
    let (before, pid) = Poller::enter_with(cut.desk.nodes[0].address, &auth).await;
    let join = json!({ "sessionId": cut.session, "after": 5 });
    before.say(&format!(r#"421["session:join",{join}]"#)).await;
    let heard = before.until("session:offset").await;
    let offset = heard.split(r#"["session:offset",""#).nth(1).unwrap().split('"').next().unwrap();

    let env = [("DATA_DIR", data.to_str().unwrap())];
    let (code, text) = said(&["restored"], &env).await;
    assert_eq!(code, Some(1), "the command must fail while the node runs: {text}");
    cut.desk.nodes[0].kill().await;
    copy_database(backup.path(), &data);
    let (code, text) = said(&["restored"], &env).await;
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("Message order has epoch 2 now"), "{text}");
    cut.desk.nodes[0].restart().await;
    cut.is_noticed_by_all_devices().await;
    let auth = json!({ "token": cut.dentist.token, "pid": pid, "offset": offset });
    let (_, other) = Poller::enter_with(cut.desk.nodes[0].address, &auth).await;
    assert_ne!(other, pid, "it recovered a position of the old epoch");
}

/// Copies the database file of a stopped node over another one.
pub(crate) fn copy_database(from: &Path, to: &Path) {
    for name in ["frontdesk.db-wal", "frontdesk.db-shm", "frontdesk.db"] {
        drop(std::fs::remove_file(to.join(name)));
        if from.join(name).exists() {
            std::fs::copy(from.join(name), to.join(name)).unwrap();
        }
    }
}
