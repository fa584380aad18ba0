//! `outboard check`: what a configuration will do.

use std::fmt::Write;
use std::process::ExitCode;

use super::arguments::Run;
use super::{block_on, output, run};
use crate::app::StartError;
use crate::broker::{Keep, Limits, Store};
use crate::config::Config;
use crate::listen::Entrance;
use crate::proxy::{Address, Backend};
use crate::route::{Auth, EventRoute, Template};

pub(super) fn check(options: &Run) -> anyhow::Result<ExitCode> {
    let config = run::load(options)?;
    run::try_log(&config.log)?;
    let backend = Backend::new(config.backend.clone());
    let reachable = block_on(backend.reachable())?;
    let state = match reachable {
        Ok(()) => format!("{}, which can be reached", backend.name()),
        // Not wrong: the site may be started later.
        Err(fault) => format!("{}\n{:10}note: {fault}", backend.name(), ""),
    };
    output::write(describe(&config, &state).as_bytes())?;
    Ok(obstacles(&config))
}

/// Says what would stand in the way of a start now. What an outboard has that runs with this configuration
/// does not: it is told as a note, for whoever checks a new configuration before a reload.
fn obstacles(config: &Config) -> ExitCode {
    let mut obstacles = crate::app::rehearse(config);
    if obstacles.iter().any(StartError::is_of_another_outboard) {
        obstacles.retain(|obstacle| !obstacle.is_in_use());
        output::say(
            "note: an outboard runs with this publish socket; what it has in use, such as ports, was not tried",
        );
    }
    for obstacle in &obstacles {
        output::say(&format!("outboard: it would not start: {obstacle}"));
    }
    if obstacles.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// One subject a line; `backend` says how it is now.
fn describe(config: &Config, backend: &str) -> String {
    let mut text = String::new();
    // Writing to a string cannot fail.
    let mut line = |subject: &str, what: String| {
        let _ = writeln!(text, "{subject:<9} {what}");
    };
    let addresses: Vec<_> = config
        .listen
        .iter()
        .map(|entrance| match entrance {
            Entrance::Tcp(address) => format!("http://{address}"),
            Entrance::Unix(_) => entrance.to_string(),
        })
        .collect();
    line("listen", addresses.join(", "));
    line("backend", backend.into());
    for (index, told) in clients(config).into_iter().enumerate() {
        line(if index == 0 { "clients" } else { "" }, told);
    }
    line("publish", publish(config));
    line("history", history(config));
    line("stream", stream(config));
    let log = config.log.file.as_ref().map_or("standard error".into(), |file| file.display().to_string());
    line("log", format!("{log}, {} and worse", config.log.level.as_str()));
    line(
        "admin",
        match &config.admin {
            None => "off".into(),
            Some(admin) if admin.token.is_some() => format!("http://{}, with a token", admin.listen),
            Some(admin) => format!("http://{}, without a token", admin.listen),
        },
    );
    for rule in &config.history.rules {
        let keep = match rule.keep {
            Keep::All => kept(&rule.limits),
            Keep::Latest => "the newest event only".into(),
        };
        let rate = rule.max_rate.map_or(String::new(), |rate| {
            format!(", at most one each {} to a subscriber", humantime::format_duration(rate.interval))
        });
        line("channel", format!("{}: {keep}{rate}", rule.pattern.glob()));
    }
    if config.routes.is_empty() {
        line("routes", "none; streams come from the backend's answers (Outboard-Channel)".into());
    }
    for route in config.routes.iter() {
        line("route", described(route));
        if matches!(route.auth, Some(Auth::None)) && route.channels.iter().any(|channel| channel.is_free()) {
            line("", "note: on this route everybody may listen to every channel whose name they know".into());
        }
        if matches!(route.auth, Some(Auth::Backend(_))) && route.channels.iter().any(Template::is_filled_in) {
            let note = "note: its answer names in `Outboard-Channel` which of the wished channels this client may hear";
            line("", note.into());
        }
    }
    text
}

/// What the site behind will see of clients, and what to write there.
fn clients(config: &Config) -> Vec<String> {
    let (backend, rules) = (&config.backend, &config.backend.rules);
    let mut lines = Vec::new();
    let own = match &backend.address {
        Address::Unix(_) => "the socket's other end",
        Address::Tcp { host, .. } if is_loopback(host) => "127.0.0.1",
        Address::Tcp { .. } => "this machine's address",
    };
    match backend.proxy_protocol {
        None => {
            lines.push(format!(
                "their addresses reach the site in X-Forwarded-For; REMOTE_ADDR is {own} for all"
            ));
            lines.push("note: to have them in REMOTE_ADDR again, write for Apache (mod_remoteip): RemoteIPHeader X-Forwarded-For,".into());
            lines.push(format!("      RemoteIPInternalProxy {own}; for nginx: set_real_ip_from {own}; real_ip_header X-Forwarded-For;"));
            lines.push("      for PHP: $_SERVER['HTTP_X_FORWARDED_FOR'], whose last addresses are those of your own proxies".into());
        }
        Some(_) => lines.push(
            "their addresses reach the site by the PROXY protocol, which it must be told to expect".into(),
        ),
    }
    if own == "127.0.0.1" && backend.proxy_protocol.is_none() {
        lines.push("note: `Require local`, `Allow from 127.0.0.1` and the like at the site let everybody in, for everybody".into());
        lines.push(
            "      comes from here: write such rules for the addresses above, or for a password".into(),
        );
    }
    match rules.trusted.is_nobody() {
        true => {
            lines.push("whoever says for whom it speaks is not believed; if a proxy of yours stands in front, write".into());
            lines.push("      trusted_proxies = [\"127.0.0.1\"], or what its address is, in [proxy]: else the site hears http, and".into());
            lines.push("      the proxy's address, for everybody".into());
        }
        false => lines.push("what trusted proxies say about them is passed on: X-Forwarded-For, X-Forwarded-Proto and the like".into()),
    }
    if rules.trusted.is_everybody() {
        lines.push("note: everybody is a trusted proxy, so that everybody can say who they are".into());
    }
    if config.proxy_protocol {
        lines.push("only those are served whom a trusted proxy introduces by the PROXY protocol".into());
    }
    lines
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}

fn publish(config: &Config) -> String {
    let publish = &config.publish;
    let group = publish.group.as_ref().map_or(String::new(), |group| format!(", group {group}"));
    let size = output::bytes(publish.max_event_size as u64);
    format!("{}, mode {:04o}{group}, events up to {size}", publish.socket.display(), publish.mode)
}

fn history(config: &Config) -> String {
    let history = &config.history;
    let store = match &history.store {
        Store::Memory => "in memory".into(),
        Store::Disk(folder) => format!("on disk in {}", folder.display()),
    };
    let total = output::bytes(history.total_bytes as u64);
    format!("{store}; of each channel {}; {total} in all", kept(&history.limits))
}

fn kept(limits: &Limits) -> String {
    let age = humantime::format_duration(limits.max_age);
    format!("{} events, {age}, {}", limits.max_events, output::bytes(limits.max_bytes as u64))
}

fn stream(config: &Config) -> String {
    let stream = &config.stream;
    let [keep_alive, retry] = [stream.keep_alive, stream.retry].map(humantime::format_duration);
    format!(
        "a comment after {keep_alive} of silence, retry after {retry}, {} at most",
        stream.max_subscribers
    )
}

fn described(route: &EventRoute) -> String {
    let path = route.pattern.as_str();
    let channels: Vec<_> = route.channels.iter().map(|channel| channel.as_str()).collect();
    let channels = if channels.is_empty() { "the backend's choice".into() } else { channels.join(", ") };
    let auth = match &route.auth {
        None => return format!("{path} -> the site, in a manner of its own"),
        Some(Auth::None) => "everybody may listen".into(),
        Some(Auth::Backend(path)) => format!("{path} says who may listen"),
    };
    format!("{path} -> {channels}; {auth}")
}
