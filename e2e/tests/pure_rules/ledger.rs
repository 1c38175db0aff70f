//! Reads the tables of `crds/COMPAT.md` and says what is wrong with them.

use std::collections::{BTreeMap, BTreeSet};

use super::known::{OTHERS, Rules};

/// What there is to account for.
pub(crate) struct Expected {
    /// Every rule that must stand in the list.
    pub(crate) required: &'static [Rules],
    /// Rules that need no proof yet.
    pub(crate) not_proven: &'static [&'static str],
    /// Rules that describe no behaviour of the controller, so that nothing can be proven.
    pub(crate) no_behaviour: &'static [&'static str],
}

/// Heading of the list of rules; the tables before it are differences.
pub(crate) const SECTION: &str = "Rules and their tests";
/// What a row says instead of a test when a difference explains the rule.
const DIFFERENCE: &str = "difference: see above";
/// What it says when there is neither.
const NOT_PROVEN: &str = "not proven";
/// What it says of a rule that describes no behaviour of the controller.
const NO_BEHAVIOUR: &str = "no behaviour";

/// A rule: prefix and number.
type Rule = (String, u32);

/// Everything that is wrong, rule by rule. `read` yields a file of the tree by its path.
pub(crate) fn problems(
    text: &str,
    expected: &Expected,
    read: &dyn Fn(&str) -> Option<String>,
) -> Vec<String> {
    let Expected {
        required,
        not_proven,
        no_behaviour,
    } = *expected;
    let (differences, list) = text
        .split_once(&format!("\n## {SECTION}\n"))
        .unwrap_or((text, ""));
    let mut problems = Vec::new();
    let mut differs = BTreeSet::new();
    for cells in rows(differences) {
        for rule in rules(cells[0]) {
            if !is_in(required, &rule) && !is_in(OTHERS, &rule) {
                problems.push(format!(
                    "a difference names {}, which is no rule",
                    name(&rule)
                ));
            }
            differs.insert(rule);
        }
    }
    let mut accounted: BTreeMap<Rule, bool> = BTreeMap::new();
    for cells in rows(list) {
        let named = rules(cells[0]);
        if named.is_empty() {
            problems.push(format!("\"{}\" names no rule", cells[0]));
        }
        for rule in named {
            let label = name(&rule);
            if !is_in(required, &rule) {
                problems.push(format!("{label} is no rule"));
                continue;
            }
            if cells.get(1).is_none_or(|about| about.is_empty()) {
                problems.push(format!("{label}: what is it about?"));
            }
            let proofs = cells.get(2).copied().unwrap_or_default();
            let proven = proofs != NOT_PROVEN;
            if !proven && !not_proven.contains(&label.as_str()) {
                problems.push(format!(
                    "{label}: not proven, and not on the list of what may be"
                ));
            }
            if proven {
                for proof in proofs.split(", ") {
                    if proof == NO_BEHAVIOUR {
                        if !no_behaviour.contains(&label.as_str()) {
                            problems.push(format!("{label}: it does describe a behaviour"));
                        }
                        continue;
                    }
                    if proof == DIFFERENCE && !differs.contains(&rule) {
                        problems.push(format!("{label}: no difference above names it"));
                    }
                    if let Err(why) = holds(proof, read) {
                        problems.push(format!("{label}: {why}"));
                    }
                }
            }
            if accounted.insert(rule, proven).is_some() {
                problems.push(format!("{label} stands in two rows"));
            }
        }
    }
    for (prefix, ranges) in required {
        for number in ranges.iter().cloned().flatten() {
            let rule = ((*prefix).to_owned(), number);
            let label = name(&rule);
            match accounted.get(&rule) {
                None => problems.push(format!("{label} stands nowhere")),
                Some(true) if not_proven.contains(&label.as_str()) => problems.push(format!(
                    "{label} is proven: take it off the list of what is not"
                )),
                Some(_) => {}
            }
        }
    }
    problems
}

/// The body rows of all tables, cell by cell.
fn rows(text: &str) -> Vec<Vec<&str>> {
    let lines = text.lines().filter(|line| line.starts_with('|'));
    lines
        .map(|line| {
            let line = line.trim_matches('|');
            line.split(" | ").map(str::trim).collect::<Vec<_>>()
        })
        .filter(|cells| !cells[0].starts_with("---") && cells[0] != "rule")
        .collect()
}

/// The rules in a first cell: `API-2, ANA-63..76, SE-24 of 01`.
fn rules(cell: &str) -> Vec<Rule> {
    let mut found = Vec::new();
    for word in cell.split(", ") {
        let word = word.split(' ').next().unwrap_or_default();
        let Some((prefix, numbers)) = word.split_once('-') else {
            continue;
        };
        let (from, to) = numbers.split_once("..").unwrap_or((numbers, numbers));
        if let (Ok(from), Ok(to)) = (from.parse::<u32>(), to.parse::<u32>()) {
            found.extend((from..=to).map(|number| (prefix.to_owned(), number)));
        }
    }
    found
}

fn name((prefix, number): &Rule) -> String {
    format!("{prefix}-{number}")
}

fn is_in(all: &[Rules], (prefix, number): &Rule) -> bool {
    let mut all = all.iter().filter(|(other, _)| other == prefix);
    all.any(|(_, ranges)| ranges.iter().any(|range| range.contains(number)))
}

/// Whether what a row names exists: `path/to/file.rs::test` or `e2e/scenarios/name.yaml`.
fn holds(proof: &str, read: &dyn Fn(&str) -> Option<String>) -> Result<(), String> {
    if proof == DIFFERENCE {
        return Ok(());
    }
    let quoted = proof.strip_prefix('`').and_then(|p| p.strip_suffix('`'));
    let Some(place) = quoted else {
        return Err(format!("\"{proof}\" is no proof"));
    };
    let (path, test) = match place.split_once("::") {
        Some((path, test)) => (path, Some(test)),
        None => (place, None),
    };
    let Some(text) = read(path) else {
        return Err(format!("there is no file {path}"));
    };
    match test {
        Some(test) if !has_test(&text, test) => Err(format!("{path} has no test named {test}")),
        None if !path.starts_with("e2e/scenarios/") => Err(format!("{path} is no scenario")),
        _ => Ok(()),
    }
}

/// Whether a Rust file has a test function of this name: one under a `#[test]` of some kind.
fn has_test(text: &str, test: &str) -> bool {
    let mut under_test = false;
    for line in text.lines().map(str::trim_start) {
        if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
            under_test = true;
        } else if line.starts_with("fn ") || line.starts_with("async fn ") {
            let named = line.trim_start_matches("async ").trim_start_matches("fn ");
            let is_named = named
                .strip_prefix(test)
                .is_some_and(|rest| rest.starts_with('('));
            if under_test && is_named {
                return true;
            }
            under_test = false;
        }
    }
    false
}
