//! What cannot be done in a chat.

use super::input::Help;

/// Why a line does nothing.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ChatError {
    /// A line that begins with a slash and is no command.
    #[error(
        "there is no command `/{command}` (a message that begins with a slash is written with two): {}",
        hint(nearest.as_deref(), "/", "try", &Help::ALL.map(|help| help.name))
    )]
    UnknownCommand {
        /// What was written, without the slash.
        command: String,
        /// The command nearest to it.
        nearest: Option<String>,
    },
    /// A command without what it needs.
    #[error("`/{command}` needs {needed}: write `{usage}`")]
    MissingArgument {
        /// The command, without the slash.
        command: &'static str,
        /// What it needs.
        needed: &'static str,
        /// How it is written.
        usage: &'static str,
    },
    /// A command with more than it takes.
    #[error(
        "`/{command}` takes nothing after it, and there is `{found}`: write `/{command}` alone"
    )]
    SurplusArgument {
        /// The command, without the slash.
        command: &'static str,
        /// What stands after it.
        found: String,
    },
    /// A scale that is none.
    #[error(
        "`{found}` is no scale: allowed are numbers from 0 (the base model) over 1 (as trained) to \
         {most}, written with a point",
        most = super::input::MAX_SCALE
    )]
    BadScale {
        /// What was written.
        found: String,
    },
    /// An adapter that is not loaded.
    #[error("there is no adapter `{name}`: {}", hint(nearest.as_deref(), "", "there are", known))]
    UnknownAdapter {
        /// What was asked for.
        name: String,
        /// The name nearest to it.
        nearest: Option<String>,
        /// Every name.
        known: Vec<String>,
    },
    /// A scale without an adapter that it could be of.
    #[error(
        "the base model is active, which has no scale: choose an adapter with `/adapter NAME` first"
    )]
    NoAdapter,
    /// A question while another waits.
    #[error("the last message has no answer yet: answer it or undo it first")]
    Unanswered,
    /// An answer to nothing.
    #[error("there is no message that waits for an answer")]
    NothingAsked,
    /// What cannot be left out is too long by itself.
    #[error(
        "the system text and the last message take {tokens} tokens, and there is room for \
         {max_tokens}: shorten one of them"
    )]
    TooLong {
        /// How many they take.
        tokens: usize,
        /// How many there may be.
        max_tokens: usize,
    },
}

/// `did you mean …?`, or else what there is.
fn hint<S: AsRef<str>>(nearest: Option<&str>, slash: &str, lead: &str, all: &[S]) -> String {
    match (nearest, all) {
        (Some(name), _) => format!("did you mean `{slash}{name}`?"),
        (None, []) => "none is loaded".to_owned(),
        (None, all) => {
            let names: Vec<_> = all.iter().map(|n| format!("`{slash}{}`", n.as_ref())).collect();
            format!("{lead} {}", names.join(", "))
        }
    }
}
