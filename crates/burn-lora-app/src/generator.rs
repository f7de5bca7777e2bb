//! A decoder that writes: a finished run, or a model with any number of adapters to choose from.
//!
//! The base is loaded once. The adapter that is chosen hangs on a copy of it that shares its weights, so
//! that going from one to another reads an adapter's file and nothing else.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use burn_lora_config::ModelSource;
use burn_lora_data::Conversation;
use burn_lora_files::home;
use burn_lora_models::conversation::{Chat, Message};
use burn_lora_models::generate::{GenerateOptions, Sampling, Told, generate, generate_told, unfit};
use burn_lora_models::tokenizer::Tokenizer;
use burn_lora_models::{CausalLm, Model, Storage, WeightDtype};
use burn_lora_patch::{LoadOptions, set_multiplier};
use burn_lora_train::adapter::load;
use burn_lora_train::directory::RunDirectory;
use burn_lora_train::located::{located, present};
use burn_lora_train::observe::Observer;
use burn_lora_train::samples::rows_that_fit;
use serde::Serialize;

use crate::AppError;
use crate::chat::Stream;

/// The name of the adapter that a run trained.
pub const OWN: &str = "run";

/// An adapter to choose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedAdapter {
    /// What it is called.
    pub name: String,
    /// Its PEFT directory.
    pub dir: PathBuf,
}

impl NamedAdapter {
    /// From `NAME=DIR`, or from a directory whose last part is the name.
    pub fn parse(text: &str) -> Self {
        let (name, dir) = match text.split_once('=') {
            Some((name, dir)) => (name.to_owned(), home::expanded(dir)),
            None => {
                let dir = home::expanded(text);
                let name = dir.file_name().map(|name| name.to_string_lossy().into_owned());
                (name.unwrap_or_else(|| text.to_owned()), dir)
            }
        };
        Self { name, dir }
    }
}

/// A decoder, its tokenizer, its adapters, and what its run put behind every prompt.
pub struct Generator {
    base: CausalLm,
    tokenizer: Tokenizer,
    separator: String,
    /// Whether its run closes texts with the end token.
    eos: bool,
    adapters: Vec<NamedAdapter>,
    active: Option<(String, CausalLm)>,
    observer: Observer,
}

/// How to write.
#[derive(Debug, Clone, PartialEq)]
pub struct Writing {
    /// The longest text, in tokens.
    pub max_tokens: usize,
    /// How the next token is chosen.
    pub sampling: Sampling,
    /// How many prompts are continued at a time, at most; fewer where memory has no room for them.
    pub rows: usize,
}

/// A continuation, and its length.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Written {
    /// The text.
    pub output: String,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Tokens written, without the one that ended the text.
    pub tokens: usize,
}

impl Generator {
    /// Sees to it that [`Self::open`] would download nothing, for dry runs.
    ///
    /// # Errors
    ///
    /// A model that is neither here nor in the hub's cache.
    pub fn present(path: &Path) -> Result<(), AppError> {
        Place::of(path)?.present()
    }

    /// Opens a run directory, a model's directory or `.gguf` file, or a model of the hub.
    ///
    /// The first of `adapters` is chosen, or else the one that the run trained, which is called
    /// [`OWN`].
    ///
    /// # Errors
    ///
    /// Files that are not there or do not fit; a device that cannot be had.
    pub fn open(
        path: &Path,
        adapters: &[NamedAdapter],
        device: &str,
        observer: &Observer,
    ) -> Result<Self, AppError> {
        let device = burn_lora::device::parse(device)?;
        let Place { base, tokenizer, separator, eos, trained, dtype } = Place::of(path)?;
        let mut adapters = adapters.to_vec();
        adapters.extend(trained.map(|dir| NamedAdapter { name: OWN.to_owned(), dir }));
        let (base, tokenizer) = (located(&base, observer)?, located(&tokenizer, observer)?);
        observer.stage("loading the model");
        let tokenizer = Tokenizer::from_dir(&tokenizer)?;
        let progress = &mut |done, total| observer.progress(done, total);
        let (base, _) = CausalLm::load(&base, Storage { device: &device, dtype }, progress)?;
        let first = adapters.first().map(|adapter| adapter.name.clone());
        let observer = observer.clone();
        let mut generator =
            Self { base, tokenizer, separator, eos, adapters, active: None, observer };
        generator.select(first.as_deref(), 1.0)?;
        generator.observer.done();
        Ok(generator)
    }

