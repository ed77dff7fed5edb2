//! `customer` and `dentist` are names on the wire and in rows. Code between them has contacts and agents.

use super::{product, statements::literals};

/// Files whose code may have these names, by their beginning, with the reason.
const NAMING: [(&str, &str); 3] = [
    ("crates/gateway/", "the wire names of requests and answers"),
    ("crates/identity/src/directory/mysql", "the legacy directory of the dental group"),
    ("src/", "the operator's words: variables, output and commands of today's installations"),
];

#[test]
fn only_the_outside_speaks_of_customers_and_dentists() {
    for (file, code) in product() {
        if NAMING.iter().any(|(start, _)| file.starts_with(start)) {
            continue;
        }
        let (texts, code) = literals(&code);
        // Otherwise code and texts have changed places: a raw string has an odd number of quotes in it.
        let odd = texts.iter().find(|text| text.contains("\nfn ") || text.contains("\nimpl "));
        assert_eq!(odd, None, "{file}: code was read as a text");
        let code = code.to_lowercase();
        for name in ["customer", "dentist", "patient"] {
            let line = code.lines().find(|line| line.contains(name));
            assert_eq!(line, None, "{file}");
        }
    }
}

#[test]
fn texts_between_quotes_are_no_code() {
    let code = r#"let a = "dentist \" dentist"; let quote = '"'; let b = dentist;"#;
    let (texts, around) = literals(code);
    assert_eq!(texts, ["dentist \" dentist"]);
    assert_eq!(around, r#"let a = ; let quote = '"'; let b = dentist;"#);
}
