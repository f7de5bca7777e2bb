//! A model of the Hugging Face hub, fetched into the cache that Python's `huggingface_hub` shares.
//!
//! [`Hub::fetch`] lists a repository, picks the files that a model is loaded from ([`Files`]),
//! downloads what the cache lacks and gives the snapshot's directory; [`Hub::plan`] tells beforehand which
//! files these are, and writes nothing. A download that was cut off goes on
//! where it stopped, and a file is seen in the snapshot only after its checksum was found right.
//!
//! - [`Location`]: whether a text names a path or a model on the hub;
//! - [`HubId`]: `org/name`, or `org/name@revision`;
//! - [`HubOptions`]: endpoint, cache, token and offline mode, from the environment by Hugging Face's rules;
//! - [`HubError`]: a variant per cause, each saying what to do next.
//!
//! The protocol is spoken here over `ureq`: `hf-hub` 1.0 neither resumes a partial download nor compares
//! checksums before a file becomes visible, and brings an asynchronous runtime among some 220 crates. What is
//! needed of the protocol is one listing, and a `HEAD` and a ranged `GET` for each file, in the cache layout
//! that Python has.
//!
//! Left out: datasets and spaces, uploads, Xet's chunk protocol (the hub serves such files over plain HTTP
//! too), parallel downloads, and pickled weights.
//!
//! ```no_run
//! use burn_lora_hub::{Files, Hub, HubId, HubOptions};
//!
//! # fn main() -> Result<(), burn_lora_hub::HubError> {
//! let hub = Hub::new(HubOptions::from_env()?)?;
//! let id = HubId::parse("HuggingFaceTB/SmolLM2-135M-Instruct")?;
//! let directory = hub.fetch(&id, &Files::Safetensors, &mut |progress| {
//!     let _percent = progress.done * 100 / progress.total.max(1);
//! })?;
//! # let _ = directory;
//! # Ok(())
//! # }
//! ```

mod address;
mod cache;
mod checksum;
mod client;
mod download;
mod error;
mod files;
mod hub;
mod id;
mod listing;
mod location;
mod options;
mod snapshot;
mod url;

pub use download::Progress;
pub use error::HubError;
pub use files::Files;
pub use hub::Hub;
pub use id::HubId;
pub use location::Location;
pub use options::HubOptions;
pub use snapshot::{Snapshot, SnapshotFile};
