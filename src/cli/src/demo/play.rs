//! The story itself: what happens, and when, in the order in which one would tell it.

use std::cell::RefCell;
use std::fmt;
use std::time::Duration;

use anyhow::Result;

use super::own;
use super::stage::Stage;
use super::story::Script;
use crate::verbs::set_image;
use crate::world::scene::Act;

/// Time to read a sentence.
const READING: Duration = Duration::from_secs(2);

/// Time in which a person decides to promote.
const THINKING: Duration = Duration::from_secs(4);

/// Time between a command that is told and what it does.
const TYPING: Duration = Duration::from_millis(500);

/// Something that was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// A sentence.
    Said(String),
    /// A command that was run, as one would type it.
    Typed(String),
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Said(text) => f.write_str(text),
            Self::Typed(command) => write!(f, "$ {command}"),
        }
    }
}

/// Everything that was told so far.
#[derive(Debug, Default)]
pub(super) struct Tale(RefCell<Vec<Told>>);

impl Tale {
    /// Says a sentence.
    pub(super) fn say(&self, text: impl Into<String>) {
        self.0.borrow_mut().push(Told::Said(text.into()));
    }

    fn typed(&self, verb: impl fmt::Display) {
        let command = format!("{} {verb}", own::call().name);
        self.0.borrow_mut().push(Told::Typed(command));
    }

    /// A copy.
    pub(super) fn told(&self) -> Vec<Told> {
        self.0.borrow().clone()
    }
}

/// How a story ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// As it should.
    Good,
    /// Otherwise, and how.
    Bad(String),
}

/// Plays it.
///
/// # Errors
/// When the API server refuses what the story does.
pub(super) async fn play(stage: &Stage, script: &Script, tale: &Tale) -> Result<End> {
    let count = stage.apply(script)?;
    tale.say(format!(
        "{count} objects are applied, the first version starts."
    ));
    let look = || stage.look(script);
    while look().act != Act::Rest {
        tokio::time::sleep(LOOK).await;
    }
    tale.say("The first version is healthy and gets all requests.");
    tokio::time::sleep(READING).await;
    tale.say(script.update);
    let argument = format!("{}={}", script.rollout, script.image);
    tale.typed(format_args!("set image {} {argument}", script.rollout));
    tokio::time::sleep(TYPING).await;
    set_image::change(&stage.world.session, script.rollout, &[argument])
        .await
        .map_err(|failure| anyhow::anyhow!(failure.text().unwrap_or_default()))?;
    let end = update(stage, script, tale).await?;
    match &end {
        End::Good => tale.say(script.moral),
        End::Bad(how) => tale.say(format!("The story ended differently: {how}")),
    }
    Ok(end)
}

/// How often the story looks whether it can go on, on the cluster's clock.
const LOOK: Duration = Duration::from_millis(100);

/// From the new image to the end.
async fn update(stage: &Stage, script: &Script, tale: &Tale) -> Result<End> {
    let mut asked = false;
    let mut unanswered: f64 = 0.0;
    loop {
        tokio::time::sleep(LOOK).await;
        let scene = stage.look(script);
        unanswered = unanswered.max(scene.lost);
        let promoted = scene.serving() == Some(script.image);
        let good = match scene.act {
            Act::Moving => continue,
            Act::Rest if !promoted => continue,
            Act::Asking if script.promotes && !asked => {
                asked = true;
                tale.say(
                    "It waits for a person. Meanwhile the preview Service shows the new version.",
                );
                tokio::time::sleep(THINKING).await;
                tale.typed(format_args!("promote {}", script.rollout));
                tokio::time::sleep(TYPING).await;
                stage.world.promote().await?;
                continue;
            }
            Act::Asking => continue,
            Act::Rest => script.succeeds,
            Act::Aborted => !script.succeeds,
        };
        if unanswered > 0.0 {
            let percent = unanswered * 100.0;
            let how = format!("{percent:.0} % of the requests had no answer for a while.");
            return Ok(End::Bad(how));
        }
        if !good {
            let how = format!("{} {}", scene.health.word, scene.message);
            return Ok(End::Bad(how.trim().to_owned()));
        }
        return Ok(End::Good);
    }
}
