//! Pictures that are refused, belong to another user, or have another type than announced.

use frontdesk_test_support::eventually;
use image::ImageFormat;
use reqwest::Method;
use serde_json::json;

use crate::{
    one_node,
    pictures::{ask, fetch, invite, message, picture, put, try_ask, uploaded, with_s3},
};

#[tokio::test]
async fn b39_b51_nobody_reaches_a_picture_that_is_not_theirs() {
    let desk = one_node().await;
    let (customer, dentist, session) = desk.pair().await;
    let (stranger, _, elsewhere) = desk.pair().await;
    let (mine, other) = (desk.http(0, &customer), desk.http(0, &stranger));
    let bytes = picture(ImageFormat::Png, 30, 20);
    let key = uploaded(&mine, &session, "image/png", &bytes).await;
    let unsent = mine.get(&format!("/api/chats/{session}/images/{key}")).await;
    assert_eq!(unsent.expect(404)["code"], "image_not_found", "the picture was not checked yet");

    let mut socket = desk.connect(0, &dentist).await;
    let refused = socket.request("message:send", message(&session, "k", &key)).await.unwrap_err();
    assert_eq!(refused["code"], "invalid_request", "only its uploader may send it");
    let mut socket = desk.connect(0, &stranger).await;
    for (session, code) in [(&elsewhere, "invalid_request"), (&session, "session_not_found")] {
        let refused = socket.request("message:send", message(session, "k", &key)).await;
        assert_eq!(refused.unwrap_err()["code"], code);
    }
    let mut socket = desk.connect(0, &customer).await;
    let foreign = format!("{session}/{key}");
    for key in ["", "..", "../../x", "\0", &key.to_uppercase(), &foreign, &"0".repeat(32)] {
        let refused = socket.request("message:send", message(&session, "k", key)).await;
        assert_eq!(refused.unwrap_err()["code"], "invalid_request", "{key}");
    }
    socket.request("message:send", message(&session, "k", &key)).await.unwrap();

    // A picture of another user looks like one that does not exist.
    let mut answers = Vec::new();
    let none = "0".repeat(32);
    for path in [
        format!("{session}/images/{key}"),
        format!("{session}/images/{none}"),
        format!("{elsewhere}/images/{key}"),
        format!("{elsewhere}/images/..%2F{session}%2F{key}"),
        format!("x/images/{key}"),
    ] {
        let mut answer = other.get(&format!("/api/chats/{path}")).await.expect(404);
        answer.as_object_mut().unwrap().remove("requestId");
        answers.push(answer);
    }
    assert!(
        answers.iter().all(|answer| *answer == answers[0] && answer["code"] == "image_not_found")
    );
    let wanted = json!({ "contentType": "image/png", "size": 1 });
    let invited = other.post(&format!("/api/chats/{session}/images"), &wanted).await;
    assert_eq!(invited.expect(404)["code"], "session_not_found");
    // The bucket shows nothing without a signed URL.
    let address = desk.nodes[0].address;
    for path in [format!("{session}/{key}"), String::new(), session, format!(".bucket-x/{key}")] {
        let url = format!("http://{address}/frontdesk-images/{path}");
        let status = ask(Method::GET, &url, &json!({}), Vec::new()).await.status;
        assert!([403, 404].contains(&status), "{url}: {status}");
    }
}

#[tokio::test]
async fn b52_b53_b54_b56_b57_what_is_no_such_picture_becomes_no_message() {
    let (cluster, _s3) = with_s3().await;
    for desk in [cluster, one_node().await] {
        let (customer, _, session) = desk.pair().await;
        let http = desk.http(0, &customer);
        let path = format!("/api/chats/{session}");
        for (content_type, size) in [
            ("image/svg+xml", 10),
            ("text/html", 10),
            ("application/pdf", 10),
            ("image/png", 0),
            ("image/png", 10 * 1024 * 1024 + 1),
        ] {
            let wanted = json!({ "contentType": content_type, "size": size });
            let refused = http.post(&format!("{path}/images"), &wanted).await.expect(400);
            assert_eq!(refused["code"], "invalid_request");
        }
        let svg = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>";
        let mut bomb = picture(ImageFormat::Png, 9, 9);
        bomb[16..24].copy_from_slice(b"\0\0\xc3\x50\0\0\xc3\x50");
        let files = [
            (
                svg.to_vec(),
                "imageKey: is not a supported picture: choose a JPEG, PNG, WebP, HEIC or GIF",
            ),
            (bomb, "imageKey: has more than 50 million pixels: make it smaller, and send it again"),
        ];
        let mut socket = desk.connect(0, &customer).await;
        for (bytes, problem) in files {
            let invited = invite(&http, &session, "image/png", bytes.len()).await;
            let send = message(&session, "k", invited["imageKey"].as_str().unwrap());
            let early = socket.request("message:send", send.clone()).await.unwrap_err();
            assert_eq!(early["detail"], "imageKey: was not uploaded");
            let longer = [bytes.clone(), vec![0]].concat();
            assert_eq!(put(&invited, &longer).await, 403, "the length is signed");
            assert_eq!(put(&invited, &bytes).await, 200);
            let refused = http.post(&format!("{path}/messages"), &send).await.expect(400);
            assert_eq!(
                (&refused["code"], &refused["detail"]),
                (&json!("invalid_request"), &json!(problem))
            );
        }
        let history = http.get(&format!("{path}/messages")).await.expect(200);
        assert_eq!(history["items"], json!([]));
    }
}

