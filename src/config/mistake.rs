//! What is wrong with a configuration, and at which key.

use std::fmt;

/// Which key, as in `event_route[0].channels`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct KeyPath(pub(super) Vec<Step>);

/// One step of a [`KeyPath`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

impl KeyPath {
    /// The path `dotted` names, as in `history.store`.
    pub(super) fn of(dotted: &str) -> Self {
        Self(dotted.split('.').map(|key| Step::Key(key.into())).collect())
    }

    /// The path of `key` in this table.
    pub(super) fn key(&self, key: &str) -> Self {
        let mut path = self.clone();
        path.0.push(Step::Key(key.into()));
        path
    }

    /// The path of an element of this list.
    pub(super) fn index(&self, index: usize) -> Self {
        let mut path = self.clone();
        path.0.push(Step::Index(index));
        path
    }

    /// Whether one of the two lies within the other.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).all(|(a, b)| a == b)
    }

    /// The keys alone, as in `event_route.channels`.
    pub(super) fn without_indices(&self) -> String {
        let keys: Vec<_> = self
            .0
            .iter()
            .filter_map(|step| match step {
                Step::Key(key) => Some(key.as_str()),
                Step::Index(_) => None,
            })
            .collect();
        keys.join(".")
    }

    /// The last key, and the path of the table it stands in.
    pub(super) fn split_last_key(&self) -> Option<(Self, &str)> {
        let at = self.0.iter().rposition(|step| matches!(step, Step::Key(_)))?;
        match &self.0[at] {
            Step::Key(key) => Some((Self(self.0[..at].to_vec()), key)),
            Step::Index(_) => None,
        }
    }
}

impl From<&serde_path_to_error::Path> for KeyPath {
    fn from(path: &serde_path_to_error::Path) -> Self {
        use serde_path_to_error::Segment;
        Self(
            path.iter()
                .filter_map(|segment| match segment {
                    Segment::Map { key } => Some(Step::Key(key.clone())),
                    Segment::Seq { index } => Some(Step::Index(*index)),
                    Segment::Enum { .. } | Segment::Unknown => None,
                })
                .collect(),
        )
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if place == 0 => f.write_str(key)?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Mistake {
    /// At which key; empty if at none.
    pub(super) path: KeyPath,
    /// Whether the key itself is wrong, and not its value.
    pub(super) at_key: bool,
    /// What is wrong, in one line.
    pub(super) message: String,
    /// What to write instead.
    pub(super) help: Option<String>,
}

impl Mistake {
    /// A wrong value.
    pub(super) fn value(path: KeyPath, message: impl Into<String>) -> Self {
        Self { path, at_key: false, message: message.into(), help: None }
    }

    /// A key that should not be there, or that lacks something.
    pub(super) fn key(path: KeyPath, message: impl Into<String>) -> Self {
        Self { path, at_key: true, message: message.into(), help: None }
    }

    /// The same, with the way out.
    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}
