//! What differs between the events of two clusters: reason, type and text. Their order is compared from
//! moment to moment; within one it is that of writes first, then of the status (COMPAT CTL-11).
//!
//! The peer writes an event for each thing that happens, counts repetitions, gives up after 25 per
//! object, and from the eleventh of a reason on overwrites one `(combined from similar events)`. Ours
//! hold several texts, joined (COMPAT OPS-16). So what is compared is which texts came up between one
//! moment and the next.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::compare::Difference;
use super::normal::{Names, names};
use crate::stand::text;

/// Before the text of an event that stands for several.
const COMBINED: &str = "(combined from similar events): ";
/// So many events the peer writes about an object before it gives up.
const BURST: u64 = 25;
/// The object that is reported with differences of events.
pub const EVENTS: &str = "Events";

/// One text about one object: kind and name, type, reason, message.
type Said = (String, String, String, String);

/// Events of one side at one moment, by their names: what they say and how often.
pub struct Told {
    by_name: BTreeMap<String, (Vec<Said>, u64)>,
    spent: BTreeMap<String, u64>,
    combined: BTreeSet<(String, String)>,
}

/// The events of a snapshot.
#[must_use]
pub fn told(objects: &[Value]) -> Told {
    let names = names(objects);
    let mut told = Told {
        by_name: BTreeMap::new(),
        spent: BTreeMap::new(),
        combined: BTreeSet::new(),
    };
    for event in objects.iter().filter(|one| text(one, "/kind") == "Event") {
        told.add(event, &names);
    }
    told
}

impl Told {
    fn add(&mut self, event: &Value, names: &Names) {
        let kind = text(event, "/involvedObject/kind");
        if !["Rollout", "AnalysisRun", "Experiment"].contains(&kind) {
            return;
        }
        let about = format!(
            "{kind} {}",
            names.rename(text(event, "/involvedObject/name"))
        );
        let count = event.pointer("/count").and_then(Value::as_u64).unwrap_or(1);
        let reason = text(event, "/reason").to_owned();
        *self.spent.entry(about.clone()).or_default() += count;
        let mut message = text(event, "/message");
        if let Some(last) = message.strip_prefix(COMBINED) {
            message = last;
            self.combined.insert((about.clone(), reason.clone()));
        }
        let said = |message: &str| {
            (
                about.clone(),
                text(event, "/type").to_owned(),
                reason.clone(),
                names.rename(message),
            )
        };
        let texts = split(message).into_iter().map(said).collect();
        self.by_name
            .insert(text(event, "/metadata/name").to_owned(), (texts, count));
    }

    /// What kinds of texts came up: type, reason and text without names and numbers.
    #[must_use]
    pub fn shapes(&self) -> BTreeSet<String> {
        let all = self.by_name.values().flat_map(|(said, _)| said);
        all.map(|(_, kind, reason, message)| format!("{kind} {reason}: {}", shape(message)))
            .collect()
    }

    /// What came up since an earlier moment.
    fn since(&self, earlier: Option<&Self>) -> BTreeSet<&Said> {
        let new = self.by_name.iter().filter(|(name, said)| {
            earlier.and_then(|earlier| earlier.by_name.get(*name)) != Some(said)
        });
        new.flat_map(|(_, (said, _))| said).collect()
    }

    /// Whether the peer would not have written another event of this reason as it is.
    fn silent(&self, said: &Said) -> bool {
        let (about, _, reason, _) = said;
        self.spent.get(about).copied().unwrap_or(0) >= BURST
            || self.combined.contains(&(about.clone(), reason.clone()))
    }
}

/// A text without its words that hold digits, quotes, braces or dashes.
fn shape(message: &str) -> String {
    let marked = |c: char| c.is_ascii_digit() || "'`{-".contains(c);
    let words = message.split(' ');
    let words: Vec<&str> = words
        .map(|word| if word.contains(marked) { "#" } else { word })
        .collect();
    words.join(" ")
}

/// The texts that were joined: each begins with a capital letter, which what follows a semicolon
/// inside of one does not.
fn split(message: &str) -> Vec<&str> {
    let mut texts = vec![];
    let mut from = 0;
    for (at, separator) in message.match_indices("; ") {
        let next = at + separator.len();
        let rest = message.get(next..).unwrap_or_default();
        if rest.starts_with(|c: char| c.is_ascii_uppercase()) {
            texts.extend(message.get(from..at));
            from = next;
        }
    }
    texts.extend(message.get(from..));
    texts
}

/// Texts that came up on one side only since the moment before.
#[must_use]
pub fn differences(
    case: &str,
    moment: &str,
    theirs: (Option<&Told>, &Told),
    ours: (Option<&Told>, &Told),
) -> Vec<Difference> {
    let (their_texts, our_texts) = (theirs.1.since(theirs.0), ours.1.since(ours.0));
    let found = |said: &Said, there: bool| {
        let (about, kind, reason, message) = said;
        let is = |there: bool| there.then(|| "said".to_owned());
        Difference {
            case: case.to_owned(),
            moment: moment.to_owned(),
            object: EVENTS.to_owned(),
            path: format!("{about} {kind} {reason}: {message}"),
            theirs: is(there),
            ours: is(!there),
        }
    };
    let lost = their_texts
        .difference(&our_texts)
        .map(|said| found(said, true));
    let more = our_texts.difference(&their_texts);
    let more = more
        .filter(|said| !theirs.1.silent(said))
        .map(|said| found(said, false));
    lost.chain(more).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(name: &str, count: u64, reason: &str, message: &str) -> Value {
        json!({
            "kind": "Event",
            "metadata": {"name": name},
            "involvedObject": {"kind": "Rollout", "name": "web"},
            "type": "Normal", "reason": reason, "message": message, "count": count,
        })
    }

    fn between(theirs: [&[Value]; 2], ours: [&[Value]; 2]) -> Vec<String> {
        let [theirs, ours] = [theirs, ours].map(|side| side.map(told));
        let found = differences(
            "01",
            "2-mid",
            (Some(&theirs[0]), &theirs[1]),
            (Some(&ours[0]), &ours[1]),
        );
        found.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn joined_texts_are_taken_apart() {
        assert_eq!(
            split("One; Two; again; Three"),
            ["One", "Two; again", "Three"]
        );
        let theirs = [event("a", 1, "Step", "One"), event("b", 2, "Step", "Two")];
        let ours = [event("x", 3, "Step", "One; Two")];
        assert_eq!(between([&[], &theirs], [&[], &ours]), Vec::<String>::new());
    }

    #[test]
    fn only_what_came_up_since_counts() {
        let before = [event("a", 1, "Step", "One")];
        let again = [event("a", 2, "Step", "One")];
        assert_eq!(
            between([&before, &again], [&before, &before]),
            ["01/2-mid Events Rollout web Normal Step: One: theirs said ours -"]
        );
        assert_eq!(
            between([&before, &again], [&before, &again]),
            Vec::<String>::new()
        );
    }

    #[test]
    fn the_peer_falls_silent_after_its_burst() {
        let more = [event("x", 1, "Step", "One")];
        let few = [event("a", 1, "Other", "Two")];
        assert_eq!(between([&few, &few], [&few, &more]).len(), 1);
        let many = [event("a", 25, "Other", "Two")];
        assert_eq!(between([&many, &many], [&[], &more]), Vec::<String>::new());
    }
}
