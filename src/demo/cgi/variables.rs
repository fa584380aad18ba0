//! A request as a script sees it: the meta-variables of RFC 3875, section 4.1.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, HeaderName, header};

use super::Target;

use crate::http1::Field;

/// Variable names and values, each name once.
pub(super) type Variables = BTreeMap<OsString, OsString>;

/// The meta-variables for `request`, whose body has `length` bytes.
pub(super) fn meta_variables(
    request: &Parts,
    target: &Target,
    documents: &Path,
    length: Option<u64>,
) -> Variables {
    let mut variables = header_variables(&request.headers);
    let mut set = |name: &str, value: OsString| variables.insert(name.into(), value);

    set("GATEWAY_INTERFACE", "CGI/1.1".into());
    set("SERVER_SOFTWARE", concat!("outboard-demo/", env!("CARGO_PKG_VERSION")).into());
    set("SERVER_PROTOCOL", format!("{:?}", request.version).into());
    let (name, port) = server(&request.headers);
    set("SERVER_NAME", name.into());
    set("SERVER_PORT", port.to_string().into());

    set("REQUEST_METHOD", request.method.as_str().into());
    set("REQUEST_URI", request.uri.to_string().into());
    set("QUERY_STRING", request.uri.query().unwrap_or_default().into());
    set("REMOTE_ADDR", client(&request.headers).into());
    set("SCRIPT_NAME", target.script_name().into());
    set("DOCUMENT_ROOT", documents.into());
    if let Some(path) = &target.path_info {
        set("PATH_INFO", path.into());
        let mut translated = documents.as_os_str().to_owned();
        translated.push(path);
        set("PATH_TRANSLATED", translated);
    }
    if let Some(length) = length {
        set("CONTENT_LENGTH", length.to_string().into());
        if let Some(value) = request.headers.get(header::CONTENT_TYPE) {
            set("CONTENT_TYPE", os_string(value.as_bytes()));
        }
    }
    variables
}

/// `HTTP_*`, one for each header (4.1.18).
fn header_variables(headers: &HeaderMap) -> Variables {
    let mut variables = Variables::new();
    for (name, value) in headers {
        if !reaches_scripts(name) {
            continue;
        }
        let variable = format!("HTTP_{}", name.as_str().to_ascii_uppercase().replace('-', "_"));
        let joined = variables.entry(variable.into()).or_default();
        if !joined.is_empty() {
            joined.push(if name == header::COOKIE { "; " } else { ", " });
        }
        joined.push(os_string(value.as_bytes()));
    }
    variables
}

/// `Proxy` would become the variable by which programs choose their own proxy ("httpoxy"). A name
/// with `_` could pose as another that has `-`. Credentials are for a server that checks them
/// (9.2), and the rest has variables of its own or is between the two servers.
fn reaches_scripts(name: &HeaderName) -> bool {
    !name.as_str().contains('_')
        && !matches!(
            name.as_str(),
            "proxy" | "authorization" | "proxy-authorization" | "content-length" | "content-type"
        )
        && !Field::of(name.as_str().as_bytes()).is_for_one_hop()
}

fn server(headers: &HeaderMap) -> (String, u16) {
    let host = headers.get(header::HOST).and_then(|value| value.to_str().ok());
    match host.and_then(|host| host.parse::<Authority>().ok()) {
        Some(authority) => (authority.host().to_owned(), authority.port_u16().unwrap_or(80)),
        None => ("localhost".to_owned(), 80),
    }
}

/// Only outboard can reach the socket that this server listens on, and it names the client.
fn client(headers: &HeaderMap) -> String {
    headers
        .get("x-forwarded-for")
        .and_then(|value| value.to_str().ok())
        .and_then(|list| list.rsplit(',').next())
        .and_then(|address| address.trim().parse::<std::net::IpAddr>().ok())
        .map_or_else(|| "127.0.0.1".to_owned(), |address| address.to_string())
}

fn os_string(bytes: &[u8]) -> OsString {
    debug_assert!(!bytes.contains(&0), "no header value contains NUL");
    OsString::from_vec(bytes.to_vec())
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn variables(request: http::request::Builder, length: Option<u64>) -> BTreeMap<String, String> {
        let (request, ()) = request.body(()).unwrap().into_parts();
        let target = Target::parse(request.uri.path()).unwrap();
        meta_variables(&request, &target, Path::new("/site/htdocs"), length)
            .into_iter()
            .map(|(name, value)| (name.into_string().unwrap(), value.into_string().unwrap()))
            .collect()
    }

    #[test]
    fn a_script_learns_what_was_asked() {
        let request = Request::post("/cgi-bin/send.cgi/a%20b/c?to=ben&x=%20")
            .header("host", "www.example.org:8000")
            .header("content-type", "application/x-www-form-urlencoded")
            .header("x-forwarded-for", "192.0.2.1, 198.51.100.7");

        let variables = variables(request, Some(7));

        for (name, value) in [
            ("GATEWAY_INTERFACE", "CGI/1.1"),
            ("REQUEST_METHOD", "POST"),
            ("SCRIPT_NAME", "/cgi-bin/send.cgi"),
            ("PATH_INFO", "/a b/c"),
            ("PATH_TRANSLATED", "/site/htdocs/a b/c"),
            ("QUERY_STRING", "to=ben&x=%20"),
            ("CONTENT_LENGTH", "7"),
            ("CONTENT_TYPE", "application/x-www-form-urlencoded"),
            ("SERVER_NAME", "www.example.org"),
            ("SERVER_PORT", "8000"),
            ("SERVER_PROTOCOL", "HTTP/1.1"),
            ("REMOTE_ADDR", "198.51.100.7"),
        ] {
            assert_eq!(variables[name], value, "{name}");
        }
    }

    #[test]
    fn what_is_not_there_is_not_set_but_the_query_string_always_is() {
        let variables = variables(Request::get("/cgi-bin/whoami.cgi"), None);

        assert_eq!(variables["QUERY_STRING"], "");
        assert_eq!(variables["REMOTE_ADDR"], "127.0.0.1");
        for name in ["CONTENT_LENGTH", "CONTENT_TYPE", "PATH_INFO", "PATH_TRANSLATED"] {
            assert!(!variables.contains_key(name), "{name}");
        }
    }

    #[test]
    fn headers_become_variables_and_repeated_ones_are_joined() {
        let request = Request::get("/cgi-bin/whoami.cgi")
            .header("last-event-id", "e-7")
            .header("accept", "text/html")
            .header("accept", "text/plain")
            .header("cookie", "a=1")
            .header("cookie", "b=2");

        let variables = variables(request, None);

        assert_eq!(variables["HTTP_LAST_EVENT_ID"], "e-7");
        assert_eq!(variables["HTTP_ACCEPT"], "text/html, text/plain");
        assert_eq!(variables["HTTP_COOKIE"], "a=1; b=2");
    }

    #[test]
    fn no_header_can_pose_as_something_else() {
        let request = Request::get("/cgi-bin/whoami.cgi")
            .header("proxy", "http://evil.example")
            .header("x_forwarded_for", "192.0.2.66")
            .header("authorization", "Basic c2VjcmV0");

        let variables = variables(request, None);

        assert!(!variables.keys().any(|name| name.contains("PROXY")));
        assert!(!variables.contains_key("HTTP_X_FORWARDED_FOR"));
        assert!(!variables.contains_key("HTTP_AUTHORIZATION"));
    }
}
