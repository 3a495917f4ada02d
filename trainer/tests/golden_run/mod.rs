//! Runs of the golden model on a few documents, by several processes.

use std::path::Path;
use std::rc::Rc;

use shards::layout::IndexKind;
use shards::role::Role;
use shards::writer::PairWriter;
use trainer::config::Config;
use trainer::ranks::{Place, Ranks};

use crate::ranks;

/// Writes shards with documents of these lengths, of which so many tokens at the beginning are the user's.
pub(crate) fn write_documents(prefix: &Path, documents: impl IntoIterator<Item = (u32, u32)>) {
    let mut writer = PairWriter::create(prefix, IndexKind::Mmap, 48).expect("shards");
    for (i, (length, asked)) in (0..).zip(documents) {
        let tokens: Vec<u32> = (0..length).map(|place| (7 * i + 3 * place) % 48).collect();
        let role = |place| if place < asked { Role::User } else { Role::Assistant };
        writer.push(&tokens, &(0..length).map(role).collect::<Vec<_>>()).expect("a document");
    }
    writer.finish().expect("whole shards");
}

/// A run on them: eight documents a step, one at a time, with these lines in its YAML and these settings over it.
pub(crate) fn config(prefix: &Path, yaml: &Path, lines: &str, settings: &[&str]) -> Config {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/llama");
    let text = format!(
        "model: {{base: '{}'}}\ndata: {{train: '{}'}}\nbatch: {{global: 8, micro: 1, sequence_length: 64}}\n\
         device: cpu\nthreads: 1\n{lines}",
        golden.display(),
        prefix.display()
    );
    fs_err::write(yaml, text).expect("a configuration");
    let settings: Vec<String> = settings.iter().map(ToString::to_string).collect();
    Config::read(yaml, &settings).expect("a sound configuration")
}

/// The ranks of a test's process, which have a connection of their own.
pub(crate) fn join(started: ranks::Place) -> Rc<Ranks> {
    let place = Place::from_environment().expect("the test sets it");
    let ranks = Ranks::join(place, ranks::TIMEOUT, false).expect("all ranks come");
    assert_eq!((ranks.rank(), ranks.size()), (started.rank, started.size));
    drop(started.store);
    ranks
}
