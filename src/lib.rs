//! `outboard`: a reverse-proxy sidecar that gives Server-Sent Events to sites that cannot push.
//!
//! Read downwards from [`app`]: a connection comes in through [`listen`], each request on it is
//! answered by [`gateway`], which sends it on with [`proxy`] or keeps the client with
//! [`subscribe`]. Events come in through [`publish`] and live in the log of [`broker`].
//! `ARCHITECTURE.md` holds the map, and which module may import which.

pub mod admin;
pub mod api;
pub mod app;
pub mod body;
pub mod broker;
pub mod channel;
pub mod cli;
pub mod client;
pub mod config;
pub mod demo;
pub mod drain;
pub mod event;
pub mod folder;
pub mod gateway;
pub mod group;
pub mod handoff;
pub mod http1;
pub mod journal;
pub mod listen;
pub mod metrics;
pub mod once;
pub mod peer;
pub mod proxy;
pub mod publish;
pub mod replay;
pub mod route;
pub mod slots;
pub mod socket;
pub mod subject;
pub mod subscribe;
pub mod vigil;
pub mod vital;
pub mod words;
