//! Field names, and help for those who mistype them.

use crate::words::{nearest, printable};

/// The fields people can write, in the order in which they are told of them.
const KNOWN: [&str; 11] =
    ["channel", "data", "event", "id", "retry", "close", "ttl", "dedupe", "disconnect", "reply", "lenient"];

/// Fields that exist, though not in every place.
const ELSEWHERE: [&str; 2] = ["grant", "token"];

/// How much of a name that is not ours is shown, in characters.
const SHOWN: usize = 40;

/// What is wrong with a field that is not in the language, and what may have been meant.
pub(super) fn unknown(name: &str) -> String {
    let bare = name.trim();
    if bare != name && KNOWN.contains(&bare) {
        return format!(
            "unknown field {}: write \"{bare}\" without blanks around it, or `lenient: on` before it",
            shown(name)
        );
    }
    let text = unknown_name("field", name, &KNOWN);
    if is_near_miss(name) { text } else { format!("{text}; after `lenient: on` others are left out") }
}

/// Whether a name looks like a slip of somebody who meant one of the fields, or is one.
pub(super) fn is_near_miss(name: &str) -> bool {
    let name = name.trim();
    nearest(name, KNOWN).or(nearest(name, ELSEWHERE)).is_some()
}

/// One line that says that `name` is not one of the `known` of its `kind` (in the singular, as in
/// "field"), and which of them may have been meant.
pub fn unknown_name(kind: &str, name: &str, known: &[&str]) -> String {
    let shown = shown(name);
    match nearest(name.trim(), known.iter().copied()) {
        Some(near) => format!("unknown {kind} {shown}: did you mean \"{near}\"?"),
        None if known.is_empty() => format!("unknown {kind} {shown}: there are none here"),
        None => format!("unknown {kind} {shown}: the {kind}s are {}", known.join(", ")),
    }
}

/// The text in quotes, on one line, without control characters, and not longer than a person reads.
pub(super) fn shown(text: &str) -> String {
    format!("\"{}\"", printable(text, SHOWN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_a_finger_is_recognized() {
        for (name, meant) in [
            ("chanel", "channel"),
            ("Channel", "channel"),
            ("dta", "data"),
            ("DATA", "data"),
            ("ID", "id"),
            ("dedup", "dedupe"),
            ("repyl", "reply"),
        ] {
            assert_eq!(unknown(name), format!("unknown field {name:?}: did you mean {meant:?}?"));
        }
    }

    #[test]
    fn a_blank_around_a_name_is_pointed_out() {
        assert_eq!(
            unknown("  data"),
            r#"unknown field "  data": write "data" without blanks around it, or `lenient: on` before it"#
        );
    }

    #[test]
    fn for_anything_else_the_fields_are_listed() {
        assert_eq!(
            unknown("{\"a\""),
            r#"unknown field "{\"a\"": the fields are channel, data, event, id, retry, close, ttl, dedupe, disconnect, reply, lenient; after `lenient: on` others are left out"#
        );
    }

    #[test]
    fn what_is_shown_is_short_and_on_one_line() {
        let shown = shown(&format!("\u{1b}[2J\u{85}{}", "x".repeat(100_000)));

        assert!(shown.len() < 100);
        assert!(!shown.contains(char::is_control));
    }
}
