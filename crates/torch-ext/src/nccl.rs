//! What connects GPUs: opens `libtorch_ext_nccl.so`, which knows how a group over NCCL is made.
//!
//! It is compiled apart from this crate (`shim/nccl.cpp`), against NVIDIA's headers, by `scripts/libtorch`, which puts it
//! beside a libtorch with CUDA. So the same binary runs where there is neither.

#![expect(unsafe_code, reason = "opens a shared library")]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::OnceLock;

use crate::cuda;
use crate::error::{Error, Result};
use crate::shim;

/// The file's name.
pub const FILE: &str = "libtorch_ext_nccl.so";

/// The variable that names it where it lies neither beside the program nor beside libtorch.
pub const VARIABLE: &str = "TORCH_EXT_NCCL";

/// Makes a group: `torch_ext_group_nccl` of the shim.
pub(crate) type MakeGroup = unsafe extern "C" fn(
    store: *const shim::Store,
    rank: c_int,
    size: c_int,
    device: c_int,
    timeout_ms: i64,
    group: *mut *mut shim::Group,
    error: *mut *mut c_char,
);

/// Opens what connects GPUs, or says why that cannot be done. Later calls give the same answer.
///
/// It is the file that `TORCH_EXT_NCCL` names, or the one beside the program, or the one beside libtorch.
pub fn load() -> Result<()> {
    make_group().map(drop)
}

/// What makes a group, if there are GPUs.
pub(crate) fn make_group() -> Result<MakeGroup> {
    static OPENED: OnceLock<Result<MakeGroup, String>> = OnceLock::new();
    let opened = OPENED.get_or_init(|| {
        cuda::load().map_err(|no_cuda| no_cuda.to_string())?;
        open(&path())
    });
    opened.clone().map_err(Error::Nccl)
}

/// Opens the library; libtorch_cuda is open.
pub(crate) fn open(path: &Path) -> Result<MakeGroup, String> {
    let hint = "hint: run `scripts/libtorch --cuda`, which makes it, or name it in TORCH_EXT_NCCL";
    let name = CString::new(path.as_os_str().as_bytes())
        .map_err(|_| format!("{VARIABLE} has a zero byte"))?;
    let library = cuda::open(&name, libc::RTLD_NOW | libc::RTLD_LOCAL)
        .map_err(|error| format!("`{}` cannot be opened: {error}\n{hint}", path.display()))?;
    let find = |symbol: &CStr| {
        // SAFETY: the library stays open, and the name is a C string.
        let found = NonNull::new(unsafe { libc::dlsym(library.as_ptr(), symbol.as_ptr()) });
        found.ok_or_else(|| {
            format!("`{}` has no `{}`\n{hint}", path.display(), symbol.to_string_lossy())
        })
    };
    let interface = find(c"torch_ext_nccl_interface")?;
    let make_group = find(c"torch_ext_group_nccl")?;
    // SAFETY: shim/nccl.cpp declares it so, whatever its version.
    let interface: unsafe extern "C" fn() -> *const c_char =
        unsafe { std::mem::transmute::<*mut c_void, _>(interface.as_ptr()) };
    // SAFETY: both give a C string that stays.
    let [expected, found] = unsafe {
        [shim::torch_ext_interface(), interface()].map(|it| CStr::from_ptr(it).to_string_lossy())
    };
    if found != expected {
        let path = path.display();
        return Err(format!("`{path}` was made for {found}, expected {expected}\n{hint}"));
    }
    // SAFETY: of this interface, shim/nccl.cpp declares it so.
    Ok(unsafe { std::mem::transmute::<*mut c_void, MakeGroup>(make_group.as_ptr()) })
}

/// Where the library is to be looked for. A name alone is for the loader, which looks beside libtorch.
fn path() -> PathBuf {
    if let Some(named) = std::env::var_os(VARIABLE) {
        return named.into();
    }
    let beside = std::env::current_exe().ok().map(|program| program.with_file_name(FILE));
    beside.filter(|file| file.exists()).unwrap_or_else(|| FILE.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cuda::NoCuda;

    #[track_caller]
    fn check(path: &str, expected: &str) {
        let error = open(Path::new(path)).expect_err(expected);
        assert!(error.starts_with(expected), "{error}");
        assert!(error.ends_with(
            "hint: run `scripts/libtorch --cuda`, which makes it, or name it in TORCH_EXT_NCCL"
        ));
    }

    #[test]
    fn a_library_that_is_missing_or_another_one_is_named() {
        check("nowhere/library.so", "`nowhere/library.so` cannot be opened: nowhere/library.so: ");
        check("libgomp.so.1", "`libgomp.so.1` has no `torch_ext_nccl_interface`\n");
    }

    #[test]
    fn without_a_gpu_that_is_the_reason() {
        if let Err(no_cuda @ (NoCuda::NoDriver | NoCuda::NoDevice)) = cuda::load() {
            let expected = format!("GPUs cannot be connected: {no_cuda}");
            assert_eq!(load().expect_err("no GPU").to_string(), expected);
        }
    }

    /// The script knows the file's name too.
    #[test]
    fn the_script_makes_the_file_that_is_looked_for() {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../scripts/libtorch");
        let script = fs_err::read_to_string(script).expect("the script is part of the workspace");
        assert!(script.contains(&format!("NCCL = \"{FILE}\"\n")));
    }
}
