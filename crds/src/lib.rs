//! Wire types of the `argoproj.io/v1alpha1` kinds: fields, defaults, validation, hashes.
//!
//! One module per kind. Types carry the API's own names and follow three rules:
//!
//! * Decoding is lenient: `null` and absence are the same for everything that has a zero value,
//!   unknown members are ignored, unknown words of closed lists are kept as they are.
//! * Encoding writes what the existing controller writes: zero values are left out unless the
//!   member is one of those that are always there (API-70, ANA-20, ANA-90, EXP-10).
//! * What is not ours to interpret (pod templates, Job specs, plugin settings) stays raw JSON.
//!
//! Nothing here does I/O or asks for the time.

pub mod analysis;
pub mod decode;
pub mod defaults;
pub mod duration;
pub mod experiment;
pub mod field_error;
pub mod field_path;
pub mod hash;
pub mod keys;
pub mod labels;
pub mod numbers;
pub mod placeholders;
pub mod pod_template;
mod quantity;
pub mod references;
pub mod replica_set;
mod resource;
pub mod rollout;
pub mod selector;
pub mod templates;
pub mod time;
pub mod validate;
mod wire;
pub mod yaml;

pub use analysis::{AnalysisRun, AnalysisTemplate, ClusterAnalysisTemplate};
pub use experiment::Experiment;
pub use field_error::FieldError;
pub use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
pub use pod_template::RawPodTemplate;
pub use replica_set::ReplicaSet;
pub use rollout::Rollout;
pub use selector::LabelSelector;
pub use time::Time;
