//! The results of long runs, with what is needed to repeat them.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::process::Command;

/// Where `Cargo.toml` is.
fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Prints a result, and adds it to `tests/RESULTS.md` if `OUTBOARD_RESULTS` is set.
pub(crate) fn report(title: &str, seed: u64, lines: &[String]) {
    let text: String = lines.iter().map(|line| format!("- {line}\n")).collect();
    println!("{title}\n{text}");
    if std::env::var_os("OUTBOARD_RESULTS").is_none() {
        return;
    }
    let date = String::from_utf8(run("date", &["-u", "+%Y-%m-%d"])).unwrap();
    let commit = String::from_utf8(run("git", &["rev-parse", "--short", "HEAD"])).unwrap();
    let dirty = if run("git", &["status", "--porcelain", "--", "src", "Cargo.lock"]).is_empty() {
        ""
    } else {
        ", changed"
    };
    let mut file =
        OpenOptions::new().append(true).create(true).open(repository().join("tests/RESULTS.md")).unwrap();
    writeln!(
        file,
        "\n## {title}\n\n{}, commit {}{dirty}, seed {seed}\n\n{}",
        date.trim(),
        commit.trim(),
        text.trim_end()
    )
    .unwrap();
}

fn run(program: &str, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(program).args(arguments).current_dir(repository()).output();
    output.map(|output| output.stdout).unwrap_or_default()
}

/// The number in a variable, for the long runs.
pub(crate) fn number(variable: &str, usual: usize) -> usize {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}
