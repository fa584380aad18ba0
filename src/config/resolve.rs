//! From what is written to what it means: everything that one value alone cannot get wrong.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::file::{self, File};
use super::mistake::{KeyPath, Mistake};
use super::values::As;
use super::{Config, Limits, Log};
use crate::admin;
use crate::broker::{self, Store};
use crate::listen::Entrance;
use crate::peer::{Endpoint, Trusted};
use crate::proxy::{self, Address};
use crate::publish;
use crate::route::{Auth, EventRoute, Pattern, Routes, Source, Template};
use crate::subscribe;

/// The longest path of a Unix socket, in bytes: `sun_path` holds 108 with its final NUL.
const LONGEST_SOCKET: usize = 107;

/// The largest buffer a socket can be asked to have: the system counts its bytes, doubled, in an `int`.
const LARGEST_SEND_BUFFER: usize = 1 << 30;

/// The most `[[channel]]` tables: each is tried for each new channel.
const MOST_RULES: usize = 1000;

/// The largest `pad`: nobody is known to hold back more than 4 KiB.
const MOST_PAD: usize = 64 << 10;

impl File {
    /// The configuration this file means. `default_socket` is asked when none is written.
    ///
    /// # Errors
    /// Every mistake there is.
    pub(super) fn resolve(
        self,
        default_socket: impl FnOnce() -> Result<PathBuf, String>,
    ) -> Result<Config, Vec<Mistake>> {
        let mut mistakes = Vec::new();
        let (listen, proxy_protocol) =
            (listen(self.listen.0, &self.publish, &mut mistakes), self.proxy.proxy_protocol);
        let public: Vec<_> = listen.iter().filter_map(Entrance::tcp).collect();
        let backend = backend(&self.backend, self.proxy, &public, &mut mistakes);
        if let Some(backend) = backend.as_ref().filter(|_| proxy_protocol) {
            introduced(&listen, &backend.rules.trusted, &mut mistakes);
        }
        let largest = self.publish.max_event_size.0.0;
        let publish = publish(self.publish, default_socket, &mut mistakes);
        let admin = self.admin.and_then(|admin| admin_listener(admin, &public, &mut mistakes));
        let history = history(&self.history, self.channel.0, largest, &mut mistakes);
        let stream = stream(&self.stream, &mut mistakes);
        let routes = routes(self.event_route.0, &mut mistakes);
        match (backend, publish) {
            (Some(backend), Some(publish)) if mistakes.is_empty() => Ok(Config {
                listen,
                proxy_protocol,
                backend,
                publish,
                history,
                stream,
                admin,
                routes,
                limits: Limits {
                    max_connections: self.limits.max_connections.0.0,
                    header_timeout: self.limits.header_timeout.0.0,
                    idle_timeout: self.limits.idle_timeout.0.0,
                    write_timeout: self.limits.write_timeout.map(|As(period)| period.0),
                },
                log: Log {
                    level: self.log.level.0,
                    format: self.log.format.0,
                    file: self.log.file.map(|As(file)| file),
                },
            }),
            _ => Err(mistakes),
        }
    }
}

fn listen(
    mut entrances: Vec<Entrance>,
    publish: &file::Publish,
    mistakes: &mut Vec<Mistake>,
) -> Vec<Entrance> {
    let path = KeyPath::of("listen");
    if entrances.is_empty() {
        mistakes.push(
            Mistake::value(path.clone(), "`listen` is empty, so no client could connect")
                .help("write listen = [\"0.0.0.0:8000\"]"),
        );
    }
    for (index, entrance) in entrances.iter().enumerate() {
        if entrances[..index].contains(entrance) && entrance.tcp().is_none_or(|address| address.port() != 0) {
            mistakes.push(Mistake::value(path.index(index), format!("`listen` names {entrance} twice")));
        }
        if let Entrance::Unix(place) = entrance {
            fits_a_socket("listen", &path.index(index), &place.path, mistakes);
            let is_publish = publish.socket.as_ref().is_some_and(|As(socket)| *socket == place.path);
            if is_publish {
                mistakes.push(
                    Mistake::value(
                        path.index(index),
                        format!("`listen` names {entrance}, the publish socket"),
                    )
                    .help(
                        "give the socket for clients a path of its own, such as unix:/run/outboard/http.sock",
                    ),
                );
            }
        }
    }
    for entrance in &mut entrances {
        if let Entrance::Unix(place) = entrance {
            place.mode = publish.mode.0.0;
            place.group = publish.group.as_ref().map(|As(group)| group.0.clone());
        }
    }
    entrances
}

