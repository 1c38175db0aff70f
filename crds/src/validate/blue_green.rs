//! Blue-green rules (API-45).

use super::spec;
use crate::field_error::FieldError;
use crate::rollout::{BlueGreenStrategy, RolloutSpec};

pub(super) fn errors(spec: &RolloutSpec, blue_green: &BlueGreenStrategy) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let active = blue_green.active_service.as_str();
    if active == blue_green.preview_service {
        errors.push(FieldError::invalid(
            "spec.strategy.activeService",
            active,
            "This rollout uses the same service for the active and preview services, but two \
             different services are required.",
        ));
    } else if active.is_empty() {
        // SE-20
        errors.push(FieldError::required(
            "spec.strategy.blueGreen.activeService",
            "a blue-green Rollout needs the Service that it switches",
        ));
    }
    if let Some(limit) = blue_green.scale_down_delay_revision_limit
        && limit > spec.revision_history_limit()
    {
        errors.push(FieldError::invalid(
            "spec.strategy.scaleDownDelayRevisionLimit",
            limit,
            "This rollout's revision history limit can not be smaller than the rollout's scale \
             down limit",
        ));
    }
    errors.extend(spec::anti_affinity(blue_green.anti_affinity.as_ref()));
    errors
}
