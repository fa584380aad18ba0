//! The names under which proxies say for whom they speak.

/// The length of the longest name that is known.
const LONGEST: usize = 32;

/// What a header's name says about who stands behind a request, or what was asked for at first.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Forwarding {
    /// `X-Forwarded-For`: the addresses on the way, the client's first.
    For,
    /// `Forwarded` (RFC 7239).
    Forwarded,
    /// `X-Forwarded-Proto` and its like, whose value is `http` or `https`.
    Proto,
    /// `X-Forwarded-Ssl` and its like, which are there, or `on`, if it is `https`.
    Tls,
    /// `X-Forwarded-Host`.
    Host,
    /// `X-Request-Id`.
    RequestId,
    /// `Via` (RFC 9110 section 7.6.3).
    Via,
    /// `X-Original-URI`, which we say ourselves when we ask whether a client may listen.
    OriginalUri,
    /// Any other spelling in use.
    Other,
}

impl Forwarding {
    /// What this name says, in any case; `None` if it is no such name.
    pub(super) fn of(name: &[u8]) -> Option<Self> {
        // Looked at by its first letter: most names are none of these.
        if !matches!(name.first()?, b'a'..=b'x' | b'A'..=b'X') {
            return None;
        }
        let mut lower = [0; LONGEST];
        let lower = lower.get_mut(..name.len())?;
        lower.copy_from_slice(name);
        lower.make_ascii_lowercase();
        Some(match &*lower {
            b"x-forwarded-for" => Self::For,
            b"forwarded" => Self::Forwarded,
            b"x-forwarded-proto" | b"x-forwarded-protocol" | b"x-forwarded-scheme" => Self::Proto,
            b"x-url-scheme" | b"x-scheme" | b"x-original-proto" => Self::Proto,
            b"x-forwarded-ssl" | b"x-forwarded-https" | b"front-end-https" | b"x-arr-ssl" => Self::Tls,
            b"fastly-ssl" | b"x-https" => Self::Tls,
            b"x-forwarded-host" => Self::Host,
            b"x-request-id" => Self::RequestId,
            b"via" => Self::Via,
            b"x-original-uri" => Self::OriginalUri,
            b"x-original-url" | b"x-rewrite-url" | b"x-original-host" | b"x-original-for" => Self::Other,
            b"x-original-method" | b"x-original-path" | b"x-host" | b"x-http-host-override" => Self::Other,
            b"x-real-ip" | b"x-real-port" | b"x-client-ip" | b"client-ip" | b"x-client-port" => Self::Other,
            b"true-client-ip" | b"x-true-client-ip" | b"x-cluster-client-ip" => Self::Other,
            b"cf-connecting-ip" | b"cf-connecting-ipv6" | b"cf-pseudo-ipv4" => Self::Other,
            b"cf-visitor" | b"cf-ipcountry" | b"fastly-client-ip" | b"fly-client-ip" => Self::Other,
            b"incap-client-ip" | b"x-sucuri-clientip" | b"x-azure-clientip" | b"x-azure-socketip" => {
                Self::Other
            }
            b"x-appengine-user-ip" | b"x-appengine-remote-addr" | b"x-envoy-external-address" => Self::Other,
            b"x-remote-ip" | b"x-remote-addr" | b"x-originating-ip" | b"x-proxyuser-ip" => Self::Other,
            b"wl-proxy-client-ip" | b"wl-proxy-ssl" | b"pc-remote-addr" | b"remote-addr" => Self::Other,
            b"ali-cdn-real-ip" | b"cdn-src-ip" | b"akamai-client-ip" | b"x-ssl" => Self::Other,
            b"x-coming-from" | b"coming-from" | b"forwarded-for" | b"forwarded-for-ip" => Self::Other,
            b"forwarded-proto" | b"forwarded-host" | b"x-forward-for" | b"x-forward-proto" => Self::Other,
            name if name.starts_with(b"x-forwarded") => Self::Other,
            _ => return None,
        })
    }

    /// Whether it is a proxy that says so, and not a browser or a program that only numbers its requests.
    pub(super) fn tells_of_a_proxy(self) -> bool {
        !matches!(self, Self::RequestId | Self::Via)
    }
}

/// The name with a hyphen for each character that a CGI program takes for one: in its variables, whatever
/// is neither a letter nor a digit may be `_`.
pub(super) fn with_hyphens(name: &[u8]) -> Vec<u8> {
    name.iter().map(|&byte| if byte.is_ascii_alphanumeric() { byte } else { b'-' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_in_use_is_known_in_any_case() {
        for name in [
            "X-Forwarded-For",
            "forwarded",
            "X-FORWARDED-PROTO",
            "X-Forwarded-Port",
            "X-Forwarded-User",
            "X-Forwarded",
            "X-Real-IP",
            "X-Client-IP",
            "Client-IP",
            "True-Client-IP",
            "CF-Connecting-IP",
            "X-Cluster-Client-IP",
            "Fastly-Client-IP",
            "Front-End-Https",
            "X-Forwarded-Ssl",
            "X-Url-Scheme",
            "X-Original-URL",
            "X-Original-URI",
            "X-Rewrite-URL",
            "X-Request-Id",
            "Via",
            "WL-Proxy-Client-IP",
            "Ali-CDN-Real-IP",
            "Cdn-Src-Ip",
            "Akamai-Client-IP",
            "Remote-Addr",
            "X-SSL",
        ] {
            assert!(Forwarding::of(name.as_bytes()).is_some(), "{name}");
        }
    }

    #[test]
    fn what_browsers_send_is_none_of_them() {
        for name in [
            "User-Agent",
            "Cookie",
            "Accept-Language",
            "Referer",
            "Sec-Fetch-Site",
            "X-Requested-With",
            "X-CSRF-Token",
            "Origin",
            "traceparent",
            "Authorization",
            "X-Api-Key",
            "Range",
            "Priority",
            "",
            "X-HTTP-Method-Override",
            "Upgrade-Insecure-Requests",
            "X-Forwar",
            "If-None-Match",
            "Cache-Control",
        ] {
            assert_eq!(Forwarding::of(name.as_bytes()), None, "{name}");
        }
    }

    #[test]
    fn what_is_no_letter_and_no_digit_is_a_hyphen_to_a_cgi_program() {
        assert_eq!(with_hyphens(b"X_A.b"), b"X-A-b");
    }
}
