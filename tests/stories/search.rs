//! Search in messages.

use frontdesk_test_support::eventually;
use serde_json::{Value, json};

use crate::{one_node, two_nodes};

#[tokio::test]
async fn b39_members_find_what_was_said_in_their_own_sessions_only() {
    for desk in [two_nodes().await, one_node().await] {
        let (customer, dentist, session) = desk.pair().await;
        let (stranger, ..) = desk.pair().await;
        let mut patient = desk.connect(0, &customer).await;
        for (key, body) in
            [("1", "My crown is loose"), ("2", "The crown, the crown!"), ("3", "<b>x")]
        {
            patient.send(&session, key, body).await;
        }
        let last = desk.nodes.len() - 1;
        let doctor = desk.http(last, &dentist);
        let page = doctor.get("/api/chats/search?q=crown&limit=1").await.expect(200);
        assert_eq!(page["items"][0]["message"]["seq"], 2, "the best hit comes first");
        let cursor = page["nextCursor"].as_str().unwrap();
        let rest =
            doctor.get(&format!("/api/chats/search?q=crown&cursor={cursor}")).await.expect(200);
        assert_eq!(
            (&rest["items"][0]["message"]["seq"], &rest["nextCursor"]),
            (&json!(1), &json!(null))
        );
        let hit = |piece: &Value| piece["hit"] == true && piece["text"] == "crown";
        assert!(rest["items"][0]["snippet"].as_array().unwrap().iter().any(hit), "{rest}");
        let nothing = desk.http(0, &stranger).get("/api/chats/search?q=crown").await.expect(200);
        assert_eq!(nothing, json!({ "items": [], "nextCursor": null }));
        let long = format!("q={}", "x".repeat(201));
        for odd in ["", "q=", "q=%20", "q=%00", &long, "q=x&limit=0", "q=x&cursor=-1"] {
            let refused = doctor.get(&format!("/api/chats/search?{odd}")).await.expect(400);
            assert_eq!(refused["code"], "invalid_request", "{odd}");
        }
    }
}

/// Text of a message, a query for a part of it, and the marked hits.
const IN_ALL_SCRIPTS: [(&str, &str, &[&str]); 12] = [
    ("我昨天开始牙痛,很难受", "牙痛", &["牙痛"]),
    ("我昨天开始牙疼", "疼", &["疼"]),
    ("明日の予約をお願いします", "予約", &["予約"]),
    ("ブラッシングで血が出ます", "ブラッシ", &["ブラッシ"]),
    ("ผมอยากนัดหมอฟันพรุ่งนี้", "หมอฟัน", &["หมอฟัน"]),
    ("어제 치과에서 치료를 받았어요", "치과", &["치과"]),
    ("عندي موعد مع طبيب الأسنان", "أسنان", &["أسنان"]),
    ("سقطت الحشوة أمس", "والحشوة", &["حشوة"]),
    ("Write to anna.mueller@example.com", "mueller", &["mueller"]),
    (
        "See https://praxis.example.org/termine?id=7",
        "praxis.example.org",
        &["praxis", "example", "org"],
    ),
    ("Call me: +49 (170) 123-4567", "1701234567", &["170) 123-4567"]),
    ("Invoice AB-98765", "8765", &["8765"]),
];

#[tokio::test]
async fn a_part_of_a_text_is_found_in_every_script_and_shown() {
    for desk in [two_nodes().await, one_node().await] {
        let (customer, dentist, session) = desk.pair().await;
        let mut patient = desk.connect(0, &customer).await;
        for (key, (text, ..)) in IN_ALL_SCRIPTS.iter().enumerate() {
            patient.send(&session, &key.to_string(), text).await;
        }
        let doctor = desk.http(desk.nodes.len() - 1, &dentist);
        for when in ["before it is indexed", "once it is indexed"] {
            for (seq, (text, typed, hits)) in (1..).zip(IN_ALL_SCRIPTS) {
                let bytes = typed.bytes();
                let query = bytes.fold(String::new(), |query, byte| format!("{query}%{byte:02x}"));
                let page = doctor.get(&format!("/api/chats/search?q={query}")).await.expect(200);
                let items = page["items"].as_array().unwrap();
                let seqs: Vec<_> =
                    items.iter().map(|item| item["message"]["seq"].clone()).collect();
                assert_eq!(seqs, [json!(seq)], "{typed} {when}");
                let pieces = items[0]["snippet"].as_array().unwrap();
                let shown: String =
                    pieces.iter().map(|piece| piece["text"].as_str().unwrap()).collect();
                assert_eq!(shown, text, "{typed} {when}");
                let marked = pieces.iter().filter(|piece| piece["hit"] == true);
                let marked: Vec<_> = marked.map(|piece| piece["text"].as_str().unwrap()).collect();
                assert_eq!(marked, hits, "{typed} {when}");
            }
            eventually("all texts are indexed", async || {
                let metrics = doctor.get("/metrics").await.text;
                metrics.lines().any(|line| line == "frontdesk_search_waiting_messages 0")
            })
            .await;
        }
    }
}
