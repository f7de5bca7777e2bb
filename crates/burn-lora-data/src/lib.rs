//! From data files to the batches of a step.
//!
//! ```text
//! file --RowFile::read--> rows --token_examples / label_examples--> examples + DataReport
//! examples --pack--> packs, where short rows are to share one
//! (seed, step) --Sampler--> row numbers --TokenBatch / LabelBatch--> a padded batch
//! ```
//!
//! - [`RowFile`]: the rows of a JSON Lines, JSON, CSV or Parquet file, all of one [`Format`], found
//!   from the keys of the first row or named. Broken rows are reported with file and line.
//!   [`RowFile::hold_out`] divides them into rows to train and to evaluate on.
//! - [`token_examples`] and [`label_examples`]: rows as token ids with what is to be predicted;
//!   prompts carry no loss. What becomes of rows that are too long, [`OverLong`] says. [`prompts`]:
//!   what to generate from, and the text to expect.
//! - [`pack()`]: several short rows in one.
//! - [`Source`] and [`Part`]: several files, and how often the rows of each are in an epoch.
//! - [`Rows`]: examples with the [`Draw`] that makes them the batches of steps.
//! - [`Sampler`]: which rows a step sees, as a pure function of seed and step, so that a run goes on
//!   from its step counter alone.
//! - [`TokenBatch`] and [`LabelBatch`]: rows padded to a common width, still plain numbers.
//!
//! Nothing here knows a tensor, a device or a run's configuration. How conversations are written is
//! [`Chat`](burn_lora_models::conversation::Chat)'s business. Parquet needs the cargo feature `parquet`, since its reader
//! brings a C library. Left out: compressed text files, files that are read while training rather
//! than before it, conversations and lists of references in CSV, and anything in a conversation that
//! is no text (images, tool calls).
//!
//! ```
//! use burn_lora_data::{Format, Order, Reading, RowFile, Sampler};
//!
//! let file = RowFile::parse(
//!     "{\"prompt\": \"2 + 2\", \"completion\": \"4\"}\n",
//!     "sums.jsonl".as_ref(),
//!     &Reading::default(),
//! )?;
//! assert_eq!(file.format, Format::PromptCompletion);
//!
//! let mut sampler = Sampler::new(vec![5, 2, 9], 2, 1, 0, Order::File);
//! assert_eq!(sampler.step(0), [vec![0, 1]]);
//! assert_eq!(sampler.step(1), [vec![2]]);
//! # Ok::<(), burn_lora_data::DataError>(())
//! ```

mod advice;
mod answers;
mod batch;
mod batches;
mod classes;
mod elsewhere;
mod error;
mod example;
mod format;
mod hold_out;
mod object;
mod over_long;
mod pack;
mod places;
mod problem;
mod prompts;
mod read;
mod report;
mod row;
mod row_file;
mod sampler;
pub mod show;
mod sources;

#[cfg(test)]
mod batch_tests;
#[cfg(test)]
mod file_tests;
#[cfg(test)]
mod tests;

pub use answers::Answers;
pub use batch::{LabelBatch, TokenBatch};
pub use batches::{Draw, MakeStep, Rows};
pub use classes::Classes;
pub use elsewhere::elsewhere;
pub use error::DataError;
pub use example::{LabelExample, TokenExample, Tokenization, label_examples, token_examples};
pub use format::{Format, Squad, SquadTemplate, SquadTemplateError, conversation};
pub use over_long::{Limit, LongRow, OverLong};
pub use pack::{Packed, pack, pack_by};
pub use places::Places;
pub use problem::{BrokenRow, RowProblem};
pub use prompts::{Prompt, prompts};
pub use read::NearlyJson;
pub use report::DataReport;
pub use row::{Conversation, Label, Place, PlacedRow, Row};
pub use row_file::{Portion, Reading, RowFile};
pub use sampler::{Order, Sampler};
pub use sources::{Part, Source, epoch_rows};
