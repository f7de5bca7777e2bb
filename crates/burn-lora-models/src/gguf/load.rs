//! A model from a file.

use std::collections::BTreeMap;
use std::path::Path;

use super::{GgufFile, GgufSource};
use crate::ModelError;
use crate::weights::{Builder, LoadReport, Manifest, Storage};

/// Whether the path is that of a GGUF file, by its name.
pub(crate) fn is_gguf(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gguf"))
}

/// The text of the `config.json` that the file stands for.
pub(crate) fn config_text(path: &Path) -> Result<String, ModelError> {
    Ok(GgufFile::open(path)?.config()?.to_string())
}

/// Builds a model from the file at `path`; `build` runs twice, as for a directory.
pub(crate) fn load<M>(
    path: &Path,
    at: Storage<'_>,
    progress: &mut dyn FnMut(u64, u64),
    build: impl Fn(&mut Builder<'_>) -> Result<M, ModelError>,
) -> Result<(M, LoadReport), ModelError> {
    let mut manifest = Manifest::default();
    build(&mut Builder::new(&mut manifest, at))?;
    let mut source = GgufSource::new(GgufFile::open(path)?, &manifest.specs, progress)?;
    let report = source.report();
    Ok((build(&mut Builder::new(&mut source, at))?, report))
}

/// The model of the file at `path` by its shapes, with which its header is compared.
pub(crate) fn outline<M>(
    path: &Path,
    at: Storage<'_>,
    build: impl Fn(&mut Builder<'_>) -> Result<M, ModelError>,
) -> Result<M, ModelError> {
    let mut manifest = Manifest::default();
    let model = build(&mut Builder::new(&mut manifest, at))?;
    GgufSource::new(GgufFile::open(path)?, &manifest.specs, &mut |_, _| {})?;
    Ok(model)
}

/// The bytes that the blocks of each matrix in the file at `path` take, by its Hugging Face key: what a model takes that holds them
/// as they lie. Empty of what is no GGUF file.
///
/// # Errors
///
/// A file that cannot be read.
pub fn block_bytes(path: &Path) -> Result<BTreeMap<String, u64>, ModelError> {
    if !is_gguf(path) {
        return Ok(BTreeMap::new());
    }
    let file = GgufFile::open(path)?;
    let names = &file.family()?.names;
    let tensors = file
        .tensors()
        .filter(|tensor| tensor.shape.len() == 2 && tensor.ggml_type.blocks().is_some());
    let bytes =
        tensors.filter_map(|tensor| Some((names.hugging_face(&tensor.name)?, tensor.bytes())));
    Ok(bytes.collect())
}

#[cfg(test)]
mod tests;
