//! A load test by one k6 command: its report is right, and names the faults of the server.

use std::path::PathBuf;

use frontdesk_test_support::{
    DJANGO_SECRET, Desk, Fault, K6Report, K6Run, Nginx, Node, Tampering, eventually, unique,
};
use futures_util::future::join_all;
use serde_json::json;

use crate::{FRONTDESK, two_nodes};

/// Generous limits, because a debug build runs beside other tests, and these stories do not test speed.
const PATIENT: [(&str, &str); 3] =
    [("P95_MS", "30000"), ("P99_MS", "60000"), ("REST_P95_MS", "30000")];

/// A file with tokens for this number of customers, as for a real user pool.
fn tokens(desk: &Desk, customers: usize) -> PathBuf {
    let tokens: Vec<_> = (0..customers).map(|_| desk.issuer.customer(&unique("patient"))).collect();
    let file = desk.data.path().join(unique("tokens"));
    std::fs::write(&file, json!({ "customers": tokens }).to_string()).unwrap();
    file
}

/// Starts a scenario for these bases, with the issuers of the test.
async fn start(desk: &Desk, scenario: &str, bases: &str, variables: &[(&str, &str)]) -> K6Run {
    let file = tokens(desk, 12);
    let own = [
        ("BASE_URL", bases),
        ("TOKENS_FILE", file.to_str().unwrap()),
        ("DJANGO_JWT_SECRET", DJANGO_SECRET),
    ];
    K6Run::start(scenario, &[&own, &PATIENT[..], variables].concat()).await
}

fn bases(desk: &Desk) -> String {
    desk.nodes.iter().map(|node| node.url("")).collect::<Vec<_>>().join(",")
}

/// Number of messages in the database.
async fn kept(desk: &Desk) -> i64 {
    let client = desk.database.as_ref().unwrap().client().await;
    client.query_one("select count(*) from messages", &[]).await.unwrap().get(0)
}

fn is_clean(report: &K6Report) {
    assert_eq!(report.code, 0, "{}", report.said);
    assert!(report.said.contains("PASSED"), "{}", report.said);
    assert_eq!(report.found["passed"], true);
    assert!(report.count("delivered") > 0);
    assert_eq!(report.count("sent"), report.count("acknowledged"));
    assert_eq!(report.count("acknowledged"), report.count("delivered"));
    for fault in ["lost", "vanished", "unanswered", "doubled", "disordered", "holes", "unjudged"] {
        assert_eq!(report.count(fault), 0, "{fault}: {}", report.said);
    }
}

#[tokio::test]
async fn the_smoke_run_delivers_what_the_database_has_and_leaves_a_report() {
    let desk = two_nodes().await;
    let run = start(&desk, "smoke", &bases(&desk), &[("DURATION", "5s")]).await;
    let report = run.end().await;
    is_clean(&report);
    assert_eq!(report.count("delivered"), kept(&desk).await);
    assert_eq!(report.found["pairs"], 5);
    assert_eq!(report.count("connections"), 10);
    assert!(report.found["latencies"]["delivery, both connected"]["p95_ms"].as_f64() > Some(0.0));
    assert!(report.found["checks"]["passes"].as_i64() > Some(0));
    assert_eq!(report.found["checks"]["fails"], 0);
    assert!(report.page.contains("<h1>smoke</h1>") && report.page.ends_with("</html>\n"));
    // The page refers to no other file.
    assert!(!report.page.contains("src=") && !report.page.contains("href="));
    assert!(desk.customer().token.starts_with("eyJ"));
    for text in [&report.said, &report.page, &report.found.to_string()] {
        assert!(!text.contains(DJANGO_SECRET) && !text.contains("eyJ"), "{text}");
    }
}

