//! An adapter alone, for one program that reads it: PEFT, vLLM or llama.cpp.
//!
//! PEFT reads everything that is written here, so that its profile changes nothing but keys that something wrapped and the base's
//! name. For the others scales go into B where they pass over what says them, and what they do not read is refused
//! ([`readers`](burn_lora_patch::readers)). llama.cpp's is a GGUF file, for which the base's configuration is read, and none of its
//! weights. There is no model card: what a card says of a run belongs to the run's own export.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use burn_lora_files::{self as files, atomic, lossy};
use burn_lora_models::gguf::{GgufAdapter, LowRank};
use burn_lora_models::{CausalConfig, CausalLm, ModelConfig};
use burn_lora_patch::combine::{StoredAdapter, StoredLayer};
use burn_lora_patch::peft::{self, CONFIG_FILE, PeftConfig, TENSORS_FILE};
use burn_lora_patch::readers::{ForReader, Reader, for_reader};
use burn_lora_text::{grouped, or};
use burn_lora_train::directory::RunDirectory;
use burn_lora_train::located::{located, present};
use burn_lora_train::observe::Observer;
use serde::Serialize;

use super::{Base, adapter_json, adapter_tensors, base_called, named, title};
use crate::AppError;
use crate::dry_write::DryWrite;
use crate::generator::Place;
use crate::inspect::adapter_of;

/// llama.cpp's file.
const GGUF_FILE: &str = "adapter.gguf";

/// The program that is to read an adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// Hugging Face PEFT: every kind, as it is.
    Peft,
    /// vLLM: PEFT's two files with one rank and one scale.
    Vllm,
    /// llama.cpp: a GGUF file.
    LlamaCpp,
}

impl Profile {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Peft, Self::Vllm, Self::LlamaCpp];

    /// Its word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Peft => "peft",
            Self::Vllm => "vllm",
            Self::LlamaCpp => "llama-cpp",
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Profile {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|profile| profile.name() == name);
        known.ok_or_else(|| {
            format!("no program `{name}` is known: there are {}", or(&Self::ALL.map(Self::name)))
        })
    }
}

/// For whom to write an adapter, and where to.
#[derive(Debug, Clone)]
pub struct ProfileOptions {
    /// The directory to write; it must not exist.
    pub out: PathBuf,
    /// Who is to read it.
    pub profile: Profile,
    /// What others find the base model by, such as `org/name`; what the adapter says unless given.
    pub base_model: Option<String>,
    /// The base, a model's directory, `.gguf` file or one of the hub that is here already: for llama.cpp, whose names are its. The run's
    /// own, or the one that the adapter names, unless given.
    pub base: Option<PathBuf>,
}

/// An adapter that was written for a program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProfileExported {
    /// The directory.
    #[serde(serialize_with = "lossy")]
    pub out: PathBuf,
    /// Who is to read it.
    pub profile: Profile,
    /// The names of its files, sorted.
    pub files: Vec<String>,
    /// The tensors in it.
    pub tensors: usize,
    /// What should be known.
    pub notes: Vec<String>,
}

impl fmt::Display for ProfileExported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exported for {}: {}", self.profile, self.out.display())?;
        self.files.iter().try_for_each(|name| write!(f, "\n  {name}"))?;
        write!(f, "\ntensors: {}", grouped(self.tensors))?;
        self.notes.iter().try_for_each(|note| write!(f, "\nnote: {note}"))
    }
}

/// Writes the adapter in a PEFT directory, or that of a finished run, for one program.
///
/// # Errors
///
/// A directory that exists already, no adapter at `path`; what the program does not read; for llama.cpp, a base that is
/// not here or that the adapter does not fit.
pub fn export_profile(
    path: &Path,
    options: &ProfileOptions,
    observer: &Observer,
) -> Result<ProfileExported, AppError> {
    let made = Made::of(path, options, observer)?;
    let scratch = files::scratch_dir(atomic::parent(&options.out))?;
    let inside = scratch.path().join("export");
    files::create_dir(&inside)?;
    for (name, bytes) in &made.files {
        files::write(&inside.join(name), bytes)?;
    }
    files::put_in_place(&inside, &options.out)?;
    let mut names: Vec<String> = made.files.iter().map(|(name, _)| (*name).to_owned()).collect();
    names.sort_unstable();
    let (out, profile) = (options.out.clone(), options.profile);
    Ok(ProfileExported { out, profile, files: names, tensors: made.tensors, notes: made.notes })
}

/// What [`export_profile`] would write; nothing is written.
///
/// # Errors
///
/// Those of [`export_profile`] that come before anything is written.
pub fn export_profile_dry_run(
    path: &Path,
    options: &ProfileOptions,
    observer: &Observer,
) -> Result<DryWrite, AppError> {
    let made = Made::of(path, options, observer)?;
    let mut dry = DryWrite::new(&options.out);
    for (name, bytes) in made.files {
        dry.add(name, bytes.len() as u64);
    }
    Ok(dry)
}

