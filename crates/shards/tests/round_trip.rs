//! What is written is read back, bytes are those of the format, and a broken file is refused by name.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail as tests do")]

use std::path::{Path, PathBuf};

use fs_err as fs;
use proptest::prelude::*;
use shards::{IndexKind, PairReader, PairWriter, Role};

fn write(prefix: &Path, vocab_size: u32, documents: &[Vec<u32>]) {
    let mut writer = PairWriter::create(prefix, IndexKind::Mmap, vocab_size).unwrap();
    for tokens in documents {
        writer.push(tokens, &roles(tokens)).unwrap();
    }
    writer.finish().unwrap();
}

/// Some role for each token, a function of the token so that a shift would show.
fn roles(tokens: &[u32]) -> Vec<Role> {
    tokens.iter().map(|&id| Role::ALL[id as usize % 4]).collect()
}

proptest! {
    // Every case syncs four files to the disk.
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn documents_come_back_as_they_went_in(
        wide in any::<bool>(),
        documents in prop::collection::vec(prop::collection::vec(0_u32..65_000, 0..20), 0..20),
    ) {
        let folder = tempfile::tempdir().unwrap();
        let prefix = folder.path().join("mix.v1-train");
        write(&prefix, if wide { 70_000 } else { 65_000 }, &documents);

        let reader = PairReader::open(&prefix).unwrap();
        prop_assert_eq!(reader.len(), documents.len());
        prop_assert_eq!(reader.n_tokens(), documents.iter().map(Vec::len).sum::<usize>());
        for (i, tokens) in documents.iter().enumerate() {
            let document = reader.document(i);
            prop_assert_eq!(&document.tokens().collect::<Vec<_>>(), tokens);
            let expected: Vec<u32> = roles(tokens).iter().map(|role| role.id().into()).collect();
            prop_assert_eq!(document.roles().collect::<Vec<_>>(), expected);
        }
    }
}

#[test]
fn the_bytes_are_those_of_the_format() {
    let folder = tempfile::tempdir().unwrap();
    let prefix = folder.path().join("p");
    write(&prefix, 32_023, &[vec![1, 515], vec![], vec![7]]);

    let mut index = b"MMIDIDX\0\0\x01\0\0\0\0\0\0\0\x08".to_vec();
    index.extend([3, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]); // documents, last table
    index.extend([2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0]); // sizes
    index.extend([0; 8]); // places: 0, 4, 4
    index.extend([4, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0]);
    index.extend([0; 8]); // last table: 0
    assert_eq!(fs::read(folder.path().join("p-text.idx")).unwrap(), index);
    assert_eq!(fs::read(folder.path().join("p-role.idx")).unwrap(), index);
    assert_eq!(fs::read(folder.path().join("p-text.bin")).unwrap(), [1, 0, 3, 2, 7, 0]);
    assert_eq!(fs::read(folder.path().join("p-role.bin")).unwrap(), [1, 0, 3, 0, 3, 0]);
}

#[test]
fn the_legacy_index_is_that_of_the_reference() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer =
        PairWriter::create(&folder.path().join("p"), IndexKind::Legacy, 32_023).unwrap();
    for tokens in [&[5, 6][..], &[7]] {
        writer.push(tokens, &roles(tokens)).unwrap();
    }
    writer.finish().unwrap();

    let numbers: [u64; 15] = [1, 4, 4, 2, 2, 1, 0, 1, 2, 0, 2, 3, 2, 1, 0];
    let mut index = b"TNTIDX\0\0".to_vec();
    index.extend(numbers.iter().flat_map(|n| n.to_le_bytes()));
    assert_eq!(fs::read(folder.path().join("p-text.idx")).unwrap(), index);
    let bin = fs::read(folder.path().join("p-text.bin")).unwrap();
    assert_eq!(bin, [5, 0, 0, 0, 6, 0, 0, 0, 7, 0, 0, 0]);
    let reader = PairReader::open(&folder.path().join("p")).unwrap();
    let documents: Vec<Vec<u32>> =
        (0..reader.len()).map(|i| reader.document(i).tokens().collect()).collect();
    assert_eq!(documents, [&[5, 6][..], &[7]]);
}

/// Writes good shards, breaks one file, and expects an error that names it and says `complaint`.
#[track_caller]
fn check(broken: &str, edit: impl FnOnce(&mut Vec<u8>), complaint: &str) {
    check_kind(IndexKind::Mmap, broken, edit, complaint);
}

