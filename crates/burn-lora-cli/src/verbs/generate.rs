//! `burn-lora generate MODEL --prompt TEXT`: a continuation, printed as it is written; or a file of them.

use std::fmt;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::path::PathBuf;

use burn_lora_app::AppError;
use burn_lora_app::generator::{Generator, NamedAdapter, Writing, Written};
use burn_lora_app::prompts_file::{
    Destination, Prompts, Rows, check_file, continue_file, continued,
};
use burn_lora_models::generate::{ROWS, Sampling};
use burn_lora_train::elsewhere::computing;
use serde::Serialize;

use crate::place::{input, is_standard_output, output as output_file, place, text};
use crate::{output, terminal};

/// Rows of a file that are continued at a time, unless told otherwise.
const AT_A_TIME: NonZeroUsize = NonZeroUsize::new(ROWS).unwrap();

/// Continue a prompt, or every row of a file, with a finished run or with a model and an adapter
#[derive(clap::Args)]
pub struct Generate {
    /// A run directory, a model directory or .gguf file, or a model of the hub
    #[arg(value_parser = place())]
    model: PathBuf,
    /// The text to continue
    #[arg(long, short, required_unless_present = "input")]
    prompt: Option<String>,
    /// A JSON Lines file with rows of `prompt` or `messages`, `-` for standard input; needs --output
    #[arg(long, value_name = "FILE", conflicts_with = "prompt", requires = "output", value_parser = input())]
    input: Option<PathBuf>,
    /// Where the rows go with their continuations, as `output`; `-` is standard output
    #[arg(long, value_name = "FILE", requires = "input", conflicts_with = "prompt", value_parser = output_file())]
    output: Option<PathBuf>,
    /// Replace the file that --output names, if it is there
    #[arg(long, requires = "output", conflicts_with = "prompt")]
    overwrite: bool,
    /// A PEFT adapter directory, instead of the run's
    #[arg(long, value_parser = place())]
    adapter: Option<PathBuf>,
    /// Multiplies the adapter's scale: 0 is the base model, 1 the adapter as trained
    #[arg(long, default_value_t = 1.0, allow_negative_numbers = true)]
    scale: f64,
    #[command(flatten)]
    choice: Choice,
    /// The device to run on
    #[arg(long, default_value = "auto")]
    device: String,
    /// Print one JSON object instead of the text; progress goes to standard error
    #[arg(long)]
    json: bool,
    /// How many rows of --input are continued at a time, at most; fewer where memory has no room for them
    #[arg(long, default_value_t = AT_A_TIME, value_name = "ROWS")]
    batch_size: NonZeroUsize,
    /// Read and check the model and every row of --input, and write nothing
    #[arg(long, requires = "input", conflicts_with = "prompt")]
    dry_run: bool,
}

/// How the next token is chosen, and how many there are.
#[derive(clap::Args)]
pub struct Choice {
    /// The longest text, in tokens
    #[arg(long, default_value_t = 128)]
    max_tokens: usize,
    /// How random to choose; 0 takes the likeliest token each time
    #[arg(long, default_value_t = 0.0, allow_negative_numbers = true)]
    temperature: f64,
    /// Choose among the likeliest K tokens only
    #[arg(long)]
    top_k: Option<usize>,
    /// Choose among the likeliest tokens that together have this probability
    #[arg(long)]
    top_p: Option<f64>,
    /// Seed of the choice; 0 where it is left out
    #[arg(long)]
    seed: Option<u64>,
}

impl Choice {
    /// As the generator takes it, for so many prompts at a time; what has no effect is said.
    pub fn writing(&self, rows: usize) -> Writing {
        let given = [
            ("--top-k", self.top_k.is_some()),
            ("--top-p", self.top_p.is_some()),
            ("--seed", self.seed.is_some()),
        ];
        if self.temperature == 0.0 {
            for (flag, _) in given.into_iter().filter(|(_, given)| *given) {
                output::note(&format!(
                    "note: {flag} has no effect at temperature 0: add --temperature"
                ));
            }
        }
        let sampling = Sampling {
            temperature: self.temperature,
            top_k: self.top_k,
            top_p: self.top_p,
            seed: self.seed.unwrap_or(0),
        };
        Writing { max_tokens: self.max_tokens, sampling, rows }
    }
}

