//! Why a request is refused, and with which status.

use std::time::Duration;

use http::StatusCode;

use crate::event::InvalidEvent;
use crate::event::frame::{Code, FrameError};
use crate::http1::Refusal;

/// Why a request is refused.
#[derive(Debug, thiserror::Error)]
pub(super) enum Problem {
    /// In the words of the publish socket.
    #[error("{}", .0.text)]
    Refused(FrameError),
    /// The request is for no host, or for several.
    #[error(transparent)]
    Host(Refusal),
    #[error("{0}")]
    NotFound(String),
    #[error("this address answers to {allowed}")]
    Method { allowed: &'static str },
    #[error("{0}")]
    ContentType(String),
    #[error("the body stopped coming: nothing arrived for {0:?}")]
    Stalled(Duration),
    #[error("the body ended before its end: {0}")]
    CutOff(String),
    #[error("this needs the header `Authorization: Bearer TOKEN` with the token from [admin]")]
    Unauthorized,
    #[error(
        "grants are not available in this version: let the backend decide who may subscribe, by `auth` or by a handoff"
    )]
    NoGrants,
}

impl Problem {
    pub(super) fn refused(code: Code, text: impl Into<String>) -> Self {
        Self::Refused(FrameError { code, text: text.into() })
    }

    pub(super) fn bad_value(name: &str, reason: impl std::fmt::Display) -> Self {
        Self::refused(Code::BadValue, format!("`{name}`: {reason}"))
    }

    pub(super) fn invalid_event(field: &str) -> impl FnOnce(InvalidEvent) -> Self {
        move |invalid| Self::bad_value(field, invalid)
    }

    /// For a target with bytes that must be escaped in it.
    pub(super) fn unescaped() -> Self {
        Self::refused(Code::BadValue, Refusal::Target.to_string())
    }

    pub(super) fn too_large(limit: usize) -> Self {
        Self::refused(
            Code::TooLarge,
            format!("the body has more than {limit} bytes, which is the most an event may have"),
        )
    }

    /// The word for programs.
    pub(super) const fn code(&self) -> &'static str {
        match self {
            Self::Refused(error) => error.code.as_str(),
            Self::Host(_) => Code::BadValue.as_str(),
            Self::NotFound(_) => "not-found",
            Self::Method { .. } => "method-not-allowed",
            Self::ContentType(_) => "unsupported-type",
            Self::Stalled(_) => "timeout",
            Self::CutOff(_) => Code::Incomplete.as_str(),
            Self::Unauthorized => "unauthorized",
            Self::NoGrants => Code::Forbidden.as_str(),
        }
    }

    pub(super) const fn status(&self) -> StatusCode {
        match self {
            Self::Refused(error) => status(error.code),
            Self::Host(_) => StatusCode::BAD_REQUEST,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::Method { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::ContentType(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Stalled(_) => StatusCode::REQUEST_TIMEOUT,
            Self::CutOff(_) => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::NoGrants => StatusCode::NOT_IMPLEMENTED,
        }
    }
}

/// The status that says the same as a code of the publish socket.
const fn status(code: Code) -> StatusCode {
    match code {
        Code::UnknownField
        | Code::NoChannel
        | Code::BadChannel
        | Code::BadUtf8
        | Code::BadValue
        | Code::Incomplete => StatusCode::BAD_REQUEST,
        Code::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Code::Forbidden => StatusCode::FORBIDDEN,
        Code::Store => StatusCode::INSUFFICIENT_STORAGE,
        Code::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
    }
}
