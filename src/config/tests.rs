use super::*;
use bus::redis::config::RedisServers;
use platform::tls::Tls;

/// Configuration of a node with these variables.
pub(crate) fn read(variables: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let set = variables.iter().map(|(name, value)| ((*name).into(), (*value).into()));
    Config::read(&Variables::new(set, known::NAMES))
}

pub(super) fn problem(variables: &[(&str, &str)]) -> String {
    read(variables).expect_err("must be refused").to_string()
}

pub(super) const PRODUCTION: [(&str, &str); 12] = [
    ("NODE_ENV", "production"),
    ("DJANGO_JWT_SECRET", "0123456789abcdef"),
    ("REDIS_HOST", "redis"),
    ("MYSQL_HOST", "mysql"),
    ("MYSQL_DB", "legacy"),
    ("MYSQL_USER", "reader"),
    ("S3_BUCKET", "pictures"),
    ("AWS_REGION", "eu-west-1"),
    ("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE"),
    ("AWS_SECRET_ACCESS_KEY", "a secret key"),
    ("POSTGRES_DB", "frontdesk"),
    ("POSTGRES_USER", "frontdesk"),
];

#[test]
fn nothing_set_is_an_embedded_node_that_only_this_machine_reaches() {
    let config = read(&[]).unwrap();
    assert!(config.postgres.is_none() && config.redis.is_none() && config.development_issuer());
    assert!(config.host.is_loopback());
    assert_eq!(config.port, 3000);
}

#[test]
fn tenants_with_metrics_of_their_own_are_numbers() {
    let listed = |list| read(&[("METRICS_TENANTS", list)]).unwrap().metrics_tenants;
    assert!(read(&[]).unwrap().metrics_tenants.is_empty());
    assert_eq!(listed("7, 2,7").iter().map(|tenant| tenant.number()).collect::<Vec<_>>(), [2, 7]);
    let many = (1..=101).map(|number| number.to_string()).collect::<Vec<_>>().join(",");
    for wrong in ["main", "0", "-2", "2;7", &many] {
        let problem = problem(&[("METRICS_TENANTS", wrong)]);
        assert!(problem.starts_with("METRICS_TENANTS: "), "{problem}");
    }
}

#[test]
fn limits_have_defaults_and_are_off_at_0() {
    let limits = read(&[]).unwrap().limits;
    let numbers = [
        limits.sends_per_user_s,
        limits.connections_per_user,
        limits.connections_per_address,
        limits.requests_per_address_s,
        limits.opens_per_user_min,
        limits.unanswered_per_user,
    ];
    assert_eq!(numbers.map(|limit| limit.unwrap().get()), [20, 20, 1_000, 100, 10, 50]);
    assert!(limits.trusted_proxies.is_empty());
    let off = [("LIMIT_SENDS_PER_USER_S", "0"), ("TRUSTED_PROXIES", "10.0.0.0/8, ::1")];
    let limits = read(&off).unwrap().limits;
    assert_eq!((limits.sends_per_user_s, limits.trusted_proxies.len()), (None, 2));
    for wrong in ["1.5", "-1", "many", "4294967295"] {
        let problem = problem(&[("LIMIT_CONNECTIONS_PER_USER", wrong)]);
        assert!(problem.starts_with("LIMIT_CONNECTIONS_PER_USER: "), "{problem}");
    }
    for wrong in ["nginx", "10.0.0.0/33", "10.0.0.1-10.0.0.9"] {
        let problem = problem(&[("TRUSTED_PROXIES", wrong)]);
        assert!(problem.starts_with("TRUSTED_PROXIES: "), "{problem}");
    }
}

