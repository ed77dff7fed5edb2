//! Pictures: uploaded to the bucket, checked by the node, shown by a message, and fetched from the
//! bucket.

use std::io::Cursor;

use frontdesk_test_support::{Desk, Framing, Http, PATIENCE, S3, Servers, eventually};
use image::{DynamicImage, ImageFormat, RgbImage};
use reqwest::{Method, header::HeaderMap, redirect::Policy};
use serde_json::{Value, json};

use crate::{FRONTDESK, one_node};

/// Two nodes and an S3 server.
pub(crate) async fn with_s3() -> (Desk, S3) {
    let (s3, redis_port) = (S3::start().await, Servers::get().await.redis_port);
    let desk = Desk::cluster_with(FRONTDESK, 2, redis_port, &s3.env()).await;
    (desk, s3)
}

pub(crate) fn picture(format: ImageFormat, width: u32, height: u32) -> Vec<u8> {
    let red = RgbImage::from_pixel(width, height, image::Rgb([200, 30, 30]));
    let mut file = Cursor::new(Vec::new());
    DynamicImage::from(red).write_to(&mut file, format).unwrap();
    file.into_inner()
}

/// Response to a request to the bucket.
pub(crate) struct Fetched {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) bytes: Vec<u8>,
}

impl Fetched {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

pub(crate) async fn ask(method: Method, url: &str, headers: &Value, body: Vec<u8>) -> Fetched {
    try_ask(method, url, headers, body).await.unwrap()
}

pub(crate) async fn try_ask(
    method: Method,
    url: &str,
    headers: &Value,
    body: Vec<u8>,
) -> reqwest::Result<Fetched> {
    let client = reqwest::Client::builder().timeout(PATIENCE).redirect(Policy::none());
    let mut request = client.build().unwrap().request(method, url).body(body);
    for (name, value) in headers.as_object().unwrap() {
        if name != "content-length" {
            request = request.header(name, value.as_str().unwrap());
        }
    }
    let response = request.send().await?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Ok(Fetched { status, headers, bytes: response.bytes().await?.to_vec() })
}

pub(crate) async fn invite(http: &Http, session: &str, content_type: &str, size: usize) -> Value {
    let wanted = json!({ "contentType": content_type, "size": size, "fileName": "Zahn 4.jpg" });
    http.post(&format!("/api/chats/{session}/images"), &wanted).await.expect(201)
}

pub(crate) async fn put(invited: &Value, bytes: &[u8]) -> u16 {
    let upload = &invited["upload"];
    assert_eq!(upload["method"], "PUT");
    let url = upload["url"].as_str().unwrap();
    ask(Method::PUT, url, &upload["headers"], bytes.to_vec()).await.status
}

/// Uploads a picture and returns its key.
pub(crate) async fn uploaded(http: &Http, session: &str, kind: &str, bytes: &[u8]) -> String {
    let invited = invite(http, session, kind, bytes.len()).await;
    assert_eq!(put(&invited, bytes).await, 200);
    invited["imageKey"].as_str().unwrap().to_owned()
}

pub(crate) fn message(session: &str, client_id: &str, key: &str) -> Value {
    json!({ "sessionId": session, "clientId": client_id, "kind": "image", "imageKey": key })
}

pub(crate) async fn fetch(http: &Http, session: &str, key: &str, query: &str) -> Fetched {
    let reply = http.get(&format!("/api/chats/{session}/images/{key}{query}")).await;
    assert_eq!(reply.status, 302, "{}", reply.text);
    ask(Method::GET, reply.header("location"), &json!({}), Vec::new()).await
}

#[tokio::test]
async fn a_picture_is_sent_and_the_other_side_sees_it() {
    let (cluster, _s3) = with_s3().await;
    for desk in [cluster, one_node().await] {
        for framing in [Framing::Native, Framing::SocketIo] {
            a_picture_arrives(&desk, framing).await;
        }
    }
}

async fn a_picture_arrives(desk: &Desk, framing: Framing) {
    let last = desk.nodes.len() - 1;
    let (customer, dentist, session) = desk.pair().await;
    let (mine, theirs) = (desk.http(0, &customer), desk.http(last, &dentist));
    let mut patient = desk.connect_by(framing, 0, &customer).await;
    let mut doctor = desk.connect_by(framing, last, &dentist).await;
    doctor.join(&session, None).await;
    let bytes = picture(ImageFormat::Jpeg, 800, 400);
    let key = uploaded(&mine, &session, "image/jpeg", &bytes).await;
    let mut wanted = message(&session, "k", &key);
    wanted["body"] = json!("It is this one");
    let sent = patient.request("message:send", wanted.clone()).await.unwrap()["message"].take();
    assert_eq!((&sent["kind"], &sent["body"]), (&json!("image"), &json!("It is this one")));
    let expected = json!({
        "key": key, "contentType": "image/jpeg", "size": bytes.len(), "width": 800, "height": 400,
        "fileName": "Zahn 4.jpg",
    });
    assert_eq!(sent["image"], expected);
    assert_eq!(doctor.message().await, sent);

    let original = fetch(&theirs, &session, &key, "").await;
    assert_eq!((original.status, original.header("content-type")), (200, "image/jpeg"));
    assert!(original.header("content-disposition").starts_with("inline; filename=\"Zahn 4.jpg\""));
    assert_eq!(original.bytes, bytes);
    if desk.database.is_none() {
        assert_eq!(original.header("x-content-type-options"), "nosniff");
    }
    eventually("a thumbnail", async || {
        let thumbnail = fetch(&theirs, &session, &key, "?size=thumbnail").await;
        assert_eq!((thumbnail.status, thumbnail.header("content-type")), (200, "image/jpeg"));
        let seen = image::load_from_memory(&thumbnail.bytes).unwrap();
        (seen.width(), seen.height()) == (320, 160)
    })
    .await;

    // A retry on another node over HTTP gets the first result; a picture cannot be in two messages.
    let path = format!("/api/chats/{session}/messages");
    let again = desk.http(last, &customer).post(&path, &wanted).await.expect(200);
    assert_eq!((&again["message"], &again["duplicate"]), (&sent, &json!(true)));
    let second = mine.post(&path, &message(&session, "k2", &key)).await;
    assert_eq!(second.expect(400)["code"], "invalid_request");

    // A deleted message takes its picture along.
    let path = format!("{path}/{}", sent["id"].as_str().unwrap());
    mine.delete(&path).await.expect(200);
    let gone = theirs.get(&format!("/api/chats/{session}/images/{key}")).await;
    assert_eq!(gone.expect(404)["code"], "image_not_found");
}

#[tokio::test]
async fn f21_without_s3_pictures_fail_and_text_goes_on() {
    let (desk, mut s3) = with_s3().await;
    let (customer, dentist, session) = desk.pair().await;
    let http = desk.http(0, &customer);
    assert_eq!(http.get("/health").await.expect(200)["services"]["s3"], "up");
    let bytes = picture(ImageFormat::Png, 64, 48);
    let shown = uploaded(&http, &session, "image/png", &bytes).await;
    let key = uploaded(&http, &session, "image/png", &bytes).await;
    let path = format!("/api/chats/{session}/messages");
    http.post(&path, &message(&session, "shown", &shown)).await.expect(201);
    s3.stop();
    eventually("health reports that S3 is down", async || {
        let health = http.get("/health").await.expect(200);
        health["services"]["s3"] == "down" && health["status"] == "degraded"
    })
    .await;
    let mut patient = desk.connect(0, &customer).await;
    let mut doctor = desk.connect(1, &dentist).await;
    doctor.join(&session, None).await;
    // A text after a picture does not wait for it.
    let send = message(&session, "k", &key);
    let (refused, _) =
        tokio::join!(http.post(&path, &send), patient.send(&session, "t", "still here"));
    assert_eq!(refused.header("retry-after"), "1");
    assert_eq!(refused.expect(503)["code"], "unavailable");
    assert_eq!(doctor.message().await["body"], "still here");
    let thumbnail = format!("/api/chats/{session}/images/{shown}?size=thumbnail");
    assert_eq!(http.get(&thumbnail).await.expect(503)["code"], "unavailable");
    // Acknowledged pictures stay acknowledged.
    let again = http.post(&path, &message(&session, "shown", &shown)).await.expect(200);
    assert_eq!(again["duplicate"], true);

    s3.restart().await;
    http.post(&path, &message(&session, "k", &key)).await.expect(201);
    assert_eq!(doctor.message().await["image"]["key"], key);
}

#[tokio::test]
async fn a_picture_that_nobody_sends_is_removed_after_a_day() {
    let (mut desk, s3) = with_s3().await;
    let (customer, _, session) = desk.pair().await;
    let http = desk.http(0, &customer);
    let bytes = picture(ImageFormat::Png, 640, 480);
    let shown = uploaded(&http, &session, "image/png", &bytes).await;
    let late = uploaded(&http, &session, "image/png", &bytes).await;
    let recent = uploaded(&http, &session, "image/png", &bytes).await;
    let path = format!("/api/chats/{session}/messages");
    http.post(&path, &message(&session, "k", &shown)).await.expect(201);
    let has = |key: &str| {
        let file = |path: &std::path::PathBuf| path.file_name().unwrap() == key;
        s3.objects(&session).iter().any(file)
    };
    eventually("a thumbnail", async || has(&format!("{shown}-320"))).await;
    assert!(has(&shown) && has(&late) && has(&recent));
    let db = desk.database.as_ref().unwrap().client().await;
    let age = format!(
        "update uploads set created_at = now() - interval '26 hours' where key <> '{recent}'"
    );
    db.batch_execute(&age).await.unwrap();
    let refused = http.post(&path, &message(&session, "k2", &late)).await;
    assert_eq!(
        refused.expect(400)["code"],
        "invalid_request",
        "an old upload may be removed at any moment"
    );
    let (first, second) = desk.nodes.split_at_mut(1);
    tokio::join!(first[0].restart(), second[0].restart());
    eventually("the old upload is removed", async || !has(&late)).await;
    assert!(has(&shown) && has(&format!("{shown}-320")) && has(&recent));
    eventually("its row is removed", async || {
        let row = db.query_one("select count(*) from uploads", &[]).await.unwrap();
        row.get::<_, i64>(0) == 2
    })
    .await;
}

#[tokio::test]
async fn i14_no_key_and_no_signature_is_logged() {
    let s3 = S3::start().await;
    let trace = [("LOG_LEVEL", "trace")];
    let with_s3 = [&trace[..], &s3.env()].concat();
    for env in [&with_s3, &trace[..]] {
        let desk = Desk::embedded_with(FRONTDESK, env).await;
        let (customer, _, session) = desk.pair().await;
        let http = desk.http(0, &customer);
        let bytes = picture(ImageFormat::Png, 64, 48);
        let key = uploaded(&http, &session, "image/png", &bytes).await;
        let mut socket = desk.connect(0, &customer).await;
        socket.request("message:send", message(&session, "k", &key)).await.unwrap();
        fetch(&http, &session, &key, "?size=thumbnail").await;
        s3.stop();
        http.get(&format!("/api/chats/{session}/images/{key}?size=thumbnail")).await;
        let log = desk.nodes[0].log();
        assert!(log.iter().any(|line| line.contains("/api/chats/{id}/images/{image}")));
        for line in log {
            for secret in
                [&key, "X-Amz-", "Zahn", "s3-secret-that-is-secret", &customer.token[..60]]
            {
                assert!(!line.contains(secret), "it is logged: {line}");
            }
        }
    }
}
