//! Reading the merged table as a [`File`], with every mistake in it and not only the first.

use toml::{Table, Value};

use super::file::{File, LATER};
use super::layers::{Layers, Origin, variable_name};
use super::mistake::{KeyPath, Mistake};
use super::secret;
use super::values::TABLES;
use crate::words::nearest;

/// More mistakes than this are not looked for.
const MOST: usize = 20;

/// Reads what can be read. A wrong key is noted, left out, and the rest read without it.
pub(super) fn read(layers: &mut Layers) -> (File, Vec<Mistake>) {
    let mut mistakes = Vec::new();
    while mistakes.len() < MOST {
        let error = match serde_path_to_error::deserialize(Value::Table(layers.table.clone())) {
            Ok(file) => return (file, mistakes),
            Err(error) => error,
        };
        let path = KeyPath::from(error.path());
        if layers.retry_as_text(&path) {
            continue;
        }
        mistakes.push(explain(layers, &path, error.inner().message()));
        if !layers.remove(&path) {
            break;
        }
    }
    (File::default(), mistakes)
}

/// What nothing more can be said about: the wrong key or, with a key of a later version, all that
/// stands beside it, for that is then a thing of a kind we do not know.
pub(super) fn spoilt(mistake: &Mistake) -> KeyPath {
    let later = LATER.contains(&mistake.path.without_indices().as_str());
    match mistake.path.split_last_key() {
        Some((table, _)) if later && !table.0.is_empty() => table,
        _ => mistake.path.clone(),
    }
}

/// Says in our words what serde found wrong.
fn explain(layers: &Layers, path: &KeyPath, message: &str) -> Mistake {
    if message.starts_with("unknown field") {
        return unknown(layers, path, &expected_keys(message));
    }
    if let Some(rest) = message.strip_prefix("invalid type: ")
        && let Some((found, expected)) = rest.split_once(", expected ")
    {
        let found = match found {
            "map" => "a table",
            "sequence" => "a list",
            found => found,
        };
        let is_secret = path.split_last_key().is_some_and(|(_, key)| secret::is_secret(key));
        // serde names the value behind its kind.
        let found = if is_secret { found.split('`').next().unwrap_or_default().trim_end() } else { found };
        let mistake = Mistake::value(path.clone(), format!("`{path}`: expected {expected}, not {found}"));
        return match expected == TABLES {
            true => mistake.help(format!("each of them begins with [[{path}]], in double brackets")),
            false => mistake,
        };
    }
    Mistake::value(path.clone(), format!("`{path}`: {message}"))
}

fn unknown(layers: &Layers, path: &KeyPath, known: &[String]) -> Mistake {
    let name = path.without_indices();
    if LATER.contains(&name.as_str()) {
        return Mistake::key(path.clone(), format!("`{name}` is not in this version"));
    }
    let (table, key) = path.split_last_key().unwrap_or_default();
    let mistake = match table.without_indices().as_str() {
        "" => Mistake::key(path.clone(), format!("unknown key `{key}`")),
        table => Mistake::key(path.clone(), format!("unknown key `{key}` in `{table}`")),
    };
    let by_variable = matches!(layers.origin(path).map(|set| &set.origin), Some(Origin::Variable(_)));
    let spell = |path: KeyPath| match by_variable {
        true => variable_name(&path),
        false => format!("`{}`", path.split_last_key().map_or("", |(_, key)| key)),
    };
    if let Some(near) = nearest(key, known.iter().map(String::as_str)) {
        return mistake.help(format!("did you mean {}?", spell(table.key(near))));
    }
    // What is no table stands above all of them: below one, it would belong to that.
    if !table.0.is_empty() && keys_of("").iter().any(|known| known == key) && keys_of(key).is_empty() {
        return mistake
            .help(format!("`{key}` stands above the first table of the file, for it belongs to none"));
    }
    if let Some(home) = HOMES.iter().find(|home| keys_of(home).iter().any(|known| known == key)) {
        return mistake.help(format!("`{key}` is a key of [{home}]"));
    }
    mistake.help(format!("there can be {}", known.join(", ")))
}

/// The tables whose keys are looked through for one that stands in the wrong place.
const HOMES: &[&str] = &["backend", "proxy", "publish", "history", "stream", "limits", "log", "admin"];

/// The keys of a table of the file; of its top if `table` is empty.
pub(super) fn keys_of(table: &str) -> Vec<String> {
    // The reader is asked itself, so that there is no second list to keep.
    let nonsense = Table::from_iter([(String::new(), Value::Boolean(true))]);
    let probe = match table {
        "" => nonsense,
        "channel" | "event_route" => Table::from_iter([(table.into(), vec![nonsense].into())]),
        table => Table::from_iter([(table.into(), nonsense.into())]),
    };
    match Value::Table(probe).try_into::<File>() {
        Ok(_) => Vec::new(),
        Err(error) => expected_keys(error.message()),
    }
}

/// The names in serde's "unknown field `x`, expected one of `a`, `b`".
fn expected_keys(message: &str) -> Vec<String> {
    let (_, expected) = message.split_once(", expected ").unwrap_or_default();
    expected.split('`').skip(1).step_by(2).map(Into::into).collect()
}
