//! A headless Chromium, driven by the DevTools protocol
//! (<https://chromedevtools.github.io/devtools-protocol/>).

use std::{path::Path, process::Stdio};

use base64::{Engine, prelude::BASE64_STANDARD};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    net::TcpStream,
    process::{Child, Command},
    time::timeout,
};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async, tungstenite::Message};

use crate::{PATIENCE, eventually};

/// A Chromium process; dropping it kills the process.
#[derive(Debug)]
pub struct Browser {
    port: u16,
    control: Devtools,
    child: Child,
    _profile: TempDir,
}

/// A page of the browser.
#[derive(Debug)]
pub struct Page(Devtools);

#[derive(Debug)]
struct Devtools {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    next_id: u64,
}

impl Browser {
    /// Starts a browser with a fresh profile.
    pub async fn start() -> Self {
        let profile = tempfile::tempdir().unwrap();
        let mut child = Command::new("chromium")
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"])
            .args(["--no-first-run", "--disable-background-networking"])
            .args(["--disable-component-update", "--disable-sync", "--hide-scrollbars"])
            .args(["--window-size=1160,720", "--remote-debugging-port=0"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("chromium is not installed: scripts/test installs it");
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let listening = async {
            loop {
                let line = lines.next_line().await.unwrap().expect("chromium ended");
                if let Some(url) = line.strip_prefix("DevTools listening on ") {
                    return url.to_owned();
                }
            }
        };
        let url = timeout(PATIENCE, listening).await.expect("chromium does not start");
        // Chromium keeps writing to stderr and blocks once the pipe is full, so it is read to the
        // end.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let port = url.split([':', '/']).nth(4).unwrap().parse().unwrap();
        let control = Devtools::connect(&url).await;
        Self { port, control, child, _profile: profile }
    }

    /// Closes the browser in an orderly way, so that it leaves no files behind when its profile is
    /// deleted.
    pub async fn close(mut self) {
        self.control.call("Browser.close", json!({})).await;
        timeout(PATIENCE, self.child.wait()).await.expect("chromium does not end").unwrap();
    }

    /// Opens a page.
    pub async fn open(&mut self, url: &str) -> Page {
        let target = self.control.call("Target.createTarget", json!({ "url": url })).await;
        let id = target["targetId"].as_str().unwrap();
        Page(Devtools::connect(&format!("ws://127.0.0.1:{}/devtools/page/{id}", self.port)).await)
    }
}

impl Page {
    /// Evaluates an expression in the page and returns its value.
    pub async fn evaluate(&mut self, expression: &str) -> Value {
        let ask = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let mut answer = self.0.call("Runtime.evaluate", ask).await;
        let failed = &answer["exceptionDetails"];
        assert!(failed.is_null(), "{expression}: {failed}");
        answer["result"]["value"].take()
    }

    /// Waits until an expression is true.
    pub async fn until(&mut self, expression: &str) {
        eventually(expression, async || {
            let guarded =
                format!("(() => {{ try {{ return Boolean({expression}) }} catch {{}} }})()");
            self.evaluate(&guarded).await == true
        })
        .await;
    }

    /// Navigates to a URL and runs a script there before any other script.
    pub async fn go(&mut self, url: &str, first: &str) {
        self.0.call("Page.enable", json!({})).await;
        let script = json!({ "source": first });
        self.0.call("Page.addScriptToEvaluateOnNewDocument", script).await;
        self.0.call("Page.navigate", json!({ "url": url })).await;
    }

    /// Reloads the page.
    pub async fn reload(&mut self) {
        self.0.call("Page.reload", json!({})).await;
    }

    /// Brings the page to the front, which hides the browser's other pages, as opening a page does.
    pub async fn show(&mut self) {
        self.0.call("Page.bringToFront", json!({})).await;
    }

    /// Sets the size of the window, in pixels.
    pub async fn window(&mut self, width: u32, height: u32) {
        let size =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.0.call("Emulation.setDeviceMetricsOverride", size).await;
    }

    /// Writes a screenshot as a PNG file.
    pub async fn screenshot(&mut self, path: &Path) {
        let picture = self.0.call("Page.captureScreenshot", json!({ "format": "png" })).await;
        let png = BASE64_STANDARD.decode(picture["data"].as_str().unwrap()).unwrap();
        std::fs::write(path, png).unwrap();
    }
}

impl Devtools {
    async fn connect(url: &str) -> Self {
        let (socket, _) = timeout(PATIENCE, connect_async(url)).await.unwrap().unwrap();
        Self { socket, next_id: 1 }
    }

    async fn call(&mut self, method: &str, params: Value) -> Value {
        let id = self.next_id;
        self.next_id += 1;
        let call = json!({ "id": id, "method": method, "params": params });
        self.socket.send(Message::text(call.to_string())).await.unwrap();
        let answering = async {
            loop {
                let frame = self.socket.next().await.expect("the page is gone").unwrap();
                let Message::Text(text) = frame else { continue };
                let mut answer: Value = serde_json::from_str(&text).unwrap();
                if answer["id"] == id {
                    assert!(answer["error"].is_null(), "{method}: {answer}");
                    return answer["result"].take();
                }
            }
        };
        timeout(PATIENCE, answering).await.unwrap_or_else(|_| panic!("no answer to {method}"))
    }
}