/// Where clients are introduced by proxies, somebody must be allowed to do so.
fn introduced(entrances: &[Entrance], trusted: &Trusted, mistakes: &mut Vec<Mistake>) {
    let path = KeyPath::of("proxy.proxy_protocol");
    if trusted.is_nobody() {
        mistakes.push(
            Mistake::value(
                path,
                "`proxy.proxy_protocol` is on and `trusted_proxies` is empty, so nobody could connect",
            )
            .help("write the addresses of your proxies in [proxy], as in trusted_proxies = [\"10.0.0.0/8\"]"),
        );
    } else if entrances.iter().any(|entrance| entrance.tcp().is_none()) && !trusted.includes(Endpoint::Unix) {
        mistakes.push(
            Mistake::value(path, "`proxy.proxy_protocol` is on and nobody is trusted who comes through a Unix socket of `listen`")
                .help("add \"unix\" to trusted_proxies in [proxy]"),
        );
    }
}

fn fits_a_socket(key: &str, place: &KeyPath, path: &Path, mistakes: &mut Vec<Mistake>) {
    let length = path.as_os_str().len();
    if length > LONGEST_SOCKET {
        mistakes.push(Mistake::value(
            place.clone(),
            format!("`{key}`: a socket's path has at most {LONGEST_SOCKET} bytes, this one has {length}"),
        ));
    }
}

fn backend(
    file: &file::Backend,
    proxy: file::Proxy,
    listen: &[SocketAddr],
    mistakes: &mut Vec<Mistake>,
) -> Option<proxy::Settings> {
    let path = KeyPath::of("backend.url");
    let Some(As(address)) = &file.url else {
        mistakes.push(Mistake::key(path, "no backend is given: where does your site listen?").help(
            "outboard --to http://127.0.0.1:8080\n\
             or, in the configuration file, [backend] with url = \"http://127.0.0.1:8080\"\n\
             or, in the environment, OUTBOARD__BACKEND__URL=http://127.0.0.1:8080",
        ));
        return None;
    };
    if let Some(own) = listen.iter().find(|own| is_same(own, address)) {
        mistakes.push(
            Mistake::value(path, format!("the backend is outboard itself, which listens on {own}"))
                .help("give the address on which the site behind outboard listens, and another port to one of the two"),
        );
    }
    Some(proxy::Settings {
        address: address.clone(),
        connect_timeout: file.connect_timeout.0.0,
        answer_timeout: file.answer_timeout.0.0,
        idle_timeout: file.idle_timeout.0.0,
        pool_idle: file.pool_idle.0.0,
        silence: proxy::SILENCE,
        max_connections: file.max_connections.0.0,
        proxy_protocol: file.proxy_protocol.as_ref().map(|As(version)| *version),
        max_streams: file.max_streams.0.0,
        stream_answer_timeout: file.stream_answer_timeout.0.0,
        rules: proxy::Rules {
            trusted: proxy.trusted_proxies.0.into_iter().collect(),
            forwarded: proxy.forwarded,
            via: file.via,
            pass_headers: proxy.pass_headers.0,
            raw_targets: proxy.raw_targets,
            rewrite_locations: proxy.rewrite_locations,
        },
        retry: file.retry,
        buffer_requests: file.buffer_requests.as_ref().map(|size| size.0.0),
        larger_requests: file.larger_requests.0,
    })
}

/// Whether whoever connects to `address` on this machine reaches `own`.
fn is_same(own: &SocketAddr, address: &Address) -> bool {
    let Address::Tcp { host, port } = address else { return false };
    if *port != own.port() {
        return false;
    }
    match host.parse::<std::net::IpAddr>() {
        Ok(ip) => ip == own.ip() || (own.ip().is_unspecified() && (ip.is_loopback() || ip.is_unspecified())),
        Err(_) => host == "localhost" && (own.ip().is_loopback() || own.ip().is_unspecified()),
    }
}

fn publish(
    file: file::Publish,
    default_socket: impl FnOnce() -> Result<PathBuf, String>,
    mistakes: &mut Vec<Mistake>,
) -> Option<publish::socket::Settings> {
    let path = KeyPath::of("publish.socket");
    let socket = match file.socket {
        Some(As(socket)) => socket,
        None => match default_socket() {
            Ok(socket) => socket,
            Err(reason) => {
                mistakes.push(Mistake::key(path, reason).help(
                    "outboard --socket PATH names another place for the publish socket, as does `socket` in [publish]",
                ));
                return None;
            }
        },
    };
    fits_a_socket("publish.socket", &path, &socket, mistakes);
    Some(publish::socket::Settings {
        socket,
        mode: file.mode.0.0,
        group: file.group.map(|As(group)| group.0),
        max_event_size: file.max_event_size.0.0,
        max_publishers: file.max_publishers.0.0,
    })
}

