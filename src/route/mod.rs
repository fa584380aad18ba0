//! Event routes: the paths that outboard answers itself, and the channels a request on them means.
//!
//! - [`Routes`] finds the route of a path, and what its pattern captured;
//! - [`Template`] makes a channel name, a subject or a path of a request's [`Variables`].
//!
//! Everything that can be wrong with a route is found when it is made. What is left for later is
//! what only a request can get wrong ([`Unfit`]): a parameter that is not there, or a value that
//! is no channel name. Values come from clients, so a route's channels are only ever a wish; who
//! may listen is decided by [`Auth`].

mod origin;
mod pattern;
mod template;
mod variables;

use std::time::Duration;

pub use origin::{InvalidOrigin, Origin, is_of_host};
pub use pattern::{InvalidPattern, Pattern};
pub use template::{InvalidTemplate, Template, Unfit};
pub use variables::{Captures, InvalidVariable, Source, Variable, Variables};

use crate::channel::{Channel, MAX_PER_STREAM};
use crate::replay::Replay;
use crate::subject::Subject;

/// A path that outboard answers with a subscription, or passes on in a manner of its own (`[[event_route]]`).
#[derive(Clone, Debug)]
pub struct EventRoute {
    /// Which paths.
    pub pattern: Pattern,
    /// The channels a request means. Empty if the backend names them in its answer to `auth`.
    pub channels: Vec<Template>,
    /// Who may listen. With `None` it is no subscription: requests pass on to the backend.
    pub auth: Option<Auth>,
    /// What a client without a `Last-Event-ID` gets first.
    pub replay: Replay,
    /// Silence after which a comment is sent; `None` leaves it to the settings of all streams.
    pub keep_alive: Option<Duration>,
    /// The reconnect hint; `None` leaves it to the settings of all streams.
    pub retry: Option<Duration>,
    /// The name under which the route's streams can be ended.
    pub subject: Option<Template>,
    /// What an `EventSource` gets when the backend fails.
    pub on_failure: OnFailure,
    /// How long the backend may take for an event stream until its client gets the head of one; `None` leaves it
    /// to the settings of all streams.
    pub open_after: Option<Duration>,
    /// Whose pages may read it, besides the site's own.
    pub origins: Vec<Origin>,
    /// How many bytes of a comment stand at the front of the route's streams.
    pub pad: usize,
}

/// What an `EventSource` gets when the backend fails (`on_failure`).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum OnFailure {
    /// The word to come back.
    #[default]
    ComeBack,
    /// The failure, which ends it for good.
    Pass,
}

/// A channel that a request means.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Wished {
    /// Its name.
    pub channel: Channel,
    /// Whether the configuration names it. Otherwise the client's request does, and that grants nothing by
    /// itself.
    pub is_fixed: bool,
}

/// Who may listen on a route.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Auth {
    /// Everybody who can reach it.
    None,
    /// Whom the backend answers with 2xx when it is asked for this path.
    Backend(Template),
}

impl EventRoute {
    /// The channels a request means, each once, in the order in which they are named.
    ///
    /// # Errors
    /// When a variable has no value, when the result is no channel name, or when there are more
    /// than [`MAX_PER_STREAM`].
    pub fn channels(&self, variables: &Variables<'_>) -> Result<Vec<Wished>, Unfit> {
        let mut wished: Vec<Wished> = Vec::new();
        for template in &self.channels {
            let is_fixed = !template.is_filled_in();
            for channel in template.channels(variables)? {
                if let Some(known) = wished.iter_mut().find(|known| known.channel == channel) {
                    known.is_fixed |= is_fixed;
                    continue;
                }
                if wished.len() == MAX_PER_STREAM {
                    return Err(Unfit::TooMany);
                }
                wished.push(Wished { channel, is_fixed });
            }
        }
        Ok(wished)
    }

    /// The name under which this request's stream can be ended, if the route gives one.
    ///
    /// # Errors
    /// When a variable has no value, or when the result is no subject.
    pub fn subject(&self, variables: &Variables<'_>) -> Result<Option<Subject>, Unfit> {
        self.subject.as_ref().map(|template| template.subject(variables)).transpose()
    }

    /// The path, and perhaps query, for which the backend is asked whether this client may
    /// listen; `None` if nobody needs to be asked.
    ///
    /// # Errors
    /// When a variable has no value, or when the values would lead out of the configured path.
    pub fn auth_path(&self, variables: &Variables<'_>) -> Result<Option<String>, Unfit> {
        match &self.auth {
            None | Some(Auth::None) => Ok(None),
            Some(Auth::Backend(path)) => path.path(variables).map(Some),
        }
    }
}

