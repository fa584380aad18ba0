//! An answer's head as it should have been: what working servers get wrong, set right.
//!
//! Only what can be read in one way is read, and nobody behind us reads it too, because everything that tells a
//! message's end is written anew. What could be read in two ways stays an error. Requests are never repaired.

use super::excerpt::Excerpt;
use super::refusal::BadAnswer;

/// The mark with which some editors begin a file, and so some scripts their answer.
pub(super) const BOM: &[u8] = b"\xef\xbb\xbf";

/// The bytes of a head, up to and with the empty line, with every line as RFC 9112 has it.
///
/// # Errors
/// With the line of which nothing can be made.
pub(super) fn repair(head: &[u8]) -> Result<Vec<u8>, BadAnswer> {
    let mut lines = head.split_inclusive(|&byte| byte == b'\n');
    let mut repaired = Vec::with_capacity(head.len() + 16);
    let first = lines.find(|line| !without_bom(line).trim_ascii().is_empty()).unwrap_or_default();
    status_line(without_bom(first), &mut repaired)?;
    let mut is_first = true;
    for line in lines {
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        match text {
            b"" => break,
            // A line that goes on (RFC 9112 section 5.2). There must be one that it goes on with.
            [b' ' | b'\t', ..] if !is_first => {
                repaired.truncate(repaired.len() - 2);
                repaired.push(b' ');
                put_value(text, &mut repaired);
            }
            _ => field_line(text, &mut repaired)?,
        }
        is_first = false;
    }
    repaired.extend_from_slice(b"\r\n");
    Ok(repaired)
}

/// `HTTP/1.x NNN words`, with blanks as there may be, in any case; or with `ICY` in front, in which the first
/// servers of radio streams spoke HTTP/1.0.
fn status_line(line: &[u8], out: &mut Vec<u8>) -> Result<(), BadAnswer> {
    let bad = || BadAnswer::StatusLine(Excerpt::of(line));
    let line = line.trim_ascii();
    let end = line.iter().position(|byte| matches!(byte, b' ' | b'\t')).ok_or_else(bad)?;
    let (version, rest) = (line[..end].to_ascii_uppercase(), line[end..].trim_ascii_start());
    out.extend_from_slice(match &version[..] {
        b"HTTP/1.0" | b"ICY" => b"HTTP/1.0 ",
        // A later minor version is understood by whoever knows an earlier one (RFC 9110 section 2.5).
        [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'1'..=b'9'] => b"HTTP/1.1 ",
        _ => return Err(bad()),
    });
    let (status, words) = rest.split_at_checked(3).ok_or_else(bad)?;
    let is_apart = words.first().is_none_or(|byte| matches!(byte, b' ' | b'\t'));
    if !is_apart || !status.iter().all(u8::is_ascii_digit) {
        return Err(bad());
    }
    out.extend_from_slice(status);
    out.push(b' ');
    put_value(words, out);
    Ok(())
}

/// A name, a colon and a value. Blanks before the colon are taken out (RFC 9112 section 5.1).
fn field_line(line: &[u8], out: &mut Vec<u8>) -> Result<(), BadAnswer> {
    let bad = || BadAnswer::Line(Excerpt::of(line));
    let colon = memchr::memchr(b':', line).ok_or_else(bad)?;
    let name = line[..colon].trim_ascii_end();
    if name.is_empty() || !name.iter().all(|&byte| is_in_name(byte)) {
        return Err(bad());
    }
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    put_value(&line[colon + 1..], out);
    Ok(())
}

/// A value and the end of its line. Control characters become blanks (RFC 9110 section 5.5).
fn put_value(value: &[u8], out: &mut Vec<u8>) {
    let is_control = |byte: &u8| byte.is_ascii_control() && *byte != b'\t';
    out.extend(value.trim_ascii().iter().map(|byte| if is_control(byte) { b' ' } else { *byte }));
    out.extend_from_slice(b"\r\n");
}

fn without_bom(line: &[u8]) -> &[u8] {
    line.strip_prefix(BOM).unwrap_or(line)
}

/// RFC 9110 section 5.6.2.
fn is_in_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_read_in_one_way_only_is_set_right() {
        for (head, expected) in [
            ("HTTP/1.1 200 OK\r\nA : b\r\n\r\n", "HTTP/1.1 200 OK\r\nA: b\r\n\r\n"),
            ("HTTP/1.1 200 OK\nA:b\n  c\n\td\n\n", "HTTP/1.1 200 OK\r\nA: b c d\r\n\r\n"),
            ("http/1.1  200   Fine so far\r\n\r\n", "HTTP/1.1 200 Fine so far\r\n\r\n"),
            ("HTTP/1.2 200\r\n\r\n", "HTTP/1.1 200 \r\n\r\n"),
            ("ICY 200 OK\r\n\r\n", "HTTP/1.0 200 OK\r\n\r\n"),
            ("\u{feff}HTTP/1.0 404 No\r\n\r\n", "HTTP/1.0 404 No\r\n\r\n"),
            ("\u{feff}\r\nHTTP/1.0 404 No\r\n\r\n", "HTTP/1.0 404 No\r\n\r\n"),
            ("HTTP/1.1 200 O\x01K\r\nA: b\x07c\rd\0\r\n\r\n", "HTTP/1.1 200 O K\r\nA: b c d \r\n\r\n"),
        ] {
            let repaired = repair(head.as_bytes()).unwrap();
            assert_eq!(String::from_utf8_lossy(&repaired), expected, "{head:?}");
        }
    }

    #[test]
    fn a_line_of_which_nothing_can_be_made_is_named() {
        for (head, named) in [
            ("HTTP/1.1 200 OK\r\nContent Length: 5\r\n\r\n", r#""Content Length: 5""#),
            ("HTTP/1.1 200 OK\r\n: b\r\n\r\n", r#"": b""#),
            ("HTTP/1.1 200 OK\r\nno colon\r\n\r\n", r#""no colon""#),
            ("HTTP/1.1 200 OK\r\n folded: a\r\n\r\n", r#"" folded: a""#),
            ("HTTP/1.1 200 OK\r\nX-\u{e9}: a\r\n\r\n", r#""X-\xc3\xa9: a""#),
            ("HTTP/1.1 20 OK\r\n\r\n", r#""HTTP/1.1 20 OK""#),
            ("HTTP/1.1 2000 OK\r\n\r\n", r#""HTTP/1.1 2000 OK""#),
            ("HTTP/2.0 200 OK\r\n\r\n", r#""HTTP/2.0 200 OK""#),
            ("HTTP/1.1\r\n\r\n", r#""HTTP/1.1""#),
        ] {
            let error = repair(head.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(named), "{head:?}: {error}");
        }
    }
}
