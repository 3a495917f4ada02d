//! `pretokenizer verify`: a whole folder passes, and whatever is changed in it is found and named.

use expect_test::{Expect, expect};
use fs_err as fs;

use crate::workplace::{JOKES, Outcome, Workplace, jokes, oracle};

/// Thirty conversations of two turns, 24 to train on.
fn built() -> Workplace {
    let workplace = Workplace::with_datasets("[joke]");
    workplace.write(JOKES, jokes(30));
    workplace.run(&["--configs", "a"]).ok();
    workplace
}

fn verify(workplace: &Workplace, arguments: &[&str]) -> Outcome {
    let mut command = workplace.subcommand("verify", arguments);
    Outcome::of(command.output().expect("the program can be started"))
}

/// What is said of a folder after a change; a manifest that does not know of it is what a wrong program would write.
#[track_caller]
fn check(change: impl Fn(&Workplace), expected: &Expect) {
    let workplace = built();
    change(&workplace);
    let outcome = verify(&workplace, &["out"]);
    assert_eq!(outcome.code, Some(1), "{}{}", outcome.out, outcome.err);
    expected.assert_eq(&outcome.out);
}

fn edit(workplace: &Workplace, name: &str, change: impl Fn(&mut Vec<u8>)) {
    let name = format!("out/{name}");
    let mut bytes = workplace.read(&name);
    change(&mut bytes);
    workplace.write(&name, bytes);
}

fn swap(workplace: &Workplace, a: &str, b: &str) {
    let [a, b] = [a, b].map(|name| format!("out/{name}"));
    let (of_a, of_b) = (workplace.read(&a), workplace.read(&b));
    workplace.write(&a, of_b);
    workplace.write(&b, of_a);
}

/// Gives the manifest the hashes of the files as they are now, so that only their content can tell.
fn rehash(workplace: &Workplace) {
    let mut manifest = workplace.manifest();
    for output in manifest["outputs"].as_array_mut().expect("a list") {
        let bytes = workplace.read(&format!("out/{}", output["path"].as_str().expect("a text")));
        output["sha256"] = shards::hash::sha256(&bytes).into();
        output["bytes"] = bytes.len().into();
    }
    workplace.write("out/manifest.json", manifest.to_string());
}

