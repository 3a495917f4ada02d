//! Compiles the C++ files of `shim/` against the libtorch that torch-sys found, after a look at that libtorch's version.

use std::path::{Path, PathBuf};

use fs_err as fs;

/// The one version that tch 0.24 is made for. `scripts/libtorch` fetches the same.
const LIBTORCH: &str = "2.11.0";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=shim");

    // torch-sys tells its direct dependents where it found libtorch.
    let lib = std::env::var("DEP_TCH_LIBTORCH_LIB").expect("torch-sys is a direct dependency");
    let lib = PathBuf::from(lib);
    let include = lib.parent().expect("libtorch's `lib` lies in a folder").join("include");
    match version(&include) {
        Ok(found) if found == LIBTORCH => println!("cargo::rustc-env=LIBTORCH_VERSION={found}"),
        Ok(found) => {
            return refuse(&format!(
                "`{}` is libtorch {found}, expected {LIBTORCH}",
                lib.display()
            ));
        }
        Err(error) => return refuse(&error),
    }

    // Binaries find libtorch without LD_LIBRARY_PATH. The path stays as torch-sys got it: when it goes through the link
    // `.libtorch`, a binary follows `scripts/libtorch` from a CPU's libtorch to a GPU's without being built again.
    // Cargo gives link arguments to this crate's own tests only; other crates take the path from DEP_TORCH_EXT_RPATH.
    println!("cargo::rustc-link-arg=-Wl,-rpath,{}", lib.display());
    println!("cargo::metadata=rpath={}", lib.display());

    cc::Build::new()
        .cpp(true)
        .std("c++17")
        // As system headers, libtorch's are spared from our warnings.
        .flag("-isystem")
        .flag(&include)
        .flag("-isystem")
        .flag(include.join("torch/csrc/api/include"))
        .include("shim/gloo")
        .define("USE_C10D_GLOO", None)
        .file("shim/shim.cpp")
        .file("shim/c10d.cpp")
        .compile("torch_ext_shim");
}

/// The version that the headers in `include` were written for.
fn version(include: &Path) -> Result<String, String> {
    let header = include.join("torch/headeronly/version.h");
    let text = fs::read_to_string(&header).map_err(|error| format!("no libtorch here: {error}"))?;
    let part = |name: &str| {
        let value = text.lines().find_map(|line| line.strip_prefix("#define ")?.strip_prefix(name));
        value.map(str::trim).ok_or_else(|| format!("`{}` defines no `{name}`", header.display()))
    };
    let (major, minor) = (part("TORCH_VERSION_MAJOR ")?, part("TORCH_VERSION_MINOR ")?);
    Ok(format!("{major}.{minor}.{}", part("TORCH_VERSION_PATCH ")?))
}

/// Ends the build with `error` and what to do about it.
fn refuse(error: &str) {
    println!("cargo::error={error}");
    println!(
        "cargo::error=hint: run `scripts/libtorch`, or point LIBTORCH at a libtorch {LIBTORCH}"
    );
}
