//! Frames of an attacker with a valid token: the attacker's connection ends or gets an error, and all
//! other clients are unaffected.

use std::time::Duration;

use frontdesk_test_support::{Desk, PATIENCE, Person, eventually, unique};
use reqwest::Method;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, timeout},
};

use crate::{FRONTDESK, one_node};

const TEXT: u8 = 0x1;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;
const FINAL: u8 = 0x80;

/// A masked frame of a client (RFC 6455, section 5.2); the mask is zero.
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

/// Opens a native socket whose bytes the test writes itself.
async fn open(desk: &Desk, person: &Person) -> TcpStream {
    open_by(desk, WAYS[0], &person.token).await
}

/// Like [`open`], with any path.
async fn open_by(desk: &Desk, way: &str, token: &str) -> TcpStream {
    let bearer = format!("Authorization: Bearer {token}\r\n");
    open_with(desk, way, if token.is_empty() { "" } else { &bearer }).await
}

/// Like [`open`], with these headers. The server must never agree to an extension.
async fn open_with(desk: &Desk, way: &str, headers: &str) -> TcpStream {
    let mut stream = TcpStream::connect(desk.nodes[0].address).await.unwrap();
    let head = format!(
        "GET {way} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n{headers}\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.unwrap());
    }
    let answer = String::from_utf8(answer).unwrap().to_lowercase();
    assert!(answer.starts_with("http/1.1 101") && !answer.contains("extensions"), "{answer}");
    stream
}

/// Writes the bytes, reads to the end, and returns the server's close code; 1006 without one.
async fn closed_after(mut stream: TcpStream, bytes: &[u8]) -> u16 {
    let (mut reading, mut writing) = stream.split();
    // The server may close before everything is written.
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
    timeout(PATIENCE, async { tokio::join!(write, read).1 })
        .await
        .expect("the connection stays open")
}

/// Paths of the two framings, which share the reading of frames.
const WAYS: [&str; 2] = ["/ws", "/socket.io/?EIO=4&transport=websocket"];

/// Checks that each case closes its own connection with this code, if the framing has codes, and no
/// other.
async fn ends_its_own_connection(cases: &[(&str, Vec<u8>)], code: u16) {
    let desk = Desk::embedded_with(FRONTDESK, &[("LOG_LEVEL", "trace")]).await;
    let (customer, dentist, session) = desk.pair().await;
    let mut bystander = desk.connect(0, &dentist).await;
    bystander.join(&session, None).await;
    let before = desk.nodes[0].memory_kib();
    for (what, bytes) in cases {
        assert_eq!(closed_after(open(&desk, &customer).await, bytes).await, code, "{what}");
        let mut entered = open_by(&desk, WAYS[1], "").await;
        let enter = format!("40{}", json!({ "token": customer.token }));
        entered.write_all(&frame(FINAL | TEXT, enter.as_bytes())).await.unwrap();
        closed_after(entered, bytes).await;
    }
    let mut patient = desk.connect(0, &customer).await;
    let sent = patient.send(&session, "k", "all is well").await;
    assert_eq!(bystander.message().await, sent);
    let grown = desk.nodes[0].memory_kib().saturating_sub(before);
    assert!(grown < 65_536, "the node allocated the claimed length: {grown} KiB");
    drop((patient, bystander));
    desk.is_unharmed(&[&customer, &dentist], &["not for anyone", "all is well"]).await;
}

#[tokio::test]
async fn b19_no_extension_is_agreed_to_so_what_is_compressed_is_a_bad_frame() {
    let desk = one_node().await;
    let customer = desk.customer();
    // A megabyte of blanks in a few bytes, if it were decompressed.
    let bomb = frame(FINAL | 0x40 | TEXT, &[0xec, 0xc0, 0x31, 0x01, 0, 0, 0, 0xc2, 0xa0]);
    for extensions in [
        "permessage-deflate",
        "permessage-deflate; server_max_window_bits=8; client_max_window_bits",
        "x-webkit-deflate-frame, permessage-bzip2, permessage-deflate; x=\"\\\"\"",
        ";;;,,,====",
        &"permessage-deflate, ".repeat(400),
    ] {
        let headers = format!(
            "Sec-WebSocket-Extensions: {extensions}\r\nAuthorization: Bearer {}\r\n",
            customer.token
        );
        let stream = open_with(&desk, WAYS[0], &headers).await;
        assert_eq!(closed_after(stream, &bomb).await, 4400, "{extensions}");
        closed_after(open_with(&desk, WAYS[1], &headers).await, &bomb).await;
    }
    let packed = [("content-encoding", "gzip")];
    let body = Some("\u{1f}\u{8b}\u{8}".to_owned());
    let post = desk.http(0, &customer).send(Method::POST, "/api/chats", body, &packed).await;
    assert_eq!(post.status, 400, "a body was decompressed");
    desk.is_unharmed(&[&customer], &[]).await;
}