/// The files, in memory: adapters are small.
struct Made {
    files: Vec<(&'static str, Vec<u8>)>,
    tensors: usize,
    notes: Vec<String>,
}

impl Made {
    fn of(path: &Path, options: &ProfileOptions, observer: &Observer) -> Result<Self, AppError> {
        AppError::unless_new(&options.out)?;
        let dir = adapter_of(path)?;
        let config = peft::read_config(&dir)?;
        let config = named(config.clone(), &called(&config, options.base_model.as_deref()));
        match options.profile {
            Profile::Peft => Self::as_it_is(&dir, &config),
            Profile::Vllm => {
                let ForReader { mut adapter, notes } = for_reader(&dir, Reader::Vllm)?;
                adapter.config.base_model_name_or_path = config.base_model_name_or_path;
                adapter.config.revision = config.revision;
                let tensors = 2 * adapter.layers.len();
                Ok(Self { files: adapter.files()?.into(), tensors, notes })
            }
            Profile::LlamaCpp => {
                let ForReader { adapter, notes } = for_reader(&dir, Reader::LlamaCpp)?;
                let base = base_at(path, &dir, options.base.as_deref(), observer)?;
                let file = gguf(&adapter, &base, &title(path))?;
                Ok(Self {
                    files: vec![(GGUF_FILE, file.to_bytes())],
                    tensors: file.tensors(),
                    notes,
                })
            }
        }
    }

    fn as_it_is(dir: &Path, config: &PeftConfig) -> Result<Self, AppError> {
        let bytes = adapter_tensors(config, dir)?;
        let tensors = safetensors::SafeTensors::deserialize(&bytes).map_or(0, |file| file.len());
        let files =
            vec![(TENSORS_FILE, bytes), (CONFIG_FILE, adapter_json(config, dir)?.into_bytes())];
        Ok(Self { files, tensors, notes: config.passed_over().into_iter().collect() })
    }
}

/// What the written configuration calls the base.
fn called(config: &PeftConfig, given: Option<&str>) -> Base {
    match given.or(config.base_model_name_or_path.as_deref()) {
        Some(name) => {
            let here = given.is_none() && Path::new(name).exists();
            match base_called(name, here) {
                // A revision that stands in a key of its own stays there.
                Base::Hub { repo, revision: None } if given.is_none() => {
                    Base::Hub { repo, revision: config.revision.clone() }
                }
                base => base,
            }
        }
        None => Base::Random,
    }
}

/// Where the base's configuration lies.
fn base_at(
    path: &Path,
    dir: &Path,
    given: Option<&Path>,
    observer: &Observer,
) -> Result<PathBuf, AppError> {
    let named = || -> Result<Option<PathBuf>, AppError> {
        if RunDirectory::new(path).config().is_file() {
            return Ok(Some(Place::of(path)?.base));
        }
        Ok(peft::read_config(dir)?.base_model_name_or_path.map(PathBuf::from))
    };
    let base = match given {
        Some(base) => base.to_owned(),
        None => named()?.ok_or_else(|| AppError::NoBase { adapter: dir.to_owned() })?,
    };
    // A configuration is all that is needed: for that no model is downloaded.
    present(&base)?;
    Ok(located(&base, observer)?)
}

/// The adapter as llama.cpp's file, for that base.
fn gguf(adapter: &StoredAdapter, base: &Path, name: &str) -> Result<GgufAdapter, AppError> {
    let config = CausalConfig::from_path(base)?;
    let in_f32 = |values: &[f64]| values.iter().map(|value| *value as f32).collect();
    let layers = adapter.layers.iter().map(|(path, StoredLayer { place, factors })| LowRank {
        path: path.clone(),
        is_table: place.is_table(),
        rank: factors.rank,
        d_in: factors.d_in,
        d_out: factors.d_out,
        a: in_f32(&factors.a),
        b: in_f32(&factors.b),
    });
    let (alpha, layers) = (adapter.config.lora_alpha as f32, layers.collect());
    // Nothing is put there: the base exists by its shapes.
    let device = burn_lora::device::parse("cpu")?;
    Ok(GgufAdapter::new::<CausalLm>(&config, &device, name, alpha, layers)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_is_named_as_others_find_it_and_keeps_its_revision() {
        let config = |name: &str, revision: Option<&str>| PeftConfig {
            base_model_name_or_path: Some(name.to_owned()),
            revision: revision.map(str::to_owned),
            ..PeftConfig::default()
        };
        let hub = |repo: &str, revision: Option<&str>| Base::Hub {
            repo: repo.to_owned(),
            revision: revision.map(str::to_owned),
        };
        assert_eq!(called(&config("org/a", Some("v1")), None), hub("org/a", Some("v1")));
        assert_eq!(called(&config("org/a", Some("v1")), Some("org/b")), hub("org/b", None));
        assert_eq!(called(&config("org/a", None), Some("org/b@v2")), hub("org/b", Some("v2")));
        assert_eq!(called(&config("/home/me/base", None), None), Base::Path("base".into()));
        assert_eq!(called(&PeftConfig::default(), None), Base::Random);
    }

    #[test]
    fn profiles_are_called_by_their_words() {
        for profile in Profile::ALL {
            assert_eq!(profile.name().parse(), Ok(profile));
        }
        let error = "ollama".parse::<Profile>().unwrap_err();
        assert!(error.contains("`peft`, `vllm` or `llama-cpp`"), "{error}");
    }
}
