//! A push service that speaks OneSignal's `POST /notifications`, and misbehaves on command.

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

/// The key that the service takes.
const KEY: &str = "os-key-that-only-the-tests-know";
/// The app whose pushes it makes.
const APP: &str = "8250eaf6-1a58-489e-b136-7c74a864b434";

/// How it answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mood {
    /// As it should.
    Well,
    /// It makes the push, and the answer is lost.
    Forgetful,
    /// With this status; it quotes what it was sent, as services do.
    Failing(u16),
    /// With 429, and so many seconds to wait.
    Busy(u64),
    /// With 200 and something that is no answer.
    Talking(&'static str),
    /// Not at all, until its mood changes.
    Hanging,
}

/// A push that was made.
#[derive(Clone, Debug)]
pub struct Push {
    /// For whom, by external id.
    pub to: String,
    /// What was asked for, as it came.
    pub asked: Value,
}

/// The service.
#[derive(Debug)]
pub struct OneSignal {
    /// What a node is told as `ONESIGNAL_BASE_URL`.
    pub url: String,
    desk: Arc<Desk>,
}

#[derive(Debug)]
struct Desk {
    mood: watch::Sender<Mood>,
    /// Every request that it took the key of, in the order in which they came.
    asked: Mutex<Vec<Value>>,
    made: Mutex<Vec<Push>>,
    /// What the first request with each idempotency key made.
    answered: Mutex<HashMap<String, Value>>,
}

impl OneSignal {
    /// Starts the service, in the best of moods.
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

    /// What a node is told to use it.
    #[must_use]
    pub fn variables(&self) -> [(&str, &str); 4] {
        [
            ("ONESIGNAL_APP_ID", APP),
            ("ONESIGNAL_API_KEY", KEY),
            ("ONESIGNAL_BASE_URL", &self.url),
            ("PUSH_DELAY_MS", "300"),
        ]
    }

    /// From here on it answers so; whatever hangs is answered so too.
    pub fn be(&self, mood: Mood) {
        self.desk.mood.send_replace(mood);
    }

    /// Every request so far, in order.
    #[must_use]
    pub fn asked(&self) -> Vec<Value> {
        self.desk.asked.lock().unwrap().clone()
    }

    /// How many pushes were made so far.
    #[must_use]
    pub fn made_so_far(&self) -> usize {
        self.desk.made.lock().unwrap().len()
    }

    /// The pushes to someone so far, in order.
    #[must_use]
    pub fn made_to(&self, id: &str) -> Vec<Push> {
        let made = self.desk.made.lock().unwrap();
        made.iter().filter(|push| push.to == id).cloned().collect()
    }
}

impl Push {
    /// Its heading.
    #[must_use]
    pub fn title(&self) -> &str {
        self.asked["headings"]["en"].as_str().unwrap()
    }

    /// What it says.
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
    // Its mood when it was asked: whoever sees the request may change it at once.
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
        Mood::Hanging => unreachable!("it was waited for"),
    }
}

impl Desk {
    /// Makes a push, or finds the one that this idempotency key made before.
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
