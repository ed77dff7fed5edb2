//! A minimal client of either framing.

use std::{collections::VecDeque, net::SocketAddr, time::Duration};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Error, Message, client::IntoClientRequest, protocol::frame::coding::CloseCode},
};

use crate::PATIENCE;

/// Framing that a client uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// JSON on `/ws`.
    Native,
    /// Socket.IO on a WebSocket from the start.
    SocketIo,
}

/// Events about state (presence, session summary, delivery) that arrive some time after the change.
pub const AMBIENT: [&str; 3] = ["presence", "session:updated", "message:delivered"];

/// One connection.
#[derive(Debug)]
pub struct Client {
    /// The socket, for a test that sends odd frames.
    pub socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// Time limit of each wait for a frame.
    pub patience: Duration,
    framing: Framing,
    next_id: u64,
    /// Events and replies that arrived during a wait for something else.
    events: VecDeque<Value>,
    closed: Option<u16>,
}

/// Opens a connection with additional headers; the server may refuse the handshake.
pub async fn try_connect(
    address: SocketAddr,
    path: &str,
    headers: &[(&'static str, &str)],
) -> Result<Client, Box<Error>> {
    connect_within(PATIENCE, address, path, headers).await
}

/// Like [`try_connect`], with another time limit for the handshake and for every later wait.
pub async fn connect_within(
    patience: Duration,
    address: SocketAddr,
    path: &str,
    headers: &[(&'static str, &str)],
) -> Result<Client, Box<Error>> {
    let mut request = format!("ws://{address}{path}").into_client_request().unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    let connecting = timeout(patience, connect_async(request)).await.expect("no handshake");
    let (socket, _) = connecting.map_err(Box::new)?;
    let framing = Framing::Native;
    Ok(Client { socket, patience, framing, next_id: 1, events: VecDeque::new(), closed: None })
}

impl Client {
    /// Connects with a token.
    pub async fn connect(address: SocketAddr, token: &str) -> Self {
        let bearer = format!("Bearer {token}");
        try_connect(address, "/ws", &[("authorization", &bearer)]).await.unwrap()
    }

    /// Connects with a token, in either framing.
    pub async fn connect_by(framing: Framing, address: SocketAddr, token: &str) -> Self {
        Self::try_connect_by(framing, address, token).await.expect("no connection")
    }

    /// Like [`Client::connect_by`]; `None` when the connection is refused or breaks off.
    pub async fn try_connect_by(
        framing: Framing,
        address: SocketAddr,
        token: &str,
    ) -> Option<Self> {
        if framing == Framing::Native {
            let bearer = format!("Bearer {token}");
            return try_connect(address, "/ws", &[("authorization", &bearer)]).await.ok();
        }
        let path = "/socket.io/?EIO=4&transport=websocket";
        let mut client = try_connect(address, path, &[]).await.ok()?;
        client.framing = framing;
        let enter = format!("40{}", json!({ "token": token }));
        client.socket.send(Message::text(enter)).await.ok()?;
        loop {
            let text = client.text().await?;
            if text.starts_with("40") {
                return Some(client);
            }
            if text.starts_with("44") {
                return None;
            }
        }
    }

    /// Sends a request and waits for its reply: the data or the error.
    pub async fn request(&mut self, event: &str, data: Value) -> Result<Value, Value> {
        let id = self.ask(event, &data).await;
        self.answer(id).await
    }

    /// Sends a request; its id is the argument of [`Client::answer`].
    pub async fn ask(&mut self, event: &str, data: &Value) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        let frame = self.written(Some(id), event, data);
        self.frame(&frame).await;
        id
    }

    fn written(&self, id: Option<u64>, event: &str, data: &Value) -> String {
        match (self.framing, id) {
            (Framing::Native, Some(id)) => {
                json!({ "id": id, "event": event, "data": data }).to_string()
            }
            (Framing::Native, None) => json!({ "event": event, "data": data }).to_string(),
            (Framing::SocketIo, Some(id)) => format!("42{id}{}", json!([event, data])),
            (Framing::SocketIo, None) => format!("42{}", json!([event, data])),
        }
    }

    /// Waits for the reply to a request.
    pub async fn answer(&mut self, id: u64) -> Result<Value, Value> {
        let mut frame = self.wait(&format!("an answer to {id}"), |frame| frame["id"] == id).await;
        if frame["ok"] == true { Ok(frame["data"].take()) } else { Err(frame["error"].take()) }
    }

    /// Sends a request and returns the reply's data; `None` on an error or when the connection ends
    /// first.
    pub async fn try_request(&mut self, event: &str, data: &Value) -> Option<Value> {
        let id = self.try_ask(event, data).await?;
        let mut answer = self.try_wait("an answer", |frame| frame["id"] == id).await?;
        (answer["ok"] == true).then(|| answer["data"].take())
    }

    /// Sends a request and returns its id; `None` when the connection is gone.
    pub async fn try_ask(&mut self, event: &str, data: &Value) -> Option<u64> {
        let id = self.next_id;
        self.next_id += 1;
        let text = self.written(Some(id), event, data);
        self.socket.send(Message::text(text)).await.ok()?;
        Some(id)
    }

    /// The next `message:new`; `None` when the connection ends first.
    pub async fn try_message(&mut self) -> Option<Value> {
        let fits = |frame: &Value| frame["event"] == "message:new";
        Some(self.try_wait("message:new", fits).await?["data"]["message"].take())
    }

    /// Replies that arrived so far and were not taken.
    pub fn answers_so_far(&mut self) -> Vec<Value> {
        let (answers, events) = self.events.drain(..).partition(|frame| frame["id"].is_u64());
        self.events = events;
        Vec::from_iter::<VecDeque<Value>>(answers)
    }

    /// Waits for the next reply to any request.
    pub async fn any_answer(&mut self) -> Value {
        self.wait("an answer", |frame| frame["id"].is_u64()).await
    }

    /// The first matching frame, of those received and those to come; the others are kept.
    async fn wait(&mut self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let frame = self.try_wait(what, fits).await;
        frame.unwrap_or_else(|| panic!("closed with {:?} before {what}", self.closed))
    }

    async fn try_wait(&mut self, what: &str, fits: impl Fn(&Value) -> bool) -> Option<Value> {
        if let Some(at) = self.events.iter().position(&fits) {
            return self.events.remove(at);
        }
        let patience = self.patience;
        let waiting = async {
            loop {
                let frame = self.next().await?;
                if fits(&frame) {
                    return Some(frame);
                }
                self.events.push_back(frame);
            }
        };
        timeout(patience, waiting).await.unwrap_or_else(|_| panic!("never: {what}"))
    }

    /// Sends an event that expects no reply.
    pub async fn say(&mut self, event: &str, data: &Value) {
        let frame = self.written(None, event, data);
        self.frame(&frame).await;
    }

    /// Sends any text frame.
    pub async fn frame(&mut self, text: &str) {
        self.socket.send(Message::text(text)).await.unwrap();
    }

    /// Waits for the next event of this name; other frames are kept.
    pub async fn event(&mut self, name: &str) -> Value {
        self.wait(name, |frame| frame["event"] == name).await["data"].take()
    }

    /// The next event of this name; `None` when the connection ends or half the time limit passes.
    pub async fn try_event(&mut self, name: &str) -> Option<Value> {
        let patience = self.patience;
        let waiting = self.try_wait(name, |frame| frame["event"] == name);
        timeout(patience / 2, waiting).await.ok().flatten()
    }

    /// Waits for the next `message:new` and returns its message.
    pub async fn message(&mut self) -> Value {
        self.event("message:new").await["message"].take()
    }

    /// Events received and not taken yet, after a round trip to the server; without the [`AMBIENT`]
    /// events, whose time of arrival is not determined.
    pub async fn events_so_far(&mut self) -> Vec<Value> {
        // The reply comes after everything that was enqueued before it.
        drop(self.request("no:such:event", json!({})).await);
        let ambient = |event: &Value| AMBIENT.iter().any(|name| event["event"] == *name);
        self.events.drain(..).filter(|event| !ambient(event)).collect()
    }

    /// Events of this name that were received and not taken.
    #[must_use]
    pub fn events_of(&self, name: &str) -> Vec<Value> {
        self.events.iter().filter(|event| event["event"] == name).cloned().collect()
    }

    /// Joins a session.
    pub async fn join(&mut self, session_id: &str, after: Option<u64>) -> Value {
        let mut data = json!({ "sessionId": session_id });
        if let Some(after) = after {
            data["after"] = after.into();
        }
        self.request("session:join", data).await.unwrap()
    }

    /// Sends a text, waits for its acknowledgement and returns the message.
    pub async fn send(&mut self, session_id: &str, client_id: &str, body: &str) -> Value {
        let text = json!({
            "sessionId": session_id, "clientId": client_id, "kind": "text", "body": body,
        });
        self.request("message:send", text).await.unwrap()["message"].take()
    }

    /// Waits until the server closes the connection and returns the close code; 1006 without a
    /// close frame.
    pub async fn closed(&mut self) -> u16 {
        let waiting = async {
            while let Some(event) = self.next().await {
                self.events.push_back(event);
            }
        };
        timeout(PATIENCE, waiting).await.expect("the connection stays open");
        self.closed.unwrap_or(1006)
    }

    /// Reads frames, and so answers pings, while another future runs; the frames are kept.
    pub async fn listen_while<T>(&mut self, other: impl Future<Output = T>) -> T {
        let listening = async {
            while let Some(frame) = self.next().await {
                self.events.push_back(frame);
            }
            std::future::pending::<T>().await
        };
        tokio::select! {
            done = other => done,
            done = listening => done,
        }
    }

    /// The next frame in the shape of the native framing; `None` when the connection has ended.
    pub async fn next(&mut self) -> Option<Value> {
        loop {
            let text = self.text().await?;
            if self.framing == Framing::Native {
                return Some(serde_json::from_str(&text).unwrap());
            }
            if text == "2" {
                self.socket.send(Message::text("3")).await.ok()?;
            } else if text.starts_with(r#"42["session:offset""#) {
                // The library of the client consumes it; the app never sees it.
            } else if let Some(event) = text.strip_prefix("42") {
                let mut event: Value = serde_json::from_str(event).unwrap();
                return Some(json!({ "event": event[0].take(), "data": event[1].take() }));
            } else if let Some(answer) = text.strip_prefix("43") {
                let (id, answer) = answer.split_at(answer.find('[').unwrap());
                let mut answer: Value = serde_json::from_str::<Value>(answer).unwrap()[0].take();
                answer["id"] = id.parse().unwrap();
                return Some(answer);
            }
        }
    }

    /// The next text frame, undecoded.
    pub async fn text(&mut self) -> Option<String> {
        loop {
            match self.socket.next().await? {
                Ok(Message::Text(text)) => return Some(text.to_string()),
                Ok(Message::Close(frame)) => {
                    self.closed = Some(frame.map_or(1005, |frame| match frame.code {
                        CloseCode::Library(code) => code,
                        code => code.into(),
                    }));
                }
                Ok(_) => {}
                Err(_) => return None,
            }
        }
    }
}
