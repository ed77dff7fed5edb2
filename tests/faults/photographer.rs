//! A person who sends pictures over HTTP and retries each until it is acknowledged.

use std::{
    io::Cursor,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use frontdesk_test_support::Person;
use image::{DynamicImage, ImageFormat, RgbImage};
use rand::{RngExt, rngs::StdRng};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tokio::{sync::watch, time::sleep};

use crate::{
    device::{Phase, Progress},
    history::{Fact, Recorder, Told},
};

/// Time limit of each request.
const PATIENCE: Duration = Duration::from_secs(10);
/// Pause between two attempts, and between two pictures.
const PAUSE: Duration = Duration::from_millis(500);

pub(crate) struct Photographer {
    pub(crate) number: usize,
    pub(crate) person: Person,
    pub(crate) session: String,
    pub(crate) nodes: Arc<Vec<SocketAddr>>,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) progress: Arc<Mutex<Vec<Progress>>>,
    pub(crate) phase: watch::Receiver<Phase>,
    pub(crate) rng: StdRng,
}

impl Photographer {
    /// Sends pictures one after the other during [`Phase::Talk`].
    pub(crate) async fn run(mut self) {
        let client = Client::builder().timeout(PATIENCE).build().unwrap();
        let mut picture = Cursor::new(Vec::new());
        let red = RgbImage::from_pixel(8, 8, image::Rgb([200, 30, 30]));
        DynamicImage::from(red).write_to(&mut picture, ImageFormat::Png).unwrap();
        let picture = picture.into_inner();
        for number in 1_u64.. {
            if *self.phase.borrow() != Phase::Talk {
                return;
            }
            let key = format!("{}-{number}", self.number);
            self.progress.lock().unwrap()[self.number].open = 1;
            while self.send(&client, &key, &picture).await.is_none() {
                if *self.phase.borrow() == Phase::End {
                    return;
                }
                sleep(PAUSE).await;
            }
            self.progress.lock().unwrap()[self.number].open = 0;
            sleep(PAUSE).await;
        }
    }

    /// One complete attempt; `None` if a step fails.
    async fn send(&mut self, client: &Client, key: &str, picture: &[u8]) -> Option<()> {
        let wanted = json!({ "contentType": "image/png", "size": picture.len() });
        let (_, invited) = self.post(client, "images", &wanted).await?;
        let upload = &invited["upload"];
        let mut request = client.put(upload["url"].as_str()?).body(picture.to_vec());
        for (name, value) in upload["headers"].as_object()? {
            if name != "content-length" {
                request = request.header(name, value.as_str()?);
            }
        }
        if !request.send().await.ok()?.status().is_success() {
            return None;
        }
        let message = json!({ "clientId": key, "kind": "image", "imageKey": invited["imageKey"] });
        let (session, key) = (self.session.clone(), key.to_owned());
        self.recorder.note(self.number, Fact::Tried { session, key });
        let (status, sent) = self.post(client, "messages", &message).await?;
        if !status.is_success() {
            return None;
        }
        self.recorder.note(self.number, Fact::Acknowledged(Told::read(&sent["message"])));
        Some(())
    }

    async fn post(
        &mut self,
        client: &Client,
        what: &str,
        body: &Value,
    ) -> Option<(StatusCode, Value)> {
        let node = self.nodes[self.rng.random_range(0..self.nodes.len())];
        let url = format!("http://{node}/api/chats/{}/{what}", self.session);
        let asking = client.post(url).bearer_auth(&self.person.token).json(body).send();
        let answer = asking.await.ok()?;
        let status = answer.status();
        Some((status, answer.json().await.ok()?))
    }
}
