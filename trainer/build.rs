//! Lets the program and its tests find libtorch where torch-ext was built against it, without LD_LIBRARY_PATH.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let rpath = std::env::var("DEP_TORCH_EXT_RPATH").expect("torch-ext is a direct dependency");
    println!("cargo::rustc-link-arg=-Wl,-rpath,{rpath}");
}
