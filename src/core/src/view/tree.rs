//! The text of `get rollout` and `get experiment` (CLI-9, CLI-14..17, CLI-22).

use super::words::{Colour, phase_icon, pod_icon, set_icon, verdict_icon};
use super::{AnalysisRunView, ExperimentView, ImageView, JobView, ReplicaSetView, RolloutView};

/// A piece of text; with a colour it is painted where colours are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The text.
    pub text: String,
    /// Its colour.
    pub colour: Option<Colour>,
}

impl Span {
    fn plain(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            colour: None,
        }
    }

    fn painted(text: impl Into<String>, colour: Colour) -> Self {
        Self {
            text: text.into(),
            colour: Some(colour),
        }
    }

    fn icon(icon: &str) -> Self {
        Self::painted(icon, Colour::of_icon(icon))
    }
}

/// One line: cells, each of one or more pieces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Row {
    /// NAME, KIND, STATUS, AGE, INFO.
    pub cells: [Vec<Span>; 5],
}

/// What comes before a line: its own branch, and what its children continue with.
struct Branch<'a> {
    own: &'a str,
    below: &'a str,
}

const ROOT: Branch<'static> = Branch { own: "", below: "" };

/// Blanks between columns.
const GAP: usize = 2;

/// Columns of the label in the header.
const LABEL: usize = 17;

/// The whole text of `get rollout`; `paint` adds colours.
#[must_use]
pub fn render(view: &RolloutView, paint: bool) -> String {
    let mut out = header(view, paint);
    out.push('\n');
    out.push_str(&table(&rows(view), paint));
    out
}

/// The whole text of `get experiment`; `paint` adds colours.
#[must_use]
pub fn render_experiment(view: &ExperimentView, paint: bool) -> String {
    let mut lines = Lines {
        out: String::new(),
        paint,
    };
    lines.field("Name:", &view.name);
    lines.field("Namespace:", &view.namespace);
    lines.status(verdict_icon(&view.status), &view.status);
    if !view.message.is_empty() {
        lines.field("Message:", &view.message);
    }
    lines.images(&view.images);
    lines.out.push('\n');
    let mut rows = vec![title()];
    experiment_rows(view, &ROOT, &mut rows);
    lines.out.push_str(&table(&rows, paint));
    lines.out
}

/// The lines above the tree.
#[must_use]
pub fn header(view: &RolloutView, paint: bool) -> String {
    let mut lines = Lines {
        out: String::new(),
        paint,
    };
    lines.field("Name:", &view.name);
    lines.field("Namespace:", &view.namespace);
    lines.status(phase_icon(&view.phase.phase), view.phase.phase.as_str());
    if !view.phase.message.is_empty() {
        lines.field("Message:", &view.phase.message);
    }
    lines.field("Strategy:", view.strategy);
    if let Some(canary) = &view.canary {
        lines.field("  Step:", &canary.step);
        lines.field("  SetWeight:", &canary.set_weight.to_string());
        lines.field("  ActualWeight:", &canary.actual_weight.to_string());
    }
    lines.images(&view.images);
    lines.out.push_str("Replicas:\n");
    let replicas = &view.replicas;
    lines.field("  Desired:", &replicas.desired.to_string());
    lines.field("  Current:", &replicas.current.to_string());
    lines.field("  Updated:", &replicas.updated.to_string());
    lines.field("  Ready:", &replicas.ready.to_string());
    lines.field("  Available:", &replicas.available.to_string());
    lines.out
}

struct Lines {
    out: String,
    paint: bool,
}

impl Lines {
    fn field(&mut self, label: &str, value: &str) {
        self.out.push_str(&format!("{label:LABEL$}{value}\n"));
    }

    fn status(&mut self, icon: &str, word: &str) {
        let icon = text_of(&Span::icon(icon), self.paint);
        self.field("Status:", &format!("{icon} {word}"));
    }

