//! `demo`: a rollout on a cluster inside this process.

use crate::args::Demo;
use crate::failure::Failure;

/// Plays a story.
///
/// # Errors
/// When the story does not end as it should.
pub async fn run(_options: &Demo) -> Result<(), Failure> {
    Err(Failure::message("not supported yet"))
}
