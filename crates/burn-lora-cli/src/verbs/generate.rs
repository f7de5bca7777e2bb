//! `burn-lora generate MODEL --prompt TEXT`: a continuation, printed as it is written; or a file of them.

use std::io::Write;
use std::ops::ControlFlow;
use std::path::PathBuf;

use burn_lora_models::generate::Sampling;
use burn_lora_train::TrainError;
use burn_lora_train::generator::{Generator, NamedAdapter, Writing};
use burn_lora_train::prompts_file::continue_file;

use crate::terminal;

/// Continue a prompt, or every row of a file, with a finished run or with a model and an adapter
#[derive(clap::Args)]
pub struct Generate {
    /// A run directory, a model directory or .gguf file, or a model of the hub
    model: PathBuf,
    /// The text to continue
    #[arg(long, short, required_unless_present = "input")]
    prompt: Option<String>,
    /// A JSON Lines file with rows of `prompt` or `messages`; needs --output
    #[arg(long, value_name = "FILE", conflicts_with = "prompt", requires = "output")]
    input: Option<PathBuf>,
    /// Where the rows go with their continuations, as `output`
    #[arg(long, value_name = "FILE", requires = "input")]
    output: Option<PathBuf>,
    /// A PEFT adapter directory, instead of the run's
    #[arg(long)]
    adapter: Option<PathBuf>,
    /// Multiplies the adapter's scale: 0 is the base model, 1 the adapter as trained
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    #[command(flatten)]
    choice: Choice,
    /// The device to run on
    #[arg(long, default_value = "auto")]
    device: String,
}

/// How the next token is chosen, and how many there are.
#[derive(clap::Args)]
pub struct Choice {
    /// The longest text, in tokens
    #[arg(long, default_value_t = 128)]
    max_tokens: usize,
    /// How random to choose; 0 takes the likeliest token each time
    #[arg(long, default_value_t = 0.0)]
    temperature: f64,
    /// Choose among the likeliest K tokens only
    #[arg(long)]
    top_k: Option<usize>,
    /// Choose among the likeliest tokens that together have this probability
    #[arg(long)]
    top_p: Option<f64>,
    /// Seed of the choice
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

impl Choice {
    /// As the generator takes it.
    pub fn writing(&self) -> Writing {
        let sampling = Sampling {
            temperature: self.temperature,
            top_k: self.top_k,
            top_p: self.top_p,
            seed: self.seed,
        };
        Writing { max_tokens: self.max_tokens, sampling }
    }
}

/// Prints a piece of text at once; stops where nobody reads it.
pub fn print(text: &str) -> ControlFlow<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => ControlFlow::Continue(()),
        Err(_) => ControlFlow::Break(()),
    }
}

impl Generate {
    pub fn run(self) -> Result<(), TrainError> {
        let observer = terminal::observer();
        let given = self.adapter.map(|dir| NamedAdapter { name: "given".to_owned(), dir });
        let mut generator =
            Generator::open(&self.model, given.as_slice(), &self.device, &observer)?;
        generator.set_scale(self.scale)?;
        let how = self.choice.writing();
        if let (Some(input), Some(output)) = (self.input, self.output) {
            let rows = continue_file(&generator, &input, &output, &how, &observer)?;
            println!("{rows} rows: {}", output.display());
            return Ok(());
        }
        let prompt = generator.prompt(&self.prompt.unwrap_or_default())?;
        generator.write(prompt, &how, &mut print)?;
        println!();
        Ok(())
    }
}
