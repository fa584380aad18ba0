//! What a client is shown instead of an answer: words for a person, or JSON for a program.
//!
//! Nothing of the inside is in it, neither addresses nor causes. The request id leads the operator from
//! the page to the line in the log that has them.

use std::fmt::Display;

use http::header::{self, HeaderValue};
use http::{Response, StatusCode};

use crate::body::Body;

/// After how many seconds a client shall try again when the site was not there for it.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("5");

/// How an error is told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Form {
    Html,
    Json,
    Text,
}

/// A page that says what went wrong and what the reader can do: a short `title`, one or two sentences of
/// `text`. In the form that `accept`, the request's `Accept` header, prefers; HTML if it says nothing.
pub fn error_page(
    status: StatusCode,
    title: &str,
    text: &str,
    request_id: impl Display,
    accept: Option<&[u8]>,
) -> Response<Body> {
    let (kind, body) = match preferred(accept) {
        Form::Html => ("text/html; charset=utf-8", html(status, title, text, &request_id.to_string())),
        Form::Json => ("application/json", json(title, text, &request_id.to_string())),
        Form::Text => ("text/plain; charset=utf-8", format!("{title}\n{text}\nRequest: {request_id}\n")),
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    let is_passing = [StatusCode::BAD_GATEWAY, StatusCode::SERVICE_UNAVAILABLE, StatusCode::GATEWAY_TIMEOUT];
    if is_passing.contains(&status) {
        headers.insert(header::RETRY_AFTER, RETRY_AFTER);
    }
    response
}

/// The form with the greatest weight (RFC 9110 section 12.5.1); the first of equals, as browsers and
/// programs write them.
fn preferred(accept: Option<&[u8]>) -> Form {
    let ranges = accept.and_then(|value| std::str::from_utf8(value).ok()).unwrap_or_default().split(',');
    let mut best = (Form::Html, 0.0);
    for range in ranges {
        let mut parts = range.split(';').map(str::trim);
        let form = match parts.next().unwrap_or_default().to_ascii_lowercase().as_str() {
            "text/html" | "application/xhtml+xml" | "text/*" => Form::Html,
            "application/json" | "application/*" => Form::Json,
            "text/plain" => Form::Text,
            _ => continue,
        };
        let weight = parts.find_map(|part| part.strip_prefix("q=")?.parse().ok()).unwrap_or(1.0);
        if weight > best.1 {
            best = (form, weight);
        }
    }
    best.0
}

fn json(title: &str, text: &str, request_id: &str) -> String {
    let fields = serde_json::json!({ "error": title, "message": text, "request_id": request_id });
    format!("{fields}\n")
}

fn html(status: StatusCode, title: &str, text: &str, request_id: &str) -> String {
    let (title, text, request_id) = (escaped(title), escaped(text), escaped(request_id));
    let code = status.as_u16();
    format!(
        r#"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
body {{ margin: 0; min-height: 100vh; display: grid; place-items: center;
  font: 1rem/1.5 system-ui, sans-serif; background: Canvas; color: CanvasText }}
main {{ max-width: 32rem; padding: 2rem }}
p.code {{ margin: 0; font-size: .9rem; letter-spacing: .08em; opacity: .65 }}
h1 {{ margin: .25rem 0 1rem; font-size: 1.6rem; line-height: 1.2 }}
p.id {{ margin-top: 2rem; font-size: .8rem; opacity: .65; overflow-wrap: anywhere }}
</style>
<main>
<p class="code">{code}</p>
<h1>{title}</h1>
<p>{text}</p>
<p class="id">Request {request_id}</p>
</main>
"#
    )
}

fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(accept: &str) -> Form {
        preferred(Some(accept.as_bytes()))
    }

    #[test]
    fn a_browser_gets_a_page_and_a_program_what_it_asks_for() {
        assert_eq!(form("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"), Form::Html);
        assert_eq!(form("application/json, text/plain, */*"), Form::Json);
        assert_eq!(form("text/plain"), Form::Text);
        assert_eq!(form("text/html;q=0.5, application/json"), Form::Json);
        assert_eq!(form("application/json;q=0"), Form::Html);
        assert_eq!(form("*/*"), Form::Html);
        assert_eq!(preferred(None), Form::Html);
    }

    fn body(response: Response<Body>) -> String {
        match response.into_body() {
            Body::Full(Some(bytes)) => String::from_utf8(bytes.to_vec()).unwrap(),
            _ => panic!("an error page is written in one piece"),
        }
    }

    #[test]
    fn nothing_in_a_page_can_become_markup() {
        let page = error_page(StatusCode::BAD_GATEWAY, "<b>", "a & \"b\"", "<id>", None);

        assert_eq!(page.headers()["content-type"], "text/html; charset=utf-8");
        assert_eq!(page.headers()["cache-control"], "no-store");
        let text = body(page);
        assert!(text.contains("<h1>&lt;b&gt;</h1>\n<p>a &amp; &quot;b&quot;</p>"), "{text}");
        assert!(text.contains("Request &lt;id&gt;"), "{text}");
    }

    #[test]
    fn json_says_the_same() {
        let accept = b"application/json";

        let page = error_page(StatusCode::SERVICE_UNAVAILABLE, "Busy", "Try again", "7", Some(accept));

        assert_eq!(page.status(), 503);
        assert_eq!(page.headers()["retry-after"], "5");
        let expected = "{\"error\":\"Busy\",\"message\":\"Try again\",\"request_id\":\"7\"}\n";
        assert_eq!(body(page), expected);
    }
}
