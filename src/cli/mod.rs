//! The command line: what was typed, the runtime it needs, and the exit code.
//!
//! 0 is done, 1 is failed, 2 is a wrong use or configuration. Results go to standard output, so
//! that they can be piped; what is said about them goes to standard error. A reader that has seen
//! enough and closes standard output ends a command quietly.

mod arguments;
mod channels;
mod check;
mod open_files;
mod output;
mod pipe;
mod publish;
mod run;
mod tail;

use std::future::Future;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use crate::client::Outboard;
use crate::config::{self, Report, Sources};
use arguments::{Arguments, Command, Where};
use output::{Closed, paint_errors};

/// Something that the one who typed the command can put right.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Usage(String);

/// Does what the arguments say.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match dispatch(arguments) {
        Ok(code) => code,
        Err(error) => exit_code(&error),
    }
}

fn dispatch(arguments: Arguments) -> anyhow::Result<ExitCode> {
    match arguments.command.unwrap_or(Command::Run(arguments.run)) {
        Command::Run(options) => run::run(&options),
        Command::Check(options) => check::check(&options),
        Command::Publish(options) => publish::publish(options),
        Command::Pipe(options) => pipe::pipe(&options),
        Command::Tail(options) => tail::tail(&options),
        Command::Channels(options) => channels::channels(&options),
        Command::Demo(options) => run::demo(&options),
        Command::Completions { shell } => completions(shell),
        Command::Man => manual(),
    }
}

fn exit_code(error: &anyhow::Error) -> ExitCode {
    if error.is::<Closed>() {
        return ExitCode::SUCCESS;
    }
    if let Some(report) = error.downcast_ref::<Report>() {
        output::say(&report.render(paint_errors()));
        return ExitCode::from(2);
    }
    // `{:#}` puts the causes behind the error, in one line.
    output::say(&format!("outboard: {error:#}"));
    if error.is::<Usage>() { ExitCode::from(2) } else { ExitCode::FAILURE }
}

/// Runs a client command to its end on a runtime of its own.
fn block_on<T>(future: impl Future<Output = T>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(future);
    // A thread may still wait for standard input; nobody waits for it.
    runtime.shutdown_background();
    Ok(result)
}

/// The outboard that a client command talks to.
fn outboard(place: &Where) -> anyhow::Result<Outboard> {
    if let Some(socket) = &place.socket {
        return Ok(Outboard::at(vec![socket.clone()]));
    }
    let sources = Sources::of_process(place.config.clone(), Vec::new());
    let named = match sources.socket() {
        Ok(named) => named,
        // The machine's own file may be for the service's eyes only.
        Err(_) if place.config.is_none() => None,
        Err(report) => return Err(report.into()),
    };
    let sockets = match named {
        Some(socket) => vec![socket],
        None => config::socket_candidates(sources.user_folder.as_deref()),
    };
    Ok(Outboard::at(sockets))
}

fn completions(shell: clap_complete::Shell) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "outboard", &mut script);
    output::write(&script)?;
    Ok(ExitCode::SUCCESS)
}

/// All pages one after the other: of `outboard`, then of each of its commands.
fn manual() -> anyhow::Result<ExitCode> {
    let mut command = Arguments::command();
    command.build();
    let mut pages = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut pages)?;
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
        clap_mangen::Man::new(sub.clone()).render(&mut pages)?;
    }
    output::write(&pages)?;
    Ok(ExitCode::SUCCESS)
}
