//! The embedded S3 server: a bucket in the data directory, so that pictures take the same way as with AWS.
//! This node calls it in-process. Clients reach it by presigned URLs through the node's router.

#[cfg(test)]
mod tests;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use aws_sdk_s3::{
    config::{HttpClient, RuntimeComponents, SharedHttpClient},
    primitives::SdkBody,
};
use aws_smithy_runtime_api::client::{
    http::{HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector},
    orchestrator::HttpRequest,
    result::ConnectorError,
};
use axum::{
    body::Body,
    extract::{Path as UrlPath, Request, State},
    http::{HeaderMap, HeaderName, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use dashmap::DashSet;
use s3s::{
    auth::SimpleAuth,
    service::{S3Service, S3ServiceBuilder},
};
use s3s_fs::FileSystem;
use tokio::{fs::File, time::timeout};

use super::Embedded;
use media::bucket::Bucket;
use model::image::ObjectKey;
use protocol::error::Error;

/// Name of the bucket, which is the first part of its URLs.
const BUCKET: &str = "frontdesk-images";
/// Time limit of a whole upload.
const UPLOAD_TIMEOUT: Duration = Duration::from_mins(5);

/// Request headers that the server receives. Others are commands, such as to copy another object, and the
/// server does not require them to be signed.
const ASKED: [HeaderName; 6] = [
    header::HOST,
    header::CONTENT_TYPE,
    header::CONTENT_LENGTH,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::RANGE,
];
/// Response headers that a client receives.
const ANSWERED: [HeaderName; 6] = [
    header::CONTENT_TYPE,
    header::CONTENT_LENGTH,
    header::CONTENT_DISPOSITION,
    header::CONTENT_RANGE,
    header::ETAG,
    header::LAST_MODIFIED,
];

/// An S3 server on a directory.
#[derive(Debug)]
pub(crate) struct Server {
    service: S3Service,
    bucket: PathBuf,
    key: String,
    secret: String,
    /// Objects being uploaded. The file system shows an object only when it is complete.
    uploading: DashSet<String>,
}

impl Server {
    /// Creates the directory if it is missing, and keys that never leave the process.
    pub(crate) fn open(data_dir: &Path) -> anyhow::Result<Self> {
        let root = data_dir.join("images");
        let bucket = root.join(BUCKET);
        super::make_data_dir(&bucket)?;
        let files = FileSystem::new(&root)
            .map_err(|error| anyhow::anyhow!("{error:?}"))
            .with_context(|| format!("DATA_DIR: can't use {}", root.display()))?;
        let (key, secret) = (random(), random());
        let mut service = S3ServiceBuilder::new(files);
        service.set_auth(SimpleAuth::from_single(key.clone(), secret.clone()));
        let service = service.build();
        Ok(Self { service, bucket, key, secret, uploading: DashSet::new() })
    }

    /// The bucket, for this node's own requests.
    pub(crate) fn bucket(&self) -> Bucket {
        let http = SharedHttpClient::new(InProcess(self.service.clone()));
        Bucket::in_process(BUCKET, http, (&self.key, &self.secret))
    }

    /// Serves a request for this object. The server refuses unsigned requests.
    pub(crate) async fn serve(
        &self,
        object: &str,
        mut request: Request,
    ) -> Result<Response, Error> {
        let put = request.method() == Method::PUT;
        if request.headers().contains_key(header::TRANSFER_ENCODING) {
            // The signed length would not be the length of the body.
            return Err(Error::invalid("Transfer-Encoding", "is not for pictures"));
        }
        // Of two uploads to one key the first one wins, as in S3.
        let turn = if put { self.begin(object) } else { None };
        if put && turn.is_none() {
            return Ok(StatusCode::CONFLICT.into_response());
        }
        *request.headers_mut() = only(request.headers(), &ASKED);
        let serving = self.service.call(request.map(s3s::Body::http_body_unsync));
        let served = timeout(UPLOAD_TIMEOUT, serving).await.map_err(|_| Error::RequestTimeout)?;
        let mut response = served.map_err(|_| Error::Unavailable)?.map(Body::new);
        if put && response.status().is_success() {
            self.sync(object).await.map_err(|error| {
                tracing::error!(%error, "picture not written to disk");
                Error::Unavailable
            })?;
        }
        *response.headers_mut() = only(response.headers(), &ANSWERED);
        Ok(response)
    }

    /// Writes the picture and the server's metadata files to disk. An acknowledged message is on disk, so its
    /// picture must be too.
    async fn sync(&self, object: &str) -> std::io::Result<()> {
        let root = self.bucket.ancestors().nth(1).unwrap_or(&self.bucket);
        let [of_bucket, of_object] =
            [BUCKET, object].map(|name| BASE64_URL_SAFE_NO_PAD.encode(name));
        let noted = ["metadata", "internal"]
            .map(|what| root.join(format!(".bucket-{of_bucket}.object-{of_object}.{what}.json")));
        for path in noted {
            match File::open(path).await {
                Ok(file) => file.sync_all().await?,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        // The picture, then its parent directories.
        for path in self.bucket.join(object).ancestors().take(4) {
            File::open(path).await?.sync_all().await?;
        }
        Ok(())
    }

    fn begin(&self, object: &str) -> Option<Uploading<'_>> {
        let object = object.to_owned();
        self.uploading.insert(object.clone()).then_some(Uploading { all: &self.uploading, object })
    }
}

/// Exclusive right to upload an object. It ends with the upload, or when the client disconnects.
struct Uploading<'a> {
    all: &'a DashSet<String>,
    object: String,
}

impl Drop for Uploading<'_> {
    fn drop(&mut self) {
        self.all.remove(&self.object);
    }
}

fn random() -> String {
    format!("{:032x}", rand::random::<u128>())
}

fn only(headers: &HeaderMap, names: &[HeaderName]) -> HeaderMap {
    let kept = names.iter().filter_map(|name| Some((name.clone(), headers.get(name)?.clone())));
    kept.collect()
}

/// `GET` and `PUT /frontdesk-images/{session}/{name}`: only the uses of a presigned URL.
pub(crate) async fn object(
    State(embedded): State<Arc<Embedded>>,
    UrlPath((session, name)): UrlPath<(String, String)>,
    request: Request,
) -> Result<Response, Error> {
    let server = embedded.images.as_ref().ok_or(Error::RouteNotFound)?;
    let object = format!("{session}/{name}");
    ObjectKey::parse(&object).ok_or(Error::RouteNotFound)?;
    server.serve(&object, request).await
}

/// Calls the server in-process instead of over a connection.
#[derive(Clone, Debug)]
struct InProcess(S3Service);

impl HttpClient for InProcess {
    fn http_connector(
        &self,
        _: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for InProcess {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let service = self.0.clone();
        HttpConnectorFuture::new(async move {
            let broken = |error: Box<dyn std::error::Error + Send + Sync>| {
                ConnectorError::other(error, None)
            };
            let mut request = request.try_into_http1x().map_err(|error| broken(Box::new(error)))?;
            // A real connection would set this header.
            if let Some(host) =
                request.uri().authority().and_then(|host| host.as_str().parse().ok())
            {
                request.headers_mut().entry(header::HOST).or_insert(host);
            }
            let request = request.map(s3s::Body::http_body_unsync);
            let response = service.call(request).await.map_err(|error| broken(error.into()))?;
            let response = response.map(SdkBody::from_body_1_x);
            response.try_into().map_err(|error| broken(Box::new(error)))
        })
    }
}
