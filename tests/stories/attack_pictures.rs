//! Pictures: the largest ones slow nobody down, and metadata is removed from all.

use frontdesk_test_support::{Desk, S3, Servers, Victim, eventually};
use image::ImageFormat;
use serde_json::json;

use crate::{
    FRONTDESK, one_node,
    pictures::{fetch, message, picture, uploaded},
};

/// Pictures with EXIF, XMP or comments that contain `secret`: the place and the camera.
const LOCATED: [(&str, &[u8]); 5] = [
    ("image/jpeg", include_bytes!("../../crates/media/src/metadata/located.jpg")),
    ("image/png", include_bytes!("../../crates/media/src/metadata/located.png")),
    ("image/webp", include_bytes!("../../crates/media/src/metadata/located.webp")),
    ("image/gif", include_bytes!("../../crates/media/src/metadata/located.gif")),
    ("image/heic", include_bytes!("../../crates/media/src/metadata/located.heic")),
];

/// Limit of additional memory for the largest pictures, in KiB: one is decoded for its thumbnail, and
/// four are checked.
const MEMORY_KIB: u64 = 400 * 1024;

async fn with_s3() -> (Desk, S3) {
    let (s3, redis_port) = (S3::start().await, Servers::get().await.redis_port);
    (Desk::cluster_with(FRONTDESK, 2, redis_port, &s3.env()).await, s3)
}

#[tokio::test]
async fn where_a_picture_was_taken_does_not_reach_the_other_side() {
    let (cluster, _s3) = with_s3().await;
    for desk in [cluster, one_node().await] {
        let (customer, dentist, session) = desk.pair().await;
        let (mine, theirs) = (desk.http(0, &customer), desk.http(desk.nodes.len() - 1, &dentist));
        for (kind, file) in LOCATED {
            let key = uploaded(&mine, &session, kind, file).await;
            let path = format!("/api/chats/{session}/messages");
            let sent = mine.post(&path, &message(&session, kind, &key)).await.expect(201);
            assert_eq!(sent["message"]["image"]["size"], file.len(), "{kind}");
            let fetched = fetch(&theirs, &session, &key, "").await;
            assert_eq!((fetched.status, fetched.bytes.len()), (200, file.len()), "{kind}");
            assert!(!fetched.bytes.windows(6).any(|part| part == b"secret"), "{kind}");
        }
    }
}

#[tokio::test]
async fn a_picture_goes_with_its_message() {
    let (desk, mut s3) = with_s3().await;
    let (customer, dentist, session) = desk.pair().await;
    let (mine, theirs) = (desk.http(0, &customer), desk.http(1, &dentist));
    let key = uploaded(&mine, &session, "image/png", &picture(ImageFormat::Png, 640, 480)).await;
    let messages = format!("/api/chats/{session}/messages");
    let sent = mine.post(&messages, &message(&session, "k", &key)).await.expect(201);
    eventually("a thumbnail", async || s3.objects(&session).len() == 2).await;
    let path = format!("{messages}/{}", sent["message"]["id"].as_str().unwrap());

    // The message is deleted while the bucket is down, and the picture later.
    s3.stop();
    mine.delete(&path).await.expect(200);
    assert_eq!(s3.objects(&session).len(), 2);
    s3.restart().await;
    eventually("both are removed", async || s3.objects(&session).is_empty()).await;
    let image = format!("/api/chats/{session}/images/{key}");
    assert_eq!(theirs.get(&image).await.expect(404)["code"], "image_not_found");
    let again = mine.post(&messages, &message(&session, "l", &key)).await;
    assert_eq!(again.expect(400)["code"], "invalid_request", "it could be sent again");
}

#[tokio::test]
async fn c10_the_largest_pictures_one_after_another_hold_nobody_up() {
    // 49 million pixels in a few hundred KB.
    let bomb = picture(ImageFormat::Png, 7_000, 7_000);
    let desk = one_node().await;
    let mut victim = Victim::enter(&desk, 0).await;
    let alone = victim.measure().await;
    let (attacker, _, session) = desk.pair().await;
    let http = desk.http(0, &attacker);
    let before = desk.nodes[0].memory_kib();
    let (beside, most) = victim
        .measure_beside(async {
            let mut most = 0;
            for number in 0..5 {
                let key = uploaded(&http, &session, "image/png", &bomb).await;
                let path = format!("/api/chats/{session}/messages");
                let client_id = number.to_string();
                http.post(&path, &message(&session, &client_id, &key)).await.expect(201);
                let thumbnail = format!("/api/chats/{session}/images/{key}?size=thumbnail");
                http.get(&thumbnail).await.expect(302);
                most = most.max(desk.nodes[0].memory_kib());
            }
            most
        })
        .await;
    beside.are_as_if_alone(&alone);
    assert!(most < before + MEMORY_KIB, "from {before} to {most} KiB");
    let unread = http.get("/api/chats/unread").await.expect(200);
    assert_eq!(unread["total"], json!(0));
}