fn admin_listener(
    file: file::Admin,
    public: &[SocketAddr],
    mistakes: &mut Vec<Mistake>,
) -> Option<admin::Settings> {
    let path = KeyPath::of("admin.listen");
    let Some(As(listen)) = file.listen else {
        mistakes.push(
            Mistake::key(path, "[admin] has no `listen`, so nobody could use it")
                .help("write listen = \"127.0.0.1:8001\", or remove [admin]"),
        );
        return None;
    };
    if public.contains(&listen) && listen.port() != 0 {
        mistakes.push(
            Mistake::value(path.clone(), format!("`admin.listen` is {listen}, on which clients are served"))
                .help("give the admin listener a port of its own, such as 127.0.0.1:8001"),
        );
    }
    if !listen.ip().to_canonical().is_loopback() && file.token.is_none() {
        mistakes.push(
            Mistake::value(
                path,
                format!("`admin.listen` is {listen}, which others can reach, and there is no token"),
            )
            .help("write token = \"…\" beside it, or listen on 127.0.0.1"),
        );
    }
    Some(admin::Settings { listen, token: file.token.map(|As(token)| token.0) })
}

fn history(
    file: &file::History,
    rules: Vec<file::Channel>,
    largest: usize,
    mistakes: &mut Vec<Mistake>,
) -> broker::Settings {
    let limits = broker::Limits {
        max_events: file.max_events.0.0,
        max_age: file.max_age.0.0,
        max_bytes: file.max_bytes.0.0,
    };
    fits(KeyPath::of("history.max_bytes"), limits.max_bytes, largest, mistakes);
    fits(KeyPath::of("history.total_bytes"), file.total_bytes.0.0, largest, mistakes);
    let tables = KeyPath::of("channel");
    if rules.len() > MOST_RULES {
        mistakes.push(Mistake::key(
            tables.clone(),
            format!("there are {} [[channel]] tables, and at most {MOST_RULES} are allowed", rules.len()),
        ));
    }
    let mut resolved = Vec::new();
    for (index, rule) in rules.into_iter().enumerate() {
        let table = tables.index(index);
        let Some(As(names)) = rule.names else {
            mistakes.push(
                Mistake::key(table.key("match"), "this [[channel]] does not say which channels it is for")
                    .help("write match = \"ticker.*\", or match = \"**\" for all"),
            );
            continue;
        };
        if let Some(As(size)) = &rule.max_bytes {
            fits(table.key("max_bytes"), size.0, largest, mistakes);
        }
        let own = broker::Limits {
            max_events: rule.max_events.map_or(limits.max_events, |count| count.0.0),
            max_age: rule.max_age.map_or(limits.max_age, |age| age.0.0),
            max_bytes: rule.max_bytes.map_or(limits.max_bytes, |size| size.0.0),
        };
        resolved.push(broker::Rule {
            pattern: names.0,
            keep: rule.keep.map(|As(keep)| keep).unwrap_or_default(),
            max_rate: rule.max_rate.map(|As(rate)| rate),
            limits: own,
        });
    }
    broker::Settings {
        store: match file.store.0 {
            super::values::StoreKind::Memory => Store::Memory,
            super::values::StoreKind::Disk => Store::Disk(file.path.clone()),
        },
        stored: file.durability.0 == super::values::Durability::Stored,
        limits,
        total_bytes: file.total_bytes.0.0,
        max_channels: file.max_channels.0.0,
        dedupe_window: file.dedupe_window.0.0,
        rules: resolved,
    }
}

/// An event that does not fit into the history would never reach anybody.
fn fits(path: KeyPath, room: usize, largest: usize, mistakes: &mut Vec<Mistake>) {
    if room < largest {
        let message = format!(
            "`{path}` is {room} bytes, less than the largest event (`publish.max_event_size`, {largest} bytes)"
        );
        mistakes.push(
            Mistake::value(path, message)
                .help("raise the one or lower the other: what does not fit into the history reaches nobody"),
        );
    }
}

fn stream(file: &file::Stream, mistakes: &mut Vec<Mistake>) -> subscribe::Settings {
    let buffer = file.send_buffer.0.0;
    if buffer > LARGEST_SEND_BUFFER {
        mistakes.push(Mistake::value(
            KeyPath::of("stream.send_buffer"),
            format!("`stream.send_buffer` is {buffer} bytes, and no socket can have more than {LARGEST_SEND_BUFFER}"),
        ));
    }
    subscribe::Settings {
        keep_alive: file.keep_alive.0.0,
        retry: file.retry.0.0,
        slow: file.slow.0,
        stall: file.stall.0.0,
        send_buffer: file.send_buffer.0.0,
        max_subscribers: file.max_subscribers.0.0,
        recheck_grace: file.recheck_grace.0.0,
        open_after: file.open_after.0.0,
    }
}

