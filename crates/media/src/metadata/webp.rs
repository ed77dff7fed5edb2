//! WebP: chunks of a RIFF file.
//!
//! <https://developers.google.com/speed/webp/docs/riff_container>

use super::File;

/// Size of `RIFF`, the length, and `WEBP`.
const HEADER: usize = 12;
const KEPT: [&[u8; 4]; 7] = [b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ICCP", BLANK];
/// RIFF's own type for a chunk to be skipped.
const BLANK: &[u8; 4] = b"JUNK";
/// Flags in `VP8X`: EXIF or XMP is present.
const HAS_EXIF: u8 = 0x08;
const HAS_XMP: u8 = 0x04;
/// Size of an animation frame's position and time, which precede its chunks.
const FRAME: usize = 16;

pub(super) fn erase(file: &mut File<'_>) {
    let length = file.array(4).map_or(0, u32::from_le_bytes);
    let end = usize::try_from(length).unwrap_or(usize::MAX).saturating_add(8).min(file.len());
    let mut has_exif = false;
    chunks(file, HEADER, end, &mut has_exif, true);
    file.zero(end..file.len());
    if file.get(HEADER..HEADER + 4) == Some(b"VP8X")
        && let Some(flags) = file.byte(HEADER + 8)
    {
        let exif = if has_exif { flags & HAS_EXIF } else { 0 };
        file.write(HEADER + 8, &[flags & !(HAS_EXIF | HAS_XMP) | exif]);
    }
}

fn chunks(file: &mut File<'_>, mut at: usize, end: usize, has_exif: &mut bool, outer: bool) {
    while let (Some(kind), Some(length)) = (file.array::<4>(at), file.array(at + 4)) {
        let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
        let data = at + 8;
        let after = data.saturating_add(length).min(end);
        if data > end || !kind.is_ascii() || kind.contains(&0) {
            break;
        }
        match &kind {
            b"ANMF" if outer => {
                chunks(file, data.saturating_add(FRAME).min(after), after, has_exif, false);
            }
            b"EXIF" if outer => {
                // Some programs write JPEG's prefix before it.
                let prefix = if file.get(data..data + 6) == Some(b"Exif\0\0") { 6 } else { 0 };
                if file.keep_orientation((data + prefix).min(after)..after) {
                    *has_exif = true;
                } else {
                    file.write(at, BLANK);
                    file.zero(data..after);
                }
            }
            kind if KEPT.contains(&kind) => {}
            _ => {
                file.write(at, BLANK);
                file.zero(data..after);
            }
        }
        at = after.saturating_add(length % 2);
        if at >= end {
            return;
        }
    }
    file.zero(at..end);
}
