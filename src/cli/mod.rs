//! The command line: what was typed, the runtime it needs, and the exit code.
//!
//! 0 is done, 1 is failed, 2 is a wrong use or configuration. Results go to standard output, so
//! that they can be piped; what is said about them goes to standard error. A reader that has seen
//! enough and closes standard output ends a command quietly.

mod arguments;
mod channels;
mod check;
mod manual;
mod output;
mod pipe;
mod publish;
mod run;
mod tail;

use std::future::Future;
use std::io::IsTerminal;
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
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) if error.use_stderr() && is_pipe() => {
            let _ = error.print();
            pipe::swallow(std::env::args_os().any(|argument| argument == "--tee"));
            return ExitCode::from(2);
        }
        Err(error) => error.exit(),
    };
    let in_pipe = match &arguments.command {
        Some(Command::Pipe(pipe)) => Some(pipe.tee),
        _ => None,
    };
    match dispatch(arguments) {
        Ok(code) => code,
        Err(error) => {
            let code = exit_code(&error);
            // Whatever is wrong with us, the job that writes to us does not die of it.
            if let Some(tee) = in_pipe {
                pipe::swallow(tee);
            }
            code
        }
    }
}

/// Whether a job writes to us, though the rest of the command line cannot be read.
fn is_pipe() -> bool {
    std::env::args_os().nth(1).is_some_and(|command| command == "pipe") && !std::io::stdin().is_terminal()
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
        Command::Man(options) => manual::manual(&options),
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
    output::say(&format!("outboard: {}", in_one_line(error)));
    if error.is::<Usage>() { ExitCode::from(2) } else { ExitCode::FAILURE }
}

/// An error with its causes behind it, but for those that it names itself.
fn in_one_line(error: &anyhow::Error) -> String {
    let mut line = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !line.contains(&cause) {
            line.push_str(": ");
            line.push_str(&cause);
        }
    }
    line
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
