//! What an update changes: the images of containers.

use anyhow::{Result, anyhow, bail};
use serde::Serialize;
use serde_json::Value;

use crate::manifests::text;

/// The image of one container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Image {
    /// The container.
    pub(super) container: String,
    /// Its image in the files.
    pub(super) from: String,
    /// Its image after the update.
    pub(super) to: String,
}

/// All that change; the first one is what versions are told apart by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Images {
    /// The first.
    pub(super) first: Image,
    /// The others.
    pub(super) others: Vec<Image>,
}

impl Images {
    /// From a pod template and what was written, `IMAGE` or `CONTAINER=IMAGE` each; without any,
    /// the first container gets another tag.
    ///
    /// # Errors
    /// What is wrong with what was written, and what there is.
    pub(super) fn read(template: &Value, written: &[String]) -> Result<Self> {
        let containers = template
            .pointer("/spec/containers")
            .and_then(Value::as_array);
        let containers: Vec<(&str, &str)> = containers
            .into_iter()
            .flatten()
            .map(|container| (text(container, "/name"), text(container, "/image")))
            .collect();
        let Some(&(container, from)) = containers.first() else {
            bail!("the pod template has no containers");
        };
        let mut images: Vec<Image> = Vec::new();
        for one in written {
            let image = one_image(&containers, one)?;
            if images
                .iter()
                .any(|other| other.container == image.container)
            {
                bail!("--image: {} is given twice", image.container);
            }
            images.push(image);
        }
        let mut images = images.into_iter();
        let first = images.next().unwrap_or_else(|| Image {
            container: container.to_owned(),
            from: from.to_owned(),
            to: another(from),
        });
        Ok(Self {
            first,
            others: images.collect(),
        })
    }

    /// `web:v2 serves all requests`: what serves, by the image of the first container in it, with
    /// the images of all others that change.
    pub(super) fn serving(&self, image: &str) -> String {
        let all: Vec<&str> = if image == self.first.to {
            self.iter().map(|image| image.to.as_str()).collect()
        } else if image == self.first.from {
            self.iter().map(|image| image.from.as_str()).collect()
        } else {
            vec![image]
        };
        let verb = if all.len() == 1 { "serves" } else { "serve" };
        format!("{} {verb} all requests", listed(&all))
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Image> {
        std::iter::once(&self.first).chain(&self.others)
    }
}

impl Image {
    /// As `set image` takes it.
    pub(super) fn argument(&self) -> String {
        format!("{}={}", self.container, self.to)
    }
}

/// `a`, `a and b`, `a, b and c`.
fn listed(all: &[&str]) -> String {
    match all {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [others @ .., last] => format!("{} and {last}", others.join(", ")),
    }
}

fn one_image(containers: &[(&str, &str)], written: &str) -> Result<Image> {
    let names: Vec<&str> = containers.iter().map(|(name, _)| *name).collect();
    let names = names.join(", ");
    let (container, to) = match written.split_once('=') {
        Some((container, image)) => (Some(container), image),
        None => (None, written),
    };
    let (container, from) = match (container, containers) {
        (Some(wanted), all) => *all
            .iter()
            .find(|(name, _)| *name == wanted)
            .ok_or_else(|| anyhow!("--image: no container {wanted:?}; there are {names}"))?,
        (None, [one]) => *one,
        (None, _) => bail!("--image: which container? write CONTAINER=IMAGE, one of {names}"),
    };
    if to.is_empty() {
        bail!("--image: an image is needed, such as {container}=web:v2");
    }
    if to == from {
        bail!("--image: {from} is the image in the files already; there is nothing to update");
    }
    Ok(Image {
        container: container.to_owned(),
        from: from.to_owned(),
        to: to.to_owned(),
    })
}

/// The same image with a tag that it does not have yet.
fn another(image: &str) -> String {
    let bare = image.split('@').next().unwrap_or(image);
    let slash = bare.rfind('/').map_or(0, |at| at + 1);
    let (path, name) = bare.split_at(slash);
    let (name, tag) = name.split_once(':').unwrap_or((name, "latest"));
    format!("{path}{name}:{tag}-next")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn images_get_another_tag() {
        for (image, wanted) in [
            ("web:v1", "web:v1-next"),
            (
                "registry:5000/team/web",
                "registry:5000/team/web:latest-next",
            ),
            ("web@sha256:00", "web:latest-next"),
        ] {
            assert_eq!(another(image), wanted);
        }
    }

    /// All that changes is named, not only what versions are told apart by.
    #[test]
    fn all_images_of_a_version_are_named() {
        let image = |container: &str| Image {
            container: container.to_owned(),
            from: format!("{container}:v1"),
            to: format!("{container}:v2"),
        };
        let mut images = Images {
            first: image("web"),
            others: Vec::new(),
        };
        assert_eq!(images.serving("web:v2"), "web:v2 serves all requests");
        images.others.extend([image("proxy"), image("job")]);
        for (serving, wanted) in [
            ("web:v2", "web:v2, proxy:v2 and job:v2 serve all requests"),
            ("web:v1", "web:v1, proxy:v1 and job:v1 serve all requests"),
            ("web:v0", "web:v0 serves all requests"),
        ] {
            assert_eq!(images.serving(serving), wanted);
        }
    }

    #[test]
    fn several_containers_need_names() {
        let template = json!({"spec": {"containers": [
            {"name": "web", "image": "web:v1"}, {"name": "proxy", "image": "proxy:v1"}]}});
        let read = |written: &[&str]| {
            let written: Vec<String> = written.iter().map(|&one| one.to_owned()).collect();
            let images = Images::read(&template, &written).map_err(|error| error.to_string())?;
            Ok::<_, String>(images.iter().map(Image::argument).collect::<Vec<_>>())
        };
        assert_eq!(
            read(&["proxy=proxy:v2", "web=web:v2"]).unwrap(),
            ["proxy=proxy:v2", "web=web:v2"]
        );
        assert_eq!(read(&[]).unwrap(), ["web=web:v1-next"]);
        for (written, wanted) in [
            (
                vec!["web:v2"],
                "which container? write CONTAINER=IMAGE, one of web, proxy",
            ),
            (vec!["web=web:v2", "web=web:v3"], "web is given twice"),
            (
                vec!["job=job:v2"],
                "no container \"job\"; there are web, proxy",
            ),
            (vec!["web="], "an image is needed, such as web=web:v2"),
            (
                vec!["web=web:v1"],
                "web:v1 is the image in the files already",
            ),
        ] {
            let error = read(&written).unwrap_err();
            assert!(error.contains(wanted), "{error}");
        }
    }
}
