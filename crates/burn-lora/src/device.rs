//! The one place where a backend is chosen, from a string.
//!
//! Burn's `Device::default()` is CUDA as soon as that feature is compiled in, GPU or not, and a
//! device that is not there panics at its first use. Here both are errors that say what to do.
//!
//! ```
//! let device = burn_lora::device::parse("auto")?;
//! assert!(burn_lora::device::parse("gpu").is_err());
//! # Ok::<(), burn_lora::device::DeviceError>(())
//! ```

mod connection;
#[cfg(feature = "cuda")]
mod cuda;
#[cfg(feature = "remote")]
mod remote;
mod serve;

use burn::tensor::Device;

pub use connection::{Connection, connection, connection_named};
#[cfg(feature = "remote")]
pub use remote::RemoteRouter;
pub use serve::{Server, listen};

/// The names that [`parse`] takes; a number after a colon chooses among several GPUs.
pub const NAMES: &str = "auto, cpu, flex, ndarray, cuda, cuda:N, wgpu, wgpu:N, remote://HOST:PORT";

/// What the name of a device elsewhere begins with; its address follows.
const REMOTE: &str = "remote://";

/// A device that cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// The name is none that exists.
    #[error("unknown device `{name}`: use one of {NAMES}")]
    Unknown {
        /// The name given.
        name: String,
    },
    /// The backend was not compiled in.
    #[error("device `{name}` needs a build with `--features {feature}`; this one has: {compiled}")]
    NotCompiled {
        /// The name given.
        name: String,
        /// The cargo feature to build with.
        feature: &'static str,
        /// The backends that are compiled in.
        compiled: String,
    },
    /// The backend is compiled in but has no device of that index on this machine.
    #[error(
        "device `{name}` is not there: {backend} found {found} on this machine; use `cpu`, or one of those that exist"
    )]
    NotFound {
        /// The name given.
        name: String,
        /// The backend that was asked.
        backend: &'static str,
        /// What it found.
        found: String,
    },
    /// The backend is compiled in, but something that it needs at run time is not installed.
    #[error("device `{name}` needs {what}, which is not there: {remedy}")]
    Missing {
        /// The name given.
        name: String,
        /// The library, folder or file.
        what: String,
        /// What to do about it.
        remedy: &'static str,
    },
    /// CUDA's run-time compiler is of a newer CUDA than the driver, which would not take what it writes.
    #[error(
        "device `{name}` needs a driver for CUDA {compiler}, as libnvrtc is; the driver here is for {driver}: \
         update it, or name the library folder of an older toolkit in LD_LIBRARY_PATH"
    )]
    Outdated {
        /// The name given.
        name: String,
        /// The CUDA that the driver is for.
        driver: String,
        /// The CUDA that the compiler is of.
        compiler: String,
    },
    /// A device elsewhere without an address.
    #[error(
        "device `{name}` names no address: write {REMOTE}HOST:PORT, such as {REMOTE}127.0.0.1:3000"
    )]
    NoAddress {
        /// The name given.
        name: String,
    },
    /// Nothing serves a device at that address.
    #[error(
        "device `{name}` cannot be reached: {reason}; see to it that a program of this version serves a device there, and that its \
         address and port can be reached from here"
    )]
    Unreachable {
        /// The name given.
        name: String,
        /// What happened instead.
        reason: String,
    },
    /// A device cannot be served.
    #[error("cannot serve a device on `{address}`: {reason}")]
    Unserved {
        /// Where it was to be.
        address: String,
        /// Why not, and what to do.
        reason: String,
    },
}

/// The backends that are compiled in, as [`parse`] names them.
pub fn compiled() -> Vec<&'static str> {
    [
        (cfg!(feature = "flex"), "flex"),
        (cfg!(feature = "ndarray"), "ndarray"),
        (cfg!(feature = "wgpu"), "wgpu"),
        (cfg!(feature = "cuda"), "cuda"),
        (cfg!(feature = "remote"), "remote"),
    ]
    .into_iter()
    .filter_map(|(there, name)| there.then_some(name))
    .collect()
}

