//! HEIC: boxes (ISO/IEC 14496-12), and items described in the box `meta` (ISO/IEC 23008-12).
//!
//! EXIF and XMP are items: `iinf` has their kinds, `iloc` the positions of their bytes.

use std::{collections::HashMap, ops::Range};

use super::{Broken, File};

/// Top-level boxes that hold the picture. The data of all others is erased.
const KEPT: [&[u8; 4]; 4] = [b"ftyp", b"meta", b"mdat", b"moov"];
/// Kinds of items that are metadata.
const METADATA: [&[u8; 4]; 3] = [b"Exif", b"mime", b"uri "];

/// EXIF without entries, so that readers that look for EXIF find it valid.
const EMPTY_EXIF: &[u8] = b"\0\0\0\0MM\0\x2a\0\0\0\x08\0\0\0\0\0\0";

pub(super) fn erase(file: &mut File<'_>) -> Result<(), Broken> {
    let boxes = boxes(file, 0..file.len())?;
    let mut erased = Vec::new();
    for boxed in &boxes {
        if &boxed.kind == b"meta" {
            // A full box: version and flags precede its boxes.
            let within = boxed.data.start + 4..boxed.data.end;
            erased.extend(metadata(file, within, &boxes)?);
        } else if !KEPT.contains(&&boxed.kind) {
            erased.push(Erased { range: boxed.data.clone(), is_exif: false });
        }
    }
    // Items may refer to the same bytes again and again: overlapping ranges are refused.
    erased.sort_unstable_by_key(|erased| (erased.range.start, erased.range.end));
    if erased.is_sorted_by(|one, next| one.range.end <= next.range.start) {
        for metadata in erased {
            metadata.erase(file);
        }
        return Ok(());
    }
    Err(Broken)
}

/// Metadata to erase.
struct Erased {
    range: Range<usize>,
    is_exif: bool,
}

impl Erased {
    fn erase(self, file: &mut File<'_>) {
        let Range { start, end } = self.range;
        let empty = if self.is_exif && end - start >= EMPTY_EXIF.len() { EMPTY_EXIF } else { b"" };
        file.write(start, empty);
        file.zero(start + empty.len()..end);
    }
}

struct Box {
    kind: [u8; 4],
    data: Range<usize>,
}

fn boxes(file: &File<'_>, within: Range<usize>) -> Result<Vec<Box>, Broken> {
    let (mut boxes, mut at) = (Vec::new(), within.start);
    while at < within.end {
        let length = u32::from_be_bytes(file.array(at).ok_or(Broken)?);
        let kind = file.array(at + 4).ok_or(Broken)?;
        let (head, length) = match length {
            // The box extends to the end.
            0 => (8, within.end - at),
            1 => (16, to_usize(u64::from_be_bytes(file.array(at + 8).ok_or(Broken)?))?),
            length => (8, to_usize(length.into())?),
        };
        let end = at.checked_add(length).filter(|end| *end <= within.end).ok_or(Broken)?;
        if length < head {
            return Err(Broken);
        }
        boxes.push(Box { kind, data: at + head..end });
        at = end;
    }
    Ok(boxes)
}

/// Positions of all metadata.
fn metadata(file: &File<'_>, within: Range<usize>, outer: &[Box]) -> Result<Vec<Erased>, Broken> {
    let inner = boxes(file, within)?;
    let find = |kind: &[u8; 4]| inner.iter().find(|boxed| &boxed.kind == kind);
    let Some(information) = find(b"iinf") else { return Ok(Vec::new()) };
    let mut items = items_of_metadata(file, information.data.clone())?;
    if items.is_empty() {
        return Ok(Vec::new());
    }
    let places = find(b"iloc").ok_or(Broken)?;
    let mut erased = Vec::new();
    for Location { item, is_in_meta, range } in locations(file, places.data.clone())? {
        let Some((is_exif, found)) = items.get_mut(&item) else { continue };
        let (boxes, kind, from) = if is_in_meta {
            (&inner[..], b"idat", find(b"idat").map_or(0, |boxed| boxed.data.start))
        } else {
            (outer, b"mdat", 0)
        };
        let range = shifted(range, from)?;
        let is_inside = |boxed: &Box| {
            &boxed.kind == kind && boxed.data.start <= range.start && range.end <= boxed.data.end
        };
        if !boxes.iter().any(is_inside) {
            return Err(Broken);
        }
        *found = true;
        erased.push(Erased { range, is_exif: *is_exif });
    }
    if items.values().all(|(_, found)| *found) { Ok(erased) } else { Err(Broken) }
}

