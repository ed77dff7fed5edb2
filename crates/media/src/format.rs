//! Formats of pictures, detected by their first bytes, never by a name or by the sender's claim.

use std::{fmt, str::FromStr};

use image::metadata::Orientation;
use imagesize::{Compression, ImageType};
use utoipa::ToSchema;

/// Maximum size of a picture, in bytes.
pub const SIZE_MAX: u64 = 10 * 1024 * 1024;
/// Maximum number of pixels of a picture. A file of a few bytes can claim billions, and each reader would
/// decode them. Under fuzzing it is lower, so that a run takes milliseconds.
pub(crate) const PIXELS_MAX: u64 = if cfg!(fuzzing) { 250_000 } else { 50_000_000 };

/// A picture format that may be sent. None of them can contain a script.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ToSchema)]
#[schema(as = ImageFormat)]
pub enum Format {
    /// JPEG.
    #[schema(rename = "image/jpeg")]
    Jpeg,
    /// PNG.
    #[schema(rename = "image/png")]
    Png,
    /// WebP.
    #[schema(rename = "image/webp")]
    Webp,
    /// Some phones call it `image/heif`.
    #[schema(rename = "image/heic")]
    Heic,
    /// GIF.
    #[schema(rename = "image/gif")]
    Gif,
}

/// Error for a text that is no accepted format.
#[derive(Debug, thiserror::Error)]
#[error(
    "is not a supported type of picture: choose a JPEG, PNG, WebP, HEIC or GIF (`image/jpeg`, …)"
)]
pub struct InvalidFormat;

impl Format {
    /// Media type, as signed, stored and served.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Jpeg => "image/jpeg",
            Self::Png => "image/png",
            Self::Webp => "image/webp",
            Self::Heic => "image/heic",
            Self::Gif => "image/gif",
        }
    }

    /// File extensions. A file without a name gets the first one.
    pub(super) fn extensions(self) -> &'static [&'static str] {
        match self {
            Self::Jpeg => &["jpg", "jpeg"],
            Self::Png => &["png"],
            Self::Webp => &["webp"],
            Self::Heic => &["heic"],
            Self::Gif => &["gif"],
        }
    }

    /// Decoder for thumbnails. There is none for HEIC.
    pub(super) fn decoder(self) -> Option<image::ImageFormat> {
        match self {
            Self::Jpeg => Some(image::ImageFormat::Jpeg),
            Self::Png => Some(image::ImageFormat::Png),
            Self::Webp => Some(image::ImageFormat::WebP),
            Self::Gif => Some(image::ImageFormat::Gif),
            Self::Heic => None,
        }
    }

    fn of(bytes: &[u8]) -> Option<Self> {
        match imagesize::image_type(bytes).ok()? {
            ImageType::Jpeg => Some(Self::Jpeg),
            ImageType::Png => Some(Self::Png),
            ImageType::Webp => Some(Self::Webp),
            ImageType::Gif => Some(Self::Gif),
            ImageType::Heif(Compression::Hevc) => Some(Self::Heic),
            _ => None,
        }
    }
}

impl FromStr for Format {
    type Err = InvalidFormat;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // A media type may have parameters, and ignores case (RFC 9110, section 8.3.1).
        let kind = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match kind.as_str() {
            // Names used by phones and old browsers.
            "image/jpg" | "image/pjpeg" => Ok(Self::Jpeg),
            "image/heif" => Ok(Self::Heic),
            kind => {
                let all = [Self::Jpeg, Self::Png, Self::Webp, Self::Heic, Self::Gif];
                all.into_iter().find(|format| format.as_str() == kind).ok_or(InvalidFormat)
            }
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.as_str())
    }
}

/// Result of examining a file's first bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Detected {
    /// Format, and width and height as displayed.
    Picture(Format, u32, u32),
    /// The format is known. The size comes later in the file, if at all.
    Unmeasured,
    /// No accepted format.
    Unknown,
}

pub(super) fn detect(bytes: &[u8]) -> Detected {
    let Some(format) = Format::of(bytes) else { return Detected::Unknown };
    if format == Format::Jpeg {
        let measures = jpeg_measures(bytes);
        return measures.map_or(Detected::Unmeasured, |(w, h)| Detected::Picture(format, w, h));
    }
    let Ok(size) = imagesize::blob_size(bytes) else { return Detected::Unmeasured };
    let (Ok(width), Ok(height)) = (size.width.try_into(), size.height.try_into()) else {
        return Detected::Unknown;
    };
    // The announced canvas may differ from the content.
    if format == Format::Webp {
        match webp_frame(bytes) {
            Some((w, h)) if w <= width && h <= height => {}
            Some(_) => return Detected::Unknown,
            None => return Detected::Unmeasured,
        }
    }
    Detected::Picture(format, width, height)
}

/// Size of the first frame of a WebP. Decoders unpack it before they compare it with the canvas.
///
/// <https://developers.google.com/speed/webp/docs/riff_container>
fn webp_frame(bytes: &[u8]) -> Option<(u32, u32)> {
    let mut rest = bytes.get(12..)?;
    loop {
        let ([a, b, c, d, l0, l1, l2, l3], data) = rest.split_first_chunk()?;
        let length = usize::try_from(u32::from_le_bytes([*l0, *l1, *l2, *l3])).ok()?;
        rest = match &[*a, *b, *c, *d] {
            b"VP8 " => {
                // A frame tag of 3 bytes and a start code of 3, then 14 bits for each side.
                let [w0, w1, h0, h1] = *data.get(6..10)?.first_chunk()?;
                let side = |low, high| u32::from(u16::from_le_bytes([low, high]) & 0x3fff);
                return Some((side(w0, w1), side(h0, h1)));
            }
            b"VP8L" => {
                // A signature of 1 byte, then 14 bits for each side, less one.
                let bits = u32::from_le_bytes(*data.get(1..5)?.first_chunk()?);
                return Some(((bits & 0x3fff) + 1, (bits >> 14 & 0x3fff) + 1));
            }
            // A frame of an animation has its own chunks, after its 16 bytes of fields.
            b"ANMF" => data.get(16..)?,
            _ => data.get(length.checked_add(length % 2)?..)?,
        };
    }
}

