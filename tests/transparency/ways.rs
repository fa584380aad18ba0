//! The four ways to the site, and what is seen on each.

use std::sync::{Arc, Mutex};

use super::cases::{Case, ScriptedAnswer};
use super::client::{self, Answers, PROBE};
use super::tap::Tap;
use super::wire::{Line, Message};
use crate::support::{Backend, Haproxy, Nginx, Outboard, Site};

/// The ways, the direct one first.
pub(crate) const NAMES: [&str; 4] = ["direct", "nginx", "HAProxy", "outboard"];

/// What a case led to on one way.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    /// The requests, as the site saw them.
    pub(crate) requests: Vec<Message>,
    /// The answers, as the client saw them.
    pub(crate) answers: Answers,
}

/// A way to Apache, and the same to a site that says what a case tells it.
pub(crate) struct Way {
    apache: Door,
    scripted: Door,
    says: Arc<Mutex<ScriptedAnswer>>,
    _backend: Backend,
}

/// Where clients come in, and what reaches the site.
struct Door {
    site: Tap,
    front: Front,
}

/// What stands in front of the site; it runs as long as this lives.
enum Front {
    Nobody,
    Nginx(Nginx),
    Haproxy(Haproxy),
    Outboard(Box<Outboard>),
}

impl Way {
    pub(crate) fn open(name: &str, apache: &str) -> Self {
        let says = Arc::<Mutex<ScriptedAnswer>>::default();
        let script = Arc::clone(&says);
        let backend = Backend::start(move |exchange| {
            let answer = script.lock().unwrap().clone();
            if exchange.target() == PROBE {
                return exchange.answer("200 OK", &[], "here\n");
            }
            exchange.write(answer.bytes);
            if answer.then_closes {
                exchange.cut();
            }
        });
        let scripted = Door::open(name, backend.address());
        Self { apache: Door::open(name, apache), scripted, says, _backend: backend }
    }

    pub(crate) fn go(&self, case: &Case) -> Outcome {
        let door = if case.answer.is_some() { &self.scripted } else { &self.apache };
        if let Some(answer) = &case.answer {
            let mut answer = answer.clone();
            answer.bytes = replace(&answer.bytes, b"{site}", door.site.address().as_bytes());
            *self.says.lock().unwrap() = answer;
        }
        let mut answers = client::ask(&door.address(), case);
        for answer in &mut answers.answers {
            door.name_addresses(&mut answer.message.lines);
            if case.answer.is_none() {
                forget_time(&mut answer.message.lines);
            }
        }
        Outcome { requests: door.site.take(), answers }
    }
}

impl Door {
    fn open(name: &str, site: &str) -> Self {
        let site = Tap::before(site);
        let front = match name {
            "nginx" => Front::Nginx(Nginx::start(&include_str!("nginx.conf").replace("{site}", &site.url()))),
            "HAProxy" => {
                Front::Haproxy(Haproxy::start(&include_str!("haproxy.cfg").replace("{site}", site.address())))
            }
            // Each request has a connection of its own: what is said over one that rested is read more strictly
            // (an answer without a head is one only where nothing else can be meant), and which it is were chance.
            "outboard" => Front::Outboard(Box::new(
                Outboard::behind(&site).with_variable("OUTBOARD__BACKEND__POOL_IDLE", "1ms").start(),
            )),
            _ => Front::Nobody,
        };
        Self { site, front }
    }

    fn address(&self) -> String {
        match &self.front {
            Front::Nobody => self.site.address().to_owned(),
            Front::Nginx(nginx) => nginx.address(),
            Front::Haproxy(haproxy) => haproxy.address(),
            Front::Outboard(outboard) => outboard.address().to_owned(),
        }
    }

    /// Addresses differ from way to way, and mean the same.
    fn name_addresses(&self, lines: &mut [Line]) {
        for line in lines {
            line.value =
                line.value.replace(self.site.address(), "{site}").replace(&self.address(), "{front}");
        }
    }
}

/// Apache's clock goes on between two ways.
fn forget_time(lines: &mut [Line]) {
    for line in lines.iter_mut().filter(|line| line.name.eq_ignore_ascii_case("date")) {
        line.value = "(now)".into();
    }
}

fn replace(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut result = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(at) = rest.windows(from.len()).position(|window| window == from) {
        result.extend(&rest[..at]);
        result.extend(to);
        rest = &rest[at + from.len()..];
    }
    result.extend(rest);
    result
}
