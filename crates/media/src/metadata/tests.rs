use std::io::Cursor;

use image::{DynamicImage, ImageDecoder, ImageReader};

use super::*;
use crate::{format::detect, samples};

/// Pictures written by other programs, with EXIF, XMP, comments or a trailer that contain `secret`.
const LOCATED: [(Format, &[u8]); 5] = [
    (Format::Jpeg, include_bytes!("located.jpg")),
    (Format::Png, include_bytes!("located.png")),
    (Format::Webp, include_bytes!("located.webp")),
    (Format::Gif, include_bytes!("located.gif")),
    (Format::Heic, include_bytes!("located.heic")),
];

fn is_secret(bytes: &[u8]) -> bool {
    bytes.windows(6).any(|part| part == b"secret")
}

fn shown(bytes: &[u8], format: Format) -> DynamicImage {
    let reader = ImageReader::with_format(Cursor::new(bytes), format.decoder().unwrap());
    let mut decoder = reader.into_decoder().unwrap();
    let orientation = decoder.orientation().unwrap();
    let mut picture = DynamicImage::from_decoder(decoder).unwrap();
    picture.apply_orientation(orientation);
    picture
}

#[test]
fn place_device_and_comments_are_erased_and_the_picture_stays() {
    for (format, file) in LOCATED {
        assert!(is_secret(file), "{format}");
        let mut erased = file.to_vec();
        assert_eq!(erase(&mut erased, format), Ok(true), "{format}");
        assert!(!is_secret(&erased), "{format}");
        assert!(!erased.windows(5).any(|part| part == b"phone"), "{format}");
        assert_eq!(erased.len(), file.len(), "{format}");
        assert_eq!(detect(&erased), detect(file), "{format}");
        if format.decoder().is_some() {
            assert_eq!(shown(&erased, format), shown(file, format), "{format}");
        }
        // A second send of the same picture finds nothing to erase.
        assert_eq!(erase(&mut erased, format), Ok(false), "{format}");
    }
}

#[test]
fn a_picture_without_metadata_is_left_as_it_is() {
    for format in [Format::Jpeg, Format::Png, Format::Webp, Format::Gif] {
        let file = samples::picture(format, 40, 30);
        let mut same = file.clone();
        assert_eq!(erase(&mut same, format), Ok(false), "{format}");
        assert_eq!(same, file);
    }
    assert_eq!(erase(&mut samples::HEIC.to_vec(), Format::Heic), Ok(false));
}

#[test]
fn a_jpeg_in_several_scans_keeps_them() {
    let file = include_bytes!("progressive.jpg");
    let mut erased = file.to_vec();
    assert_eq!(erase(&mut erased, Format::Jpeg), Ok(false));
    assert_eq!(shown(&erased, Format::Jpeg), shown(file, Format::Jpeg));
}

#[test]
fn whatever_the_bytes_are_it_ends_and_is_done_at_once() {
    for (format, file) in LOCATED {
        for end in 0..file.len() {
            erased_twice(&mut file[..end].to_vec(), format);
        }
        for at in 0..file.len().min(900) {
            for byte in [0, 1, 0x7f, 0xff] {
                let mut file = file.to_vec();
                file[at] = byte;
                erased_twice(&mut file, format);
            }
        }
    }
}

fn erased_twice(file: &mut [u8], format: Format) {
    if erase(file, format).is_ok() {
        assert!(!erase(file, format).unwrap_or(false), "{format}");
    }
}

/// A box of this kind.
fn boxed(kind: [u8; 4], data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(data.len() + 8).unwrap();
    [&length.to_be_bytes(), kind.as_slice(), data].concat()
}

#[test]
fn items_that_claim_the_whole_file_again_and_again_are_refused() {
    for items in [1_u16, 1_000] {
        let mut information = [&[0; 4], items.to_be_bytes().as_slice()].concat();
        let picture = boxed(*b"mdat", &[7; 1_000]);
        // Version 0, offsets and lengths of 4 bytes.
        let mut places = [b"\0\0\0\0\x44\0", items.to_be_bytes().as_slice()].concat();
        for id in 0..items {
            let entry = [b"\x02\0\0\0", id.to_be_bytes().as_slice(), b"\0\0Exif\0"].concat();
            information.extend(boxed(*b"infe", &entry));
            // One part: the data of `mdat`, after the box `ftyp` and the head of `mdat`.
            places.extend(
                [id.to_be_bytes().as_slice(), b"\0\0\0\x01\0\0\0\x20\0\0\x03\xe8"].concat(),
            );
        }
        let meta = [vec![0; 4], boxed(*b"iinf", &information), boxed(*b"iloc", &places)].concat();
        let head = boxed(*b"ftyp", b"heic\0\0\0\0mif1heic");
        let mut file = [head, picture, boxed(*b"meta", &meta)].concat();
        let expected = if items == 1 { Ok(true) } else { Err(Broken) };
        assert_eq!(erase(&mut file, Format::Heic), expected);
    }
}
