//! One adapter of one architecture, or one initialisation, as a `generate.py` wrote it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use burn_lora_files as files;
use burn_lora_files::floats::values_f64;
use safetensors::{Dtype, SafeTensors};
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// Where the files of one comparison lie.
pub struct Fixture {
    /// The architecture's folder name.
    pub model: String,
    /// The adapter's folder name.
    pub adapter: String,
    /// The architecture's folder.
    pub dir: PathBuf,
}

/// What an initialisation left in the base.
pub const RESIDUAL: &str = "residual.safetensors";

/// A tensor of a file, as numbers of the widest kind.
#[derive(Debug, Clone)]
pub struct Values {
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its entries, row by row.
    pub values: Vec<f64>,
}

impl Fixture {
    /// Every adapter below `root`, which is one architecture's folder or a folder of such.
    pub fn find(root: &Path) -> Result<Vec<Self>, String> {
        let mut models = Vec::new();
        if root.join("config.json").is_file() {
            models.push(root.to_owned());
        } else {
            models
                .extend(folders(root)?.into_iter().filter(|dir| dir.join("config.json").is_file()));
        }
        let mut found = Vec::new();
        for dir in models {
            for adapter in folders(&dir)? {
                let is_one = |name| adapter.join(name).is_file();
                if is_one("adapter_config.json") || is_one(RESIDUAL) {
                    found.push(Self {
                        model: name(&dir),
                        adapter: name(&adapter),
                        dir: dir.clone(),
                    });
                }
            }
        }
        Ok(found)
    }

    /// What a table calls it: the model, and the adapter in a column of its own.
    pub fn name(&self) -> String {
        format!("{} | {}", self.model, self.adapter)
    }

    /// Whether it is an initialisation's, as `fixtures/init/generate.py` writes them.
    pub fn is_start(&self) -> bool {
        self.adapter_dir().join(RESIDUAL).is_file()
    }

    /// The adapter's folder.
    pub fn adapter_dir(&self) -> PathBuf {
        self.dir.join(&self.adapter)
    }

    /// PEFT's steps.
    pub fn curve(&self) -> Result<Curve, String> {
        Curve::of(&self.adapter_dir())
    }
}

/// Steps of training.
#[derive(Deserialize)]
pub struct Curve {
    /// The losses before each of them.
    pub losses: Vec<f64>,
    /// The rate of plain gradient descent; none where AdamW took the steps.
    #[serde(default, rename = "rate")]
    pub descent: Option<f64>,
}

impl Curve {
    /// The `curve.json` of a folder.
    pub fn of(dir: &Path) -> Result<Self, String> {
        json(&dir.join("curve.json"))
    }
}

/// What a JSON file says.
pub fn json<T: DeserializeOwned>(path: &Path) -> Result<T, String> {
    let text = files::read_text(path).map_err(|error| error.to_string())?;
    serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
}

/// The folders at most two below `root` that have a file of that name.
pub fn having(file: &str, root: &Path) -> Result<Vec<PathBuf>, String> {
    let mut found = Vec::new();
    let mut open = vec![(root.to_owned(), 0)];
    while let Some((dir, depth)) = open.pop() {
        if dir.join(file).is_file() {
            found.push(dir);
        } else if depth < 2 && dir.is_dir() {
            let names = files::names(&dir).map_err(|error| error.to_string())?;
            open.extend(names.into_iter().map(|name| (dir.join(name), depth + 1)));
        }
    }
    found.sort();
    Ok(found)
}

/// All tensors of a safetensors file.
pub fn read(path: &Path) -> Result<BTreeMap<String, Values>, String> {
    let context = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let bytes = files::read(path).map_err(|error| error.to_string())?;
    let file = SafeTensors::deserialize(&bytes).map_err(|error| context(&error))?;
    let mut tensors = BTreeMap::new();
    for (key, view) in file.tensors() {
        let values = match view.dtype() {
            Dtype::I64 => {
                view.data().as_chunks().0.iter().map(|b| i64::from_le_bytes(*b) as f64).collect()
            }
            other => values_f64(&view)
                .ok_or_else(|| context(&format!("`{key}` is {other:?}, which is not read")))?,
        };
        tensors.insert(key, Values { shape: view.shape().to_vec(), values });
    }
    Ok(tensors)
}

fn folders(dir: &Path) -> Result<Vec<PathBuf>, String> {
    let names = files::names(dir).map_err(|error| error.to_string())?.into_iter();
    Ok(names.map(|name| dir.join(name)).filter(|path| path.is_dir()).collect())
}

/// The last part of a path.
pub fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
