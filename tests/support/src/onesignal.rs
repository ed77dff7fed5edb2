//! A push service with OneSignal's `POST /notifications`, which misbehaves on command.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use serde_json::{Value, json};
use tokio::sync::watch;

/// API key that the service accepts.
const KEY: &str = "os-key-that-only-the-tests-know";
/// App id that the service accepts.
const APP: &str = "8250eaf6-1a58-489e-b136-7c74a864b434";

/// Response of the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mood {
    /// Makes the push and confirms it.
    Well,
    /// Makes the push, but its response is lost: 502.
    Forgetful,
    /// Fails with this status; the body quotes the request, as real services do.
    Failing(u16),
    /// Fails with 429 and this `Retry-After`, in seconds.
    Busy(u64),
    /// 200 with a body that is no valid response.
    Talking(&'static str),
    /// Sends no response until the mood changes.
    Hanging,
}

/// A push that was made.
#[derive(Clone, Debug)]
pub struct Push {
    /// External id of the recipient.
    pub to: String,
    /// The request.
    pub asked: Value,
}

/// The service.
#[derive(Debug)]
pub struct OneSignal {
    /// Value of `ONESIGNAL_BASE_URL`.
    pub url: String,
    desk: Arc<Desk>,
}

#[derive(Debug)]
struct Desk {
    mood: watch::Sender<Mood>,
    /// Every request with a valid key, in order of arrival.
    asked: Mutex<Vec<Value>>,
    made: Mutex<Vec<Push>>,
    /// Response to the first request of each idempotency key.
    answered: Mutex<HashMap<String, Value>>,
}

impl OneSignal {
    /// Starts the service, which answers well.
    pub async fn start() -> Self {
        let desk = Arc::new(Desk {
            mood: watch::Sender::new(Mood::Well),
            asked: Mutex::default(),
            made: Mutex::default(),
            answered: Mutex::default(),
        });
        let router =
            Router::new().route("/notifications", post(answer)).with_state(Arc::clone(&desk));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address: SocketAddr = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url: format!("http://{address}"), desk }
    }

    /// Variables of a node that uses this service.
    #[must_use]
    pub fn variables(&self) -> [(&str, &str); 4] {
        [
            ("ONESIGNAL_APP_ID", APP),
            ("ONESIGNAL_API_KEY", KEY),
            ("ONESIGNAL_BASE_URL", &self.url),
            ("PUSH_DELAY_MS", "300"),
        ]
    }

    /// Sets the response to later requests; hanging requests get it too.
    pub fn be(&self, mood: Mood) {
        self.desk.mood.send_replace(mood);
    }

    /// All requests so far, in order.
    #[must_use]
    pub fn asked(&self) -> Vec<Value> {
        self.desk.asked.lock().unwrap().clone()
    }

    /// Number of pushes made so far.
    #[must_use]
    pub fn made_so_far(&self) -> usize {
        self.desk.made.lock().unwrap().len()
    }

    /// Pushes to this person so far, in order.
    #[must_use]
    pub fn made_to(&self, id: &str) -> Vec<Push> {
        let made = self.desk.made.lock().unwrap();
        made.iter().filter(|push| push.to == id).cloned().collect()
    }
}

impl Push {
    /// Heading.
    #[must_use]
    pub fn title(&self) -> &str {
        self.asked["headings"]["en"].as_str().unwrap()
    }

    /// Text.
    #[must_use]
    pub fn text(&self) -> &str {
        self.asked["contents"]["en"].as_str().unwrap()
    }
}

async fn answer(
    State(desk): State<Arc<Desk>>,
    headers: HeaderMap,
    Json(asked): Json<Value>,
) -> Response {
    let key = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    if key != Some(&format!("Key {KEY}")) || asked["app_id"] != APP {
        return (StatusCode::FORBIDDEN, Json(json!({ "errors": ["no such key"] }))).into_response();
    }
    // The mood is read before the request is visible to the test, which may change it at once.
    let mut mood = desk.mood.borrow().clone();
    desk.asked.lock().unwrap().push(asked.clone());
    if mood == Mood::Hanging {
        let mut moods = desk.mood.subscribe();
        mood = moods.wait_for(|mood| *mood != Mood::Hanging).await.unwrap().clone();
    }
    match mood {
        Mood::Well => Json(desk.make(&asked)).into_response(),
        Mood::Forgetful => {
            desk.make(&asked);
            StatusCode::BAD_GATEWAY.into_response()
        }
        Mood::Failing(status) => {
            let status = StatusCode::from_u16(status).unwrap();
            (status, Json(json!({ "errors": [asked.to_string()] }))).into_response()
        }
        Mood::Busy(seconds) => {
            let wait = [(header::RETRY_AFTER, seconds.to_string())];
            let error = json!({ "errors": ["API rate limit exceeded."] });
            (StatusCode::TOO_MANY_REQUESTS, wait, Json(error)).into_response()
        }
        Mood::Talking(nonsense) => nonsense.into_response(),
        Mood::Hanging => unreachable!("the wait ends when the mood changes"),
    }
}

impl Desk {
    /// Makes a push, or returns the response to the earlier request with this idempotency key.
    fn make(&self, asked: &Value) -> Value {
        let key = asked["idempotency_key"].as_str().expect("no idempotency key").to_owned();
        let mut answered = self.answered.lock().unwrap();
        let answer = answered.entry(key).or_insert_with(|| {
            assert_eq!(asked["target_channel"], "push");
            let to = asked["include_aliases"]["external_id"][0].as_str().unwrap().to_owned();
            self.made.lock().unwrap().push(Push { to, asked: asked.clone() });
            json!({ "id": uuid::Uuid::now_v7(), "external_id": null })
        });
        answer.clone()
    }
}
