//! Everything that can go wrong between a model's name and its files.

use std::path::PathBuf;

use burn_lora_files::IoError;
use burn_lora_text::listed;

use crate::HubId;

/// Why a model could not be fetched.
///
/// Whatever the variant, no file that was not whole and checked is visible in a snapshot.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// A text is no name of a model.
    #[error("`{text}` is no model on the hub: {problem}")]
    BadId {
        /// The text.
        text: String,
        /// What is wrong with it.
        problem: String,
    },
    /// A text names neither a path nor a model.
    #[error(
        "there is no file or directory `{text}`, and it is no model on the hub either (`org/name`): \
         {problem}"
    )]
    NoSuchPlace {
        /// The text.
        text: String,
        /// Why it is no name of a model.
        problem: String,
    },
    /// A text that can be nothing but a path names nothing.
    #[error("there is no file or directory `{text}`{note}")]
    NoSuchPath {
        /// The path.
        text: String,
        /// What may have been meant, or is not there.
        note: String,
    },
    /// A text is an address, where a name or a path is needed.
    #[error("`{text}` names no model: {problem}")]
    Address {
        /// The address, without what is secret in it.
        text: String,
        /// What it is, and what to write.
        problem: String,
    },
    /// The hub's address cannot be used.
    #[error("`{endpoint}` cannot be the hub's endpoint: {problem}; correct HF_ENDPOINT")]
    BadEndpoint {
        /// The address.
        endpoint: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The token has characters that no header may have. It is not shown.
    #[error(
        "the token for the hub has blanks or characters that are not ASCII: correct HF_TOKEN, or the token file"
    )]
    BadToken,
    /// The system names no home directory, so there is no place for the cache.
    #[error("there is no home directory to keep the cache in: set HF_HOME to a directory")]
    NoHome,
    /// The hub has no such repository, or does not show it.
    #[error(
        "`{endpoint}` knows no model `{id}`: the name may be misspelled, or the model is private and needs \
         a token with access to it, {TOKEN_PLACE} ({})",
        sent(*with_token)
    )]
    NotFound {
        /// The model.
        id: HubId,
        /// The hub.
        endpoint: String,
        /// Whether a token was sent.
        with_token: bool,
    },
    /// The repository exists, the revision does not.
    #[error("model `{}` has no branch, tag or commit `{}`", id.repo(), id.revision())]
    RevisionNotFound {
        /// The model and the revision.
        id: HubId,
    },
    /// The hub lists a file and then does not have it.
    #[error("model `{id}` has no file `{file}`, though it lists it: run again")]
    FileNotFound {
        /// The model.
        id: HubId,
        /// The file.
        file: String,
    },
    /// The model's terms were not accepted, or the hub was not told by whom.
    #[error(
        "model `{id}` is gated: ask for access on {endpoint}/{}, then put a token of your account \
         {TOKEN_PLACE} ({})",
        id.repo(),
        sent(*with_token)
    )]
    Gated {
        /// The model.
        id: HubId,
        /// The hub.
        endpoint: String,
        /// Whether a token was sent.
        with_token: bool,
    },
    /// The hub refuses for another reason than gating.
    #[error(
        "`{endpoint}` refuses access to model `{id}` (status {status}: {reason}): if the model exists and you \
         may use it, put a valid token with read access {TOKEN_PLACE} ({})",
        sent(*with_token)
    )]
    Unauthorised {
        /// The model.
        id: HubId,
        /// The hub.
        endpoint: String,
        /// 401 or 403.
        status: u16,
        /// What the hub says.
        reason: String,
        /// Whether a token was sent.
        with_token: bool,
    },
    /// A server answers with a status that stands for no other variant.
    #[error("{url} answers with status {status}{}: try again later", in_words(reason))]
    Status {
        /// What was asked for, without its query.
        url: String,
        /// The status.
        status: u16,
        /// What the server says, if anything.
        reason: String,
    },
    /// No answer at all.
    #[error(
        "no connection to {endpoint}: {source}; check the network, HTTPS_PROXY and HF_ENDPOINT, or set \
         HF_HUB_OFFLINE=1 to use what the cache has"
    )]
    Unreachable {
        /// The server: scheme, host and port.
        endpoint: String,
        /// What the network says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A server speaks another protocol than the hub's.
    #[error("{url} does not answer as a hub does: {problem}")]
    Protocol {
        /// What was asked for, without its query.
        url: String,
        /// What is missing or wrong.
        problem: String,
    },
    /// A download stopped before its end, again and again.
    #[error(
        "the download of `{file}` was cut off after {got} of {total} bytes ({problem}): run again to go on \
         from there"
    )]
    CutOff {
        /// The file.
        file: String,
        /// Bytes on the disk.
        got: u64,
        /// Bytes of the whole file.
        total: u64,
        /// What the last attempt ended with.
        problem: String,
    },
    /// A file was downloaded whole, and is not what the hub says it is.
    #[error(
        "the download of `{file}` is damaged: its checksum is {got}, and should be {expected}; it was removed, \
         run again to fetch it anew"
    )]
    WrongChecksum {
        /// The file.
        file: String,
        /// The hub's checksum.
        expected: String,
        /// The download's.
        got: String,
    },
    /// A name would lead out of the snapshot's directory.
    #[error(
        "model `{id}` has a file named `{name}`, which no honest repository has: nothing was fetched"
    )]
    UnsafeName {
        /// The model.
        id: HubId,
        /// The name.
        name: String,
    },
    /// The repository has no weights in a format that is read here.
    #[error(
        "model `{id}` has no model.safetensors and no model.safetensors.index.json; it has {}: choose a model \
         that has safetensors, or name a .gguf file",
        listed(has)
    )]
    NoSafetensors {
        /// The model.
        id: HubId,
        /// Its files; those with weights if there are any.
        has: Vec<String>,
    },
    /// The repository has not the GGUF file asked for.
    #[error("model `{id}` has no GGUF file `{file}`; it has {}", listed(has))]
    NoSuchGguf {
        /// The model.
        id: HubId,
        /// The file asked for.
        file: String,
        /// Its GGUF files.
        has: Vec<String>,
    },
    /// The index of shards cannot be used.
    #[error("{} is no index of this model's shards: {problem}", path.display())]
    BadIndex {
        /// The index.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// Offline, and the cache does not have it.
    #[error(
        "model `{id}` is not whole in the cache {}, and no request is made offline: {problem}; unset \
         HF_HUB_OFFLINE and fetch it once",
        cache.display()
    )]
    NotCached {
        /// The model.
        id: HubId,
        /// The cache.
        cache: PathBuf,
        /// What is missing.
        problem: String,
    },
    /// The disk refuses.
    #[error(transparent)]
    Io(#[from] IoError),
}

