//! `outboard run` and `outboard demo`: what stays.

use std::fs::OpenOptions;
use std::io;
use std::num::NonZero;
use std::path::Path;
use std::process::ExitCode;
use std::thread::available_parallelism;

use anyhow::Context;
use rustix::fs::{Access, access};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::{Builder, Runtime};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::arguments::{Demo, Run};
use crate::app::MostFiles;
use crate::config::{Config, Format, Log, Sources};
use crate::journal::{self, Journal, Target};

pub(super) fn run(options: &Run) -> anyhow::Result<ExitCode> {
    let config = load(options)?;
    start_logging(&config.log)?;
    raise_open_files(MostFiles::of(&config));
    let ran = runtime()?.block_on(crate::app::run(config, || sources(options).load()));
    journal::finish();
    ran?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn demo(options: &Demo) -> anyhow::Result<ExitCode> {
    start_logging(&Log::default())?;
    let ran = runtime()?.block_on(crate::demo::run(crate::demo::Options { listen: options.listen }));
    journal::finish();
    ran?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn load(options: &Run) -> anyhow::Result<Config> {
    Ok(sources(options).load()?)
}

fn sources(options: &Run) -> Sources {
    Sources::of_process(options.config.clone(), options.flags())
}

fn runtime() -> anyhow::Result<Runtime> {
    // An unknown number is taken for many: a thread too many costs less than a core left idle.
    runtime_for(available_parallelism().map_or(usize::MAX, NonZero::get))
}

fn runtime_for(cores: usize) -> anyhow::Result<Runtime> {
    let mut runtime = match cores {
        // A thread beside this one would have nobody to share its work with.
        1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    runtime.enable_all().build().context("cannot start the runtime")
}

/// Sends log lines to where they belong. `RUST_LOG` beats the configuration: it can name modules.
fn start_logging(log: &Log) -> anyhow::Result<()> {
    let journal = start_journal(log.file.as_deref())?;
    let configured = || EnvFilter::new(log.level.as_str());
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| configured());
    let lines = tracing_subscriber::fmt::layer().with_writer(journal.clone()).with_target(false);
    let all = tracing_subscriber::registry().with(filter).with(journal.bounds());
    match log.format {
        Format::Text => all.with(lines.with_ansi(log.file.is_none() && super::paint_errors())).init(),
        Format::Json => all.with(lines.json().flatten_event(true)).init(),
    }
    Ok(())
}

fn start_journal(file: Option<&Path>) -> anyhow::Result<Journal> {
    let target = file.map_or(Target::StandardError, |path| Target::File(path.into()));
    let journal = Journal::start(target).map_err(|error| match file {
        None => anyhow::anyhow!("cannot start the log: {error}"),
        Some(path) => no_log_file(path, &error),
    })?;
    journal.install();
    journal::tell_panics();
    Ok(journal)
}

/// Says no where the start would, and leaves no file behind.
pub(super) fn try_log(log: &Log) -> anyhow::Result<()> {
    let Some(path) = log.file.as_deref() else { return Ok(()) };
    let opened = match OpenOptions::new().append(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let folder =
                path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            access(folder, Access::WRITE_OK | Access::EXEC_OK).map_err(io::Error::from)
        }
        opened => opened.map(drop),
    };
    opened.map_err(|error| no_log_file(path, &error))
}

fn no_log_file(path: &Path, error: &io::Error) -> anyhow::Error {
    anyhow::anyhow!(
        "cannot open the log file {}: {error}; its folder must be there, and this user must be able to write to it \
         ([log] file)",
        path.display()
    )
}

/// Raises how many files may be open, since each client takes one, and each request that the site works on
/// another: as far as the system lets us (setrlimit(2): the soft limit to the hard one), and warns if
/// that is less than may be open at a time. Most systems begin with 1,024.
fn raise_open_files(most: MostFiles) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let is_raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    // None is no limit.
    let limit = if is_raised.is_ok() { maximum } else { current };
    let needed = most.sum();
    if let Some(limit) = limit.filter(|&limit| limit < needed as u64) {
        tracing::warn!(
            limit,
            needed,
            max_connections = most.connections,
            max_subscribers = most.streams,
            tunnels = most.tunnels,
            backend = most.backend,
            max_publishers = most.publishers,
            operators = most.operators,
            "fewer files may be open than everything that is allowed needs: when they are used up, nobody gets in, \
             publishers and pages neither; raise the limit (LimitNOFILE= for systemd, ulimit -n in a shell) \
             or lower `max_connections` in [limits] and `max_subscribers` in [stream]"
        );
    }
}

#[cfg(test)]
mod tests {
    use tokio::runtime::RuntimeFlavor;

    use super::*;

    #[test]
    fn one_core_has_one_thread_for_requests() {
        for (cores, flavor) in [(1, RuntimeFlavor::CurrentThread), (2, RuntimeFlavor::MultiThread)] {
            assert_eq!(runtime_for(cores).unwrap().handle().runtime_flavor(), flavor);
        }
    }
}
