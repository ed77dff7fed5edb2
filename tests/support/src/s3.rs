//! An S3 server on a temporary directory, which can be stopped.

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
    /// Port on 127.0.0.1.
    pub port: String,
    endpoint: String,
    files: TempDir,
    serving: AbortHandle,
    /// Bucket, key id and secret.
    access: [String; 3],
}

impl S3 {
    /// Starts a server on a free port.
    pub async fn start() -> Self {
        Self::start_with(BUCKET, KEY, SECRET).await
    }

    /// Like [`S3::start`], with this bucket and a key that may use it.
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

    /// Variables of a node that uses this server.
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

    /// Stops the server; its objects stay.
    pub fn stop(&self) {
        self.serving.abort();
    }

    /// Starts the server again on its port.
    pub async fn restart(&mut self) {
        let address = format!("127.0.0.1:{}", self.port);
        let listener = loop {
            // The earlier listener may not be closed yet.
            match TcpListener::bind(&address).await {
                Ok(listener) => break listener,
                Err(_) => tokio::task::yield_now().await,
            }
        };
        self.serving = serve(listener, &self.files, &self.access);
    }

    /// Files of the objects of a session.
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
