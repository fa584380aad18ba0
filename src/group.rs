//! The groups of the system, as `/etc/group` has them (group(5)).

use std::fs;
use std::io;

/// Where they are.
pub const FILE: &str = "/etc/group";

/// The number of the group with this name; `None` if there is none.
///
/// # Errors
/// When the file cannot be read.
pub fn number_of(name: &str) -> io::Result<Option<u32>> {
    Ok(find(&fs::read_to_string(FILE)?, |group, _| group == name).map(|(_, number)| number))
}

/// The name of the group with this number, if it has one that can be read.
pub fn name_of(number: u32) -> Option<String> {
    find(&fs::read_to_string(FILE).ok()?, |_, other| other == number).map(|(name, _)| name.to_owned())
}

fn find(text: &str, is_it: impl Fn(&str, u32) -> bool) -> Option<(&str, u32)> {
    let groups = text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        Some((fields.next()?, fields.nth(1)?.parse().ok()?))
    });
    groups.into_iter().find(|&(name, number)| is_it(name, number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_has_a_name_and_a_number() {
        let text = "root:x:0:\nnonsense\nwww-data:x:33:anna,joe\n";

        assert_eq!(find(text, |name, _| name == "www-data"), Some(("www-data", 33)));
        assert_eq!(find(text, |_, number| number == 0), Some(("root", 0)));
        assert_eq!(find(text, |name, _| name == "nonsense"), None);
    }
}
