//! GIF: blocks and extensions, with data in sub-blocks of at most 255 bytes (`GIF89a`).

use super::File;

/// Size of the header and the screen descriptor.
const HEADER: usize = 13;
/// Application extensions that control how the picture is displayed.
const KEPT: [&[u8; 11]; 3] = [b"NETSCAPE2.0", b"ANIMEXTS1.0", b"ICCRGBG1012"];

pub(super) fn erase(file: &mut File<'_>) {
    let Some(flags) = file.byte(10) else { return };
    let mut at = HEADER + colours(flags);
    loop {
        at = match (file.byte(at), file.byte(at + 1)) {
            // An image: its position, an optional colour table, the code size, its data.
            (Some(0x2c), _) => {
                let flags = file.byte(at + 9).unwrap_or(0);
                parts(file, at + 11 + colours(flags), false)
            }
            // Display settings of the next image.
            (Some(0x21), Some(0xf9)) => parts(file, at + 2, false),
            (Some(0x21), Some(0xff)) => {
                let name = file.get(at + 3..at + 14);
                let kept = name.is_some_and(|name| KEPT.iter().any(|kept| *kept == name));
                parts(file, at + 2, !kept)
            }
            // A comment, or text.
            (Some(0x21), Some(_)) => parts(file, at + 2, true),
            // The end.
            (Some(0x3b), _) => break file.zero(at + 1..file.len()),
            _ => break file.zero(at..file.len()),
        };
    }
}

/// Size of a colour table, in bytes.
fn colours(flags: u8) -> usize {
    if flags & 0x80 == 0 { 0 } else { 3 << ((flags & 7) + 1) }
}

/// Position after the sub-blocks. Erased sub-blocks keep their lengths.
fn parts(file: &mut File<'_>, mut at: usize, erased: bool) -> usize {
    while let Some(length) = file.byte(at).filter(|length| *length > 0) {
        let next = at + 1 + usize::from(length);
        if erased {
            file.zero(at + 1..next);
        }
        at = next;
    }
    at + 1
}
