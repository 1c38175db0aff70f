//! Which images run, and as what (CLI-11).

use std::collections::BTreeMap;

use super::sets::ReplicaSetView;
use super::words::Tag;

/// An image that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageView {
    /// The image.
    pub image: String,
    /// What it runs as; empty for a version that waits for its end.
    pub tags: Vec<Tag>,
}

/// The images of the ReplicaSets that have pods, sorted. An image of several ReplicaSets gets the
/// tags of all, by word.
pub(super) fn merge<'a>(sets: impl IntoIterator<Item = &'a ReplicaSetView>) -> Vec<ImageView> {
    let mut images = BTreeMap::<&str, Vec<Tag>>::new();
    for set in sets.into_iter().filter(|set| set.current > 0) {
        for image in &set.images {
            let Some(tags) = images.get_mut(image.as_str()) else {
                images.insert(image, set.tags());
                continue;
            };
            let added: Vec<Tag> = set
                .tags()
                .into_iter()
                .filter(|tag| !tags.contains(tag))
                .collect();
            if !added.is_empty() {
                tags.extend(added);
                tags.sort();
            }
        }
    }
    images
        .into_iter()
        .map(|(image, tags)| ImageView {
            image: image.to_owned(),
            tags,
        })
        .collect()
}
