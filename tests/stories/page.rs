//! The page that a node with nothing configured serves: two people at one desk.

use std::path::Path;

use frontdesk_test_support::{Browser, Node, Page, eventually};

use crate::FRONTDESK;

/// Writes into a pane as a person does.
async fn write(page: &mut Page, side: &str, text: &str) {
    let script = format!(
        "(() => {{ const pane = document.querySelector('#{side}'); \
         const input = pane.querySelector('input'); input.value = {text:?}; \
         input.dispatchEvent(new Event('input')); return true }})()"
    );
    page.evaluate(&script).await;
}

async fn send(page: &mut Page, side: &str, text: &str) {
    write(page, side, text).await;
    page.evaluate(&format!("document.querySelector('#{side} form').requestSubmit()")).await;
}

/// The texts in a pane, without times and ticks.
fn texts(pane: &str) -> String {
    format!(
        "[...document.querySelectorAll('#{pane} .messages li')].map(li => li.firstChild.data).join('|')"
    )
}

#[tokio::test]
async fn a_newcomer_sees_two_people_talk_and_a_restart_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let data = ("DATA_DIR".to_owned(), dir.path().to_str().unwrap().to_owned());
    let mut node = Node::start(FRONTDESK, &[data]).await;
    let link = node.url("/");
    eventually("a link to open is logged", async || {
        node.log().iter().any(|line| line.contains(&link))
    })
    .await;
    let mut browser = Browser::start().await;
    let mut page = browser.open(&link).await;
    let both_live = "document.querySelectorAll('.state.live').length === 2";
    page.until(both_live).await;

    write(&mut page, "patient", "Hel").await;
    page.until("document.querySelector('#dentist .typing').textContent === 'typing…'").await;
    let mut all = String::new();
    for (side, text) in [
        ("patient", "Hello, my crown came off. Can I come in today?"),
        ("dentist", "Of course. Is there any pain?"),
        ("patient", "Only with cold drinks."),
        ("dentist", "Come at three, we will cement it again."),
    ] {
        send(&mut page, side, text).await;
        all = if all.is_empty() { text.to_owned() } else { format!("{all}|{text}") };
        for pane in ["patient", "dentist"] {
            page.until(&format!("{} === {all:?}", texts(pane))).await;
        }
    }
    page.until(
        "[...document.querySelectorAll('li.mine small')].every(small => small.textContent.endsWith('✓✓'))",
    )
    .await;
    let picture = Path::new(env!("CARGO_TARGET_TMPDIR")).join("page.png");
    page.screenshot(&picture).await;

    // The node is killed: what is written meanwhile goes out when it is back.
    node.kill().await;
    page.until("document.querySelectorAll('.state.away').length === 2").await;
    send(&mut page, "patient", "Thank <b>you</b>!").await;
    node.restart().await;
    page.until(both_live).await;
    let all = format!("{all}|Thank <b>you</b>!");
    for pane in ["patient", "dentist"] {
        page.until(&format!("{} === {all:?}", texts(pane))).await;
    }
    page.until("document.querySelectorAll('.unsent').length === 0").await;
    assert_eq!(page.evaluate("document.querySelectorAll('.messages b').length").await, 0);

    page.reload().await;
    page.until(both_live).await;
    for pane in ["patient", "dentist"] {
        page.until(&format!("{} === {all:?}", texts(pane))).await;
    }
    browser.close().await;
}