/// The thirty conversations, whole.
#[track_caller]
fn check_whole(workplace: &Workplace) {
    expect![[r#"
        11 files with the bytes that the manifest names
        train: 24 documents, 630 tokens, 351 of the assistant
        val: 6 documents, 160 tokens, 89 of the assistant
        `out` is whole
    "#]]
    .assert_eq(&verify(workplace, &["out"]).ok().out);
}

#[test]
fn a_whole_folder_passes() {
    check_whole(&built());
}

#[test]
fn a_flipped_byte_is_found() {
    check(
        |it| edit(it, "a-train-text.bin", |bytes| bytes[70] ^= 1),
        &expect![[r#"
            train: 24 documents, 630 tokens, 351 of the assistant
            val: 6 documents, 160 tokens, 89 of the assistant
            wrong: `a-train-text.bin`: its SHA-256 is 6df94aaaeeca13c122de10bdee57efb607b053d7e1c042ad69abbddea2628fde, the manifest says 7232827c4d738d69ff90aa18768724a79f89fb58341880ad80b62eb3c0ead6cd
            wrong: train: changes of the role elsewhere than between two turns: 1
              document 1, token 12: from `user` to `assistant`
        "#]],
    );
}

#[test]
fn a_cut_index_is_found() {
    check(
        |it| edit(it, "a-val-role.idx", |bytes| bytes.truncate(50)),
        &expect![[r#"
        train: 24 documents, 630 tokens, 351 of the assistant
        wrong: `a-val-role.idx`: it has 50 bytes, the manifest says 114
        wrong: `out/a-val-role.idx`: its head promises 6 documents, which its 50 bytes do not hold
    "#]],
    );
}

#[test]
fn an_id_beyond_the_vocabulary_is_found() {
    let change = |it: &Workplace| {
        edit(it, "a-train-text.bin", |bytes| bytes[70..74].copy_from_slice(&[255; 4]));
        rehash(it);
    };
    check(
        change,
        &expect![[r#"
            11 files with the bytes that the manifest names
            train: 24 documents, 630 tokens, 351 of the assistant
            val: 6 documents, 160 tokens, 89 of the assistant
            wrong: train: token ids that are not below the vocabulary's 1,536: 2
              document 1, token 10: id 65535
              document 1, token 11: id 65535
            wrong: train: changes of the role elsewhere than between two turns: 1
              document 1, token 12: from `user` to `assistant`
        "#]],
    );
}

#[test]
fn roles_that_are_shifted_by_a_token_are_found() {
    let change = |it: &Workplace| {
        edit(it, "a-train-role.bin", |bytes| {
            bytes.rotate_right(2);
        });
        rehash(it);
    };
    check(
        change,
        &expect![[r#"
            11 files with the bytes that the manifest names
            train: 24 documents, 630 tokens, 351 of the assistant
            val: 6 documents, 160 tokens, 89 of the assistant
            not checked: train: 24 turns that may stand inside a text, the first in document 0
            wrong: train: changes of the role elsewhere than between two turns: 48
              document 0, token 1: from `assistant` to `user`
              document 0, token 12: from `user` to `assistant`
              document 1, token 1: from `assistant` to `user`
              ...
            wrong: train: turns whose text names another role than their tokens have: 24
              document 0, token 0: `user` in the text, `assistant` in the roles
              document 1, token 0: `user` in the text, `assistant` in the roles
              document 2, token 0: `user` in the text, `assistant` in the roles
              ...
        "#]],
    );
}

#[test]
fn roles_that_changed_places_and_roles_that_are_none_are_found() {
    let change = |it: &Workplace| {
        edit(it, "a-train-role.bin", |bytes| {
            for role in bytes.chunks_exact_mut(2) {
                role[0] = 3 - role[0];
            }
        });
        edit(it, "a-val-role.bin", |bytes| bytes[8] = 9);
        rehash(it);
    };
    check(
        change,
        &expect![[r#"
            11 files with the bytes that the manifest names
            train: 24 documents, 630 tokens, 279 of the assistant
            val: 6 documents, 160 tokens, 89 of the assistant
            wrong: train: `joke` has 630 tokens, 279 of the assistant; the manifest counts 630 and 351
            wrong: train: turns whose text names another role than their tokens have: 48
              document 0, token 0: `user` in the text, `assistant` in the roles
              document 0, token 11: `assistant` in the text, `user` in the roles
              document 1, token 0: `user` in the text, `assistant` in the roles
              ...
            wrong: val: tokens whose role is none of 0 to 3: 1
              document 0, token 4: role 9
        "#]],
    );
}

#[test]
fn files_that_changed_places_are_found() {
    check(
        |it| swap(it, "a-train-text.bin", "a-train-role.bin"),
        &expect![[r#"
            train: 24 documents, 630 tokens, 0 of the assistant
            val: 6 documents, 160 tokens, 89 of the assistant
            wrong: `a-train-role.bin`: it has the bytes of `a-train-text.bin`
            wrong: `a-train-text.bin`: it has the bytes of `a-train-role.bin`
            wrong: train: tokens whose role is none of 0 to 3: 630
              document 0, token 0: role 1534
              document 0, token 1: role 401
              document 0, token 2: role 13
              ...
        "#]],
    );
    let all = |it: &Workplace| {
        for file in ["text.bin", "text.idx", "role.bin", "role.idx"] {
            swap(it, &format!("a-train-{file}"), &format!("a-val-{file}"));
        }
        rehash(it);
    };
    check(
        all,
        &expect![[r#"
        11 files with the bytes that the manifest names
        train: 6 documents, 160 tokens, 89 of the assistant
        val: 24 documents, 630 tokens, 351 of the assistant
        wrong: train: there are 6 documents, the manifest counts 24
        wrong: val: there are 24 documents, the manifest counts 6
    "#]],
    );
}

#[test]
fn a_missing_file_and_a_strange_one_are_named() {
    let change = |it: &Workplace| {
        fs::remove_file(it.path().join("out/a-val-text.bin")).expect("it is there");
        it.write("out/a-val-text.bin.part", "");
    };
    check(
        change,
        &expect![[r#"
        train: 24 documents, 630 tokens, 351 of the assistant
        not checked: files that the manifest does not name: `a-val-text.bin.part`
        wrong: `a-val-text.bin` is missing
        wrong: failed to open file `out/a-val-text.bin`: No such file or directory (os error 2)
    "#]],
    );
}

#[test]
fn without_the_tokenizer_turns_are_compared_with_each_other() {
    let workplace = built();
    fs::remove_file(workplace.path().join("demo.model")).expect("it is there");
    let outcome = verify(&workplace, &["out"]).ok();
    expect![[r#"
        11 files with the bytes that the manifest names
        train: 24 documents, 630 tokens, 351 of the assistant
        val: 6 documents, 160 tokens, 89 of the assistant
        not checked: the roles' names in the text, but that all turns of a role begin alike (`demo.model` is not here; `--tokenizer FILE` gives it)
        `out` is whole
    "#]].assert_eq(&outcome.out);
    edit(&workplace, "a-val-role.bin", |bytes| {
        for role in bytes.chunks_exact_mut(2).take(4) {
            role[0] = 0;
        }
    });
    rehash(&workplace);
    expect![[r#"
        11 files with the bytes that the manifest names
        train: 24 documents, 630 tokens, 351 of the assistant
        val: 6 documents, 160 tokens, 89 of the assistant
        not checked: the roles' names in the text, but that all turns of a role begin alike (`demo.model` is not here; `--tokenizer FILE` gives it)
        wrong: val: `joke` has tokens of other roles than the manifest counts: {"assistant": 89, "context": 0, "system": 4, "user": 67}, not {"assistant": 89, "context": 0, "system": 0, "user": 71}
        wrong: val: changes of the role elsewhere than between two turns: 1
          document 0, token 4: from `system` to `user`
    "#]].assert_eq(&verify(&workplace, &["out"]).out);
}

#[test]
fn a_folder_that_a_killed_build_left_does_not_pass() {
    let change = |it: &Workplace| {
        fs::remove_file(it.path().join("out/manifest.json")).expect("it is there");
        it.write(".out.partial/manifest.json", "{}");
    };
    check(
        change,
        &expect![[r#"
        train: 24 documents, 630 tokens, 351 of the assistant, largest id 1,535
        val: 6 documents, 160 tokens, 89 of the assistant, largest id 1,535
        not checked: hashes, counts and the vocabulary's size: there is no `manifest.json`
        not checked: the roles' names in the text, but that all turns of a role begin alike (no manifest names the tokenizer; `--tokenizer FILE` gives it)
        wrong: `manifest.json` is missing, and `.out.partial` beside the folder shows that a build of it was not finished
    "#]],
    );
}

#[test]
fn a_folder_with_legacy_indices_passes_and_a_changed_one_does_not() {
    let workplace = Workplace::with_datasets("[joke]\n  dataset_impl: lazy");
    workplace.write(JOKES, jokes(30));
    workplace.run(&["--configs", "a"]).ok();
    assert!(workplace.read("out/a-train-text.idx").starts_with(b"TNTIDX"));
    check_whole(&workplace);
    // The first document has a token less, and the second one more: the head and the total are as before.
    edit(&workplace, "a-val-text.idx", |bytes| {
        let n = 6;
        for at in [56 + 8 * (n + 2), 56 + 8 * (2 * n + 2)] {
            bytes[at] -= 1;
        }
        bytes[56 + 8 * (2 * n + 3)] += 1;
    });
    rehash(&workplace);
    let outcome = verify(&workplace, &["out"]);
    assert_eq!(outcome.code, Some(1));
    expect![[r#"
        11 files with the bytes that the manifest names
        train: 24 documents, 630 tokens, 351 of the assistant
        wrong: `out/a-val-role.idx`: its documents have other sizes than those of `out/a-val-text.idx`
    "#]].assert_eq(&outcome.out);
}

#[test]
fn a_merged_folder_passes_as_it_would_if_one_machine_had_built_it() {
    let workplace = built();
    for implementation in ["mmap", "lazy"] {
        for part in ["1/3", "2/3", "3/3"] {
            let flags = ["--configs", "a", "--dataset_impl", implementation, "--part", part];
            workplace.run(&flags).ok();
        }
        let merge = workplace.subcommand("merge", &["out.parts"]).output();
        Outcome::of(merge.expect("it can be started")).ok();
        check_whole(&workplace);
        fs::remove_dir_all(workplace.path().join("out.parts")).expect("it is there");
    }
    // A part is no whole folder.
    workplace.run(&["--configs", "a", "--part", "1/3"]).ok();
    let outcome = verify(&workplace, &["out.parts/part-1-of-3"]);
    expect![[r#"
        train: 8 documents, 214 tokens, 119 of the assistant, largest id 1,535
        val: 2 documents, 54 tokens, 30 of the assistant, largest id 1,535
        not checked: hashes, counts and the vocabulary's size: there is no `manifest.json`
        not checked: the roles' names in the text, but that all turns of a role begin alike (no manifest names the tokenizer; `--tokenizer FILE` gives it)
        wrong: it is one part of several: `pretokenizer merge` makes a whole folder of them
        error: `out.parts/part-1-of-3` is damaged: 1 kind of problems
        hint: copy it again, or rebuild it with `pretokenizer build`
    "#]].assert_eq(&format!("{}{}", outcome.out, outcome.err));
}

#[test]
fn what_is_no_folder_of_shards_is_bad_input() {
    let workplace = Workplace::new();
    let outcome = verify(&workplace, &["out"]);
    assert_eq!(outcome.code, Some(2));
    expect![[r#"
        error: `out`: there is no such folder
        hint: give the `output_dir` of a `pretokenizer build`
    "#]]
    .assert_eq(&outcome.err);
    workplace.write("out/notes.txt", "");
    let outcome = verify(&workplace, &["out"]);
    assert_eq!(outcome.code, Some(2));
    expect![[r#"
        error: `out` holds no shards: neither `manifest.json` nor a file `*-text.idx`
        hint: give the `output_dir` of a `pretokenizer build`
    "#]]
    .assert_eq(&outcome.err);
}

#[test]
fn folders_of_the_reference_pass_without_a_manifest() {
    let Some(oracle) = oracle() else { return };
    for expected in ["real/expected", "scenarios/expected"] {
        let workplace = Workplace::linking(&oracle.join(expected));
        for folder in fs::read_dir(workplace.path()).expect("readable") {
            let folder = folder.expect("readable").file_name().into_string().expect("UTF-8");
            if folder != "SHA256SUMS" {
                verify(&workplace, &[&folder]).ok();
            }
        }
    }
    let workplace = Workplace::linking(&oracle.join("real/expected"));
    let model = oracle.join("../tokenizers/llama2/tokenizer.model");
    let model = model.to_str().expect("UTF-8");
    let outcome = verify(&workplace, &["fractions_llama2", "--tokenizer", model]).ok();
    expect![[r#"
        train: 343 documents, 150,621 tokens, 122,742 of the assistant, largest id 32,006
        val: 38 documents, 18,641 tokens, 16,369 of the assistant, largest id 32,006
        not checked: hashes, counts and the vocabulary's size: there is no `manifest.json`
        `fractions_llama2` is whole
    "#]]
    .assert_eq(&outcome.out);
}

#[test]
fn texts_without_turns_may_stand_beside_conversations() {
    let workplace =
        Workplace::with_datasets("[joke, text: {name: books, path: books.jsonl, val_split: 0}]");
    workplace.write(JOKES, jokes(5));
    workplace
        .write("books.jsonl", "{\"text\": \"It was a night.\"}\n{\"text\": \"It was a day.\"}\n");
    workplace.run(&["--configs", "a"]).ok();
    let outcome = verify(&workplace, &["out"]);
    assert_eq!(outcome.code, Some(0), "{}{}", outcome.out, outcome.err);
    assert!(outcome.out.contains("2 are texts without turns"), "{}", outcome.out);
}
