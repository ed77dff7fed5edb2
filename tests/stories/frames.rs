//! Frames as an attacker with a valid token writes them: its own connection ends, or it hears what
//! is wrong, and everybody else goes on.

use frontdesk_test_support::{Desk, PATIENCE, Person, unique};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::one_node;

const TEXT: u8 = 0x1;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const FINAL: u8 = 0x80;

/// A frame of a client (RFC 6455, section 5.2), masked with zeros.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        short @ 0..=125 => frame.push(0x80 | u8::try_from(short).unwrap()),
        medium @ 126..=0xffff => {
            frame.push(0xfe);
            frame.extend(u16::try_from(medium).unwrap().to_be_bytes());
        }
        long => {
            frame.push(0xff);
            frame.extend((long as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

/// A socket whose every byte is ours.
async fn open(desk: &Desk, person: &Person) -> TcpStream {
    let mut stream = TcpStream::connect(desk.nodes[0].address).await.unwrap();
    let head = format!(
        "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n\
         Authorization: Bearer {}\r\n\r\n",
        person.token
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.unwrap());
    }
    assert!(answer.starts_with(b"HTTP/1.1 101"));
    stream
}

/// Writes, and reads to the end: the code with which the server closed, 1006 where it just did.
async fn closed_after(mut stream: TcpStream, bytes: &[u8]) -> u16 {
    let (mut reading, mut writing) = stream.split();
    // The server may close while we still write.
    let write = async { drop(writing.write_all(bytes).await) };
    let read = async {
        let mut code = 1006;
        while let Ok(first) = reading.read_u8().await {
            let mut length = u64::from(reading.read_u8().await.unwrap_or(0));
            if length == 126 {
                length = u64::from(reading.read_u16().await.unwrap_or(0));
            }
            let mut payload = vec![0; usize::try_from(length).unwrap()];
            if reading.read_exact(&mut payload).await.is_err() {
                break;
            }
            if first == FINAL | CLOSE && payload.len() >= 2 {
                code = u16::from_be_bytes([payload[0], payload[1]]);
            }
        }
        code
    };
    timeout(PATIENCE, async { tokio::join!(write, read).1 }).await.expect("it stays open")
}

#[tokio::test]
async fn b22_to_b30_a_bad_frame_ends_its_own_connection_and_no_other() {
    let desk = one_node().await;
    let (customer, dentist, session) = desk.pair().await;
    let mut bystander = desk.connect(0, &dentist).await;
    bystander.join(&session, None).await;

    let unmasked = [FINAL | TEXT, 2, b'{', b'}'].to_vec();
    let mut huge = vec![FINAL | TEXT, 0xff];
    huge.extend((1_u64 << 63).to_be_bytes());
    huge.extend([0; 4]);
    let mut fragments = frame(TEXT, b"x");
    (0..70_000).for_each(|_| fragments.extend(frame(0, b"x")));
    let mut split = frame(TEXT, b"\"\xe2\x82");
    split.extend(frame(FINAL, b"\x28\""));
    for (what, bytes, expected) in [
        ("b22 unmasked", unmasked, 4400),
        ("b23 reserved bits", frame(FINAL | 0x40 | TEXT, b"{}"), 4400),
        ("b23 reserved opcode", frame(FINAL | 0x3, b"{}"), 4400),
        ("b23 reserved control opcode", frame(FINAL | 0xb, b""), 4400),
        ("b24 fragmented ping", frame(PING, b"x"), 4400),
        ("b24 long ping", frame(FINAL | PING, &[b'x'; 126]), 4400),
        ("b25 bad UTF-8", frame(FINAL | TEXT, b"\"\xff\xfe\""), 4400),
        ("b25 split code point", split, 4400),
        ("b26 a length of 2^63", huge, 1009),
        ("b27 endless fragments", fragments, 1009),
        ("b28 over 64 KiB", frame(FINAL | TEXT, &vec![b' '; 65_537]), 1009),
        ("binary", frame(FINAL | 0x2, b"{}"), 4400),
        ("no continuation", frame(FINAL, b"{}"), 4400),
        ("no JSON", frame(FINAL | TEXT, b"hello"), 4400),
        ("no event", frame(FINAL | TEXT, b"{\"id\":1}"), 4400),
        ("an id that is no number", frame(FINAL | TEXT, b"{\"id\":\"1\",\"event\":\"x\"}"), 4400),
    ] {
        let stream = open(&desk, &customer).await;
        assert_eq!(closed_after(stream, &bytes).await, expected, "{what}");
    }
    // b30: whatever the close says, the connection ends.
    for code in [0_u16, 999, 1004, 1005, 1006, 1015, 2999, 5000, 65_535] {
        let bytes = frame(FINAL | CLOSE, &code.to_be_bytes());
        closed_after(open(&desk, &customer).await, &bytes).await;
    }
    closed_after(open(&desk, &customer).await, &frame(FINAL | CLOSE, b"x")).await;

    let mut patient = desk.connect(0, &customer).await;
    let sent = patient.send(&session, "k", "all is well").await;
    assert_eq!(bystander.message().await, sent);
    assert!(desk.nodes[0].log().iter().all(|line| !line.contains("panic")));
}

#[tokio::test]
async fn b29_a_flood_of_pings_holds_nobody_up() {
    let desk = one_node().await;
    let (customer, dentist, session) = desk.pair().await;
    let mut flood = open(&desk, &customer).await;
    let pings = frame(FINAL | PING, b"still there?").repeat(50_000);
    let mut doctor = desk.connect(0, &dentist).await;
    doctor.join(&session, None).await;
    let flooding = async { drop(flood.write_all(&pings).await) };
    let talking = async {
        for number in 0..20 {
            doctor.send(&session, &number.to_string(), "unmoved").await;
        }
    };
    timeout(PATIENCE, async { tokio::join!(flooding, talking) }).await.unwrap();
}

#[tokio::test]
async fn b18_a_head_that_is_huge_or_slow_is_cut() {
    let desk = one_node().await;
    let mut big = TcpStream::connect(desk.nodes[0].address).await.unwrap();
    let head = format!("GET /ws HTTP/1.1\r\nHost: x\r\nX: {}\r\n", "x".repeat(20_000_000));
    drop(big.write_all(head.as_bytes()).await);
    let mut answer = Vec::new();
    let cut = timeout(PATIENCE, big.read_to_end(&mut answer)).await;
    assert!(cut.is_ok(), "20 MB of it were read");
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 431"), "{answer:?}");

    // A header a second, for as long as it is let.
    let mut slow = TcpStream::connect(desk.nodes[0].address).await.unwrap();
    slow.write_all(b"GET /ws HTTP/1.1\r\n").await.unwrap();
    let (mut reading, mut writing) = slow.split();
    let dripping = async {
        let mut ticks = tokio::time::interval(std::time::Duration::from_secs(1));
        loop {
            ticks.tick().await;
            if writing.write_all(b"X-Y: z\r\n").await.is_err() {
                return;
            }
        }
    };
    let mut rest = Vec::new();
    let cut = async {
        tokio::select! {
            _ = reading.read_to_end(&mut rest) => {}
            () = dripping => {}
        }
    };
    timeout(PATIENCE, cut).await.expect("it is let drip");
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_told_and_its_connection_lives() {
    let desk = one_node().await;
    let (customer, _, session) = desk.pair().await;
    let mut client = desk.connect(0, &customer).await;
    for (event, data, code) in [
        ("no:such", json!({}), "unknown_event"),
        ("__proto__", json!({}), "unknown_event"),
        ("session:join", json!({}), "invalid_request"),
        ("session:join", json!({ "sessionId": 7 }), "invalid_request"),
        ("session:join", json!({ "sessionId": session, "after": -1 }), "invalid_request"),
        ("session:join", json!({ "sessionId": session, "after": "1" }), "invalid_request"),
        ("message:send", json!({ "sessionId": session }), "invalid_request"),
        (
            "message:send",
            json!({ "sessionId": session, "clientId": "k", "kind": "text", "body": "" }),
            "invalid_request",
        ),
        ("message:read", json!({ "sessionId": session, "seq": 1.5 }), "invalid_request"),
        ("auth:refresh", json!({}), "invalid_request"),
        ("auth:refresh", json!({ "token": 7 }), "invalid_request"),
        ("message:send", json!(null), "invalid_request"),
        ("message:send", json!([1]), "invalid_request"),
    ] {
        let error = client.request(event, data.clone()).await.unwrap_err();
        assert_eq!(error["code"], code, "{event} {data}");
        assert!(!error["detail"].as_str().unwrap().is_empty());
    }
    for odd in [
        r#"{"id":9007199254740993,"event":"no:such"}"#,
        r#"{"id":18446744073709551615,"event":"no:such","data":{"a":1,"a":2}}"#,
    ] {
        client.frame(odd).await;
        assert_eq!(client.any_answer().await["error"]["code"], "unknown_event");
    }
    // What has no id has no answer, be it good or bad.
    client.say("no:such", &json!({})).await;
    client
        .say(
            "message:send",
            &json!({ "sessionId": session, "clientId": "quiet", "kind": "text", "body": "x" }),
        )
        .await;
    assert_eq!(client.send(&session, "loud", "y").await["seq"], 2);
}

#[tokio::test]
async fn b48_a_connection_is_in_a_bounded_number_of_rooms() {
    let desk = one_node().await;
    let dentist = desk.dentist();
    let http = desk.http(0, &dentist);
    let mut sessions = Vec::new();
    for _ in 0..1_001 {
        let opened = http.post("/api/chats", &json!({ "customerId": unique("patient") })).await;
        sessions.push(opened.expect(201)["id"].clone());
    }
    let mut doctor = desk.connect(0, &dentist).await;
    let mut refused = Vec::new();
    for session in &sessions {
        if let Err(error) = doctor.request("session:join", json!({ "sessionId": session })).await {
            refused.push(error["code"].clone());
        }
    }
    assert_eq!(refused, ["invalid_request"]);
    doctor.request("session:leave", json!({ "sessionId": sessions[0] })).await.unwrap();
    doctor.join(sessions[1_000].as_str().unwrap(), None).await;
}
