//! Makes the folder that travels to a machine with a GPU.
//!
//! ```text
//! target/gpu-pack/
//!   run.sh                run.sh OUT_DIR [DEVICE [small]]
//!   xtask.xz              this program for CUDA, stripped
//!   pack.json             the commit and the versions that it was made from
//!   golden/               PEFT's values
//!   configs/, datasets/   the quickstart
//!   models/               config.json of the shapes that are measured, weights are random
//!   peers/                the same steps in PEFT, and torch's rates
//! ```
//!
//! Compiling for CUDA links LLVM; `.ci/llvm-for-cuda` says where it comes from.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use burn_lora_files::{self as files, IoError};
use clap::Args;

use super::Done;
use crate::bench::machine;
use crate::bench::matrix::Matrix;
use crate::root;

const MIB: u64 = 1 << 20;

const RUN: &str = include_str!("run.sh");

/// Models of the benchmark's matrix that are measured too.
const FROM_MATRIX: [&str; 3] = ["llama-1m", "llama-11m", "llama-35m"];

/// The models that are measured, as the hub has their config.json.
const MODELS: [(&str, &str); 3] = [
    ("tiny", include_str!("models/tiny.json")),
    ("smollm2-135m", include_str!("models/smollm2-135m.json")),
    ("llama-3.2-1b", include_str!("models/llama-3.2-1b.json")),
];

/// Makes target/gpu-pack: the program for CUDA, what it reads, and run.sh
#[derive(Args)]
pub struct Pack {
    /// Where the pack goes
    #[arg(long, default_value = "target/gpu-pack")]
    out: PathBuf,
    /// Backends to compile in beside Flex
    #[arg(long, value_delimiter = ',', default_value = "cuda")]
    features: Vec<String>,
    /// Where it is compiled, apart from the builds without CUDA
    #[arg(long, default_value = "target/cuda")]
    target_dir: PathBuf,
    /// Take this program instead of compiling one
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// How hard xz tries, 0 to 9
    #[arg(long, default_value_t = 6)]
    effort: u8,
    /// The largest pack that is made, in MiB
    #[arg(long, default_value_t = 60)]
    limit: u64,
}

pub fn run(pack: &Pack) -> Done {
    let root = root();
    let program = match &pack.program {
        Some(program) => program.clone(),
        None => compile(pack, &root)?,
    };
    let out = &pack.out;
    if out.exists() {
        fs::remove_dir_all(out).map_err(IoError::at("remove", out))?;
    }
    files::write(&out.join("run.sh"), RUN.as_bytes())?;
    make_executable(&out.join("run.sh"))?;
    compress(&program, &out.join("xtask"), pack.effort)?;
    let about = serde_json::json!({
        "commit": machine::commit(&root),
        "versions": machine::versions(&root),
        // What a program that was given has in it is not known here.
        "features": pack.program.is_none().then_some(&pack.features),
    });
    files::write(&out.join("pack.json"), format!("{about}\n").as_bytes())?;
    let config_of = |name: &str| out.join("models").join(name).join("config.json");
    let matrix = Matrix::read(&root.join("benches/matrix.toml"))?;
    for name in FROM_MATRIX {
        let config = matrix.config(name).ok_or_else(|| format!("the matrix has no {name}"))?;
        files::write(&config_of(name), config.as_bytes())?;
    }
    for (name, config) in MODELS {
        files::write(&config_of(name), config.as_bytes())?;
    }
    for (from, to) in [
        ("fixtures/golden", "golden"),
        ("configs/quickstart.toml", "configs/quickstart.toml"),
        ("datasets/quickstart", "datasets/quickstart"),
        ("benches/peers/peft_lm.py", "peers/peft_lm.py"),
        ("benches/peers/torch_rates.py", "peers/torch_rates.py"),
    ] {
        copy(&root.join(from), &out.join(to))?;
    }
    let mib = size(out)?.div_ceil(MIB);
    if mib > pack.limit {
        return Err(too_large(out, pack.limit)?.into());
    }
    println!("{}: {mib} MiB; on the machine with the GPU: run.sh OUT_DIR", out.display());
    Ok(())
}

