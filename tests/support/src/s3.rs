//! An S3 server, on a directory of its own, that can be stopped.

use std::path::PathBuf;

use axum::{Router, extract::Request, http::StatusCode};
use s3s::{auth::SimpleAuth, service::S3ServiceBuilder};
use s3s_fs::FileSystem;
use tempfile::TempDir;
use tokio::{net::TcpListener, task::AbortHandle};

const BUCKET: &str = "pictures";
const KEY: &str = "AKIAEXAMPLE";
const SECRET: &str = "s3-secret-that-is-secret";

/// A running server with one bucket.
#[derive(Debug)]
pub struct S3 {
    /// Where it listens, on 127.0.0.1.
    pub port: String,
    endpoint: String,
    files: TempDir,
    serving: AbortHandle,
    /// Its bucket, and the key's name and secret.
    access: [String; 3],
}

impl S3 {
    /// Starts one on a free port.
    pub async fn start() -> Self {
        Self::start_with(BUCKET, KEY, SECRET).await
    }

    /// The same, with this bucket, and a key that may use it.
    pub async fn start_with(bucket: &str, key: &str, secret: &str) -> Self {
        let files = tempfile::tempdir().unwrap();
        std::fs::create_dir(files.path().join(bucket)).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port().to_string();
        let endpoint = format!("http://127.0.0.1:{port}");
        let access = [bucket, key, secret].map(str::to_owned);
        let serving = serve(listener, &files, &access);
        Self { port, endpoint, files, serving, access }
    }

    /// What a node needs to know of it.
    #[must_use]
    pub fn env(&self) -> Vec<(&str, &str)> {
        let [bucket, key, secret] = &self.access;
        vec![
            ("S3_BUCKET", bucket),
            ("S3_ENDPOINT", &self.endpoint),
            ("AWS_ACCESS_KEY_ID", key),
            ("AWS_SECRET_ACCESS_KEY", secret),
        ]
    }

    /// Stops it; what is in it stays.
    pub fn stop(&self) {
        self.serving.abort();
    }

    /// Starts it again on its port.
    pub async fn restart(&mut self) {
        let address = format!("127.0.0.1:{}", self.port);
        let listener = loop {
            // The one before may still be on its way out.
            match TcpListener::bind(&address).await {
                Ok(listener) => break listener,
                Err(_) => tokio::task::yield_now().await,
            }
        };
        self.serving = serve(listener, &self.files, &self.access);
    }

    /// The files of the session's objects.
    #[must_use]
    pub fn objects(&self, session: &str) -> Vec<PathBuf> {
        let files = std::fs::read_dir(self.files.path().join(&self.access[0]).join(session));
        files.map_or_else(|_| Vec::new(), |files| files.map(|file| file.unwrap().path()).collect())
    }
}

fn serve(listener: TcpListener, files: &TempDir, [_, key, secret]: &[String; 3]) -> AbortHandle {
    let mut service = S3ServiceBuilder::new(FileSystem::new(files.path()).unwrap());
    service.set_auth(SimpleAuth::from_single(key.clone(), secret.clone()));
    let service = service.build();
    let router = Router::new().fallback(async move |request: Request| {
        let answered = service.call(request.map(s3s::Body::http_body_unsync)).await;
        answered.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
    });
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() }).abort_handle()
}
