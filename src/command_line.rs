//! Arguments, commands and exit codes.

mod check;
mod health;
mod jobs;
mod migrate;
mod plain;
mod restored;
mod secrets;
mod token;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::{Parser, Subcommand, ValueEnum};

use crate::{config::Config, serve::serve};
use model::person::PersonId;
use platform::{telemetry, variables::ConfigError};

const AFTER_HELP: &str = "\
Environment variables configure a node; docs/configuration.md lists all of them. Without any variable
a node is self-contained: a SQLite file in DATA_DIR (./data), a development issuer and a demo page.

  PORT=3000             port to listen on
  POSTGRES_HOST=…       database; two or more nodes need it and REDIS_HOST=…
  NODE_ENV=production   refuse to start if a part is missing
  LOG_LEVEL=info        error, warn, info, debug or trace

  frontdesk                                run a self-contained node
  frontdesk check-config --connect         check the configuration and each connection before a deployment
  frontdesk migrate && frontdesk serve     migrate as a separate step, then run
  TOKEN=$(frontdesk token --kind dentist --id 7)    get a token for a test

Exit codes: 0 success, 1 failure (such as not ready or unreachable), 2 a wrong variable or argument.";

/// frontdesk: real-time chat between customers and professionals
#[derive(Debug, Parser)]
#[command(name = "frontdesk", version, after_help = AFTER_HELP)]
struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a node until SIGTERM, then drain it (the default command)
    Serve,
    /// Migrate the database, then exit
    ///
    /// Nodes do the same at their start, under a lock. If this command runs first, as a database user
    /// with the right to change tables, the nodes' own user only needs rights to select, insert, update
    /// and delete rows of all tables (`refinery_schema_history` too, and tables of later migrations),
    /// and to use sequences. See docs/deploy.md for the statements. `SEARCH_LANGUAGE` must have the
    /// nodes' value.
    Migrate(migrate::Ask),
    /// Keys of the tenants' secrets at rest
    #[command(subcommand)]
    Secrets(secrets::Ask),
    /// Renew the epoch of message order after a restore, so that clients reload their sessions
    ///
    /// A restored database lacks its newest messages, and assigns their numbers to others. Run this
    /// after each restore, before the nodes start. A promoted PostgreSQL server is detected without it.
    Restored,
    /// List, replay and drop jobs, such as pushes that failed
    ///
    /// A job that has failed in all its attempts is a dead letter. It is kept for 30 days. With the embedded
    /// database the node must be stopped first.
    #[command(subcommand)]
    Jobs(jobs::Ask),
    /// Check whether the node on this machine is ready, for container health checks
    Health(health::Ask),
    /// Print a token signed by the development key or by `DJANGO_JWT_SECRET`
    Token(token::Ask),
    /// Check the configuration and print each part of it
    CheckConfig(check::Ask),
}

/// Kind of token holder.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    Customer,
    Dentist,
    /// A dentist who is also an admin.
    Admin,
}

/// Runs the command in the arguments.
#[must_use]
pub fn run() -> ExitCode {
    let command = match CommandLine::try_parse() {
        Ok(line) => line.command.unwrap_or(Command::Serve),
        Err(error) => {
            let asked = !error.use_stderr();
            return if error.print().is_ok() && asked { ExitCode::SUCCESS } else { WRONG.into() };
        }
    };
    let config = match Config::from_env() {
        Ok(config) => config,
        Err(error) => {
            eprintln!("frontdesk: {error}");
            return WRONG.into();
        }
    };
    match carry_out(command, config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("frontdesk: {}", plain::line(&error));
            let is_wrong = error.chain().any(<dyn std::error::Error>::is::<ConfigError>);
            if is_wrong { WRONG.into() } else { ExitCode::FAILURE }
        }
    }
}

/// Exit code for a wrong variable or argument.
const WRONG: u8 = 2;

fn carry_out(command: Command, config: Config) -> anyhow::Result<()> {
    // Two libraries could each install a provider. All must use this one.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let log = config.log;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match command {
        Command::Serve => {
            telemetry::start(log);
            runtime.block_on(serve(config))
        }
        Command::Migrate(ask) => {
            telemetry::start(log);
            runtime.block_on(migrate::run(&ask, &config))
        }
        Command::Secrets(ask) => runtime.block_on(secrets::run(&ask, &config)),
        Command::Restored => {
            telemetry::start(log);
            runtime.block_on(restored::run(&config))
        }
        Command::Jobs(ask) => runtime.block_on(jobs::run(&ask, &config)),
        Command::Health(ask) => runtime.block_on(health::run(&ask, &config)),
        Command::Token(ask) => token::run(&ask, config),
        Command::CheckConfig(ask) => runtime.block_on(check::run(&ask, &config)),
    }
}

/// Writes a command's result to standard output.
fn say(line: &str) -> io::Result<()> {
    writeln!(io::stdout(), "{line}")
}

/// Parses an id argument.
fn id(text: &str) -> Result<PersonId, model::person::InvalidPerson> {
    PersonId::from_outside(text)
}
