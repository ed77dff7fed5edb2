//! The bucket: each call to S3, with its time limit.

use std::time::Duration;

use aws_sdk_s3::{
    Client,
    config::{
        BehaviorVersion, Config, Credentials, Region, RequestChecksumCalculation,
        ResponseChecksumValidation, SharedHttpClient, retry::RetryConfig, timeout::TimeoutConfig,
    },
    error::{ProvideErrorMetadata, SdkError},
    operation::get_object::GetObjectOutput,
    presigning::{PresignedRequest, PresigningConfig},
    primitives::ByteStream,
};
use aws_smithy_http_client::tls;
use axum::body::Bytes;
use secrecy::ExposeSecret;
use tokio::time::timeout;

use crate::{
    config::S3Config,
    disposition::disposition,
    error::ImagesError,
    format::{Format, SIZE_MAX},
    origin::Origin,
};
use model::image::{FileName, ObjectKey};

/// Time limit for a client to begin its upload. It is short, because a URL can't be revoked.
pub(crate) const UPLOAD_EXPIRES: Duration = Duration::from_mins(5);
/// Validity of a URL to fetch a picture, also for a person who is blocked meanwhile.
pub const FETCH_EXPIRES: Duration = Duration::from_mins(1);

/// Bytes of a file that are read first. They nearly always contain its width and height.
pub(crate) const FIRST_BYTES: u64 = 256 * 1024;
/// Time limit of one call, its second attempt included.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// Time limit of one attempt.
const TRY: Duration = Duration::from_millis(2_400);
/// Factor for the time limits of a call with a large body.
const LARGE: u32 = 6;
/// Time limit to connect.
const CONNECT: Duration = Duration::from_secs(2);

/// Bytes that were read from an object.
pub(super) struct Found {
    pub(super) bytes: Bytes,
    /// Size of the whole object.
    pub(super) size: u64,
}

/// A bucket; clones share their connections.
#[derive(Clone, Debug)]
pub struct Bucket {
    /// Calls S3.
    pub client: Client,
    /// Name of the bucket.
    pub name: String,
    /// Endpoint for clients, if it differs from this node's.
    public_endpoint: Option<String>,
    /// The server is in this process: clients reach it at the node's own address.
    embedded: bool,
}

impl Bucket {
    /// The configured bucket.
    pub fn open(config: &S3Config) -> Self {
        let provider = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::AwsLc);
        let http = aws_smithy_http_client::Builder::new().tls_provider(provider).build_https();
        let keys = (config.access_key_id.as_str(), config.secret_access_key.expose_secret());
        let client = client(http, keys, &config.region, config.endpoint.as_deref());
        let public_endpoint = config.public_endpoint.clone();
        Self { client, name: config.bucket.clone(), public_endpoint, embedded: false }
    }

    /// A bucket of a server in this process, by a client that connects to it.
    pub fn in_process(name: &str, http: SharedHttpClient, keys: (&str, &str)) -> Self {
        // This name is never resolved.
        let client = client(http, keys, "us-east-1", Some("http://embedded"));
        Self { client, name: name.to_owned(), public_endpoint: None, embedded: true }
    }

    pub(super) async fn ping(&self) -> Result<(), ImagesError> {
        let asked = self.client.head_bucket().bucket(&self.name).send().await;
        asked.map(drop).map_err(|error| unavailable(&error))
    }

    /// Type, length and `If-None-Match: *` are signed: S3 refuses an upload that differs, or replaces an
    /// object.
    pub(super) async fn presign_put(
        &self,
        key: &ObjectKey,
        format: Format,
        size: u64,
        from: &Origin,
    ) -> Result<PresignedRequest, ImagesError> {
        let put = self
            .client
            .put_object()
            .bucket(&self.name)
            .key(key.original())
            .content_type(format.as_str())
            .content_length(size.try_into().unwrap_or(i64::MAX))
            .if_none_match("*")
            .customize()
            .config_override(self.seen_from(from));
        put.presigned(expiring(UPLOAD_EXPIRES)?).await.map_err(|error| unavailable(&error))
    }

    pub(super) async fn presign_get(
        &self,
        key: &str,
        format: Format,
        name: Option<&FileName>,
        from: &Origin,
    ) -> Result<String, ImagesError> {
        let get = self
            .client
            .get_object()
            .bucket(&self.name)
            .key(key)
            .response_content_type(format.as_str())
            .response_content_disposition(disposition(name, format))
            .customize()
            .config_override(self.seen_from(from));
        let request = get.presigned(expiring(FETCH_EXPIRES)?).await;
        request.map(|request| request.uri().to_owned()).map_err(|error| unavailable(&error))
    }

    /// Configuration with the host that the client uses, because a signature is valid for one host.
    fn seen_from(&self, from: &Origin) -> aws_sdk_s3::config::Builder {
        let config = Config::builder();
        match &self.public_endpoint {
            Some(url) => config.endpoint_url(url),
            None if self.embedded => config.endpoint_url(&from.0),
            None => config,
        }
    }

    /// Reads the first bytes of an object, at most so many. `None` if there is no object.
    pub(super) async fn read(&self, key: &str, first: u64) -> Result<Option<Found>, ImagesError> {
        let first = first.min(SIZE_MAX);
        let range = format!("bytes=0-{}", first.saturating_sub(1));
        let reading = async {
            let get = self.client.get_object().bucket(&self.name).key(key).range(range);
            match get.send().await {
                Ok(output) => body_of(output, first).await.map(Some),
                Err(error) if is_missing(&error) => Ok(None),
                Err(error) => Err(unavailable(&error)),
            }
        };
        let limit = if first > FIRST_BYTES { CALL_TIMEOUT * LARGE } else { CALL_TIMEOUT };
        timeout(limit, reading).await.unwrap_or_else(|_| Err(too_slow()))
    }

    /// Size of an object. `None` if there is no object.
    pub async fn size(&self, key: &str) -> Result<Option<u64>, ImagesError> {
        match self.client.head_object().bucket(&self.name).key(key).send().await {
            Ok(output) => Ok(Some(length(output.content_length()))),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(unavailable(&error)),
        }
    }

    pub(super) async fn write(
        &self,
        key: &str,
        format: Format,
        bytes: Vec<u8>,
    ) -> Result<(), ImagesError> {
        let put = self.client.put_object().bucket(&self.name).key(key);
        let times = times(if bytes.len() as u64 > FIRST_BYTES { LARGE } else { 1 });
        let put = put.content_type(format.as_str()).body(ByteStream::from(bytes));
        let put = put.customize().config_override(Config::builder().timeout_config(times));
        put.send().await.map(drop).map_err(|error| unavailable(&error))
    }

    pub(super) async fn delete(&self, key: &str) -> Result<(), ImagesError> {
        match self.client.delete_object().bucket(&self.name).key(key).send().await {
            Ok(_) => Ok(()),
            Err(error) if is_missing(&error) => Ok(()),
            Err(error) => Err(unavailable(&error)),
        }
    }
}

