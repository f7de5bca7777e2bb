//! A finished run as a directory to share: the adapter (or the merged model), the tokenizer with its
//! chat template, and a model card.
//!
//! The adapter's configuration names the base by what others find it by, not by where it lies on this
//! machine: the hub's id, or what [`ExportOptions::base_model`] says. Nothing is uploaded, and no
//! licence is chosen: the card has a line that says so. Or, for other programs, as one GGUF file ([`export_gguf`]), or
//! as the adapter alone, put for the one that reads it ([`export_profile`]).

mod card;
mod gguf;
mod profile;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn_lora_config::{AdapterSection, DataSection, ModelSource, RunConfig};
use burn_lora_data::RowFile;
use burn_lora_files::{self as files, IoError, atomic, lossy};
use burn_lora_hub::HubId;
use burn_lora_models::SaveDtype;
use burn_lora_patch::peft::{self, CONFIG_FILE, PeftConfig, TENSORS_FILE};
use burn_lora_patch::{PatchError, TaskType};
use burn_lora_report::record::Record;
use burn_lora_report::summary::Summary;
use burn_lora_train::directory::RunDirectory;
use burn_lora_train::history::History;
use burn_lora_train::located::present;
use burn_lora_train::observe::Observer;
use burn_lora_train::prepare::reading;
use burn_lora_train::run::write_tokenizer;
use burn_lora_train::{TrainError, adapter, base};
use safetensors::tensor::TensorView;
use safetensors::{SafeTensorError, SafeTensors};
use serde::Serialize;

use crate::AppError;
use crate::dry_write::DryWrite;
use crate::merge::{MergeOptions, merge, merge_dry_run};

use card::{Base, Card, Rows};

pub use burn_lora_patch::readers::{Reader, ReaderProblem};
pub use gguf::{GgufExported, GgufOptions, export_gguf, export_gguf_dry_run};
pub use profile::{
    Profile, ProfileExported, ProfileOptions, export_profile, export_profile_dry_run,
};

/// The model card's file.
const CARD: &str = "README.md";

/// What to export and where to.
#[derive(Debug, Clone)]
pub struct ExportOptions {
    /// The directory to write; it must not exist.
    pub out: PathBuf,
    /// Write base and adapter as one model in this number format, instead of the adapter alone.
    pub merged: Option<SaveDtype>,
    /// What others find the base model by, such as `org/name`; the configuration's unless given.
    pub base_model: Option<String>,
    /// The command that writes text with the result, of the model's name or directory and of the adapter's
    /// directory where there is one; the card has none without it.
    pub command: Option<fn(&str, Option<&str>) -> String>,
}

/// What an export wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Exported {
    /// The directory.
    #[serde(serialize_with = "lossy")]
    pub out: PathBuf,
    /// The names of its files, sorted.
    pub files: Vec<String>,
}

/// Writes the finished run at `dir` as a directory to share. A run of `method = "full"` has no
/// adapter: its model is copied as it is, merged or not.
///
/// The card counts the rows of the data files as they are now, and leaves the number out where they
/// cannot be read.
///
/// # Errors
///
/// No finished run, a directory that exists already, files that cannot be read or written; what
/// [`merge`] refuses.
pub fn export(
    dir: &Path,
    options: &ExportOptions,
    observer: &Observer,
) -> Result<Exported, AppError> {
    let run = Finished::of(dir, options)?;

    // Written beside its place and renamed, so that what is there is whole.
    let scratch = files::scratch_dir(atomic::parent(&options.out))?;
    let inside = scratch.path().join("export");
    match (&run.adapter, options.merged) {
        (Some(adapter), None) => {
            adapter::tell(adapter, observer);
            write_adapter(&run.trained, adapter, &inside)?;
            write_tokenizer(&base::tokenizer(&run.config, observer)?, &inside)?;
        }
        (Some(_), Some(dtype)) => {
            let options = MergeOptions { out: inside.clone(), dtype, tolerance: None };
            merge(dir, &options, observer)?;
        }
        (None, _) => copy_files(&run.trained, &inside)?,
    }
    observer.stage("writing the model card");
    let card = run.card(options, observer)?;
    files::write(&inside.join(CARD), card.to_string().as_bytes())?;
    let written = files::names(&inside)?;
    files::put_in_place(&inside, &options.out)?;
    observer.done();
    Ok(Exported { out: options.out.clone(), files: written })
}

