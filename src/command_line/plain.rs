//! Failures as one plain line. Libraries put several texts of their own before the reason. An operator
//! needs the reason and the variable that it concerns.

/// Prefixes of library texts without information of their own.
const WRAPPERS: [&str; 12] = [
    "Error occurred while ",
    "Timeout occurred while ",
    "error connecting to server",
    "error performing TLS handshake",
    "db error",
    "Input/output error",
    "IO Error",
    "error sending request",
    "client error",
    "tcp connect error",
    "Operation failed",
    "HTTP export failed",
];

/// Fragments of library texts, and their meaning.
const MEANINGS: [(&str, &str); 19] = [
    ("Connection refused", "nothing listens there"),
    ("ConnectionRefused", "nothing listens there"),
    ("failed to lookup address", "its name can't be resolved"),
    ("No route to host", "no network route leads there"),
    ("Network is unreachable", "no network route leads there"),
    ("not valid for name", "its certificate is for another name"),
    ("certificate expired", "its certificate has expired"),
    ("invalid peer certificate", "its certificate is not from a trusted authority"),
    (
        "cluster support disabled",
        "it is not a cluster: set REDIS_HOST instead of REDIS_CLUSTER_NODES",
    ),
    ("server does not support TLS", "it offers no TLS"),
    ("does not support SSL", "it offers no TLS"),
    ("imed out", "it does not answer in time"),
    ("Timeout occurred", "it does not answer in time"),
    ("deadline has elapsed", "it does not answer in time"),
    ("Broken pipe", "it closes the connection; it may be another kind of server"),
    ("BrokenPipe", "it closes the connection; it may be another kind of server"),
    ("connection closed", "it closes the connection; it may be another kind of server"),
    ("Connection reset", "it closes the connection; it may be another kind of server"),
    ("network error", "it can't be reached"),
];

/// The line: the failed operation and the reason.
pub(super) fn line(error: &anyhow::Error) -> String {
    let whole = format!("{error:#}");
    let meaning = of_postgres(error).or_else(|| of_status(error)).or_else(|| {
        let known = MEANINGS.into_iter().find(|(words, _)| whole.contains(words));
        known.map(|(_, meaning)| meaning.to_owned())
    });
    let is_librarys = |text: &str| {
        WRAPPERS.iter().any(|wrapper| text.starts_with(wrapper))
            || MEANINGS.iter().any(|(words, _)| text.contains(words))
    };
    let mut parts: Vec<String> = Vec::new();
    for text in error.chain().map(ToString::to_string) {
        // Many libraries repeat the text of the cause.
        let is_repeated = parts.iter().any(|part| part.contains(&text));
        if !is_librarys(&text) && !is_repeated {
            parts.push(text);
        }
    }
    if meaning.is_some() && is_of_library(error) {
        parts.pop();
    }
    parts.extend(meaning);
    if parts.is_empty() {
        parts.push(whole);
    }
    parts.join(": ").replace(['\r', '\n'], " ")
}

/// Whether the root cause is an answer of a database or server. The meaning replaces its text.
fn is_of_library(error: &anyhow::Error) -> bool {
    let root = error.root_cause();
    root.is::<tokio_postgres::error::DbError>() || root.is::<reqwest::Error>()
}

fn of_postgres(error: &anyhow::Error) -> Option<String> {
    let db =
        error.chain().find_map(|cause| cause.downcast_ref::<tokio_postgres::error::DbError>())?;
    let meaning = match db.code().code() {
        "28P01" | "28000" => "it refuses POSTGRES_USER or POSTGRES_PASSWORD",
        "3D000" => "it has no database POSTGRES_DB",
        "42501" => "POSTGRES_USER lacks a right",
        "53300" => "it accepts no more connections (max_connections, or the limit of its role)",
        "57P03" => "it is starting, or shutting down",
        "08P01" if db.message().contains("startup parameter") => {
            "a pooler such as PgBouncer stands before it and accepts no options: set POSTGRES_HOST \
             and POSTGRES_PORT to PostgreSQL itself"
        }
        code => return Some(format!("it refuses with SQLSTATE {code}")),
    };
    Some(meaning.to_owned())
}

fn of_status(error: &anyhow::Error) -> Option<String> {
    let asked = error.chain().find_map(|cause| cause.downcast_ref::<reqwest::Error>())?;
    Some(format!("it answers {}", asked.status()?))
}

#[cfg(test)]
mod tests {
    use std::io;

    use anyhow::{Context, anyhow};

    use super::*;

    #[test]
    fn the_words_of_libraries_are_left_out_and_ours_stay() {
        let refused = || io::Error::from_raw_os_error(111);
        let chained = anyhow!(refused()).context("error connecting to server");
        let ours = chained.context("Error occurred while creating a new object");
        assert_eq!(line(&ours), "nothing listens there");
        assert_eq!(
            line(&ours.context("PostgreSQL can't be reached")),
            "PostgreSQL can't be reached: nothing listens there"
        );
        let plain = Err::<(), _>(anyhow!("MySQL error 1045 (SQLSTATE 28000): MYSQL_USER"));
        let plain = plain.context("looking up a customer").unwrap_err();
        assert_eq!(
            line(&plain),
            "looking up a customer: MySQL error 1045 (SQLSTATE 28000): MYSQL_USER"
        );
        assert_eq!(line(&anyhow!("db error")), "db error", "a reason that is all there is stays");
    }
}
