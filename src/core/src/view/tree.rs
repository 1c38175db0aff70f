//! The text of `get rollout` and `get experiment`, byte for byte what people and scripts are used to
//! (CLI-9, CLI-14, CLI-15, CLI-20, CLI-22).

use super::images::Image;
use super::{ExperimentView, Health, Info, Kind, Node, Role, RolloutView};

/// Paints a part of the text; the plain text is `|text, _| text.to_owned()`.
pub type Paint<'a> = &'a dyn Fn(&str, Colour) -> String;

/// Colours by meaning (CLI-20).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// Waiting for something, or in between.
    Waiting,
    /// At work.
    Working,
    /// Wrong.
    Bad,
    /// Right.
    Good,
    /// Neither.
    Plain,
}

impl Colour {
    /// Of a status icon.
    #[must_use]
    pub fn of_icon(icon: char) -> Self {
        match icon {
            '◷' | '?' => Self::Waiting,
            '◌' => Self::Working,
            '⚠' | '✖' => Self::Bad,
            '✔' => Self::Good,
            _ => Self::Plain,
        }
    }

    /// Of a role of a ReplicaSet.
    #[must_use]
    pub fn of_role(role: Role) -> Self {
        match role {
            Role::Canary => Self::Waiting,
            Role::Preview | Role::Ping | Role::Pong => Self::Working,
            Role::Stable | Role::Active => Self::Good,
        }
    }
}

/// The header and the tree of a Rollout.
#[must_use]
pub fn rollout(view: &RolloutView, paint: Paint<'_>) -> String {
    let mut text = String::new();
    line(&mut text, "Name:", &view.name);
    line(&mut text, "Namespace:", &view.namespace);
    health(&mut text, &view.health, &view.message, paint);
    line(&mut text, "Strategy:", view.strategy);
    if let Some(canary) = &view.canary {
        line(&mut text, "  Step:", &canary.step);
        line(&mut text, "  SetWeight:", canary.set_weight);
        line(&mut text, "  ActualWeight:", canary.actual_weight);
    }
    images(&mut text, &view.images, paint);
    text.push_str("Replicas:\n");
    line(&mut text, "  Desired:", view.desired);
    line(&mut text, "  Current:", view.current);
    line(&mut text, "  Updated:", view.updated);
    line(&mut text, "  Ready:", view.ready);
    line(&mut text, "  Available:", view.available);
    text.push('\n');
    text.push_str(&render(&view.tree, paint));
    text
}

/// The header and the tree of an Experiment.
#[must_use]
pub fn experiment(view: &ExperimentView, paint: Paint<'_>) -> String {
    let mut text = String::new();
    line(&mut text, "Name:", &view.name);
    line(&mut text, "Namespace:", &view.namespace);
    health(&mut text, &view.health, &view.message, paint);
    images(&mut text, &view.images, paint);
    text.push('\n');
    text.push_str(&render(&view.tree, paint));
    text
}

fn line(text: &mut String, label: &str, value: impl std::fmt::Display) {
    text.push_str(&format!("{label:<17}{value}\n"));
}

fn health(text: &mut String, health: &Health, message: &str, paint: Paint<'_>) {
    let icon = paint(&health.icon.to_string(), Colour::of_icon(health.icon));
    line(text, "Status:", format_args!("{icon} {}", health.word));
    if !message.is_empty() {
        line(text, "Message:", message);
    }
}

fn images(text: &mut String, images: &[Image], paint: Paint<'_>) {
    for (index, image) in images.iter().enumerate() {
        let tags: Vec<String> = image
            .tags
            .iter()
            .map(|tag| paint(tag, Colour::of_tag(tag)))
            .collect();
        let painted = Image {
            image: image.image.clone(),
            tags,
        };
        line(text, if index == 0 { "Images:" } else { "" }, painted);
    }
}

impl Colour {
    fn of_tag(tag: &str) -> Self {
        match tag {
            "canary" => Self::Waiting,
            "preview" | "ping" | "pong" => Self::Working,
            "stable" | "active" => Self::Good,
            _ => Self::Plain,
        }
    }
}

/// A cell: what it looks like and how wide that is on the screen. All icons are one column wide.
struct Cell {
    painted: String,
    width: usize,
}

impl Cell {
    fn plain(text: impl Into<String>) -> Self {
        let painted = text.into();
        Self {
            width: painted.chars().count(),
            painted,
        }
    }
}

/// The table of a tree, header included.
#[must_use]
pub fn render(root: &Node, paint: Paint<'_>) -> String {
    let header = ["NAME", "KIND", "STATUS", "AGE", "INFO"].map(Cell::plain);
    let mut rows = vec![header];
    rows_of(root, "", "", paint, &mut rows);
    let mut widths = [0; 5];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.width);
        }
    }
    let mut text = String::new();
    for row in &rows {
        let last = row.len() - 1;
        for (index, (cell, width)) in row.iter().zip(widths).enumerate() {
            text.push_str(&cell.painted);
            if index < last {
                text.extend(std::iter::repeat_n(' ', width - cell.width + 2));
            }
        }
        text.push('\n');
    }
    text
}

/// `here` stands before this row's icon, `below` before what is drawn under it.
fn rows_of(node: &Node, here: &str, below: &str, paint: Paint<'_>, rows: &mut Vec<[Cell; 5]>) {
    let plain = format!("{here}{} {}", node.kind.icon(), node.name);
    let name = paint(&node.name, name_colour(node));
    let status = match &node.health {
        None => Cell::plain(" "),
        Some(health) => Cell {
            width: health.word.chars().count() + 2,
            painted: format!(
                "{} {}",
                paint(&health.icon.to_string(), Colour::of_icon(health.icon)),
                health.word
            ),
        },
    };
    let info: Vec<String> = node
        .info
        .iter()
        .map(|info| match info {
            Info::Role(role) => paint(role.word(), Colour::of_role(*role)),
            Info::Text(text) => text.clone(),
        })
        .collect();
    rows.push([
        Cell {
            width: plain.chars().count(),
            painted: format!("{here}{} {name}", node.kind.icon()),
        },
        Cell::plain(node.kind.word()),
        status,
        Cell::plain(node.age.clone()),
        Cell::plain(info.join(",")),
    ]);
    let last = node.children.len().saturating_sub(1);
    for (index, child) in node.children.iter().enumerate() {
        let (branch, bar) = if index == last {
            ("└──", "   ")
        } else {
            ("├──", "│  ")
        };
        rows_of(
            child,
            &format!("{below}{branch}"),
            &format!("{below}{bar}"),
            paint,
            rows,
        );
    }
}

/// A ReplicaSet takes the colour of its first role; runs, experiments and jobs that are at work are
/// marked by theirs.
fn name_colour(node: &Node) -> Colour {
    match node.kind {
        Kind::ReplicaSet => node
            .info
            .iter()
            .find_map(|info| match info {
                Info::Role(role) => Some(Colour::of_role(*role)),
                Info::Text(_) => None,
            })
            .unwrap_or(Colour::Plain),
        Kind::AnalysisRun | Kind::Experiment | Kind::Job => {
            let word = node
                .health
                .as_ref()
                .map_or("", |health| health.word.as_str());
            if matches!(word, "Pending" | "Running") {
                Colour::Working
            } else {
                Colour::Plain
            }
        }
        Kind::Rollout | Kind::Revision | Kind::Pod => Colour::Plain,
    }
}
