//! The layers of the configuration laid over each other: flags over variables over the file.

use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::mistake::{KeyPath, Mistake, Step};

/// What the names of variables that set a key begin with.
const PREFIX: &str = "OUTBOARD__";

/// The longest file that is read, in bytes.
const LONGEST_FILE: u64 = 1 << 20;

/// A key set on the command line.
#[derive(Clone, Debug)]
pub struct Flag {
    name: &'static str,
    key: &'static str,
    value: Value,
}

impl Flag {
    /// `--to URL`.
    pub fn to(url: &str) -> Self {
        Self { name: "--to", key: "backend.url", value: url.into() }
    }

    /// `--listen ADDR`, as often as it was given.
    pub fn listen(addresses: &[String]) -> Self {
        Self { name: "--listen", key: "listen", value: addresses.to_vec().into() }
    }

    /// `--socket PATH`.
    pub fn socket(path: &Path) -> Self {
        Self { name: "--socket", key: "publish.socket", value: path.to_string_lossy().as_ref().into() }
    }
}

/// The text of a configuration file.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) path: PathBuf,
    pub(super) text: String,
}

impl Source {
    /// # Errors
    /// When the file cannot be read.
    pub(super) fn read(path: &Path) -> Result<Self, Mistake> {
        let unreadable = |reason: String| {
            Mistake::value(KeyPath::default(), format!("cannot read {}: {reason}", path.display()))
        };
        let length = std::fs::metadata(path).map_err(|error| unreadable(error.to_string()))?.len();
        if length > LONGEST_FILE {
            return Err(unreadable(format!("it has {length} bytes, more than {LONGEST_FILE}")));
        }
        let bytes = std::fs::read(path).map_err(|error| unreadable(error.to_string()))?;
        let text = String::from_utf8(bytes).map_err(|error| {
            unreadable(format!("it is not UTF-8 from byte {} on", error.utf8_error().valid_up_to()))
        })?;
        Ok(Self { path: path.into(), text })
    }
}

/// What has set a key, other than the file.
#[derive(Clone, Debug)]
pub(super) struct Override {
    pub(super) path: KeyPath,
    pub(super) origin: Origin,
    /// A variable's value as it is, if it was read as something else than text.
    as_text: Option<String>,
}

#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Origin {
    Variable(String),
    Flag(&'static str),
}

/// All layers as one table, and what in it does not come from the file.
#[derive(Debug, Default)]
pub(super) struct Layers {
    pub(super) table: Table,
    pub(super) overrides: Vec<Override>,
}

impl Layers {
    /// Lays variables and flags over the file's table. Only variables that set a key count.
    pub(super) fn over(table: Table, variables: &[(String, String)], flags: &[Flag]) -> Self {
        let mut layers = Self { table, overrides: Vec::new() };
        let mut variables: Vec<_> =
            variables.iter().filter_map(|(name, value)| Some((variable_path(name)?, name, value))).collect();
        // In this order a variable for a whole table comes before those for keys in it.
        variables.sort_by_key(|(_, name, _)| name.as_str());
        for (path, name, text) in variables {
            // What looks like TOML is TOML: a number, a list, a quoted text.
            let value = text.parse::<Value>().unwrap_or_else(|_| text.as_str().into());
            let as_text = Some(text.clone()).filter(|_| !value.is_str());
            layers.set(path, value, Origin::Variable(name.clone()), as_text);
        }
        for flag in flags {
            layers.set(KeyPath::of(flag.key), flag.value.clone(), Origin::Flag(flag.name), None);
        }
        layers
    }

    fn set(&mut self, path: KeyPath, value: Value, origin: Origin, as_text: Option<String>) {
        put(&mut self.table, &path.0, value);
        self.overrides.push(Override { path, origin, as_text });
    }

    /// What other than the file has set `path`: the last one wins, as it did in the table.
    pub(super) fn origin(&self, path: &KeyPath) -> Option<&Override> {
        self.overrides
            .iter()
            .rev()
            .find(|set| set.path.overlaps(path) && set.path.0.len() <= path.0.len() && !path.0.is_empty())
    }

    /// Takes a variable's value as text after all: `OUTBOARD__ADMIN__TOKEN=12345678` looks like a
    /// number. Whether there was such a variable.
    pub(super) fn retry_as_text(&mut self, path: &KeyPath) -> bool {
        let wrong = |set: &&mut Override| set.path == *path && set.as_text.is_some();
        let Some(set) = self.overrides.iter_mut().rev().find(wrong) else { return false };
        let Some(text) = set.as_text.take() else { return false };
        put(&mut self.table, &path.0, text.into());
        true
    }

    /// Removes the innermost key on `path`, so that the rest can be looked at without it. Whether
    /// there was one.
    pub(super) fn remove(&mut self, path: &KeyPath) -> bool {
        let Some((table, key)) = path.split_last_key() else { return false };
        match table_at(&mut self.table, &table.0) {
            Some(table) => table.remove(key).is_some(),
            None => false,
        }
    }
}

fn table_at<'t>(table: &'t mut Table, path: &[Step]) -> Option<&'t mut Table> {
    let Some((Step::Key(key), mut rest)) = path.split_first() else { return Some(table) };
    let mut value = table.get_mut(key)?;
    while let Some((Step::Index(index), behind)) = rest.split_first() {
        value = value.as_array_mut()?.get_mut(*index)?;
        rest = behind;
    }
    table_at(value.as_table_mut()?, rest)
}

/// The key that a variable sets; `None` if it sets none.
fn variable_path(name: &str) -> Option<KeyPath> {
    let keys = name.strip_prefix(PREFIX)?;
    Some(KeyPath(keys.split("__").map(|key| Step::Key(key.to_ascii_lowercase())).collect()))
}

/// The variable that sets a key.
pub(super) fn variable_name(path: &KeyPath) -> String {
    format!("{PREFIX}{}", path.without_indices().replace('.', "__").to_ascii_uppercase())
}

fn put(table: &mut Table, path: &[Step], value: Value) {
    let [Step::Key(key), rest @ ..] = path else { return };
    if rest.is_empty() {
        table.insert(key.clone(), value);
        return;
    }
    let inner = table.entry(key.clone()).or_insert_with(|| Table::new().into());
    if !inner.is_table() {
        *inner = Table::new().into();
    }
    if let Value::Table(inner) = inner {
        put(inner, rest, value);
    }
}
