//! What may differ from the record, each with its reason; anything else is a bug.

use super::compare::Difference;

/// A difference that is meant. Patterns know `*` for any text.
#[derive(Clone, Copy, Debug)]
pub struct Exception {
    /// The rule by which `crds/COMPAT.md` lists it, or what else makes it inevitable.
    pub rule: &'static str,
    /// Why.
    pub reason: &'static str,
    /// `case/moment`.
    pub at: &'static str,
    /// The object.
    pub object: &'static str,
    /// The field.
    pub path: &'static str,
    /// The peer's value; `-` for none.
    pub theirs: &'static str,
    /// Our value; `-` for none.
    pub ours: &'static str,
}

impl Exception {
    /// Whether it is about this difference.
    #[must_use]
    pub fn covers(&self, found: &Difference) -> bool {
        let at = format!("{}/{}", found.case, found.moment);
        let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
        matches(self.at, &at)
            && matches(self.object, &found.object)
            && matches(self.path, &found.path)
            && matches(self.theirs, &value(&found.theirs))
            && matches(self.ours, &value(&found.ours))
    }
}

/// Whether a text is as the pattern says.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some(at) = rest.find(part) else {
            return false;
        };
        rest = rest.get(at + part.len()..).unwrap_or_default();
    }
    true
}

/// All that may differ.
pub const EXCEPTIONS: &[Exception] = &[];

/// What no exception covers, and exceptions that nothing needs any more.
#[must_use]
pub fn judge(found: &[Difference]) -> (Vec<&Difference>, Vec<&'static Exception>) {
    let unexplained = found
        .iter()
        .filter(|one| !EXCEPTIONS.iter().any(|exception| exception.covers(one)))
        .collect();
    let stale = EXCEPTIONS
        .iter()
        .filter(|exception| !found.iter().any(|one| exception.covers(one)))
        .collect();
    (unexplained, stale)
}
