//! A tiny base model, shards and a configuration in a temporary folder, and the program to use them with.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use shards::layout::IndexKind;
use shards::{PairWriter, Role};
use tempfile::TempDir;
use text::{Conversation, Message, Tokenizer};

/// What stands in the folder.
pub(crate) struct Workplace {
    folder: TempDir,
}

/// The demo's tokenizer.
pub(crate) fn tokenizer_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/demo/tokenizer.model")
}

/// A conversation of one question and its answer.
pub(crate) fn conversation(question: &str, answer: &str) -> Conversation {
    let message = |role, text: &str| Message { role, text: text.into(), context: None };
    Conversation {
        system: None,
        messages: vec![message(Role::User, question), message(Role::Assistant, answer)],
    }
}

impl Workplace {
    /// Makes all of it: `base/`, `shards/p-train-*` and `run.yaml`.
    pub(crate) fn new() -> Self {
        let place = Self { folder: tempfile::tempdir().expect("a temporary folder") };
        let tokenizer = tokenizer_file();
        let shape =
            "--hidden-size 32 --intermediate-size 48 --layers 2 --heads 4 --kv-heads 2 --seed 7";
        let mut words = vec!["init", "--out", "base", "--tokenizer"];
        words.push(tokenizer.to_str().expect("the workspace's path is text"));
        words.extend(shape.split(' '));
        place.done(&words);

        fs_err::create_dir(place.path("shards")).expect("a new folder");
        place.write_shards(&tokenizer);
        let config = "
            model: {base: base}
            data: {train: shards/p-train}
            batch: {global: 4, micro: 2, sequence_length: 64}
            steps: 4
            threads: 1
            optimizer: {lr: 1.0e-2, weight_decay: 0.1}
            schedule: {warmup_steps: 1}
            checkpoint: {every: 2}
        ";
        shards::atomic::write(&place.path("run.yaml"), config.as_bytes()).expect("a new file");
        place
    }

    fn write_shards(&self, tokenizer: &Path) {
        let extra = ["<|im_start|>", "<|im_end|>"].map(String::from);
        let tokenizer = Tokenizer::sentencepiece(tokenizer, &extra).expect("the demo's tokenizer");
        let kind = IndexKind::Mmap;
        let prefix = self.path("shards/p-train");
        let mut writer =
            PairWriter::create(&prefix, kind, tokenizer.vocab_size()).expect("new files");
        let mut encoder = tokenizer.encoder();
        for i in 0..8 {
            let (mut tokens, mut roles) = (Vec::new(), Vec::new());
            for turn in text::segments(&conversation(&format!("{i} + 1?"), &format!("{}.", i + 1)))
            {
                encoder.encode(&turn.text, &mut tokens);
                roles.resize(tokens.len(), turn.role);
            }
            writer.push(&tokens, &roles).expect("space on the disk");
        }
        writer.finish().expect("space on the disk");
    }

    /// A path in the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs the program in the folder.
    pub(crate) fn trainer(&self, words: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_trainer"))
            .args(words)
            .current_dir(self.folder.path())
            .output()
            .expect("the program starts")
    }

    /// Runs it, expects that all is well, and gives what it said on standard error.
    #[track_caller]
    pub(crate) fn done(&self, words: &[&str]) -> String {
        let output = self.trainer(words);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{words:?}: {said}");
        said
    }

    /// Runs it and expects that it refuses the user's input, with this complaint.
    #[track_caller]
    pub(crate) fn refused(&self, words: &[&str], complaint: &str) -> String {
        let output = self.trainer(words);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{words:?}: {said}");
        assert!(said.contains(complaint), "{words:?}: {said}");
        said
    }
}