    fn images(&mut self, images: &[ImageView]) {
        for (at, image) in images.iter().enumerate() {
            let tags: Vec<String> = image
                .tags
                .iter()
                .map(|tag| text_of(&Span::painted(&*tag.word, tag.colour()), self.paint))
                .collect();
            let tags = if tags.is_empty() {
                String::new()
            } else {
                format!(" ({})", tags.join(", "))
            };
            let label = if at == 0 { "Images:" } else { "" };
            self.field(label, &format!("{}{tags}", image.image));
        }
    }
}

/// The lines of the tree, the title line first.
#[must_use]
pub fn rows(view: &RolloutView) -> Vec<Row> {
    let icon = phase_icon(&view.phase.phase);
    let mut rows = vec![title()];
    rows.push(Row {
        cells: [
            vec![Span::plain(format!("⟳ {}", view.name))],
            vec![Span::plain("Rollout")],
            vec![
                Span::icon(icon),
                Span::plain(format!(" {}", view.phase.phase)),
            ],
            vec![Span::plain(&*view.age)],
            Vec::new(),
        ],
    });
    each(&view.revisions, &ROOT, |revision, branch| {
        let name = format!("{}# revision:{}", branch.own, revision.number);
        let mut row = Row::default();
        row.cells[0] = vec![Span::plain(name)];
        row.cells[2] = vec![Span::plain(" ")];
        rows.push(row);
        let children = revision
            .replica_sets
            .iter()
            .map(Child::Set)
            .chain(revision.experiments.iter().map(Child::Experiment))
            .chain(revision.analysis_runs.iter().map(Child::Run));
        let children: Vec<Child<'_>> = children.collect();
        each(&children, branch, |child, branch| {
            child.rows(branch, &mut rows)
        });
    });
    rows
}

enum Child<'a> {
    Set(&'a ReplicaSetView),
    Experiment(&'a ExperimentView),
    Run(&'a AnalysisRunView),
}

impl Child<'_> {
    fn rows(&self, branch: &Branch<'_>, rows: &mut Vec<Row>) {
        match self {
            Self::Set(set) => set_rows(set, branch, rows),
            Self::Experiment(experiment) => experiment_rows(experiment, branch, rows),
            Self::Run(run) => run_rows(run, branch, rows),
        }
    }
}

/// Calls `draw` for each item with the branch that leads to it.
fn each<T>(items: &[T], parent: &Branch<'_>, mut draw: impl FnMut(&T, &Branch<'_>)) {
    for (at, item) in items.iter().enumerate() {
        let last = at + 1 == items.len();
        let (own, below) = if last {
            ("└──", "   ")
        } else {
            ("├──", "│  ")
        };
        let (own, below) = (
            format!("{}{own}", parent.below),
            format!("{}{below}", parent.below),
        );
        draw(
            item,
            &Branch {
                own: &own,
                below: &below,
            },
        );
    }
}

fn title() -> Row {
    Row {
        cells: ["NAME", "KIND", "STATUS", "AGE", "INFO"].map(|text| vec![Span::plain(text)]),
    }
}

fn row(
    name: Vec<Span>,
    kind: &str,
    (icon, status): (&str, &str),
    age: &str,
    info: Vec<Vec<Span>>,
) -> Row {
    let mut parts = Vec::new();
    for part in info {
        if !parts.is_empty() {
            parts.push(Span::plain(","));
        }
        parts.extend(part);
    }
    let status = vec![Span::icon(icon), Span::plain(format!(" {status}"))];
    Row {
        cells: [
            name,
            vec![Span::plain(kind)],
            status,
            vec![Span::plain(age)],
            parts,
        ],
    }
}

