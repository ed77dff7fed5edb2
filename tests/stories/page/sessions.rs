//! A user's sessions on the page: the list, a draft for each, and the time when messages count as read.

use frontdesk_test_support::{Browser, Client, Http, Node, Page};
use serde_json::json;

use super::{BOTH_LIVE, DENTIST, Pane, start, token};

/// A patient who writes to the dentist from another client.
struct Patient {
    http: Http,
    client: Client,
    session: String,
    sent: usize,
}

impl Patient {
    async fn enter(node: &Node, id: &str) -> Self {
        let token = token(node, "customer", id).await;
        let http = Http::new(node.address, Some(&token));
        let opened = http.post("/api/chats", &json!({ "dentistId": 1 })).await.body;
        let session = opened["id"].as_str().unwrap().to_owned();
        let mut client = Client::connect(node.address, &token).await;
        client.join(&session, None).await;
        Self { http, client, session, sent: 0 }
    }

    async fn send(&mut self, text: &str) {
        self.sent += 1;
        self.client.send(&self.session, &self.sent.to_string(), text).await;
    }

    /// Position up to which the dentist has read.
    async fn read(&self) -> u64 {
        let session = self.http.get(&format!("/api/chats/{}", self.session)).await.expect(200);
        session["otherReadSeq"].as_u64().unwrap()
    }

    /// Waits until the dentist has read all messages.
    async fn all_is_read(&mut self) {
        while self.client.event("message:read").await["seq"] != self.sent {}
    }
}

impl Pane {
    /// JavaScript expression of the entry of a session in the list.
    fn entry(self, session: &str) -> String {
        self.find(&format!(".session[data-id=\"{session}\"]"))
    }

    async fn choose(self, page: &mut Page, session: &str) {
        page.until(&self.entry(session)).await;
        page.evaluate(&format!("{}.click()", self.entry(session))).await;
        page.until(&format!("{}.ariaCurrent === 'true'", self.entry(session))).await;
    }

    /// Waits until the list shows this number of unread messages of a session.
    async fn unread(self, page: &mut Page, session: &str, count: usize) {
        let badge = format!("{}.querySelector('.badge')", self.entry(session));
        if count == 0 {
            page.until(&format!("!{badge}")).await;
        } else {
            page.until(&format!("{badge}.textContent === '{count} unread'")).await;
        }
    }
}

#[tokio::test]
async fn a_draft_stays_with_its_conversation() {
    let (node, _dir) = start().await;
    let grace = Patient::enter(&node, "grace").await;
    let mut ada = Patient::enter(&node, "demo-patient").await;
    let mut browser = Browser::start().await;
    let mut page = browser.open(&node.url("/")).await;
    page.until(BOTH_LIVE).await;
    let shows = |text: &str| format!("{}.value === {text:?}", DENTIST.find("textarea"));

    ada.send("Is my crown there?").await;
    DENTIST.choose(&mut page, &ada.session).await;
    DENTIST.write(&mut page, "For Ada").await;
    DENTIST.choose(&mut page, &grace.session).await;
    page.until(&shows("")).await;
    DENTIST.write(&mut page, "For Grace").await;
    DENTIST.choose(&mut page, &ada.session).await;
    page.until(&shows("For Ada")).await;

    // A reply belongs to its conversation too, and keeps the draft.
    DENTIST.act(&mut page, "Is my crown there?", "[data-action=reply]").await;
    DENTIST.choose(&mut page, &grace.session).await;
    page.until(&format!("{} && !{}.textContent", shows("For Grace"), DENTIST.find(".note"))).await;
    DENTIST.choose(&mut page, &ada.session).await;
    page.until(&format!("{}.textContent.includes('crown')", DENTIST.find(".note"))).await;

    // A reload keeps drafts; a send removes only its own draft.
    page.reload().await;
    page.until(BOTH_LIVE).await;
    DENTIST.choose(&mut page, &grace.session).await;
    page.until(&shows("For Grace")).await;
    DENTIST.choose(&mut page, &ada.session).await;
    page.until(&shows("For Ada")).await;
    page.evaluate(&format!("{}.requestSubmit()", DENTIST.find(".composer"))).await;
    assert_eq!(ada.client.message().await["body"], "For Ada");
    page.until(&shows("")).await;
    assert_eq!(page.evaluate("Object.values(sessionStorage).join()").await, "For Grace");
    assert_eq!(page.evaluate("localStorage.length").await, 0);

    // An edit keeps the draft.
    DENTIST.write(&mut page, "Not yet sent").await;
    DENTIST.act(&mut page, "For Ada", "[data-action=edit]").await;
    page.until(&shows("For Ada")).await;
    DENTIST.write(&mut page, "For you, Ada").await;
    page.evaluate(&format!("{}.requestSubmit()", DENTIST.find(".composer"))).await;
    page.until(&format!("{}.dataset.seq", DENTIST.line("For you, Ada"))).await;
    page.until(&shows("Not yet sent")).await;
    browser.close().await;
}