fn is_on_its_side(orientation: Orientation) -> bool {
    use Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
    matches!(orientation, Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH)
}

/// Size of a JPEG as displayed: the size of its frame, turned by the orientation in the first EXIF before it
/// (ITU-T T.81, annex B). Fill bytes may precede any marker.
fn jpeg_measures(bytes: &[u8]) -> Option<(u32, u32)> {
    let mut rest = bytes.get(2..)?;
    let mut orientation = None;
    loop {
        let ([0xff, marker], after) = rest.split_first_chunk()? else { return None };
        if *marker == 0xff {
            rest = rest.get(1..)?;
            continue;
        }
        let length = usize::from(u16::from_be_bytes(*after.first_chunk()?));
        let segment = after.get(2..length)?;
        match *marker {
            // A scan, or the end: there is no frame.
            0xda | 0xd9 => return None,
            // The other markers of this range are no frames.
            0xc0..=0xcf if !matches!(*marker, 0xc4 | 0xc8 | 0xcc) => {
                let [_, h0, h1, w0, w1] = *segment.first_chunk()?;
                let side = |high, low| u32::from(u16::from_be_bytes([high, low]));
                let (width, height) = (side(w0, w1), side(h0, h1));
                let turned = orientation.is_some_and(is_on_its_side);
                return Some(if turned { (height, width) } else { (width, height) });
            }
            0xe1 if orientation.is_none() => {
                let exif = segment.strip_prefix(b"Exif\0\0");
                orientation = exif.and_then(Orientation::from_exif_chunk);
            }
            _ => {}
        }
        rest = after.get(length..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples;

    #[test]
    fn a_kind_is_one_of_five() {
        for format in ["image/jpeg", "image/png", "image/webp", "image/heic", "image/gif"] {
            assert_eq!(format.parse::<Format>().unwrap().as_str(), format);
        }
        for (other, format) in [
            ("image/heif", Format::Heic),
            ("image/jpg", Format::Jpeg),
            ("IMAGE/PNG", Format::Png),
            ("image/png; x=y", Format::Png),
        ] {
            assert_eq!(other.parse::<Format>().unwrap(), format);
        }
        for other in ["", "image/svg+xml", "text/html", "image/*", "image/pngx", ";image/png"] {
            assert!(other.parse::<Format>().is_err(), "{other}");
        }
    }

    #[test]
    fn b52_b53_a_picture_is_known_by_its_first_bytes() {
        for format in [Format::Jpeg, Format::Png, Format::Webp, Format::Gif] {
            let bytes = samples::picture(format, 64, 48);
            assert_eq!(detect(&bytes), Detected::Picture(format, 64, 48));
        }
        assert_eq!(detect(samples::HEIC), Detected::Picture(Format::Heic, 64, 48));
        for other in samples::NO_PICTURES {
            assert_eq!(detect(other), Detected::Unknown);
        }
    }

    #[test]
    fn b57_a_webp_that_holds_more_than_its_canvas_is_none() {
        let plain = samples::picture(Format::Webp, 64, 48);
        let on_canvas = |width: u8, height: u8| {
            let mut file = plain[..12].to_vec();
            file.extend_from_slice(b"VP8X\x0a\0\0\0\0\0\0\0");
            file.extend_from_slice(&[width - 1, 0, 0, height - 1, 0, 0]);
            file.extend_from_slice(&plain[12..]);
            file
        };
        assert_eq!(detect(&on_canvas(64, 48)), Detected::Picture(Format::Webp, 64, 48));
        for (width, height) in [(1, 1), (64, 47), (63, 48)] {
            assert_eq!(detect(&on_canvas(width, height)), Detected::Unknown);
        }
        assert_eq!(detect(&on_canvas(64, 48)[..30]), Detected::Unmeasured);
    }

    #[test]
    fn fill_bytes_before_a_marker_are_no_damage() {
        let plain = samples::jpeg_with_exif(64, 48, 6);
        let filled = [&plain[..2], &[0xff; 3], &plain[2..]].concat();
        assert_eq!(detect(&filled), Detected::Picture(Format::Jpeg, 48, 64));
    }

    #[test]
    fn a_picture_that_was_taken_upright_is_upright() {
        let bytes = samples::jpeg_with_exif(64, 48, 6);
        assert_eq!(detect(&bytes), Detected::Picture(Format::Jpeg, 48, 64));
    }

    #[test]
    fn whatever_the_bytes_are_it_only_looks() {
        let files: Vec<Vec<u8>> = [Format::Jpeg, Format::Png, Format::Webp, Format::Gif]
            .map(|format| samples::picture(format, 9, 9))
            .into_iter()
            .chain([samples::HEIC.to_vec(), samples::jpeg_with_exif(9, 9, 6)])
            .collect();
        for file in files {
            for end in 0..file.len().min(400) {
                detect(&file[..end]);
                for byte in [0, 1, 0x7f, 0xff] {
                    let mut file = file.clone();
                    file[end] = byte;
                    detect(&file);
                }
            }
        }
    }
}
