//! What an operator has a say in: which headers pass, and what else the backend is told.

use super::names::{Forwarding, with_hyphens};
use super::{is_control, is_for_one_hop, is_proxy};
use crate::http1::Field;
use crate::peer::Trusted;

/// What passes, and what the backend is told (`[proxy]`, and `via` of `[backend]`).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rules {
    /// Whose word is taken for who the client is.
    pub trusted: Trusted,
    /// Whether `X-Forwarded-Host` and `Forwarded` are said too.
    pub forwarded: bool,
    /// Whether `Via` is said: some servers do not compress for a client behind a proxy.
    pub via: bool,
    /// Names that pass though a CGI program could take them for other ones.
    pub pass_headers: Vec<PassedName>,
    /// Whether targets may have bytes beyond ASCII, which pass as they came.
    pub raw_targets: bool,
    /// Whether `Location` and its like that name the backend's own address are rewritten.
    pub rewrite_locations: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            trusted: Trusted::default(),
            forwarded: false,
            via: false,
            pass_headers: Vec::new(),
            raw_targets: true,
            rewrite_locations: true,
        }
    }
}

impl Rules {
    /// Whether a client's header of this name may pass, as far as CGI programs are concerned: they turn both
    /// `-` and `_` into `_`, so a name with anything but letters, digits and hyphens could pass for
    /// another one behind us.
    pub(super) fn lets_pass(&self, name: &[u8]) -> bool {
        let is_plain = name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-');
        is_plain || self.pass_headers.iter().any(|passed| passed.0.as_bytes().eq_ignore_ascii_case(name))
    }
}

/// The name of a header that passes though it is not of letters, digits and hyphens alone.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PassedName(String);

impl PassedName {
    /// The name of a header that may pass.
    ///
    /// # Errors
    /// What is wrong with the name.
    pub fn parse(name: &str) -> Result<Self, String> {
        http::HeaderName::from_bytes(name.as_bytes()).map_err(|_| format!("{name:?} is no header's name"))?;
        // What it would pass for behind us.
        let alias = with_hyphens(name.as_bytes());
        let is_known = Field::of(&alias) != Field::Other || Forwarding::of(&alias).is_some();
        let is_known = is_known || is_control(&alias) || is_proxy(&alias);
        let is_known = is_known || super::is_among(&[b"cookie", b"authorization"], &alias);
        if is_known || is_for_one_hop(Field::of(&alias), &alias) {
            let alias = String::from_utf8_lossy(&alias).into_owned();
            return Err(format!(
                "{name:?} cannot be passed on: a CGI program would take it for {alias}, which clients could forge then"
            ));
        }
        Ok(Self(name.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_passes_that_a_program_could_take_for_one_of_ours() {
        for name in
            ["X_Forwarded_For", "X.Real.IP", "Proxy", "Content_Length", "Outboard_Channel", "Cookie_x y"]
        {
            assert!(PassedName::parse(name).is_err(), "{name}");
        }
        for name in ["X_Api_Key", "X.Custom"] {
            assert!(PassedName::parse(name).is_ok(), "{name}");
        }
    }
}