/// Says how large the pack is, and its parts, the largest first.
fn too_large(out: &Path, limit: u64) -> Result<String, std::io::Error> {
    let mut parts = Vec::new();
    for entry in fs::read_dir(out)? {
        let entry = entry?;
        parts.push((size(&entry.path())?, entry.file_name().display().to_string()));
    }
    parts.sort_by(|a, b| b.cmp(a));
    let mib = |bytes: u64| bytes as f64 / MIB as f64;
    let list: Vec<String> =
        parts.iter().map(|(bytes, name)| format!("{name} {:.2}", mib(*bytes))).collect();
    let all = parts.iter().map(|(bytes, _)| bytes).sum();
    Ok(format!(
        "{} has {:.2} MiB, more than the {limit} that may travel; in MiB: {}. A higher --effort or fewer --features make \
         it smaller",
        out.display(),
        mib(all),
        list.join(", ")
    ))
}

/// Compiles this program with the features; gives where it lies.
fn compile(pack: &Pack, root: &Path) -> Result<PathBuf, String> {
    // The command line beside this program: it is built for CUDA here too, and both choose the same
    // features of what they share.
    let both = |name: &String| format!("burn-lora-cli/{name},xtask/{name}");
    let features: Vec<String> = pack.features.iter().map(both).collect();
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args(["build", "--release", "--package", "burn-lora-cli", "--package", "xtask"])
        .arg("--features")
        .arg(features.join(","))
        .arg("--target-dir")
        .arg(&pack.target_dir)
        .current_dir(root);
    if std::env::var_os("CUDARC_CUDA_VERSION").is_none() {
        // The driver's functions are looked up by the names of this version at run time: the oldest
        // of CUDA 13, so that every driver of CUDA 13 has them.
        command.env("CUDARC_CUDA_VERSION", "13000");
    }
    let done = command.status().map_err(|error| format!("cannot start cargo: {error}"))?;
    match done.success() {
        true => Ok(root.join(&pack.target_dir).join("release/xtask")),
        false => Err(format!(
            "compiling failed ({done}); where LLVM cannot be downloaded, .ci/llvm-for-cuda puts \
             Debian's in its place"
        )),
    }
}

/// A stripped copy of the program, compressed.
fn compress(program: &Path, to: &Path, effort: u8) -> Done {
    fs::copy(program, to).map_err(IoError::at("copy", program))?;
    tool(Command::new("strip").arg(to))?;
    tool(Command::new("xz").arg(format!("-{}", effort.min(9))).arg("-T0").arg("-f").arg(to))
}

fn tool(command: &mut Command) -> Done {
    let name = command.get_program().display().to_string();
    let done = command.status().map_err(|error| format!("cannot start {name}: {error}"))?;
    match done.success() {
        true => Ok(()),
        false => Err(format!("{name} failed: {done}").into()),
    }
}

/// Copies a file or a folder with everything below it.
fn copy(from: &Path, to: &Path) -> Result<(), IoError> {
    if from.is_dir() {
        return files::names(from)?
            .into_iter()
            .try_for_each(|name| copy(&from.join(&name), &to.join(&name)));
    }
    files::write(to, &files::read(from)?)
}

/// Bytes of a file, or of all files below a folder.
fn size(path: &Path) -> Result<u64, std::io::Error> {
    let metadata = fs::metadata(path)?;
    if !metadata.is_dir() {
        return Ok(metadata.len());
    }
    let mut bytes = 0;
    for entry in fs::read_dir(path)? {
        bytes += size(&entry?.path())?;
    }
    Ok(bytes)
}

#[cfg(unix)]
fn make_executable(path: &Path) -> Done {
    use std::os::unix::fs::PermissionsExt;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(0o755))?)
}

#[cfg(not(unix))]
fn make_executable(_: &Path) -> Done {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pack_that_is_too_large_is_told_with_its_parts() {
        let dir = tempfile::tempdir().unwrap();
        for (name, bytes) in [("run.sh", MIB / 4), ("golden/a", MIB), ("golden/b", MIB / 2)] {
            files::write(&dir.path().join(name), "x".repeat(bytes as usize).as_bytes()).unwrap();
        }
        let told = too_large(dir.path(), 1).unwrap();
        assert!(told.contains("has 1.75 MiB, more than the 1"), "{told}");
        assert!(told.contains("in MiB: golden 1.50, run.sh 0.25."), "{told}");
    }
}
