//! The whole way: list, pick, download, link, record.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::cache::Repository;
use crate::client::Client;
use crate::download::{Progress, Remote};
use crate::files::{self, Files, Weights};
use crate::listing::Listing;
use crate::snapshot::{Snapshot, SnapshotFile};
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
        self.fetched(id, files, progress).map_err(|error| self.client.hiding_token(error))
    }

    fn fetched(
        &self,
        id: &HubId,
        files: &Files,
        progress: &mut dyn FnMut(Progress<'_>),
    ) -> Result<PathBuf, HubError> {
        let listing = Listing::request(&self.client, id)?;
        let weights = weights(&listing, id, files)?;
        let repository = Repository::new(&self.cache, id);
        let mut ensure =
            |name: &str| self.ensure(&repository, id, &listing.commit, name, &mut *progress);
        for name in files::descriptions(|name| listing.has(name)) {
            ensure(name)?;
        }
        match weights {
            Weights::Single(name) => ensure(&name)?,
            Weights::Sharded(index) => {
                ensure(index)?;
                let path = repository.pointer(&listing.commit, index);
                for shard in listed(files::shards(&path)?, &listing, path)? {
                    ensure(&shard)?;
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

    /// What [`fetch`](Self::fetch) would do: the files of a model, with their sizes and what the cache has
    /// of them. Nothing is written; of an index that the cache lacks, the text is read to know the shards.
    ///
    /// # Errors
    ///
    /// Those of `fetch` that come before the first file.
    pub fn plan(&self, id: &HubId, files: &Files) -> Result<Snapshot, HubError> {
        if self.offline {
            return self.cached_snapshot(id, files);
        }
        self.planned(id, files).map_err(|error| self.client.hiding_token(error))
    }

    fn planned(&self, id: &HubId, files: &Files) -> Result<Snapshot, HubError> {
        let repository = Repository::new(&self.cache, id);
        let listing = Listing::request(&self.client, id)?;
        weights(&listing, id, files)?;
        let commit = &listing.commit;
        let shards = |index: &str| {
            let path = repository.pointer(commit, index);
            let shards = match path.is_file() {
                true => files::shards(&path)?,
                false => {
                    let remote = Remote::request(&self.client, id, commit, index)?;
                    let bytes = remote.read(&self.client, files::MAX_INDEX_BYTES)?;
                    files::shards_of(&bytes, &path)?
                }
            };
            listed(shards, &listing, path)
        };
        let mut planned = Vec::new();
        for name in names(files, |name| listing.has(name), shards)? {
            planned.push(self.look(&repository, id, commit, &name)?);
        }
        let directory = repository.snapshot(commit);
        Ok(Snapshot { commit: listing.commit, directory, files: planned })
    }

    /// The files of a model that the cache has, without any request.
    ///
    /// # Errors
    ///
    /// Those of [`cached`](Self::cached).
    pub fn cached_snapshot(&self, id: &HubId, files: &Files) -> Result<Snapshot, HubError> {
        let directory = self.cached(id, files)?;
        let repository = Repository::new(&self.cache, id);
        // What is cached has a commit.
        let commit = repository.read_ref(id.revision())?.unwrap_or_default();
        let has = |name: &str| repository.pointer(&commit, name).is_file();
        let shards = |index: &str| files::shards(&repository.pointer(&commit, index));
        let names = names(files, has, shards)?;
        let files: Result<_, _> =
            names.iter().map(|name| repository.cached(&commit, name)).collect();
        Ok(Snapshot { commit, directory, files: files? })
    }

    /// What the cache has of one file.
    fn look(
        &self,
        repository: &Repository,
        id: &HubId,
        commit: &str,
        name: &str,
    ) -> Result<SnapshotFile, HubError> {
        if repository.pointer(commit, name).is_file() {
            return repository.cached(commit, name);
        }
        let remote = Remote::request(&self.client, id, commit, name)?;
        let cached = repository.blob(&remote.checksum).is_file();
        let there = if cached { remote.size } else { repository.partial(&remote.checksum) };
        // What is longer than the file is none of it.
        let there = if there > remote.size { 0 } else { there };
        let (bytes, to_download) = (remote.size, remote.size - there);
        Ok(SnapshotFile { name: name.to_owned(), bytes, cached, to_download })
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

/// The names of a model's files, in the order in which they are fetched.
fn names(
    files: &Files,
    has: impl Fn(&str) -> bool,
    shards: impl Fn(&str) -> Result<BTreeSet<String>, HubError>,
) -> Result<Vec<String>, HubError> {
    let mut names: Vec<String> = files::descriptions(&has).map(str::to_owned).collect();
    match files.weights(&has) {
        None => {}
        Some(Weights::Single(name)) => names.push(name),
        Some(Weights::Sharded(index)) => {
            names.push(index.to_owned());
            names.extend(shards(index)?);
        }
    }
    Ok(names)
}

/// The weights that a repository has of those wanted.
fn weights(listing: &Listing, id: &HubId, files: &Files) -> Result<Weights, HubError> {
    files.weights(|name| listing.has(name)).ok_or_else(|| match files {
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
    })
}

/// The shards of the index at `path`, if the repository has all of them.
fn listed(
    shards: BTreeSet<String>,
    listing: &Listing,
    path: PathBuf,
) -> Result<BTreeSet<String>, HubError> {
    match shards.iter().find(|shard| !listing.has(shard)) {
        Some(missing) => {
            let problem = format!("it names `{missing}`, which the model does not have");
            Err(HubError::BadIndex { path, problem })
        }
        None => Ok(shards),
    }
}
