//! A model as one GGUF file for llama.cpp and Ollama: a run's, a model of its own, or a base with an adapter.
//!
//! The directory holds the file, with tokenizer and chat template inside, and a `Modelfile`. There is no model
//! card: what a card says of a run belongs to the run's own export.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use burn_lora_files::{self as files, atomic, lossy};
use burn_lora_models::gguf::{FileType, GgufWriter, TypeCount};
use burn_lora_models::tokenizer::Tokenizer;
use burn_lora_models::{CausalConfig, CausalLm, Model, ModelConfig, ModelError, Storage};
use burn_lora_patch::{LoadOptions, check_mergeable};
use burn_lora_train::adapter;
use burn_lora_train::located::located;
use burn_lora_train::observe::Observer;
use serde::{Serialize, Serializer};

use super::title;
use crate::AppError;
use crate::dry_write::DryWrite;
use crate::generator::Place;

/// The file that Ollama makes a model from.
const MODELFILE: &str = "Modelfile";

/// What to write and where to.
#[derive(Debug, Clone)]
pub struct GgufOptions {
    /// The directory to write; it must not exist.
    pub out: PathBuf,
    /// How most numbers are stored.
    pub file_type: FileType,
    /// A PEFT directory to merge, instead of the adapter that a run trained.
    pub adapter: Option<PathBuf>,
    /// The device to load and merge on.
    pub device: String,
}

/// What was written.
#[derive(Debug, Clone, Serialize)]
pub struct GgufExported {
    /// The directory.
    #[serde(serialize_with = "lossy")]
    pub out: PathBuf,
    /// The names of its files, sorted.
    pub files: Vec<String>,
    /// How many tensors are stored in which type.
    #[serde(serialize_with = "by_name")]
    pub tensors: Vec<TypeCount>,
}

fn by_name<S: Serializer>(counts: &[TypeCount], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(counts.iter().map(|count| (count.ggml_type.to_string(), count.tensors)))
}

/// Writes the decoder at `path` (a run directory, a model's directory or `.gguf` file, a model of the
/// hub) as one GGUF file, its adapter merged into it.
///
/// # Errors
///
/// A directory that exists already; what is no decoder, or cannot be stated in such a file; files that
/// cannot be read or written, or do not fit.
pub fn export_gguf(
    path: &Path,
    options: &GgufOptions,
    observer: &Observer,
) -> Result<GgufExported, AppError> {
    let parts = Parts::of(path, options, observer)?;
    let model = parts.model(options, observer)?;

    // Written beside its place and renamed, so that what is there is whole.
    let scratch = files::scratch_dir(atomic::parent(&options.out))?;
    let inside = scratch.path().join("export");
    let file = file_name(options.file_type);
    observer.stage(format!("writing {file}"));
    files::create_dir(&inside)?;
    let tensors = parts
        .writer
        .write(&model, &inside.join(&file), &mut |done, total| observer.progress(done, total))
        .map_err(ModelError::from)?;
    drop(model);
    files::write(&inside.join(MODELFILE), modelfile(&file, &parts.tokenizer).as_bytes())?;
    files::put_in_place(&inside, &options.out)?;
    observer.done();
    Ok(GgufExported { out: options.out.clone(), files: vec![MODELFILE.to_owned(), file], tensors })
}

/// What [`export_gguf`] would write; nothing is written or downloaded. Base and adapter are loaded to see that they
/// fit.
///
/// # Errors
///
/// Those of [`export_gguf`] that come before anything is written; a base that would have to be
/// downloaded.
pub fn export_gguf_dry_run(
    path: &Path,
    options: &GgufOptions,
    observer: &Observer,
) -> Result<DryWrite, AppError> {
    Place::of(path)?.present()?;
    let parts = Parts::of(path, options, observer)?;
    let model = parts.model(options, observer)?;
    let (_, bytes) = parts.writer.outline(&model).map_err(ModelError::from)?;
    let file = file_name(options.file_type);
    let mut dry = DryWrite::new(&options.out);
    dry.add(MODELFILE, modelfile(&file, &parts.tokenizer).len() as u64);
    dry.add(file, bytes);
    Ok(dry)
}

/// What is known before weights are read: that they can be written.
struct Parts {
    place: Place,
    base: PathBuf,
    tokenizer: Tokenizer,
    writer: GgufWriter,
}

impl Parts {
    fn of(path: &Path, options: &GgufOptions, observer: &Observer) -> Result<Self, AppError> {
        let place = Place::of(path)?;
        AppError::unless_new(&options.out)?;
        let base = located(&place.base, observer)?;
        let config = CausalConfig::from_path(&base)?;
        let tokenizer = Tokenizer::from_dir(&located(&place.tokenizer, observer)?)?;
        let name = title(path);
        let name = name.strip_suffix(".gguf").unwrap_or(&name);
        let writer = GgufWriter::new(config.about(), &tokenizer, options.file_type, name)
            .map_err(ModelError::from)?;
        Ok(Self { place, base, tokenizer, writer })
    }

    /// The base with its adapter on it.
    fn model(&self, options: &GgufOptions, observer: &Observer) -> Result<CausalLm, AppError> {
        let device = burn_lora::device::parse(&options.device)?;
        observer.stage("loading the model");
        let at = Storage { device: &device, dtype: self.place.dtype };
        let progress = &mut |done, total| observer.progress(done, total);
        let (mut model, _) = CausalLm::load(&self.base, at, progress)?;
        if let Some(trained) = options.adapter.as_ref().or(self.place.trained.as_ref()) {
            adapter::load(&mut model, trained, &LoadOptions::default(), observer)?;
            check_mergeable(&model)?;
        }
        observer.done();
        Ok(model)
    }
}

fn file_name(file_type: FileType) -> String {
    format!("model-{file_type}.gguf")
}

/// What Ollama is told: the file, which has the chat template inside, and the tokens that end an answer.
fn modelfile(file: &str, tokenizer: &Tokenizer) -> String {
    let mut text = format!("FROM ./{file}\n");
    for token in tokenizer.stop_ids().into_iter().filter_map(|id| tokenizer.id_to_token(id)) {
        // A text cannot fail to be written to.
        let _ = writeln!(text, "PARAMETER stop {token:?}");
    }
    text
}
