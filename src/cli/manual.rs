//! `outboard man`: the manual pages, one for outboard and one for each of its commands.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use clap::CommandFactory;

use super::arguments::{Arguments, Man};
use super::{Usage, output};

/// A page as `man` reads it.
struct Page {
    /// As in `outboard-run`.
    name: String,
    text: String,
}

pub(super) fn manual(options: &Man) -> anyhow::Result<ExitCode> {
    let mut pages = pages()?;
    if let Some(command) = &options.command {
        let name = format!("outboard-{command}");
        let known: Vec<_> = pages.iter().filter_map(|page| page.name.strip_prefix("outboard-")).collect();
        let unknown = Usage(format!("there is no command `{command}`; there are {}", known.join(", ")));
        pages.retain(|page| page.name == name);
        if pages.is_empty() {
            return Err(unknown.into());
        }
    }
    match &options.folder {
        Some(folder) => pages.iter().try_for_each(|page| write(page, folder))?,
        None => output::write(pages.iter().map(|page| page.text.as_str()).collect::<String>().as_bytes())?,
    }
    Ok(ExitCode::SUCCESS)
}

fn write(page: &Page, folder: &Path) -> anyhow::Result<()> {
    let path = folder.join(format!("{}.1", page.name));
    std::fs::write(&path, &page.text).with_context(|| format!("cannot write {}", path.display()))
}

fn pages() -> anyhow::Result<Vec<Page>> {
    // The word `help` has no page of its own.
    let mut command = Arguments::command().disable_help_subcommand(true);
    command.build();
    let commands = std::iter::once(&command).chain(command.get_subcommands());
    commands.map(page).collect()
}

fn page(command: &clap::Command) -> anyhow::Result<Page> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    let mut rendered = Vec::new();
    clap_mangen::Man::new(command.clone())
        .title(&name)
        .source(concat!("outboard ", env!("CARGO_PKG_VERSION")))
        .manual("outboard")
        .render(&mut rendered)?;
    let text = for_pasting(&String::from_utf8_lossy(&rendered), name == "outboard");
    Ok(Page { name, text })
}

/// The page with its lines as they are to be typed: no word is hyphenated, no example is filled.
fn for_pasting(page: &str, is_first: bool) -> String {
    let mut text = String::new();
    let mut in_examples = false;
    for line in page.lines() {
        if in_examples && line.starts_with(".SH ") {
            text.push_str(".fi\n");
            in_examples = false;
        }
        match line {
            ".SH EXTRA" => {
                text.push_str(".SH EXAMPLES\n.nf\n");
                in_examples = true;
            }
            "Examples:" if in_examples => {}
            // What follows the examples is prose.
            "" if in_examples => {
                text.push_str(".fi\n.PP\n");
                in_examples = false;
            }
            _ => {
                text.push_str(line);
                text.push('\n');
            }
        }
        if line.starts_with(".TH ") {
            // groff_man(7): no hyphens, and a ragged right edge, or blanks would be put in.
            text.push_str(".nh\n.ad l\n");
        }
    }
    if in_examples {
        text.push_str(".fi\n");
    }
    if !is_first {
        text.push_str(".SH SEE ALSO\noutboard(1)\n");
    }
    text
}
