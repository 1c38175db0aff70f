//! Whether a Rollout can be carried out at all (API-43).

use std::borrow::Cow;

use sluice_crds::{Rollout, validate};

use crate::conditions::{self, kind};
use crate::observed::{Observed, Workload};

/// The first error of the spec, then of the objects that it names; the bare text of an unusable
/// workload reference (API-28).
pub(crate) fn first_error(seen: &Observed) -> Option<String> {
    let rollout = match &seen.workload {
        Workload::Unusable(error) => return Some(error.clone()),
        Workload::NotReferenced => Cow::Borrowed(&*seen.rollout),
        Workload::Found(found) => {
            let mut resolved: Rollout = (*seen.rollout).clone();
            resolved.spec.template = found.template.clone();
            if resolved.spec.selector.is_none() {
                resolved.spec.selector.clone_from(&found.selector);
            }
            Cow::Owned(resolved)
        }
    };
    let own = if judged(seen) {
        None
    } else {
        validate::rollout(&rollout).into_iter().next()
    };
    own.or_else(|| {
        validate::references(&rollout, &seen.references)
            .into_iter()
            .next()
    })
    .map(|error| error.to_string())
}

/// The static rules look at the spec alone: one generation is judged once.
fn judged(seen: &Observed) -> bool {
    let status = seen.rollout.status.as_ref();
    matches!(seen.workload, Workload::NotReferenced)
        && status.is_some_and(|status| {
            conditions::observed(&seen.rollout, status)
                && conditions::get(&status.conditions, kind::INVALID_SPEC).is_none()
        })
}
