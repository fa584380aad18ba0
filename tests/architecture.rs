//! ARCHITECTURE.md against the code: every module is in its table, and none imports what its row
//! does not allow.
//!
//! The table is read as it is written for people: `| layer | module | what it is | may import |`.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a file that cannot be read is a failed test")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// A row of the table.
struct Row {
    layer: u32,
    may_import: BTreeSet<String>,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The table's rows by module.
fn table() -> BTreeMap<String, Row> {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let mut rows = BTreeMap::new();
    for line in text.lines() {
        let cells: Vec<&str> = line.trim().trim_matches('|').split('|').map(str::trim).collect();
        let [layer, module, _, may_import] = cells[..] else { continue };
        let Ok(layer) = layer.parse() else { continue };
        let module = names(module).pop_first().unwrap_or_else(|| panic!("no module in: {line}"));
        let row = Row { layer, may_import: names(may_import) };
        assert!(rows.insert(module.clone(), row).is_none(), "`{module}` has two rows");
    }
    assert!(!rows.is_empty(), "ARCHITECTURE.md has no table of modules");
    rows
}

/// The words between backticks.
fn names(cell: &str) -> BTreeSet<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The modules of `src`, each with its files.
fn modules() -> BTreeMap<String, Vec<PathBuf>> {
    let mut modules: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for entry in fs::read_dir(root().join("src")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        // lib.rs only lists the modules.
        if name != "lib" {
            modules.entry(name).or_default().extend(rust_files(&path));
        }
    }
    modules.retain(|_, files| !files.is_empty());
    modules
}

fn rust_files(path: &Path) -> Vec<PathBuf> {
    if path.is_dir() {
        return fs::read_dir(path).unwrap().flat_map(|entry| rust_files(&entry.unwrap().path())).collect();
    }
    if path.extension().is_some_and(|extension| extension == "rs") {
        vec![path.to_owned()]
    } else {
        Vec::new()
    }
}

/// The code of a file, without comments and without its unit tests, which may look anywhere.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let text = text.split("#[cfg(test)]\nmod ").next().unwrap();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// The top-level modules that `code` names as `root::module` or within `root::{…}`.
fn imports(code: &str, root: &str) -> BTreeSet<String> {
    let start = format!("{root}::");
    let boundary = |before: &str| !before.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$');
    code.match_indices(&start)
        .filter(|(at, _)| boundary(&code[..*at]))
        .flat_map(|(at, _)| first_segments(&code[at + start.len()..]))
        .collect()
}

/// The first names of a path, or of each path of a brace list.
fn first_segments(path: &str) -> Vec<String> {
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let Some(list) = path.strip_prefix('{') else { return vec![word(path)] };
    let (mut depth, mut expecting, mut found) = (1, true, Vec::new());
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => expecting = true,
            c if expecting && c.is_alphanumeric() => {
                expecting = false;
                found.push(word(&list[at..]));
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    found
}

#[test]
fn every_module_has_a_row_and_every_row_a_module() {
    let (table, modules) = (table(), modules());

    let rows: Vec<_> = table.keys().collect();
    let code: Vec<_> = modules.keys().collect();
    assert_eq!(rows, code, "the table of ARCHITECTURE.md (left) and src (right) differ");
    for (module, row) in &table {
        for allowed in &row.may_import {
            assert!(table.contains_key(allowed), "`{module}` may import `{allowed}`, which does not exist");
        }
    }
}

#[test]
fn imports_only_point_down() {
    let table = table();

    for (module, row) in &table {
        for allowed in &row.may_import {
            let below = table[allowed].layer;
            assert!(
                below < row.layer,
                "`{module}` (layer {}) may not be allowed `{allowed}` (layer {below})",
                row.layer
            );
        }
    }
}

#[test]
fn no_module_imports_what_its_row_does_not_allow() {
    let table = table();
    let mut wrong = Vec::new();

    for (module, files) in modules() {
        let crate_root = if module == "main" { "outboard" } else { "crate" };
        for file in files {
            for import in imports(&code(&file), crate_root) {
                let known = import == module || table[&module].may_import.contains(&import);
                if !known {
                    wrong.push(format!("{}: `{module}` imports `{import}`", file.display()));
                }
            }
        }
    }

    assert!(wrong.is_empty(), "not allowed by ARCHITECTURE.md:\n{}", wrong.join("\n"));
}

#[test]
fn the_top_of_a_module_names_other_modules_by_crate() {
    for (module, files) in modules() {
        for file in files {
            let top = file.file_name().is_some_and(|name| name == "mod.rs")
                || file.parent() == Some(&root().join("src"));
            let through_super = top && code(&file).contains("super::") && module != "main";
            assert!(!through_super, "{} reaches out with `super::`, which hides an import", file.display());
        }
    }
}

#[test]
fn the_reader_of_imports_sees_lists_and_nested_lists() {
    let code =
        "use crate::a::b;\nuse crate::{c, d::{e, f}, g};\nlet x = crate::h::I; my_crate::no; $crate::macros";

    let found = imports(code, "crate");

    assert_eq!(found.into_iter().collect::<Vec<_>>(), ["a", "c", "d", "g", "h"]);
}
