//! A user who joins, pages, lists and counts without end does not slow others down.

use std::{net::SocketAddr, time::Duration};

use frontdesk_test_support::{Client, Desk, Person, Victim, tungstenite::Message};
use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    task::JoinSet,
    time::{Instant, interval, sleep_until},
};

use crate::{one_node, two_nodes};

/// Number of the attacker's sockets, and of the attacker's HTTP connections.
const SOCKETS: usize = 20;
/// Interval between the joins of a socket, at the limit of frames.
const JOIN: Duration = Duration::from_millis(10);
/// Duration of the attack.
const ATTACK: Duration = Duration::from_secs(8);
/// SQL expression of a text, for PostgreSQL and SQLite.
type Text = [&'static str; 2];
/// The longest text, in multi-byte characters.
const LONGEST: Text =
    ["repeat('длинный ', 1000)", "replace(hex(zeroblob(1000)), '00', 'длинный ')"];
const SHORT: Text = ["'does it still ache?'"; 2];

/// Runs statements directly on the database, in its dialect.
async fn execute(desk: &Desk, postgres: &str, sqlite: &str) {
    if let Some(database) = &desk.database {
        // No triggers: these texts need not be in the search index.
        let sql = format!("set session_replication_role = replica; {postgres}");
        database.client().await.batch_execute(&sql).await.unwrap();
        database.client().await.batch_execute("analyze").await.unwrap();
    } else {
        let db = rusqlite::Connection::open(desk.data.path().join("frontdesk.db")).unwrap();
        db.busy_timeout(Duration::from_secs(30)).unwrap();
        db.execute_batch(sqlite).unwrap();
    }
}

/// Inserts messages of the customer into sessions. In PostgreSQL no trigger counts them.
async fn fill(desk: &Desk, sessions: &str, messages: u32, [of_postgres, of_sqlite]: Text) {
    let columns = "insert into messages (session_id, seq, id, sender_kind, sender_id, client_id, kind, \
                   body, created_at)";
    let sender =
        "(select person_id from members m where m.session_id = c.id and m.kind = 'customer')";
    let postgres = format!(
        "{columns} select c.id, n, gen_random_uuid(), 'customer', {sender}, 'filled-' || n, 'text', {of_postgres}, now() \
         from sessions c, generate_series(1, {messages}) n where {sessions}; \
         update sessions c set last_seq = {messages}, contact_messages = {messages}, active_at = now() \
           where {sessions};"
    );
    let sqlite = format!(
        "begin; {columns} with recursive n(n) as (select 1 union all select n + 1 from n where n < {messages}) \
         select c.id, n, printf('%08x-0000-7000-8000-000000000000', n), 'customer', {sender}, 'filled-' || n, \
         'text', {of_sqlite}, unixepoch() * 1000000 from sessions c, n where {sessions}; \
         update sessions as c set last_seq = {messages}, active_at = unixepoch() * 1000000 where {sessions}; commit;"
    );
    execute(desk, &postgres, &sqlite).await;
}

/// Requests paths without end over one HTTP connection, and reads only as much as it must. Returns the
/// number of responses, 200 or with a retry time.
async fn ask_on(address: SocketAddr, token: String, paths: Vec<String>) -> u32 {
    let (until, mut answers) = (Instant::now() + ATTACK, 0);
    let mut socket = BufReader::new(TcpStream::connect(address).await.unwrap());
    for path in paths.iter().cycle() {
        if Instant::now() >= until {
            break;
        }
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        let (mut length, mut line) = (0_u64, String::new());
        while line != "\r\n" {
            line.clear();
            socket.read_line(&mut line).await.unwrap();
            if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
        }
        tokio::io::copy(&mut (&mut socket).take(length), &mut tokio::io::sink()).await.unwrap();
        answers += 1;
    }
    answers
}

/// Joins without end over one socket, and ignores the content of the replies.
async fn join_on(client: Client, session: String) -> u32 {
    let (mut sink, mut stream) = client.socket.split();
    let joining = async move {
        let mut ticks = interval(JOIN);
        for id in 0.. {
            ticks.tick().await;
            let join =
                json!({ "id": id, "event": "session:join", "data": { "sessionId": session } });
            if sink.send(Message::text(join.to_string())).await.is_err() {
                break;
            }
        }
    };
    let mut answers = 0;
    let reading = async {
        while let Some(Ok(frame)) = stream.next().await {
            assert!(!frame.is_close(), "an app that only joins was closed");
            answers += u32::from(frame.is_text());
        }
    };
    tokio::select! {
        () = joining => {}
        () = reading => {}
        () = sleep_until(Instant::now() + ATTACK) => {}
    }
    answers
}

/// Sum of all responses to an attack.
async fn all(mut attacks: JoinSet<u32>) -> u32 {
    let mut answers = 0;
    while let Some(given) = attacks.join_next().await {
        answers += given.unwrap();
    }
    answers
}

fn flood(desk: &Desk, attacker: &Person, paths: &[String]) -> JoinSet<u32> {
    let mut attacks = JoinSet::new();
    for _ in 0..SOCKETS {
        let (address, token) = (desk.nodes[0].address, attacker.token.clone());
        attacks.spawn(ask_on(address, token, paths.to_vec()));
    }
    attacks
}

#[tokio::test(flavor = "multi_thread")]
async fn c7_joins_and_history_of_the_longest_messages_cost_others_nothing() {
    for desk in [two_nodes().await, one_node().await] {
        let (attacker, _, session) = desk.pair().await;
        fill(&desk, &format!("c.id = '{session}'"), 200, LONGEST).await;
        let mut victim = Victim::enter(&desk, 0).await;
        let alone = victim.measure().await;
        let mut joins = JoinSet::new();
        for _ in 0..SOCKETS {
            joins.spawn(join_on(desk.connect(0, &attacker).await, session.clone()));
        }
        let history = [format!("/api/chats/{session}/messages?limit=200")];
        let pages = flood(&desk, &attacker, &history);
        let attack = async { (all(joins).await, all(pages).await) };
        let (beside, (joins, answers)) = victim.measure_beside(attack).await;
        eprintln!("{joins} frames and {answers} pages were answered");
        assert!(
            joins > 20 && answers > 5,
            "the attacker is served too: {joins} frames, {answers} pages"
        );
        beside.are_as_if_alone(&alone);
        let node = desk.http(0, &attacker);
        node.get(&history[0]).await.expect(200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn c9_lists_and_counts_over_a_thousand_sessions_cost_others_nothing() {
    for (desk, messages) in [(two_nodes().await, 1_000), (one_node().await, 120)] {
        let attacker = desk.dentist();
        let mine = format!("c.dentist_id = '{}'", attacker.id);
        let customers = |number: &str| format!("'patient-' || {number}");
        let sessions = "insert into sessions (id, customer_id, dentist_id, created_at, active_at)";
        let members = "insert into members (session_id, kind, person_id, name) \
                       select c.id, 'customer', c.customer_id, 'Ada' from sessions c";
        let dentists = "insert into members (session_id, kind, person_id, name) \
                        select c.id, 'dentist', c.dentist_id, 'Dana' from sessions c";
        let members = format!("{members} where {mine}; {dentists} where {mine};");
        let postgres = format!(
            "{sessions} select gen_random_uuid(), {}, '{}', now(), now() from generate_series(1, 1000) n; {members}",
            customers("n"),
            attacker.id
        );
        let sqlite = format!(
            "begin; {sessions} with recursive n(n) as (select 1 union all select n + 1 from n where n < 1000) \
             select printf('%08x-0000-7000-8000-000000000000', n), {}, '{}', unixepoch() * 1000000, \
             unixepoch() * 1000000 from n; {members} commit;",
            customers("n"),
            attacker.id
        );
        execute(&desk, &postgres, &sqlite).await;
        fill(&desk, &mine, messages, SHORT).await;
        let node = desk.http(0, &attacker);
        let unread = node.get("/api/chats/unread").await.expect(200);
        assert_eq!(
            (&unread["total"], unread["sessions"].as_object().unwrap().len()),
            (&json!(1_000 * messages), 1_000)
        );
        let listed = node.get("/api/chats?limit=200").await.expect(200);
        assert_eq!(listed["items"].as_array().unwrap().len(), 200);
        assert_eq!(listed["items"][0]["unread"], messages);
        let mut victim = Victim::enter(&desk, 0).await;
        let alone = victim.measure().await;
        let paths = ["/api/chats?limit=200", "/api/chats/unread"].map(str::to_owned);
        let attack = all(flood(&desk, &attacker, &paths));
        let (beside, answered) = victim.measure_beside(attack).await;
        eprintln!("{answered} lists and counts were answered");
        assert!(answered > 10, "the attacker is served too: {answered} responses");
        beside.are_as_if_alone(&alone);
    }
}
