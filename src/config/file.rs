//! What can be written: the tables and keys of the file, as they are.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::values::{
    As, ChannelTemplate, Count, Durability, Group, List, Mode, Names, Period, Size, StoreKind, Tables, Token,
};
use super::{Format, Level};
use crate::broker::{self, Keep, Rate};
use crate::listen::Entrance;
use crate::peer::TrustedPeer;
use crate::proxy::{Address, LargerRequests, PassedName, ProxyProtocol, Rules};
use crate::replay::Replay;
use crate::route::{Auth, OnFailure, Origin, Pattern, Template};
use crate::subscribe::{self, Slow};

/// Keys that the documentation of later versions shows. They are refused by name, so that nobody
/// looks for a typing mistake.
pub(super) const LATER: &[&str] = &["tls", "grip", "backend.urls", "event_route.share", "event_route.poll"];

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub(super) struct File {
    pub(super) listen: List<Entrance>,
    pub(super) backend: Backend,
    pub(super) proxy: Proxy,
    pub(super) publish: Publish,
    pub(super) history: History,
    pub(super) stream: Stream,
    pub(super) limits: Limits,
    pub(super) log: Log,
    pub(super) admin: Option<Admin>,
    pub(super) channel: Tables<Channel>,
    pub(super) event_route: Tables<EventRoute>,
}

