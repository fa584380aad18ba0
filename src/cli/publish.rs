//! `outboard publish`: one event.

use std::io::{IsTerminal, Read};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;

use super::arguments::Publish;
use super::{Usage, block_on, outboard, output};
use crate::client::publisher::{Draft, Reply};
use crate::event::Event;

/// More than this is never read from standard input; outboard itself takes less.
const LONGEST_DATA: u64 = 64 << 20;

pub(super) fn publish(options: Publish) -> anyhow::Result<ExitCode> {
    let outboard = outboard(&options.place)?;
    let json = options.json;
    let draft = draft(options)?;
    let reply = block_on(outboard.publish(&draft))?.context("nothing was published")?;
    output::write(show(&reply, json).as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn draft(options: Publish) -> anyhow::Result<Draft> {
    let data = match options.data.as_deref() {
        Some("-") => Some(read_all()?),
        Some(data) => Some(data.to_owned()),
        // Only a close; standard input may be somebody else's, as in a CGI script.
        None if options.close => None,
        None if std::io::stdin().is_terminal() => {
            return Err(
                Usage("nothing to publish: write the data behind the channel, or pipe it in".into()).into()
            );
        }
        None => Some(read_all()?),
    };
    let event = match data {
        Some(data) => Some(event(&data, options.event.as_deref(), options.id.as_deref())?),
        None if options.event.is_some() || options.id.is_some() => {
            return Err(
                Usage("--event and --id belong to an event, and there is no data for one".into()).into()
            );
        }
        None => None,
    };
    if options
        .dedupe
        .as_ref()
        .is_some_and(|key| key.is_empty() || key.len() > 255 || key.contains(char::is_control))
    {
        return Err(Usage("--dedupe: a key has 1 to 255 bytes and no control characters".into()).into());
    }
    Ok(Draft {
        channel: options.channel,
        event,
        close: options.close,
        ttl: options.ttl.map(Duration::from_secs),
        dedupe: options.dedupe,
    })
}

fn event(data: &str, name: Option<&str>, id: Option<&str>) -> anyhow::Result<Event> {
    let mut event = Event::with_data(data);
    event.set_name(name.unwrap_or_default()).map_err(|error| Usage(format!("--event: {error}")))?;
    event.set_id(id.unwrap_or_default()).map_err(|error| Usage(format!("--id: {error}")))?;
    Ok(event)
}

/// Standard input without its last line break, which belongs to the file and not to the text.
fn read_all() -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    std::io::stdin().take(LONGEST_DATA + 1).read_to_end(&mut bytes).context("cannot read standard input")?;
    if bytes.len() as u64 > LONGEST_DATA {
        anyhow::bail!("standard input is longer than {}", output::bytes(LONGEST_DATA));
    }
    let mut text = String::from_utf8(bytes).map_err(|error| {
        let valid = error.utf8_error().valid_up_to();
        anyhow::anyhow!("standard input is not UTF-8 from byte {valid} on; convert it first, for instance with `iconv -t UTF-8`")
    })?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}

fn show(reply: &Reply, json: bool) -> String {
    let Reply::Published { id, receivers, level, duplicate } = reply else {
        return if json { "{\"id\":null}\n".into() } else { String::new() };
    };
    if json {
        let reply = serde_json::json!({
            "id": id, "receivers": receivers, "level": level, "duplicate": duplicate,
        });
        return format!("{reply}\n");
    }
    let mut words = match output::is_terminal() {
        true => vec![
            id.clone(),
            format!("{receivers} {}", if *receivers == 1 { "receiver" } else { "receivers" }),
        ],
        false => vec![id.clone(), receivers.to_string()],
    };
    words.push(level.clone());
    if *duplicate {
        words.push("duplicate".into());
    }
    let gap = if output::is_terminal() { "  " } else { " " };
    words.join(gap) + "\n"
}