/// The device of that name.
///
/// `cpu` is Flex, or NdArray where Flex is not compiled in. `auto` is the first of CUDA, wgpu and
/// the CPU that is compiled in and present. `cuda` and `wgpu` without a number are the first GPU.
/// `remote://HOST:PORT` is a device that another process serves there ([`listen`]); the connection is opened here, and the same one
/// serves every call for as long as it stands ([`connection()`]).
///
/// # Errors
///
/// A name that does not exist, a backend that is not compiled in (the error names the feature), a
/// GPU that is not there (the error names those that are), a library that CUDA needs and that is not
/// installed (the error names it), a driver that is too old for it, an address where nothing serves a device: within seconds.
pub fn parse(name: &str) -> Result<Device, DeviceError> {
    let unknown = || DeviceError::Unknown { name: name.to_owned() };
    if let Some(address) = name.strip_prefix(REMOTE) {
        return match is_address(address) {
            true => remote(name, address),
            false => Err(DeviceError::NoAddress { name: name.to_owned() }),
        };
    }
    let (kind, index) = match name.split_once(':') {
        Some((kind, index)) => (kind, index.parse().map_err(|_| unknown())?),
        None => (name, 0),
    };
    match kind {
        "cuda" => cuda(name, index),
        "wgpu" => wgpu(name, index),
        _ if name.contains(':') => Err(unknown()),
        "auto" => cuda(name, 0).or_else(|_| wgpu(name, 0)).or_else(|_| cpu(name)),
        "cpu" => cpu(name),
        "flex" => flex(name),
        "ndarray" => ndarray(name),
        _ => Err(unknown()),
    }
}

/// Whether the name is that of a device elsewhere, `remote://HOST:PORT`.
pub fn is_elsewhere(name: &str) -> bool {
    name.starts_with(REMOTE)
}

/// Whether the device computes on the CPU, in the memory of this process.
pub fn is_cpu(device: &Device) -> bool {
    cpu_name(device).is_some()
}

/// Whether the device is Flex, which alone holds weights in blocks of a few bits.
pub fn is_flex(device: &Device) -> bool {
    parse("flex").is_ok_and(|flex| flex == device.clone().inner())
}

/// The name by which [`parse`] gives the device; of one elsewhere, Burn's own description.
pub fn name(device: &Device) -> String {
    if let Some(cpu) = cpu_name(device) {
        return cpu.to_owned();
    }
    let inner = device.clone().inner();
    #[cfg(any(feature = "cuda", feature = "wgpu"))]
    for (kind, backend) in [
        #[cfg(feature = "cuda")]
        ("cuda", burn::tensor::DeviceType::Cuda),
        #[cfg(feature = "wgpu")]
        ("wgpu", burn::tensor::DeviceType::Wgpu),
    ] {
        let devices = Device::enumerate(backend).into_vec();
        if let Some(index) = devices.iter().position(|found| *found == inner) {
            return format!("{kind}:{index}");
        }
    }
    format!("{inner:?}")
}

/// The name of a device that computes on the CPU.
fn cpu_name(device: &Device) -> Option<&'static str> {
    let inner = device.clone().inner();
    ["flex", "ndarray"].into_iter().find(|name| parse(name).is_ok_and(|cpu| cpu == inner))
}

fn cpu(name: &str) -> Result<Device, DeviceError> {
    flex(name).or_else(|error| ndarray(name).map_err(|_| error))
}

#[cfg(not(all(
    feature = "flex",
    feature = "ndarray",
    feature = "wgpu",
    feature = "cuda",
    feature = "remote"
)))]
fn not_compiled(name: &str, feature: &'static str) -> DeviceError {
    DeviceError::NotCompiled { name: name.to_owned(), feature, compiled: compiled().join(", ") }
}

#[cfg(feature = "flex")]
fn flex(_: &str) -> Result<Device, DeviceError> {
    Ok(Device::flex())
}

#[cfg(not(feature = "flex"))]
fn flex(name: &str) -> Result<Device, DeviceError> {
    Err(not_compiled(name, "flex"))
}