#[tokio::test]
async fn every_scenario_runs() {
    let desk = two_nodes().await;
    let bases = bases(&desk);
    // One address for both nodes without stickiness, which is the hardest case for polls.
    let nginx = Nginx::start(&desk.nodes.iter().map(|node| node.address).collect::<Vec<_>>()).await;
    let balancer = format!("http://{}", nginx.address);
    let short = [("PAIRS", "6"), ("DURATION", "6s"), ("RAMP", "500ms")];
    let scenarios: [(&str, &[(&str, &str)]); 7] = [
        ("load", &[]),
        ("stress", &[("STEPS", "3")]),
        ("spike", &[]),
        ("soak", &[("RECONNECT_EVERY", "2s"), ("AWAY", "1s"), ("TOKEN_TTL", "62s")]),
        ("reconnect", &[("RECONNECT_EVERY", "1500ms"), ("RATE", "10")]),
        ("mixed", &[("REST_EVERY", "300ms")]),
        ("socketio", &[("BASE_URL", &balancer)]),
    ];
    let running = scenarios.iter().map(async |(scenario, own)| {
        start(&desk, scenario, &bases, &[&short, *own].concat()).await.end().await
    });
    let reports = join_all(running).await;
    for (report, (scenario, _)) in reports.iter().zip(scenarios) {
        is_clean(report);
        assert_eq!(report.found["scenario"], scenario);
    }
    let [_, stress, spike, soak, reconnect, mixed, socketio] = &reports[..] else { panic!() };
    let phases = |report: &K6Report| report.found["phases"].as_array().unwrap().len();
    assert_eq!([phases(stress), phases(spike), phases(soak)], [3, 4, 4]);
    // Clients that the storm cut off received the missed messages, and new ones live again.
    assert!(reconnect.count("caughtUp") > 0 && reconnect.count("reconnects") >= 12);
    assert!(reconnect.found["latencies"]["coming back"]["p95_ms"].as_f64() > Some(0.0));
    assert!(soak.count("tokenRefreshes") >= 6, "{}", soak.said);
    assert!(mixed.found["latencies"]["HTTP API"]["p95_ms"].as_f64() > Some(0.0));
    assert_eq!(socketio.count("connections"), 12);
    for framing in ["- native", "- Socket.IO by WebSocket", "- Socket.IO by polls"] {
        assert!(socketio.found["latencies"][framing]["samples"].as_i64() > Some(0), "{framing}");
    }
    let acknowledged: i64 = reports.iter().map(|report| report.count("acknowledged")).sum();
    assert_eq!(acknowledged, kept(&desk).await);
}

#[tokio::test]
async fn what_gets_lost_doubled_or_out_of_order_on_the_way_is_named() {
    let desk = two_nodes().await;
    let faults = [
        (Fault::Dropped, "lost", &["messages_lost", "seq_holes"][..]),
        (Fault::Doubled, "doubled", &["messages_doubled"]),
        (Fault::Swapped, "disordered", &["messages_disordered"]),
        (Fault::Forgotten, "vanished", &["messages_vanished"]),
    ];
    let running = faults.iter().map(async |(fault, count, named)| {
        let way = Tampering::start(desk.nodes[0].address.port(), *fault).await;
        let base = format!("http://127.0.0.1:{}", way.port);
        let variables = [("PAIRS", "2"), ("RATE", "10"), ("DURATION", "4s"), ("GRACE", "1s")];
        let report = start(&desk, "smoke", &base, &variables).await.end().await;
        assert_eq!(report.code, 99, "{}", report.said);
        assert!(report.said.contains("FAILED"), "{}", report.said);
        assert!(report.count(count) > 0, "{}", report.said);
        let vanished = report.count("vanished") > 0;
        assert_eq!(
            vanished,
            *fault == Fault::Forgotten,
            "the server has all messages: {}",
            report.said
        );
        for metric in *named {
            assert!(report.failed().contains(metric), "{metric}: {}", report.said);
            assert!(report.said.contains(&format!("✗ {metric}: count==0")), "{}", report.said);
        }
        assert!(report.page.contains("FAILS"));
    });
    join_all(running).await;
}

#[tokio::test]
async fn a_node_that_is_killed_meanwhile_fails_the_run_and_where_that_is_allowed_nothing_is_lost() {
    for (allowed, code, failed) in [("0", 99, vec!["errors"]), ("1000", 0, vec![])] {
        let mut desk = two_nodes().await;
        let variables =
            [("PAIRS", "4"), ("RATE", "10"), ("DURATION", "7s"), ("MAX_ERRORS", allowed)];
        // The sessions are opened on the node that stays.
        let run = start(&desk, "load", &bases(&desk), &variables).await;
        eventually("the pairs talk", async || kept(&desk).await > 20).await;
        desk.nodes[1].kill().await;
        let report = run.end().await;
        assert_eq!(report.code, code, "{}", report.said);
        assert_eq!(report.failed(), failed, "{}", report.said);
        assert!(report.count("reconnects") >= 4, "{}", report.said);
        assert!(report.found["errorsOf"]["connection"].as_i64() > Some(0), "{}", report.said);
        assert_eq!(report.count("sent"), report.count("delivered"), "{}", report.said);
        assert_eq!(report.count("acknowledged"), kept(&desk).await);
    }
}

