//! From where the relative paths of a run lead.
//!
//! A configuration is written into the run directory as it was given, so that a project keeps working when it is moved as a whole. The
//! directory in which the run was made stands beside it, in `made_in`, so that whoever uses the run from elsewhere finds its base and its
//! rows. What is not there any more is looked for from the current directory, as in a configuration.

use std::env;
use std::path::{Path, PathBuf};

use burn_lora_config::{ModelSource, RunConfig};
use burn_lora_files as files;

use crate::TrainError;

/// Writes the current directory into `path`. One that is no UTF-8 is left out: no configuration could name it either.
pub(super) fn write(path: &Path) -> Result<(), TrainError> {
    let here = env::current_dir().map_err(TrainError::io("use", "."))?;
    match here.to_str() {
        Some(here) => Ok(files::write(path, format!("{here}\n").as_bytes())?),
        None => Ok(()),
    }
}

/// Makes the paths of a run's configuration lead from where it was made, but for those that an override gives.
pub(super) fn resolve(config: &mut RunConfig, origin: &Path, overrides: &[String]) {
    let Ok(made_in) = files::read_text(origin) else { return };
    let made_in = Path::new(made_in.trim_end_matches(['\n', '\r']));
    if env::current_dir().is_ok_and(|here| here == made_in) {
        return;
    }
    let given = |key: &str| {
        let key_of = |text: &String| text.split_once('=').map(|(key, _)| key.trim().to_owned());
        overrides.iter().filter_map(key_of).any(|of_override| of_override == key)
    };
    // An absolute path stays itself, and so does the name of a model of the hub.
    let lead = |path: &mut PathBuf| {
        let there = made_in.join(&*path);
        if there.exists() {
            *path = there;
        }
    };
    if !given("model.path") && !given("model.config") {
        let (ModelSource::Pretrained(path) | ModelSource::Random(path)) = &mut config.model.source;
        lead(path);
    }
    if !given("model.tokenizer") {
        lead(&mut config.model.tokenizer);
    }
    if !given("data.train") {
        config.data.train.iter_mut().for_each(|source| lead(&mut source.path));
    }
    if let Some(eval) = config.data.eval.as_mut().filter(|_| !given("data.eval")) {
        lead(eval);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Paths of the run that lie where it was made lead there, and all others are as they were written.
    #[test]
    fn what_lies_where_the_run_was_made_is_found_there() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for name in ["model", "rows.jsonl", "held.jsonl"] {
            std::fs::create_dir(at(name)).unwrap();
        }
        let origin = at("made_in");
        std::fs::write(&origin, format!("{}\n", dir.path().display())).unwrap();
        let text = "[model]\npath = \"model\"\ntokenizer = \"org/name\"\n[data]\n\
                    train = [\"rows.jsonl\", \"gone.jsonl\"]\neval = \"held.jsonl\"\n\
                    [output]\ndir = \"run\"\n";
        let resolved = |overrides: &[&str]| {
            let overrides: Vec<String> = overrides.iter().map(|&text| text.to_owned()).collect();
            let mut config = RunConfig::parse(text, "config.toml", &overrides).unwrap();
            resolve(&mut config, &origin, &overrides);
            config
        };
        let config = resolved(&[]);
        assert_eq!(config.model.source, ModelSource::Pretrained(at("model")));
        assert_eq!(config.model.tokenizer, Path::new("org/name"));
        let train: Vec<_> = config.data.train.iter().map(|source| source.path.clone()).collect();
        assert_eq!(train, [at("rows.jsonl"), "gone.jsonl".into()]);
        assert_eq!(config.data.eval, Some(at("held.jsonl")));
        let config = resolved(&["data.eval = held.jsonl", "model.path=model"]);
        assert_eq!(config.data.eval, Some("held.jsonl".into()), "an override leads from here");
        assert_eq!(config.model.source, ModelSource::Pretrained("model".into()));
    }
}
