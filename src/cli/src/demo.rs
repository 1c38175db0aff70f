//! `demo`: a rollout on a cluster inside this process.
//!
//! | module | what |
//! |---|---|
//! | [`story`] | what is applied, what happens, how it should end |
//! | [`stage`] | cluster, node, Prometheus, controller |
//! | [`play`] | the story as it happens |
//! | [`own`] | how this program is called from another terminal |
//! | [`screen`], [`timeline`] | how a scene looks on a terminal, and in a pipe |
//! | [`time`] | a clock that can be faster than real time |

mod own;
mod play;
mod screen;
mod stage;
mod story;
mod time;
mod timeline;

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use futures::future::OptionFuture;
use tokio::signal::unix::{SignalKind, signal};

use self::play::{End, Tale, Told};
use self::screen::{Frame, Screen};
use self::stage::Stage;
use self::story::Script;
use self::time::Pace;
use self::timeline::Timeline;
use crate::args::Demo;
use crate::failure::Failure;
use crate::output;
use crate::tree::Brush;
use crate::world::scene::Scene;

/// Speeds that make sense: slower is never watched, faster outruns the sockets.
const SPEEDS: std::ops::RangeInclusive<f64> = 0.1..=100.0;

/// How often a screen may change, in real time.
const GLANCE: Duration = Duration::from_millis(60);

/// How exact a timeline is, on the cluster's clock.
const GRAIN: Duration = Duration::from_millis(100);

/// A story with `--until-done` that has not ended after both of these has failed.
const LONGEST: Duration = Duration::from_secs(300);
const LONGEST_REAL: Duration = Duration::from_secs(120);

/// Plays a story.
///
/// # Errors
/// When the story does not end as it should.
pub fn run(options: &Demo) -> Result<(), Failure> {
    if !SPEEDS.contains(&options.speed) {
        return Err(Failure::message(format_args!(
            "--speed {}: a number from {} to {} is needed",
            options.speed,
            SPEEDS.start(),
            SPEEDS.end()
        )));
    }
    let script = story::script(options.story);
    if !std::io::stdout().is_terminal() {
        output::line(script.title);
    }
    output::line("A cluster, a controller and a Prometheus start inside this process ...");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let local = tokio::task::LocalSet::new();
    let played = local.block_on(&runtime, perform(options, &script));
    drop(local);
    runtime.shutdown_background();
    Ok(played?)
}

/// Where a story is shown.
enum Display {
    Screen(Screen),
    Lines(Box<Timeline>),
}

impl Display {
    /// Until the next look, on the cluster's clock.
    fn rest(&self, pace: &Pace) -> Duration {
        match self {
            Self::Screen(_) => pace.scaled(GLANCE),
            Self::Lines(_) => GRAIN,
        }
    }

    fn show(&mut self, frame: &Frame, scene: &Scene, told: &[Told]) -> Result<()> {
        match self {
            Self::Screen(screen) => Ok(screen.show(frame, scene, told)?),
            Self::Lines(lines) => {
                lines.show(scene, told);
                Ok(())
            }
        }
    }
}

async fn perform(options: &Demo, script: &Script) -> Result<()> {
    let mut stop = std::pin::pin!(told_to_stop()?);
    let (pace, _pacemaker) = time::run_at(options.speed);
    let stage = Stage::build(script, options.speed > 1.0).await?;
    let frame = frame(options, script, &stage);
    let colours = output::colours(options.no_color);
    let terminal = std::io::stdout().is_terminal();
    let mut display = if terminal {
        Display::Screen(Screen::take(colours).context("the terminal")?)
    } else {
        frame.hints.iter().for_each(output::line);
        Display::Lines(Box::new(Timeline::new()))
    };
    let tale = Tale::default();
    let started = Instant::now();
    let mut story = OptionFuture::from(Some(Box::pin(play::play(&stage, script, &tale))));
    let mut end = None;
    let mut seen = None;
    loop {
        tokio::select! {
            Some(result) = &mut story => {
                story = OptionFuture::from(None);
                end = Some(result?);
                pace.slow_down();
                if !options.until_done {
                    tale.say("The cluster stays until Ctrl-C: it is yours.");
                }
            }
            () = tokio::time::sleep(display.rest(&pace)) => {}
            () = &mut stop => break,
        }
        let told = tale.told();
        // Ages and the clock change every second, everything else with an object.
        let moment = Some((
            stage.world.revision(),
            stage.world.elapsed().as_secs(),
            told.len(),
        ));
        if moment != seen {
            display.show(&frame, &stage.look(script), &told)?;
            seen = moment;
        }
        anyhow::ensure!(!stage.world.deserted(), "the controller has ended");
        if options.until_done && end.is_some() {
            break;
        }
        if options.until_done && late(&stage, started) {
            let scene = stage.look(script);
            end = Some(End::Bad(format!(
                "it is {} {} after {} s",
                scene.health.word,
                scene.message,
                stage.world.elapsed().as_secs()
            )));
            break;
        }
    }
    drop(story);
    let scene = stage.look(script);
    drop(display);
    if terminal {
        let bare = Frame {
            hints: Vec::new(),
            ..frame
        };
        let last = screen::picture(&bare, &scene, &tale.told(), Brush::new(colours));
        last.lines().for_each(output::line);
    }
    stage.close().await;
    // Whoever stays may do with the cluster as they like: that is no failure.
    match end {
        _ if !options.until_done => Ok(()),
        Some(End::Good) => Ok(()),
        Some(End::Bad(how)) => Err(anyhow!("the story did not end as it should: {how}")),
        None => Err(anyhow!("the story was stopped before its end")),
    }
}

/// Resolves at SIGINT and SIGTERM, and when the terminal is closed.
fn told_to_stop() -> std::io::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    })
}

fn late(stage: &Stage, started: Instant) -> bool {
    stage.world.elapsed() > LONGEST && started.elapsed() > LONGEST_REAL
}

/// What stays on the screen all the time.
fn frame(options: &Demo, script: &Script, stage: &Stage) -> Frame {
    let own = own::call();
    let name = script.rollout;
    let next = if script.promotes { "promote" } else { "abort" };
    let speed = if (options.speed - 1.0).abs() < f64::EPSILON {
        String::new()
    } else {
        format!("  [time runs {} times as fast]", options.speed)
    };
    let mut hints = vec![
        "Try in another terminal (Ctrl-C here ends the demo):".to_owned(),
        format!("  export KUBECONFIG={}", stage.kubeconfig().display()),
    ];
    hints.extend(own.export.map(|export| format!("  {export}")));
    let own = own.name;
    hints.extend([
        "  kubectl get rollouts --watch".to_owned(),
        format!("  {own} get rollout {name} --watch"),
        format!("  {own} explain {name}"),
        format!("  {own} {next} {name}"),
    ]);
    Frame {
        title: format!("{}{speed}", script.title),
        hints,
    }
}
