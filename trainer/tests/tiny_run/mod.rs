//! A whole run in a temporary folder, small enough to be made many times: a tokenizer, a base, shards with a manifest,
//! a configuration, and the `trainer` binary to run on them.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use fs_err as fs;
use serde_json::json;
use shards::hash::{self, FileHash};
use shards::manifest::{self, Manifest, Split};
use shards::{IndexKind, PairWriter, Role, atomic};
use tempfile::TempDir;
use text::{Conversation, Message, Tokenizer};

/// A run's folder: `base`, `shards/tiny-train`, `train.yaml`, and `run` once it was trained.
pub(crate) struct TinyRun {
    folder: TempDir,
}

impl TinyRun {
    /// A run of this many steps, with these lines after the shared ones in its YAML.
    pub(crate) fn new(steps: u32, more: &str) -> Self {
        let this = Self { folder: tempfile::tempdir().expect("a temporary folder") };
        let tokenizer = data().join("tokenizer.model");
        let shape = "--hidden-size 32 --intermediate-size 48 --layers 2 --heads 4 --kv-heads 2 --rope-theta 1e6";
        let mut init = this.command("init");
        init.args(["--out", "base", "--tokenizer"]).arg(&tokenizer).args(shape.split(' '));
        succeeds(&mut init);
        write_shards(&tokenizer, &this.path("shards"));
        let yaml = format!(
            "model: {{base: base}}\ndata: {{train: shards/tiny-train}}\n\
             batch: {{global: 8, micro: 4, sequence_length: 64}}\nsteps: {steps}\n\
             optimizer: {{lr: 0.01}}\nschedule: {{warmup_steps: 2}}\nthreads: 1\n{more}"
        );
        atomic::write(&this.path("train.yaml"), yaml.as_bytes()).expect("written");
        this
    }

    /// A path in the run's folder.
    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The trainer with a subcommand, in the run's folder.
    pub(crate) fn command(&self, subcommand: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_trainer"));
        command.current_dir(self.folder.path()).arg(subcommand);
        command
    }

    /// `trainer train` into this folder.
    pub(crate) fn train(&self, out: &str, more: &[&str]) -> Command {
        let mut command = self.command("train");
        command.args(["--config", "train.yaml", "--out", out]).args(more);
        command
    }

    /// The bytes of a file.
    pub(crate) fn bytes(&self, name: impl AsRef<Path>) -> Vec<u8> {
        fs::read(self.path(name)).expect("the file is there")
    }
}

/// Runs a command that must succeed.
#[track_caller]
pub(crate) fn succeeds(command: &mut Command) -> Output {
    let output = command.output().expect("the program starts");
    assert!(output.status.success(), "{command:?}\n{}", String::from_utf8_lossy(&output.stderr));
    output
}

/// Runs a command that must fail with this exit code and these words on standard error.
#[track_caller]
pub(crate) fn fails(command: &mut Command, code: i32, words: &[&str]) {
    let output = command.output().expect("the program starts");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{command:?}\n{stderr}");
    for word in words {
        assert!(stderr.contains(word), "`{word}` is not in:\n{stderr}");
    }
}

/// The demo's tokenizer.
pub(crate) fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/demo")
}

/// Forty small conversations, as the pretokenizer would write them.
fn write_shards(tokenizer_file: &Path, folder: &Path) {
    let extra = ["<|im_start|>", "<|im_end|>"].map(String::from);
    let tokenizer = Tokenizer::sentencepiece(tokenizer_file, &extra).expect("the demo's tokenizer");
    fs::create_dir(folder).expect("a new folder");
    let mut writer =
        PairWriter::create(&folder.join("tiny-train"), IndexKind::Mmap, tokenizer.vocab_size())
            .expect("begun");
    let mut encoder = tokenizer.encoder();
    for i in 0..40 {
        let message = |role, text: String| Message { role, text, context: None };
        let messages = vec![
            message(Role::User, format!("What comes after {i}?")),
            message(Role::Assistant, format!("After {i} comes {}.", i + 1)),
        ];
        let (mut tokens, mut roles) = (Vec::new(), Vec::new());
        for turn in text::segments(&Conversation { system: None, messages }) {
            encoder.encode(&turn.text, &mut tokens);
            roles.resize(tokens.len(), turn.role);
        }
        writer.push(&tokens, &roles).expect("written");
    }
    writer.finish().expect("finished");

    let hash = |name: &str| FileHash::of(&folder.join(name), name).expect("the file is there");
    let manifest = Manifest {
        version: manifest::VERSION,
        program: "test".into(),
        tokenizer: manifest::Tokenizer {
            kind: "SentencePieceTokenizer".into(),
            file: FileHash::of(tokenizer_file, "tokenizer.model").expect("the file is there"),
            vocab_size: tokenizer.vocab_size(),
            special_tokens: tokenizer.special_tokens().to_vec(),
        },
        template: "chatml".into(),
        template_sha256: hash::sha256(b"chatml"),
        config: json!({}),
        config_sha256: manifest::config_sha256(&json!({})),
        inputs: Vec::new(),
        sources_read: Vec::new(),
        splits: vec![Split {
            name: "train".into(),
            prefix: "tiny-train".into(),
            lengths: None,
            sources: vec![],
        }],
        outputs: vec![hash("tiny-train-text.bin"), hash("tiny-train-role.bin")],
    };
    manifest.write(folder).expect("written");
}
