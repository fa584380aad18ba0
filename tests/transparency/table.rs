//! What is printed, and what is written to a file.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use super::Row;
use super::ways::NAMES;
use super::wire::Message;

/// Prints the short table, and writes the long one.
pub(crate) fn print(rows: &[Row]) {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("transparency.txt");
    std::fs::write(&file, long(rows.iter())).unwrap();
    let mut text = short(rows);
    if let Some(word) = std::env::var_os("OUTBOARD_TRANSPARENCY") {
        let word = word.into_string().unwrap();
        text.push_str(&long(rows.iter().filter(|row| row.case.name.contains(&word))));
    }
    writeln!(text, "each difference: {}", file.display()).unwrap();
    // Not `print!`, of which nothing is seen when a test passes.
    std::io::stderr().write_all(text.as_bytes()).unwrap();
}

/// In how many cases each way makes a kind of difference.
fn short(rows: &[Row]) -> String {
    let mut kinds: BTreeMap<String, [usize; 3]> = BTreeMap::new();
    for row in rows {
        for (way, differences) in row.differences.iter().enumerate() {
            let mut seen: Vec<_> = differences.iter().map(|difference| kind(&difference.what)).collect();
            seen.sort();
            seen.dedup();
            for kind in seen {
                kinds.entry(kind).or_default()[way] += 1;
            }
        }
    }
    let mut text = format!("\n{} requests, and in how many of them is changed:\n", rows.len());
    let [_, nginx, haproxy, outboard] = NAMES;
    writeln!(text, "{:<38}{nginx:>9}{haproxy:>9}{outboard:>9}", "").unwrap();
    for (kind, [nginx, haproxy, outboard]) in kinds {
        writeln!(text, "{kind:<38}{nginx:>9}{haproxy:>9}{outboard:>9}").unwrap();
    }
    text
}

/// A difference without what it is about.
fn kind(what: &str) -> String {
    let kind = what.split(':').next().unwrap_or(what);
    kind.split(" with ").next().unwrap_or(kind).to_owned()
}

/// Every difference of every case.
fn long<'a>(rows: impl Iterator<Item = &'a Row>) -> String {
    let mut text = String::new();
    for row in rows {
        writeln!(text, "\n== {}", row.case.name).unwrap();
        for request in &row.direct.requests {
            say(&mut text, "   >", request);
        }
        for answer in &row.direct.answers.answers {
            for interim in &answer.interim {
                say(&mut text, "   <", interim);
            }
            say(&mut text, "   <", &answer.message);
        }
        let end = if row.direct.answers.kept { "kept" } else { "closed" };
        writeln!(text, "   the connection is {end}").unwrap();
        for (name, differences) in NAMES[1..].iter().zip(&row.differences) {
            for difference in differences {
                writeln!(text, "{name:<9} {:<44} {}", difference.what, difference.detail).unwrap();
            }
        }
    }
    text
}

/// A message in one line.
fn say(text: &mut String, mark: &str, message: &Message) {
    let short: String = message.start.chars().take(100).collect();
    let (lines, body) = (message.lines.len(), message.body.len());
    let cut = if message.complete { "" } else { ", cut off" };
    writeln!(text, "{mark} {short:?}, {lines} lines, {:?}, {body} bytes{cut}", message.framing).unwrap();
}
