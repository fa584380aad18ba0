//! File systems in files.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A mounted file system; unmounted with the test.
pub(crate) struct Mounted {
    point: PathBuf,
}

/// How large an image is, in bytes.
const SIZE: u64 = 96 << 20;

impl Mounted {
    /// Mounts the ext4 file system in an image, which recovers its journal.
    pub(crate) fn image(image: &Path, point: &Path) -> Self {
        Self::mount(&["-o", "loop", "-t", "ext4", image.to_str().unwrap()], point)
    }

    /// Mounts a file system in memory, of so many bytes.
    pub(crate) fn memory(size: usize, point: &Path) -> Self {
        Self::mount(&["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"], point)
    }

    fn mount(arguments: &[&str], point: &Path) -> Self {
        fs::create_dir_all(point).unwrap();
        let output = Command::new("mount").args(arguments).arg(point).output();
        let output = output.unwrap_or_else(|error| panic!("cannot run `mount`: {error}"));
        assert!(
            output.status.success(),
            "cannot mount ({}): these tests need to be root, and loop devices (in a container: --privileged)",
            String::from_utf8_lossy(&output.stderr).trim()
        );
        Self { point: point.into() }
    }

    /// Gives a file system in memory this size.
    pub(crate) fn grow(&self, size: &str) {
        let grown =
            Command::new("mount").arg("-o").arg(format!("remount,size={size}")).arg(&self.point).status();
        assert!(grown.unwrap().success());
    }

    pub(crate) fn path(&self) -> &Path {
        &self.point
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Lazily, should the test have failed with the program still running.
        let _ = Command::new("umount").arg("-l").arg(&self.point).status();
    }
}

/// Makes an empty ext4 file system in a file, all of its own tables written out.
pub(crate) fn make(image: &Path) {
    fs::File::create(image).and_then(|file| file.set_len(SIZE)).unwrap();
    let made = Command::new("mkfs.ext4")
        .args(["-q", "-F", "-J", "size=4", "-E", "lazy_itable_init=0,lazy_journal_init=0"])
        .arg(image)
        .output();
    let made = made.unwrap_or_else(|error| panic!("cannot run `mkfs.ext4`: {error}; it is in e2fsprogs"));
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}
