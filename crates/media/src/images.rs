//! Pictures in the bucket: presigned URLs, the check of an upload, and removal.

use std::collections::BTreeMap;

use axum::body::Bytes;
use jiff::Timestamp;
use serde::Serialize;
use tokio::{
    sync::{Notify, Semaphore},
    time::timeout,
};
use utoipa::ToSchema;

use crate::{
    bucket::{self, Bucket, FIRST_BYTES, UPLOAD_EXPIRES},
    config::S3Config,
    error::{ImagesError, NO_MEASURES, NO_METADATA, NO_PICTURE, TOO_LARGE},
    format::{self, Detected, Format, PIXELS_MAX},
    metadata,
    origin::Origin,
    thumbnails::Thumbnails,
};
use model::image::{FileName, ObjectKey};
use platform::tasks::Tasks;

/// Maximum number of concurrent checks of pictures. Each takes at most twice [`format::SIZE_MAX`] of memory.
const CHECKS: usize = 4;

/// A picture that may be sent: its format by its bytes, and its size as displayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checked {
    /// Format by its bytes.
    pub format: Format,
    /// Width in pixels, as displayed.
    pub width: u32,
    /// Height in pixels, as displayed.
    pub height: u32,
}

/// Request by which a client uploads a picture.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Invitation)]
#[serde(rename_all = "camelCase")]
pub struct PresignedUpload {
    /// Method of the request.
    pub method: String,
    /// URL, with the signature.
    pub url: String,
    /// Signed headers: the upload must carry each of them unchanged.
    pub headers: BTreeMap<String, String>,
    /// Time by which the upload must begin.
    pub expires_at: Timestamp,
}

/// The bucket, and the work on its pictures.
#[derive(Debug)]
pub struct Images {
    bucket: Bucket,
    thumbnails: Thumbnails,
    /// One permit for each picture being checked: it is in memory.
    checks: Semaphore,
    /// Wakes the sweep: a message with a picture was deleted, or an upload is no picture.
    pub withdrawn: Notify,
}

/// Checks that S3 answers and has the bucket.
pub async fn probe(s3: &S3Config) -> Result<(), ImagesError> {
    Bucket::open(s3).ping().await
}

impl Images {
    /// Makes no request to S3 yet, so that a node starts without it.
    pub fn start(bucket: Bucket, tasks: &Tasks) -> Self {
        let thumbnails = Thumbnails::start(bucket.clone(), tasks);
        Self { bucket, thumbnails, checks: Semaphore::new(CHECKS), withdrawn: Notify::new() }
    }

    /// The bucket, for tests of another crate.
    #[cfg(feature = "testing")]
    pub fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    /// Whether S3 answers and has the bucket.
    pub async fn ping(&self) -> Result<(), ImagesError> {
        self.bucket.ping().await
    }

    /// Presigned PUT of one picture of this type and length, for one upload.
    pub async fn presign_upload(
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
    pub async fn check(&self, key: &ObjectKey, size: u64) -> Result<Checked, ImagesError> {
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
    pub async fn locate(
        &self,
        key: &ObjectKey,
        format: Format,
        name: Option<&FileName>,
        from: &Origin,
    ) -> Result<String, ImagesError> {
        self.bucket.presign_get(&key.original(), format, name, from).await
    }

    /// URL of the thumbnail. It is the picture's own URL while there is no thumbnail, or if none can be made.
    pub async fn locate_thumbnail(
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
    pub fn want_thumbnail(&self, key: &ObjectKey, format: Format) {
        self.thumbnails.want(key, format);
    }

    /// Removes a picture and its thumbnail, if they exist.
    pub async fn remove(&self, key: &ObjectKey) -> Result<(), ImagesError> {
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