#[tokio::test]
async fn a_message_is_read_once_it_was_in_view() {
    const MANY: usize = 30;
    let (node, _dir) = start().await;
    let mut grace = Patient::enter(&node, "grace").await;
    let mut ada = Patient::enter(&node, "demo-patient").await;
    let mut browser = Browser::start().await;
    let mut page = browser.open(&node.url("/")).await;
    page.until(BOTH_LIVE).await;
    DENTIST.choose(&mut page, &ada.session).await;
    for number in 1..=MANY {
        grace.send(&format!("Line {number}")).await;
    }
    DENTIST.unread(&mut page, &grace.session, MANY).await;

    // A conversation opens at its first unread message; the last ones are out of view.
    DENTIST.choose(&mut page, &grace.session).await;
    page.until(&format!("{}.dataset.seq === '1'", DENTIST.find(".first-unread"))).await;
    let first_read = grace.client.event("message:read").await["seq"].as_u64().unwrap();
    assert!((1..MANY as u64 - 5).contains(&first_read), "{first_read} were in view");
    assert_eq!(grace.read().await, first_read);
    let left = MANY - usize::try_from(first_read).unwrap();
    page.until(&format!("{}.textContent === '{left} new ↓'", DENTIST.find(".newest"))).await;
    DENTIST.unread(&mut page, &grace.session, left).await;
    DENTIST.click(&mut page, ".newest").await;
    grace.all_is_read().await;
    page.until(&format!("{}.hidden", DENTIST.find(".newest"))).await;
    DENTIST.unread(&mut page, &grace.session, 0).await;

    // A conversation without unread messages opens at its end.
    DENTIST.choose(&mut page, &ada.session).await;
    DENTIST.choose(&mut page, &grace.session).await;
    let list = DENTIST.find(".messages");
    let is_at_end = format!("{list}.scrollHeight - {list}.scrollTop - {list}.clientHeight < 2");
    page.until(&format!("{} && {is_at_end}", DENTIST.line(&format!("Line {MANY}")))).await;

    // The reader has scrolled up: the view must not move, and a new message counts as unread. The event
    // is dispatched here, because the browser's own might come after the message.
    let scroll = format!("{list}.scrollTop = 0; {list}.dispatchEvent(new Event('scroll'))");
    page.evaluate(&scroll).await;
    grace.send("Below").await;
    DENTIST.unread(&mut page, &grace.session, 1).await;
    assert_eq!(page.evaluate(&format!("{}.scrollTop", DENTIST.find(".messages"))).await, 0);
    assert_eq!(grace.read().await, MANY as u64);
    DENTIST.click(&mut page, ".newest").await;
    grace.all_is_read().await;

    // Another page covers this one. More messages arrive than fit, and the page shows them from the
    // first one.
    let mut elsewhere = browser.open("about:blank").await;
    elsewhere.show().await;
    page.until("document.visibilityState === 'hidden'").await;
    for number in 1..=MANY {
        grace.send(&format!("Behind {number}")).await;
    }
    page.until(&DENTIST.line(&format!("Behind {MANY}"))).await;
    assert_eq!(grace.read().await, MANY as u64 + 1);
    page.show().await;
    let read = grace.client.event("message:read").await["seq"].as_u64().unwrap();
    assert!((MANY as u64 + 2..2 * MANY as u64 - 5).contains(&read), "{read} were in view");
    DENTIST.click(&mut page, ".newest").await;
    grace.all_is_read().await;

    // On a phone the list replaces the conversation.
    page.window(390, 844).await;
    page.evaluate(&format!("{}.scrollIntoView()", DENTIST.find(".bar"))).await;
    DENTIST.click(&mut page, ".back").await;
    let focused = format!("document.activeElement === {}", DENTIST.entry(&grace.session));
    page.until(&focused).await;
    grace.send("Beside").await;
    DENTIST.unread(&mut page, &grace.session, 1).await;
    assert_eq!(grace.read().await, 2 * MANY as u64 + 1);
    DENTIST.choose(&mut page, &grace.session).await;
    grace.all_is_read().await;
    page.until(&format!("document.activeElement === {}", DENTIST.find(".messages"))).await;
    ada.send("Thank you").await;
    page.until(&format!("{}.ariaLabel === 'All conversations, 1 unread'", DENTIST.find(".back")))
        .await;
    browser.close().await;
}