fn set_rows(set: &ReplicaSetView, branch: &Branch<'_>, rows: &mut Vec<Row>) {
    let mut info: Vec<Vec<Span>> = set
        .roles
        .iter()
        .map(|role| vec![Span::painted(role.word(), role.colour())])
        .collect();
    if let Some(delay) = &set.delay {
        info.push(vec![Span::plain(format!("delay:{delay}"))]);
    }
    let name = Span {
        text: set.name.clone(),
        colour: set.roles.first().map(|role| role.colour()),
    };
    rows.push(row(
        vec![Span::plain(format!("{}⧉ ", branch.own)), name],
        "ReplicaSet",
        (set_icon(set.status), set.status),
        &set.age,
        info,
    ));
    each(&set.pods, branch, |pod, branch| {
        let mut info = vec![vec![Span::plain(format!(
            "ready:{}/{}",
            pod.ready, pod.containers
        ))]];
        if pod.restarts > 0 {
            info.push(vec![Span::plain(format!("restarts:{}", pod.restarts))]);
        }
        rows.push(row(
            vec![Span::plain(format!("{}□ {}", branch.own, pod.name))],
            "Pod",
            (pod_icon(&pod.status), &pod.status),
            &pod.age,
            info,
        ));
    });
}

fn experiment_rows(view: &ExperimentView, branch: &Branch<'_>, rows: &mut Vec<Row>) {
    rows.push(row(
        verdict_name(branch, "Σ", &view.name, &view.status),
        "Experiment",
        (verdict_icon(&view.status), &view.status),
        &view.age,
        Vec::new(),
    ));
    let sets = view.replica_sets.iter().map(Child::Set);
    let children: Vec<Child<'_>> = sets
        .chain(view.analysis_runs.iter().map(Child::Run))
        .collect();
    each(&children, branch, |child, branch| child.rows(branch, rows));
}

fn run_rows(run: &AnalysisRunView, branch: &Branch<'_>, rows: &mut Vec<Row>) {
    let counts = ["✔", "✖", "?", "⚠"].into_iter().zip(run.counts);
    let info = counts
        .filter(|(_, count)| *count > 0)
        .map(|(icon, count)| vec![Span::icon(icon), Span::plain(format!(" {count}"))])
        .collect();
    rows.push(row(
        verdict_name(branch, "α", &run.name, &run.status),
        "AnalysisRun",
        (verdict_icon(&run.status), &run.status),
        &run.age,
        info,
    ));
    each(&run.jobs, branch, |job: &JobView, branch| {
        rows.push(row(
            verdict_name(branch, "⊞", &job.name, &job.status),
            "Job",
            (verdict_icon(&job.status), &job.status),
            &job.age,
            Vec::new(),
        ));
    });
}

fn verdict_name(branch: &Branch<'_>, icon: &str, name: &str, status: &str) -> Vec<Span> {
    vec![
        Span::plain(format!("{}{icon} ", branch.own)),
        Span::painted(name, Colour::of_name(status)),
    ]
}

fn text_of(span: &Span, paint: bool) -> String {
    match span.colour.filter(|_| paint) {
        Some(colour) => colour.paint(&span.text),
        None => span.text.clone(),
    }
}

/// Aligns the lines: every column as wide as its widest cell, the last one as it is. Every
/// character takes one column: names are ASCII, and so wide are the icons.
#[must_use]
pub fn table(rows: &[Row], paint: bool) -> String {
    let width = |cell: &[Span]| {
        cell.iter()
            .map(|span| span.text.chars().count())
            .sum::<usize>()
    };
    let mut widths = [0; 5];
    for row in rows {
        for (widest, cell) in widths.iter_mut().zip(&row.cells) {
            *widest = (*widest).max(width(cell));
        }
    }
    let mut out = String::new();
    for row in rows {
        for (at, (cell, widest)) in row.cells.iter().zip(widths).enumerate() {
            for span in cell {
                out.push_str(&text_of(span, paint));
            }
            if at + 1 < row.cells.len() {
                out.push_str(&" ".repeat(widest - width(cell) + GAP));
            }
        }
        out.push('\n');
    }
    out
}
