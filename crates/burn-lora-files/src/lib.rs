//! Files as this project writes and reads them.
//!
//! - [`atomic`]: a file is the old one or the new one, whole, whatever happens in between.
//! - [`IoError`]: what the system refused, with what was tried and where; every crate's errors hold this one.
//! - [`floats`]: the numbers of safetensors files, f32, f16 and bf16, each to any of them; [`header`]: what
//!   such a file holds.
//! - [`digest`]: size and SHA-256 of a file, to find later whether it has changed.
//! - [`kind`]: what a file is that is not what was expected.
//! - [`home`]: paths that begin with `~` or `$HOME`.
//! - [`missing`]: what is said of a path at which nothing is; [`instead`]: of a directory in which something else is;
//!   [`stream`]: a stream in the place of a file.
//! - [`lock`]: a file that one process holds at a time.
//! - [`panics`]: a panic of somebody else's code, as an error.
//! - [`fnv`]: a hash of a path that is the same on every machine and in every version; [`splitmix`]: seeds made of seeds.
//!
//! What a file means is its owner's: nothing here knows a model, an adapter or a run.

pub mod atomic;
pub mod digest;
mod error;
pub mod floats;
pub mod fnv;
pub mod header;
pub mod home;
pub mod instead;
pub mod kind;
pub mod lock;
mod lossy;
pub mod missing;
pub mod panics;
mod plain;
pub mod splitmix;
pub mod stream;

pub use error::IoError;
pub use lossy::{lossy, lossy_option};
pub use plain::{
    bytes, create_dir, line_at, names, open, put_in_place, read, read_text, scratch_dir, sync_dir,
    without_mark, write,
};
