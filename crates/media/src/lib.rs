//! Pictures. Clients upload and fetch them from S3 by presigned URLs, past this node. The node only checks an
//! uploaded picture before it may be part of a message.
//!
//! If no bucket is configured, the same code uses an S3 server in this process.

pub mod bucket;
pub mod config;
mod disposition;
mod error;
mod format;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
mod images;
mod metadata;
mod origin;
#[cfg(any(test, feature = "testing"))]
pub mod samples;
pub mod sweep;
mod thumbnails;
pub mod uploads;

pub use bucket::FETCH_EXPIRES;
pub use error::{ImagesError, NO_MEASURES, NO_PICTURE, TOO_LARGE};
pub use format::{Format, InvalidFormat, SIZE_MAX};
pub use images::{Checked, Images, PresignedUpload, probe};
pub use origin::Origin;