/// What [`export`] would write; nothing is written or downloaded. Of a merged model, base and adapter
/// are loaded to see that they fit.
///
/// # Errors
///
/// Those of [`export`] that come before anything is written; a base or a tokenizer that would have to
/// be downloaded.
pub fn export_dry_run(
    dir: &Path,
    options: &ExportOptions,
    observer: &Observer,
) -> Result<DryWrite, AppError> {
    let run = Finished::of(dir, options)?;
    let mut dry = DryWrite::new(&options.out);
    match (&run.adapter, options.merged) {
        (Some(adapter), None) => {
            dry.add(TENSORS_FILE, adapter_tensors(adapter, &run.trained)?.len() as u64);
            dry.add(CONFIG_FILE, adapter_json(adapter, &run.trained)?.len() as u64);
            present(&run.config.model.tokenizer)?;
            for (name, content) in base::tokenizer(&run.config, observer)?.files()? {
                dry.add(name, content.len() as u64);
            }
        }
        (Some(_), Some(dtype)) => {
            let options = MergeOptions { out: options.out.clone(), dtype, tolerance: None };
            dry = merge_dry_run(dir, &options, observer)?;
        }
        (None, _) => {
            for name in files::names(&run.trained)? {
                let bytes = file_size(&run.trained.join(&name))?;
                dry.add(name, bytes);
            }
        }
    }
    dry.add(CARD, run.card(options, observer)?.to_string().len() as u64);
    Ok(dry)
}

/// A finished run, as it is exported.
struct Finished {
    config: RunConfig,
    title: String,
    base: Base,
    /// The directory of what was trained.
    trained: PathBuf,
    /// The adapter's configuration with the public name of its base, where an adapter was trained.
    adapter: Option<PeftConfig>,
    history: Vec<Record>,
}

impl Finished {
    fn of(dir: &Path, options: &ExportOptions) -> Result<Self, AppError> {
        let directory = RunDirectory::new(dir);
        let config = directory.read_config(&[])?;
        AppError::unless_new(&options.out)?;
        let base = base_of(&config, options.base_model.as_deref());
        let trained = directory.result(&config)?;
        let adapter = match config.adapter {
            AdapterSection::Lora(_) => Some(named(peft::read_config(&trained)?, &base)),
            AdapterSection::Full => None,
        };
        let history = match directory.metrics() {
            path if path.exists() => History::read(&path)?,
            _ => Vec::new(),
        };
        Ok(Self { config, title: title(dir), base, trained, adapter, history })
    }

    fn card(&self, options: &ExportOptions, observer: &Observer) -> Result<Card<'_>, AppError> {
        let data = &self.config.data;
        let classifies = classifies(&self.trained, self.adapter.as_ref(), observer)?;
        let Summary { steps, before, after, .. } = Summary::of(&self.history, classifies);
        Ok(Card {
            title: self.title.clone(),
            base: self.base.clone(),
            classifies,
            adapter: self.adapter.as_ref(),
            merged: options.merged.is_some(),
            rows: rows(data),
            labels: data.labels.as_deref().unwrap_or_default(),
            separator: &data.separator,
            steps,
            evaluations: [before, after],
            command: options.command,
        })
    }
}

/// What the card calls the base model.
fn base_of(config: &RunConfig, given: Option<&str>) -> Base {
    let (text, here) = match (given, &config.model.source) {
        (Some(name), _) => (name.to_owned(), false),
        (None, ModelSource::Random(_)) => return Base::Random,
        (None, ModelSource::Pretrained(path)) => (path.display().to_string(), path.exists()),
    };
    base_called(&text, here)
}

