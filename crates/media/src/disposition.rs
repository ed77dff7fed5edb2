//! Header by which a browser shows a picture, and saves it.

use crate::format::Format;
use model::image::FileName;

/// `Content-Disposition` of a picture: shown inline, and saved under its name. The name always ends with an
/// extension of the format: a picture that is a web page too must not be saved as one.
pub(super) fn disposition(name: Option<&FileName>, format: Format) -> String {
    let mut name = name.map_or("picture", FileName::as_str).to_owned();
    let ends = name.rsplit_once('.').map(|(_, end)| end.to_ascii_lowercase());
    let extensions = format.extensions();
    if !ends.is_some_and(|end| extensions.contains(&end.as_str())) {
        name = format!("{name}.{}", extensions.first().unwrap_or(&"img"));
    }
    // For clients that can't read the other form. None of these characters can end the quotes.
    let plain: String = name
        .chars()
        .map(|letter| match letter {
            'A'..='Z' | 'a'..='z' | '0'..='9' | '.' | '-' | '_' | ' ' | '(' | ')' => letter,
            _ => '_',
        })
        .collect();
    let encoded: String = name
        .bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_' => char::from(byte).into(),
            _ => format!("%{byte:02X}"),
        })
        .collect();
    format!("inline; filename=\"{plain}\"; filename*=UTF-8''{encoded}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_can_neither_leave_its_quotes_nor_make_a_page_of_a_picture() {
        let header = |name: &str, format| {
            disposition(Some(&FileName::try_from(name.to_owned()).unwrap()), format)
        };
        assert_eq!(
            header("a\"; filename=\"evil.html", Format::Jpeg),
            "inline; filename=\"a__ filename__evil.html.jpg\"; \
             filename*=UTF-8''a%22%3B%20filename%3D%22evil.html.jpg"
        );
        assert_eq!(
            header("Zähne.PNG", Format::Png),
            "inline; filename=\"Z_hne.PNG\"; filename*=UTF-8''Z%C3%A4hne.PNG"
        );
        assert_eq!(
            disposition(None, Format::Heic),
            "inline; filename=\"picture.heic\"; filename*=UTF-8''picture.heic"
        );
    }
}
