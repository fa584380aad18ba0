//! Words for people: which known one was meant, and what others wrote, made fit to be shown.

/// Nothing longer than this is a slip of a finger, and comparing costs the product of the lengths.
const LONGEST: usize = 64;

/// The known word that was probably meant, in any case.
pub fn nearest<'k>(word: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    if word.len() > LONGEST {
        return None;
    }
    let word = word.to_lowercase();
    known
        .into_iter()
        .map(|known| (strsim::damerau_levenshtein(&known.to_lowercase(), &word), known))
        .filter(|&(distance, known)| distance <= slips(known))
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, known)| known)
}

/// How many slips still leave a word recognizable.
fn slips(known: &str) -> usize {
    match known.len() {
        ..=2 => 0,
        3..=5 => 1,
        6..=11 => 2,
        _ => 3,
    }
}

/// A text of somebody else's on one line, with at most so many of its characters: nothing in it ends a line or
/// moves a cursor.
pub fn printable(text: &str, most: usize) -> String {
    let mut shown: String = text.chars().take(most).flat_map(char::escape_debug).collect();
    if text.chars().nth(most).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_a_finger_is_recognized_and_another_word_is_not() {
        let known = ["id", "data", "channel", "connect_timeout"];
        for (word, meant) in [
            ("ID", Some("id")),
            ("ix", None),
            ("dta", Some("data")),
            ("dt", None),
            ("Chanel", Some("channel")),
            ("conect_timeot", Some("connect_timeout")),
            ("timeout", None),
        ] {
            assert_eq!(nearest(word, known), meant, "{word}");
        }
    }

    #[test]
    fn what_is_shown_is_short_and_on_one_line() {
        let shown = printable(&format!("\u{1b}[2J\u{85}\"{}", "x".repeat(100_000)), 40);

        assert!(shown.ends_with("x…") && shown.len() < 100, "{shown}");
        assert!(!shown.contains(char::is_control));
    }
}