#[cfg(feature = "ndarray")]
#[allow(
    deprecated,
    reason = "burn-ndarray is deprecated as a whole, yet still a supported CPU backend"
)]
fn ndarray(_: &str) -> Result<Device, DeviceError> {
    Ok(Device::ndarray())
}

#[cfg(not(feature = "ndarray"))]
fn ndarray(name: &str) -> Result<Device, DeviceError> {
    Err(not_compiled(name, "ndarray"))
}

#[cfg(feature = "cuda")]
use cuda::device as cuda;

#[cfg(not(feature = "cuda"))]
fn cuda(name: &str, _: usize) -> Result<Device, DeviceError> {
    Err(not_compiled(name, "cuda"))
}

#[cfg(feature = "wgpu")]
fn wgpu(name: &str, index: usize) -> Result<Device, DeviceError> {
    enumerated(name, index, "wgpu", burn::tensor::DeviceType::Wgpu)
}

#[cfg(not(feature = "wgpu"))]
fn wgpu(name: &str, _: usize) -> Result<Device, DeviceError> {
    Err(not_compiled(name, "wgpu"))
}

#[cfg(feature = "remote")]
use remote::connect as remote;

#[cfg(not(feature = "remote"))]
fn remote(name: &str, _: &str) -> Result<Device, DeviceError> {
    Err(not_compiled(name, "remote"))
}

/// Whether it is `HOST:PORT`, and nothing more: no user, no path.
fn is_address(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let allowed = |letter: char| letter.is_alphanumeric() || "-._:%".contains(letter);
    !host.is_empty() && host.chars().all(allowed) && port.parse().is_ok_and(|port: u16| port > 0)
}

/// Asks the backend what there is before touching any of it: opening a device that is not there
/// panics, on a thread of the backend's.
#[cfg(feature = "cube")]
fn enumerated(
    name: &str,
    index: usize,
    backend: &'static str,
    kind: burn::tensor::DeviceType,
) -> Result<Device, DeviceError> {
    let devices = Device::enumerate(kind).into_vec();
    let count = devices.len();
    devices.into_iter().nth(index).ok_or_else(|| not_found(name, backend, count))
}

/// The error of a device that is not among those there are, which it names.
#[cfg(any(feature = "cube", test))]
fn not_found(name: &str, backend: &'static str, count: usize) -> DeviceError {
    let kind = backend.to_lowercase();
    let found = match count {
        0 => "no device".to_owned(),
        1 => format!("one device, {kind}:0"),
        2 => format!("2 devices, {kind}:0 and {kind}:1"),
        n => format!("{n} devices, {kind}:0 to {kind}:{}", n - 1),
    };
    DeviceError::NotFound { name: name.to_owned(), backend, found }
}

/// The versions `[major, minor]` of CUDA that driver and compiler are for, where the driver's is the older one: it would not take what
/// the compiler writes.
#[cfg(any(feature = "cuda", test))]
fn outdated(driver: i32, compiler: [i32; 2]) -> Option<[[i32; 2]; 2]> {
    // As `cuDriverGetVersion` counts: 12040 is 12.4. 0 is what is not told.
    let told = driver > 0;
    let driver = [driver / 1000, driver % 1000 / 10];
    (told && driver < compiler).then_some([driver, compiler])
}

