//! The configuration: from flags, variables and a file to a [`Config`] that cannot hold a mistake.
//!
//! `File` mirrors what can be written; `File::resolve` says what it means, in the option types of
//! the modules, which never see the file. Flags beat variables, variables beat the file, and every
//! key but the backend's address has a default. A [`Report`] names all mistakes at once, each
//! with its line or its variable, and what to write instead.

mod check;
mod file;
mod layers;
mod mistake;
mod report;
mod resolve;
mod secret;
mod socket;
mod values;

use std::path::PathBuf;
use std::time::Duration;

pub use layers::Flag;
pub use report::Report;
pub use socket::candidates as socket_candidates;
pub use values::{Size, channel_glob};

use crate::listen::Entrance;
use crate::route::Routes;
use crate::{admin, broker, proxy, publish, subscribe};
use layers::{Layers, Source};

/// The file that is read when none is named, if it is there.
pub const DEFAULT_FILE: &str = "/etc/outboard/outboard.toml";

/// Everything a running `outboard` needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where clients connect; at least one.
    pub listen: Vec<Entrance>,
    /// Whether those who connect there are proxies that introduce their clients.
    pub proxy_protocol: bool,
    /// The site behind.
    pub backend: proxy::Settings,
    /// The publish socket.
    pub publish: publish::socket::Settings,
    /// The log.
    pub history: broker::Settings,
    /// How streams are kept.
    pub stream: subscribe::Settings,
    /// The listener for operators, if there is to be one.
    pub admin: Option<admin::Settings>,
    /// The paths that outboard answers itself.
    pub routes: Routes,
    /// What clients may use up.
    pub limits: Limits,
    /// What is logged, and how.
    pub log: Log,
}

/// What clients of the public listeners may use up (`[limits]`).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// The most connections at a time.
    pub max_connections: usize,
    /// How long a request's head may take.
    pub header_timeout: Duration,
    /// How long a client may pause between two requests.
    pub idle_timeout: Duration,
    /// How long a client may take nothing of its answer; without a limit, as long as its connection lives.
    pub write_timeout: Option<Duration>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 20_000,
            header_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(75),
            write_timeout: None,
        }
    }
}

/// What is logged, and how (`[log]`).
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Log {
    /// What is worth a line.
    pub level: Level,
    /// How a line looks.
    pub format: Format,
    /// The file it is written to; without one, standard error.
    pub file: Option<PathBuf>,
}

/// The least important lines that are still written.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Level {
    /// What outboard could not do.
    Error,
    /// And what others did wrong.
    Warn,
    /// And what happens seldom.
    #[default]
    Info,
    /// And what happens with each request.
    Debug,
    /// Everything.
    Trace,
}

impl Level {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Where a configuration comes from.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The file, if one is read.
    pub file: Option<PathBuf>,
    /// The environment; only `OUTBOARD__…` counts.
    pub variables: Vec<(String, String)>,
    /// What was set on the command line.
    pub flags: Vec<Flag>,
    /// The user's own runtime folder (`XDG_RUNTIME_DIR`), for a socket that has no other place.
    pub user_folder: Option<PathBuf>,
}

impl Sources {
    /// The sources of this process: its environment, and `file` or else the default one.
    pub fn of_process(file: Option<PathBuf>, flags: Vec<Flag>) -> Self {
        let default = || Some(PathBuf::from(DEFAULT_FILE)).filter(|file| file.exists());
        let text = |value: std::ffi::OsString| value.to_string_lossy().into_owned();
        Self {
            file: file.or_else(default),
            variables: std::env::vars_os().map(|(name, value)| (text(name), text(value))).collect(),
            flags,
            user_folder: std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty()).map(Into::into),
        }
    }

    /// Reads, merges and checks everything.
    ///
    /// # Errors
    /// All mistakes that were found.
    pub fn load(&self) -> Result<Config, Report> {
        let (source, mut layers) = self.layers()?;
        let (file, mut mistakes) = check::read(&mut layers);
        let resolved = file.resolve(|| socket::default_path(self.user_folder.as_deref()));
        match resolved {
            Ok(config) if mistakes.is_empty() => Ok(config),
            resolved => {
                // A key that was left out above is wrong, not missing.
                let known: Vec<_> = mistakes.iter().map(check::spoilt).collect();
                let more = resolved.err().unwrap_or_default();
                mistakes.extend(
                    more.into_iter().filter(|mistake| !known.iter().any(|path| path.overlaps(&mistake.path))),
                );
                Err(Report::new(source, &layers, mistakes))
            }
        }
    }

    /// Where the publish socket of an `outboard` with these sources is, for those who only want
    /// to talk to it: other keys may be wrong or missing. `None` if nothing names one.
    ///
    /// # Errors
    /// When the file cannot be read or is not TOML.
    pub fn socket(&self) -> Result<Option<PathBuf>, Report> {
        let (_, layers) = self.layers()?;
        let socket = layers.table.get("publish").and_then(|publish| publish.get("socket"));
        Ok(socket.and_then(toml::Value::as_str).map(PathBuf::from))
    }

    fn layers(&self) -> Result<(Option<Source>, Layers), Report> {
        let source = match self.file.as_deref().map(Source::read).transpose() {
            Ok(source) => source,
            Err(mistake) => return Err(Report::new(None, &Layers::default(), vec![mistake])),
        };
        let table = match source.as_ref().map(|source| source.text.parse::<toml::Table>()).transpose() {
            Ok(table) => table.unwrap_or_default(),
            Err(error) => {
                let source = source.unwrap_or_else(|| Source { path: PathBuf::new(), text: String::new() });
                return Err(Report::syntax(source, &error));
            }
        };
        Ok((source, Layers::over(table, &self.variables, &self.flags)))
    }
}

/// The keys that a table of the file can have; those of its top if `table` is empty.
pub fn keys_of(table: &str) -> Vec<String> {
    check::keys_of(table)
}
