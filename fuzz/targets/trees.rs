//! Any bytes as an export of message trees: loaded or refused, and every row is in a document, or left out for a reason, or
//! a message of a tree.

#![no_main]

use std::collections::BTreeSet;
use std::fs;
use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use pretokenizer::config::sections::Sections;
use pretokenizer::config::{Datamix, OnError, ValSplit};
use pretokenizer::loaders::made::MadeOf;
use pretokenizer::loaders::{self, Context, Samples};
use pretokenizer::scratch::Scratch;
use pretokenizer::source::{Reader, RowsRead};
use pretokenizer::store::{Keep, Store};
use pretokenizer::streams::Streams;
use tempfile::TempDir;

static FOLDER: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir().expect("a folder"));

static DATAMIX: LazyLock<Datamix> = LazyLock::new(|| {
    let yaml = "
fuzz:
  datasets: [oasst_export: {input_file_path: trees, top_k: 2, lang: 'en,de'}]
  tokenizer_type: SentencePieceTokenizer
  vocab_file: none
  output_dir: none
  filename_prefix: none
";
    let configs = FOLDER.path().join("configs");
    fs::create_dir(&configs).expect("writable");
    fs::write(configs.join("fuzz.yaml"), yaml).expect("writable");
    let sections = Sections::read(&configs).expect("it was written");
    let section = sections.merge(&["fuzz".into()]).expect("it was written");
    Datamix::new(section).expect("it is a datamix")
});

fuzz_target!(|bytes: &[u8]| {
    fs::write(FOLDER.path().join("trees"), bytes).expect("writable");
    load(OnError::Stop);
    load(OnError::Skip);
});

fn load(on_error: OnError) {
    let entry = DATAMIX.entries().next().expect("it has one");
    let scratch = Arc::new(Scratch::new(FOLDER.path()));
    let mut reader = Reader::new(1, on_error, Arc::clone(&scratch));
    reader.begin(RowsRead::new(true, true));
    let mut store = Store::new(Keep::All, 1 << 20, scratch);
    let refused = RowsRead::new(true, true);
    let samples = Samples::new(&mut store, on_error, refused, Some(MadeOf::default()));
    let context = Context {
        reader: &mut reader,
        streams: &mut Streams::new(42),
        samples,
        data_path: FOLDER.path().into(),
        val_split: Some(ValSplit::Fraction(0.5)),
        is_first: false,
    };
    let Ok(loaded) = loaders::load(entry, context) else { return };
    let pieces: BTreeSet<u32> = (0..u32::try_from(loaded.len()).expect("few documents"))
        .flat_map(|document| loaded.pieces_for(document))
        .collect();
    let all: BTreeSet<u32> = loaded.pieces.clone().collect();
    assert_eq!(pieces, all);

    let made_of = loaded.made_of.expect("it was asked for");
    let n_rows = made_of.rows.rows.len() as u64;
    let mut told: BTreeSet<u64> = made_of.samples.iter().map(|(row, _)| *row).collect();
    told.extend(made_of.dropped.iter().map(|(row, _)| *row));
    told.extend(made_of.rows.bad.iter().map(|(row, _)| *row));
    let of_trees = made_of.names.iter().filter(|(.., tree)| tree.is_some());
    told.extend(of_trees.map(|(row, ..)| *row));
    assert_eq!(told, (0..n_rows).collect());
}
