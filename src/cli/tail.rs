//! `outboard tail`: a channel as it goes.

use std::process::ExitCode;
use std::time::Duration;

use sse_parse::Event;

use super::arguments::Tail;
use super::{block_on, outboard, output};
use crate::client::http::Start;
use crate::client::{Fault, Outboard};

/// The pause before a next try, unless outboard has given another.
const PAUSE: Duration = Duration::from_secs(1);

/// The longest pause that outboard can ask for here: a person waits.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

pub(super) fn tail(options: &Tail) -> anyhow::Result<ExitCode> {
    let outboard = outboard(&options.place)?;
    block_on(follow(&outboard, options))??;
    Ok(ExitCode::SUCCESS)
}

async fn follow(outboard: &Outboard, options: &Tail) -> anyhow::Result<()> {
    let mut last = String::new();
    let mut start = options.replay;
    let mut away = false;
    let mut connected_once = false;
    loop {
        let mut pause = PAUSE;
        match outboard.subscribe(&options.channel, start, &last).await {
            Ok(None) => {
                output::say("outboard: the channel is closed");
                return Ok(());
            }
            Ok(Some(mut events)) => {
                if std::mem::take(&mut away) {
                    output::say("outboard: back again");
                }
                connected_once = true;
                while let Some(event) = events.next().await {
                    print(&event, options.json)?;
                }
                last = events.last_event_id().to_owned();
                pause = events.retry().unwrap_or(PAUSE).min(LONGEST_PAUSE);
                // Without an id to go on from, what came while we were away is all that is new.
                start = if last.is_empty() { options.replay } else { Start::Live };
            }
            Err(fault) if connected_once && fault.is_passing() => note_once(&mut away, &fault),
            Err(fault) => return Err(fault.into()),
        }
        tokio::time::sleep(pause).await;
    }
}

fn note_once(away: &mut bool, fault: &Fault) {
    if !std::mem::replace(away, true) {
        let why = match fault {
            Fault::NotRunning(_) => "outboard has gone".into(),
            fault => fault.to_string(),
        };
        output::say(&format!("outboard: {why}; waiting for it to come back"));
    }
}

fn print(event: &Event, json: bool) -> anyhow::Result<()> {
    if json {
        let line = serde_json::json!({ "id": event.id, "event": event.event, "data": event.data });
        return output::write(format!("{line}\n").as_bytes());
    }
    if event.event == "outboard.gap" {
        output::say(&format!("outboard: events are missing here: {}", output::harmless(&event.data)));
        return Ok(());
    }
    if !output::is_terminal() {
        return output::write(format!("{}\n", event.data).as_bytes());
    }
    let name = match event.event.as_str() {
        "message" => event.id.clone(),
        name => format!("{}  {name}", event.id),
    };
    let line = format!("{}  {}\n", output::dim(&output::harmless(&name)), output::harmless(&event.data));
    output::write(line.as_bytes())
}
