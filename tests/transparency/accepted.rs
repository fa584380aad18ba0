//! The written list: differences that `outboard` makes on purpose, each with its reason.

use std::collections::{BTreeMap, BTreeSet};

/// A difference, where it may occur, and why.
#[derive(Debug)]
pub(crate) struct Accepted {
    what: String,
    /// The cases in which it has to occur; none: in any, and in one at least.
    cases: Vec<Cases>,
    reason: String,
}

/// One case by its name, or all whose names begin alike.
#[derive(Debug)]
enum Cases {
    Named(String),
    BeginningWith(String),
}

impl Cases {
    fn read(text: &str) -> Self {
        match text.strip_suffix('*') {
            Some(start) => Self::BeginningWith(start.to_owned()),
            None => Self::Named(text.to_owned()),
        }
    }

    fn hold(&self, case: &str) -> bool {
        match self {
            Self::Named(name) => name == case,
            Self::BeginningWith(start) => case.starts_with(start.as_str()),
        }
    }
}

/// Reads the list; its head says how it is written.
///
/// # Panics
/// At an entry without a reason.
pub(crate) fn read(text: &str) -> Vec<Accepted> {
    let mut list: Vec<Accepted> = Vec::new();
    // Differences that stand together share what follows; a reason is for all since the last one.
    let (mut together, mut unexplained, mut after_head) = (0, 0, false);
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
        let Some(inner) = line.strip_prefix("    ") else {
            if !after_head {
                together = list.len();
                after_head = true;
            }
            list.push(Accepted { what: line.into(), cases: Vec::new(), reason: String::new() });
            continue;
        };
        after_head = false;
        match inner.strip_prefix("in: ") {
            Some(cases) => {
                list[together..].iter_mut().for_each(|entry| entry.cases.push(Cases::read(cases)));
            }
            None => {
                unexplained = list.iter().position(|entry| entry.reason.is_empty()).unwrap_or(unexplained);
                list[unexplained..].iter_mut().for_each(|entry| entry.reason.push_str(inner));
            }
        }
    }
    for entry in &list {
        assert!(!entry.reason.is_empty(), "`{}` is listed without a reason", entry.what);
    }
    list
}

/// What is wrong: differences of `outboard` that neither both peers make nor the list has, and
/// entries of the list that are true no more.
///
/// `own` are the differences by case that both peers leave alone, or one of them.
pub(crate) fn judge(own: &BTreeMap<String, BTreeSet<String>>, list: &[Accepted]) -> Vec<String> {
    let mut unlisted: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (case, differences) in own {
        for what in differences {
            let may_be =
                |entry: &Accepted| entry.cases.is_empty() || entry.cases.iter().any(|cases| cases.hold(case));
            if !list.iter().any(|entry| entry.what == *what && may_be(entry)) {
                unlisted.entry(what).or_default().push(case);
            }
        }
    }
    let mut wrong: Vec<_> =
        unlisted.into_iter().map(|(what, cases)| say("not listed", what, &cases)).collect();
    for Accepted { what, cases, .. } in list {
        let mut occurs_in = own.iter().filter(|(_, differences)| differences.contains(what));
        if cases.is_empty() && occurs_in.next().is_none() {
            wrong.push(say("listed, and does not occur any more", what, &[]));
        }
        for cases in cases {
            if !own.iter().any(|(case, differences)| cases.hold(case) && differences.contains(what)) {
                let (Cases::Named(name) | Cases::BeginningWith(name)) = cases;
                wrong.push(say("listed, and does not occur there any more", what, &[name]));
            }
        }
    }
    wrong
}

fn say(how: &str, what: &str, cases: &[&str]) -> String {
    const MOST: usize = 8;
    let mut text = format!("{how}: {what}");
    for case in cases.iter().take(MOST) {
        text.push_str(&format!("\n        in: {case}"));
    }
    if cases.len() > MOST {
        text.push_str(&format!("\n        and in {} more", cases.len() - MOST));
    }
    text
}

#[test]
fn a_difference_that_is_not_listed_and_an_entry_that_is_true_no_more_are_both_wrong() {
    let list = read(
        "# a comment\nanswer header new: via\n    Asked for.\n\nrequest target\n    in: a\n    in: b\nrequest version\n    in: a*\n    Because.\nanswer body\n    Why not.\n",
    );
    let of = |what: &[&str]| what.iter().map(|what| (*what).to_owned()).collect::<BTreeSet<_>>();
    let own = BTreeMap::from([
        ("a".to_owned(), of(&["request target"])),
        ("aa".to_owned(), of(&["request version", "request target"])),
        ("b".to_owned(), of(&["request version"])),
        ("c".to_owned(), of(&["answer header new: via"])),
    ]);

    let wrong = judge(&own, &list);

    assert_eq!(
        wrong,
        [
            "not listed: request target\n        in: aa",
            "not listed: request version\n        in: b",
            "listed, and does not occur there any more: request target\n        in: b",
            "listed, and does not occur any more: answer body",
        ]
    );
}
