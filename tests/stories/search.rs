//! Finding what was said.

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
        assert_eq!(page["items"][0]["message"]["seq"], 2, "the best hit first");
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
