//! `burn-lora fetch ORG/NAME`: a model of the Hugging Face hub, into the cache that Python shares.

use burn_lora_train::{TrainError, fetch};

use crate::terminal;

/// Fetch a model from the Hugging Face hub, or bring it up to date
#[derive(clap::Args)]
pub struct Fetch {
    /// The model, such as HuggingFaceTB/SmolLM2-135M-Instruct, with @REVISION if need be
    id: String,
    /// A .gguf file of the repository, instead of its safetensors
    #[arg(long, value_name = "NAME")]
    gguf: Option<String>,
}

impl Fetch {
    pub fn run(self) -> Result<(), TrainError> {
        let directory = fetch(&self.id, self.gguf.as_deref(), &terminal::observer())?;
        println!("{}", directory.display());
        Ok(())
    }
}