/// All event routes.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    routes: Vec<EventRoute>,
    /// Leads to places in `routes`.
    router: matchit::Router<usize>,
}

/// A route that answers a path, and what its pattern captured there.
#[derive(Clone, Debug)]
pub struct Match<'r> {
    /// The route.
    pub route: &'r EventRoute,
    /// What the pattern's names stand for.
    pub captures: Captures,
}

/// Why a route cannot stand beside those before it.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("`{path}` matches the same paths as `{other}`")]
pub struct Conflict {
    /// The path of the new route.
    pub path: String,
    /// The path of the one that was there.
    pub other: String,
}

impl Routes {
    /// Adds a route.
    ///
    /// # Errors
    /// When its path cannot be told apart from that of a route already there.
    pub fn add(&mut self, route: EventRoute) -> Result<(), Conflict> {
        self.router.insert(route.pattern.as_str(), self.routes.len()).map_err(|error| Conflict {
            path: route.pattern.as_str().into(),
            other: match error {
                matchit::InsertError::Conflict { with } => with,
                // A pattern in hand has been inserted once before, so only a conflict is left.
                other => other.to_string(),
            },
        })?;
        self.routes.push(route);
        Ok(())
    }

    /// The route that answers `path`, which is the request's, still percent-encoded and without
    /// its query.
    pub fn find(&self, path: &str) -> Option<Match<'_>> {
        let found = self.router.at(path).ok()?;
        Some(Match { route: self.routes.get(*found.value)?, captures: Captures::decode(&found.params) })
    }

    /// All routes, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = &EventRoute> {
        self.routes.iter()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.routes.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;

    fn route(path: &str, channels: &[&str]) -> EventRoute {
        EventRoute {
            pattern: Pattern::parse(path).unwrap(),
            channels: channels.iter().map(|text| Template::parse(text).unwrap()).collect(),
            auth: Some(Auth::None),
            replay: Replay::default(),
            keep_alive: None,
            retry: None,
            subject: None,
            on_failure: OnFailure::default(),
            open_after: None,
            origins: Vec::new(),
            pad: 0,
        }
    }

    fn routes(routes: impl IntoIterator<Item = EventRoute>) -> Routes {
        let mut all = Routes::default();
        for route in routes {
            all.add(route).unwrap();
        }
        all
    }

    fn names(wished: Result<Vec<Wished>, Unfit>) -> Vec<String> {
        wished.unwrap().iter().map(|wished| wished.channel.as_str().to_owned()).collect()
    }

    fn channels_of(routes: &Routes, path: &str, query: &str) -> Result<Vec<Wished>, Unfit> {
        let found = routes.find(path).unwrap();
        found.route.channels(&Variables::new(&found.captures, Some(query), &HeaderMap::new()))
    }

    #[test]
    fn a_captured_segment_names_the_channel() {
        let routes = routes([route("/events/{name}", &["news.{path.name}"])]);

        assert_eq!(names(channels_of(&routes, "/events/sport", "")), ["news.sport"]);
        assert!(routes.find("/events").is_none());
        assert!(routes.find("/events/a/b").is_none());
    }

    #[test]
    fn the_rest_of_a_path_can_be_captured() {
        let routes = routes([route("/files/{*rest}", &["{path.rest}"])]);

        assert_eq!(names(channels_of(&routes, "/files/a/b.txt", "")), ["a/b.txt"]);
    }

    #[test]
    fn captures_are_decoded_once_and_after_matching() {
        let routes = routes([route("/events/{name}", &["{path.name}"])]);

        assert_eq!(names(channels_of(&routes, "/events/a%2Fb", "")), ["a/b"]);
        assert_eq!(names(channels_of(&routes, "/events/a%252Fb", "")), ["a%2Fb"]);
        assert_eq!(names(channels_of(&routes, "/events/%E8%81%8A", "")), ["聊"]);
        assert_eq!(names(channels_of(&routes, "/events/a+b", "")), ["a+b"]);
    }

    #[test]
    fn a_capture_that_is_not_utf8_is_refused() {
        let routes = routes([route("/events/{name}", &["{path.name}"])]);

        let error = channels_of(&routes, "/events/%FF", "").unwrap_err();

        assert_eq!(error.to_string(), "{path.name} is not UTF-8 in this request");
    }

    #[test]
    fn s10_a_parameter_that_is_not_utf8_is_refused() {
        let routes = routes([route("/events", &["{query.c}"]), route("/jobs", &["job-{query.c}"])]);

        for path in ["/events", "/jobs"] {
            for query in ["c=x%ff", "c=x%fe", "c=%c3"] {
                let error = channels_of(&routes, path, query).unwrap_err();
                assert_eq!(error.to_string(), "{query.c} is not UTF-8 in this request", "{path}?{query}");
            }
        }
    }

    #[test]
    fn a_channel_is_fixed_if_the_configuration_names_it_whatever_the_request_names() {
        let routes = routes([route("/events", &["{query.c}", "news"])]);

        let wished = channels_of(&routes, "/events", "c=news&c=secret").unwrap();

        let fixed: Vec<_> = wished.iter().map(|wished| (wished.channel.as_str(), wished.is_fixed)).collect();
        assert_eq!(fixed, [("news", true), ("secret", false)]);
    }

    #[test]
    fn a_value_cannot_end_the_channel_name() {
        let routes = routes([route("/events/{name}", &["user-{path.name}"])]);

        let error = channels_of(&routes, "/events/a%0D%0Ab", "").unwrap_err();

        assert_eq!(
            error.to_string(),
            "`user-{path.name}` gives no channel here: a channel name cannot contain '\\r'"
        );
    }

    #[test]
    fn a_repeated_query_parameter_names_several_channels() {
        let routes = routes([route("/events", &["{query.stream}"])]);

        assert_eq!(names(channels_of(&routes, "/events", "stream=a&x=1&stream=b&stream=a")), ["a", "b"]);
    }

    #[test]
    fn one_bad_name_among_several_refuses_the_request() {
        let routes = routes([route("/events", &["{query.stream}"])]);

        let error = channels_of(&routes, "/events", "stream=a&stream=b+c").unwrap_err();

        assert_eq!(
            error.to_string(),
            "`{query.stream}` gives no channel here: a channel name cannot contain ' '"
        );
    }

    #[test]
    fn within_a_longer_template_the_first_query_parameter_counts() {
        let routes = routes([route("/events", &["job-{query.id}"])]);

        assert_eq!(names(channels_of(&routes, "/events", "id=1&id=2")), ["job-1"]);
    }

    #[test]
    fn a_missing_parameter_is_named() {
        let routes = routes([route("/events", &["{query.stream}"])]);

        let error = channels_of(&routes, "/events", "other=1").unwrap_err();

        assert_eq!(error.to_string(), "this request has no {query.stream}");
    }

    #[test]
    fn a_stream_has_at_most_32_channels() {
        let routes = routes([route("/events", &["{query.c}"])]);
        let query = |n: usize| (0..n).map(|i| format!("c={i}&c={i}&")).collect::<String>();

        assert_eq!(channels_of(&routes, "/events", &query(32)).unwrap().len(), 32);
        assert_eq!(channels_of(&routes, "/events", &query(33)), Err(Unfit::TooMany));
    }

    #[test]
    fn a_fixed_path_wins_over_a_captured_one() {
        let routes =
            routes([route("/events/{name}", &["{path.name}"]), route("/events/all", &["everything"])]);

        assert_eq!(names(channels_of(&routes, "/events/all", "")), ["everything"]);
        assert_eq!(names(channels_of(&routes, "/events/one", "")), ["one"]);
    }

    #[test]
    fn two_routes_for_the_same_paths_are_refused() {
        let mut routes = routes([route("/events/{name}", &["a"])]);

        let conflict = routes.add(route("/events/{other}", &["b"])).unwrap_err();

        assert_eq!(conflict.to_string(), "`/events/{other}` matches the same paths as `/events/{name}`");
        assert_eq!(routes.iter().count(), 1);
    }

    #[test]
    fn the_backend_is_asked_for_a_path_made_of_the_request() {
        let mut asking = route("/events/{room}", &["room-{path.room}"]);
        asking.auth =
            Some(Auth::Backend(Template::parse("/may-listen.cgi?room={path.room}&to={query.to}").unwrap()));
        let routes = routes([asking]);

        let found = routes.find("/events/a%26b").unwrap();
        let headers = HeaderMap::new();
        let variables = Variables::new(&found.captures, Some("to=%C3%A4+1"), &headers);

        assert_eq!(
            found.route.auth_path(&variables).unwrap().unwrap(),
            "/may-listen.cgi?room=a%26b&to=%C3%A4%201"
        );
    }
}
