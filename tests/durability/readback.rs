//! What the log holds, as its own interface tells it.

use std::path::Path;

use crate::support::Request;

/// How many events are asked for at a time.
const PAGE: usize = 1000;

/// Ids and data of all events of a channel, oldest first.
pub(crate) fn entries(socket: &Path, channel: &str) -> Vec<(String, String)> {
    let mut entries: Vec<(String, String)> = Vec::new();
    loop {
        let after = entries.last().map_or(String::new(), |(id, _)| format!("&after={id}"));
        let answer =
            Request::get(&format!("/channels/{channel}/events?limit={PAGE}{after}")).send_to_socket(socket);
        if answer.status == 404 && entries.is_empty() {
            // Nothing was ever published there.
            return entries;
        }
        assert_eq!(answer.status, 200, "{}", answer.text());
        let page: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        let page = page.as_array().unwrap();
        let text = |event: &serde_json::Value, key: &str| event[key].as_str().unwrap_or_default().to_owned();
        entries.extend(page.iter().map(|event| (text(event, "id"), text(event, "data"))));
        if page.len() < PAGE {
            return entries;
        }
    }
}
