//! Choices between a few words.

use super::Written;
use crate::broker::Keep;
use crate::config::{Format, Level};
use crate::proxy::{LargerRequests, ProxyProtocol};
use crate::route::OnFailure;
use crate::subscribe::Slow;

/// Makes a [`Written`] value of a choice between a few words.
macro_rules! words {
    ($type:ty, $expected:literal, { $($word:literal => $value:expr),+ $(,)? }) => {
        impl Written for $type {
            const EXPECTED: &'static str = $expected;

            fn from_text(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok($value),)+
                    _ => Err(format!("expected {}, not {text:?}", Self::EXPECTED)),
                }
            }
        }
    };
}

words!(Keep, "\"all\" or \"latest\"", {
    "all" => Keep::All,
    "latest" => Keep::Latest,
});

words!(OnFailure, "\"come-back\" or \"pass\"", {
    "come-back" => OnFailure::ComeBack,
    "pass" => OnFailure::Pass,
});

words!(Slow, "\"disconnect\" or \"skip\"", {
    "disconnect" => Slow::Disconnect,
    "skip" => Slow::Skip,
});

words!(Format, "\"text\" or \"json\"", {
    "text" => Format::Text,
    "json" => Format::Json,
});

words!(Level, "\"error\", \"warn\", \"info\", \"debug\" or \"trace\"", {
    "error" => Level::Error,
    "warn" => Level::Warn,
    "info" => Level::Info,
    "debug" => Level::Debug,
    "trace" => Level::Trace,
});

words!(LargerRequests, "\"pass\" or \"refuse\"", {
    "pass" => LargerRequests::Pass,
    "refuse" => LargerRequests::Refuse,
});

words!(ProxyProtocol, "\"v1\" or \"v2\"", {
    "v1" => ProxyProtocol::V1,
    "v2" => ProxyProtocol::V2,
});

words!(StoreKind, "\"memory\" or \"disk\"", {
    "memory" => StoreKind::Memory,
    "disk" => StoreKind::Disk,
});

words!(Durability, "\"stored\" or \"accepted\"", {
    "stored" => Durability::Stored,
    "accepted" => Durability::Accepted,
});

/// Where the log lives.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::config) enum StoreKind {
    Memory,
    Disk,
}

/// What an `ok` waits for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::config) enum Durability {
    Stored,
    Accepted,
}
