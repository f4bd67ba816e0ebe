//! What is wrong with a pipeline, whichever way it was written: a message, and what would mend it.
//! Where it stands is added by whoever knows: the parser a place in the file, the builder a task.

/// Something that is wrong, without its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong, a lowercase fragment.
    pub message: String,
    /// A few words to stand at the marked place.
    pub label: Option<String>,
    /// What would mend it.
    pub help: Option<String>,
}

impl Problem {
    /// A problem of which only the message is known.
    pub fn new(message: impl Into<String>) -> Problem {
        Problem { message: message.into(), label: None, help: None }
    }

    /// With what would mend it.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Problem {
        self.help = Some(help.into());
        self
    }

    pub(crate) fn label(mut self, label: impl Into<String>) -> Problem {
        self.label = Some(label.into());
        self
    }
}

impl<T: Into<String>> From<T> for Problem {
    fn from(message: T) -> Problem {
        Problem::new(message)
    }
}

/// How the author writes pipelines, so that help says what can be written there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syntax {
    /// A pipeline file.
    Toml,
    /// The builder.
    Rust,
}

impl Syntax {
    /// The name of an option: `max-running` is `max_running` in Rust.
    #[must_use]
    pub fn key(self, key: &str) -> String {
        match self {
            Syntax::Toml => key.to_owned(),
            Syntax::Rust => key.replace('-', "_"),
        }
    }

    /// What to say in the one and in the other.
    pub(crate) fn say(self, toml: impl Into<String>, rust: impl Into<String>) -> String {
        match self {
            Syntax::Toml => toml.into(),
            Syntax::Rust => rust.into(),
        }
    }
}
