//! One model on a hub, with a second server that stands for the network that large files come from.
//!
//! As the real hub does: the listing tells commit and files; `resolve` answers with `X-Repo-Commit`. A file in
//! git is redirected to `resolve-cache` on the hub itself and has its blob hash as `ETag`; a file in
//! large-file storage is redirected to the network by a signed address, with `X-Linked-Etag` and
//! `X-Linked-Size` on the redirect, whose own `ETag` means nothing.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use burn_lora_hub::{Files, Hub, HubError, HubId, HubOptions};

use crate::server::{Reply, Request, Server};

pub const ID: &str = "org/name";
pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
pub const TOKEN: &str = "hf_secret";

/// The checksums are computed by Python's hashlib, a file in git with git's `blob <size>\0` before it.
#[derive(Clone)]
pub struct RemoteFile {
    pub name: &'static str,
    pub content: Vec<u8>,
    pub hash: &'static str,
    /// In large-file storage.
    pub large: bool,
}

impl RemoteFile {
    pub fn text(name: &'static str, content: &str, hash: &'static str) -> Self {
        Self { name, content: content.as_bytes().to_vec(), hash, large: false }
    }

    /// `bytes((i * factor + i // 256) % 256 for i in range(length))`.
    fn large(name: &'static str, length: usize, factor: usize, hash: &'static str) -> Self {
        let content = (0..length).map(|i| ((i * factor + i / 256) % 256) as u8).collect();
        Self { name, content, hash, large: true }
    }
}

pub fn config() -> RemoteFile {
    let hash = "9eddb62b076f586b2186445e7872e5a05f0dfe06";
    RemoteFile::text("config.json", "{\"model_type\": \"llama\"}\n", hash)
}

pub fn tokenizer() -> RemoteFile {
    let hash = "92bdb0aff34a95a7c00546c3d608c984294164ed";
    RemoteFile::text("tokenizer.json", "{\"version\": \"1.0\"}\n", hash)
}

/// 300 000 bytes.
pub fn weights(name: &'static str) -> RemoteFile {
    let hash = "d08928a168952dcd1f23061570816ee3b9d5c5c01ec65e00adbda68d328f4dbb";
    RemoteFile::large(name, 300_000, 7, hash)
}

/// Two shards and the index that names them.
pub fn sharded() -> [RemoteFile; 3] {
    let first = "a8b18e758d15e19f83324a98736da606b139869ae82262aaad9d11aa6ad9cc3a";
    let second = "e7f99eb5f76a455e8bc2cc79d23df20668e3e8dae3ac9ce4e7aa2d7784e3e8fb";
    let index = concat!(
        "{\"weight_map\": {\"a\": \"model-00001-of-00002.safetensors\", ",
        "\"b\": \"model-00002-of-00002.safetensors\", ",
        "\"c\": \"model-00001-of-00002.safetensors\"}}\n",
    );
    [
        RemoteFile::large("model-00001-of-00002.safetensors", 200_000, 11, first),
        RemoteFile::large("model-00002-of-00002.safetensors", 100_000, 13, second),
        index_of(index, "bde1841d0873b6f20f4feee8fb7b1a49094d9c26"),
    ]
}

pub fn index_of(text: &str, hash: &'static str) -> RemoteFile {
    RemoteFile::text("model.safetensors.index.json", text, hash)
}

/// A file that no test may ask for: its hash is none.
pub fn surplus(name: &'static str) -> RemoteFile {
    RemoteFile::text(name, "surplus", "")
}

/// The usual small model, with what is not to be fetched.
pub fn small() -> Vec<RemoteFile> {
    let mut files = vec![config(), tokenizer(), weights("model.safetensors")];
    files.extend(
        [".gitattributes", "README.md", "pytorch_model.bin", "onnx/model.onnx"].map(surplus),
    );
    files
}

/// How the servers behave; a test changes it while they run.
#[derive(Default)]
pub struct Behaviour {
    pub commit: Option<String>,
    /// The network closes the connection after so many bytes, one number an answer.
    pub cuts: VecDeque<usize>,
    /// The network closes every connection after so many bytes.
    pub cut_all: Option<usize>,
    /// The network answers every request with the whole file.
    pub ignores_range: bool,
    /// The network answers so, one status an answer, before it behaves.
    pub statuses: VecDeque<u16>,
    /// The network has these bytes instead.
    pub content: Option<Vec<u8>>,
    /// The hub refuses what `resolve` asks for: status, `X-Error-Code`, `X-Error-Message`.
    pub refuses_files: Option<(u16, &'static str, &'static str)>,
    /// The hub refuses the listing.
    pub refuses_listing: Option<(u16, &'static str, &'static str)>,
    /// Large files lie here instead of on the network.
    pub network: Option<String>,
}

/// Hub, network and an empty cache.
pub struct World {
    pub hub: Server,
    pub network: Server,
    pub behaviour: Arc<Mutex<Behaviour>>,
    pub cache: tempfile::TempDir,
}

