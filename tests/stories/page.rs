//! The web page of a node without configuration: both sides of a conversation, and all of its
//! functions.

mod cut;
mod sessions;

use std::path::Path;

use axum::{Router, http::header, routing::get};
use frontdesk_test_support::{Browser, Client, Http, Node, Page, eventually};
use serde_json::json;
use tempfile::TempDir;

use crate::FRONTDESK;

const SIDES: [&str; 2] = ["patient", "dentist"];
const BOTH_LIVE: &str = "document.querySelectorAll('.state.live').length === 2";

/// A server with a picture of each person.
async fn faces() -> String {
    let face = |colour: &str, hair: &str| {
        format!(
            "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 80 80'><rect width='80' height='80' \
             fill='{colour}'/><circle cx='40' cy='36' r='24' fill='{hair}'/><ellipse cx='40' cy='78' \
             rx='30' ry='22' fill='#fff' opacity='.85'/><circle cx='40' cy='40' r='17' fill='#f2c9a4'/>\
             <path d='M33 46q7 6 14 0' stroke='#a33' fill='none' stroke-width='2'/><circle cx='34' \
             cy='38' r='2'/><circle cx='46' cy='38' r='2'/></svg>"
        )
    };
    let serve =
        |svg: String| get(move || async { ([(header::CONTENT_TYPE, "image/svg+xml")], svg) });
    let router = Router::new()
        .route("/ada.svg", serve(face("#7fb4d9", "#5b3a1e")))
        .route("/dana.svg", serve(face("#8cc7a1", "#20232a")));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

async fn start() -> (Node, TempDir) {
    let (dir, faces) = (tempfile::tempdir().unwrap(), faces().await);
    let people = json!({
        "customer:demo-patient": { "name": "Ada Lovelace", "avatarUrl": format!("{faces}/ada.svg") },
        "dentist:1": { "name": "Dr. Dana Drill", "avatarUrl": format!("{faces}/dana.svg") },
        "dentist:2": "Dr. Theo Braces",
        "customer:grace": "Grace Hopper",
    });
    std::fs::write(dir.path().join("people.json"), people.to_string()).unwrap();
    let data = ("DATA_DIR".to_owned(), dir.path().to_str().unwrap().to_owned());
    (Node::start(FRONTDESK, &[data]).await, dir)
}

/// A development token of the node.
async fn token(node: &Node, kind: &str, id: &str) -> String {
    let ask = json!({ "kind": kind, "id": id });
    let issued = Http::new(node.address, None).post("/dev/token", &ask).await.expect(200);
    issued["token"].as_str().unwrap().to_owned()
}

/// A pane of the page.
#[derive(Clone, Copy)]
struct Pane(&'static str);

const PATIENT: Pane = Pane(SIDES[0]);
const DENTIST: Pane = Pane(SIDES[1]);

impl Pane {
    /// JavaScript expression of an element in the pane.
    fn find(self, selector: &str) -> String {
        format!("document.querySelector('#{} {selector}')", self.0)
    }

    /// JavaScript expression of the list item of a message.
    fn line(self, text: &str) -> String {
        format!(
            "[...document.querySelectorAll('#{} .messages li')]\
             .find(li => li.querySelector('.text')?.textContent === {text:?})",
            self.0
        )
    }

    /// JavaScript expression of the texts in the pane.
    fn texts(self) -> String {
        format!(
            "[...document.querySelectorAll('#{} .messages .text')].map(p => p.textContent).join('|')",
            self.0
        )
    }

    async fn click(self, page: &mut Page, selector: &str) {
        page.until(&self.find(selector)).await;
        page.evaluate(&format!("{}.click()", self.find(selector))).await;
    }

    /// Clicks a button in the menu of a message.
    async fn act(self, page: &mut Page, text: &str, button: &str) {
        let line = self.line(text);
        page.until(&line).await;
        page.evaluate(&format!("{line}.querySelector('summary').click()")).await;
        page.evaluate(&format!("{line}.querySelector('.actions {button}').click()")).await;
    }

    /// Types a text as a person does.
    async fn write(self, page: &mut Page, text: &str) {
        let script = format!(
            "(() => {{ const box = {}; box.value = {text:?}; \
             box.dispatchEvent(new Event('input', {{ bubbles: true }})) }})()",
            self.find("textarea")
        );
        page.evaluate(&script).await;
    }

    async fn send(self, page: &mut Page, text: &str) {
        self.write(page, text).await;
        page.evaluate(&format!("{}.requestSubmit()", self.find(".composer"))).await;
        page.until(&format!("{}.dataset.seq", self.line(text))).await;
    }
}

async fn both_show(page: &mut Page, all: &[&str]) {
    for pane in [PATIENT, DENTIST] {
        page.until(&format!("{} === {:?}", pane.texts(), all.join("|"))).await;
    }
}

#[tokio::test]
async fn a_newcomer_sees_two_people_talk_and_a_restart_loses_nothing() {
    let (mut node, _dir) = start().await;
    let link = node.url("/");
    eventually("the log contains a link to the page", async || {
        node.log().iter().any(|line| line.contains(&link))
    })
    .await;
    let mut browser = Browser::start().await;
    let mut page = browser.open(&link).await;
    page.until(BOTH_LIVE).await;
    people_are_shown(&mut page).await;

    PATIENT.write(&mut page, "Hel").await;
    page.until(&format!("{}.textContent === 'typing…'", DENTIST.find(".typing"))).await;
    let said = [
        "Hello, my crown came off. Can I come in today?",
        "Of course. Is there any pain?",
        "Only with cold drinks.",
    ];
    for (pane, text) in [PATIENT, DENTIST, PATIENT].into_iter().zip(said) {
        pane.send(&mut page, text).await;
    }
    both_show(&mut page, &said).await;
    page.until(
        "[...document.querySelectorAll('.mine .tick')].every(tick => tick.dataset.state === 'read')",
    )
    .await;

    // A message written while the node is down is sent after its restart.
    node.kill().await;
    page.until("document.querySelectorAll('.state.away').length === 2").await;
    let unsent = "Thank <b>you</b>!";
    PATIENT.write(&mut page, unsent).await;
    page.evaluate(&format!("{}.requestSubmit()", PATIENT.find(".composer"))).await;
    page.until(&format!("{}.matches('.unsent')", PATIENT.line(unsent))).await;
    node.restart().await;
    page.until(BOTH_LIVE).await;
    let all = [&said[..], &[unsent]].concat();
    both_show(&mut page, &all).await;
    page.until("document.querySelectorAll('.unsent').length === 0").await;
    assert_eq!(page.evaluate("document.querySelectorAll('.messages b').length").await, 0);

    page.reload().await;
    page.until(BOTH_LIVE).await;
    both_show(&mut page, &all).await;
    fits_and_is_named(&mut page).await;
    browser.close().await;
}

async fn people_are_shown(page: &mut Page) {
    for (pane, other) in [(PATIENT, "Dr. Dana Drill"), (DENTIST, "Ada Lovelace")] {
        page.until(&format!("{}.textContent === {other:?}", pane.find(".who"))).await;
        page.until(&format!("{}.naturalWidth > 0", pane.find(".face img"))).await;
    }
}

/// Checks that nothing is cut off in a narrow window, and that every control has an accessible name.
async fn fits_and_is_named(page: &mut Page) {
    page.window(360, 740).await;
    page.until("document.documentElement.scrollWidth <= 360").await;
    for selector in ["button", "input", "textarea", "summary"] {
        let nameless = format!(
            "[...document.querySelectorAll('{selector}')].filter(control => \
             !control.ariaLabel && !control.labels?.length && !control.textContent.trim()).length"
        );
        assert_eq!(page.evaluate(&nameless).await, 0, "{selector}");
    }
    page.window(1160, 720).await;
}

#[tokio::test]
async fn messages_are_answered_changed_reacted_to_and_illustrated() {
    let (node, _dir) = start().await;
    let mut browser = Browser::start().await;
    let mut page = browser.open(&node.url("/")).await;
    page.until(BOTH_LIVE).await;
    let question = "Of course. Is there any pain?";
    PATIENT.send(&mut page, "Hello, my crown came off. Can I come in today?").await;
    DENTIST.send(&mut page, question).await;

    // A reply quotes its message on both sides.
    PATIENT.act(&mut page, question, "[data-action=reply]").await;
    page.until(&format!("{}.textContent.includes({question:?})", PATIENT.find(".note"))).await;
    let answer = "Only wiht cold drinks.";
    PATIENT.send(&mut page, answer).await;
    for pane in [PATIENT, DENTIST] {
        let quote = format!("{}.querySelector('.quote').textContent", pane.line(answer));
        page.until(&format!("{quote} === {:?}", format!("Dr. Dana Drill{question}"))).await;
    }

    // The author can edit the message; others have no button for it.
    PATIENT.act(&mut page, answer, "[data-action=edit]").await;
    let mended = "Only with cold drinks.";
    PATIENT.send(&mut page, mended).await;
    let edited = format!("{}.querySelector('.when').textContent", DENTIST.line(mended));
    page.until(&format!("{edited}.startsWith('edited')")).await;
    for action in ["edit", "remove"] {
        let offered = format!("{}.querySelector('[data-action={action}]')", DENTIST.line(mended));
        assert!(page.evaluate(&offered).await.is_null(), "{action}");
    }

    // The same button adds and removes a reaction.
    DENTIST.act(&mut page, mended, "button").await;
    let reaction = |pane: Pane| format!("{}.querySelector('.reaction')", pane.line(mended));
    page.until(&format!("{}.textContent === '👍'", reaction(PATIENT))).await;
    page.until(&format!("{}.ariaPressed === 'true'", reaction(DENTIST))).await;
    assert_eq!(page.evaluate(&format!("{}.ariaPressed", reaction(PATIENT))).await, "false");
    page.evaluate(&format!("{}.click()", reaction(DENTIST))).await;
    page.until(&format!("!{}", reaction(PATIENT))).await;
    PATIENT.act(&mut page, question, "button:nth-child(5)").await;

    // A deleted message leaves a tombstone.
    DENTIST.send(&mut page, "Meant for someone else").await;
    DENTIST.act(&mut page, "Meant for someone else", "[data-action=remove]").await;
    for pane in [PATIENT, DENTIST] {
        page.until(&format!("{}.matches('.deleted')", pane.line("This message was deleted"))).await;
    }
    a_picture_is_sent(&mut page).await;
    DENTIST.send(&mut page, "I see. Come at three, we will cement it again.").await;
    in_a_crowd(&node, &mut page).await;
    browser.close().await;
}

async fn a_picture_is_sent(page: &mut Page) {
    let draw = format!(
        "new Promise(resolve => {{
            const canvas = document.createElement('canvas');
            [canvas.width, canvas.height] = [600, 400];
            const pen = canvas.getContext('2d');
            const dark = pen.createRadialGradient(300, 200, 40, 300, 200, 340);
            dark.addColorStop(0, '#5d7f96'); dark.addColorStop(1, '#0b1620');
            pen.fillStyle = dark; pen.fillRect(0, 0, 600, 400);
            pen.fillStyle = '#e8eef2'; pen.shadowColor = '#cfe6f5'; pen.shadowBlur = 40;
            const tooth = new Path2D('M200 110c40-40 70-10 100-10s60-30 100 10c30 40 0 100-15 140' +
                's-15 90-40 90-20-100-45-100-20 100-45 100-25-50-40-90-45-100-15-140z');
            pen.fill(tooth);
            canvas.toBlob(blob => {{
                const files = new DataTransfer();
                files.items.add(new File([blob], 'crown.png', {{ type: 'image/png' }}));
                const picker = {};
                picker.files = files.files;
                picker.dispatchEvent(new Event('change'));
                resolve();
            }});
        }})",
        PATIENT.find("input[type=file]")
    );
    page.evaluate(&draw).await;
    page.until(&format!("{}.naturalWidth === 600", PATIENT.find(".preview"))).await;
    PATIENT.send(page, "This is the one").await;
    for pane in [PATIENT, DENTIST] {
        let picture = format!("{}.querySelector('.thumbnail')", pane.line("This is the one"));
        page.until(&format!("{picture}.naturalWidth > 0")).await;
        assert_eq!(page.evaluate(&format!("{picture}.alt")).await, "crown.png");
    }
    let shown = "document.querySelector('#viewer img')";
    let thumbnail = DENTIST.line("This is the one");
    page.evaluate(&format!("{thumbnail}.querySelector('.picture').click()")).await;
    page.until(&format!("{shown}.naturalWidth === 600 && {shown}.closest('dialog').open")).await;
    page.evaluate("document.querySelector('#viewer button').click()").await;
    page.until(&format!("!{shown}.closest('dialog').open")).await;
    // As soon as a thumbnail exists, the message shows it.
    eventually("a thumbnail", async || {
        page.reload().await;
        let small = format!("{thumbnail}.querySelector('.thumbnail').naturalWidth");
        page.until(&format!("{small} > 0")).await;
        page.evaluate(&small).await == 320
    })
    .await;
    page.until(BOTH_LIVE).await;
}

