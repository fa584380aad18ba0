//! The file of a Unix socket: who may have it, and who has it now.
//!
//! The socket is made inside a folder that only we can enter, gets its mode and group there, and is
//! then moved to its place, so that at no moment somebody can connect who may not. A lock beside it
//! says that we live. What lies in its place is replaced only if it is what a crash of ours left
//! behind: a socket, of the same user, on which nobody listens, with a free lock. Links are never
//! followed.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, OFlags, RenameFlags};

use crate::group;

/// The longest path of a socket: `sun_path` holds 108 bytes, the last of them NUL (unix(7)).
const MAX_PATH: usize = 107;

/// How many connections may wait to be accepted; the system may allow fewer (`net.core.somaxconn`).
const BACKLOG: i32 = 4096;

/// How a socket is made, and what for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Place {
    /// Where it is.
    pub path: PathBuf,
    /// Its permissions, as in `0o660`.
    pub mode: u32,
    /// The group it belongs to, by name or number; ours if `None`.
    pub group: Option<String>,
    /// Who connects to it.
    pub purpose: Purpose,
}

/// Who connects to a socket.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Purpose {
    /// Publishers.
    Publish,
    /// Clients, or the proxy in front that speaks for them.
    Clients,
}

impl Purpose {
    fn name(self) -> &'static str {
        match self {
            Self::Publish => "the publish socket",
            Self::Clients => "a socket for clients",
        }
    }

    /// How to name another path.
    fn elsewhere(self) -> &'static str {
        match self {
            Self::Publish => "with --socket",
            Self::Clients => "in `listen`",
        }
    }
}

/// The socket, in its place, with us listening on it. Dropping it removes the file.
#[derive(Debug)]
pub struct Bound {
    /// The socket.
    pub listener: UnixListener,
    /// The file.
    pub claim: Claim,
}

/// Our hold on the path: the file, as long as it is still ours, and the lock.
#[derive(Debug)]
pub struct Claim {
    path: PathBuf,
    device: u64,
    inode: u64,
    _lock: File,
}

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
#[error("{fault}{}", fault.way_out(*purpose))]
pub struct BindError {
    /// What is wrong.
    pub fault: Fault,
    /// With which socket.
    pub purpose: Purpose,
}

/// What is wrong with the path of a socket.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The path names no file.
    #[error("`{0}` names no file, so it cannot be {name}; write a path such as /run/outboard/publish.sock", name = .1.name())]
    NoFile(PathBuf, Purpose),
    /// The path is longer than the system allows.
    #[error("the path of {name} has {length} bytes and the system allows {most}: `{path}`; choose a shorter one", name = purpose.name())]
    TooLong {
        /// The path.
        path: PathBuf,
        /// The bytes it has.
        length: usize,
        /// The bytes it may have.
        most: usize,
        /// Who connects to it.
        purpose: Purpose,
    },
    /// Somebody is listening.
    #[error("another process is listening on `{0}`; stop it, or choose another path")]
    Live(PathBuf),
    /// Another outboard holds the lock.
    #[error("another outboard is running with {name} `{0}`; stop it, or choose another path", name = .1.name())]
    Locked(PathBuf, Purpose),
    /// Something that is not a socket of ours has the name.
    #[error(
        "`{path}` is {what}, and outboard replaces nothing but its own socket; remove it, or choose another path"
    )]
    Occupied {
        /// The path.
        path: PathBuf,
        /// What is there.
        what: String,
    },
    /// No such group.
    #[error("there is no group `{0}` in /etc/group; write a group from there, or a group's number")]
    NoGroup(String),
    /// The system refused a step.
    #[error("cannot {step} `{path}`: {cause}{}", hint(.cause))]
    System {
        /// What was to be done.
        step: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
}

impl BindError {
    /// Whether it is only that somebody else has it now.
    pub fn is_in_use(&self) -> bool {
        matches!(self.fault, Fault::Live(_) | Fault::Locked(..))
    }
}

impl Fault {
    /// Where another path is written, if it takes one.
    fn way_out(&self, purpose: Purpose) -> String {
        let is_denied =
            matches!(self, Self::System { cause, .. } if cause.kind() == io::ErrorKind::PermissionDenied);
        match self {
            Self::Live(_) | Self::Locked(..) | Self::Occupied { .. } => format!(" {}", purpose.elsewhere()),
            Self::System { .. } if is_denied => format!(" {}", purpose.elsewhere()),
            Self::NoFile(..) | Self::TooLong { .. } | Self::NoGroup(_) | Self::System { .. } => String::new(),
        }
    }
}

fn hint(cause: &io::Error) -> &'static str {
    match cause.kind() {
        io::ErrorKind::PermissionDenied => "; choose a path in a folder of this user",
        _ => "",
    }
}

