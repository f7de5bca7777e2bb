//! Which answers of a conversation are learned, and in how many rows.

use burn_lora_models::conversation::Message;

/// Which answers of a conversation are learned. Those that a `weight` of 0 or `train: false` takes out never are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Answers {
    /// All, in one example.
    #[default]
    All,
    /// The last one.
    Last,
    /// Each in an example of its own, which ends with it. What templates of reasoning models leave out of earlier turns is learned where
    /// it stands.
    Each,
}

impl Answers {
    /// Every choice.
    pub const ALL: [Self; 3] = [Self::All, Self::Last, Self::Each];

    /// The name in configurations.
    pub fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Last => "last",
            Self::Each => "each",
        }
    }

    /// The beginnings of a conversation that become an example each, up to an answer; none where the whole of it becomes one.
    pub(crate) fn beginnings(self, messages: &[Message]) -> Option<Vec<&[Message]>> {
        let learned = (0..messages.len()).filter(|at| messages[*at].is_learned());
        let beginning = |at: usize| &messages[..=at];
        match self {
            Self::All => None,
            Self::Last => Some(learned.last().into_iter().map(beginning).collect()),
            Self::Each => Some(learned.map(beginning).collect()),
        }
    }
}