/// What others call the base of that name; `here`: whether it is a path of this machine.
fn base_called(text: &str, here: bool) -> Base {
    match HubId::parse(text) {
        Ok(id) if !here => {
            let revision = Some(id.revision()).filter(|name| *name != HubId::DEFAULT_REVISION);
            Base::Hub { repo: id.repo().to_owned(), revision: revision.map(str::to_owned) }
        }
        _ => Base::Path(public(Path::new(text))),
    }
}

/// A path without what it tells of the machine: as it is where it is relative, its last part else.
fn public(path: &Path) -> String {
    match path.file_name() {
        Some(name) if path.is_absolute() => name.display().to_string(),
        _ => path.display().to_string(),
    }
}

/// The adapter's configuration with that base.
fn named(mut config: PeftConfig, base: &Base) -> PeftConfig {
    match base {
        Base::Hub { repo, revision } => {
            config.base_model_name_or_path = Some(repo.clone());
            config.revision = revision.clone();
        }
        Base::Path(path) => config.base_model_name_or_path = Some(path.clone()),
        Base::Random => {}
    }
    config
}

fn write_adapter(from: &Path, config: &PeftConfig, to: &Path) -> Result<(), AppError> {
    files::write(&to.join(TENSORS_FILE), &adapter_tensors(config, from)?)?;
    Ok(files::write(&to.join(CONFIG_FILE), adapter_json(config, from)?.as_bytes())?)
}

/// The adapter's tensors as they are, under the keys that PEFT has: those of a model that something wrapped when they were written are
/// read here, and by nobody whom the directory is for.
fn adapter_tensors(config: &PeftConfig, from: &Path) -> Result<Vec<u8>, AppError> {
    let path = from.join(TENSORS_FILE);
    let tensors = files::read(&path)?;
    let damaged = |error: SafeTensorError| PatchError::damaged(&path, &error.to_string());
    let file = SafeTensors::deserialize(&tensors).map_err(damaged)?;
    let scale = config.to_config().map_or(1.0, |loaded| loaded.config.largest_scale());
    peft::usable(&file, &path, scale)?;
    let plain: BTreeMap<String, TensorView<'_>> =
        file.iter().map(|(key, view)| (peft::plain_key(key), view)).collect();
    // Keys of which two name one tensor are nobody's to choose from.
    let as_they_are =
        plain.len() < file.len() || file.iter().all(|(key, _)| plain.contains_key(key));
    let renamed = match as_they_are {
        true => None,
        false => {
            let (_, header) = SafeTensors::read_metadata(&tensors).map_err(damaged)?;
            let metadata = header.metadata().clone();
            Some(safetensors::serialize(plain, metadata).map_err(damaged)?)
        }
    };
    Ok(renamed.unwrap_or(tensors))
}

fn adapter_json(config: &PeftConfig, from: &Path) -> Result<String, AppError> {
    config.to_json().map_err(|error| {
        TrainError::Damaged { path: from.join(CONFIG_FILE), reason: error.to_string() }.into()
    })
}

fn file_size(path: &Path) -> Result<u64, AppError> {
    Ok(std::fs::metadata(path).map_err(IoError::at("read", path))?.len())
}

/// Copies the files of a directory, which has no directories inside.
fn copy_files(from: &Path, to: &Path) -> Result<(), AppError> {
    files::create_dir(to)?;
    for name in files::names(from)? {
        let path = from.join(&name);
        std::fs::copy(&path, to.join(&name)).map_err(IoError::at("copy", &path))?;
    }
    Ok(())
}

/// Whether what was trained sorts rows into classes rather than writing text.
fn classifies(
    trained: &Path,
    adapter: Option<&PeftConfig>,
    observer: &Observer,
) -> Result<bool, AppError> {
    match adapter {
        Some(adapter) => Ok(adapter.task_type.as_deref() == Some(TaskType::SeqCls.as_str())),
        None => {
            let source = ModelSource::Pretrained(trained.to_owned());
            Ok(!base::architecture(&source, observer)?.is_causal())
        }
    }
}

