//! What header values are made of: lists, media types, and words in any case.

/// The elements of a comma-separated list (RFC 9110 section 5.6.1), without blanks and empty ones.
pub fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).filter(|element| !element.is_empty())
}

/// A media type without its parameters (RFC 9110 section 8.3.1), in the case in which it was written.
pub fn essence(media_type: &[u8]) -> &[u8] {
    media_type.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii()
}

/// What follows `start`, in any case; `None` if `text` begins otherwise.
pub fn strip_start<'a>(text: &'a [u8], start: &[u8]) -> Option<&'a [u8]> {
    let (begun, rest) = text.split_at_checked(start.len())?;
    begun.eq_ignore_ascii_case(start).then_some(rest)
}

/// Whether `text` begins with `start`, in any case.
pub fn begins(text: &[u8], start: &[u8]) -> bool {
    strip_start(text, start).is_some()
}

/// Digits, and nothing else.
pub(super) fn number(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit <= 9)?;
        number.checked_mul(10)?.checked_add(digit.into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_elements_of_a_list_are_skipped() {
        let found: Vec<_> = elements(b" a,, b c ,").collect();

        assert_eq!(found, [&b"a"[..], b"b c"]);
    }

    #[test]
    fn parameters_are_no_part_of_a_media_types_essence() {
        for (media_type, expected) in
            [("text/plain", "text/plain"), (" Text/HTML ; q=0.9;a=b", "Text/HTML"), (";q=1", ""), ("", "")]
        {
            assert_eq!(essence(media_type.as_bytes()), expected.as_bytes(), "{media_type:?}");
        }
    }

    #[test]
    fn a_start_is_found_in_any_case_and_only_if_it_is_whole() {
        assert_eq!(strip_start(b"BEARER x", b"Bearer "), Some(&b"x"[..]));
        assert_eq!(strip_start(b"Bearer ", b"bearer "), Some(&b""[..]));
        assert_eq!(strip_start(b"Bear", b"Bearer "), None);
        assert_eq!(strip_start(b"Basic x", b"Bearer "), None);
        assert!(begins(b"Sec-Fetch-Site", b"sec-fetch-"));
        assert!(!begins(b"X-Sec-Fetch-Site", b"sec-fetch-"));
    }
}
