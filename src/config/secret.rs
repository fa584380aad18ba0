//! Secrets stay out of what is printed: a report ends up on screens, in tickets and, after HUP, in the log.
//!
//! What stands behind a key that is named like a secret, or like one with a typing mistake, and whatever
//! stands before an `@` in an address, is covered with asterisks, as long as it was.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The words that the names of secrets are made of.
const WORDS: [&str; 4] = ["token", "secret", "password", "passwd"];

/// Whether a key's value is nobody's business.
pub(super) fn is_secret(key: &str) -> bool {
    let key = key.trim_matches(|c: char| !c.is_alphanumeric()).to_ascii_lowercase();
    // A file or a place that holds one may be named.
    if key.ends_with("_file") || key.ends_with("_path") {
        return false;
    }
    let is_near = |word: &str| {
        key.contains(word)
            || key.split(['_', '-', '.']).any(|part| strsim::damerau_levenshtein(part, word) <= 1)
    };
    key == "key" || WORDS.iter().any(|word| is_near(word))
}

/// The text of a file with its secrets covered; everything stays at its place.
pub(super) fn covered(text: &str, tree: Option<&DeTable<'_>>) -> String {
    let mut places = Vec::new();
    if let Some(table) = tree {
        in_table(table, &mut places);
    }
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        in_line(line, start, &mut places);
        start += line.len();
    }
    addresses(text, &mut places);
    let mut bytes = text.as_bytes().to_vec();
    for place in places {
        for byte in bytes.get_mut(place).into_iter().flatten() {
            // Line ends and quotes stay, so that the rest still reads as before.
            if !matches!(byte, b'\n' | b'\r' | b'"' | b'\'') {
                *byte = b'*';
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A message about a value with what stands before an `@` in it covered.
pub(super) fn harmless(message: &str) -> String {
    covered_addresses(message)
}

fn covered_addresses(text: &str) -> String {
    let mut places = Vec::new();
    addresses(text, &mut places);
    let mut covered = String::with_capacity(text.len());
    let mut from = 0;
    for place in places {
        covered.push_str(&text[from..place.start]);
        covered.push_str("***");
        from = place.end;
    }
    covered.push_str(&text[from..]);
    covered
}

fn in_table(table: &DeTable<'_>, places: &mut Vec<Range<usize>>) {
    for (key, value) in table {
        if is_secret(key.get_ref()) && !matches!(value.get_ref(), DeValue::Table(_) | DeValue::Array(_)) {
            places.push(value.span());
        }
        in_value(value, places);
    }
}

fn in_value(value: &Spanned<DeValue<'_>>, places: &mut Vec<Range<usize>>) {
    match value.get_ref() {
        DeValue::Table(table) => in_table(table, places),
        DeValue::Array(list) => list.iter().for_each(|value| in_value(value, places)),
        _ => {}
    }
}

/// A line that assigns a secret, in a file that need not be TOML.
fn in_line(line: &str, start: usize, places: &mut Vec<Range<usize>>) {
    let (key, at) = match line.find(['=', ':']) {
        Some(at) => (&line[..at], at + 1),
        // `token "…"`: the sign is what is missing.
        None => match line.trim_start().find(char::is_whitespace) {
            Some(end) => {
                let end = end + (line.len() - line.trim_start().len());
                (&line[..end], end)
            }
            None => return,
        },
    };
    if !key.trim_start().starts_with(['#', '[']) && is_secret(key.trim()) {
        let value = line[at..].trim_start();
        let from = line.len() - value.len();
        places.push(start + from..start + from + value.trim_end().len());
    }
}

/// What stands between `://` and `@` within one word.
fn addresses(text: &str, places: &mut Vec<Range<usize>>) {
    let mut from = 0;
    while let Some(at) = text[from..].find("://") {
        let begin = from + at + 3;
        let word = text[begin..].find(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '`' | '/'));
        let end = word.map_or(text.len(), |length| begin + length);
        if let Some(user) = text[begin..end].rfind('@') {
            places.push(begin..begin + user);
        }
        from = end.max(begin);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_secrets_are_known_also_with_a_typing_mistake() {
        for key in
            ["token", "tokn", "Token", "tken", "pasword", "db_password", "\"token\"", "key", "api-token"]
        {
            assert!(is_secret(key), "{key}");
        }
        for key in
            ["listen", "url", "path", "store", "mode", "token_file", "key_file", "keep", "level", "socket"]
        {
            assert!(!is_secret(key), "{key}");
        }
    }

    #[test]
    fn an_address_shows_its_host_alone() {
        assert_eq!(harmless("not \"http://me:pa@ss@host:1/x@y\""), "not \"http://***@host:1/x@y\"");
        assert_eq!(harmless("http://a.b:80 and c@d"), "http://a.b:80 and c@d");
    }
}
