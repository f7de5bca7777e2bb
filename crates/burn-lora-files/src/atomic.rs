//! Writing so that a file is the old one or the new one, whole, whatever happens in between.
//!
//! A temporary sibling is written, flushed to the disk and renamed over the place; then the directory's
//! own entries are flushed. Every file that this project writes for keeps is written here.
//!
//! ```
//! let dir = tempfile::tempdir()?;
//! let path = dir.path().join("numbers.txt");
//! burn_lora_files::atomic::write(&path, |file| std::io::Write::write_all(file, b"1 2 3"))?;
//! assert_eq!(std::fs::read_to_string(&path)?, "1 2 3");
//! # Ok::<(), std::io::Error>(())
//! ```

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use tempfile::{Builder, TempDir};

/// Replaces the file at `path`, whose directory exists, by what `content` writes.
///
/// # Errors
///
/// What the system says; the old file is then as it was.
pub fn write(
    path: &Path,
    content: impl FnOnce(&mut BufWriter<&mut File>) -> io::Result<()>,
) -> io::Result<()> {
    let dir = parent(path);
    let mut builder = Builder::new();
    let mut file = named(&mut builder, 0o666).tempfile_in(dir)?;
    let mut buffer = BufWriter::with_capacity(1 << 20, file.as_file_mut());
    content(&mut buffer)?;
    buffer.flush()?;
    drop(buffer);
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    sync_dir(dir)
}

/// A scratch directory inside `dir`, to be filled and renamed into its place beside it.
///
/// # Errors
///
/// What the system says.
pub fn scratch_dir(dir: &Path) -> io::Result<TempDir> {
    let mut builder = Builder::new();
    named(&mut builder, 0o777).tempdir_in(dir)
}

/// Makes the renames in a directory durable, where the system offers that.
///
/// # Errors
///
/// What the system says.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(dir)?.sync_all() } else { Ok(()) }
}

/// A symbolic link at `path` to `target`, in one step, whatever was there.
///
/// # Errors
///
/// What the system says, also that it has no links.
#[cfg(unix)]
pub fn link(target: &str, path: &Path) -> io::Result<()> {
    let mut builder = Builder::new();
    let link = named(&mut builder, 0o666)
        .make_in(parent(path), |temporary| std::os::unix::fs::symlink(target, temporary))?;
    link.persist(path).map(drop).map_err(|error| error.error)
}

/// No links here.
///
/// # Errors
///
/// Always.
#[cfg(not(unix))]
pub fn link(_target: &str, _path: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// How the names of what is written before it is renamed begin.
const SCRATCH: &str = ".burn-lora-";

/// Whether a file or a directory is called as one that is written before it is renamed: what a write that was cut off leaves.
///
/// ```
/// use burn_lora_files::atomic::is_scratch;
///
/// assert!(is_scratch(".burn-lora-a1B2c3.tmp"));
/// assert!(!is_scratch(".backup.tmp"));
/// ```
pub fn is_scratch(name: &str) -> bool {
    let random = name.strip_prefix(SCRATCH).and_then(|name| name.strip_suffix(".tmp"));
    random.is_some_and(|random| {
        random.len() == 6 && random.bytes().all(|byte| byte.is_ascii_alphanumeric())
    })
}

/// The directory that a path lies in.
pub fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A hidden name, and the permissions of any other file: temporary ones are their owner's alone by
/// default, and keep that when they are renamed. The process's umask still applies.
fn named<'a, 'p, 's>(builder: &'a mut Builder<'p, 's>, mode: u32) -> &'a mut Builder<'p, 's> {
    builder.prefix(SCRATCH).suffix(".tmp");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(mode));
    }
    #[cfg(not(unix))]
    let _ = mode;
    builder
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        write(&path, |file| file.write_all(b"old")).unwrap();
        let failed = write(&path, |file| {
            file.write_all(b"new")?;
            Err(io::Error::other("the disk is full"))
        });
        assert!(failed.is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_bare_file_name_lies_in_the_current_directory() {
        assert_eq!(parent(Path::new("file")), Path::new("."));
        assert_eq!(parent(Path::new("a/file")), Path::new("a"));
    }
}