#[tokio::test]
async fn a_picture_is_of_the_type_that_its_bytes_are_whatever_a_picker_says() {
    let (cluster, _s3) = with_s3().await;
    for desk in [cluster, one_node().await] {
        let (customer, dentist, session) = desk.pair().await;
        let (mine, theirs) = (desk.http(0, &customer), desk.http(desk.nodes.len() - 1, &dentist));
        let bytes = picture(ImageFormat::Png, 640, 480);
        let key = uploaded(&mine, &session, "image/JPG; q=1", &bytes).await;
        let path = format!("/api/chats/{session}/messages");
        let sent = mine.post(&path, &message(&session, "k", &key)).await.expect(201);
        assert_eq!(sent["message"]["image"]["contentType"], "image/png");
        let fetched = fetch(&theirs, &session, &key, "").await;
        assert_eq!((fetched.status, fetched.header("content-type")), (200, "image/png"));
        eventually("a thumbnail", async || {
            let thumbnail = fetch(&theirs, &session, &key, "?size=thumbnail").await;
            thumbnail.header("content-type") == "image/jpeg"
        })
        .await;
    }
}

#[tokio::test]
async fn b55_an_upload_is_done_once_and_as_it_was_signed() {
    let (cluster, _s3) = with_s3().await;
    for desk in [cluster, one_node().await] {
        let (customer, _, session) = desk.pair().await;
        let http = desk.http(0, &customer);
        let bytes = picture(ImageFormat::Png, 64, 48);
        let mut invited = invite(&http, &session, "image/png", bytes.len()).await;
        let mut html = invited.clone();
        html["upload"]["headers"]["content-type"] = json!("text/html");
        assert_eq!(put(&html, &bytes).await, 403);
        assert_eq!(put(&invited, &bytes).await, 200);
        let key = invited["imageKey"].as_str().unwrap().to_owned();
        let path = format!("/api/chats/{session}/messages");
        http.post(&path, &message(&session, "k", &key)).await.expect(201);
        // A picture cannot be replaced after it was checked.
        let other = picture(ImageFormat::Png, 64, 48).iter().map(|byte| !byte).collect::<Vec<_>>();
        assert_eq!(put(&invited, &other).await, 412);
        let url = invited["upload"]["url"].as_str().unwrap();
        let longer = url.replace("X-Amz-Expires=300", "X-Amz-Expires=90000");
        invited["upload"]["url"] = json!(longer);
        assert_eq!(put(&invited, &other).await, 403);
        assert_eq!(fetch(&http, &session, &key, "").await.bytes, bytes);
    }
}

#[tokio::test]
async fn the_largest_picture_goes_through_and_no_larger_one() {
    let desk = one_node().await;
    let (customer, dentist, session) = desk.pair().await;
    let http = desk.http(0, &customer);
    let shown = picture(ImageFormat::Png, 64, 48);
    let mut bytes = shown.clone();
    bytes.resize(10 * 1024 * 1024, 7);
    let invited = invite(&http, &session, "image/png", bytes.len()).await;
    let (upload, larger) = (&invited["upload"], [&bytes[..], b"x"].concat());
    let refused = try_ask(Method::PUT, upload["url"].as_str().unwrap(), &upload["headers"], larger);
    // The server may close before everything is sent.
    assert!(refused.await.map_or(403, |answer| answer.status) == 403);
    assert_eq!(put(&invited, &bytes).await, 200, "the refused upload left nothing");
    let key = invited["imageKey"].as_str().unwrap();
    let path = format!("/api/chats/{session}/messages");
    http.post(&path, &message(&session, "k", key)).await.expect(201);
    let fetched = fetch(&desk.http(0, &dentist), &session, key, "").await.bytes;
    assert_eq!(fetched.len(), bytes.len());
    let trailer = fetched.strip_prefix(&shown[..]).unwrap();
    assert!(trailer.iter().all(|byte| *byte == 0), "data after the end of the picture is zeroed");
}
