//! A decoder that writes: a finished run, or a model directory with or without an adapter.

use std::ops::ControlFlow;
use std::path::Path;

use burn_lora_models::generate::{GenerateOptions, Sampling, generate};
use burn_lora_models::llama::LlamaForCausalLM;
use burn_lora_models::tokenizer::Tokenizer;
use burn_lora_patch::{peft, set_multiplier};

use crate::TrainError;
use crate::config::ModelSource;
use crate::directory::RunDirectory;
use crate::observe::Observer;

/// A decoder, its tokenizer, and what its run put behind every prompt.
pub struct Generator {
    model: LlamaForCausalLM,
    tokenizer: Tokenizer,
    separator: String,
}

impl Generator {
    /// Opens a run directory (with the adapter it trained) or a model directory.
    ///
    /// `adapter` is a PEFT directory to use instead; `scale` multiplies the adapter's scale, 1 as
    /// trained and 0 the base model.
    ///
    /// # Errors
    ///
    /// Files that are not there or do not fit; a device that cannot be had.
    pub fn open(
        path: &Path,
        adapter: Option<&Path>,
        scale: f64,
        device: &str,
        observer: &Observer,
    ) -> Result<Self, TrainError> {
        let device = burn_lora::device::parse(device)?;
        let run = RunDirectory::new(path);
        let mut own = adapter.map(Path::to_owned);
        let (mut base, mut tokenizer) = (path.to_owned(), path.to_owned());
        let mut separator = String::new();
        if run.config().is_file() {
            let mut config = run.read_config(&[])?;
            let trained = run.trained(&mut config);
            tokenizer = config.model.tokenizer;
            separator = config.data.separator;
            // An adapter has a pretrained base: the configuration refuses another.
            if let ModelSource::Pretrained(dir) = config.model.source {
                base = dir;
            }
            own = own.or(trained);
        }
        observer.stage("loading the model");
        let tokenizer = Tokenizer::from_dir(&tokenizer)?;
        let progress = &mut |done, total| observer.progress(done, total);
        let (mut model, _) = LlamaForCausalLM::load(&base, &device, progress)?;
        if let Some(dir) = own {
            let options = peft::LoadOptions::default();
            peft::load(&mut model, dir, &options)?;
            if scale != 1.0 {
                set_multiplier(&mut model, &options.name, scale)?;
            }
        }
        observer.done();
        Ok(Self { model, tokenizer, separator })
    }

    /// Continues the prompt; `on_text` is given the continuation piece by piece.
    ///
    /// # Errors
    ///
    /// An empty prompt, or one longer than the model reads.
    pub fn generate(
        &self,
        prompt: &str,
        max_tokens: usize,
        sampling: &Sampling,
        on_text: &mut dyn FnMut(&str),
    ) -> Result<String, TrainError> {
        let prompt = self.tokenizer.encode(&format!("{prompt}{}", self.separator), true)?;
        let options = GenerateOptions {
            max_new_tokens: max_tokens,
            sampling: sampling.clone(),
            stop: self.tokenizer.eos_ids().to_vec(),
        };
        let mut ids = Vec::new();
        let mut written = String::new();
        let mut failed = None;
        generate(&self.model, &[prompt], &options, &mut |_, id| {
            if options.stop.contains(&id) {
                return ControlFlow::Continue(());
            }
            ids.push(id);
            match self.tokenizer.decode(&ids, true) {
                // A character may need several tokens; what is not whole yet waits.
                Ok(text) if !text.ends_with('\u{fffd}') => {
                    if let Some(new) = text.strip_prefix(&written) {
                        on_text(new);
                    }
                    written = text;
                }
                Ok(_) => {}
                Err(error) => {
                    failed = Some(error);
                    return ControlFlow::Break(());
                }
            }
            ControlFlow::Continue(())
        })?;
        match failed {
            Some(error) => Err(error.into()),
            None => Ok(written),
        }
    }
}
