//! Mistakes, shown where they were made: in the file, in a variable, or on the command line.

use std::ops::Range;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::layers::{Layers, Origin, Source};
use super::mistake::{KeyPath, Mistake, Step};
use super::secret;

/// Why a configuration is refused: every mistake that was found, with its place.
#[derive(Debug)]
pub struct Report {
    source: Option<Source>,
    findings: Vec<Finding>,
}

#[derive(Debug)]
struct Finding {
    message: String,
    help: Option<String>,
    place: Place,
}

#[derive(Debug)]
enum Place {
    File(Range<usize>),
    Override(Origin),
    Nowhere,
}

impl Report {
    pub(super) fn new(source: Option<Source>, layers: &Layers, mistakes: Vec<Mistake>) -> Self {
        let tree = source.as_ref().and_then(|source| DeTable::parse(&source.text).ok());
        let mut findings: Vec<_> = mistakes
            .into_iter()
            .map(|mistake| Finding {
                place: place(tree.as_ref().map(Spanned::get_ref), layers, &mistake),
                message: secret::harmless(&mistake.message),
                help: mistake.help,
            })
            .collect();
        // In the order of the file, as one corrects it; what is not in it comes last.
        findings.sort_by_key(|finding| match &finding.place {
            Place::File(span) => span.start,
            Place::Override(_) | Place::Nowhere => usize::MAX,
        });
        let covered =
            source.as_ref().map(|source| secret::covered(&source.text, tree.as_ref().map(Spanned::get_ref)));
        drop(tree);
        let source = source.zip(covered).map(|(source, text)| Source { text, ..source });
        Self { source, findings }
    }

    /// A file that is not TOML.
    pub(super) fn syntax(source: Source, error: &toml::de::Error) -> Self {
        let place = error.span().map_or(Place::Nowhere, Place::File);
        let message = secret::harmless(&format!("this is not TOML: {}", error.message()));
        let source = Source { text: secret::covered(&source.text, None), ..source };
        Self { source: Some(source), findings: vec![Finding { message, help: None, place }] }
    }

    /// How many mistakes there are.
    pub fn count(&self) -> usize {
        self.findings.len()
    }

    /// The report for people, with the lines of the file and carets under them.
    pub fn render(&self, colour: bool) -> String {
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        let groups: Vec<_> = self.findings.iter().map(|finding| vec![self.group(finding)]).collect();
        let texts: Vec<_> = groups.iter().map(|group| renderer.render(group)).collect();
        texts.join("\n\n")
    }

    fn group<'a>(&'a self, finding: &'a Finding) -> Group<'a> {
        let mut group = Group::with_title(Level::ERROR.primary_title(&*finding.message));
        match (&finding.place, &self.source) {
            (Place::File(span), Some(source)) => {
                group = group.element(
                    Snippet::source(&*source.text)
                        .path(source.path.to_string_lossy())
                        .annotation(AnnotationKind::Primary.span(span.clone())),
                );
            }
            (Place::Override(Origin::Variable(name)), _) => {
                group = group.element(Level::NOTE.message(format!("from the variable {name}")));
            }
            (Place::Override(Origin::Flag(name)), _) => {
                group = group.element(Level::NOTE.message(format!("from {name} on the command line")));
            }
            (Place::File(_) | Place::Nowhere, _) => {}
        }
        match &finding.help {
            Some(help) => group.element(Level::HELP.message(&**help)),
            None => group,
        }
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for Report {}

fn place(file: Option<&DeTable<'_>>, layers: &Layers, mistake: &Mistake) -> Place {
    if let Some(set) = layers.origin(&mistake.path) {
        return Place::Override(set.origin.clone());
    }
    file.and_then(|table| locate(table, &mistake.path, mistake.at_key)).map_or(Place::Nowhere, Place::File)
}

/// Where `path` is written; if it is not, where the innermost thing is that should contain it.
fn locate(table: &DeTable<'_>, path: &KeyPath, at_key: bool) -> Option<Range<usize>> {
    let mut span = None;
    let mut table = Some(table);
    let mut list = None;
    for (place, step) in path.0.iter().enumerate() {
        let last = place + 1 == path.0.len();
        let value = match step {
            Step::Key(key) => {
                let Some((key, value)) = table.and_then(|table| table.get_key_value(key.as_str())) else {
                    break;
                };
                span = Some(if last && at_key { key.span() } else { value.span() });
                value
            }
            Step::Index(index) => {
                let Some(value): Option<&Spanned<DeValue<'_>>> =
                    list.and_then(|list: &toml::de::DeArray<'_>| list.get(*index))
                else {
                    break;
                };
                span = Some(value.span());
                value
            }
        };
        table = value.get_ref().as_table();
        list = value.get_ref().as_array();
    }
    span
}
