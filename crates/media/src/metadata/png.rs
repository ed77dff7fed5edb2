//! PNG: chunks of length, type, data and checksum (PNG specification, third edition, section 5).

use super::File;

const SIGNATURE: usize = 8;
/// Size of length, type and checksum.
const AROUND: usize = 12;
/// Ancillary chunks that control how the picture is displayed.
const KEPT: [&[u8; 4]; 17] = [
    b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"sBIT", b"bKGD", b"hIST", b"pHYs", b"cICP",
    b"mDCV", b"cLLI", b"acTL", b"fcTL", b"fdAT", b"sPLT", BLANK,
];
/// A private type without a meaning, in place of a type whose data is erased.
const BLANK: &[u8; 4] = b"voId";
const EXIF: &[u8; 4] = b"eXIf";

pub(super) fn erase(file: &mut File<'_>) {
    let mut at = SIGNATURE;
    while let (Some(length), Some(kind)) = (file.array(at), file.array::<4>(at + 4)) {
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        let Some(next) = at.checked_add(AROUND).and_then(|at| at.checked_add(length)) else {
            break;
        };
        if !kind.iter().all(u8::is_ascii_alphabetic) {
            break;
        }
        if next > file.len() {
            // The file is cut off: the part of the picture that exists stays.
            at = if is_kept(kind) { file.len() } else { at };
            break;
        }
        if &kind == EXIF {
            erase_chunk(file, at, length, true);
        } else if !is_kept(kind) {
            erase_chunk(file, at, length, false);
        }
        at = next;
        if &kind == b"IEND" {
            break;
        }
    }
    file.zero(at..file.len());
}

/// Critical chunks, whose type begins with a capital letter, are the picture.
fn is_kept(kind: [u8; 4]) -> bool {
    kind.first().is_some_and(u8::is_ascii_uppercase) || KEPT.contains(&&kind)
}

fn erase_chunk(file: &mut File<'_>, at: usize, length: usize, is_exif: bool) {
    let data = at + 8..at + 8 + length;
    if is_exif && file.keep_orientation(data.clone()) {
        checksum(file, at, length);
        return;
    }
    file.write(at + 4, BLANK);
    file.zero(data);
    checksum(file, at, length);
}

/// Renews the checksum, which is over type and data.
fn checksum(file: &mut File<'_>, at: usize, length: usize) {
    let Some(checked) = file.get(at + 4..at + 8 + length) else { return };
    let checksum = crc32fast::hash(checked);
    file.write(at + 8 + length, &checksum.to_be_bytes());
}