/// Turns a system error into one that names the step and the file.
fn cannot(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Fault {
    let path = path.to_owned();
    move |cause| Fault::System { step, path, cause }
}

/// Makes the socket and listens on it. The folder is made too, with mode 0750, if there is none.
///
/// # Errors
/// When the path cannot be ours: too long, in use, or something else lies there.
pub fn bind(place: &Place) -> Result<Bound, BindError> {
    make(place).map_err(|fault| BindError { fault, purpose: place.purpose })
}

fn make(place: &Place) -> Result<Bound, Fault> {
    let Place { path, mode, purpose, .. } = place;
    let folder = match (path.parent(), path.file_name()) {
        (Some(parent), Some(_)) if parent.as_os_str().is_empty() => Path::new("."),
        (Some(parent), Some(_)) => parent,
        _ => return Err(Fault::NoFile(path.clone(), *purpose)),
    };
    let group = place.group.as_deref().map(group_number).transpose()?;
    let workshop_path = folder.join(format!(".{}", word()));
    check_length(path, &workshop_path.join(NAME), *purpose)?;

    make_folder(folder, group)?;
    let lock = lock(path, *purpose)?;
    let stale = is_stale(path)?;
    let workshop = Workshop::open(workshop_path)?;
    let listener = workshop.listen(*mode, group)?;
    let made = workshop.socket();
    let metadata = fs::symlink_metadata(&made).map_err(cannot("look at", &made))?;
    if stale {
        fs::remove_file(path).map_err(cannot("remove the stale socket", path))?;
    }
    rustix::fs::renameat_with(CWD, &made, CWD, path, RenameFlags::NOREPLACE)
        .map_err(|errno| cannot("put the socket at", path)(errno.into()))?;

    let claim = Claim { path: path.clone(), device: metadata.dev(), inode: metadata.ino(), _lock: lock };
    Ok(Bound { listener, claim })
}

/// Whether the socket could be made now; nothing is made.
///
/// # Errors
/// As [`bind`].
pub fn try_bind(place: &Place) -> Result<(), BindError> {
    try_make(place).map_err(|fault| BindError { fault, purpose: place.purpose })
}

fn try_make(place: &Place) -> Result<(), Fault> {
    let Place { path, purpose, .. } = place;
    let folder = match (path.parent(), path.file_name()) {
        (Some(parent), Some(_)) if parent.as_os_str().is_empty() => Path::new("."),
        (Some(parent), Some(_)) => parent,
        _ => return Err(Fault::NoFile(path.clone(), *purpose)),
    };
    if let Some(group) = place.group.as_deref().map(group_number).transpose()? {
        try_group(path, group)?;
    }
    check_length(path, &folder.join(format!(".{}", word())).join(NAME), *purpose)?;
    crate::folder::try_use(folder).map_err(cannot("make files in the folder", folder))?;
    if lock_path(path).exists() {
        drop(lock(path, *purpose)?);
    }
    is_stale(path).map(drop)
}

/// Whether this user may give files to a group (chown(2)).
fn try_group(path: &Path, group: u32) -> Result<(), Fault> {
    let is_root = rustix::process::geteuid().is_root();
    let is_member =
        || rustix::process::getgroups().is_ok_and(|groups| groups.iter().any(|own| own.as_raw() == group));
    if is_root || rustix::process::getegid().as_raw() == group || is_member() {
        return Ok(());
    }
    let cause = io::ErrorKind::PermissionDenied.into();
    Err(cannot("give its group (which this user must be a member of) to", path)(cause))
}

impl Bound {
    /// Where the socket is.
    pub fn path(&self) -> &Path {
        &self.claim.path
    }
}

impl Claim {
    /// Where the socket is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the file, if it is still the one we made: from now on nobody can connect.
    pub fn give_up(&self) {
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|metadata| metadata.dev() == self.device && metadata.ino() == self.inode);
        if ours && let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(socket = %self.path.display(), %error, "cannot remove the socket");
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.give_up();
    }
}

/// The folder, open to nobody else, in which the socket gets its mode and group.
struct Workshop(PathBuf);

/// The socket's name in there: short, for the whole path counts against [`MAX_PATH`].
const NAME: &str = "s";

impl Workshop {
    fn open(path: PathBuf) -> Result<Self, Fault> {
        DirBuilder::new().mode(0o700).create(&path).map_err(cannot("make the folder", &path))?;
        Ok(Self(path))
    }

    fn socket(&self) -> PathBuf {
        self.0.join(NAME)
    }

    fn listen(&self, mode: u32, group: Option<u32>) -> Result<UnixListener, Fault> {
        let path = self.socket();
        let listener = (|| {
            let kind = socket2::Type::STREAM.cloexec().nonblocking();
            let listener = socket2::Socket::new(socket2::Domain::UNIX, kind, None)?;
            listener.bind(&socket2::SockAddr::unix(&path)?)?;
            listener.listen(BACKLOG)?;
            Ok(UnixListener::from(listener))
        })()
        .map_err(cannot("listen on", &path))?;
        if group.is_some() {
            std::os::unix::fs::chown(&path, None, group)
                .map_err(cannot("give its group (which this user must be a member of) to", &path))?;
        }
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))
            .map_err(cannot("set the mode of", &path))?;
        Ok(listener)
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.socket());
        let _ = fs::remove_dir(&self.0);
    }
}

