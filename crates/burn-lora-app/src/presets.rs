//! Run configurations that are ready to use: those of the folder `configs`, inside the binary.
//!
//! One is taken as it is, or with a few places filled in; its comments and its order stay.
//!
//! ```
//! use burn_lora_app::presets::{self, Fill};
//!
//! let fill = Fill { model: Some("models/mine".into()), ..Fill::default() };
//! let text = presets::find("quickstart")?.filled(&fill)?;
//! assert!(text.starts_with("# Teaches"));
//! assert!(text.contains("[model]\npath = \"models/mine\"\n"));
//! # Ok::<(), burn_lora_app::presets::PresetError>(())
//! ```

mod fill;

use std::path::{Path, PathBuf};

use burn_lora_text::nearest;

use crate::AppError;

pub use fill::Fill;

/// A configuration that is ready to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preset {
    /// Its name, which is its file's without `.toml`.
    pub name: &'static str,
    /// The file.
    pub text: &'static str,
}

macro_rules! preset {
    ($name:literal) => {
        Preset { name: $name, text: include_str!(concat!("../configs/", $name, ".toml")) }
    };
}

/// The configurations, the simplest first.
pub const ALL: [Preset; 8] = [
    preset!("quickstart"),
    preset!("full-fine-tuning"),
    preset!("minilm-banking77"),
    preset!("smollm2-e2e"),
    preset!("smollm2-chat"),
    preset!("bloom-squad"),
    preset!("continued-pretraining"),
    preset!("pretrain-quickstart"),
];

/// Why there is no such configuration, or why it cannot be made as asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PresetError {
    /// No configuration has the name.
    #[error(
        "there is no ready configuration `{name}`: {}there are {}",
        nearest.map_or_else(String::new, |nearest| format!("did you mean `{nearest}`? Else ")),
        ALL.map(|preset| preset.name).join(", ")
    )]
    Unknown {
        /// The name asked for.
        name: String,
        /// The name that may have been meant.
        nearest: Option<&'static str>,
    },
    /// The configuration does not have the key to fill in.
    #[error("`{name}` has no `{key}` in [{section}] to fill in: copy it and write the key by hand")]
    NoKey {
        /// The configuration.
        name: &'static str,
        /// The section.
        section: &'static str,
        /// The key.
        key: &'static str,
    },
    /// The file is there already.
    #[error("`{}` is there already: name another file, or remove it first", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
}

/// The configuration of that name.
///
/// # Errors
///
/// There is none; the error has the nearest name.
pub fn find(name: &str) -> Result<&'static Preset, PresetError> {
    ALL.iter()
        .find(|preset| preset.name == name)
        .ok_or_else(|| PresetError::Unknown { name: name.to_owned(), nearest: meant(name) })
}

/// Writes a configuration to a file of its own.
///
/// # Errors
///
/// A file that is there already, or that cannot be written.
pub fn write_new(path: &Path, text: &str) -> Result<(), AppError> {
    if path.exists() {
        return Err(PresetError::Exists { path: path.to_owned() }.into());
    }
    Ok(burn_lora_files::write(path, text.as_bytes())?)
}

impl Preset {
    /// What it does: the first paragraph of the comment that it begins with, on one line.
    pub fn summary(&self) -> String {
        let comments = self.text.lines().map_while(|line| line.strip_prefix('#'));
        let paragraph = comments.map(str::trim).take_while(|line| !line.is_empty());
        let summary = paragraph.collect::<Vec<_>>().join(" ");
        summary.trim_end_matches(':').to_owned()
    }
}

/// The name that somebody may have meant, if one is near enough: misspelt, or a part of it.
fn meant(name: &str) -> Option<&'static str> {
    let wanted = name.to_lowercase();
    let names = || ALL.iter().map(|preset| preset.name);
    let part = names().find(|name| wanted.len() >= 3 && name.contains(&wanted));
    part.or_else(|| nearest(name, names()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use burn_lora_config::RunConfig;

    use super::*;

    #[test]
    fn the_configurations_are_those_of_the_folder() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs");
        let files: BTreeMap<String, String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| {
                let path = entry.unwrap().path();
                let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
                (name, std::fs::read_to_string(path).unwrap())
            })
            .collect();
        let presets = ALL.map(|preset| (preset.name.to_owned(), preset.text.to_owned()));
        assert_eq!(BTreeMap::from(presets), files);
    }

    #[test]
    fn every_configuration_is_right_and_goes_to_a_run_directory_of_its_name() {
        for Preset { name, text } in ALL {
            let config = RunConfig::parse(text, name, &[]).unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(config.output.dir, Path::new("runs").join(name));
        }
    }

    #[test]
    fn no_place_is_left_unfilled() {
        for Preset { name, text } in ALL {
            for place in ["TODO", "FIXME", "XXX", "path/to", "your-", "CHANGE"] {
                assert!(!text.contains(place), "{name} has {place}");
            }
            for line in text.lines().filter(|line| !line.starts_with('#')) {
                let unfilled = line.contains(['<', '>', '$', '…']) || line.ends_with("= \"\"");
                assert!(!unfilled, "{name}: {line}");
            }
        }
    }

    #[test]
    fn every_head_says_what_the_run_does_and_how_it_is_started() {
        for preset in ALL {
            let (name, summary) = (preset.name, preset.summary());
            assert!((20..160).contains(&summary.chars().count()), "{name}: {summary}");
            let command = format!("#   cargo run --release -- train configs/{name}.toml\n");
            assert!(preset.text.contains(&command), "{name}");
        }
        assert_eq!(
            find("minilm-banking77").unwrap().summary(),
            "Sorts bank customers' questions by intent: all-MiniLM-L6-v2 on BANKING77 (77 classes), \
             about five minutes on 2 cores."
        );
    }

    #[test]
    fn a_name_that_is_none_gets_the_nearest() {
        let nearest = |name: &str| match find(name) {
            Err(PresetError::Unknown { nearest, .. }) => nearest,
            other => panic!("{name}: {other:?}"),
        };
        assert_eq!(nearest("quikstart"), Some("quickstart"));
        assert_eq!(nearest("Smollm2-Chat"), Some("smollm2-chat"));
        assert_eq!(nearest("banking77"), Some("minilm-banking77"));
        // Also a part of `pretrain-quickstart`, which comes later.
        assert_eq!(nearest("quick"), Some("quickstart"));
        assert_eq!(nearest("x"), None);
        let error = find("quikstart").unwrap_err().to_string();
        assert!(error.contains("did you mean `quickstart`?"), "{error}");
        assert!(error.contains("smollm2-e2e"), "{error}");
    }

    #[test]
    fn a_file_that_is_there_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new/run.toml");
        write_new(&path, "first").unwrap();
        let again = write_new(&path, "second");
        assert!(matches!(again, Err(AppError::Preset(PresetError::Exists { .. }))));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "first");
    }
}
