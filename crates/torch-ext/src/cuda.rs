//! One binary for CPU and GPU: opens libtorch_cuda where there is a GPU, and says which GPU a process means.
//!
//! The linker leaves libtorch_cuda out, since no symbol of it is used. Opening it registers the CUDA backend with
//! libtorch_cpu; from then on tch's `Device::Cuda` works.

#![expect(unsafe_code, reason = "opens shared libraries")]

use std::ffi::{CStr, c_void};
use std::ptr::NonNull;

use crate::error::{Error, Result};
use crate::shim;

/// Why there is no CUDA.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NoCuda {
    /// This machine has no NVIDIA driver.
    #[error("this machine has no NVIDIA driver (libcuda.so.1)")]
    NoDriver,
    /// There is a driver, but the CUDA part of libtorch is missing or incomplete.
    #[error("libtorch_cuda cannot be opened: {0}\nhint: fetch it with `scripts/libtorch --cuda`")]
    NoLibrary(String),
    /// Driver and library are there, but the driver shows no GPU that they can use.
    #[error("the NVIDIA driver offers no GPU\nhint: see `nvidia-smi` and CUDA_VISIBLE_DEVICES")]
    NoDevice,
}

/// Opens libtorch_cuda and returns the number of GPUs, or why there are none.
///
/// Call it once, at the start: a question about CUDA before it makes libtorch remember "no CUDA" for good.
/// Without a driver it opens nothing, so that a CPU box does not pay for loading a gigabyte of libraries.
pub fn load() -> Result<usize, NoCuda> {
    open(c"libcuda.so.1", libc::RTLD_LAZY).map_err(|_| NoCuda::NoDriver)?;
    open_libtorch_cuda()?;
    match usize::try_from(tch::Cuda::device_count()) {
        Ok(n_devices) if n_devices > 0 => Ok(n_devices),
        _ => Err(NoCuda::NoDevice),
    }
}

/// Opens libtorch_cuda, whether there is a GPU or not.
pub(crate) fn open_libtorch_cuda() -> Result<(), NoCuda> {
    // The loader looks where it found libtorch_cpu: in the rpath, in LD_LIBRARY_PATH. Its symbols are for
    // libtorch_cuda_linalg and others, which libtorch opens later.
    let flags = libc::RTLD_NOW | libc::RTLD_GLOBAL;
    open(c"libtorch_cuda.so", flags).map(drop).map_err(NoCuda::NoLibrary)
}

/// Lets this thread mean one of several GPUs where it names none, such as for memory that libtorch takes for itself. A
/// process that computes on one of them calls this at its start; else it would also take some memory of the first.
pub fn use_gpu(index: usize) -> Result<()> {
    let gpu = i32::try_from(index).map_err(|_| Error::Torch(format!("no GPU {index}")))?;
    // SAFETY: the pointer holds for the call.
    shim::call(|error| unsafe { shim::torch_ext_use_gpu(gpu, error) })
}

/// Opens a shared library for the rest of the program, or says why not.
pub(crate) fn open(name: &CStr, flags: libc::c_int) -> Result<NonNull<c_void>, String> {
    // SAFETY: `name` is a C string; the initialisers of these libraries may run at any time.
    if let Some(handle) = NonNull::new(unsafe { libc::dlopen(name.as_ptr(), flags) }) {
        return Ok(handle);
    }
    // SAFETY: after a failed dlopen, dlerror gives a message that holds until the next call in this thread.
    let message = unsafe { libc::dlerror() };
    if message.is_null() {
        return Err(format!("no reason given for `{}`", name.to_string_lossy()));
    }
    // SAFETY: a message that is not null is a C string.
    Err(unsafe { CStr::from_ptr(message) }.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_that_is_missing_is_named() {
        let error = open(c"libtorch_nowhere.so", libc::RTLD_NOW).unwrap_err();
        assert!(error.contains("libtorch_nowhere.so"), "{error}");
    }

    /// Says on every machine the same as tch does after it.
    #[test]
    fn loading_never_panics_and_agrees_with_tch() {
        let loaded = load();
        if loaded != Err(NoCuda::NoDriver) {
            assert_eq!(loaded.is_ok(), tch::Cuda::is_available());
        }
    }
}
