//! Icons, roles and colours (CLI-12, CLI-17, CLI-20).

use sluice_crds::rollout::RolloutPhase;

/// Colour of a text on a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// Undecided, or a canary.
    Yellow,
    /// Under way.
    Blue,
    /// Broken.
    Red,
    /// Good.
    Green,
    /// None in particular; the peer sends a reset all the same.
    Plain,
}

impl Colour {
    /// Number in the escape sequence `ESC[<n>m`.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Yellow => 33,
            Self::Blue => 94,
            Self::Red => 31,
            Self::Green => 32,
            Self::Plain => 0,
        }
    }

    /// Colour of an icon.
    #[must_use]
    pub fn of_icon(icon: &str) -> Self {
        match icon {
            "◷" | "?" => Self::Yellow,
            "◌" => Self::Blue,
            "⚠" | "✖" => Self::Red,
            "✔" => Self::Green,
            _ => Self::Plain,
        }
    }

    /// Colour of the name of a run, an Experiment or a Job.
    #[must_use]
    pub fn of_name(status: &str) -> Self {
        if matches!(status, "Pending" | "Running") {
            Self::Blue
        } else {
            Self::Plain
        }
    }

    /// The text between the sequences that switch the colour on and off.
    #[must_use]
    pub fn paint(self, text: &str) -> String {
        format!("\u{1b}[{}m{text}\u{1b}[0m", self.code())
    }
}

/// What a ReplicaSet is to its Rollout. In the order in which roles are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// The new version of a canary.
    Canary,
    /// The version that is fallen back to.
    Stable,
    /// Behind the active Service.
    Active,
    /// Behind the preview Service.
    Preview,
    /// Behind the ping Service.
    Ping,
    /// Behind the pong Service.
    Pong,
}

impl Role {
    /// The word on the screen.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Canary => "canary",
            Self::Stable => "stable",
            Self::Active => "active",
            Self::Preview => "preview",
            Self::Ping => "ping",
            Self::Pong => "pong",
        }
    }

    /// Its colour.
    #[must_use]
    pub fn colour(self) -> Colour {
        match self {
            Self::Canary => Colour::Yellow,
            Self::Stable | Self::Active => Colour::Green,
            Self::Preview | Self::Ping | Self::Pong => Colour::Blue,
        }
    }
}

/// What is told about an image.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tag {
    /// The word on the screen: a role, or `Σ:<template>` of an Experiment.
    pub word: String,
    /// The role, unless it belongs to an Experiment.
    pub role: Option<Role>,
}

impl Tag {
    /// A role.
    #[must_use]
    pub fn role(role: Role) -> Self {
        Self {
            word: role.word().to_owned(),
            role: Some(role),
        }
    }

    /// A template of an Experiment.
    #[must_use]
    pub fn template(name: &str) -> Self {
        Self {
            word: format!("Σ:{name}"),
            role: None,
        }
    }

    /// Its colour.
    #[must_use]
    pub fn colour(&self) -> Colour {
        self.role.map_or(Colour::Plain, Role::colour)
    }
}

/// Icon of a Rollout's phase.
#[must_use]
pub fn phase_icon(phase: &RolloutPhase) -> &'static str {
    match phase {
        RolloutPhase::Progressing => "◌",
        RolloutPhase::Paused => "॥",
        RolloutPhase::Healthy => "✔",
        RolloutPhase::Degraded => "✖",
        RolloutPhase::Unset => " ",
        RolloutPhase::Other(word) => match &**word {
            "Unknown" => "?",
            "ScaledDown" => "•",
            "Error" | "InvalidSpec" => "⚠",
            _ => " ",
        },
    }
}

/// Icon of the status of a ReplicaSet.
#[must_use]
pub fn set_icon(status: &str) -> &'static str {
    match status {
        "Progressing" => "◌",
        "Healthy" => "✔",
        "ReplicaFailure" => "✖",
        "ScaledDown" => "•",
        _ => " ",
    }
}

/// Icon of the status of a run, an Experiment or a Job.
#[must_use]
pub fn verdict_icon(status: &str) -> &'static str {
    match status {
        "Successful" => "✔",
        "Inconclusive" => "?",
        "Failed" => "✖",
        "Error" => "⚠",
        "Running" => "◌",
        "Pending" => "◷",
        _ => " ",
    }
}

/// Icon of the status of a pod (CLI-19).
#[must_use]
pub fn pod_icon(status: &str) -> &'static str {
    match status {
        "Pending" | "Terminating" | "ContainerCreating" => "◌",
        "Running" | "Completed" => "✔",
        "Failed" | "InvalidImageName" | "CrashLoopBackOff" => "✖",
        "ImagePullBackOff" | "RegistryUnavailable" => "⚠",
        "Unknown" => "?",
        _ if status.starts_with("Init:") => "◌",
        _ if status.starts_with("Signal:") || status.starts_with("ExitCode:") => "✖",
        _ if status.ends_with("Error") || status.starts_with("Err") => "⚠",
        _ => " ",
    }
}
