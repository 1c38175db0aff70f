//! Passes over Experiments.

use std::sync::Arc;

use crate::ctx::Ctx;
use crate::key::Key;
use crate::queue::Next;

/// Looks at one Experiment and does what is to be done now.
pub async fn pass(_ctx: Arc<Ctx>, _key: Key) -> Next {
    Next::Forget
}
