//! Folders of servers under test, and the legacy site that is copied into them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use super::readme;

/// The publish socket's path as the scripts, the README and the configuration files name it.
pub const SOCKET: &str = "/run/outboard/publish.sock";

const YEAR_2003: Duration = Duration::from_secs(33 * 365 * 86_400);

/// A new folder that other users may enter: Apache and php-fpm run scripts as `www-data`.
pub fn shared() -> TempDir {
    let folder = TempDir::with_prefix("outboard-test-").unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    folder
}

/// The repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Copies the legacy site of `tests/site` to `target`, so that its scripts publish to `socket`.
///
/// Where a script holds a line `README: LANGUAGE`, the README's own lines for that language are
/// put in its place: the site is built from what we tell people to write.
pub fn copy_site(target: &Path, socket: &Path) {
    fs::create_dir_all(target).unwrap();
    for entry in fs::read_dir(repository().join("tests/site")).unwrap() {
        let from = entry.unwrap().path();
        let to = target.join(from.file_name().unwrap());
        fs::write(&to, fill_in(&fs::read_to_string(&from).unwrap(), socket)).unwrap();
        fs::set_permissions(&to, fs::Permissions::from_mode(0o755)).unwrap();
        // An old file: Apache's entity tag of a new one changes while the test looks.
        fs::File::options()
            .append(true)
            .open(&to)
            .unwrap()
            .set_modified(SystemTime::UNIX_EPOCH + YEAR_2003)
            .unwrap();
    }
}

fn fill_in(script: &str, socket: &Path) -> String {
    let whole: String = script
        .lines()
        .map(|line| match line.split_once("README: ") {
            Some((_, language)) => readme::snippet(language.trim()),
            None => format!("{line}\n"),
        })
        .collect();
    whole.replace(SOCKET, socket.to_str().unwrap())
}

/// A configuration file of the repository, with each of `changes` made in it.
///
/// # Panics
/// When there is nothing to change: then the file has moved away from under the test.
pub fn shipped(file: &str, changes: &[(&str, &str)]) -> String {
    let mut text = fs::read_to_string(repository().join(file)).unwrap();
    for (from, to) in changes {
        assert!(text.contains(from), "{file} no longer says `{from}`");
        text = text.replace(from, to);
    }
    text
}

/// Writes a script that a server may run to a file in `folder`.
pub fn write_script(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = write(folder, name, text);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// Writes `text` to a file in `folder`.
pub fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    path
}