#[tokio::test]
async fn b22_a_frame_without_a_mask_ends_its_connection() {
    let unmasked = [&[FINAL | TEXT, 14][..], b"not for anyone"].concat();
    ends_its_own_connection(&[("text", unmasked), ("ping", vec![FINAL | PING, 0])], 4400).await;
}

#[tokio::test]
async fn b23_reserved_bits_and_opcodes_end_their_connection() {
    let bits = [0x40, 0x20, 0x10, 0x70].map(|bits| ("bits", frame(FINAL | bits | TEXT, b"{}")));
    let opcodes = (0x3..=0x7).chain(0xb..=0xf);
    let opcodes = opcodes.map(|opcode| ("opcode", frame(FINAL | opcode, b"not for anyone")));
    let cases: Vec<_> = bits.into_iter().chain(opcodes).collect();
    ends_its_own_connection(&cases, 4400).await;
}

#[tokio::test]
async fn b24_control_frames_in_fragments_or_over_125_bytes_end_their_connection() {
    let mut cases = Vec::new();
    for (what, opcode) in [("close", CLOSE), ("ping", PING), ("pong", PONG)] {
        cases.push((what, frame(opcode, b"\x03\xe8")));
        cases.push((what, frame(FINAL | opcode, &[b'x'; 126])));
        cases.push((what, frame(FINAL | opcode, &vec![b'x'; 60_000])));
    }
    ends_its_own_connection(&cases, 4400).await;
}

#[tokio::test]
async fn b25_text_that_is_no_utf_8_ends_its_connection_and_a_split_letter_is_whole_again() {
    let mut split = frame(TEXT, b"\"\xe2\x82");
    split.extend(frame(FINAL, b"\x28\""));
    let mut cut = frame(TEXT, b"\"\xf0\x9f\x98");
    cut.extend(frame(FINAL, b""));
    let cases = [
        ("no letters", frame(FINAL | TEXT, b"\"\xff\xfe\"")),
        ("half of a surrogate", frame(FINAL | TEXT, b"\"\xed\xa0\x80\"")),
        ("longer than it need be", frame(FINAL | TEXT, b"\"\xc0\xaf\"")),
        ("beyond the last letter", frame(FINAL | TEXT, b"\"\xf4\x90\x80\x80\"")),
        ("split, and then another", split),
        ("split, and then none", cut),
    ];
    ends_its_own_connection(&cases, 4400).await;

    let desk = one_node().await;
    let (customer, _, session) = desk.pair().await;
    let mut stream = open(&desk, &customer).await;
    let data = json!({ "sessionId": session, "clientId": "k", "kind": "text", "body": "😀" });
    let send = json!({ "id": 1, "event": "message:send", "data": data }).to_string();
    for (number, byte) in send.bytes().enumerate() {
        let first = if number == 0 { TEXT } else { 0 };
        stream.write_all(&frame(first, &[byte])).await.unwrap();
    }
    stream.write_all(&frame(FINAL, b"")).await.unwrap();
    let mut client = desk.connect(0, &customer).await;
    eventually("the message is sent", async || {
        let joined = client.join(&session, None).await;
        joined["messages"][0]["body"] == "😀"
    })
    .await;
}