fn shifted(range: Range<usize>, by: usize) -> Result<Range<usize>, Broken> {
    let add = |at: usize| at.checked_add(by).ok_or(Broken);
    Ok(add(range.start)?..add(range.end)?)
}

/// Ids of the metadata items, each with two flags: whether it is EXIF, and whether its position was found.
fn items_of_metadata(
    file: &File<'_>,
    within: Range<usize>,
) -> Result<HashMap<u64, (bool, bool)>, Broken> {
    let version = file.byte(within.start).ok_or(Broken)?;
    let count = if version == 0 { 2 } else { 4 };
    let mut items = HashMap::new();
    for entry in boxes(file, within.start + 4 + count..within.end)? {
        let mut fields = Fields { file, at: entry.data.start, end: entry.data.end };
        let version = fields.number(1)?;
        fields.number(3)?;
        // Older versions have no kinds.
        let width = match version {
            2 => 2,
            3 => 4,
            _ => continue,
        };
        let id = fields.number(width)?;
        fields.number(2)?;
        let kind = u32::try_from(fields.number(4)?).map_err(|_| Broken)?.to_be_bytes();
        if METADATA.contains(&&kind) {
            items.insert(id, (&kind == b"Exif", false));
        }
    }
    Ok(items)
}

/// A part of an item: its bytes, counted from the beginning of the file or of the box `idat`.
struct Location {
    item: u64,
    is_in_meta: bool,
    range: Range<usize>,
}

fn locations(file: &File<'_>, within: Range<usize>) -> Result<Vec<Location>, Broken> {
    let mut fields = Fields { file, at: within.start, end: within.end };
    let version = fields.number(1)?;
    fields.number(3)?;
    let sizes = fields.number(2)?;
    let width = |shift: u32| to_usize(sizes >> shift & 0xf);
    let (offset, length, base) = (width(12)?, width(8)?, width(4)?);
    let index = if version == 0 { 0 } else { width(0)? };
    let wide = if version < 2 { 2 } else { 4 };
    let mut all = Vec::new();
    for _ in 0..fields.number(wide)? {
        let item = fields.number(wide)?;
        let method = if version == 0 { 0 } else { fields.number(2)? & 0xf };
        fields.number(2)?;
        let base = fields.number(base)?;
        for _ in 0..fields.number(2)? {
            fields.number(index)?;
            let (offset, length) = (fields.number(offset)?, fields.number(length)?);
            // In all known files, parts of other items hold no metadata.
            let is_in_meta = match method {
                0 => false,
                1 => true,
                _ => continue,
            };
            let start = base.checked_add(offset).ok_or(Broken).and_then(to_usize)?;
            let end = start.checked_add(to_usize(length)?).ok_or(Broken)?;
            all.push(Location { item, is_in_meta, range: start..end });
        }
    }
    Ok(all)
}

/// Reads consecutive numbers of a box.
struct Fields<'a> {
    file: &'a File<'a>,
    at: usize,
    end: usize,
}

impl Fields<'_> {
    /// The next number, of this many bytes: at most 8.
    fn number(&mut self, width: usize) -> Result<u64, Broken> {
        let end = self.at + width;
        let bytes = self.file.get(self.at..end).filter(|_| width <= 8 && end <= self.end);
        self.at = end;
        Ok(bytes.ok_or(Broken)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }
}

fn to_usize(number: u64) -> Result<usize, Broken> {
    usize::try_from(number).map_err(|_| Broken)
}
