//! php-fpm: PHP without CGI, spoken to by Apache's `mod_proxy_fcgi`.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::folder;
use super::process::Process;

/// A running php-fpm.
pub struct PhpFpm {
    process: Process,
    folder: TempDir,
}

impl PhpFpm {
    pub fn start() -> Self {
        let folder = folder::shared();
        let conf = include_str!("php-fpm.conf").replace("{folder}", folder.path().to_str().unwrap());
        let file = folder::write(folder.path(), "php-fpm.conf", &conf);
        let mut command = Command::new(program());
        // `-R` is needed where the tests run as root; its workers are `www-data` all the same.
        let process = Process::start("php-fpm", command.args(["-F", "-R", "-n", "-y"]).arg(file));
        process.wait_for("that it serves", |line| line.contains("ready to handle connections").then_some(()));
        Self { process, folder }
    }

    /// The socket it listens on.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("php-fpm.sock")
    }

    /// The lines that make Apache send `.php` there.
    pub fn apache_lines(&self) -> String {
        let socket = self.socket();
        format!(
            "<FilesMatch \"\\.php$\">\nSetHandler \"proxy:unix:{}|fcgi://localhost\"\n</FilesMatch>\n",
            socket.display()
        )
    }
}

/// Debian puts the version into the program's name.
fn program() -> PathBuf {
    let mut found: Vec<PathBuf> = std::fs::read_dir("/usr/sbin")
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("php-fpm")))
        .collect();
    found.sort();
    found.pop().unwrap_or_else(|| Path::new("/usr/sbin/php-fpm").to_owned())
}
