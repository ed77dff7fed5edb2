//! Thumbnails. They are made one at a time, and nobody waits for them.

use std::{io::Cursor, sync::Arc, time::Duration};

use dashmap::DashSet;
use image::{
    DynamicImage, ImageDecoder, ImageError, ImageReader, Limits, Rgb, RgbImage, Rgba,
    codecs::jpeg::JpegEncoder,
};
use tokio::sync::mpsc;

use crate::{
    bucket::Bucket,
    error::ImagesError,
    format::{Detected, Format, PIXELS_MAX, SIZE_MAX, detect},
};
use model::image::ObjectKey;
use platform::tasks::{Stage, Tasks};

/// Longer side of a thumbnail, in pixels.
pub(super) const SIDE: u32 = 320;
/// Maximum number of waiting thumbnails. Others are made when they are requested.
const QUEUE: usize = 256;
/// Memory limit to decode a picture, in bytes.
const MEMORY_MAX: u64 = PIXELS_MAX * 4 + 64 * 1024 * 1024;
/// JPEG quality, of 100.
const QUALITY: u8 = 80;
/// Pause after a thumbnail that failed because S3 is away.
const FAILURE_PAUSE: Duration = Duration::from_secs(1);

/// Queue of the requested thumbnails.
#[derive(Debug)]
pub(super) struct Thumbnails {
    queue: mpsc::Sender<(ObjectKey, Format)>,
    /// Pictures in the queue, because many readers request the same one.
    waiting: Arc<DashSet<ObjectKey>>,
}

impl Thumbnails {
    /// Starts the task that makes thumbnails.
    pub(super) fn start(bucket: Bucket, tasks: &Tasks) -> Self {
        let (queue, mut wanted) = mpsc::channel::<(ObjectKey, Format)>(QUEUE);
        let waiting = Arc::new(DashSet::new());
        let waits = Arc::clone(&waiting);
        tasks.spawn(Stage::Jobs, "images.thumbnails", async move {
            while let Some((key, format)) = wanted.recv().await {
                if let Err(error) = make(&bucket, &key, format).await {
                    tracing::warn!(%error, "thumbnail not stored");
                    tokio::time::sleep(FAILURE_PAUSE).await;
                }
                waits.remove(&key);
            }
        });
        Self { queue, waiting }
    }

    pub(super) fn want(&self, key: &ObjectKey, format: Format) {
        if format.decoder().is_none() || !self.waiting.insert(key.clone()) {
            return;
        }
        if self.queue.try_send((key.clone(), format)).is_err() {
            self.waiting.remove(key);
        }
    }
}

async fn make(bucket: &Bucket, key: &ObjectKey, format: Format) -> Result<(), ImagesError> {
    let Some(original) = bucket.read(&key.original(), SIZE_MAX).await? else { return Ok(()) };
    let bytes = original.bytes;
    let made = tokio::task::spawn_blocking(move || render(&bytes, format)).await;
    let thumbnail = match made {
        Ok(Ok(thumbnail)) => thumbnail,
        // The next try would fail too. An empty object records this for all later requests.
        Ok(Err(error)) => {
            tracing::debug!(%error, "picture not decodable; no thumbnail");
            Vec::new()
        }
        Err(_) => Vec::new(),
    };
    bucket.write(&key.thumbnail(), Format::Jpeg, thumbnail).await?;
    // The picture may have been removed meanwhile. Then its thumbnail goes too.
    match bucket.size(&key.original()).await? {
        Some(_) => Ok(()),
        None => bucket.delete(&key.thumbnail()).await,
    }
}

/// JPEG of the picture with its orientation applied, and without metadata.
pub(super) fn render(bytes: &[u8], format: Format) -> Result<Vec<u8>, ImageError> {
    let too_large = || {
        ImageError::Limits(image::error::LimitError::from_kind(
            image::error::LimitErrorKind::DimensionError,
        ))
    };
    let small_enough = |width, height| u64::from(width) * u64::from(height) <= PIXELS_MAX;
    // Checked again, because another writer to the bucket may have changed it.
    let (Some(decoder), Detected::Picture(..)) = (format.decoder(), detect(bytes)) else {
        return Err(too_large());
    };
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MEMORY_MAX);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), decoder);
    reader.limits(limits.clone());
    let mut decoder = reader.into_decoder()?;
    let (width, height) = decoder.dimensions();
    if !small_enough(width, height) {
        return Err(too_large());
    }
    let orientation = decoder.orientation()?;
    limits.reserve(decoder.total_bytes())?;
    let mut picture = DynamicImage::from_decoder(decoder)?;
    if width.max(height) > SIDE {
        picture = picture.thumbnail(SIDE, SIDE);
    }
    picture.apply_orientation(orientation);
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, QUALITY).encode_image(&on_white(&picture))?;
    Ok(jpeg)
}

/// Puts a transparent picture on white: JPEG has no transparency.
fn on_white(picture: &DynamicImage) -> RgbImage {
    if !picture.has_alpha() {
        return picture.to_rgb8();
    }
    let picture = picture.to_rgba8();
    RgbImage::from_fn(picture.width(), picture.height(), |x, y| {
        let Rgba([red, green, blue, alpha]) = *picture.get_pixel(x, y);
        let blend = |part: u8| {
            let (part, alpha) = (u16::from(part), u16::from(alpha));
            u8::try_from((part * alpha + 255 * (255 - alpha)) / 255).unwrap_or(u8::MAX)
        };
        Rgb([blend(red), blend(green), blend(blue)])
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    fn rendered(bytes: &[u8], format: Format) -> RgbImage {
        let jpeg = render(bytes, format).unwrap();
        assert!(!jpeg.windows(4).any(|window| window == b"Exif"), "what the camera noted is gone");
        image::load_from_memory(&jpeg).unwrap().to_rgb8()
    }

    #[test]
    fn a_thumbnail_is_small_and_a_jpeg() {
        for format in [Format::Jpeg, Format::Png, Format::Webp, Format::Gif] {
            let large = rendered(&samples::picture(format, 1200, 600), format);
            assert_eq!(large.dimensions(), (320, 160), "{format}");
            let small = rendered(&samples::picture(format, 20, 10), format);
            assert_eq!(small.dimensions(), (20, 10), "{format}");
        }
    }

    #[test]
    fn it_stands_upright_and_does_not_tell_where_it_was_taken() {
        let bytes = samples::jpeg_with_exif(640, 320, 6);
        assert!(bytes.windows(4).any(|window| window == b"Exif"));
        assert_eq!(rendered(&bytes, Format::Jpeg).dimensions(), (160, 320));
    }

    #[test]
    fn what_is_transparent_is_white() {
        let mut picture = image::RgbaImage::new(8, 8);
        picture.put_pixel(4, 4, Rgba([0, 0, 0, 255]));
        let mut png = Cursor::new(Vec::new());
        picture.write_to(&mut png, image::ImageFormat::Png).unwrap();
        let thumbnail = rendered(png.get_ref(), Format::Png);
        assert!(thumbnail.get_pixel(0, 0).0.iter().all(|part| *part > 240));
    }

    #[test]
    fn b57_a_bomb_is_not_unpacked() {
        let error = render(&samples::bomb(), Format::Png).unwrap_err();
        assert!(matches!(error, ImageError::Limits(_)), "{error}");
        for broken in [&samples::picture(Format::Png, 64, 48)[..60], b"", samples::HEIC] {
            assert!(render(broken, Format::Png).is_err());
        }
    }
}
