//! What CUDA needs at run time beside a GPU, looked for before a device is opened: cubecl compiles its
//! kernels with NVRTC on a thread of its own, and panics there where a library or a header is missing or
//! the driver does not know the compiler's PTX.

use burn::tensor::{Device, DeviceType};
use cubecl_cuda::install::cuda_path;

use super::{DeviceError, enumerated, outdated};

/// A header that most kernels include, to tell a toolkit from an empty folder.
const HEADER: &str = "include/cuda_fp16.h";

/// The device of that index, where driver, compiler and headers are there.
pub(super) fn device(name: &str, index: usize) -> Result<Device, DeviceError> {
    let missing = |what, remedy| DeviceError::Missing { name: name.to_owned(), what, remedy };
    if !loads_driver() {
        return Err(missing(
            "NVIDIA's driver (libcuda)".to_owned(),
            "install it, or use `cpu` where there is no NVIDIA GPU",
        ));
    }
    let device = enumerated(name, index, "CUDA", DeviceType::Cuda)?;
    if !loads_compiler() {
        return Err(missing(
            "CUDA's run-time compiler (libnvrtc)".to_owned(),
            "install a CUDA toolkit no newer than the driver, and name its library folder in \
             LD_LIBRARY_PATH",
        ));
    }
    if let Some(versions) = outdated(driver_version(), compiler_version()) {
        let [driver, compiler] = versions.map(|[major, minor]| format!("{major}.{minor}"));
        return Err(DeviceError::Outdated { name: name.to_owned(), driver, compiler });
    }
    let Some(toolkit) = cuda_path() else {
        return Err(missing(
            "a CUDA toolkit (CUDA_PATH, /usr/local/cuda, /opt/cuda or /usr)".to_owned(),
            "install one no newer than the driver, or set CUDA_PATH to it",
        ));
    };
    if !toolkit.join(HEADER).exists() {
        return Err(missing(
            format!("the header {}", toolkit.join(HEADER).display()),
            "install the toolkit's headers, or set CUDA_PATH to a toolkit that has them",
        ));
    }
    Ok(device)
}

#[expect(unsafe_code, reason = "loading a library runs its initialisers")]
fn loads_driver() -> bool {
    // SAFETY: the function only loads `libcuda` and lets it go again; its initialisers are NVIDIA's,
    // and run once more, unchanged, when cubecl loads it for use.
    unsafe { cudarc::driver::sys::is_culib_present() }
}

#[expect(unsafe_code, reason = "loading a library runs its initialisers")]
fn loads_compiler() -> bool {
    // SAFETY: as for the driver, of `libnvrtc`.
    unsafe { cudarc::nvrtc::sys::is_culib_present() }
}

/// As CUDA counts: 12040 is 12.4; 0 where the driver does not say.
#[expect(unsafe_code, reason = "a function of the driver's")]
fn driver_version() -> i32 {
    let mut version = 0;
    // SAFETY: `libcuda` is there, and the call writes the version into an integer that outlives it.
    let told = unsafe { cudarc::driver::sys::cuDriverGetVersion(&mut version) };
    told.result().map_or(0, |()| version)
}

/// `[major, minor]`; zeros where the compiler does not say.
#[expect(unsafe_code, reason = "a function of the compiler's")]
fn compiler_version() -> [i32; 2] {
    let (mut major, mut minor) = (0, 0);
    // SAFETY: `libnvrtc` is there, and the call writes into two integers that outlive it.
    let told = unsafe { cudarc::nvrtc::sys::nvrtcVersion(&mut major, &mut minor) };
    told.result().map_or([0; 2], |()| [major, minor])
}
