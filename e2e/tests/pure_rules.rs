//! Every rule of the specification has a test that proves it, or a difference that explains it.
//!
//! `crds/COMPAT.md` says which, under "Rules and their tests"; here it is checked that no rule is
//! missing there, that the tests which it names exist, and that its differences name rules that do.

#![allow(clippy::indexing_slicing, reason = "helpers of tests fail as tests do")]

#[path = "pure_rules/known.rs"]
mod known;
#[path = "pure_rules/ledger.rs"]
mod ledger;

use std::path::Path;

use ledger::Expected;

/// A file of the tree by its path from the root.
fn read(path: &str) -> Option<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    std::fs::read_to_string(root.join(path)).ok()
}

#[test]
fn every_rule_is_accounted_for() {
    let text = read("crds/COMPAT.md").unwrap();
    let expected = Expected {
        required: known::REQUIRED,
        not_proven: known::NOT_PROVEN,
        no_behaviour: known::NO_BEHAVIOUR,
    };
    let problems = ledger::problems(&text, &expected, &read);
    assert!(
        problems.is_empty(),
        "crds/COMPAT.md, \"{}\":\n{}",
        ledger::SECTION,
        problems.join("\n")
    );
}

/// What the check would say, row by row, of a list with one fault each.
#[test]
fn faults_are_named() {
    let tree = |path: &str| match path {
        "src/a.rs" => Some(
            "/// API-1\n#[test]\nfn proves() {}\n\nfn helper() {}\n\n\
             #[tokio::test(start_paused = true)]\nasync fn plays() {}\n\n\
             proptest! {\n    #[test]\n    fn holds(n in 0..9) {}\n}\n"
                .to_owned(),
        ),
        "e2e/scenarios/b.yaml" => Some(String::new()),
        _ => None,
    };
    let check = |differences: &str, rows: &str, not_proven: &'static [&'static str]| {
        let text = format!(
            "# Differences\n\n| rule | difference | reason |\n|---|---|---|\n{differences}\n\n\
             ## {}\n\n| rule | about | proven by |\n|---|---|---|\n{rows}\n",
            ledger::SECTION
        );
        let expected = Expected {
            required: &[("API", &[1..=2])],
            not_proven,
            no_behaviour: &[],
        };
        ledger::problems(&text, &expected, &tree).join("; ")
    };
    let good = "| API-1 | a | `src/a.rs::proves`, `e2e/scenarios/b.yaml` |\n";
    let two = |row: &str| format!("{good}{row}");

    let whole = two("| API-2 | b | `src/a.rs::plays`, `src/a.rs::holds` |");
    assert_eq!(check("", &whole, &[]), "");
    assert_eq!(check("", good, &[]), "API-2 stands nowhere");
    assert_eq!(
        check("", &two("| API-1..2 | b | `src/a.rs::plays` |"), &[]),
        "API-1 stands in two rows"
    );
    assert_eq!(
        check("", &two("| API-2 | b | `src/a.rs::helper` |"), &[]),
        "API-2: src/a.rs has no test named helper"
    );
    assert_eq!(
        check("", &two("| API-2 | b | `src/b.rs::proves` |"), &[]),
        "API-2: there is no file src/b.rs"
    );
    assert_eq!(
        check("", &two("| API-2 | b | `e2e/scenarios/c.yaml` |"), &[]),
        "API-2: there is no file e2e/scenarios/c.yaml"
    );
    assert_eq!(
        check("", &two("| API-2 | b | by inspection |"), &[]),
        "API-2: \"by inspection\" is no proof"
    );
    assert_eq!(
        check("", &two("| API-2 | b | no behaviour |"), &[]),
        "API-2: it does describe a behaviour"
    );
    assert_eq!(
        check("", &two("| API-2 |  | `src/a.rs::proves` |"), &[]),
        "API-2: what is it about?"
    );
    assert_eq!(
        check("", &two("| API-2 | b | difference: see above |"), &[]),
        "API-2: no difference above names it"
    );
    assert_eq!(
        check(
            "| API-2 | b | c |",
            &two("| API-2 | b | difference: see above |"),
            &[]
        ),
        ""
    );
    assert_eq!(
        check("| API-3, SE-99 | b | c |", &whole, &[]),
        "a difference names API-3, which is no rule; a difference names SE-99, which is no rule"
    );
    let unproven = two("| API-2 | b | not proven |");
    assert_eq!(
        check("", &unproven, &[]),
        "API-2: not proven, and not on the list of what may be"
    );
    assert_eq!(check("", &unproven, &["API-2"]), "");
    assert_eq!(
        check("", &whole, &["API-2"]),
        "API-2 is proven: take it off the list of what is not"
    );
    assert_eq!(
        check("", &two("| API-2..3 | b | `src/a.rs::proves` |"), &[]),
        "API-3 is no rule"
    );
}
