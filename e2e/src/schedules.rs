//! Random schedules for the whole controller: its caches, queues, retries and leases, on the simulated
//! cluster, watched by the observer.
//!
//! `sluice_core::testing::fuzz` plays decisions alone, thousands in a second. What lies around them can
//! go wrong, too: an API server that refuses, throttles, loses answers or shows the past, watches that
//! break or stall, leases that are lost, processes that die between any two writes, providers that
//! hang. Here a seed gives a Rollout of the same shapes and a [`Scenario`] of such events, the same for
//! ever. At the end faults stop; a last version has to become stable within the bound, and then nothing
//! may be written any more.

use anyhow::Result;
use sluice_core::testing::fuzz::Case;
use sluice_core::testing::fuzz::random::Random;
use sluice_core::testing::fuzz::shape::Shape;

use crate::scenario::format::Scenario;

mod draw;
mod objects;

/// The scenario of a case: the events that it keeps, and the ending.
///
/// # Errors
/// When the Rollout of the seed cannot be written as a manifest.
pub fn scenario(case: &Case) -> Result<Scenario> {
    let shape = Shape::new(&mut Random::new(case.seed, 1));
    let objects = objects::of(&shape)?;
    let mut random = Random::new(case.seed, 11);
    let surroundings = draw::surroundings(&mut random, &shape);
    let events = draw::events(&mut random, &shape, &surroundings, &objects);
    let kept = |index: &usize| case.kept.as_ref().is_none_or(|kept| kept.contains(index));
    let mut steps: Vec<_> = events
        .into_iter()
        .enumerate()
        .filter(|(index, _)| kept(index))
        .map(|(_, step)| step)
        .collect();
    steps.extend(draw::ending(&shape, &objects));
    Ok(Scenario {
        name: format!("schedule {case}"),
        rules: Vec::new(),
        given: Vec::new(),
        manifests: objects.all(),
        rollout: None,
        pods: Vec::new(),
        metrics: surroundings.metrics,
        controllers: surroundings.controllers,
        client_rate: None,
        data_plane: surroundings.data_plane,
        steps,
        rings: None,
        seeds: 1,
    })
}

/// How many events the schedule of a seed has.
///
/// # Errors
/// As [`scenario`].
pub fn length(seed: u64) -> Result<usize> {
    let none = Case {
        seed,
        kept: Some(Vec::new()),
    };
    let ending = scenario(&none)?.steps.len();
    Ok(scenario(&Case::of(seed))?.steps.len() - ending)
}

#[cfg(test)]
mod tests {
    use super::{length, scenario};
    use crate::scenario::format::Ring;
    use sluice_core::testing::fuzz::Case;

    #[test]
    fn a_seed_gives_the_same_schedule_for_ever() {
        let text = |case: &Case| format!("{:?}", scenario(case).unwrap());
        assert_eq!(text(&Case::of(7)), text(&Case::of(7)));
        assert_ne!(text(&Case::of(7)), text(&Case::of(8)));
    }

    #[test]
    fn parts_of_a_schedule_leave_the_rest_as_it_is() {
        let whole = scenario(&Case::of(3)).unwrap();
        let part = scenario(&"3:1".parse().unwrap()).unwrap();
        assert_eq!(
            format!("{:?}", part.steps.first()),
            format!("{:?}", whole.steps.get(1))
        );
        assert_eq!(part.steps.len() + length(3).unwrap(), whole.steps.len() + 1);
        assert_eq!(part.manifests, whole.manifests);
        assert_eq!(whole.obstacle(Ring::Sim), None);
    }
}
