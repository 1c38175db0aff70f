//! Hashes that name things: pod templates (CTL-19, API-36) and steps (CTL-92, API-35).
//!
//! They have to come out as the peer's, to the letter: a different pod hash would restart every
//! pod at a takeover, a different step hash would send a running canary back to step 0.

use std::sync::OnceLock;

use serde_json::Value;

use crate::pod_template::RawPodTemplate;
use crate::pod_template::encode::{self, Form};
use crate::rollout::CanaryStep;

/// Where FNV-1a, 32 bits, begins.
const BASIS: u32 = 0x811c_9dc5;

fn absorb(sum: u32, bytes: impl IntoIterator<Item = u8>) -> u32 {
    bytes.into_iter().fold(sum, |sum, byte| {
        (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    })
}

/// The decimal digits of a sum in the alphabet that cannot spell words.
fn spell(sum: u32) -> String {
    sum.to_string()
        .bytes()
        .map(|digit| match digit {
            b'0'..=b'5' => char::from(digit + 4),
            b'6' => 'b',
            b'7' => 'c',
            b'8' => 'd',
            _ => 'f',
        })
        .collect()
}

/// Sums over the texts of a pod template, which the collision count then goes on from: a template is
/// hashed in every decision about it, and rarely changes.
#[derive(Default)]
pub(crate) struct Digests {
    ours: OnceLock<u32>,
    /// The peer's of today, and that of its releases up to 1.8.
    peers: OnceLock<[u32; 2]>,
}

fn sum_of(template: &Value, form: Form) -> u32 {
    absorb(BASIS, encode::pod_template(template, form).into_bytes())
}

fn ours(template: &RawPodTemplate) -> u32 {
    let sum = || sum_of(&template.value(), Form::Hash { unknown: true });
    *template.digests().ours.get_or_init(sum)
}

fn peers(template: &RawPodTemplate) -> [u32; 2] {
    *template.digests().peers.get_or_init(|| {
        let value = template.value();
        [Form::Hash { unknown: false }, Form::OldHash].map(|form| sum_of(&value, form))
    })
}

fn counted(sum: u32, collision_count: Option<i32>) -> String {
    let count = collision_count.map(|count| {
        let [a, b, c, d] = count.to_le_bytes();
        [a, b, c, d, 0, 0, 0, 0]
    });
    spell(absorb(sum, count.into_iter().flatten()))
}

/// The hash of a pod template, which names its ReplicaSet.
///
/// Members that the table of Kubernetes 1.36 does not know take part; without any the hash is the
/// peer's.
pub fn pod_template_hash(template: &RawPodTemplate, collision_count: Option<i32>) -> String {
    counted(ours(template), collision_count)
}

/// Every hash under which a ReplicaSet of this template may be known: ours, the peer's (which
/// does not see unknown members) and that of releases up to 1.8. The first is
/// [`pod_template_hash`]; equal ones appear once.
pub fn known_pod_template_hashes(
    template: &RawPodTemplate,
    collision_count: Option<i32>,
) -> Vec<String> {
    let [peer, old] = peers(template);
    let mut hashes = Vec::new();
    for sum in [ours(template), peer, old] {
        let hash = counted(sum, collision_count);
        if !hashes.contains(&hash) {
            hashes.push(hash);
        }
    }
    hashes
}

/// The hash of the steps of a canary (`status.currentStepHash`).
pub fn step_hash(steps: &[CanaryStep]) -> String {
    let json = match steps {
        [] => "null".to_owned(),
        steps => serde_json::to_string(steps).unwrap_or_default(),
    };
    let mut text = String::new();
    encode::push_escaped(&json, &mut text);
    spell(absorb(BASIS, text.into_bytes()))
}

/// Whether `hash` is one that some release gives these steps: up to 1.9 an explicit
/// `clusterScope: false` took no part.
pub fn is_step_hash(hash: &str, steps: &[CanaryStep]) -> bool {
    if hash == step_hash(steps) {
        return true;
    }
    let mut old = steps.to_vec();
    for step in &mut old {
        for template in step
            .analysis
            .iter_mut()
            .flat_map(|analysis| &mut analysis.templates)
        {
            template.cluster_scope = template.cluster_scope.filter(|on| *on);
        }
        for analysis in step
            .experiment
            .iter_mut()
            .flat_map(|experiment| &mut experiment.analyses)
        {
            analysis.cluster_scope = analysis.cluster_scope.filter(|on| *on);
        }
    }
    hash == step_hash(&old)
}

#[cfg(test)]
mod tests;
