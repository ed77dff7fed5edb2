//! Text of a push: the operator's templates, filled in.

use chat::pushes::PushNotification;

/// Maximum length of a name or a text in a push, in characters: it is a preview.
const SHOWN_MAX: usize = 160;
/// Text for a picture without a text.
const PICTURE: &str = "📷";

/// Fills in `{name}` and `{text}` of a template in one pass: a text that contains `{name}` keeps it.
pub(super) fn fill(template: &str, notification: &PushNotification) -> String {
    let mut filled = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(at) = rest.find('{') {
        let (before, from) = rest.split_at(at);
        filled.push_str(before);
        if let Some(after) = from.strip_prefix("{name}") {
            filled.push_str(&shown(&notification.sender_name));
            rest = after;
        } else if let Some(after) = from.strip_prefix("{text}") {
            filled.push_str(&shown(notification.text.as_deref().unwrap_or(PICTURE)));
            rest = after;
        } else {
            filled.push('{');
            rest = from.get(1..).unwrap_or_default();
        }
    }
    filled.push_str(rest);
    filled
}

/// Puts a text on one line, limits its length, and breaks anything that the push service would take for a
/// template.
fn shown(text: &str) -> String {
    let mut shown = String::new();
    for (count, letter) in text.trim().chars().enumerate() {
        if count == SHOWN_MAX {
            shown.push('…');
            break;
        }
        if matches!(letter, '{' | '%') && shown.ends_with('{') {
            shown.push('\u{200b}');
        }
        shown.push(if letter.is_control() { ' ' } else { letter });
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn say(template: &str, name: &str, text: Option<&str>) -> String {
        let notification =
            PushNotification { sender_name: name.to_owned(), text: text.map(str::to_owned) };
        fill(template, &notification)
    }

    #[test]
    fn a_template_is_filled_in_once() {
        let said = say("{name}: {text} {when} {", "Dana {text}", Some("see {name}"));
        assert_eq!(said, "Dana {text}: see {name} {when} {");
        assert_eq!(say("New message", "Dana", Some("secret")), "New message");
        assert_eq!(say("{text}", "Dana", None), "📷");
    }

    #[test]
    fn b44_what_is_shown_is_short_and_means_nothing_to_the_service() {
        let said = say("{text}", "Dana", Some(&"é".repeat(8_000)));
        assert_eq!(said, format!("{}…", "é".repeat(160)));
        assert_eq!(say("{text}", "Dana", Some("a\r\nb\n")), "a  b");
        let said = say("{text}", "Dana", Some("{{ user.email }} {% if %} {{{"));
        assert!(!said.contains("{{") && !said.contains("{%"), "{said}");
    }
}