fn routes(tables: Vec<file::EventRoute>, mistakes: &mut Vec<Mistake>) -> Routes {
    let mut routes = Routes::default();
    for (index, table) in tables.into_iter().enumerate() {
        let path = KeyPath::of("event_route").index(index);
        let Some(route) = route(table, &path, mistakes) else { continue };
        if let Err(conflict) = routes.add(route) {
            mistakes.push(
                Mistake::value(path.key("path"), conflict.to_string())
                    .help("a request can have one answer only: remove one of the two routes"),
            );
        }
    }
    routes
}

fn route(table: file::EventRoute, path: &KeyPath, mistakes: &mut Vec<Mistake>) -> Option<EventRoute> {
    if table.path.is_none() {
        mistakes.push(
            Mistake::key(path.key("path"), "this [[event_route]] has no `path`")
                .help("write path = \"/events\""),
        );
    }
    let sets = table.on_failure.is_some()
        || table.open_after.is_some()
        || table.keep_alive.is_some()
        || table.origins.is_some()
        || table.pad.is_some();
    if let Some(As(size)) = table.pad.as_ref().filter(|pad| pad.0.0 > MOST_PAD) {
        mistakes.push(Mistake::value(
            path.key("pad"),
            format!("`pad` is {} bytes, and at most {MOST_PAD} are written to each client", size.0),
        ));
    }
    let passes = table.auth.is_none() && table.channels.is_none() && sets;
    if passes {
        for (name, is_written) in [("replay", table.replay.is_some()), ("subject", table.subject.is_some())] {
            if is_written {
                mistakes.push(
                    Mistake::key(path.key(name), format!("`{name}` means nothing here: this [[event_route]] has no `channels`, so the site answers"))
                        .help("remove it, or write `channels` and `auth`"),
                );
            }
        }
    }
    if table.auth.is_none() && !passes {
        mistakes.push(
            Mistake::key(path.key("auth"), "this [[event_route]] does not say who may listen").help(
                "write auth = \"/may-listen.cgi\", a path of the backend that answers 2xx to those who may, \
                 or auth = \"none\" for everybody",
            ),
        );
    }
    let channels: Vec<_> =
        table.channels.map(|list| list.0.into_iter().map(|channel| channel.0).collect()).unwrap_or_default();
    if channels.is_empty() && !passes && matches!(table.auth, None | Some(As(Auth::None))) {
        mistakes.push(Mistake::key(path.key("channels"), "this [[event_route]] has no `channels`").help(
            "write channels = [\"news\"] or channels = [\"job-{query.id}\"]; \
                 only a route whose `auth` is a path may leave them to the backend's answer",
        ));
    }
    if let Some(As(pattern)) = &table.path {
        let channels =
            channels.iter().enumerate().map(|(i, template)| (template, path.key("channels").index(i)));
        let auth = table.auth.iter().filter_map(|auth| match &auth.0 {
            Auth::Backend(template) => Some((template, path.key("auth"))),
            Auth::None => None,
        });
        let subject = table.subject.iter().map(|subject| (&subject.0, path.key("subject")));
        for (template, path) in channels.chain(auth).chain(subject) {
            captured(pattern, template, &path, mistakes);
        }
    }
    Some(EventRoute {
        pattern: table.path?.0,
        channels,
        auth: if passes { None } else { Some(table.auth?.0) },
        replay: table.replay.map(|As(replay)| replay).unwrap_or_default(),
        keep_alive: table.keep_alive.map(|period| period.0.0),
        retry: table.retry.map(|period| period.0.0),
        subject: table.subject.map(|As(subject)| subject),
        open_after: table.open_after.map(|period| period.0.0),
        pad: table.pad.map_or(0, |size| size.0.0),
        origins: table.origins.map(|list| list.0).unwrap_or_default(),
        on_failure: table.on_failure.map(|As(on_failure)| on_failure).unwrap_or_default(),
    })
}

/// A `{path.NAME}` that the path does not capture could never have a value.
fn captured(pattern: &Pattern, template: &Template, path: &KeyPath, mistakes: &mut Vec<Mistake>) {
    for variable in template.variables() {
        let name = variable.name();
        if variable.source() != Source::Path || pattern.captures(name) {
            continue;
        }
        let help = match pattern.names().collect::<Vec<_>>().as_slice() {
            [] => format!("write {{{name}}} where the value stands in the path"),
            names => format!("the path captures {}", names.join(", ")),
        };
        let message = format!("{variable} is not captured by the path `{}`", pattern.as_str());
        mistakes.push(Mistake::value(path.clone(), message).help(help));
    }
}
