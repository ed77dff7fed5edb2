//! Metadata in a picture's file: place, time, device, comments. It is erased before the other side may fetch
//! the file.
//!
//! Erasing overwrites the metadata in place and keeps the file's length and structure: the upload URL has
//! signed the length, and offsets within the file stay valid. Erasing twice changes nothing more, so a
//! repeated send finds the file as expected. Colour profiles and the orientation of a JPEG, PNG or WebP stay.
//! A HEIC keeps its orientation outside its metadata.

mod gif;
mod heic;
mod jpeg;
mod png;
#[cfg(test)]
mod tests;
mod webp;

use std::ops::Range;

use image::metadata::Orientation;

use crate::format::Format;

/// The file's structure can't be parsed, so its metadata can't be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broken;

/// Erases the metadata of a picture of this format. Returns whether anything was changed.
pub(super) fn erase(bytes: &mut [u8], format: Format) -> Result<bool, Broken> {
    let mut file = File { bytes, changed: false };
    match format {
        Format::Jpeg => jpeg::erase(&mut file),
        Format::Png => png::erase(&mut file),
        Format::Webp => webp::erase(&mut file),
        Format::Gif => gif::erase(&mut file),
        Format::Heic => heic::erase(&mut file)?,
    }
    Ok(file.changed)
}

/// A file, and whether it was changed.
struct File<'a> {
    bytes: &'a mut [u8],
    changed: bool,
}

impl File<'_> {
    fn len(&self) -> usize {
        self.bytes.len()
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.bytes.get(at).copied()
    }

    /// Bytes of a range. `None` if the file ends before it.
    fn get(&self, range: Range<usize>) -> Option<&[u8]> {
        self.bytes.get(range)
    }

    fn array<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.bytes.get(at..)?.first_chunk().copied()
    }

    /// Overwrites a range with zeros, at most to the end of the file.
    fn zero(&mut self, range: Range<usize>) {
        let end = range.end.min(self.bytes.len());
        for byte in self.bytes.get_mut(range.start..end).into_iter().flatten() {
            self.changed |= *byte != 0;
            *byte = 0;
        }
    }

    /// Overwrites bytes at this offset, if the file is long enough.
    fn write(&mut self, at: usize, new: &[u8]) {
        let Some(old) = self.bytes.get_mut(at..at.saturating_add(new.len())) else { return };
        self.changed |= old != new;
        old.copy_from_slice(new);
    }

    /// Replaces EXIF with a minimal one that has only the orientation. Returns whether any EXIF is left: an
    /// upright picture needs none.
    fn keep_orientation(&mut self, exif: Range<usize>) -> bool {
        let orientation = self.get(exif.clone()).and_then(Orientation::from_exif_chunk);
        let kept = orientation.filter(|orientation| *orientation != Orientation::NoTransforms);
        match kept.map(minimal_exif) {
            Some(minimal) if minimal.len() <= exif.len() => {
                self.write(exif.start, &minimal);
                self.zero(exif.start + minimal.len()..exif.end);
                true
            }
            _ => {
                self.zero(exif);
                false
            }
        }
    }
}

/// A TIFF header and a directory of one entry: the orientation, tag 0x0112 of EXIF 2.32.
fn minimal_exif(orientation: Orientation) -> [u8; 26] {
    let mut exif = *b"MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\0\0\0\0\0\0\0";
    if let Some(value) = exif.get_mut(19) {
        *value = orientation.to_exif();
    }
    exif
}
