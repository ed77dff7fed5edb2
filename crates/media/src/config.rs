//! The bucket for pictures.

use secrecy::SecretString;

use platform::variables::{ConfigError, Variables};

/// Bucket, server and access key.
#[derive(Clone, Debug)]
pub struct S3Config {
    /// Name of the bucket.
    pub bucket: String,
    /// Its region.
    pub region: String,
    /// Server other than AWS's.
    pub endpoint: Option<String>,
    /// Address of that server for clients, if it differs from the node's.
    pub public_endpoint: Option<String>,
    pub(crate) access_key_id: String,
    pub(crate) secret_access_key: SecretString,
}

impl S3Config {
    /// `None` if pictures are stored by the node itself.
    pub fn read(variables: &Variables) -> Result<Option<Self>, ConfigError> {
        let Some(bucket) = variables.text("S3_BUCKET") else { return Ok(None) };
        variables.required("AWS_SECRET_ACCESS_KEY", "S3_BUCKET")?;
        let endpoint = variables.url("S3_ENDPOINT")?;
        let public_endpoint = variables.url("S3_PUBLIC_ENDPOINT")?;
        if public_endpoint.is_some() {
            variables.required("S3_ENDPOINT", "S3_PUBLIC_ENDPOINT")?;
        }
        // Other servers ignore the region, but it is part of the signature.
        let region = match (variables.text("AWS_REGION"), &endpoint) {
            (None, Some(_)) => "us-east-1".to_owned(),
            _ => variables.required("AWS_REGION", "S3_BUCKET")?,
        };
        Ok(Some(Self {
            bucket: bucket.to_owned(),
            region,
            endpoint,
            public_endpoint,
            access_key_id: variables.required("AWS_ACCESS_KEY_ID", "S3_BUCKET")?,
            secret_access_key: variables.secret("AWS_SECRET_ACCESS_KEY").unwrap_or_default(),
        }))
    }
}
