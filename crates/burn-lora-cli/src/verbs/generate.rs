//! `burn-lora generate RUN --prompt TEXT`: a continuation, printed as it is written.

use std::io::Write;
use std::path::PathBuf;

use burn_lora_models::generate::Sampling;
use burn_lora_train::TrainError;
use burn_lora_train::generator::Generator;

use crate::terminal;

/// Continue a prompt with a finished run, or with a model and an adapter
#[derive(clap::Args)]
pub struct Generate {
    /// A run directory, or a model directory
    model: PathBuf,
    /// The text to continue
    #[arg(long, short)]
    prompt: String,
    /// A PEFT adapter directory, instead of the run's
    #[arg(long)]
    adapter: Option<PathBuf>,
    /// Multiplies the adapter's scale: 0 is the base model, 1 the adapter as trained
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// The longest continuation, in tokens
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
    /// The device to run on
    #[arg(long, default_value = "auto")]
    device: String,
}

impl Generate {
    pub fn run(self) -> Result<(), TrainError> {
        let observer = terminal::observer();
        let adapter = self.adapter.as_deref();
        let generator = Generator::open(&self.model, adapter, self.scale, &self.device, &observer)?;
        let sampling = Sampling {
            temperature: self.temperature,
            top_k: self.top_k,
            top_p: self.top_p,
            seed: self.seed,
        };
        generator.generate(&self.prompt, self.max_tokens, &sampling, &mut |text| {
            print!("{text}");
            // Whoever reads has gone if this fails; the rest has no reader either.
            let _ = std::io::stdout().flush();
        })?;
        println!();
        Ok(())
    }
}
