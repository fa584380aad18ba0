//! What the README tells people to write, so that tests can run those very lines.

use std::fs;

use super::folder::repository;

/// A block of code in the README.
pub struct Block {
    /// The word behind the opening fence.
    pub language: String,
    /// The heading above it.
    pub heading: String,
    /// Its lines.
    pub code: String,
}

/// Every block of code, in order.
pub fn blocks() -> Vec<Block> {
    let text = fs::read_to_string(repository().join("README.md")).unwrap();
    let (mut blocks, mut heading, mut open) = (Vec::new(), String::new(), None::<Block>);
    for line in text.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(language)) => {
                open =
                    Some(Block { language: language.into(), heading: heading.clone(), code: String::new() });
            }
            (None, None) => {
                if let Some(title) = line.strip_prefix('#') {
                    title.trim_start_matches('#').trim().clone_into(&mut heading);
                }
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(block), None) => {
                block.code.push_str(line);
                block.code.push('\n');
            }
        }
    }
    blocks
}

/// The README's lines for publishing from `language`.
///
/// # Panics
/// When it has none, or more than one block of them.
pub fn snippet(language: &str) -> String {
    let mut found: Vec<Block> = blocks()
        .into_iter()
        .filter(|block| block.heading.starts_with("Publish") && block.language == language)
        .collect();
    assert_eq!(found.len(), 1, "the README shows publishing from `{language}` once");
    found.remove(0).code
}