#[test]
fn c14_the_nodes_secret_is_set_or_made_of_what_all_nodes_share() {
    let secret = |variables: &[(&str, &str)]| {
        let cluster = read(variables).unwrap().cluster;
        (secrecy::ExposeSecret::expose_secret(&cluster.secret).to_owned(), cluster.source)
    };
    let (one, other) = ("0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210");
    let set = ("CLUSTER_SECRET", format!("{one}, {other}"));
    let rotating = read(&[("REDIS_HOST", "redis"), (set.0, &set.1)]).unwrap();
    assert!(rotating.cluster.also_valid.is_some() && rotating.warnings().is_empty());
    assert_eq!(secret(&[(set.0, &set.1)]), (one.to_owned(), SecretSource::Set));
    for wrong in ["short", &one[1..], &format!("{one},short"), &format!("{one},{one},{one}")] {
        let problem = problem(&[("CLUSTER_SECRET", wrong)]);
        assert!(problem.starts_with("CLUSTER_SECRET: must be one secret of at least 32"));
        assert!(!problem.contains(wrong), "{problem}");
    }
    let django = ("DJANGO_JWT_SECRET", "0123456789abcdef");
    let password = ("POSTGRES_PASSWORD", "p");
    let names = [("POSTGRES_HOST", "db"), ("POSTGRES_DB", "chat"), ("POSTGRES_USER", "u")];
    let with = |more: &[(&'static str, &'static str)]| secret(&[&names[..], more].concat());
    let derived = with(&[password, django]);
    assert_eq!(derived.1, SecretSource::Derived(vec![password.0, django.0]));
    assert_eq!(derived, with(&[django, password]), "the same on all nodes");
    assert_ne!(derived.0, with(&[("POSTGRES_PASSWORD", "q"), django]).0);
    assert_ne!(derived.0, with(&[django]).0);
    assert_eq!(with(&[]).1, SecretSource::Nothing);
}

#[test]
fn c14_production_with_redis_has_a_secret_of_the_nodes() {
    let keys = [("DJANGO_JWKS_URL", "https://django.example/jwks"), ("POSTGRES_HOST", "db")];
    let without: Vec<_> = PRODUCTION.into_iter().filter(|it| it.0 != "DJANGO_JWT_SECRET").collect();
    let problem = problem(&[&without[..], &keys].concat());
    assert!(problem.starts_with("CLUSTER_SECRET: is not set"), "{problem}");
    let set = [("CLUSTER_SECRET", "0123456789abcdef0123456789abcdef")];
    assert!(read(&[&without[..], &keys, &set].concat()).is_ok());
    let derived = read(&[&PRODUCTION[..], &[("POSTGRES_HOST", "db")]].concat()).unwrap();
    let said =
        |config: &Config| config.warnings().iter().any(|it| it.starts_with("CLUSTER_SECRET"));
    assert!(said(&derived), "it starts as it is, with a warning");
    let embedded =
        [("NODE_ENV", "production"), ("EMBEDDED", "true"), ("DJANGO_JWKS_URL", "https://a.b/c")];
    assert!(!said(&read(&embedded).unwrap()), "one node needs none");
}

#[test]
fn what_people_took_back_is_kept_for_30_days_or_as_long_as_is_set() {
    let days = |days: u64| Some(Duration::from_hours(days * 24));
    assert_eq!(read(&[]).unwrap().edits_retention, days(30));
    for (set, kept) in [("1", days(1)), ("0", None)] {
        assert_eq!(read(&[("EDITS_RETENTION_DAYS", set)]).unwrap().edits_retention, kept);
    }
    for wrong in ["-1", "3651", "a while"] {
        let problem = problem(&[("EDITS_RETENTION_DAYS", wrong)]);
        assert!(problem.starts_with("EDITS_RETENTION_DAYS: "), "{problem}");
    }
}

#[test]
fn a_relation_query_takes_a_customer_and_a_dentist() {
    let with = |query| {
        let mysql = [("MYSQL_HOST", "mysql"), ("MYSQL_DB", "legacy"), ("MYSQL_USER", "reader")];
        [&mysql[..], &[("MYSQL_MAY_TALK_QUERY", query)]].concat()
    };
    assert_eq!(read(&with("")).unwrap().mysql.unwrap().may_talk_query, None);
    let query = "SELECT 1 FROM visits WHERE patient = ? AND dentist = ?";
    let read = read(&with(query)).unwrap().mysql.unwrap();
    assert_eq!(read.may_talk_query.as_deref(), Some(query));
    let problem = problem(&with("SELECT 1 FROM visits WHERE patient = ?"));
    assert!(problem.starts_with("MYSQL_MAY_TALK_QUERY: must hold two ?"), "{problem}");
}

