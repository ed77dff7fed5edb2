//! A client of either framing, as thin as can be.

use std::{collections::VecDeque, net::SocketAddr, time::Duration};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Error, Message, client::IntoClientRequest, protocol::frame::coding::CloseCode},
};

use crate::PATIENCE;

/// How a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// JSON on `/ws`.
    Native,
    /// Socket.IO on a WebSocket from the start.
    SocketIo,
}

/// Events that tell how things stand, and come some time after they have changed.
pub const AMBIENT: [&str; 3] = ["presence", "session:updated", "message:delivered"];

/// One connection.
#[derive(Debug)]
pub struct Client {
    /// The socket, for a test that sends odd frames.
    pub socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    /// How long it waits for what is to come.
    pub patience: Duration,
    framing: Framing,
    next_id: u64,
    /// Events and answers that came while something else was waited for.
    events: VecDeque<Value>,
    closed: Option<u16>,
}

/// Opens a connection, with further headers; the handshake may be refused.
pub async fn try_connect(
    address: SocketAddr,
    path: &str,
    headers: &[(&'static str, &str)],
) -> Result<Client, Box<Error>> {
    connect_within(PATIENCE, address, path, headers).await
}

/// The same with another patience, for the handshake and for everything that the client waits for.
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

    /// The same; nothing where it is refused or breaks off.
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

    /// Sends a request and waits for its answer: the data, or the error.
    pub async fn request(&mut self, event: &str, data: Value) -> Result<Value, Value> {
        let id = self.ask(event, &data).await;
        self.answer(id).await
    }

    /// Sends a request; its id is for [`Client::answer`].
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

    /// Waits for the answer to a request.
    pub async fn answer(&mut self, id: u64) -> Result<Value, Value> {
        let mut frame = self.wait(&format!("an answer to {id}"), |frame| frame["id"] == id).await;
        if frame["ok"] == true { Ok(frame["data"].take()) } else { Err(frame["error"].take()) }
    }

    /// Sends a request; the answer's data, or nothing where the connection went first.
    pub async fn try_request(&mut self, event: &str, data: &Value) -> Option<Value> {
        let id = self.try_ask(event, data).await?;
        let mut answer = self.try_wait("an answer", |frame| frame["id"] == id).await?;
        (answer["ok"] == true).then(|| answer["data"].take())
    }

    /// Sends a request: its id, or nothing where the connection is gone.
    pub async fn try_ask(&mut self, event: &str, data: &Value) -> Option<u64> {
        let id = self.next_id;
        self.next_id += 1;
        let text = self.written(Some(id), event, data);
        self.socket.send(Message::text(text)).await.ok()?;
        Some(id)
    }

    /// The next `message:new`, or nothing where the connection went first.
    pub async fn try_message(&mut self) -> Option<Value> {
        let fits = |frame: &Value| frame["event"] == "message:new";
        Some(self.try_wait("message:new", fits).await?["data"]["message"].take())
    }

    /// The answers that came and were not asked for.
    pub fn answers_so_far(&mut self) -> Vec<Value> {
        let (answers, events) = self.events.drain(..).partition(|frame| frame["id"].is_u64());
        self.events = events;
        Vec::from_iter::<VecDeque<Value>>(answers)
    }

    /// Waits for the next answer, whatever it answers.
    pub async fn any_answer(&mut self) -> Value {
        self.wait("an answer", |frame| frame["id"].is_u64()).await
    }

    /// The first frame that fits, among those that came and those that come; others stay for later.
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

    /// Sends an event that has no answer.
    pub async fn say(&mut self, event: &str, data: &Value) {
        let frame = self.written(None, event, data);
        self.frame(&frame).await;
    }

    /// Sends any text frame.
    pub async fn frame(&mut self, text: &str) {
        self.socket.send(Message::text(text)).await.unwrap();
    }

    /// Waits for the next event of this name; others stay for later.
    pub async fn event(&mut self, name: &str) -> Value {
        self.wait(name, |frame| frame["event"] == name).await["data"].take()
    }

    /// The next event of this name, or nothing where none comes in time.
    pub async fn try_event(&mut self, name: &str) -> Option<Value> {
        let patience = self.patience;
        let waiting = self.try_wait(name, |frame| frame["event"] == name);
        timeout(patience / 2, waiting).await.ok().flatten()
    }

    /// Waits for the next `message:new` and gives its message.
    pub async fn message(&mut self) -> Value {
        self.event("message:new").await["message"].take()
    }

    /// Events that came and were not asked for yet, once everything sent before has been answered;
    /// without those that come in their own time, whatever one does ([`AMBIENT`]).
    pub async fn events_so_far(&mut self) -> Vec<Value> {
        // Answers come in order behind what was enqueued before them.
        drop(self.request("no:such:event", json!({})).await);
        let ambient = |event: &Value| AMBIENT.iter().any(|name| event["event"] == *name);
        self.events.drain(..).filter(|event| !ambient(event)).collect()
    }

    /// Events of this name that came so far and were not asked for.
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

    /// Sends a text and waits for its acknowledgement: the message.
    pub async fn send(&mut self, session_id: &str, client_id: &str, body: &str) -> Value {
        let text = json!({
            "sessionId": session_id, "clientId": client_id, "kind": "text", "body": body,
        });
        self.request("message:send", text).await.unwrap()["message"].take()
    }

    /// Waits until the server has closed the connection, and gives its code; 1006 where it is cut.
    pub async fn closed(&mut self) -> u16 {
        let waiting = async {
            while let Some(event) = self.next().await {
                self.events.push_back(event);
            }
        };
        timeout(PATIENCE, waiting).await.expect("the connection stays open");
        self.closed.unwrap_or(1006)
    }

    /// Reads, and so answers pings, for as long as something else takes; what comes stays for later.
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

    /// The next frame, as the native framing has it; `None` where the connection has ended.
    pub async fn next(&mut self) -> Option<Value> {
        loop {
            let text = self.text().await?;
            if self.framing == Framing::Native {
                return Some(serde_json::from_str(&text).unwrap());
            }
            if text == "2" {
                self.socket.send(Message::text("3")).await.ok()?;
            } else if text.starts_with(r#"42["session:offset""#) {
                // For the client's library, not for its app.
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

    /// The next text frame, as it came.
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
