//! Small pictures for tests, and files that only claim to be pictures.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "a test fails by panicking"
)]

use std::io::Cursor;

use image::{DynamicImage, RgbImage};

use crate::format::Format;

/// The boxes of a HEIC picture of 64 × 48, without the picture.
pub const HEIC: &[u8] = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic\
    \0\0\0\x30meta\0\0\0\0\0\0\0\x24iprp\0\0\0\x1cipco\
    \0\0\0\x14ispe\0\0\0\0\0\0\0\x40\0\0\0\x30";

/// Files that are no pictures.
pub const NO_PICTURES: [&[u8]; 8] = [
    b"<svg xmlns=\"http://www.w3.org/2000/svg\"><script>alert(1)</script></svg>",
    b"<?xml version=\"1.0\"?><svg xmlns=\"http://www.w3.org/2000/svg\"/>",
    b"<!doctype html><script>alert(1)</script>",
    b"%PDF-1.7\n1 0 obj\n",
    b"\0\0\0\x18ftypisom\0\0\0\0isommp42",
    b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf",
    b"BM\x46\0\0\0\0\0\0\0\x36\0\0\0",
    b"",
];

/// A picture with distinctive stripes.
pub fn picture(format: Format, width: u32, height: u32) -> Vec<u8> {
    let stripes = RgbImage::from_fn(width, height, |x, _| {
        image::Rgb(if x % 2 == 0 { [200, 30, 30] } else { [30, 30, 200] })
    });
    let mut file = Cursor::new(Vec::new());
    let format = format.decoder().expect("a format that can be written");
    DynamicImage::from(stripes).write_to(&mut file, format).unwrap();
    file.into_inner()
}

/// A JPEG as a phone saves it, with its orientation in EXIF.
#[cfg(test)]
pub(crate) fn jpeg_with_exif(width: u32, height: u32, orientation: u8) -> Vec<u8> {
    let mut exif = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0".to_vec();
    exif.extend([orientation, 0, 0, 0, 0, 0, 0]);
    let mut file = vec![0xff, 0xd8, 0xff, 0xe1];
    file.extend(u16::try_from(exif.len() + 2).unwrap().to_be_bytes());
    file.extend(exif);
    file.extend(&picture(Format::Jpeg, width, height)[2..]);
    file
}

/// A PNG of a few bytes that claims 50,000 × 50,000 pixels.
pub fn bomb() -> Vec<u8> {
    let mut file =
        b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\xc3\x50\0\0\xc3\x50\x08\x02\0\0\0".to_vec();
    file.extend(crc32(&file[12..29]).to_be_bytes());
    file.extend(b"\0\0\0\x0aIDAT\x78\x9c\x03\0\0\0\0\x01\0\0");
    file
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg())
        })
    })
}