#[tokio::test]
async fn a_node_that_drains_meanwhile_is_no_error() {
    let mut desk = two_nodes().await;
    let variables = [("PAIRS", "6"), ("RATE", "10"), ("DURATION", "9s"), ("FRAMING", "all")];
    let at_once = ("RAMP", "0s");
    let run = start(&desk, "load", &bases(&desk), &[&variables[..], &[at_once]].concat()).await;
    eventually("all pairs talk", async || kept(&desk).await > 150).await;
    desk.nodes[1].terminate();
    assert!(desk.nodes[1].exit().await.success());
    let report = run.end().await;
    is_clean(&report);
    assert!(report.count("reconnects") >= 4, "{}", report.said);
    assert_eq!(report.count("errors"), 0, "{}", report.said);
}

#[tokio::test]
async fn what_nobody_answers_any_more_is_counted() {
    let mut desk = Desk::cluster(FRONTDESK, 1).await;
    let variables = [("PAIRS", "2"), ("RATE", "10"), ("DURATION", "5s"), ("GRACE", "1s")];
    let run = start(&desk, "load", &bases(&desk), &variables).await;
    eventually("the pairs talk", async || kept(&desk).await > 10).await;
    desk.nodes[0].kill().await;
    let report = run.end().await;
    assert_eq!(report.code, 99, "{}", report.said);
    assert!(report.count("unanswered") > 0 && report.failed().contains(&"messages_unanswered"));
    assert_eq!([report.count("lost"), report.count("vanished")], [0, 0], "{}", report.said);
}

#[tokio::test]
async fn against_a_local_node_with_nothing_set_it_works_and_limits_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let env = [("DATA_DIR".to_owned(), dir.path().to_str().unwrap().to_owned())];
    let node = Node::start(FRONTDESK, &env).await;
    let (base, short) = (node.url(""), ("DURATION", "3s"));
    let variables = [&[("BASE_URL", base.as_str()), short], &PATIENT[..]].concat();
    is_clean(&K6Run::start("smoke", &variables).await.end().await);

    // Two users send as much as the default allows for four.
    let fast = [("PAIRS", "1"), ("RATE", "80"), ("DURATION", "20s")];
    let variables = [&[("BASE_URL", base.as_str())], &PATIENT[..], &fast].concat();
    let report = K6Run::start("load", &variables).await.end().await;
    assert_eq!(report.code, 99, "{}", report.said);
    assert!(report.count("refusals") > 0 && report.failed().contains(&"refusals"));
    assert!(report.said.contains("LIMIT_SENDS_PER_USER_S=0"), "{}", report.said);
    assert!(report.count("unjudged") > 0 && report.failed().contains(&"conversations_unjudged"));
}

#[tokio::test]
async fn what_it_cannot_be_done_with_is_said_at_once() {
    let desk = Desk::embedded(FRONTDESK).await;
    let (base, nobody) = (desk.nodes[0].url(""), "http://127.0.0.1:1");
    let few = tokens(&desk, 1);
    let fails = async |variables: &[(&str, &str)], code: i32, said: &str| {
        let report = K6Run::start("smoke", variables).await.end().await;
        assert_eq!(report.code, code, "{}", report.said);
        assert!(report.said.contains(said), "{said}: {}", report.said);
    };
    let there = ("BASE_URL", base.as_str());
    let file = ("TOKENS_FILE", few.to_str().unwrap());
    fails(&[("BASE_URL", nobody)], 108, "no frontdesk is ready at http://127.0.0.1:1").await;
    fails(&[("BASE_URL", nobody), ("PAIR", "3")], 108, "PAIR is not read; is PAIRS meant?").await;
    fails(&[("BASE_URL", "localhost:3000")], 107, "BASE_URL: ").await;
    fails(&[there, ("DURATION", "soon")], 107, "DURATION: ").await;
    let away = [there, ("RECONNECT_EVERY", "2s"), ("AWAY", "9s"), ("GRACE", "5s")];
    fails(&away, 107, "AWAY: a time shorter than GRACE").await;
    fails(&[there, ("OUT_DIR", "/nowhere")], 107, "OUT_DIR: there is no directory").await;
    fails(&[there], 108, "issues no development tokens: give TOKENS_FILE").await;
    fails(&[there, file], 108, "there is no DJANGO_JWT_SECRET to sign for them").await;
    let secret = ("DJANGO_JWT_SECRET", DJANGO_SECRET);
    fails(&[there, file, secret], 108, "5 pairs need as many customers").await;
}