fn client(
    http: SharedHttpClient,
    (key, secret): (&str, &str),
    region: &str,
    endpoint: Option<&str>,
) -> Client {
    let mut config = Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .http_client(http)
        .region(Region::new(region.to_owned()))
        .credentials_provider(Credentials::new(key, secret, None, None, "frontdesk"))
        .retry_config(RetryConfig::standard().with_max_attempts(2))
        .timeout_config(times(1))
        // Otherwise browsers would have to compute checksums.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    if let Some(endpoint) = endpoint {
        // Servers other than AWS have no host names for their buckets.
        config = config.endpoint_url(endpoint).force_path_style(true);
    }
    Client::from_conf(config.build())
}

/// Time limits of a call, multiplied by this factor.
fn times(factor: u32) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(CONNECT)
        .operation_attempt_timeout(TRY * factor)
        .operation_timeout(CALL_TIMEOUT * factor)
        .build()
}

fn expiring(after: Duration) -> Result<PresigningConfig, ImagesError> {
    PresigningConfig::expires_in(after)
        .map_err(|error| ImagesError::Unavailable(format!("a URL can't be signed: {error}")))
}

async fn body_of(output: GetObjectOutput, first: u64) -> Result<Found, ImagesError> {
    let here = length(output.content_length());
    if here > first {
        return Err(ImagesError::Unavailable("S3 sent more bytes than requested".into()));
    }
    let whole = output.content_range().and_then(|range| range.rsplit_once('/'));
    let size = whole.and_then(|(_, size)| size.parse().ok()).unwrap_or(here);
    let body = output.body.collect().await;
    let body = body.map_err(|_| ImagesError::Unavailable("S3 ended its response early".into()))?;
    Ok(Found { bytes: body.into_bytes(), size })
}

fn length(length: Option<i64>) -> u64 {
    length.and_then(|length| length.try_into().ok()).unwrap_or(0)
}

fn is_missing<E: ProvideErrorMetadata>(error: &SdkError<E>) -> bool {
    if error.as_service_error().and_then(ProvideErrorMetadata::code) == Some("NoSuchBucket") {
        return false;
    }
    // 416: the object is empty, so it has no first byte.
    error.raw_response().is_some_and(|answer| matches!(answer.status().as_u16(), 404 | 416))
}

/// Description of the error, without keys and URLs.
fn unavailable<E: ProvideErrorMetadata>(error: &SdkError<E>) -> ImagesError {
    let text = match error {
        SdkError::TimeoutError(_) => return too_slow(),
        SdkError::DispatchFailure(_) => "S3 can't be reached".to_owned(),
        SdkError::ConstructionFailure(_) => "a request to S3 can't be built".to_owned(),
        other => {
            let status = other.raw_response().map_or(0, |answer| answer.status().as_u16());
            let code = other.as_service_error().and_then(ProvideErrorMetadata::code);
            format!("S3 answered {status} {}", code.unwrap_or("without a code"))
        }
    };
    ImagesError::Unavailable(text)
}

fn too_slow() -> ImagesError {
    ImagesError::Unavailable("S3 did not answer in time".to_owned())
}
