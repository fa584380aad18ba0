//! The failing disk of `shim.c`, compiled, and what is to fail.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::support::folder::repository;

/// The library; compiled once. It stays where cargo keeps what tests make: a static is never dropped, and
/// so no folder of its own would ever be removed.
pub(crate) fn library() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let library = folder.join("shim.so");
        let new = folder.join(format!("shim-{}.so", std::process::id()));
        let source = repository().join("tests/durability/shim.c");
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .arg(&new)
            .arg(source)
            .arg("-ldl")
            .output()
            .unwrap_or_else(|error| panic!("cannot run cc: {error}; `tests/run` installs it"));
        assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
        // At once, should another run be using the old one.
        std::fs::rename(&new, &library).unwrap();
        library
    })
}

/// How a call fails.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Error {
    Io,
    NoSpace,
    /// Half of it is written, and so it says.
    Short,
    /// Half of it is written, then an error.
    Torn,
    /// The process dies instead.
    Kill,
    /// It happens, and then the process dies.
    Killed,
}

impl Error {
    fn name(self) -> &'static str {
        match self {
            Self::Io => "EIO",
            Self::NoSpace => "ENOSPC",
            Self::Short => "SHORT",
            Self::Torn => "TORN",
            Self::Kill => "KILL",
            Self::Killed => "KILLED",
        }
    }
}

/// The variables that let the `at`th call below `folder` fail, and `times` calls in all (0: for ever).
pub(crate) fn failing(
    folder: &Path,
    at: usize,
    times: usize,
    error: Error,
    log: &Path,
) -> Vec<(&'static str, String)> {
    let mut variables = preload(folder);
    variables.extend([
        ("OUTBOARD_SHIM_AT", at.to_string()),
        ("OUTBOARD_SHIM_TIMES", times.to_string()),
        ("OUTBOARD_SHIM_ERROR", error.name().into()),
        ("OUTBOARD_SHIM_LOG", log.to_str().unwrap().into()),
    ]);
    variables
}

/// The variables that let all calls below `folder` fail, reads too if `reads`, as long as a file is there.
pub(crate) fn failing_while(folder: &Path, file: &Path, reads: bool) -> Vec<(&'static str, String)> {
    let mut variables = preload(folder);
    variables.push(("OUTBOARD_SHIM_WHILE", file.to_str().unwrap().into()));
    if reads {
        variables.push(("OUTBOARD_SHIM_READS", "1".into()));
    }
    variables
}

/// The variables that let all calls below `folder` hang, reads too, as long as a file is there.
pub(crate) fn hanging_while(folder: &Path, file: &Path) -> Vec<(&'static str, String)> {
    let mut variables = failing_while(folder, file, true);
    variables.push(("OUTBOARD_SHIM_ERROR", "HANG".into()));
    variables
}

/// The variables that make syncs below `folder` do nothing.
pub(crate) fn without_sync(folder: &Path) -> Vec<(&'static str, String)> {
    let mut variables = preload(folder);
    variables.push(("OUTBOARD_SHIM_NOSYNC", "1".into()));
    variables
}

fn preload(folder: &Path) -> Vec<(&'static str, String)> {
    vec![
        ("LD_PRELOAD", library().to_str().unwrap().into()),
        ("OUTBOARD_SHIM_FOLDER", folder.to_str().unwrap().into()),
    ]
}
