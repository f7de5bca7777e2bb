//! The whole way: list, pick, download, link, record.

use std::path::PathBuf;

use crate::cache::Repository;
use crate::client::Client;
use crate::download::{Progress, Remote};
use crate::files::{self, Files, Weights};
use crate::listing::Listing;
use crate::{HubError, HubId, HubOptions};

/// A hub, and the cache of what was fetched from it.
#[derive(Debug)]
pub struct Hub {
    client: Client,
    cache: PathBuf,
    offline: bool,
}

impl Hub {
    /// Checks the options; makes no request and no directory.
    ///
    /// # Errors
    ///
    /// [`HubError::BadEndpoint`] and [`HubError::BadToken`].
    pub fn new(options: HubOptions) -> Result<Self, HubError> {
        let client = Client::new(&options)?;
        Ok(Self { client, cache: options.cache, offline: options.offline })
    }

    /// Sees to it that the cache has the files of a model, and gives the snapshot's directory.
    ///
    /// Files that the cache has are not asked for again. Offline, this is [`cached`](Self::cached).
    /// `progress` is called while a file is downloaded, and not for one that is there.
    ///
    /// # Errors
    ///
    /// [`HubError`], by cause. What was downloaded stays, and the next call goes on from there.
    pub fn fetch(
        &self,
        id: &HubId,
        files: &Files,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<PathBuf, HubError> {
        if self.offline {
            return self.cached(id, files);
        }
        let listing = Listing::request(&self.client, id)?;
        let has = |name: &str| listing.has(name);
        let weights = files.weights(has).ok_or_else(|| match files {
            Files::Safetensors => {
                HubError::NoSafetensors { id: id.clone(), has: files::instead(&listing.names) }
            }
            Files::Gguf(file) => {
                let ggufs = listing.names.iter().filter(|name| files::is_gguf(name));
                HubError::NoSuchGguf {
                    id: id.clone(),
                    file: file.clone(),
                    has: ggufs.cloned().collect(),
                }
            }
        })?;

        let repository = Repository::new(&self.cache, id);
        let mut ensure =
            |name: &str| self.ensure(&repository, id, &listing.commit, name, &mut *progress);
        for name in files::descriptions(has) {
            ensure(name)?;
        }
        match weights {
            Weights::Single(name) => ensure(&name)?,
            Weights::Sharded(index) => {
                ensure(index)?;
                let path = repository.pointer(&listing.commit, index);
                let shards = files::shards(&path)?;
                if let Some(missing) = shards.iter().find(|shard| !listing.has(shard)) {
                    let problem = format!("it names `{missing}`, which the model does not have");
                    return Err(HubError::BadIndex { path, problem });
                }
                for shard in &shards {
                    ensure(shard)?;
                }
            }
        }
        // Last, so that a revision is found offline only once all of it is there.
        repository.write_ref(id.revision(), &listing.commit)?;
        Ok(repository.snapshot(&listing.commit))
    }

    /// The snapshot's directory of a model that the cache has, without any request.
    ///
    /// # Errors
    ///
    /// [`HubError::NotCached`]: the revision was never fetched, or files of it are missing.
    pub fn cached(&self, id: &HubId, files: &Files) -> Result<PathBuf, HubError> {
        let lacks = |problem: String| {
            Err(HubError::NotCached { id: id.clone(), cache: self.cache.clone(), problem })
        };
        let repository = Repository::new(&self.cache, id);
        let Some(commit) = repository.read_ref(id.revision())? else {
            return lacks(format!("revision `{}` was never fetched", id.revision()));
        };
        let has = |name: &str| repository.pointer(&commit, name).is_file();
        // The cache does not say which descriptions there are; safetensors mean nothing without this one.
        if *files == Files::Safetensors && !has("config.json") {
            return lacks("there is no config.json".to_owned());
        }
        match files.weights(has) {
            None => return lacks("there are no weights".to_owned()),
            Some(Weights::Single(_)) => {}
            Some(Weights::Sharded(index)) => {
                let shards = files::shards(&repository.pointer(&commit, index))?;
                if let Some(missing) = shards.iter().find(|shard| !has(shard)) {
                    return lacks(format!("there is no {missing}"));
                }
            }
        }
        Ok(repository.snapshot(&commit))
    }

    /// Makes one file visible in the snapshot, downloading it only if the cache has it nowhere.
    fn ensure(
        &self,
        repository: &Repository,
        id: &HubId,
        commit: &str,
        name: &str,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<(), HubError> {
        if repository.pointer(commit, name).is_file() {
            return Ok(());
        }
        let remote = Remote::request(&self.client, id, commit, name)?;
        let blob = repository.blob(&remote.checksum);
        let lock = repository.lock(&remote.checksum)?;
        if !blob.is_file() {
            let incomplete = repository.incomplete(&remote.checksum)?;
            remote.download(&self.client, &incomplete, &blob, progress)?;
        }
        repository.link(&remote.checksum, commit, name)?;
        drop(lock);
        Ok(())
    }
}
