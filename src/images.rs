//! Pictures. Clients upload and fetch them from S3 by presigned URLs, past this node. The node only checks an
//! uploaded picture before it may be part of a message.
//!
//! If no bucket is configured, the same code uses an S3 server in this process.

mod bucket;
pub(crate) mod config;
mod format;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzz;
mod metadata;
mod name;
#[cfg(test)]
mod samples;
pub(crate) mod sweep;
#[cfg(test)]
#[cfg(feature = "embedded")]
mod tests;
mod thumbnails;

use std::{collections::BTreeMap, path::Path, time::Duration};

use axum::{
    body::Bytes,
    http::{HeaderMap, header, uri::Authority},
};
use jiff::Timestamp;
use serde::Serialize;
use tokio::{
    sync::{Notify, Semaphore},
    time::timeout,
};
use utoipa::ToSchema;

use bucket::Bucket;
use config::S3Config;
use format::{Detected, PIXELS_MAX};
pub(crate) use format::{Format, InvalidFormat};
pub(crate) use name::{FileName, ImageKey, ObjectKey};
use thumbnails::Thumbnails;

use crate::platform::tasks::Tasks;

/// Maximum size of a picture, in bytes.
pub(crate) const SIZE_MAX: u64 = 10 * 1024 * 1024;
/// Time limit for a client to begin its upload. It is short, because a URL can't be revoked.
pub(crate) const UPLOAD_EXPIRES: Duration = Duration::from_mins(5);
/// Validity of a URL to fetch a picture, also for a person who is blocked meanwhile.
const FETCH_EXPIRES: Duration = Duration::from_mins(1);
/// Maximum number of concurrent checks of pictures. Each takes at most twice [`SIZE_MAX`] of memory.
const CHECKS: usize = 4;
/// Bytes of a file that are read first. They nearly always contain its width and height.
const FIRST_BYTES: u64 = 256 * 1024;

/// Errors by what the caller can do: try again, or not. They contain no key.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ImagesError {
    /// S3 is away or slow, or refuses this node.
    #[error("{0}")]
    Unavailable(String),
    /// The picture is not as it should be, or not there.
    #[error("{0}")]
    Refused(&'static str),
    /// The uploaded object is wrong, and will stay so.
    #[error("{0}")]
    Wrong(&'static str),
}

/// Error texts for the person who sends a picture.
const NO_PICTURE: &str = "is not a supported picture: choose a JPEG, PNG, WebP, HEIC or GIF";
const NO_MEASURES: &str = "is broken: it has no width and height. Choose another picture";
const TOO_LARGE: &str = "has more than 50 million pixels: make it smaller, and send it again";
const NO_METADATA: &str = "is broken: its metadata can't be read. Choose another picture";

/// A picture that may be sent: its format by its bytes, and its size as displayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Checked {
    pub(crate) format: Format,
    pub(crate) width: u32,
    pub(crate) height: u32,
}

/// Request by which a client uploads a picture.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Invitation)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PresignedUpload {
    method: String,
    url: String,
    /// Signed headers: the upload must carry each of them unchanged.
    headers: BTreeMap<String, String>,
    expires_at: Timestamp,
}

/// Scheme, host and port by which a client reached this node, and so the embedded server.
#[derive(Debug)]
pub(crate) struct Origin(String);

impl Origin {
    /// Reads the client's request, with the header of a proxy that terminates TLS for this node.
    pub(crate) fn of(headers: &HeaderMap) -> Option<Self> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let host: Authority = text(header::HOST.as_str())?.parse().ok()?;
        // With several proxies the first value is the client's own scheme.
        let scheme = text("x-forwarded-proto").and_then(|list| list.split(',').next());
        let secure = scheme.is_some_and(|scheme| scheme.trim().eq_ignore_ascii_case("https"));
        Some(Self(format!("{}://{host}", if secure { "https" } else { "http" })))
    }
}

/// The bucket, and the work on its pictures.
#[derive(Debug)]
pub(crate) struct Images {
    bucket: Bucket,
    thumbnails: Thumbnails,
    /// One permit for each picture being checked: it is in memory.
    checks: Semaphore,
    /// Wakes the sweep: a message with a picture was deleted, or an upload is no picture.
    pub(crate) withdrawn: Notify,
    #[cfg(feature = "embedded")]
    pub(crate) embedded: Option<std::sync::Arc<crate::embedded::s3::Server>>,
}

/// Checks that S3 answers and has the bucket.
pub(crate) async fn probe(s3: &S3Config) -> Result<(), ImagesError> {
    Bucket::open(s3).ping().await
}

impl Images {
    /// Makes no request to S3 yet, so that a node starts without it.
    pub(crate) fn open(
        s3: Option<&S3Config>,
        #[cfg_attr(not(feature = "embedded"), expect(unused_variables))] data_dir: &Path,
        tasks: &Tasks,
    ) -> anyhow::Result<Self> {
        if let Some(s3) = s3 {
            return Ok(Self::on(Bucket::open(s3), tasks));
        }
        #[cfg(feature = "embedded")]
        return Self::embedded(data_dir, tasks);
        #[cfg(not(feature = "embedded"))]
        anyhow::bail!("S3_BUCKET: is not set, and this build has no embedded storage");
    }

    #[cfg(feature = "embedded")]
    fn embedded(data_dir: &Path, tasks: &Tasks) -> anyhow::Result<Self> {
        let server = std::sync::Arc::new(crate::embedded::s3::Server::open(data_dir)?);
        let images = Self::on(Bucket::embedded(&server), tasks);
        Ok(Self { embedded: Some(server), ..images })
    }