    /// The adapters that there are.
    pub fn adapters(&self) -> Vec<&str> {
        self.adapters.iter().map(|adapter| adapter.name.as_str()).collect()
    }

    /// The adapter that writes; none: the base model.
    pub fn selected(&self) -> Option<&str> {
        self.active.as_ref().map(|(name, _)| name.as_str())
    }

    /// Chooses an adapter, or the base model; `scale` multiplies the adapter's scale, 1 as trained and
    /// 0 the base model.
    ///
    /// # Errors
    ///
    /// A name that there is none of, files that are not there or do not fit. What was chosen before
    /// stays.
    pub fn select(&mut self, name: Option<&str>, scale: f64) -> Result<(), AppError> {
        let Some(name) = name else {
            self.active = None;
            return Ok(());
        };
        let Some(adapter) = self.adapters.iter().find(|adapter| adapter.name == name) else {
            let (name, known) = (name.to_owned(), self.adapters().join(", "));
            return Err(AppError::UnknownAdapter { name, known });
        };
        let mut model = self.base.clone();
        let options = LoadOptions::default();
        load(&mut model, &adapter.dir, &options, &self.observer)?;
        if scale != 1.0 {
            set_multiplier(&mut model, &options.name, scale)?;
        }
        self.active = Some((name.to_owned(), model));
        Ok(())
    }

    /// Multiplies the chosen adapter's scale, 1 as trained; the base model has none.
    ///
    /// # Errors
    ///
    /// None that a chosen adapter can cause.
    pub fn set_scale(&mut self, scale: f64) -> Result<(), AppError> {
        if let Some((_, model)) = &mut self.active {
            set_multiplier(model, &LoadOptions::default().name, scale)?;
        }
        Ok(())
    }

    /// How many tokens the model reads and writes together; none where it has no limit.
    pub fn context(&self) -> Option<usize> {
        self.base.config().context()
    }

    /// The tokens of a text with what its run puts behind every prompt.
    ///
    /// # Errors
    ///
    /// A text that cannot be encoded.
    pub fn prompt(&self, text: &str) -> Result<Vec<u32>, AppError> {
        Ok(self.tokenizer.encode_prompt(&format!("{text}{}", self.separator))?)
    }

    /// The tokens of a conversation up to where the assistant speaks, as training wrote it.
    ///
    /// # Errors
    ///
    /// What the template refuses, or a text that cannot be encoded.
    pub fn conversation(&self, messages: &[Message]) -> Result<Vec<u32>, AppError> {
        Ok(self.chat().prompt(messages)?)
    }

    /// [`Self::conversation`] of a row, with its tools and all that its messages hold.
    ///
    /// # Errors
    ///
    /// Those of [`Self::conversation`]; what the template does not write.
    pub fn row(&self, row: &Conversation) -> Result<Vec<u32>, AppError> {
        let chat = self.chat();
        let chat = row.tools.as_ref().map_or_else(|| chat.clone(), |tools| chat.with_tools(tools));
        Ok(chat.prompt_of_all(&row.messages)?)
    }