#[tokio::test]
async fn b26_a_frame_that_claims_2_to_the_63_bytes_ends_its_connection() {
    let claims = |length: u64| {
        [&[FINAL | TEXT, 0xff][..], &length.to_be_bytes(), &[0; 4], b"not for anyone"].concat()
    };
    let lengths = [1 << 63, u64::MAX, (1 << 63) - 1, 1 << 32];
    ends_its_own_connection(&lengths.map(|length| ("length", claims(length))), 1009).await;
}

#[tokio::test]
async fn b27_fragments_without_an_end_end_their_connection() {
    let mut fragments = frame(TEXT, b"x");
    (0..70_000).for_each(|_| fragments.extend(frame(0, b"x")));
    ends_its_own_connection(&[("of one byte", fragments)], 1009).await;
}

#[tokio::test]
async fn b28_what_is_over_64_kib_ends_its_connection() {
    let whole = frame(FINAL | TEXT, &vec![b' '; 65_537]);
    let parts = [frame(TEXT, &vec![b' '; 65_536]), frame(FINAL, b" ")].concat();
    ends_its_own_connection(&[("a frame", whole), ("a message", parts)], 1009).await;
    // A message of exactly the limit is read.
    let desk = one_node().await;
    let mut client = desk.connect(0, &desk.customer()).await;
    let head = r#"{"id":7,"event":"no:such","data":""#;
    client.frame(&format!("{head}{}\"}}", "x".repeat(65_536 - head.len() - 2))).await;
    assert_eq!(client.any_answer().await["error"]["code"], "unknown_event");
}

#[tokio::test]
async fn b30_whatever_a_close_says_the_connection_ends() {
    let codes = [0_u16, 999, 1004, 1005, 1006, 1015, 2999, 5000, 65_535];
    let mut closes = codes.map(|code| frame(FINAL | CLOSE, &code.to_be_bytes())).to_vec();
    closes.push(frame(FINAL | CLOSE, b"x"));
    closes.push(frame(FINAL | CLOSE, b"\x03\xe8\xff\xfe"));
    closes.push(frame(FINAL | CLOSE, b""));
    let desk = one_node().await;
    let customer = desk.customer();
    for close in closes {
        for way in WAYS {
            closed_after(open_by(&desk, way, &customer.token).await, &close).await;
        }
    }
    desk.is_unharmed(&[&customer], &[]).await;
}

#[tokio::test]
async fn what_is_no_request_ends_its_own_connection() {
    let cases = [
        ("binary", frame(FINAL | 0x2, b"{}")),
        ("no continuation", frame(FINAL, b"{}")),
        ("no JSON", frame(FINAL | TEXT, b"hello")),
        ("no event", frame(FINAL | TEXT, b"{\"id\":1}")),
        ("b31 an event that is no name", frame(FINAL | TEXT, b"{\"event\":{\"toString\":\"x\"}}")),
        ("b36 a huge id", frame(FINAL | TEXT, b"{\"id\":18446744073709551616,\"event\":\"x\"}")),
        ("b37 no number", frame(FINAL | TEXT, b"{\"id\":1,\"event\":\"x\",\"data\":NaN}")),
        ("an id that is no number", frame(FINAL | TEXT, b"{\"id\":\"1\",\"event\":\"x\"}")),
    ];
    ends_its_own_connection(&cases, 4400).await;
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
    assert!(cut.is_ok(), "the node read all 20 MB");
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 431"), "{answer:?}");

    // One header a second, until the server closes.
    let mut slow = TcpStream::connect(desk.nodes[0].address).await.unwrap();
    slow.write_all(b"GET /ws HTTP/1.1\r\n").await.unwrap();
    let (mut reading, mut writing) = slow.split();
    let dripping = async {
        let mut ticks = tokio::time::interval(Duration::from_secs(1));
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
    let began = Instant::now();
    timeout(PATIENCE, cut).await.expect("the slow connection stays open");
    // The limit is 10 s; a busy machine adds some.
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    desk.is_unharmed(&[], &["xxxxxxxx"]).await;
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
        r#"{"id":7.0,"event":"no:such"}"#,
        r#"{"id":18446744073709551615,"event":"no:such","data":{"a":1,"a":2}}"#,
    ] {
        client.frame(odd).await;
        assert_eq!(client.any_answer().await["error"]["code"], "unknown_event");
    }
    // A request without an id gets no reply, valid or not.
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
