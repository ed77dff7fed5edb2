//! Two versions side by side, as in a rolling deployment.

use std::time::Duration;

use frontdesk_test_support::{Desk, Redis};
use serde_json::json;
use tokio::time::timeout;

use crate::{FRONTDESK, seqs};

/// A migration of a later version, which only adds.
const LATER: &str = "
    alter table messages add column mood text;
    alter table sessions add column mood text not null default 'calm';
    alter table members add column mood text;
    create table moods (tenant_id integer not null default 1, session_id uuid not null, mood text,
        foreign key (tenant_id, session_id) references sessions (tenant_id, id));
    create index messages_mood on messages (session_id, mood) where mood is not null;
    insert into refinery_schema_history (version, name, applied_on, checksum)
        values (9999, 'moods', '2026-01-01T00:00:00Z', '1');";

/// A statement of a node of a later version.
const SENT_BY_LATER: &str = "
    with numbered as (
        update sessions set last_seq = last_seq + 1 where id = $1::text::uuid returning last_seq
    )
    insert into messages (session_id, seq, id, sender_kind, sender_id, client_id, kind, body,
                          created_at, mood)
    select $1::text::uuid, last_seq, gen_random_uuid(), 'customer', $2, 'later', 'text', 'new here',
           now(), 'glad'
    from numbered";

#[tokio::test]
async fn f31_a_node_goes_on_beside_a_newer_one_and_starts_on_its_database() {
    let redis = Redis::start().await;
    // The setting for a rolling upgrade from a version without signatures.
    let beside = [("CLUSTER_ACCEPT_UNSIGNED", "true")];
    let mut desk = Desk::cluster_with(FRONTDESK, 2, redis.port, &beside).await;
    let (customer, dentist, session) = desk.pair().await;
    let mut patient = desk.connect(0, &customer).await;
    let mut doctor = desk.connect(1, &dentist).await;
    for client in [&mut patient, &mut doctor] {
        client.join(&session, None).await;
    }
    patient.send(&session, "1", "before").await;
    assert_eq!(doctor.message().await["seq"], 1);

    // The newer node migrates while the older ones run.
    let database = desk.database.as_ref().unwrap().client().await;
    database.batch_execute(LATER).await.unwrap();
    for round in 0..3 {
        patient.send(&session, &format!("on-{round}"), "on we go").await;
        assert_eq!(doctor.message().await["seq"], round + 2);
    }
    let first = desk.http(0, &customer).get(&format!("/api/chats/{session}/messages")).await;
    let first = first.expect(200)["items"][0].clone();
    let edit = json!({ "sessionId": session, "messageId": first["id"], "body": "edited" });
    patient.request("message:edit", edit).await.unwrap();
    assert_eq!(doctor.event("message:updated").await["message"]["body"], "edited");

    // The newer node publishes unknown envelopes, and known ones with additional fields.
    let publish = async |envelope: serde_json::Value| {
        let quoted = serde_json::to_string(&envelope.to_string()).unwrap();
        let heard = redis.command(&format!("PUBLISH frontdesk:session:{session} {quoted}")).await;
        assert_eq!(heard.trim(), ":2", "both nodes are in the room");
    };
    let typing = json!({ "sessionId": session, "who": {}, "on": true, "mood": "glad" });
    publish(json!({ "v": 1, "event": "typing", "data": typing, "mood": { "of": "all" } })).await;
    assert_eq!(doctor.event("typing").await["mood"], "glad");
    database.execute(SENT_BY_LATER, &[&session, &customer.id]).await.unwrap();
    publish(json!({ "v": 2, "frames": ["message:new"], "seq": { "at": 5 } })).await;
    let heard = timeout(Duration::from_secs(5), doctor.message()).await.expect("not within 5 s");
    assert_eq!((&heard["seq"], &heard["body"]), (&json!(5), &json!("new here")));

    // A rollback starts the older version on the newer version's database.
    desk.nodes[0].restart().await;
    let mut patient = desk.connect(0, &customer).await;
    let joined = patient.join(&session, Some(0)).await;
    assert_eq!(seqs(&joined["messages"]), [1, 2, 3, 4, 5]);
    patient.send(&session, "6", "back again").await;
    assert_eq!(doctor.message().await["seq"], 6);
}
