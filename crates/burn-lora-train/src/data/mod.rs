//! From a JSON Lines file to the batches of a step.
//!
//! ```text
//! file --RowFile::read--> rows --token_examples / label_examples--> examples + DataReport
//! (seed, step) --Sampler--> row numbers --TokenBatch / LabelBatch--> a padded batch
//! ```
//!
//! - [`RowFile`]: the rows of a file, all of one [`Format`], found from the keys of the first row or
//!   named. Broken rows are reported with file and line.
//! - [`token_examples`] and [`label_examples`]: rows as token ids with what is to be predicted;
//!   prompts carry no loss. [`prompts`]: what to generate from, and the text to expect.
//! - [`Sampler`]: which rows a step sees, as a pure function of seed and step, so that a run goes on
//!   from its step counter alone.
//! - [`TokenBatch`] and [`LabelBatch`]: rows padded to a common width, still plain numbers.
//!
//! Nothing here knows a tensor, a device or a tokenizer library ([`Encode`] is what is asked of a
//! tokenizer). Packing several rows into one and chat templates other than ChatML are left out.
//!
//! ```
//! use burn_lora_train::data::{Format, Order, RowFile, Sampler};
//!
//! let file = RowFile::parse(
//!     "{\"prompt\": \"2 + 2\", \"completion\": \"4\"}\n",
//!     "sums.jsonl".as_ref(),
//!     None,
//!     None,
//! )?;
//! assert_eq!(file.format, Format::PromptCompletion);
//!
//! let mut sampler = Sampler::new(vec![5, 2, 9], 2, 1, 0, Order::File);
//! assert_eq!(sampler.step(0), [vec![0, 1]]);
//! assert_eq!(sampler.step(1), [vec![2]]);
//! # Ok::<(), burn_lora_train::data::DataError>(())
//! ```

mod batch;
mod chat;
mod classes;
mod error;
mod example;
mod report;
mod row;
mod rows;
mod sampler;
mod tokenizer;

#[cfg(test)]
mod tests;

pub use batch::{LabelBatch, TokenBatch};
pub use classes::Classes;
pub use error::{BrokenRow, DataError, RowProblem};
pub use example::{
    LabelExample, Prompt, TokenExample, Tokenization, label_examples, prompts, token_examples,
};
pub use report::DataReport;
pub use row::{Format, Label, Message, Row};
pub use rows::{NumberedRow, RowFile};
pub use sampler::{Order, Sampler};
pub use tokenizer::{Cut, Encode, EncodeError};
