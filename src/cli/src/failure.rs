//! How a verb fails: one line on stderr, or none when everything has been said.

/// The failure of a verb.
#[derive(Debug)]
pub enum Failure {
    /// Prints `Error: <text>`.
    Error(anyhow::Error),
    /// The verb has printed all there is to say; only the exit code is left.
    Silent,
    /// As [`Self::Silent`], with an exit code of the verb's own.
    Code(u8),
}

impl Failure {
    /// The text after `Error: `, causes included. API messages pass verbatim (CLI-3).
    #[must_use]
    pub fn text(&self) -> Option<String> {
        let Self::Error(error) = self else {
            return None;
        };
        if let Some(kube::Error::Api(status)) = error.downcast_ref::<kube::Error>() {
            return Some(status.message.clone());
        }
        Some(format!("{error:#}"))
    }

    /// A failure with this text.
    pub fn message(text: impl std::fmt::Display) -> Self {
        Self::Error(anyhow::anyhow!("{text}"))
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Error(error.into())
    }
}
