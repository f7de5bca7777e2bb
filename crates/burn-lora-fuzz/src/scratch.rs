//! A directory of the thread's own, in which files are put before they are read.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

thread_local! {
    static SCRATCH: TempDir = made();
}

/// In memory, where the system has such a place: an input is one of millions.
fn made() -> TempDir {
    let memory = Path::new("/dev/shm");
    let dir = match memory.is_dir() {
        true => tempfile::tempdir_in(memory).or_else(|_| tempfile::tempdir()),
        false => tempfile::tempdir(),
    };
    dir.expect("a temporary directory can be made")
}

/// The directory `name` of this thread, with these files in it and nothing else that matters: an earlier input's files are overwritten.
/// `constant` files are those of every input, and written once.
pub(crate) fn directory(
    name: &str,
    constant: &[(&str, &'static [u8])],
    files: &[(&str, &[u8])],
) -> PathBuf {
    SCRATCH.with(|scratch| {
        let dir = scratch.path().join(name);
        let write = |file: &str, bytes: &[u8]| {
            fs::write(dir.join(file), bytes).expect("a file can be written");
        };
        if !dir.is_dir() {
            fs::create_dir_all(&dir).expect("a directory can be made");
            constant.iter().for_each(|(file, bytes)| write(file, bytes));
        }
        files.iter().for_each(|(file, bytes)| write(file, bytes));
        dir
    })
}