    fn on(bucket: Bucket, tasks: &Tasks) -> Self {
        let thumbnails = Thumbnails::start(bucket.clone(), tasks);
        Self {
            bucket,
            thumbnails,
            checks: Semaphore::new(CHECKS),
            withdrawn: Notify::new(),
            #[cfg(feature = "embedded")]
            embedded: None,
        }
    }

    /// Whether S3 answers and has the bucket.
    pub(crate) async fn ping(&self) -> Result<(), ImagesError> {
        self.bucket.ping().await
    }

    /// Presigned PUT of one picture of this type and length, for one upload.
    pub(crate) async fn presign_upload(
        &self,
        key: &ObjectKey,
        format: Format,
        size: u64,
        from: &Origin,
    ) -> Result<PresignedUpload, ImagesError> {
        let expires_at = Timestamp::now() + UPLOAD_EXPIRES;
        let request = self.bucket.presign_put(key, format, size, from).await?;
        let headers = request.headers().filter(|(name, _)| *name != "host");
        Ok(PresignedUpload {
            method: request.method().to_owned(),
            url: request.uri().to_owned(),
            headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            expires_at,
        })
    }

    /// Checks an upload: it exists, has the signed length, and is a picture by its bytes. The announced type
    /// does not count, because file pickers often report a wrong one. Erases its metadata.
    pub(crate) async fn check(&self, key: &ObjectKey, size: u64) -> Result<Checked, ImagesError> {
        let turn = timeout(bucket::CALL_TIMEOUT, self.checks.acquire()).await;
        let Ok(Ok(_turn)) = turn else {
            return Err(ImagesError::Unavailable("too many pictures are being checked".to_owned()));
        };
        let key = key.original();
        // The first bytes of a large file suffice to refuse most files that are no picture.
        for first in [FIRST_BYTES, size] {
            let found = self.bucket.read(&key, first).await?;
            let found = found.ok_or(ImagesError::Refused("was not uploaded"))?;
            if found.size != size {
                return Err(ImagesError::Wrong("does not have the announced size"));
            }
            let checked = match format::detect(&found.bytes) {
                Detected::Picture(format, width, height) => Some(bounded(format, width, height)?),
                // A long header: the phone's own thumbnails, colour profiles, or depth maps.
                Detected::Unmeasured => None,
                Detected::Unknown => return Err(ImagesError::Wrong(NO_PICTURE)),
            };
            if first >= size {
                let checked = checked.ok_or(ImagesError::Wrong(NO_MEASURES))?;
                self.erase_metadata(&key, checked.format, found.bytes).await?;
                return Ok(checked);
            }
        }
        Err(ImagesError::Wrong(NO_MEASURES))
    }

    /// Erases location, device and comments from an uploaded picture, before anyone else may fetch it.
    async fn erase_metadata(
        &self,
        key: &str,
        format: Format,
        bytes: Bytes,
    ) -> Result<(), ImagesError> {
        let erasing = tokio::task::spawn_blocking(move || {
            let mut bytes = Vec::from(bytes);
            metadata::erase(&mut bytes, format).map(|changed| changed.then_some(bytes))
        });
        match erasing.await {
            Ok(Ok(Some(erased))) => self.bucket.write(key, format, erased).await,
            Ok(Ok(None)) => Ok(()),
            Ok(Err(metadata::Broken)) | Err(_) => Err(ImagesError::Wrong(NO_METADATA)),
        }
    }

    /// URL that shows the picture for a minute, only as the type found by the check.
    pub(crate) async fn locate(
        &self,
        key: &ObjectKey,
        format: Format,
        name: Option<&FileName>,
        from: &Origin,
    ) -> Result<String, ImagesError> {
        self.bucket.presign_get(&key.original(), format, name, from).await
    }

    /// URL of the thumbnail. It is the picture's own URL while there is no thumbnail, or if none can be made.
    pub(crate) async fn locate_thumbnail(
        &self,
        key: &ObjectKey,
        format: Format,
        name: Option<&FileName>,
        from: &Origin,
    ) -> Result<String, ImagesError> {
        if format.decoder().is_none() {
            return self.locate(key, format, name, from).await;
        }
        match self.bucket.size(&key.thumbnail()).await? {
            // An empty object stands for a thumbnail that can't be made.
            Some(0) => self.locate(key, format, name, from).await,
            Some(_) => self.bucket.presign_get(&key.thumbnail(), Format::Jpeg, name, from).await,
            None => {
                self.thumbnails.want(key, format);
                self.locate(key, format, name, from).await
            }
        }
    }

    /// Queues a thumbnail, to be made when there is time.
    pub(crate) fn want_thumbnail(&self, key: &ObjectKey, format: Format) {
        self.thumbnails.want(key, format);
    }

    /// Removes a picture and its thumbnail, if they exist.
    pub(crate) async fn remove(&self, key: &ObjectKey) -> Result<(), ImagesError> {
        self.bucket.delete(&key.thumbnail()).await?;
        self.bucket.delete(&key.original()).await
    }
}

fn bounded(format: Format, width: u32, height: u32) -> Result<Checked, ImagesError> {
    match u64::from(width) * u64::from(height) {
        0 => Err(ImagesError::Wrong(NO_MEASURES)),
        1..=PIXELS_MAX => Ok(Checked { format, width, height }),
        _ => Err(ImagesError::Wrong(TOO_LARGE)),
    }
}
