//! Words in messages: the name that was meant, lists of names, numbers and sizes for people to read, and
//! text of others that a terminal shows and does not obey, addresses without their passwords.
//!
//! Every `did you mean …?` of the project goes through [`nearest`] or [`nearest_ends`], so that a name is near
//! another one everywhere or nowhere. What a message says around the names is its own crate's.
//!
//! ```
//! use burn_lora_text::{grouped, nearest, or, size};
//!
//! assert_eq!(nearest("rnak", ["alpha", "rank"]), Some("rank"));
//! assert_eq!(or(&["a", "b", "c"]), "`a`, `b` or `c`");
//! assert_eq!(grouped(1_234_567), "1,234,567");
//! assert_eq!(size(3 << 19), "1.5 MiB");
//! ```

mod address;
mod names;
mod near;
mod numbers;
mod terminal;

pub use address::without_passwords;
pub use names::{and, lines, listed, or};
pub use near::{nearest, nearest_ends};
pub use numbers::{grouped, part, significant, size};
pub use terminal::{printable, printable_styled};
