//! Is the libtorch that runs the one that we were built for?
//!
//! The build compares the headers (`build.rs`); this compares the library that the loader found.

#![expect(unsafe_code, reason = "a foreign function")]

use crate::error::{Error, Result};

/// The version that this program was built for.
pub const EXPECTED: &str = env!("LIBTORCH_VERSION");

unsafe extern "C" {
    /// Part of libtorch's stable C interface, so that it can be asked whatever the version.
    safe fn aoti_torch_abi_version() -> u64;
}

/// The version of the libtorch that is loaded, such as `2.11.0`.
pub fn loaded() -> String {
    // The layout of TORCH_ABI_VERSION in torch/headeronly/version.h: a byte each, from the top.
    let [major, minor, patch, ..] = aoti_torch_abi_version().to_be_bytes();
    format!("{major}.{minor}.{patch}")
}

/// Fails where the libtorch that is loaded is not the one that we were built for.
pub fn check() -> Result<()> {
    match loaded() {
        found if found == EXPECTED => Ok(()),
        found => Err(Error::Version { expected: EXPECTED, found }),
    }
}