/// A few characters that no other process starts with at this moment.
fn word() -> String {
    let mut number = [0; 4];
    if getrandom::fill(&mut number).is_err() {
        // Without the system's random source the time has to do: the name only has to be free.
        number = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default().subsec_nanos().to_ne_bytes();
    }
    format!("{:05x}", u32::from_ne_bytes(number) & 0xf_ffff)
}

fn check_length(path: &Path, temporary: &Path, purpose: Purpose) -> Result<(), Fault> {
    let length = path.as_os_str().len();
    // A name shorter than the temporary one has its difference less to spend.
    let most = MAX_PATH - temporary.as_os_str().len().saturating_sub(length);
    if length > most {
        return Err(Fault::TooLong { path: path.to_owned(), length, most, purpose });
    }
    Ok(())
}

fn make_folder(folder: &Path, group: Option<u32>) -> Result<(), Fault> {
    if let Ok(found) = fs::metadata(folder)
        && found.is_dir()
    {
        return let_in(folder, &found, group);
    }
    DirBuilder::new()
        .recursive(true)
        .mode(0o750)
        .create(folder)
        .map_err(cannot("make the folder", folder))?;
    if group.is_some() {
        std::os::unix::fs::chown(folder, None, group)
            .map_err(cannot("give its group (which this user must be a member of) to", folder))?;
    }
    // Again, for what the umask has taken away.
    fs::set_permissions(folder, fs::Permissions::from_mode(0o750)).map_err(cannot("set the mode of", folder))
}

/// Gives a folder that is there to the socket's group, if it is ours and shut to others: without that
/// the group could not reach the socket. A folder that others may enter is not ours to change.
fn let_in(folder: &Path, found: &fs::Metadata, group: Option<u32>) -> Result<(), Fault> {
    let is_ours = found.uid() == rustix::process::geteuid().as_raw();
    let is_shut = found.mode() & 0o001 == 0;
    match group {
        Some(group) if is_ours && is_shut && found.gid() != group => {
            std::os::unix::fs::chown(folder, None, Some(group))
                .map_err(cannot("give its group (which this user must be a member of) to", folder))
        }
        _ => Ok(()),
    }
}

fn lock_path(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    name.into()
}

fn lock(path: &Path, purpose: Purpose) -> Result<File, Fault> {
    let lock_path = lock_path(path);
    // NOFOLLOW: somebody may have put a link there. NONBLOCK: or a FIFO.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(flags.bits().cast_signed())
        .open(&lock_path)
        .map_err(cannot("open the lock", &lock_path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Fault::Locked(path.to_owned(), purpose)),
        Err(TryLockError::Error(cause)) => Err(cannot("lock", &lock_path)(cause)),
    }
}

/// Whether a socket of ours lies at `path` on which nobody listens any more; an error if anything
/// else does.
fn is_stale(path: &Path) -> Result<bool, Fault> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(cannot("look at", path)(error)),
    };
    let occupied = |what: &str| Err(Fault::Occupied { path: path.to_owned(), what: what.to_owned() });
    let kind = metadata.file_type();
    if kind.is_symlink() {
        return occupied("a symbolic link");
    }
    if kind.is_dir() {
        return occupied("a folder");
    }
    if kind.is_file() {
        return occupied("a regular file");
    }
    if !kind.is_socket() {
        return occupied("not a socket");
    }
    if metadata.uid() != rustix::process::geteuid().as_raw() {
        return occupied(&format!("a socket of another user (uid {})", metadata.uid()));
    }
    match knock(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        // Its queue may be full: then it lives as well.
        Ok(()) => Err(Fault::Live(path.to_owned())),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(Fault::Live(path.to_owned())),
        Err(error) => Err(cannot("find out who listens on", path)(error)),
    }
}

fn knock(path: &Path) -> io::Result<()> {
    let kind = socket2::Type::STREAM.cloexec().nonblocking();
    socket2::Socket::new(socket2::Domain::UNIX, kind, None)?.connect(&socket2::SockAddr::unix(path)?)
}

/// The number of a group, which may be written as such.
///
/// # Errors
/// When `/etc/group` has no group of this name, or cannot be read.
pub fn group_number(group: &str) -> Result<u32, Fault> {
    if let Ok(number) = group.parse() {
        return Ok(number);
    }
    let number = group::number_of(group).map_err(cannot("read", Path::new(group::FILE)))?;
    number.ok_or_else(|| Fault::NoGroup(group.to_owned()))
}

#[cfg(test)]
mod tests;
