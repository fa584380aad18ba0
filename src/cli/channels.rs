//! `outboard channels`: what is there now.

use std::fmt::Write;
use std::process::ExitCode;

use super::arguments::Channels;
use super::{block_on, outboard, output};
use crate::client::http::ChannelState;

pub(super) fn channels(options: &Channels) -> anyhow::Result<ExitCode> {
    let outboard = outboard(&options.place)?;
    let mut table = Vec::new();
    block_on(outboard.channels(options.matching.as_deref(), |page| -> anyhow::Result<()> {
        if options.json {
            return output::write(json(&page)?.as_bytes());
        }
        if !output::is_terminal() {
            return output::write(separated(&page).as_bytes());
        }
        // Columns are as wide as their widest cell, so all of them have to be here first.
        table.extend(page);
        Ok(())
    }))??;
    if output::is_terminal() && !options.json {
        match table.as_slice() {
            [] => output::say(
                "There are no channels yet; one begins with its first event or its first subscriber",
            ),
            rows => output::write(aligned(rows).as_bytes())?,
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn json(page: &[ChannelState]) -> anyhow::Result<String> {
    let mut lines = String::new();
    for channel in page {
        lines += &serde_json::to_string(channel)?;
        lines.push('\n');
    }
    Ok(lines)
}

/// Name, subscribers, events, bytes, newest id, state.
fn separated(page: &[ChannelState]) -> String {
    let mut lines = String::new();
    for channel in page {
        let ChannelState { channel: name, subscribers, events, bytes, newest, .. } = channel;
        let newest = newest.as_deref().unwrap_or("-");
        // Writing to a string cannot fail.
        let _ = writeln!(lines, "{name}\t{subscribers}\t{events}\t{bytes}\t{newest}\t{}", state(channel));
    }
    lines
}

fn state(channel: &ChannelState) -> &'static str {
    if channel.closed { "closed" } else { "open" }
}

fn aligned(rows: &[ChannelState]) -> String {
    const HEADS: [&str; 6] = ["CHANNEL", "SUBSCRIBERS", "EVENTS", "SIZE", "NEWEST", "STATE"];
    let cells: Vec<[String; 6]> = rows
        .iter()
        .map(|row| {
            [
                output::harmless(&row.channel),
                row.subscribers.to_string(),
                row.events.to_string(),
                output::bytes(row.bytes),
                row.newest.as_deref().map_or_else(|| "-".into(), output::harmless),
                state(row).into(),
            ]
        })
        .collect();
    let widths: [usize; 6] = std::array::from_fn(|column| {
        cells.iter().map(|row| row[column].chars().count()).fold(HEADS[column].len(), usize::max)
    });
    let line = |row: [&str; 6]| {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let width = widths[column];
            // Numbers are compared by their right ends.
            let _ = match column {
                1..=3 => write!(line, "{cell:>width$}  "),
                _ => write!(line, "{cell:<width$}  "),
            };
        }
        line.trim_end().to_owned()
    };
    let mut table = output::dim(&line(HEADS)) + "\n";
    for row in &cells {
        table += &line(row.each_ref().map(String::as_str));
        table.push('\n');
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(name: &str, subscribers: u64, newest: Option<&str>, closed: bool) -> ChannelState {
        ChannelState {
            channel: name.into(),
            subscribers,
            events: 2,
            bytes: 2048,
            oldest: None,
            newest: newest.map(Into::into),
            closed,
        }
    }

    #[test]
    fn a_table_for_people_is_aligned() {
        let rows = [channel("a", 1, Some("e-1"), false), channel("job-42", 12, None, true)];

        assert_eq!(
            aligned(&rows),
            "CHANNEL  SUBSCRIBERS  EVENTS   SIZE  NEWEST  STATE\n\
             a                  1       2  2 KiB  e-1     open\n\
             job-42            12       2  2 KiB  -       closed\n"
        );
    }

    #[test]
    fn a_list_for_programs_is_tab_separated() {
        assert_eq!(separated(&[channel("a", 1, None, false)]), "a\t1\t2\t2048\t-\topen\n");
    }
}
