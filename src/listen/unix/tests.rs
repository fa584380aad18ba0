use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;

use super::*;

fn place(path: impl Into<PathBuf>) -> Place {
    Place { path: path.into(), mode: 0o660, group: None, purpose: Purpose::Publish }
}

fn refusal(path: &Path) -> String {
    bind(&place(path)).expect_err("the path is not to be had").to_string()
}

#[test]
fn the_socket_and_its_folder_are_made_with_their_modes() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("run/outboard/publish.sock");

    let bound = bind(&place(&path)).unwrap();

    assert_eq!(fs::metadata(bound.path()).unwrap().mode() & 0o7777, 0o660);
    assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().mode() & 0o7777, 0o750);
    assert!(UnixStream::connect(&path).is_ok());
    let names: Vec<_> =
        fs::read_dir(path.parent().unwrap()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "only the socket and its lock are left: {names:?}");
}

#[test]
fn a_folder_that_is_there_and_shut_lets_the_group_in_and_an_open_one_stays_as_it_is() {
    let temp = tempfile::tempdir().unwrap();
    // Only root can give a folder away; for anybody else there is nothing to be shown here.
    if std::os::unix::fs::chown(temp.path(), None, Some(12345)).is_err() {
        return;
    }
    let group_of = |mode, name: &str| {
        let folder = temp.path().join(name);
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(mode)).unwrap();
        let path = folder.join("publish.sock");
        drop(bind(&Place { group: Some("12345".into()), ..place(&path) }).unwrap());
        fs::metadata(&folder).unwrap().gid()
    };

    assert_eq!(group_of(0o750, "shut"), 12345);
    assert_ne!(group_of(0o755, "open"), 12345);
}

#[test]
fn the_file_is_removed_at_the_end_and_the_path_can_be_had_again() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("publish.sock");

    drop(bind(&place(&path)).unwrap());

    assert!(!path.exists());
    assert!(bind(&place(&path)).is_ok());
}

#[test]
fn a_file_that_is_no_longer_ours_is_left_alone() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("publish.sock");
    let bound = bind(&place(&path)).unwrap();
    fs::remove_file(&path).unwrap();
    fs::write(&path, "somebody else's").unwrap();

    drop(bound);

    assert_eq!(fs::read_to_string(&path).unwrap(), "somebody else's");
}

#[test]
fn what_a_crash_left_behind_is_taken_over() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("publish.sock");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());

    let _bound = bind(&place(&path)).unwrap();

    assert!(UnixStream::connect(&path).is_ok());
}

#[test]
fn a_socket_on_which_somebody_listens_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("publish.sock");
    let _live = UnixListener::bind(&path).unwrap();

    assert_eq!(
        refusal(&path),
        format!(
            "another process is listening on `{}`; stop it, or choose another path with --socket",
            path.display()
        )
    );
    assert!(UnixStream::connect(&path).is_ok());
}

#[test]
fn a_second_outboard_is_refused_even_if_the_file_is_gone() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("publish.sock");
    let _first = bind(&place(&path)).unwrap();
    fs::remove_file(&path).unwrap();

    assert!(refusal(&path).starts_with("another outboard is running with the publish socket `/"));
}

#[test]
fn links_files_and_folders_are_refused_and_left_as_they_are() {
    let temp = tempfile::tempdir().unwrap();
    let (link, file, folder) =
        (temp.path().join("link"), temp.path().join("file"), temp.path().join("folder"));
    drop(UnixListener::bind(temp.path().join("stale")).unwrap());
    symlink(temp.path().join("stale"), &link).unwrap();
    fs::write(&file, "precious").unwrap();
    fs::create_dir(&folder).unwrap();

    assert!(
        refusal(&link).contains("link` is a symbolic link, and outboard replaces nothing but its own socket")
    );
    assert!(refusal(&file).contains("file` is a regular file"));
    assert!(refusal(&folder).contains("folder` is a folder"));
    assert!(link.is_symlink());
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
}

#[test]
fn a_lock_that_is_a_link_is_not_followed() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("publish.sock");
    symlink(temp.path().join("victim"), temp.path().join("publish.sock.lock")).unwrap();

    assert!(refusal(&path).starts_with("cannot open the lock `"));
    assert!(!temp.path().join("victim").exists());
}

#[test]
fn a_socket_of_another_user_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    let path = temp.path().join("publish.sock");
    drop(UnixListener::bind(&path).unwrap());
    // Only root can give a file away; for anybody else there is nothing to be shown here.
    if std::os::unix::fs::chown(&path, Some(12345), None).is_err() {
        return;
    }

    assert!(refusal(&path).contains("is a socket of another user (uid 12345)"));
}

#[test]
fn a_path_longer_than_the_system_allows_is_named() {
    let temp = tempfile::tempdir().unwrap();
    let path_of = |length: usize| {
        let folder = temp.path().as_os_str().len() + 1;
        temp.path().join("n".repeat(length - folder))
    };

    assert!(bind(&place(path_of(107))).is_ok());
    assert!(
        refusal(&path_of(108))
            .starts_with("the path of the publish socket has 108 bytes and the system allows 107")
    );
}

#[test]
fn a_group_is_a_name_or_a_number() {
    assert_eq!(group_number("root").unwrap(), 0);
    assert_eq!(group_number("4711").unwrap(), 4711);
    assert_eq!(
        group_number("nobody-has-this").unwrap_err().to_string(),
        "there is no group `nobody-has-this` in /etc/group; write a group from there, or a group's number"
    );
}
