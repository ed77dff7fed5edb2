use super::*;
use crate::config::tests::{PRODUCTION, problem, read};

/// Production configuration that passes every check.
const SECURE: [(&str, &str); 10] = [
    ("CLUSTER_SECRET", "0123456789abcdef0123456789abcdef"),
    ("POSTGRES_HOST", "127.0.0.1"),
    ("REDIS_HOST", "localhost"),
    ("REDIS_PASSWORD", "a password"),
    ("MYSQL_HOST", "127.0.0.1"),
    ("DJANGO_JWT_SECRET", "0123456789abcdef0123456789abcdef"),
    ("COGNITO_ISSUER", "https://issuer.example"),
    ("COGNITO_CLIENT_IDS", "modules"),
    ("CORS_ORIGINS", "https://portal.example"),
    ("TRUSTED_PROXIES", "10.0.0.10"),
];

/// Later variables replace earlier ones. An empty variable counts as unset.
fn config(more: &[(&str, &str)]) -> Config {
    read(&[&PRODUCTION[..], &SECURE, more].concat()).unwrap()
}

fn verdict(name: &str, more: &[(&str, &str)]) -> Verdict {
    let check = config(more).checks().into_iter().find(|check| check.name == name);
    check.unwrap_or_else(|| panic!("no check {name}")).verdict
}

#[test]
fn a_secure_configuration_passes_every_check_and_warns_of_nothing() {
    let config = config(&[]);
    let failed: Vec<_> =
        config.checks().into_iter().filter(|check| check.verdict != Verdict::Ok).collect();
    assert!(failed.is_empty(), "{failed:?}");
    assert_eq!(config.checks().len(), 10);
    assert_eq!((config.warnings(), config.refusal()), (Vec::new(), None));
    let development = [&SECURE[..], &[("NODE_ENV", "development"), ("MYSQL_HOST", "")]].concat();
    let development = [&development[..], &[("POSTGRES_HOST", ""), ("REDIS_HOST", "")]].concat();
    assert!(read(&development).unwrap().checks().is_empty(), "checks are of production");
}

#[test]
fn each_warning_is_one_line_that_names_the_variable_and_what_to_set() {
    for (name, variable, more) in [
        ("short-secret", "DJANGO_JWT_SECRET", ("DJANGO_JWT_SECRET", "0123456789abcdef")),
        ("any-client", "COGNITO_CLIENT_IDS", ("COGNITO_CLIENT_IDS", "")),
        ("any-origin", "CORS_ORIGINS", ("CORS_ORIGINS", "")),
        ("trusted-proxies", "TRUSTED_PROXIES", ("TRUSTED_PROXIES", "")),
        ("redis-password", "REDIS_PASSWORD", ("REDIS_PASSWORD", "")),
        ("http-s3", "S3_ENDPOINT", ("S3_ENDPOINT", "http://minio.example:9000")),
        ("postgres-tls", "POSTGRES_TLS", ("POSTGRES_HOST", "10.0.0.21")),
        ("redis-tls", "REDIS_TLS", ("REDIS_HOST", "redis.example")),
        ("mysql-tls", "MYSQL_TLS", ("MYSQL_HOST", "mysql")),
    ] {
        let Verdict::Warning(line) = verdict(name, &[more]) else { panic!("{name} warns not") };
        assert!(line.starts_with(&format!("{variable}: ")), "{line}");
        assert!(line.contains("; set "), "it says what to set: {line}");
        assert_eq!(line.lines().count(), 1, "{line}");
        // A node warns of plain text after it has tried TLS with the server.
        let warned = config(&[more]).warnings().contains(&line);
        assert_eq!(warned, !name.ends_with("-tls"), "{name}");
        assert_eq!(config(&[more]).refusal(), None);
    }
    assert_eq!(verdict("any-origin", &[("CORS_ORIGINS", "*")]), Verdict::Ok);
    assert_eq!(verdict("http-s3", &[("S3_ENDPOINT", "http://127.0.0.1:9000")]), Verdict::Ok);
}

