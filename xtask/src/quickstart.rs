//! `cargo xtask quickstart`: makes what the quickstart learns from, the sentences with their tool
//! calls and the tokenizer; and makes what the trainer pre-trained small enough to ship.
//!
//! ```text
//! cargo xtask quickstart data         # datasets/quickstart/{train,eval}.jsonl and pretrain/
//! cargo xtask quickstart tokenizer    # datasets/quickstart/model/tokenizer*.json
//! cargo xtask quickstart model        # datasets/quickstart/model/model.safetensors
//! ```
//!
//! The first two are functions of the grammar in `datasets/quickstart/grammar/` and of a seed: the same
//! command writes the same bytes. Training is the trainer's, with `configs/pretrain-quickstart.toml`.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

mod data;
mod grammar;
mod model;
mod row;
mod sets;
mod tokenizer;

/// What to make.
#[derive(Debug, Subcommand)]
pub enum Quickstart {
    /// Writes the rows: for the pre-training, for the fine-tuning, and those held out from each.
    Data(DataArgs),
    /// Trains the tokenizer on the pre-training rows and writes its files.
    Tokenizer(TokenizerArgs),
    /// Writes the weights of a pre-training run in half precision.
    Model(ModelArgs),
}

/// Arguments of `quickstart data`.
#[derive(Debug, Args)]
pub struct DataArgs {
    /// Folder to write to.
    #[arg(long, default_value = "datasets/quickstart")]
    out: PathBuf,
    /// Seed of the draw.
    #[arg(long, default_value_t = sets::SEED)]
    seed: u64,
}

/// Arguments of `quickstart tokenizer`.
#[derive(Debug, Args)]
pub struct TokenizerArgs {
    /// Folder to write to.
    #[arg(long, default_value = "datasets/quickstart/model")]
    out: PathBuf,
    /// Seed of the rows that it is trained on.
    #[arg(long, default_value_t = sets::SEED)]
    seed: u64,
    /// Number of tokens, the special ones and the 256 bytes among them.
    #[arg(long, default_value_t = tokenizer::VOCABULARY)]
    vocabulary: usize,
}

/// Arguments of `quickstart model`.
#[derive(Debug, Args)]
pub struct ModelArgs {
    /// Folder of the pre-trained model.
    #[arg(long, default_value = "runs/pretrain-quickstart/model")]
    from: PathBuf,
    /// Folder to write to.
    #[arg(long, default_value = "datasets/quickstart/model")]
    out: PathBuf,
}

/// Why the quickstart's files could not be made.
#[derive(Debug, thiserror::Error)]
pub enum QuickstartError {
    /// A grammar file does not parse.
    #[error(transparent)]
    Grammar(#[from] grammar::GrammarError),
    /// The grammar has too few different calls for the rows that were asked of it.
    #[error("drew {drawn} different rows of {wanted}: the grammar has no more; widen its rules")]
    Exhausted {
        /// Rows found until then.
        drawn: usize,
        /// Rows asked for.
        wanted: usize,
    },
    /// The tokenizer could not be trained or serialised.
    #[error("cannot make the tokenizer: {0}")]
    Tokenizer(#[from] tokenizers::Error),
    /// A file could not be read.
    #[error(
        "cannot read {path}: {source}; run `cargo run --release -- train configs/pretrain-quickstart.toml` first"
    )]
    Read {
        /// The file that was to be read.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The weights are no safetensors file, or not what a pre-training leaves.
    #[error("cannot convert {path}: {reason}")]
    Weights {
        /// The file of the weights.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file could not be written.
    #[error("{0}; check that the folder is there and may be written to")]
    Write(#[from] burn_lora_files::IoError),
}

/// Runs one of the verbs and prints what it wrote.
pub fn run(verb: &Quickstart) -> Result<(), QuickstartError> {
    match verb {
        Quickstart::Data(args) => data::run(&args.out, args.seed),
        Quickstart::Tokenizer(args) => tokenizer::run(&args.out, args.seed, args.vocabulary),
        Quickstart::Model(args) => model::run(&args.from, &args.out),
    }
}

/// Writes a file, and says so.
fn write(path: &Path, bytes: &[u8]) -> Result<(), QuickstartError> {
    burn_lora_files::write(path, bytes)?;
    println!("wrote {} ({} KiB)", path.display(), bytes.len().div_ceil(1024));
    Ok(())
}
