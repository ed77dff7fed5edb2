//! Reads the configuration and runs a node until it is told to end.

use std::{io::Write, process::ExitCode};

use frontdesk::{Config, serve, telemetry};

const HELP: &str = "\
frontdesk: real-time chat between customers and professionals

Usage: frontdesk            run a node until SIGTERM
       frontdesk --help     this text
       frontdesk --version

A node is configured by its environment; README.md has the table. With nothing set it runs on
its own: a SQLite file in DATA_DIR (./data), tokens of its own issuer, and a page to try it on.

  PORT=3000             where to listen
  POSTGRES_HOST=…       the database of more than one node, with REDIS_HOST=…
  NODE_ENV=production   refuse to start where a part is missing
  LOG_LEVEL=info        error, warn, info, debug or trace

Exit codes: 0 drained and done, 1 could not start or run, 2 a variable or argument is wrong.
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => {}
        ["--help" | "-h"] => return say(HELP),
        ["--version" | "-V"] => return say(concat!("frontdesk ", env!("CARGO_PKG_VERSION"), "\n")),
        [unknown, ..] => {
            eprintln!("frontdesk: {unknown:?} is no argument of it; see frontdesk --help");
            return ExitCode::from(2);
        }
    }
    let config = match Config::from_env() {
        Ok(config) => config,
        Err(error) => {
            eprintln!("frontdesk: {error}");
            return ExitCode::from(2);
        }
    };
    telemetry::start(config.log_config());
    match run(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("frontdesk: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(config: Config) -> anyhow::Result<()> {
    // Two libraries could bring a provider of their own; this is the one for all.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(serve(config))
}

fn say(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