#[test]
fn the_replaced_services_names_work_as_they_are() {
    let config = read(&[
        ("POSTGRES_HOST", "db"),
        ("POSTGRES_DB", "chat"),
        ("POSTGRES_USER", "u"),
        ("POSTGRES_PASSWORD", " p "),
        ("REDIS_HOST", "redis"),
        ("REDIS_PORT", "6380"),
        ("COGNITO_USER_POOL_ID", "eu-west-1_abc"),
        ("AWS_REGION", "eu-west-1"),
        ("LOG_LEVEL", "debug"),
    ])
    .unwrap();
    let postgres = config.postgres.unwrap();
    assert_eq!((postgres.port, postgres.pool_size), (5432, 20));
    assert_eq!(secrecy::ExposeSecret::expose_secret(&postgres.password.unwrap()), " p ");
    assert_eq!(config.redis.unwrap().hosts(), [("redis".to_owned(), 6380)]);
    let issuer = config.tokens.cognito.unwrap().issuer;
    assert_eq!(issuer, "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_abc");
    assert!(!config.host.is_loopback());
}

#[test]
fn a_bad_variable_is_one_line_that_names_it() {
    for (variables, name) in [
        (vec![("PORT", "many")], "PORT"),
        (vec![("PORT", "70000")], "PORT"),
        (vec![("LOG_LEVEL", "loud")], "LOG_LEVEL"),
        (vec![("PING_INTERVAL_MS", "0")], "PING_INTERVAL_MS"),
        (vec![("DIRECTORY_CACHE_S", "0")], "DIRECTORY_CACHE_S"),
        (vec![("POSTGRES_HOST", "db")], "POSTGRES_DB"),
        (vec![("CORS_ORIGINS", "https://a.example/path")], "CORS_ORIGINS"),
        (vec![("DJANGO_JWKS_URL", "file:///etc/passwd")], "DJANGO_JWKS_URL"),
        (vec![("DJANGO_JWT_SECRET", "short")], "DJANGO_JWT_SECRET"),
        (vec![("COGNITO_USER_POOL_ID", "x")], "COGNITO_REGION"),
        (vec![("ONESIGNAL_APP_ID", "x")], "ONESIGNAL_API_KEY"),
        (vec![("ONESIGNAL_API_KEY", "x")], "ONESIGNAL_APP_ID"),
        (vec![("S3_BUCKET", "b")], "AWS_SECRET_ACCESS_KEY"),
        (vec![("S3_BUCKET", "b"), ("AWS_SECRET_ACCESS_KEY", "k")], "AWS_REGION"),
        (vec![PRODUCTION[6], PRODUCTION[7], PRODUCTION[9]], "AWS_ACCESS_KEY_ID"),
        (vec![("S3_ENDPOINT", "minio:9000"), PRODUCTION[6], PRODUCTION[9]], "S3_ENDPOINT"),
        (
            vec![
                ("S3_BUCKET", "pictures"),
                ("AWS_REGION", "eu-central-1"),
                ("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE"),
                ("AWS_SECRET_ACCESS_KEY", "secret"),
                ("S3_PUBLIC_ENDPOINT", "https://pictures.example"),
            ],
            "S3_ENDPOINT",
        ),
        (vec![("EMBEDDED", "maybe"), PRODUCTION[0], PRODUCTION[1]], "EMBEDDED"),
    ] {
        let problem = problem(&variables);
        assert!(problem.starts_with(&format!("{name}: ")), "{problem}");
        assert_eq!(problem.lines().count(), 1);
    }
}

#[test]
fn production_names_the_part_that_is_missing() {
    assert!(problem(&PRODUCTION).starts_with("POSTGRES_HOST: "));
    assert!(problem(&PRODUCTION[..1]).starts_with("COGNITO_USER_POOL_ID: "));
    let mut whole = PRODUCTION.to_vec();
    whole.push(("POSTGRES_HOST", "db"));
    assert!(!read(&whole).unwrap().development_issuer());
    let small = [PRODUCTION[0], PRODUCTION[1], ("EMBEDDED", "true")];
    assert!(read(&small).unwrap().postgres.is_none());
}

#[test]
fn i14_secrets_do_not_print() {
    let secret = "hunter2hunter2hunter2";
    let config = read(&[
        ("POSTGRES_HOST", "db"),
        ("POSTGRES_DB", "chat"),
        ("POSTGRES_USER", "u"),
        ("POSTGRES_PASSWORD", secret),
        ("REDIS_HOST", "redis"),
        ("REDIS_PASSWORD", secret),
        ("DJANGO_JWT_SECRET", secret),
        ("ONESIGNAL_APP_ID", "modules"),
        ("ONESIGNAL_API_KEY", secret),
        ("S3_BUCKET", "pictures"),
        ("S3_ENDPOINT", "http://127.0.0.1:9000"),
        ("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", secret),
    ]);
    assert!(config.as_ref().unwrap().s3.is_some());
    assert!(!format!("{config:?}").contains(secret));
}

