//! What an evaluation may use up (ANA-84). A condition comes from a user's template and its data
//! from a server that somebody else runs: neither may stop the controller.

/// Elements that one evaluation may create.
const ELEMENTS: u64 = 1_000_000;
/// Bytes of text that one evaluation may create.
const BYTES: u64 = 64 << 20;
/// Nodes that one evaluation may visit; about a second.
const STEPS: u64 = 10_000_000;
/// How deep lists and maps may nest in each other.
const DEPTH: u16 = 200;

/// What is left.
#[derive(Debug)]
pub(super) struct Budget {
    elements: u64,
    bytes: u64,
    steps: u64,
}

impl Budget {
    pub(super) fn new() -> Self {
        Self {
            elements: ELEMENTS,
            bytes: BYTES,
            steps: STEPS,
        }
    }

    /// `n` list or map elements are about to be created.
    pub(super) fn elements(&mut self, n: u64) -> Result<(), String> {
        self.elements = self
            .elements
            .checked_sub(n)
            .ok_or("memory budget exceeded")?;
        self.steps(n)
    }

    /// `n` bytes of text are about to be created.
    pub(super) fn bytes(&mut self, n: usize) -> Result<(), String> {
        self.bytes = self
            .bytes
            .checked_sub(n as u64)
            .ok_or("memory budget exceeded")?;
        self.steps(n as u64 / 64)
    }

    /// `n` nodes are about to be visited.
    pub(super) fn steps(&mut self, n: u64) -> Result<(), String> {
        self.steps = self.steps.checked_sub(n).ok_or("time budget exceeded")?;
        Ok(())
    }

    /// `value` is about to be walked to its ends.
    pub(super) fn walk(&mut self, value: &super::Value) -> Result<(), String> {
        let weight = value.weight(self.steps.saturating_add(1));
        self.steps(weight)
    }

    /// `value` was just created.
    pub(super) fn depth(value: super::Value) -> Result<super::Value, String> {
        if value.depth() > DEPTH {
            return Err(format!("values nest deeper than {DEPTH}"));
        }
        Ok(value)
    }
}
