//! Bases of the golden model's shape, but for what a test needs otherwise.

use std::path::Path;

use trainer::init;
use trainer::llama_config::LlamaConfig;

/// A random base of the golden one's shape, changed so. The setting that takes it.
pub(crate) fn base(change: impl FnOnce(&mut LlamaConfig)) -> String {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/llama");
    let mut shape = LlamaConfig::read(&golden).expect("a Llama");
    change(&mut shape);
    let base = tempfile::tempdir().expect("a temporary folder").keep().join("base");
    init::init(shape, 7, None, &base).expect("a random model");
    format!("model.base={}", base.display())
}