/// Another patient writes to the dentist, who looks at another conversation; then tests the functions
/// for several conversations.
async fn in_a_crowd(node: &Node, page: &mut Page) {
    let token = token(node, "customer", "grace").await;
    let grace = Http::new(node.address, Some(&token));
    let opened = grace.post("/api/chats", &json!({ "dentistId": 1 })).await.expect(201);
    let session = opened["id"].as_str().unwrap().to_owned();
    let mut client = Client::connect(node.address, &token).await;
    client.join(&session, None).await;
    for (key, body) in [("1", "Good morning!"), ("2", "Do you have my x-ray of the molar?")] {
        client.send(&session, key, body).await;
    }
    let badge = DENTIST.find(".badge");
    page.until(&format!("{badge}.textContent === '2 unread'")).await;
    let there = "document.querySelectorAll('.face.online').length === 2";
    page.until(there).await;
    page.until("document.querySelector('#patient .presence').textContent === 'online'").await;
    let picture = Path::new(env!("CARGO_TARGET_TMPDIR")).join("page.png");
    page.window(1160, 850).await;
    page.screenshot(&picture).await;

    found(page).await;
    // The message is visible, so it counts as read.
    page.until(&format!("!{badge}")).await;
    let read = async |client: &mut Client| client.event("message:read").await["seq"].clone();
    assert_eq!(read(&mut client).await, 2);
    page.until(&DENTIST.find(".face.online")).await;
    drop(client);
    let away = format!("{}.textContent.startsWith('last seen')", DENTIST.find(".presence"));
    page.until(&away).await;

    DENTIST.click(page, ".mute").await;
    page.until(&format!("{}.ariaPressed === 'true'", DENTIST.find(".mute"))).await;
    assert_eq!(grace.get(&format!("/api/chats/{session}")).await.body["muted"], false);
    DENTIST.click(page, ".close").await;
    page.until(&format!("{}.disabled", DENTIST.find("textarea"))).await;
    assert_eq!(grace.get(&format!("/api/chats/{session}")).await.body["status"], "closed");
    DENTIST.click(page, ".close").await;
    page.until(&format!("!{}.disabled", DENTIST.find("textarea"))).await;

    // The patient writes to another dentist.
    PATIENT.click(page, ".rail .new").await;
    page.evaluate("document.querySelector('#opener input').value = '2'").await;
    page.evaluate("document.querySelector('#opener [value=open]').click()").await;
    page.until(&format!("{}.textContent === 'Dr. Theo Braces'", PATIENT.find(".who"))).await;
    page.until(&format!("{} === ''", PATIENT.texts())).await;
    PATIENT.send(page, "Do you do braces?").await;
    let ticks = format!("{}.dataset.state === 'sent'", PATIENT.find(".mine .tick"));
    page.until(&ticks).await;
}

/// The dentist finds a message of another conversation by a word, and opens it.
async fn found(page: &mut Page) {
    DENTIST.click(page, ".find").await;
    let ask = format!(
        "(() => {{ const box = {}; box.value = 'MOLAR'; \
         box.dispatchEvent(new Event('input', {{ bubbles: true }})) }})()",
        DENTIST.find(".search input")
    );
    page.evaluate(&ask).await;
    page.until(&format!("{}.textContent === 'molar'", DENTIST.find(".results mark"))).await;
    DENTIST.click(page, ".results button").await;
    page.until(&format!("{}.textContent === 'Grace Hopper'", DENTIST.find(".who"))).await;
    page.until(&DENTIST.find(".found")).await;
}
