//! Where the publish socket is when nobody says so.

use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

/// The folder of the socket on a machine where outboard is a service.
const SYSTEM: &str = "/run/outboard";

/// The socket's name in its folder.
const NAME: &str = "publish.sock";

/// Where an `outboard` that starts now puts its socket: in `/run/outboard` if this user can use or
/// make that folder, else in its own runtime folder (`XDG_RUNTIME_DIR`).
///
/// # Errors
/// When neither can be used; what to say then.
pub(super) fn default_path(user_folder: Option<&Path>) -> Result<PathBuf, String> {
    path_in(Path::new(SYSTEM), user_folder)
}

fn path_in(system: &Path, user_folder: Option<&Path>) -> Result<PathBuf, String> {
    if is_usable(system) {
        return Ok(system.join(NAME));
    }
    match user_folder {
        Some(folder) if is_usable(folder) => Ok(folder.join("outboard").join(NAME)),
        Some(folder) => Err(format!(
            "there is no place for the publish socket: this user can write neither to {} nor to {} (XDG_RUNTIME_DIR)",
            system.display(),
            folder.display()
        )),
        None => Err(format!(
            "there is no place for the publish socket: this user cannot write to {}, and XDG_RUNTIME_DIR is not set",
            system.display()
        )),
    }
}

/// Where a client looks for the socket of an `outboard` that runs, in this order: one that this
/// user has started comes before the machine's.
pub fn candidates(user_folder: Option<&Path>) -> Vec<PathBuf> {
    let own = user_folder.map(|folder| folder.join("outboard").join(NAME));
    let system = Path::new(SYSTEM).join(NAME);
    let all: Vec<_> = own.into_iter().chain([system]).collect();
    let there: Vec<_> = all.iter().filter(|path| is_socket(path)).cloned().collect();
    if there.is_empty() { all } else { there }
}

fn is_socket(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|file| file.file_type().is_socket())
}

/// Whether files can be made in `folder`, or else `folder` in the one around it.
fn is_usable(folder: &Path) -> bool {
    let writable =
        |folder: &Path| folder.is_dir() && access(folder, Access::WRITE_OK | Access::EXEC_OK).is_ok();
    match folder.try_exists() {
        Ok(true) => writable(folder),
        _ => folder.parent().is_some_and(writable),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_folder_comes_first_and_may_still_have_to_be_made() {
        let run = tempfile::tempdir().unwrap();
        let system = run.path().join("outboard");

        assert_eq!(path_in(&system, None), Ok(system.join("publish.sock")));

        std::fs::create_dir(&system).unwrap();
        assert_eq!(path_in(&system, None), Ok(system.join("publish.sock")));
    }

    #[test]
    fn without_it_the_users_folder_is_used() {
        let user = tempfile::tempdir().unwrap();
        let system = user.path().join("no/such/folder");

        let path = path_in(&system, Some(user.path()));

        assert_eq!(path, Ok(user.path().join("outboard/publish.sock")));
    }

    #[test]
    fn without_either_the_message_says_what_is_missing() {
        let error = path_in(Path::new("/no/such/folder"), None).unwrap_err();

        assert_eq!(
            error,
            "there is no place for the publish socket: this user cannot write to /no/such/folder, \
             and XDG_RUNTIME_DIR is not set"
        );
    }
}