impl World {
    pub fn new(files: Vec<RemoteFile>) -> Self {
        let files = Arc::new(files);
        let behaviour = Arc::new(Mutex::new(Behaviour::default()));
        let network = {
            let (files, behaviour) = (files.clone(), behaviour.clone());
            Server::start(move |request| {
                from_network(request, &files, &mut behaviour.lock().unwrap())
            })
        };
        let hub = {
            let (behaviour, network) = (behaviour.clone(), network.url());
            Server::start(move |request| {
                from_hub(request, &files, &behaviour.lock().unwrap(), &network)
            })
        };
        Self { hub, network, behaviour, cache: tempfile::tempdir().unwrap() }
    }

    pub fn behave(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut self.behaviour.lock().unwrap());
    }

    pub fn options(&self) -> HubOptions {
        let mut options = HubOptions::new(self.hub.url(), self.cache.path());
        options.pause = std::time::Duration::ZERO;
        options
    }

    pub fn fetch(&self) -> Result<PathBuf, HubError> {
        fetch(self.options(), ID, &Files::Safetensors)
    }

    /// The error of a fetch that must fail.
    pub fn failure(&self) -> HubError {
        self.fetch().unwrap_err()
    }

    pub fn folder(&self) -> PathBuf {
        self.cache.path().join("models--org--name")
    }

    pub fn snapshot(&self) -> PathBuf {
        self.folder().join("snapshots").join(COMMIT)
    }

    pub fn blob(&self, file: &RemoteFile) -> PathBuf {
        self.folder().join("blobs").join(file.hash)
    }

    pub fn incomplete(&self, file: &RemoteFile) -> PathBuf {
        self.folder().join("blobs").join(format!("{}.incomplete", file.hash))
    }

    /// What the network was asked for since the last time: the first byte wanted, by request.
    pub fn ranges(&self) -> Vec<Option<usize>> {
        self.network.take_requests().iter().map(Request::range).collect()
    }
}

pub fn fetch(options: HubOptions, id: &str, files: &Files) -> Result<PathBuf, HubError> {
    Hub::new(options)?.fetch(&HubId::parse(id)?, files, &mut |_| {})
}

/// The names of the files below a directory, in order; none if there is no directory.
pub fn names(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            found.extend(names(&path).iter().map(|below| format!("{name}/{below}")));
        } else {
            found.push(name);
        }
    }
    found.sort();
    found
}

fn refusal((status, code, message): (u16, &str, &str)) -> Reply {
    Reply::new(status, "{}").header("X-Error-Code", code).header("X-Error-Message", message)
}

fn from_hub(
    request: &Request,
    files: &[RemoteFile],
    behaviour: &Behaviour,
    network: &str,
) -> Reply {
    let commit = behaviour.commit.as_deref().unwrap_or(COMMIT);
    if request.path.starts_with("/api/models/org/name/revision/") {
        if let Some(refused) = behaviour.refuses_listing {
            return refusal(refused);
        }
        let siblings: Vec<_> =
            files.iter().map(|file| format!("{{\"rfilename\": {:?}}}", file.name)).collect();
        let (id, siblings) = (format!("\"id\": {ID:?}"), siblings.join(", "));
        return Reply::new(
            200,
            format!("{{{id}, \"sha\": {commit:?}, \"siblings\": [{siblings}]}}"),
        );
    }
    if let Some(name) = request.path.strip_prefix(&format!("/api/resolve-cache/{commit}/")) {
        let file = files.iter().find(|file| file.name == name).unwrap();
        return Reply::content(request, &file.content)
            .header("ETag", format!("\"{}\"", file.hash))
            .header("X-Repo-Commit", commit);
    }
    let resolved = request.path.strip_prefix("/org/name/resolve/").and_then(|path| {
        path.strip_prefix(commit).or_else(|| path.strip_prefix("main"))?.strip_prefix('/')
    });
    let Some(name) = resolved else {
        return refusal((404, "RepoNotFound", "Repository not found"));
    };
    if let Some(refused) = behaviour.refuses_files {
        return refusal(refused);
    }
    let Some(file) = files.iter().find(|file| file.name == name) else {
        return refusal((404, "EntryNotFound", "Entry not found"));
    };
    let reply = Reply::new(302, "Redirecting").header("X-Repo-Commit", commit);
    if file.large {
        let network = behaviour.network.as_deref().unwrap_or(network);
        reply
            .header("Location", format!("{network}/blobs/{}?Signature=secret", file.hash))
            .header("ETag", "W/\"b-the-redirects-own\"")
            .header("X-Linked-Etag", format!("\"{}\"", file.hash))
            .header("X-Linked-Size", file.content.len().to_string())
    } else {
        reply.header("Location", format!("/api/resolve-cache/{commit}/{name}"))
    }
}

fn from_network(request: &Request, files: &[RemoteFile], behaviour: &mut Behaviour) -> Reply {
    if let Some(status) = behaviour.statuses.pop_front() {
        return Reply::new(status, "");
    }
    let named =
        |file: &&RemoteFile| request.path == format!("/blobs/{}?Signature=secret", file.hash);
    let Some(file) = files.iter().find(named) else { return Reply::new(403, "") };
    let content = behaviour.content.as_ref().unwrap_or(&file.content);
    let mut reply = match behaviour.ignores_range {
        true => Reply::new(200, content.as_slice()),
        false => Reply::content(request, content),
    };
    let cut = behaviour.cuts.pop_front().or(behaviour.cut_all);
    reply.cut = cut.map(|cut| cut.min(reply.body.len()));
    reply.header("ETag", "\"the-networks-own\"")
}