impl Default for File {
    fn default() -> Self {
        Self {
            listen: List(vec![Entrance::Tcp(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 8000)))]),
            backend: Backend::default(),
            proxy: Proxy::default(),
            publish: Publish::default(),
            history: History::default(),
            stream: Stream::default(),
            limits: Limits::default(),
            log: Log::default(),
            admin: None,
            channel: Tables::default(),
            event_route: Tables::default(),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table, as in [backend]")]
pub(super) struct Backend {
    pub(super) url: Option<As<Address>>,
    pub(super) connect_timeout: As<Period>,
    pub(super) answer_timeout: As<Period>,
    pub(super) idle_timeout: As<Period>,
    pub(super) pool_idle: As<Period>,
    pub(super) max_connections: As<Count>,
    pub(super) via: bool,
    pub(super) proxy_protocol: Option<As<ProxyProtocol>>,
    pub(super) retry: bool,
    pub(super) max_streams: As<Count>,
    pub(super) stream_answer_timeout: As<Period>,
    pub(super) buffer_requests: Option<As<Size>>,
    pub(super) larger_requests: As<LargerRequests>,
}

impl Default for Backend {
    fn default() -> Self {
        Self {
            url: None,
            connect_timeout: seconds(5),
            answer_timeout: seconds(60),
            idle_timeout: seconds(60),
            // Many application servers close an idle connection after 5 s; be gone before them.
            pool_idle: seconds(4),
            max_connections: As(Count(512)),
            max_streams: As(Count(4096)),
            stream_answer_timeout: seconds(600),
            via: false,
            proxy_protocol: None,
            retry: true,
            buffer_requests: None,
            larger_requests: As(LargerRequests::default()),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table, as in [proxy]")]
pub(super) struct Proxy {
    pub(super) trusted_proxies: List<TrustedPeer>,
    pub(super) proxy_protocol: bool,
    pub(super) forwarded: bool,
    pub(super) pass_headers: List<PassedName>,
    pub(super) raw_targets: bool,
    pub(super) rewrite_locations: bool,
}

impl Default for Proxy {
    fn default() -> Self {
        let rules = Rules::default();
        Self {
            trusted_proxies: List(Vec::new()),
            proxy_protocol: false,
            forwarded: rules.forwarded,
            pass_headers: List(rules.pass_headers),
            raw_targets: rules.raw_targets,
            rewrite_locations: rules.rewrite_locations,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table, as in [publish]")]
pub(super) struct Publish {
    pub(super) socket: Option<As<PathBuf>>,
    pub(super) mode: As<Mode>,
    pub(super) group: Option<As<Group>>,
    pub(super) max_event_size: As<Size>,
    pub(super) max_publishers: As<Count>,
}

impl Default for Publish {
    fn default() -> Self {
        Self {
            socket: None,
            mode: As(Mode(0o660)),
            group: None,
            max_event_size: As(Size(256 << 10)),
            max_publishers: As(Count(1024)),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table, as in [history]")]
pub(super) struct History {
    pub(super) store: As<StoreKind>,
    pub(super) path: PathBuf,
    pub(super) durability: As<Durability>,
    pub(super) max_events: As<Count>,
    pub(super) max_age: As<Period>,
    pub(super) max_bytes: As<Size>,
    pub(super) total_bytes: As<Size>,
    pub(super) max_channels: As<Count>,
    pub(super) dedupe_window: As<Period>,
}

impl Default for History {
    fn default() -> Self {
        let settings = broker::Settings::default();
        Self {
            store: As(StoreKind::Memory),
            path: PathBuf::from("/var/lib/outboard"),
            durability: As(Durability::Stored),
            max_events: As(Count(settings.limits.max_events)),
            max_age: As(Period(settings.limits.max_age)),
            max_bytes: As(Size(settings.limits.max_bytes)),
            total_bytes: As(Size(settings.total_bytes)),
            max_channels: As(Count(settings.max_channels)),
            dedupe_window: As(Period(settings.dedupe_window)),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table, as in [stream]")]
pub(super) struct Stream {
    pub(super) keep_alive: As<Period>,
    pub(super) retry: As<Period>,
    pub(super) slow: As<Slow>,
    pub(super) stall: As<Period>,
    pub(super) send_buffer: As<Size>,
    pub(super) max_subscribers: As<Count>,
    pub(super) recheck_grace: As<Period>,
    pub(super) open_after: As<Period>,
}

impl Default for Stream {
    fn default() -> Self {
        let settings = subscribe::Settings::default();
        Self {
            keep_alive: As(Period(settings.keep_alive)),
            retry: As(Period(settings.retry)),
            slow: As(settings.slow),
            stall: As(Period(settings.stall)),
            send_buffer: As(Size(settings.send_buffer)),
            max_subscribers: As(Count(settings.max_subscribers)),
            recheck_grace: As(Period(settings.recheck_grace)),
            open_after: As(Period(settings.open_after)),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table, as in [limits]")]
pub(super) struct Limits {
    pub(super) max_connections: As<Count>,
    pub(super) header_timeout: As<Period>,
    pub(super) idle_timeout: As<Period>,
    pub(super) write_timeout: Option<As<Period>>,
}

impl Default for Limits {
    fn default() -> Self {
        let limits = super::Limits::default();
        Self {
            max_connections: As(Count(limits.max_connections)),
            header_timeout: As(Period(limits.header_timeout)),
            idle_timeout: As(Period(limits.idle_timeout)),
            write_timeout: None,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table, as in [log]")]
pub(super) struct Log {
    pub(super) level: As<Level>,
    pub(super) format: As<Format>,
    pub(super) file: Option<As<PathBuf>>,
}

impl Default for Log {
    fn default() -> Self {
        Self { level: As(Level::default()), format: As(Format::default()), file: None }
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table, as in [admin]")]
pub(super) struct Admin {
    pub(super) listen: Option<As<SocketAddr>>,
    pub(super) token: Option<As<Token>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table, as in [[channel]]")]
pub(super) struct Channel {
    #[serde(rename = "match")]
    pub(super) names: Option<As<Names>>,
    pub(super) keep: Option<As<Keep>>,
    pub(super) max_rate: Option<As<Rate>>,
    pub(super) max_events: Option<As<Count>>,
    pub(super) max_age: Option<As<Period>>,
    pub(super) max_bytes: Option<As<Size>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table, as in [[event_route]]")]
pub(super) struct EventRoute {
    pub(super) path: Option<As<Pattern>>,
    pub(super) channels: Option<List<ChannelTemplate>>,
    pub(super) auth: Option<As<Auth>>,
    pub(super) replay: Option<As<Replay>>,
    pub(super) keep_alive: Option<As<Period>>,
    pub(super) retry: Option<As<Period>>,
    pub(super) subject: Option<As<Template>>,
    pub(super) on_failure: Option<As<OnFailure>>,
    pub(super) open_after: Option<As<Period>>,
    pub(super) origins: Option<List<Origin>>,
    pub(super) pad: Option<As<Size>>,
}

fn seconds(seconds: u64) -> As<Period> {
    As(Period(Duration::from_secs(seconds)))
}
