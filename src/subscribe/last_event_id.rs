//! Where a client says it was (PROTOCOL 6.4).

use http::HeaderMap;

/// The header of a reconnecting `EventSource` (WHATWG HTML 9.2.4).
const HEADER: &str = "last-event-id";

/// The query parameters of clients that cannot set headers, in the spellings that polyfills use and
/// in the order in which they count.
pub const PARAMETERS: [&str; 3] = ["last_event_id", "lastEventId", "lastEventID"];

/// The last id that a request's sender has seen, if it says one. The header wins: a browser repeats
/// the old query with each reconnect.
pub fn last_event_id(headers: &HeaderMap, query: Option<&str>) -> Option<String> {
    let header = headers.get(HEADER).map(|id| String::from_utf8_lossy(id.as_bytes()).into_owned());
    header.or_else(|| in_query(query?)).filter(|id| !id.is_empty())
}

fn in_query(query: &str) -> Option<String> {
    PARAMETERS.iter().find_map(|name| {
        let mut parameters = form_urlencoded::parse(query.as_bytes());
        parameters.find(|(key, _)| key == name).map(|(_, id)| id.into_owned())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_counts_before_the_query_and_its_spellings_in_their_order() {
        let mut headers = HeaderMap::new();
        let query = Some("lastEventID=3&lastEventId=2&last_event_id=1");

        assert_eq!(last_event_id(&headers, None), None);
        assert_eq!(last_event_id(&headers, Some("lastEventId=")), None);
        assert_eq!(last_event_id(&headers, query).as_deref(), Some("1"));
        headers.insert(HEADER, http::HeaderValue::from_static("e-7"));
        assert_eq!(last_event_id(&headers, query).as_deref(), Some("e-7"));
    }
}