#[test]
fn keys_over_http_from_another_machine_are_refused_unless_that_is_allowed() {
    for (variable, url) in [
        ("COGNITO_ISSUER", "http://issuer.example/pool"),
        ("DJANGO_JWKS_URL", "http://10.0.0.5:8000/keys"),
    ] {
        let refusal = config(&[(variable, url)]).refusal().expect("it is refused").to_string();
        assert!(refusal.starts_with(&format!("{variable}: ")), "{refusal}");
        assert!(refusal.contains("; set an https URL, or ALLOW_INSECURE=http-issuer"), "{refusal}");
        let allowed = [(variable, url), ("ALLOW_INSECURE", "http-s3, http-issuer")];
        assert_eq!(config(&allowed).refusal(), None);
        assert_eq!(verdict("http-issuer", &allowed), Verdict::Allowed);
    }
    for here in ["http://127.0.0.1:9", "http://[::1]:9", "http://localhost:9", "https://i.example"]
    {
        assert_eq!(verdict("http-issuer", &[("COGNITO_ISSUER", here)]), Verdict::Ok, "{here}");
    }
}

#[test]
fn what_is_allowed_is_a_list_of_known_names() {
    for wrong in ["http-issuers", "HTTP-ISSUER", "all", "http-issuer;http-s3"] {
        let problem = problem(&[("ALLOW_INSECURE", wrong)]);
        assert!(problem.starts_with("ALLOW_INSECURE: "), "{problem}");
        assert!(ALLOWABLE.iter().all(|name| problem.contains(name)), "it lists them: {problem}");
    }
    let all = ALLOWABLE.join(",");
    let insecure = [
        ("ALLOW_INSECURE", all.as_str()),
        ("COGNITO_ISSUER", "http://issuer.example"),
        ("COGNITO_CLIENT_IDS", ""),
        ("DJANGO_JWT_SECRET", "0123456789abcdef"),
        ("REDIS_PASSWORD", ""),
        ("S3_ENDPOINT", "http://minio:9000"),
    ];
    for name in ALLOWABLE {
        assert_eq!(verdict(name, &insecure), Verdict::Allowed, "{name}");
    }
    assert!(config(&insecure).warnings().is_empty());
}

#[test]
fn a_server_beyond_this_machine_is_asked_for_tls_unless_plain_text_is_meant() {
    let tls = |more: &[(&str, &str)]| {
        let config = config(more);
        let redis = config.redis.unwrap().tls;
        [config.postgres.unwrap().tls, redis, config.mysql.unwrap().tls]
    };
    assert_eq!(tls(&[]), [Tls::Off; 3], "nothing leaves this machine");
    for host in
        ["10.0.0.21", "db", "db.example", "[2001:db8::1]", "192.168.1.1", "localhost.example"]
    {
        let hosts = [("POSTGRES_HOST", host), ("REDIS_HOST", host), ("MYSQL_HOST", host)];
        assert_eq!(tls(&hosts), [Tls::Preferred; 3], "{host}");
        for (set, expected) in [("true", Tls::Required), ("false", Tls::Off)] {
            let set = [("POSTGRES_TLS", set), ("REDIS_TLS", set), ("MYSQL_TLS", set)];
            assert_eq!(tls(&[&hosts[..], &set].concat()), [expected; 3], "{host}");
        }
    }
    for host in ["127.0.0.1", "127.8.8.8", "::1", "[::1]", "localhost", "LOCALHOST.", "a.localhost"]
    {
        assert_eq!(tls(&[("POSTGRES_HOST", host)])[0], Tls::Off, "{host}");
    }
    assert_eq!(tls(&[("POSTGRES_HOST", "/run/postgresql")])[0], Tls::Off);
    assert_eq!(tls(&[("MYSQL_CA_FILE", "/etc/ca.pem")])[2], Tls::Required);
    let cluster = [("REDIS_HOST", ""), ("REDIS_CLUSTER_NODES", "127.0.0.1:1,redis-b:2")];
    assert_eq!(tls(&cluster)[1], Tls::Preferred, "one of its nodes is elsewhere");
    let both = [("POSTGRES_HOST", "db"), ("POSTGRES_DB", "d"), ("POSTGRES_USER", "u")];
    let both = [&both[..], &[("POSTGRES_TLS", "false"), ("POSTGRES_CA_FILE", "/ca.pem")]].concat();
    assert!(problem(&both).starts_with("POSTGRES_TLS: is false, but POSTGRES_CA_FILE is set"));
}