/// A continuation as JSON.
#[derive(Serialize)]
struct Continued<'a> {
    prompt: &'a str,
    #[serde(flatten)]
    written: Written,
}

/// A file of continuations as JSON.
#[derive(Serialize)]
struct ContinuedFile {
    rows: usize,
    /// The file.
    output: String,
}

/// What a dry run found.
#[derive(Serialize)]
struct Checked {
    #[serde(flatten)]
    prompts: Prompts,
    /// The file that would be written.
    output: String,
    /// Whether it is there already.
    replaces: bool,
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Prompts { rows, longest_prompt, context } = self.prompts;
        let over = if self.replaces { ", over the file that is there" } else { "" };
        writeln!(f, "would write {} with {rows} rows{over}", self.output)?;
        write!(f, "  the longest prompt has {longest_prompt} tokens, the model takes ")?;
        match context {
            Some(context) => write!(f, "{context}"),
            None => f.write_str("any number"),
        }
    }
}

/// Prints a piece of text at once; stops where nobody reads it.
pub fn print(text: &str) -> ControlFlow<()> {
    match output::piece(text) {
        true => ControlFlow::Continue(()),
        false => ControlFlow::Break(()),
    }
}

impl Generate {
    pub fn run(self) -> Result<(), AppError> {
        let device = self.device.clone();
        computing(&device, || self.write())
    }

    fn write(self) -> Result<(), AppError> {
        let file = match (self.input, self.output) {
            (Some(input), Some(output)) if is_standard_output(&output) => {
                if self.json {
                    let reason =
                        "is standard output, which the one JSON object of the result takes";
                    return Err(AppError::Output { path: output, reason });
                }
                Some((input, None))
            }
            (Some(input), Some(output)) => {
                let destination = Destination::of(&input, &output, self.overwrite)?;
                Some((input, Some((output.display().to_string(), destination))))
            }
            _ => None,
        };
        let observer = terminal::observer(self.json || matches!(file, Some((_, None))));
        if self.dry_run {
            Generator::present(&self.model)?;
        }
        let given = self.adapter.map(|dir| NamedAdapter { name: "given".to_owned(), dir });
        let mut generator =
            Generator::open(&self.model, given.as_slice(), &self.device, &observer)?;
        generator.set_scale(self.scale)?;
        let how = self.choice.writing(self.batch_size.get());
        if let Some((input, output)) = file {
            let input = text(&input).map(|(name, text)| Rows { name, text })?;
            if self.dry_run {
                let prompts = check_file(&generator, &input, &how)?;
                let replaces =
                    matches!(output, Some((_, Destination::File { replaces: true, .. })));
                let output = output.map_or("standard output".to_owned(), |(name, _)| name);
                return output::dry_run(&Checked { prompts, output, replaces }, self.json);
            }
            let Some((output, destination)) = output else {
                let continued = continued(&generator, &input, &how, &observer)?;
                return output::bytes(continued.lines.as_bytes());
            };
            let rows = continue_file(&generator, &input, &destination, &how, &observer)?;
            if self.json {
                return output::json(&ContinuedFile { rows, output });
            }
            return output::line(&format!("{rows} rows: {output}"));
        }
        let text = self.prompt.unwrap_or_default();
        let prompt = generator.prompt(&text)?;
        if self.json {
            let written = generator.written(prompt, &how)?;
            return output::json(&Continued { prompt: &text, written });
        }
        generator.write(prompt, &how, &mut print)?;
        output::line("")
    }
}