impl HubError {
    /// The same with what servers said in it put otherwise.
    pub(crate) fn with_texts(mut self, change: impl Fn(&str) -> String) -> Self {
        let each = |texts: &mut [&mut String]| {
            texts.iter_mut().for_each(|text| **text = change(text.as_str()));
        };
        match &mut self {
            Self::Unauthorised { endpoint, reason, .. } => each(&mut [endpoint, reason]),
            Self::NotFound { endpoint, .. } | Self::Gated { endpoint, .. } => each(&mut [endpoint]),
            Self::Status { url, reason, .. } => each(&mut [url, reason]),
            Self::Protocol { url, problem } => each(&mut [url, problem]),
            Self::CutOff { file, problem, .. } => each(&mut [file, problem]),
            Self::WrongChecksum { file, expected, .. } => each(&mut [file, expected]),
            Self::FileNotFound { file, .. } => each(&mut [file]),
            Self::UnsafeName { name, .. } => each(&mut [name]),
            Self::NoSafetensors { has, .. } => each(&mut has.iter_mut().collect::<Vec<_>>()),
            Self::NoSuchGguf { file, has, .. } => {
                each(&mut std::iter::once(file).chain(has).collect::<Vec<_>>());
            }
            Self::BadIndex { problem, .. } => each(&mut [problem]),
            _ => {}
        }
        self
    }

    /// Whether the same request may well succeed a little later.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Status { status, .. } => matches!(status, 408 | 429 | 500 | 502 | 503 | 504),
            _ => false,
        }
    }
}

const TOKEN_PLACE: &str =
    "in HF_TOKEN or in the file `token` of HF_HOME (~/.cache/huggingface/token)";

fn sent(with_token: bool) -> &'static str {
    if with_token { "the token that is set was sent" } else { "no token is set" }
}

fn in_words(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(" ({reason})") }
}
