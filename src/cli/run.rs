//! `outboard run` and `outboard demo`: what stays.

use std::num::NonZero;
use std::process::ExitCode;
use std::thread::available_parallelism;

use anyhow::Context;
use tokio::runtime::{Builder, Runtime};
use tracing_subscriber::EnvFilter;

use super::arguments::{Demo, Run};
use super::open_files;
use crate::config::{Config, Format, Log, Sources};

pub(super) fn run(options: &Run) -> anyhow::Result<ExitCode> {
    let config = load(options)?;
    start_logging(config.log);
    open_files::raise(config.limits.max_connections);
    runtime()?.block_on(crate::app::run(config, || sources(options).load()))?;
    Ok(ExitCode::SUCCESS)
}

pub(super) fn demo(options: &Demo) -> anyhow::Result<ExitCode> {
    start_logging(Log::default());
    runtime()?.block_on(crate::demo::run(crate::demo::Options { listen: options.listen }))?;
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

/// Sends log lines to standard error. `RUST_LOG` beats the configuration: it can name modules.
fn start_logging(log: Log) {
    let configured = || EnvFilter::new(log.level.as_str());
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| configured());
    let lines =
        tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
    match log.format {
        Format::Text => lines.with_ansi(super::paint_errors()).init(),
        Format::Json => lines.json().flatten_event(true).init(),
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