#[test]
fn a_log_level_may_have_the_name_that_the_replaced_service_gave_it() {
    for (name, level) in [
        ("warning", tracing::Level::WARN),
        ("http", tracing::Level::INFO),
        ("verbose", tracing::Level::DEBUG),
        ("SILLY", tracing::Level::TRACE),
        ("critical", tracing::Level::ERROR),
    ] {
        assert_eq!(read(&[("LOG_LEVEL", name)]).unwrap().log.level, level, "{name}");
    }
}

#[test]
fn an_address_may_be_named_localhost_and_a_nodes_own_must_be_one() {
    assert!(read(&[("HOST", "localhost")]).unwrap().host.is_loopback());
    assert!(read(&[("NODE_ADDRESS", "10.0.0.7:3000")]).unwrap().node_address.is_some());
    assert!(problem(&[("NODE_ADDRESS", "10.0.0.7")]).starts_with("NODE_ADDRESS: "));
    assert!(
        problem(&[("DJANGO_JWKS_URL", "https://u:p@x.example/keys")])
            .starts_with("DJANGO_JWKS_URL: ")
    );
}

#[test]
fn what_someone_wrote_is_in_a_push_only_where_the_operator_says_so() {
    let onesignal = [("ONESIGNAL_APP_ID", "modules"), ("ONESIGNAL_API_KEY", "key")];
    let with = |more: &[(&'static str, &'static str)]| [&onesignal, more].concat();
    let pushes = read(&onesignal).unwrap().pushes.unwrap();
    assert_eq!(pushes.base_url, "https://api.onesignal.com");
    assert!(!format!("{}{}", pushes.title, pushes.text).contains('{'));
    for (variable, template) in [("PUSH_TITLE", "From {name}"), ("PUSH_TEXT", "{text}")] {
        let problem = problem(&with(&[(variable, template)]));
        assert!(problem.starts_with(&format!("{variable}: ")), "{problem}");
        read(&with(&[(variable, template), ("PUSH_SHOW_TEXT", "true")])).unwrap();
    }
    let shown = read(&with(&[("PUSH_SHOW_TEXT", "true")])).unwrap().pushes.unwrap();
    assert_eq!((shown.title.as_str(), shown.text.as_str()), ("{name}", "{text}"));
    assert!(read(&[]).unwrap().pushes.is_none());
}

#[test]
fn a_redis_cluster_is_a_list_of_nodes_in_place_of_one_host() {
    let nodes = "redis-a:6379, [fe80::1]:7000";
    let config = read(&[("REDIS_CLUSTER_NODES", nodes)]).unwrap().redis.unwrap();
    let expected = vec![("redis-a".to_owned(), 6379), ("fe80::1".to_owned(), 7000)];
    assert_eq!(config.servers, RedisServers::Cluster(expected));
    for bad in ["redis-a", "redis-a:x", ":6379", "fe80::1:6379", "redis://a:6379", "u:p@a:6379"] {
        let problem = problem(&[("REDIS_CLUSTER_NODES", bad)]);
        assert!(problem.starts_with("REDIS_CLUSTER_NODES: must be"), "{problem}");
    }
    let both = problem(&[("REDIS_HOST", "redis"), ("REDIS_CLUSTER_NODES", nodes)]);
    assert!(both.starts_with("REDIS_CLUSTER_NODES: is set together with REDIS_HOST"), "{both}");
    // Production needs no other bus.
    let mut whole = PRODUCTION.to_vec();
    whole.retain(|(name, _)| *name != "REDIS_HOST");
    whole.push(("POSTGRES_HOST", "db"));
    assert!(problem(&whole).starts_with("REDIS_HOST: "));
    whole.push(("REDIS_CLUSTER_NODES", nodes));
    read(&whole).unwrap();
}

