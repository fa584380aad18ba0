//! What is said to the site on our own account about clients that are held: the question whether one may
//! stay, and the notice that one is gone.
//!
//! Both go to the site that is configured when they are sent. Each has a room of its own among the
//! connections (`proxy::Room`), where it waits as long as it takes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use http::Method;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::ask::{self, Revoked};
use crate::drain::Draining;
use crate::once::{News, Once};
use crate::proxy::{Backend, Fault, Room};
use crate::subscribe::{Answering, End, MayStay, Promises, Recheck, Site};

/// How long we wait before telling a backend again that a client is gone: it may just restart.
const TELL_AGAIN: [Duration; 4] =
    [Duration::from_secs(1), Duration::from_secs(4), Duration::from_secs(15), Duration::from_secs(60)];

/// The longest such wait once the drain has begun.
const TELL_AGAIN_AT_THE_END: Duration = Duration::from_millis(500);

/// The most notices at a time, each of which keeps a request's head in memory.
const MOST_NOTICES: usize = 100_000;

/// Where questions and notices about held clients go out.
pub struct Desk(Arc<Inner>);

struct Inner {
    /// The site that is configured now.
    backend: Arc<ArcSwap<Backend>>,
    runtime: Handle,
    draining: Draining,
    notices: watch::Sender<Notices>,
    /// Paths whose answers to rechecks set cookies.
    with_cookies: Once<String>,
}

/// How many notices there are.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
struct Notices {
    /// Those that are on their way.
    under_way: usize,
    /// Those that were given up.
    lost: usize,
}

impl Desk {
    /// To be called in a tokio runtime.
    pub fn new(backend: Arc<ArcSwap<Backend>>, draining: Draining) -> Self {
        Self(Arc::new(Inner {
            backend,
            runtime: Handle::current(),
            draining,
            notices: watch::Sender::default(),
            with_cookies: Once::at_most(1000),
        }))
    }

    /// Waits until the site has been told of every client that is gone, at most so long; how many it could
    /// not be told of since the start.
    pub async fn told(&self, limit: Duration) -> usize {
        let mut notices = self.0.notices.subscribe();
        let all_told = notices.wait_for(|notices| notices.under_way == 0);
        let _ = tokio::time::timeout(limit, all_told).await;
        let Notices { under_way, lost } = *self.0.notices.borrow();
        under_way + lost
    }
}

impl Site for Desk {
    fn may_stay(&self, promises: Arc<Promises>) -> Answering {
        let desk = Arc::clone(&self.0);
        Box::pin(async move {
            match &promises.recheck {
                Some(recheck) => desk.may_stay(&promises, recheck).await,
                None => MayStay::NotAsked,
            }
        })
    }

    fn gone(&self, promises: Arc<Promises>, end: End) {
        let desk = Arc::clone(&self.0);
        let has_room = desk.notices.borrow().under_way < MOST_NOTICES;
        if !has_room {
            desk.notices.send_modify(|notices| notices.lost += 1);
            tracing::error!(
                limit = MOST_NOTICES,
                "the backend is not told that a client is gone: too many of these notices wait for it"
            );
            return;
        }
        desk.notices.send_modify(|notices| notices.under_way += 1);
        let mut notice = Notice { desk, is_told: false };
        let runtime = notice.desk.runtime.clone();
        runtime.spawn(async move { notice.tell(&promises, end).await });
    }
}

/// A notice on its way, which is counted whatever becomes of its task.
struct Notice {
    desk: Arc<Inner>,
    is_told: bool,
}

impl Notice {
    async fn tell(&mut self, promises: &Promises, end: End) {
        self.is_told = self.desk.tell(promises, end).await;
    }
}

impl Drop for Notice {
    fn drop(&mut self) {
        self.desk.notices.send_modify(|notices| {
            notices.under_way -= 1;
            notices.lost += usize::from(!self.is_told);
        });
    }
}

impl Inner {
    async fn may_stay(&self, promises: &Promises, recheck: &Recheck) -> MayStay {
        let (backend, permit) = self.room(Room::Recheck).await;
        let sent = Instant::now();
        let asked = ask::confirm(&backend, permit, promises, recheck).await;
        let path = promises.asked.path();
        match asked {
            Ok(cookies) => {
                if let Some(cookie) =
                    cookies.filter(|_| self.with_cookies.note(path.to_owned()) != News::Known)
                {
                    tracing::warn!(
                        path,
                        cookie,
                        "an answer to a recheck sets a cookie, which no client gets: the stream has begun long \
                         ago. Session cookies that are renewed with each request run out behind a stream; let the \
                         page renew them"
                    );
                }
                MayStay::Yes
            }
            Err(reason) if reason.is_no_answer() => {
                tracing::warn!(%reason, path, "it is not known whether a client may go on listening; it is asked again");
                MayStay::Unanswered { sent, until: Instant::now() }
            }
            Err(reason @ Revoked::Fault(Fault::NoPath { .. })) => {
                tracing::error!(%reason, path, "a client's recheck cannot be asked");
                MayStay::No
            }
            Err(reason) => {
                tracing::info!(%reason, path, "a stream is not allowed any more");
                MayStay::No
            }
        }
    }

    /// A connection to the site that is configured by the time there is one.
    async fn room(&self, room: Room) -> (Arc<Backend>, crate::proxy::Permit) {
        loop {
            let backend = self.backend.load_full();
            let permit = backend.permit_in_the_end(room).await;
            if Arc::ptr_eq(&backend, &self.backend.load()) {
                return (backend, permit);
            }
        }
    }

    /// Tells the site once that a client is gone; tries again while nobody answers. Whether somebody did.
    async fn tell(&self, promises: &Promises, end: End) -> bool {
        let Some(path) = promises.gone.as_deref() else { return true };
        let mut pauses = TELL_AGAIN.into_iter();
        loop {
            let (backend, permit) = self.room(Room::Gone).await;
            let lines = ask::gone_lines(&backend, promises, end);
            let fault = match ask::ask(&backend, permit, Method::POST, path, &lines, &promises.asked).await {
                Ok(answer) => {
                    // It has been told, whatever it says.
                    let _ = ask::ended(&backend, answer.into_body()).await;
                    return true;
                }
                Err(fault) => fault,
            };
            let Some(pause) = pauses.next() else {
                tracing::error!(%fault, %path, "the backend was not told that a client is gone");
                return false;
            };
            tracing::warn!(%fault, %path, "cannot tell the backend that a client is gone; it is told again");
            let at_the_end = async {
                self.draining.begun().await;
                tokio::time::sleep(TELL_AGAIN_AT_THE_END).await;
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = at_the_end => {}
            }
        }
    }
}
