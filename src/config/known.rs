//! Names of all variables, and the lookup of misspelt ones.

use platform::variables::Names;

/// All variables that a node reads, in alphabetical order.
const KNOWN: [&str; 101] = [
    "ACCEPT_UNSAFE_DATABASE",
    "ADMIN_PORT",
    "ALLOW_INSECURE",
    "AWS_ACCESS_KEY_ID",
    "AWS_REGION",
    "AWS_SECRET_ACCESS_KEY",
    "CLUSTER_ACCEPT_UNSIGNED",
    "CLUSTER_SECRET",
    "COGNITO_CLIENT_IDS",
    "COGNITO_ISSUER",
    "COGNITO_REGION",
    "COGNITO_USER_POOL_ID",
    "CORS_ORIGINS",
    "DATA_DIR",
    "DEV_ADMIN",
    "DEV_ISSUER",
    "DIRECTORY_CACHE_S",
    "DJANGO_ISSUER",
    "DJANGO_JWKS_URL",
    "DJANGO_JWT_SECRET",
    "DRAIN_SPREAD_MS",
    "EDITS_RETENTION_DAYS",
    "EMBEDDED",
    "HOST",
    "LIMIT_CONNECTIONS_PER_ADDRESS",
    "LIMIT_CONNECTIONS_PER_USER",
    "LIMIT_OPENS_PER_USER",
    "LIMIT_REQUESTS_PER_ADDRESS_S",
    "LIMIT_SENDS_PER_USER_S",
    "LIMIT_UNANSWERED_PER_USER",
    "LOG_FORMAT",
    "LOG_LEVEL",
    "MAX_TOKEN_AGE_S",
    "METRICS_TENANTS",
    "MYSQL_CA_FILE",
    "MYSQL_CUSTOMERS_QUERY",
    "MYSQL_DB",
    "MYSQL_DENTISTS_QUERY",
    "MYSQL_HOST",
    "MYSQL_MAY_TALK_QUERY",
    "MYSQL_PASSWORD",
    "MYSQL_PORT",
    "MYSQL_TLS",
    "MYSQL_USER",
    "NODE_ADDRESS",
    "NODE_ENV",
    "NODE_TLS_CA_FILE",
    "NODE_TLS_CERT_FILE",
    "NODE_TLS_KEY_FILE",
    "NODE_TLS_NAME",
    "NODE_TLS_PORT",
    "ONESIGNAL_API_KEY",
    "ONESIGNAL_APP_ID",
    "ONESIGNAL_BASE_URL",
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_HEADERS",
    "OTEL_EXPORTER_OTLP_PROTOCOL",
    "OTEL_EXPORTER_OTLP_TIMEOUT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
    "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
    "OTEL_RESOURCE_ATTRIBUTES",
    "OTEL_SDK_DISABLED",
    "OTEL_SERVICE_NAME",
    "OTEL_TRACES_EXPORTER",
    "OTEL_TRACES_SAMPLER",
    "OTEL_TRACES_SAMPLER_ARG",
    "OUTBOUND_MEMORY_MIB",
    "PING_INTERVAL_MS",
    "PING_TIMEOUT_MS",
    "PLATFORM_API_KEY",
    "PORT",
    "POSTGRES_CA_FILE",
    "POSTGRES_DB",
    "POSTGRES_HOST",
    "POSTGRES_NODE_PASSWORD",
    "POSTGRES_NODE_USER",
    "POSTGRES_PASSWORD",
    "POSTGRES_POOL_SIZE",
    "POSTGRES_PORT",
    "POSTGRES_TLS",
    "POSTGRES_USER",
    "PUSH_DELAY_MS",
    "PUSH_ID_PREFIX",
    "PUSH_SHOW_TEXT",
    "PUSH_TEXT",
    "PUSH_TITLE",
    "REDIS_CA_FILE",
    "REDIS_CLUSTER_NODES",
    "REDIS_HOST",
    "REDIS_PASSWORD",
    "REDIS_PORT",
    "REDIS_TLS",
    "REDIS_USER",
    "S3_BUCKET",
    "S3_ENDPOINT",
    "S3_PUBLIC_ENDPOINT",
    "SEARCH_LANGUAGE",
    "SECRETS_KEY",
    "TRUSTED_PROXIES",
    "TRUSTED_TRACERS",
];

/// Prefixes of our variables.
const PREFIXES: [&str; 25] = [
    "ADMIN_",
    "ALLOW_",
    "CLUSTER_",
    "COGNITO_",
    "CORS_",
    "DIRECTORY_",
    "DJANGO_",
    "DRAIN_",
    "EDITS_",
    "LIMIT_",
    "MYSQL_",
    "NODE_ADDR",
    "NODE_TLS_",
    "ONESIGNAL_",
    "OTEL_",
    "OUTBOUND_",
    "PING_",
    "PLATFORM_",
    "POSTGRES_",
    "PUSH_",
    "REDIS_",
    "S3_",
    "SEARCH_",
    "SECRETS_",
    "TRUSTED_",
];

/// Names of all variables.
pub(super) const NAMES: Names = Names { known: &KNOWN, prefixes: &PREFIXES };

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_names_are_those_of_the_docs_and_in_order() {
        assert!(KNOWN.is_sorted());
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
        let page = root.join("docs/configuration.md");
        let text = std::fs::read_to_string(page).unwrap();
        let rows = text.lines().filter_map(|line| line.strip_prefix("| `")?.split(" | ").next());
        let names = rows.flat_map(|cell| cell.split('`').map(str::to_owned).collect::<Vec<_>>());
        let is_name = |name: &String| {
            let is_letter = |byte: u8| byte.is_ascii_uppercase() || b"_0123456789".contains(&byte);
            name.len() > 3 && name.bytes().all(is_letter)
        };
        let told: BTreeSet<String> = names.filter(is_name).collect();
        let known: BTreeSet<String> = KNOWN.map(str::to_owned).into();
        assert_eq!(told, known, "the tables of docs/configuration.md, and KNOWN");
    }

    #[test]
    fn a_slip_leads_to_the_variable_that_is_meant_and_a_known_one_to_none() {
        for (name, meant) in [
            ("POSTGRES_PASSWD", Some("POSTGRES_PASSWORD")),
            ("POSTGRES_HOTS", Some("POSTGRES_HOST")),
            ("POSTGRES_USERNAME", Some("POSTGRES_USER")),
            ("EMBEDED", Some("EMBEDDED")),
            ("COGNITO_CLIENT_ID", Some("COGNITO_CLIENT_IDS")),
            ("CORS_ORIGIN", Some("CORS_ORIGINS")),
            ("REDIS_PORT", None),
            ("REDIS_URL", None),
            ("HOSTNAME", None),
            ("HOME", None),
            ("PORTS", None),
        ] {
            assert_eq!(NAMES.nearest(name), meant, "{name}");
        }
    }
}
