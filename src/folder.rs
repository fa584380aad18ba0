//! Whether a folder can be used, without making anything in it.

use std::io;
use std::path::Path;

use rustix::fs::{Access, access};

/// Whether this user could make files in `folder`, or first the folder itself.
///
/// # Errors
/// What the system would say.
pub fn try_use(folder: &Path) -> io::Result<()> {
    match std::fs::metadata(folder) {
        Ok(found) if !found.is_dir() => Err(io::ErrorKind::NotADirectory.into()),
        Ok(_) => Ok(access(folder, Access::WRITE_OK | Access::EXEC_OK)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => match folder.parent() {
            Some(parent) if parent.as_os_str().is_empty() => try_use(Path::new(".")),
            Some(parent) => try_use(parent),
            None => Err(error),
        },
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_is_not_there_can_be_made_where_the_next_one_can_be_used() {
        let temp = tempfile::tempdir().unwrap();
        std::fs::write(temp.path().join("file"), "").unwrap();

        assert!(try_use(temp.path()).is_ok());
        assert!(try_use(&temp.path().join("a/b/c")).is_ok());
        assert_eq!(try_use(&temp.path().join("file")).unwrap_err().kind(), io::ErrorKind::NotADirectory);
        assert_eq!(try_use(&temp.path().join("file/b")).unwrap_err().kind(), io::ErrorKind::NotADirectory);
    }
}