    fn chat(&self) -> Chat<'_> {
        let chat = Chat::of(&self.tokenizer);
        if self.eos { chat } else { chat.without_end_token() }
    }

    /// Continues the tokens; `on_text` is given the continuation piece by piece and says whether to
    /// go on.
    ///
    /// # Errors
    ///
    /// An empty prompt, or one longer than the model reads.
    pub fn write(
        &self,
        prompt: Vec<u32>,
        how: &Writing,
        on_text: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Result<String, AppError> {
        let options = self.options(how);
        let mut stream = Stream::new(|ids: &[u32]| self.tokenizer.decode(ids, true));
        let mut failed = None;
        generate(self.model(), &[prompt], &options, &mut |_, id| {
            if options.stop.contains(&id) {
                return ControlFlow::Continue(());
            }
            match stream.push(id) {
                Ok("") => ControlFlow::Continue(()),
                Ok(text) => on_text(text),
                Err(error) => {
                    failed = Some(error);
                    ControlFlow::Break(())
                }
            }
        })?;
        if let Some(error) = failed {
            return Err(error.into());
        }
        let rest = stream.finish();
        if !rest.is_empty() {
            // It is the last piece: there is nothing to stop.
            let _ = on_text(rest);
        }
        Ok(stream.text().to_owned())
    }

    /// Continues the tokens as [`Self::write`] does, without telling of the pieces.
    ///
    /// # Errors
    ///
    /// As [`Self::write`].
    pub fn written(&self, prompt: Vec<u32>, how: &Writing) -> Result<Written, AppError> {
        let prompt_tokens = prompt.len();
        let outputs = generate(self.model(), &[prompt], &self.options(how), &mut |_, _| {
            ControlFlow::Continue(())
        })?;
        let ids = outputs.first().map_or(&[][..], |output| &output.ids);
        let output = self.tokenizer.decode(ids, true)?;
        Ok(Written { output, prompt_tokens, tokens: ids.len() })
    }

    /// Continues several prompts, in batches that they join and leave as they end.
    ///
    /// # Errors
    ///
    /// As [`Self::write`].
    pub fn write_all(&self, prompts: &[Vec<u32>], how: &Writing) -> Result<Vec<String>, AppError> {
        self.write_all_told(prompts, how, &mut |_| {})
    }

    /// [`Self::write_all`]; `on_end` is told how many have ended.
    pub(crate) fn write_all_told(
        &self,
        prompts: &[Vec<u32>],
        how: &Writing,
        on_end: &mut dyn FnMut(usize),
    ) -> Result<Vec<String>, AppError> {
        let mut options = self.options(how);
        options.rows = rows_that_fit(self.model(), prompts, how.max_tokens, how.rows);
        let mut ended = 0;
        let outputs = generate_told(self.model(), prompts, &options, &mut |told| {
            if let Told::End { .. } = told {
                ended += 1;
                on_end(ended);
            }
            ControlFlow::Continue(())
        })?;
        outputs.iter().map(|output| Ok(self.tokenizer.decode(&output.ids, true)?)).collect()
    }

    /// Why [`Self::write`] refuses these tokens, to be read after `the prompt`, if it does.
    pub(crate) fn unfit(&self, prompt: &[u32]) -> Option<String> {
        unfit(self.model(), prompt)
    }

    fn model(&self) -> &CausalLm {
        self.active.as_ref().map_or(&self.base, |(_, model)| model)
    }

    fn options(&self, how: &Writing) -> GenerateOptions {
        GenerateOptions {
            max_new_tokens: how.max_tokens,
            sampling: how.sampling.clone(),
            stop: self.tokenizer.stop_ids(),
            rows: how.rows,
        }
    }
}

/// Where the parts of a generator are.
pub(crate) struct Place {
    pub(crate) base: PathBuf,
    pub(crate) tokenizer: PathBuf,
    /// What stands behind every prompt.
    separator: String,
    /// Whether texts are closed with the end token.
    eos: bool,
    /// The adapter that the run trained, if this is a run with one.
    pub(crate) trained: Option<PathBuf>,
    /// The format that the run held its base in.
    pub(crate) dtype: WeightDtype,
}

impl Place {
    /// Sees to it that nothing would be downloaded.
    pub(crate) fn present(&self) -> Result<(), AppError> {
        present(&self.base)?;
        Ok(present(&self.tokenizer)?)
    }

    pub(crate) fn of(path: &Path) -> Result<Self, AppError> {
        let run = RunDirectory::new(path);
        let (base, tokenizer) = (path.to_owned(), path.to_owned());
        if !run.config().is_file() {
            return Ok(Self {
                base,
                tokenizer,
                separator: String::new(),
                eos: true,
                trained: None,
                dtype: WeightDtype::F32,
            });
        }
        let mut config = run.read_config(&[])?;
        let trained = run.trained(&mut config)?;
        let dtype = config.model.held();
        // An adapter has a pretrained base: the configuration refuses another.
        let base = match config.model.source {
            ModelSource::Pretrained(dir) => dir,
            ModelSource::Random(_) => base,
        };
        let (tokenizer, data) = (config.model.tokenizer, config.data);
        Ok(Self { base, tokenizer, separator: data.separator, eos: data.eos, trained, dtype })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_adapter_is_named_by_itself_or_by_its_directory() {
        let named = |name: &str, dir: &str| NamedAdapter { name: name.into(), dir: dir.into() };
        assert_eq!(NamedAdapter::parse("pirate=runs/a/adapter"), named("pirate", "runs/a/adapter"));
        assert_eq!(NamedAdapter::parse("runs/pirate"), named("pirate", "runs/pirate"));
    }
}
