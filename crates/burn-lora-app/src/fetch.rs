//! A model of the Hugging Face hub, brought up to date in the cache that Python shares.

use burn_lora_hub::{Files, Hub, HubId, HubOptions, Snapshot};
use burn_lora_train::located::download;
use burn_lora_train::observe::Observer;

use crate::AppError;

/// Brings a model of the hub up to date in the cache; `gguf` names a file to take instead of the
/// safetensors. What is then there is told.
///
/// # Errors
///
/// What is no id, what the hub does not have or does not give, a connection that fails.
pub fn fetch(id: &str, gguf: Option<&str>, observer: &Observer) -> Result<Snapshot, AppError> {
    let (hub, id, files) = asked(id, gguf)?;
    download(&hub, &id, &files, observer)?;
    Ok(hub.cached_snapshot(&id, &files)?)
}

/// What [`fetch`] would download, without doing so.
///
/// # Errors
///
/// Those of [`fetch`] that come before the first file.
pub fn fetch_dry_run(id: &str, gguf: Option<&str>) -> Result<Snapshot, AppError> {
    let (hub, id, files) = asked(id, gguf)?;
    Ok(hub.plan(&id, &files)?)
}

fn asked(id: &str, gguf: Option<&str>) -> Result<(Hub, HubId, Files), AppError> {
    let id = HubId::parse(id)?;
    let files = match gguf {
        Some(name) => Files::Gguf(name.to_owned()),
        None => Files::Safetensors,
    };
    Ok((Hub::new(HubOptions::from_env()?)?, id, files))
}
