//! What a line of the user means.

use burn_lora_text::nearest;

use super::ChatError;

/// The largest scale: far more than any adapter is of use at.
pub(super) const MAX_SCALE: f64 = 100.0;

/// A line of the user.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// Nothing but white space.
    Empty,
    /// Something to say to the model.
    Message(String),
    /// Something to do.
    Command(Command),
}

/// What a user can ask for besides an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// `/adapter NAME`: answer with this adapter.
    Adapter(String),
    /// `/adapters`: list them.
    Adapters,
    /// `/base`: answer without an adapter.
    Base,
    /// `/scale NUMBER`: multiply the adapter's effect.
    Scale(f64),
    /// `/system TEXT`: set the system text; without a text, remove it.
    System(Option<String>),
    /// `/clear`: forget the conversation, but not the system text.
    Clear,
    /// `/help`: show the commands.
    Help,
    /// `/quit`: end.
    Quit,
}

/// How a command is written and what it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Help {
    /// The command without the slash.
    pub name: &'static str,
    /// The command as it is written.
    pub usage: &'static str,
    /// What it does.
    pub does: &'static str,
}

impl Help {
    /// Every command.
    pub const ALL: [Self; 8] = [
        Self { name: "adapter", usage: "/adapter NAME", does: "answer with this adapter" },
        Self { name: "adapters", usage: "/adapters", does: "list the adapters" },
        Self { name: "base", usage: "/base", does: "answer without an adapter" },
        Self {
            name: "scale",
            usage: "/scale NUMBER",
            does: "multiply the adapter's effect: 0 is the base model, 1 as trained",
        },
        Self {
            name: "system",
            usage: "/system TEXT",
            does: "set the system text; without TEXT, remove it",
        },
        Self { name: "clear", usage: "/clear", does: "forget the conversation" },
        Self { name: "help", usage: "/help", does: "show the commands" },
        Self { name: "quit", usage: "/quit", does: "end" },
    ];
}

impl Input {
    /// Reads a line, with or without its end. `//` at its start stands for a message with one slash.
    ///
    /// # Errors
    ///
    /// A command that does not exist, lacks what it needs or has too much.
    pub fn parse(line: &str) -> Result<Self, ChatError> {
        let line = line.trim_end();
        let Some(after) = line.trim_start().strip_prefix('/') else {
            return Ok(if line.is_empty() { Self::Empty } else { Self::Message(line.to_owned()) });
        };
        if after.starts_with('/') {
            return Ok(Self::Message(after.to_owned()));
        }
        let (name, argument) = after.split_once(char::is_whitespace).unwrap_or((after, ""));
        let argument = argument.trim_start();
        let Some(help) = Help::ALL.into_iter().find(|help| help.name == name) else {
            let nearest = nearest(name, Help::ALL.map(|help| help.name)).map(str::to_owned);
            return Err(ChatError::UnknownCommand { command: name.to_owned(), nearest });
        };
        let needs = |needed| match argument {
            "" => Err(ChatError::MissingArgument { command: help.name, needed, usage: help.usage }),
            argument => Ok(argument.to_owned()),
        };
        let alone = |command| match argument {
            "" => Ok(command),
            found => {
                Err(ChatError::SurplusArgument { command: help.name, found: found.to_owned() })
            }
        };
        let command = match help.name {
            "adapter" => Command::Adapter(needs("a name")?),
            "scale" => Command::Scale(scale(needs("a number")?)?),
            "system" => Command::System(Some(argument.to_owned()).filter(|text| !text.is_empty())),
            "adapters" => alone(Command::Adapters)?,
            "base" => alone(Command::Base)?,
            "clear" => alone(Command::Clear)?,
            "quit" => alone(Command::Quit)?,
            _ => alone(Command::Help)?,
        };
        Ok(Self::Command(command))
    }
}

/// A scale, or why the text is none.
fn scale(found: String) -> Result<f64, ChatError> {
    match found.parse::<f64>() {
        // Adding zero makes `-0` the zero that prints without a sign.
        Ok(scale) if (0.0..=MAX_SCALE).contains(&scale) => Ok(scale + 0.0),
        _ => Err(ChatError::BadScale { found }),
    }
}
