//! What a command would write, for its dry run: a directory, and the files in it with their sizes.

use std::fmt;
use std::path::{Path, PathBuf};

use burn_lora_files::lossy;
use burn_lora_text::size;
use serde::Serialize;

/// A directory that would be written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DryWrite {
    /// Its path.
    #[serde(serialize_with = "lossy")]
    pub out: PathBuf,
    /// Its files, sorted by name.
    pub files: Vec<DryFile>,
}

/// A file that would be written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct DryFile {
    /// Its name.
    pub name: String,
    /// Its size.
    pub bytes: u64,
}

impl DryWrite {
    /// A directory without files so far.
    pub(crate) fn new(out: &Path) -> Self {
        Self { out: out.to_owned(), files: Vec::new() }
    }

    /// Adds a file; one of the same name is taken over by it.
    pub(crate) fn add(&mut self, name: impl Into<String>, bytes: u64) {
        let file = DryFile { name: name.into(), bytes };
        match self.files.binary_search_by(|other| other.name.cmp(&file.name)) {
            Ok(at) => self.files[at] = file,
            Err(at) => self.files.insert(at, file),
        }
    }

    /// The size of all files together.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }
}

/// `would write …`, and a line for each file.
impl fmt::Display for DryWrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "would write {} ({})", self.out.display(), size(self.bytes()))?;
        let width = self.files.iter().map(|file| file.name.len()).max().unwrap_or(0);
        for DryFile { name, bytes } in &self.files {
            write!(f, "\n  {name:width$}  {}", size(*bytes))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_listed_by_name_each_once() {
        let mut dry = DryWrite::new(Path::new("out"));
        dry.add("model.safetensors", 3 << 20);
        dry.add("config.json", 700);
        dry.add("config.json", 531);
        let lines =
            "would write out (3.0 MiB)\n  config.json        531 B\n  model.safetensors  3.0 MiB";
        assert_eq!(dry.to_string(), lines);
        assert_eq!(dry.bytes(), (3 << 20) + 531);
        let json = serde_json::to_string(&dry).unwrap();
        assert_eq!(
            json,
            r#"{"out":"out","files":[{"name":"config.json","bytes":531},{"name":"model.safetensors","bytes":3145728}]}"#
        );
    }
}
