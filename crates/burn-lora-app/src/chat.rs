//! A chat with a model: what a line means, what was said, and the answer as it comes.
//!
//! No terminal and no model is known here. The caller reads lines, does what a [`Change`] says, writes
//! the [`messages`](Session::messages) as the model wants them, and feeds a [`Stream`] with the
//! tokens of the answer.
//!
//! ```
//! use burn_lora_app::chat::{Change, Command, Input, Session};
//!
//! let known = ["pirate", "poet"];
//! let mut session = Session::new(None);
//! let Input::Command(command) = Input::parse("/adapter pirate")? else { unreachable!() };
//! assert_eq!(
//!     session.apply(command, &known)?,
//!     Change::Switch { adapter: Some("pirate".to_owned()), scale: 1.0 }
//! );
//! let Input::Message(text) = Input::parse("Where is the gold?")? else { unreachable!() };
//! session.ask(text)?;
//! session.fit(4096, &|messages| messages.iter().map(|m| m.content().map_or(0, str::len)).sum())?;
//! session.answer("Arr.")?;
//! assert_eq!(session.messages().len(), 2);
//! # Ok::<(), burn_lora_app::chat::ChatError>(())
//! ```
//!
//! Left out: several adapters at once, the saving of conversations.

mod error;
mod input;
mod session;
mod stream;

#[cfg(test)]
mod tests;

pub use error::ChatError;
pub use input::{Command, Help, Input};
pub use session::{Change, Session};
pub use stream::Stream;
