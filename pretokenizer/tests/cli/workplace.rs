//! A working directory of a test, and the program run in it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use fs_err as fs;
use serde_json::Value;
use tempfile::TempDir;

/// The file of the dataset `joke`.
pub(crate) const JOKES: &str = ".cache/joke_explaination.jsonl";

/// So many rows of it.
pub(crate) fn jokes(n: usize) -> String {
    let row = |i| format!("{{\"joke\": \"Why {i}?\", \"explaination\": \"Because of {i}.\"}}\n");
    (0..n).map(row).collect()
}

/// A folder with configurations and data, in which the program runs.
pub(crate) struct Workplace {
    folder: TempDir,
}

impl Workplace {
    /// An empty folder.
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder can be made") }
    }

    /// A folder with the demo's tokenizer and a configuration of one section, `a`, with these datasets.
    pub(crate) fn with_datasets(datasets: &str) -> Self {
        let workplace = Self::new();
        let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/demo/tokenizer.model");
        workplace.write("demo.model", fs::read(model).expect("the demo has a tokenizer"));
        workplace.write_datasets(datasets);
        workplace
    }

    /// A folder in which everything of another one can be read, and a run can write.
    pub(crate) fn linking(folder: &Path) -> Self {
        let workplace = Self::new();
        for entry in fs::read_dir(folder).expect("the folder can be read") {
            let path = entry.expect("the folder can be read").path();
            let link = workplace.path().join(path.file_name().expect("an entry has a name"));
            let path = path.canonicalize().expect("it is there");
            std::os::unix::fs::symlink(path, link).expect("can be linked");
        }
        workplace
    }

    /// Gives the section `a` other datasets.
    pub(crate) fn write_datasets(&self, datasets: &str) {
        self.write(
            "configs/a.yaml",
            format!(
                "a:\n  datasets: {datasets}\n  vocab_file: demo.model\n  \
                 tokenizer_type: SentencePieceTokenizer\n  output_dir: out\n  filename_prefix: a\n"
            ),
        );
    }

    /// The folder itself.
    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Writes a file, and the folders that it needs.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().expect("a file stands in a folder")).expect("writable");
        shards::atomic::write(&path, content.as_ref()).expect("writable");
    }

    /// The program, with these arguments after the subcommand.
    pub(crate) fn subcommand(&self, name: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pretokenizer"));
        command.current_dir(self.path()).arg(name).args(arguments);
        // No test reaches out, nor into this user's cache.
        command.env("HF_HUB_OFFLINE", "1").env("HF_HUB_CACHE", "no-cache");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// The program, with these arguments after `build`.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        self.subcommand("build", arguments)
    }

    /// Builds to the end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Outcome {
        Outcome::of(self.command(arguments).output().expect("the program can be started"))
    }

    /// Builds in two parts what the last run has built with these flags, and merges them: not a byte may differ.
    #[track_caller]
    pub(crate) fn check_parts(&self, flags: &[&str]) {
        let names = || self.files("out").into_iter();
        let files = || names().map(|name| self.read(&format!("out/{name}"))).collect::<Vec<_>>();
        let expected = files();
        fs::remove_dir_all(self.path().join("out")).expect("it was built");
        for part in ["1/2", "2/2"] {
            self.run(&[flags, &["--part", part]].concat()).ok();
        }
        let merged = self.subcommand("merge", &["out.parts"]).output();
        Outcome::of(merged.expect("it can be started")).ok();
        assert!(files() == expected, "the merged files differ");
    }

    /// The names of all files below a folder, sorted.
    pub(crate) fn files(&self, folder: &str) -> Vec<String> {
        let root = self.path().join(folder);
        let mut found = Vec::new();
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            let Ok(entries) = fs::read_dir(folder) else { continue };
            for entry in entries {
                let path = entry.expect("readable").path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let name = path.strip_prefix(&root).expect("it was found below the root");
                    found.push(name.to_string_lossy().into_owned());
                }
            }
        }
        found.sort();
        found
    }

    /// A file's content.
    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path().join(name)).expect("the file is there")
    }

    /// Every file of the last run but the manifest, which names the inputs.
    pub(crate) fn shards(&self) -> BTreeMap<String, Vec<u8>> {
        let names = self.files("out").into_iter().filter(|name| name != "manifest.json");
        names.map(|name| (name.clone(), self.read(&format!("out/{name}")))).collect()
    }

    /// The manifest of the last run.
    pub(crate) fn manifest(&self) -> Value {
        serde_json::from_slice(&self.read("out/manifest.json")).expect("the manifest is JSON")
    }
}

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// The exit code.
    pub(crate) code: Option<i32>,
    /// Standard output.
    pub(crate) out: String,
    /// Standard error.
    pub(crate) err: String,
}

impl Outcome {
    /// Of a process that has ended.
    pub(crate) fn of(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).expect("the program writes UTF-8");
        Self { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// The run must have gone well.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{}", self.err);
        self
    }
}

/// The reference's inputs and outputs, if they are at hand; on CI they must be.
pub(crate) fn oracle() -> Option<PathBuf> {
    let oracle = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/oracle");
    if oracle.is_dir() {
        return Some(oracle.canonicalize().expect("it is there"));
    }
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{} is missing", oracle.display());
    #[expect(clippy::print_stderr, reason = "a test that does not run says so")]
    {
        eprintln!("skipped: {} is missing", oracle.display());
    }
    None
}