/// The run's own name.
fn title(dir: &Path) -> String {
    let whole = std::fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned());
    whole.file_name().map_or_else(|| "run".to_owned(), |name| name.display().to_string())
}

fn rows(data: &DataSection) -> Vec<Rows> {
    let mut rows: Vec<Rows> = data
        .train
        .iter()
        .map(|source| Rows {
            purpose: "training rows: ",
            file: public(&source.path),
            count: source.read(&reading(data, None)).ok().map(|file| file.rows.len()),
            weight: source.weight,
            held_out: data.held_out,
        })
        .collect();
    rows.extend(data.eval.as_ref().map(|path| Rows {
        purpose: "evaluation rows: ",
        file: public(path),
        count:
            RowFile::read(path, &reading(data, data.eval_limit)).ok().map(|file| file.rows.len()),
        weight: 1.0,
        held_out: None,
    }));
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(model: &str) -> RunConfig {
        let text = format!("{model}\n[data]\ntrain = \"t.jsonl\"\n[output]\ndir = \"runs/x\"\n");
        RunConfig::parse(&text, "run.toml", &[]).unwrap()
    }

    fn path(model: &str) -> RunConfig {
        config(&format!("[model]\npath = {model:?}"))
    }

    #[test]
    fn a_base_is_named_as_others_find_it() {
        let hub = |repo: &str, revision: Option<&str>| Base::Hub {
            repo: repo.to_owned(),
            revision: revision.map(str::to_owned),
        };
        assert_eq!(base_of(&path("org/name@v1"), None), hub("org/name", Some("v1")));
        assert_eq!(base_of(&path("org/name"), None), hub("org/name", None));
        assert_eq!(base_of(&path("models/my base"), None), Base::Path("models/my base".into()));
        assert_eq!(base_of(&path("/home/me/models/base"), None), Base::Path("base".into()));
        assert_eq!(base_of(&path("/home/me/base"), Some("org/name")), hub("org/name", None));
        let random =
            "[model]\nconfig = \"c.json\"\ntokenizer = \"t\"\n[adapter]\nmethod = \"full\"";
        assert_eq!(base_of(&config(random), None), Base::Random);
    }

    #[test]
    fn a_directory_that_looks_like_an_id_is_a_path() {
        let dir = tempfile::tempdir().unwrap();
        let there = dir.path().display().to_string();
        let base = base_of(&path(&there), None);
        assert_eq!(base, Base::Path(dir.path().file_name().unwrap().display().to_string()));
    }

    #[test]
    fn the_configuration_of_the_adapter_gets_the_public_name() {
        let base = Base::Hub { repo: "org/name".into(), revision: Some("v1".into()) };
        let config = named(PeftConfig::default().with_base_model("/home/me/base"), &base);
        assert_eq!(config.base_model_name_or_path.as_deref(), Some("org/name"));
        assert_eq!(config.revision.as_deref(), Some("v1"));
        let local = named(config, &Base::Path("base".into()));
        assert_eq!(local.base_model_name_or_path.as_deref(), Some("base"));
    }

    #[test]
    fn rows_are_counted_where_they_can_be_read() {
        let dir = tempfile::tempdir().unwrap();
        let train = dir.path().join("train.jsonl");
        std::fs::write(&train, "{\"text\": \"a\"}\n\n{\"text\": \"b\"}\n").unwrap();
        let text = format!(
            "[model]\npath = \"m\"\n[data]\ntrain = {:?}\neval = \"none.jsonl\"\n[output]\ndir = \"d\"\n",
            train.display().to_string()
        );
        let config = RunConfig::parse(&text, "run.toml", &[]).unwrap();
        let found: Vec<_> =
            rows(&config.data).into_iter().map(|rows| (rows.file, rows.count)).collect();
        assert_eq!(found, [("train.jsonl".into(), Some(2)), ("none.jsonl".into(), None)]);
    }
}