/// Bytes of memory that a GPU has. None of a CPU, and none where the backend does not tell: CUDA does, wgpu does not everywhere.
///
/// Opens the device.
pub fn memory(device: &Device) -> Option<u64> {
    #[cfg(feature = "cube")]
    if let burn::backend::DispatchDevice::Cube(device) = device.clone().inner().as_dispatch() {
        return device.client().properties().memory.max_memory();
    }
    #[cfg(not(feature = "cube"))]
    let _ = device;
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_names_list_those_that_exist() {
        for name in ["gpu", "", "cpu:0", "cuda:x", "wgpu:-1", "flex:1"] {
            let error = parse(name).unwrap_err();
            assert_eq!(error, DeviceError::Unknown { name: name.to_owned() });
            assert!(error.to_string().contains("cuda:N"), "{error}");
        }
    }

    #[test]
    fn a_device_is_called_what_it_is_asked_for_as() {
        for name in ["flex", "ndarray", "cuda:0", "wgpu:0"] {
            let Ok(device) = parse(name) else { continue };
            assert_eq!(super::name(&device), name);
            assert_eq!(super::name(&device.autodiff()), name);
        }
    }

    #[test]
    fn a_device_elsewhere_has_an_address_of_host_and_port() {
        for address in ["127.0.0.1:3000", "gpu-1.lab:1", "[::1]:3000", "localhost:65535"] {
            assert!(is_address(address), "{address}");
        }
        for address in ["", "host", "host:", ":3000", "host:0", "host:70000", "a@b:1", "h:1/x"] {
            let name = format!("remote://{address}");
            let error = parse(&name).unwrap_err();
            assert_eq!(error, DeviceError::NoAddress { name });
            assert!(error.to_string().contains("remote://HOST:PORT"), "{error}");
        }
    }

    #[cfg(not(feature = "remote"))]
    #[test]
    fn a_device_elsewhere_names_the_feature_that_it_needs() {
        let lent = listen("127.0.0.1:0", "cpu").unwrap_err();
        for error in [parse("remote://127.0.0.1:3000").unwrap_err(), lent] {
            assert!(error.to_string().contains("--features remote"), "{error}");
        }
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn a_backend_that_is_not_compiled_in_names_the_feature() {
        let error = parse("cuda:0").unwrap_err().to_string();
        assert!(error.contains("--features cuda"), "{error}");
    }

    #[test]
    fn cpu_devices_are_told_from_others_with_and_without_autodiff() {
        for name in compiled() {
            let Ok(device) = parse(name) else { continue };
            let expected = matches!(name, "flex" | "ndarray");
            assert_eq!([is_cpu(&device), is_cpu(&device.autodiff())], [expected; 2], "{name}");
        }
    }

    #[test]
    fn what_is_compiled_in_can_be_had() {
        for name in compiled().into_iter().filter(|name| matches!(*name, "flex" | "ndarray")) {
            assert!(parse(name).is_ok(), "{name}");
        }
        assert!(parse("auto").is_ok());
    }

    #[test]
    fn a_gpu_that_is_not_there_names_those_that_are() {
        let told = |count| not_found("cuda:7", "CUDA", count).to_string();
        assert!(told(0).contains("CUDA found no device on this machine"), "{}", told(0));
        assert!(told(1).contains("found one device, cuda:0 on"), "{}", told(1));
        assert!(told(2).contains("found 2 devices, cuda:0 and cuda:1 on"), "{}", told(2));
        assert!(told(4).contains("found 4 devices, cuda:0 to cuda:3 on"), "{}", told(4));
    }

    #[test]
    fn a_driver_is_outdated_where_its_cuda_is_older_than_the_compilers() {
        assert_eq!(outdated(12020, [12, 4]), Some([[12, 2], [12, 4]]));
        assert_eq!(outdated(11080, [12, 0]), Some([[11, 8], [12, 0]]));
        for compiler in [[12, 4], [12, 0], [11, 8]] {
            assert_eq!(outdated(12040, compiler), None);
        }
        assert_eq!(outdated(0, [12, 4]), None);
    }

    #[test]
    fn a_cpu_tells_of_no_memory_of_its_own() {
        for cpu in ["flex", "ndarray"].into_iter().filter_map(|name| parse(name).ok()) {
            assert_eq!(memory(&cpu.autodiff()), None);
        }
    }

    #[cfg(feature = "cube")]
    #[test]
    fn a_gpu_that_is_not_there_is_an_error_and_no_panic() {
        for name in compiled().into_iter().filter(|name| matches!(*name, "wgpu" | "cuda")) {
            let error = parse(&format!("{name}:99")).unwrap_err();
            let told = matches!(
                error,
                DeviceError::NotFound { .. }
                    | DeviceError::Missing { .. }
                    | DeviceError::Outdated { .. }
            );
            assert!(told, "{name}: {error}");
        }
    }
}
