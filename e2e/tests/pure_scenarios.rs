//! Every scenario file that decisions alone can express (ring 1).
//!
//! `SLUICE_SCENARIO=name` plays only that one.

use std::path::Path;

use sluice_e2e::scenario::format::{Ring, Scenario};
use sluice_e2e::scenario::pure::play;

#[test]
fn scenarios_come_true_in_decisions() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let only = std::env::var("SLUICE_SCENARIO").ok();
    let mut failures = Vec::new();
    for scenario in Scenario::load_all(&here.join("scenarios")).unwrap() {
        if only.as_ref().is_some_and(|only| *only != scenario.name) {
            continue;
        }
        if let Some(why) = scenario.obstacle(Ring::Pure) {
            println!("{}: left out: {why}", scenario.name);
            continue;
        }
        let documents = scenario.documents(&here.join("..")).unwrap();
        match play(&scenario, &documents) {
            Ok(()) => println!("{}: ok", scenario.name),
            Err(error) => failures.push(format!("{}: {error:#}", scenario.name)),
        }
    }
    assert!(
        failures.is_empty(),
        "{} scenarios failed:\n\n{}",
        failures.len(),
        failures.join("\n\n")
    );
}
