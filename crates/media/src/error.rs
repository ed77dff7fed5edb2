//! Errors of pictures, with the texts for the person who sends one.

use std::sync::Arc;

use tracing::Level;

use platform::ServiceFailure;
use protocol::error::Error;

/// Errors by what the caller can do: try again, or not. They contain no key.
#[derive(Debug, thiserror::Error)]
pub enum ImagesError {
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

impl From<ImagesError> for Error {
    fn from(error: ImagesError) -> Self {
        match error {
            ImagesError::Unavailable(problem) => Self::Service(ServiceFailure {
                is_permanent: false,
                level: Level::WARN,
                event: "S3 unavailable",
                cause: Arc::new(ImagesError::Unavailable(problem)),
            }),
            ImagesError::Refused(problem) | ImagesError::Wrong(problem) => {
                Self::invalid("imageKey", problem)
            }
        }
    }
}

/// Problem of a file that is no picture.
pub const NO_PICTURE: &str = "is not a supported picture: choose a JPEG, PNG, WebP, HEIC or GIF";
/// Problem of a picture without measures.
pub const NO_MEASURES: &str = "is broken: it has no width and height. Choose another picture";
/// Problem of a picture with too many pixels.
pub const TOO_LARGE: &str = "has more than 50 million pixels: make it smaller, and send it again";
/// Problem of a picture whose metadata is broken.
pub(crate) const NO_METADATA: &str =
    "is broken: its metadata can't be read. Choose another picture";
