//! The files of the demo's site: inside the binary, and for a while on disk.
//!
//! A [`Home`] is a folder that only its owner can enter. It is gone when the `Home` is dropped.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;

macro_rules! files {
    ($($path:literal),* $(,)?) => {
        &[$(($path, include_bytes!(concat!("../../deploy/demo/", $path)))),*]
    };
}

/// Every file of the site: its place in the folder, its bytes.
const FILES: &[(&str, &[u8])] = files![
    "outboard.toml",
    "cgi-bin/cgi.sh",
    "cgi-bin/import.sh",
    "cgi-bin/inbox.cgi",
    "cgi-bin/log-job.sh",
    "cgi-bin/log.cgi",
    "cgi-bin/login.cgi",
    "cgi-bin/logout.cgi",
    "cgi-bin/progress-job.sh",
    "cgi-bin/progress.cgi",
    "cgi-bin/publish.sh",
    "cgi-bin/same-url-job.sh",
    "cgi-bin/same-url.cgi",
    "cgi-bin/same-url.html",
    "cgi-bin/send.cgi",
    "cgi-bin/source.cgi",
    "cgi-bin/terminal.cgi",
    "cgi-bin/ticker.sh",
    "cgi-bin/whoami.cgi",
    "htdocs/demo.css",
    "htdocs/demo.js",
    "htdocs/favicon.svg",
    "htdocs/index.html",
    "htdocs/index.js",
    "htdocs/log.html",
    "htdocs/log.js",
    "htdocs/messages.html",
    "htdocs/messages.js",
    "htdocs/progress.html",
    "htdocs/progress.js",
    "htdocs/same-url.js",
    "htdocs/ticker.html",
    "htdocs/ticker.js",
];

/// The demo's folder: the site, its state and the sockets.
#[derive(Debug)]
pub(super) struct Home(PathBuf);

impl Home {
    /// Makes the folder below the system's place for temporary files, and writes the site into it.
    pub(super) fn make() -> io::Result<Self> {
        let mut word = [0; 6];
        getrandom::fill(&mut word).map_err(|error| io::Error::other(error.to_string()))?;
        let word: String = word.iter().map(|byte| format!("{byte:02x}")).collect();

        let path = std::env::temp_dir().join(format!("outboard-demo-{word}"));
        // Fails if somebody was there before, so nobody can prepare the place for us.
        private().create(&path)?;
        let home = Self(path);
        home.fill()?;
        Ok(home)
    }

    fn fill(&self) -> io::Result<()> {
        for folder in [self.scripts(), self.documents(), self.state()] {
            private().create(folder)?;
        }
        for (path, bytes) in FILES {
            fs::write(self.0.join(path), bytes)?;
        }
        Ok(())
    }

    /// Where everything is.
    #[cfg(test)]
    pub(super) fn path(&self) -> &std::path::Path {
        &self.0
    }

    /// What outboard is told in the demo, but for addresses.
    pub(super) fn configuration(&self) -> PathBuf {
        self.0.join("outboard.toml")
    }

    /// The CGI scripts, and what they read in.
    pub(super) fn scripts(&self) -> PathBuf {
        self.0.join("cgi-bin")
    }

    /// The files that are served as they are.
    pub(super) fn documents(&self) -> PathBuf {
        self.0.join("htdocs")
    }

    /// Where scripts keep sessions and jobs.
    pub(super) fn state(&self) -> PathBuf {
        self.0.join("state")
    }

    /// Where the site's own server listens.
    pub(super) fn backend_socket(&self) -> PathBuf {
        self.0.join("site.sock")
    }

    /// Where outboard takes events.
    pub(super) fn publish_socket(&self) -> PathBuf {
        self.0.join("publish.sock")
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(folder = %self.0.display(), %error, "cannot remove the demo's folder");
        }
    }
}

fn private() -> DirBuilder {
    let mut builder = DirBuilder::new();
    builder.mode(0o700);
    builder
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::process::{Command, Stdio};

    use std::path::Path;

    use super::*;

    #[test]
    fn the_folder_is_private_and_leaves_with_its_owner() {
        let home = Home::make().unwrap();
        let path = home.path().to_owned();

        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        assert!(path.join("cgi-bin/progress.cgi").is_file());

        drop(home);
        assert!(!path.exists());
    }

    #[test]
    fn every_file_of_the_site_travels_in_the_binary() {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/demo");
        let mut on_disk = vec!["outboard.toml".to_owned()];
        for folder in ["cgi-bin", "htdocs"] {
            for entry in fs::read_dir(source.join(folder)).unwrap() {
                on_disk.push(format!("{folder}/{}", entry.unwrap().file_name().into_string().unwrap()));
            }
        }
        on_disk.sort();

        let mut embedded: Vec<_> = FILES.iter().map(|(path, _)| (*path).to_owned()).collect();
        embedded.sort();
        assert_eq!(embedded, on_disk);
    }

    #[test]
    fn every_script_is_one_that_sh_can_read() {
        let home = Home::make().unwrap();

        for (path, _) in FILES.iter().filter(|(path, _)| path.ends_with(".cgi") || path.ends_with(".sh")) {
            let status = Command::new("sh").arg("-n").arg(home.path().join(path)).status().unwrap();
            assert!(status.success(), "{path}");
        }
    }

    /// What `field NAME TEXT` of cgi.sh prints.
    fn field(name: &str, text: &str) -> String {
        let home = Home::make().unwrap();
        let output = Command::new("sh")
            .args(["-c", r#". ./cgi.sh; field "$1" "$2""#, "sh", name, text])
            .current_dir(home.scripts())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn the_scripts_decode_whatever_a_form_can_carry() {
        assert_eq!(field("text", "to=ben&text=a+b%20c&x=y"), "a b c");
        assert_eq!(field("text", "text=%E8%81%8A%E5%A4%A9+%C3%A4"), "聊天 ä");
        assert_eq!(field("text", "text=a%0D%0Ab"), "a\r\nb");
        assert_eq!(
            field("text", "text=%24(id)+%60id%60+%5C101+\\101+%25s+%s"),
            "$(id) `id` \\101 \\101 %s %s"
        );
        assert_eq!(field("text", "text=1%"), "1%");
        assert_eq!(field("text", "text=%zz%4"), "%zz%4");
        assert_eq!(field("text", "text=a%00b"), "ab");
        assert_eq!(field("text", "context=no&texts=no"), "");
        assert_eq!(field("text", "text=first&text=second"), "first");
    }
}