#[test]
fn redis_may_ask_for_a_user_and_speak_tls() {
    let redis = |more: &[(&str, &str)]| {
        read(&[&[("REDIS_HOST", "redis")], more].concat()).unwrap().redis.unwrap()
    };
    assert_eq!(redis(&[]).tls, Tls::Preferred);
    assert_eq!(redis(&[("REDIS_TLS", "true")]).tls, Tls::Required);
    assert_eq!(redis(&[("REDIS_CA_FILE", "/etc/redis.pem")]).tls, Tls::Required);
    let user = redis(&[("REDIS_USER", "node"), ("REDIS_PASSWORD", "p")]).user;
    assert_eq!(user.as_deref(), Some("node"));
    let alone = problem(&[("REDIS_HOST", "redis"), ("REDIS_USER", "node")]);
    assert!(alone.starts_with("REDIS_USER: "), "{alone}");
}

#[test]
fn a_variable_that_has_no_effect_is_named() {
    let config = read(&[
        ("POSTGRES_PASSWD", "misspelt"),
        ("REDIS_PORT", "6380"),
        ("REDIS_URL", "redis://redis"),
        ("PORT", "80"),
        ("POST_OFFICE", "not ours"),
        ("EMBEDED", "true"),
        ("HOME", "/"),
        ("HOSTNAME", "node-a"),
        ("LOGNAME", "root"),
        ("NODE_ENV", "development"),
    ]);
    let unread = config.unwrap().unread;
    let no_such = "is set and has no effect: there is no such variable; is";
    let expected = [
        format!("EMBEDED: {no_such} EMBEDDED meant?"),
        format!("POSTGRES_PASSWD: {no_such} POSTGRES_PASSWORD meant?"),
        "REDIS_PORT: is set and has no effect without another variable, which is not set".into(),
        "REDIS_URL: is set and has no effect: a node reads no such variable".into(),
    ];
    assert_eq!(unread, expected);
    let slip = problem(&[("POSTGRES_HOST", "db"), ("POSTGRES_DBS", "chat")]);
    assert!(slip.ends_with("(POSTGRES_DBS is set: a slip?)"), "{slip}");
}

#[test]
fn a_number_that_is_wrong_is_answered_with_its_range_and_its_unit() {
    let ping = "must be a number from 100 to 3600000 (milliseconds)";
    let sends = "must be a number from 0 to 1000000 (messages a second; 0: no limit)";
    for (variable, wrong, expected) in [
        ("PORT", "seventy", "must be a number from 0 to 65535 (a TCP port)"),
        ("PORT", "70000", "must be a number from 0 to 65535 (a TCP port)"),
        ("PING_INTERVAL_MS", "0", ping),
        ("PING_INTERVAL_MS", "25s", ping),
        ("LIMIT_SENDS_PER_USER_S", "2000000", sends),
        ("LIMIT_SENDS_PER_USER_S", "-1", sends),
        ("EDITS_RETENTION_DAYS", "3651", "must be a number from 0 to 3650 (days; 0: for ever)"),
        ("OUTBOUND_MEMORY_MIB", "15", "must be a number from 16 to 1048576 (MiB)"),
        ("HOST", "frontdesk.example", "must be an IP address of this machine, or localhost"),
        ("LOG_LEVEL", "loud", "must be error, warn, info, debug or trace"),
    ] {
        assert_eq!(problem(&[(variable, wrong)]), format!("{variable}: {wrong:?}: {expected}"));
    }
}

#[test]
fn an_unknown_environment_is_refused_and_the_known_ones_are_named() {
    for (name, take) in [
        ("prod", "set production"),
        ("Production", "set production"),
        ("staging", "set production for staging too"),
        ("dev", "set development"),
        ("CI", "set test"),
        ("qwerty", "set one of them"),
    ] {
        let problem = problem(&[("NODE_ENV", name)]);
        let known = format!("NODE_ENV: {name:?}: must be production, development or test; {take}");
        assert!(problem.starts_with(&known), "{problem}");
    }
    for development in ["development", "test", ""] {
        assert!(!read(&[("NODE_ENV", development)]).unwrap().production, "{development}");
    }
}

#[test]
fn the_admin_port_is_another_one() {
    assert_eq!(read(&[]).unwrap().admin_port, None);
    assert_eq!(read(&[("ADMIN_PORT", "9090")]).unwrap().admin_port, Some(9090));
    for wrong in ["3000", "-1", "70000", "metrics"] {
        assert!(problem(&[("ADMIN_PORT", wrong)]).starts_with("ADMIN_PORT: "), "{wrong}");
    }
    let same = [("PORT", "8080"), ("ADMIN_PORT", "8080")];
    assert!(problem(&same).starts_with("ADMIN_PORT: must differ from PORT"));
}