#[track_caller]
fn check_kind(kind: IndexKind, broken: &str, edit: impl FnOnce(&mut Vec<u8>), complaint: &str) {
    let folder = tempfile::tempdir().unwrap();
    let prefix = folder.path().join("p");
    let mut writer = PairWriter::create(&prefix, kind, 32_023).unwrap();
    for tokens in [&[1, 2, 3][..], &[4]] {
        writer.push(tokens, &roles(tokens)).unwrap();
    }
    writer.finish().unwrap();

    let path: PathBuf = folder.path().join(broken);
    let mut bytes = fs::read(&path).unwrap();
    edit(&mut bytes);
    shards::atomic::write(&path, &bytes).unwrap();

    let error = PairReader::open(&prefix).unwrap_err().to_string();
    assert!(error.contains(broken), "{error}");
    assert!(error.contains(complaint), "{error}");
    assert!(error.contains("\nhint: "), "{error}");
}

#[test]
fn every_way_of_being_broken_is_named() {
    check("p-text.idx", |bytes| bytes[0] = b'X', "does not begin with `MMIDIDX`");
    check("p-text.idx", |bytes| bytes.truncate(20), "ends after 20 bytes");
    check("p-text.idx", |bytes| bytes.truncate(60), "its head promises 2 documents");
    check("p-text.idx", |bytes| bytes[9] = 2, "its version is 2, expected 1");
    check("p-text.idx", |bytes| bytes[17] = 6, "its element type is 6");
    check("p-text.idx", |bytes| bytes[25] = 255, "its head promises");
    check("p-text.idx", |bytes| bytes[37] = 255, "document 0 has the size");
    check("p-text.idx", |bytes| bytes[50] = 3, "document 1 should begin at byte 6, not 3");
    check("p-text.bin", |bytes| bytes.truncate(6), "it has 6 bytes, but its index describes 8");
    check("p-role.bin", |bytes| bytes.push(0), "it has 9 bytes, but its index describes 8");
}

#[test]
fn every_way_of_being_broken_of_a_legacy_index_is_named() {
    // 56 bytes of head; dimensions 0, 1, 2 at 56; places 0, 3, 4 at 80; sizes 3, 1 at 104; 0 at 120.
    let check = |at: usize, byte: u8, complaint: &str| {
        let edit = |bytes: &mut Vec<u8>| bytes[at] = byte;
        check_kind(IndexKind::Legacy, "p-text.idx", edit, complaint);
    };
    check(8, 2, "its version is 2, expected 1");
    check(16, 8, "its elements are of type 8 and 4 bytes, expected 4 and 4");
    check(32, 3, "it has 3 documents with 2 sizes");
    check(48, 2, "its head promises 2 documents, which its 128 bytes do not hold");
    check(64, 2, "document 1 has the dimensions from 2 on, expected 1");
    check(88, 2, "document 1 should begin at token 3, not 2");
    check(96, 5, "its documents have 4 tokens, and it says 5");
    check(119, 255, "document 1 has the size");
    let cut = |n: usize| move |bytes: &mut Vec<u8>| bytes.truncate(n);
    check_kind(IndexKind::Legacy, "p-role.idx", cut(50), "ends after 50 bytes, inside its head");
    check_kind(IndexKind::Legacy, "p-role.idx", cut(100), "its head promises 2 documents");
}

#[test]
fn sizes_beyond_all_memory_are_refused() {
    // Found by `scripts/fuzz`: so many documents that their tables end just beyond 64 bits.
    let mut index = b"TNTIDX\0\0".to_vec();
    for number in [1, 4, 4, (1_u64 << 60) - 2, (1 << 60) - 2, 1] {
        index.extend(number.to_le_bytes());
    }
    assert!(shards::layout::sizes(IndexKind::Legacy, &index).is_err());
}

#[test]
fn halves_of_different_splits_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (folder.path().join("a"), folder.path().join("b"));
    write(&a, 32_023, &[vec![1, 2]]);
    write(&b, 32_023, &[vec![1], vec![2]]);
    for extension in ["idx", "bin"] {
        fs::rename(
            folder.path().join(format!("b-role.{extension}")),
            folder.path().join(format!("a-role.{extension}")),
        )
        .unwrap();
    }
    let error = PairReader::open(&a).unwrap_err().to_string();
    assert!(error.contains("a-role.idx") && error.contains("it has 2 documents"), "{error}");
}

#[test]
fn nothing_is_there_before_the_writer_finishes() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = PairWriter::create(&folder.path().join("p"), IndexKind::Mmap, 32_023).unwrap();
    writer.push(&[1], &[Role::User]).unwrap();
    drop(writer);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}