#[tokio::test]
async fn the_list_tells_people_apart_and_shows_their_last_lines() {
    let (node, _dir) = start().await;
    let mut browser = Browser::start().await;
    let mut page = browser.open(&node.url("/")).await;
    page.until(BOTH_LIVE).await;
    let ids =
        ["5f0c9d1e-7a53-4a1f-9c11-2b6f0a9f3c12", "5f0c9d1e-7a53-4a1f-9c11-2b6f0a77e0b4", "p8"];
    let names = ["Patient 9f3c12", "Patient 77e0b4", "Patient p8"];
    let mut patients = Vec::new();
    for (id, name) in ids.into_iter().zip(names) {
        let mut patient = Patient::enter(&node, id).await;
        patient.send("Good morning").await;
        patient.send(&format!("I am <b>{name}</b>")).await;
        patients.push(patient);
    }
    for (patient, name) in patients.iter().zip(names) {
        let entry = DENTIST.entry(&patient.session);
        let part = |selector: &str| format!("{entry}.querySelector('{selector}').textContent");
        let last = format!("I am <b>{name}</b>");
        page.until(&format!("{} === {name:?} && {} === {last:?}", part(".name"), part(".last")))
            .await;
        let time = format!("new Date({entry}.querySelector('time').dateTime)");
        page.until(&format!("Date.now() - {time} < 600_000 && {}", part("time"))).await;
        DENTIST.unread(&mut page, &patient.session, 2).await;
        // The accessible name is the text of the entry, so it must not have an `aria-label`.
        assert!(page.evaluate(&format!("{entry}.ariaLabel")).await.is_null());
    }
    let order = format!(
        "[...{}.querySelectorAll('.session .name')].slice(0, 3).map(name => name.textContent).join()",
        DENTIST.find(".rail")
    );
    page.until(&format!("{order} === 'Patient p8,Patient 77e0b4,Patient 9f3c12'")).await;

    // The dentist's own reply becomes the last line, and a deleted text is not shown.
    DENTIST.choose(&mut page, &patients[0].session).await;
    page.until(&format!("{}.textContent === {:?}", DENTIST.find(".who"), names[0])).await;
    DENTIST.send(&mut page, "See you at three").await;
    let last =
        format!("{}.querySelector('.last').textContent", DENTIST.entry(&patients[0].session));
    page.until(&format!("{last} === 'You: See you at three'")).await;
    page.until(&format!("{order}.startsWith({:?})", names[0])).await;
    DENTIST.act(&mut page, "See you at three", "[data-action=remove]").await;
    page.until(&format!("{last} === 'You: Message deleted'")).await;
    browser.close().await;
}
