//! JPEG: segments after markers, and the picture's own data between them (ITU-T T.81, annex B).

use super::File;

/// Segments that the picture needs, by marker and first bytes: the sizes of JFIF, the colour profile, Adobe's
/// colour transform.
const KEPT: [(u8, &[u8]); 3] = [(0xe0, b"JFIF\0"), (0xe2, b"ICC_PROFILE\0"), (0xee, b"Adobe")];
const EXIF: &[u8] = b"Exif\0\0";

pub(super) fn erase(file: &mut File<'_>) {
    let mut at = 2;
    while let Some([0xff, marker]) = file.array(at) {
        match marker {
            // A fill byte before a marker.
            0xff => at += 1,
            // The end. Phones append a film, and Samsung phones the location.
            0xd9 => {
                at += 2;
                break;
            }
            0x00 | 0x01 | 0xd0..=0xd8 => at += 2,
            _ => {
                let Some([_, _, high, low]) = file.array(at) else { break };
                let end = at + 2 + usize::from(u16::from_be_bytes([high, low]));
                // Application data, or a comment.
                if matches!(marker, 0xe0..=0xfe) {
                    erase_segment(file, marker, at + 4, end);
                }
                at = end.max(at + 4);
                if marker == 0xda {
                    at = end_of_scan(file, at);
                }
            }
        }
        at = next_marker(file, at);
    }
    file.zero(at..file.len());
}

fn erase_segment(file: &mut File<'_>, marker: u8, start: usize, end: usize) {
    let Some(data) = file.get(start..end) else { return file.zero(start..end) };
    if KEPT.iter().any(|(kept, begins)| *kept == marker && data.starts_with(begins)) {
        return;
    }
    if marker == 0xe1 && data.starts_with(EXIF) {
        let exif = start + EXIF.len()..end;
        if file.keep_orientation(exif) {
            return;
        }
    }
    file.zero(start..end);
}

/// Position after the data of a scan: the first marker that is not part of the data.
fn end_of_scan(file: &File<'_>, mut at: usize) -> usize {
    while let Some([first, second]) = file.array(at) {
        if first == 0xff && !matches!(second, 0x00 | 0xd0..=0xd7 | 0xff) {
            return at;
        }
        at += 1;
    }
    file.len()
}

/// Position of the next marker. Decoders skip the bytes before it; they are erased.
fn next_marker(file: &mut File<'_>, at: usize) -> usize {
    let rest = file.get(at..file.len()).unwrap_or_default();
    let skipped = rest.iter().position(|byte| *byte == 0xff).unwrap_or(rest.len());
    file.zero(at..at + skipped);
    at + skipped
}
