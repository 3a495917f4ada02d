//! Sources whose columns the datamix names, and other templates than ChatML.

use std::path::Path;

use expect_test::{Expect, expect};
use fs_err as fs;
use serde_json::json;

use crate::workplace::Workplace;

/// The texts of both splits, one a line, and the run's messages if it fails.
fn texts(workplace: &Workplace) -> String {
    let outcome = workplace.run(&["--configs", "a", "--write_json"]);
    if outcome.code != Some(0) {
        return format!("{:?}: {}", outcome.code, outcome.err);
    }
    let lines = |name: &str| String::from_utf8(workplace.read(name)).expect("ASCII");
    let mut texts = lines("out/a-train.jsonl");
    if workplace.files("out").contains(&"a-val.jsonl".to_string()) {
        texts += &lines("out/a-val.jsonl");
    }
    texts
}

#[track_caller]
fn check(entry: &str, file: &str, rows: &[serde_json::Value], expected: &Expect) {
    let workplace = Workplace::with_datasets(&format!("[{entry}]"));
    let rows: String = rows.iter().map(|row| format!("{row}\n")).collect();
    workplace.write(file, rows);
    expected.assert_eq(&texts(&workplace));
}

#[test]
fn messages_are_read_by_role_and_content() {
    let rows = [
        json!({"messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}], "lang": "en"}),
        json!({"messages": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}, {"role": "tool", "content": "t"}, {"role": "assistant", "content": "c"}], "lang": "de"}),
        json!({"messages": [{"role": "function", "content": "x"}], "lang": "en"}),
        json!({"messages": [{"role": "user", "content": "fr"}, {"role": "assistant", "content": "fr"}], "lang": "fr"}),
        json!({"messages": [{"role": "user", "content": "alone"}], "lang": "en"}),
    ];
    let keys = "name: chats, path: m.jsonl, val_split: 0, roles: {tool: context, function: drop}, \
                default_system: D, lang_column: lang, lang: 'en,de'";
    check(
        &format!("messages: {{{keys}}}"),
        "m.jsonl",
        &rows,
        &expect![[r#"
            {"text": "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\nho<|im_end|>\n"}
            {"text": "<|im_start|>system\nD<|im_end|>\n<|im_start|>user\nab<|im_end|>\n<|im_start|>context\nt<|im_end|>\n<|im_start|>assistant\nc<|im_end|>\n"}
            {"text": "<|im_start|>system\nD<|im_end|>\n<|im_start|>user\nalone<|im_end|>\n"}
        "#]],
    );
    let workplace = Workplace::with_datasets(&format!("[messages: {{{keys}, min_messages: 2}}]"));
    workplace.write("m.jsonl", rows.iter().map(|row| format!("{row}\n")).collect::<String>());
    workplace.run(&["--configs", "a"]).ok();
    let dropped = json!({"another language": 1, "number of messages": 2});
    let expected = json!([{"name": "chats", "samples": 2, "dropped": dropped}]);
    assert_eq!(workplace.manifest()["sources_read"], expected);
    let stats = String::from_utf8(workplace.read("out/a-train_stats.txt")).expect("text");
    assert!(stats.contains("## Stats for 'chats' (2 samples (100.0%))"), "{stats}");
}

#[test]
fn rows_in_another_language_are_left_out_where_no_column_says_which() {
    let row = |question: &str, answer: &str| json!({"Q": question, "A": answer, "S": "You are a helpful assistant. Answer the questions of the user."});
    let rows = [
        row(
            "Was ist der höchste Berg der Welt?",
            "Der höchste Berg der Welt ist der Mount Everest in Asien.",
        ),
        row(
            "What is the highest mountain of the world?",
            "The highest mountain of the world is Mount Everest in Asia.",
        ),
        row(
            "Quelle est la plus haute montagne du monde ?",
            "La plus haute montagne du monde est le mont Everest, en Asie.",
        ),
        row("Яка найвища гора світу?", "Найвища гора світу — Еверест, вона розташована в Азії."),
        row("1 + 1?", "2"),
    ];
    let keys = "name: i, path: i.jsonl, val_split: 0, prompt: Q, response: A, system: S";
    for (lang, kept) in [("[no, de, uk-UA]", [0, 3]), ("'en, fra'", [1, 2])] {
        let workplace = Workplace::with_datasets(&format!(
            "[instructions: {{{keys}, detect_lang: true, lang: {lang}}}]"
        ));
        workplace.write("i.jsonl", rows.iter().map(|row| format!("{row}\n")).collect::<String>());
        let checked = workplace.subcommand("check", &["--configs", "a"]).output();
        let checked = String::from_utf8(checked.expect("it can be started").stdout).expect("text");
        let counts =
            "left out of `i`, when it was read: 2 (another language), 1 (no language to be seen)";
        assert!(checked.contains(counts), "{checked}");
        let texts = texts(&workplace);
        assert_eq!(texts.lines().count(), 2, "{texts}");
        for (line, i) in texts.lines().zip(kept) {
            let document: serde_json::Value = serde_json::from_str(line).expect("JSON");
            let text = document["text"].as_str().expect("a text");
            assert!(text.contains(rows[i]["A"].as_str().expect("a text")), "{text}");
        }
        let dropped = json!({"another language": 2, "no language to be seen": 1});
        assert_eq!(workplace.manifest()["sources_read"][0]["dropped"], dropped);
    }
}

#[test]
fn sharegpt_instructions_and_texts_have_their_own_columns() {
    check(
        "sharegpt: {name: s, path: s.json, val_split: 0, system: sys}",
        "s.json",
        &[
            json!({"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}], "sys": "S"}),
            json!({"conversations": [{"from": "human", "value": "q"}], "sys": null}),
        ],
        &expect![[r#"
            {"text": "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nq<|im_end|>\n<|im_start|>assistant\na<|im_end|>\n"}
            {"text": "<|im_start|>user\nq<|im_end|>\n"}
        "#]],
    );
    check(
        "instructions: {name: i, path: 'data/*.json', val_split: 0, prompt: Q, input: about, response: A, min_chars: 4}",
        "data/1.json",
        &[
            json!({"Q": "ask", "about": "this", "A": "yes"}),
            json!({"Q": "ask", "about": "", "A": "no"}),
            json!({"Q": "a", "A": "b"}),
            json!({"Q": "ask", "A": " "}),
        ],
        &expect![[r#"
            {"text": "<|im_start|>user\nask\n\nthis<|im_end|>\n<|im_start|>assistant\nyes<|im_end|>\n"}
            {"text": "<|im_start|>user\nask<|im_end|>\n<|im_start|>assistant\nno<|im_end|>\n"}
        "#]],
    );
    check(
        "text: {name: t, path: org/books, val_split: 0, text: body}",
        "org/books/train.jsonl",
        &[json!({"body": "All of it.\n"}), json!({"body": ""})],
        &expect![[r#"
            {"text": "All of it.\n"}
        "#]],
    );
}

#[test]
fn mistakes_name_the_key_and_what_there_is() {
    let row = json!({"messages": [{"role": "tool", "content": "x"}], "id": 1});
    let check = |entry: &str, expected: &Expect| {
        check(entry, "m.jsonl", std::slice::from_ref(&row), expected);
    };
    check(
        "messages: {name: m, path: m.jsonl, messages: message}",
        &expect![[r#"
        Some(2): error: configs/a.yaml:2:14: `m`: m.jsonl:1: there is no column `message`
        hint: the columns there are: `messages`, `id`
    "#]],
    );
    check(
        "messages: {name: m, path: m.jsonl}",
        &expect![[r#"
        Some(2): error: configs/a.yaml:2:14: `m`: m.jsonl:1: field `messages[0].role`: the role `tool` is none of `assistant`, `developer`, `system`, `user`
        hint: say what it is, such as `roles: {tool: context}`; `drop` leaves such rows out
    "#]],
    );
    check(
        "messages: {name: m, path: 's3://bucket/m.jsonl'}",
        &expect![[r#"
        Some(2): error: configs/a.yaml:2:14: `m`: `path: s3://bucket/m.jsonl`: what stands at `s3://` is not read
        hint: copy it to this machine, and give the path of a file or folder; `hf://datasets/org/name` is fetched
    "#]],
    );
    check(
        "messages: {name: m, path: m.jsonl, roles: {tool: helper}}",
        &expect![[r#"
        Some(2): error: configs/a.yaml:2:14: `m`: `helper` is no role: expected `system`, `user`, `assistant`, `context`, or in `roles` also `drop`
    "#]],
    );
    check(
        "messages: {path: m.jsonl}",
        &expect![[r#"
        Some(2): error: configs/a.yaml:2:14: `messages`: `name` is missing: statistics need one
    "#]],
    );
    check(
        "messages: {name: m, path: m.jsonl, lang: en}",
        &expect![[r#"
        Some(2): error: configs/a.yaml:2:14: `m`: `lang` needs `lang_column`, the column that says the language, or `detect_lang: true`
    "#]],
    );
    check(
        "messages: {name: m, path: m.jsonl, lang: [en, deutsch], detect_lang: true}",
        &expect![[r#"
            Some(2): error: configs/a.yaml:2:14: `m`: `lang`: `deutsch` is no language that `detect_lang` can tell
            hint: the languages there are: `af`, `ak`, `am`, `ar`, `az`, `be`, `bg`, `bn`, `ca`, `cs`, `cy`, `da`, `de`, `el`, `en`, `eo`, `es`, `et`, `fa`, `fi`, `fr`, `gu`, `he`, `hi`, `hr`, `hu`, `hy`, `id`, `it`, `ja`, `jv`, `ka`, `km`, `kn`, `ko`, `la`, `lt`, `lv`, `mk`, `ml`, `mr`, `my`, `nb`, `ne`, `nl`, `or`, `pa`, `pl`, `pt`, `ro`, `ru`, `si`, `sk`, `sl`, `sn`, `sr`, `sv`, `ta`, `te`, `th`, `tk`, `tl`, `tr`, `uk`, `ur`, `uz`, `vi`, `yi`, `zh`, `zu`
        "#]],
    );
    check(
        "messages: {name: m, path: m.jsonl, lang: 1, detect_lang: true}",
        &expect![[r#"
        Some(2): error: configs/a.yaml:2:49: found `1`, expected a language or a list of them
          |
        2 |   datasets: [messages: {name: m, path: m.jsonl, lang: 1, detect_lang: true}]
          |                                                 ^
    "#]],
    );
    check(
        "messages: {name: m, path: m.jsonl, detect_lang: true, lang: en, lang_column: id}",
        &expect![[r#"
            Some(2): error: configs/a.yaml:2:14: `m`: `lang_column` and `detect_lang` do not go together: a column says the language, or it is guessed
        "#]],
    );
    check(
        "messages: {name: m, path: 'n*.jsonl'}",
        &expect![[r#"
        Some(2): error: configs/a.yaml:2:14: `m`: `path: n*.jsonl`: no file matches
        hint: a path starts at the working folder; `**` reaches into folders
    "#]],
    );
    check(
        "messages: {name: m, path: n.jsonl}",
        &expect![[r#"
        Some(2): error: configs/a.yaml:2:14: `m`: `path: n.jsonl`: there is no such file or folder
        hint: a path starts at the working folder; a dataset of the hub is called `org/name`
    "#]],
    );
    check(
        "messages: {name: m, pth: m.jsonl}",
        &expect![[r#"
        Some(2): error: configs/a.yaml:2:34: unknown key `pth`
          |
        2 |   datasets: [messages: {name: m, pth: m.jsonl}]
          |                                  ^
        hint: did you mean `path`?
    "#]],
    );
    check(
        "text: {name: m, path: m.jsonl, text: id}, messages: {name: m, path: m.jsonl}",
        &expect![[r#"
            Some(2): error: configs/a.yaml:2:56: `name: m` stands in the datamix twice
            hint: give each source a name of its own
        "#]],
    );
}

#[test]
fn zstd_files_and_the_cache_of_hugging_face_are_read() {
    let row = |n: usize| format!("{}\n", json!({"text": format!("text {n}")}));
    let workplace = Workplace::with_datasets("[text: {name: t, path: org/name, val_split: 0}]");
    let frames = [row(1) + &row(2), row(3)].map(|it| zstd::encode_all(it.as_bytes(), 3));
    let frames = frames.map(|frame| frame.expect("memory can be written"));
    let dataset = "hub/datasets--org--name";
    workplace.write(&format!("{dataset}/refs/main"), "abc\n");
    workplace.write(&format!("{dataset}/blobs/1"), frames.concat());
    workplace.write(&format!("{dataset}/snapshots/abc/README.md"), "");
    let link = workplace.path().join(format!("{dataset}/snapshots/abc/train.jsonl.zst"));
    std::os::unix::fs::symlink("../../blobs/1", link).expect("can be linked");
    let mut command = workplace.command(&["--configs", "a", "--write_json"]);
    let output = command.env("HF_HUB_CACHE", "hub").output().expect("the program can be started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let expected: String = (1..=3).map(|n| format!("{{\"text\": \"text {n}\"}}\n")).collect();
    assert_eq!(String::from_utf8_lossy(&workplace.read("out/a-train.jsonl")), expected);
}

/// In Zephyr's style.
const TEMPLATE: &str = "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system here') }}{% endif %}\
     {{ '<|' + m.role + '|>\\n' + m.content + eos_token + '\\n' }}{% endfor %}";

#[test]
fn a_file_of_a_dataset_can_be_named() {
    let path = "'hf://datasets/org/name/more/b.jsonl'";
    let entry = format!("text: {{name: t, path: {path}, val_split: 0}}");
    let workplace = Workplace::with_datasets(&format!("[{entry}]"));
    for (file, text) in [("a.jsonl", "a"), ("more/b.jsonl", "b")] {
        workplace.write(&format!("org/name/{file}"), format!("{{\"text\": \"{text}\"}}\n"));
    }
    assert_eq!(texts(&workplace), "{\"text\": \"b\"}\n");
    fs::remove_file(workplace.path().join("org/name/more/b.jsonl")).expect("it was written");
    let error = texts(&workplace);
    assert!(
        error.contains("more/b.jsonl: no such file\nhint: the files there are: a.jsonl"),
        "{error}"
    );
}

#[test]
fn a_pattern_takes_no_hidden_file_but_may_look_into_a_hidden_folder() {
    let entry = "text: {name: t, path: '.cache/in/*', val_split: 0}";
    let workplace = Workplace::with_datasets(&format!("[{entry}]"));
    workplace.write(".cache/in/.b.jsonl.partial-7", "{\"text\": \"half\"}\n");
    let outcome = texts(&workplace);
    assert!(outcome.contains("`path: .cache/in/*`: no file matches"), "{outcome}");
    workplace.write(".cache/in/b.jsonl", "{\"text\": \"whole\"}\n");
    assert_eq!(texts(&workplace), "{\"text\": \"whole\"}\n");
}

#[test]
fn a_jinja_template_makes_the_texts_and_the_roles() {
    let workplace = Workplace::with_datasets(
        "[instructions: {name: i, path: i.jsonl, val_split: 0, system: s}]\n  chat_template: t.jinja",
    );
    workplace.write("t.jinja", TEMPLATE);
    let rows = [
        json!({"instruction": "Hi", "output": "Ho"}),
        json!({"instruction": "x", "output": "y", "s": "S"}),
        json!({"instruction": "Bye", "output": ""}),
        json!({"instruction": "One", "output": "Two"}),
    ];
    workplace.write("i.jsonl", rows.iter().map(|row| format!("{row}\n")).collect::<String>());
    expect![[r#"
        Some(2): i: 3 samples, 1 left out (empty)
        note: no dataset has a validation set, so there is no split `val`
        error: `i`, conversation 2: the chat template refuses the conversation: no system here
        hint: `on_template_error: skip` leaves such conversations out, and counts them
    "#]]
    .assert_eq(&texts(&workplace));

    let run = |more: &[&str]| {
        let arguments = [&["--configs", "a", "--write_json", "--on_template_error", "skip"], more];
        workplace.run(&arguments.concat()).ok();
        workplace.shards()
    };
    let shards = run(&["--threads", "1"]);
    assert_eq!(run(&["--threads", "3"]), shards);
    expect![[r#"
        {"text": "<|user|>\nHi</s>\n<|assistant|>\nHo</s>\n"}
        {"text": "<|user|>\nOne</s>\n<|assistant|>\nTwo</s>\n"}
    "#]]
    .assert_eq(&String::from_utf8_lossy(&shards["a-train.jsonl"]));
    let roles = |shards: &std::collections::BTreeMap<String, Vec<u8>>| {
        let roles = shards["a-train-role.bin"].chunks_exact(2).map(|role| role[0].to_string());
        roles.collect::<Vec<_>>().concat()
    };
    expect!["1111111111111222222222222111111111111122222222222222"].assert_eq(&roles(&shards));
    expect!["1111111111111333333332222111111111111133333333222222"]
        .assert_eq(&roles(&run(&["--assistant_header", "untrained"])));
    let manifest = workplace.manifest();
    assert_eq!(workplace.read("out/chat_template.jinja"), TEMPLATE.as_bytes());
    assert_eq!(manifest["splits"][0]["sources"][0]["skipped"], json!({"chat_template": 1}));
    let template = manifest["template"].as_str().expect("a text");
    assert!(template.starts_with("jinja sha256:"), "{template}");
}

#[test]
fn encoded_as_a_whole_or_turn_by_turn_the_demo_has_the_same_tokens() {
    let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/demo");
    let configs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/datamix");
    let configs = configs.to_str().expect("UTF-8");
    let workplace = Workplace::linking(&demo);
    let run = |more: &[&str]| {
        let demo = ["--config-dir", configs, "--configs", "demo", "--output_dir", "out"];
        workplace.run(&[&demo, more].concat()).ok();
        (workplace.shards(), workplace.manifest())
    };
    // ChatML as transformers has it: with oasst_export, whose conversations come together from several rows.
    let chatml = "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endfor %}";
    workplace.write("chatml.jinja", chatml);
    let (by_turn, manifest) = run(&[]);
    assert_eq!(manifest["template"], "chatml");
    let (mut jinja, _) = run(&["--chat_template", "chatml.jinja"]);
    assert_eq!(jinja.remove("chat_template.jinja"), Some(chatml.as_bytes().to_vec()));
    let tokens = jinja.remove("special_tokens_map.json").expect("what the template was given");
    let tokens: serde_json::Value = serde_json::from_slice(&tokens).expect("JSON");
    assert_eq!(tokens, json!({"bos_token": "<s>", "eos_token": "</s>"}));
    assert!(jinja == by_turn, "the template makes the same texts");
    let (untrained, manifest) = run(&["--assistant_header", "untrained"]);
    assert!(untrained.keys().eq(by_turn.keys()), "the template of the run before is gone");
    assert_eq!(manifest["template"], "chatml, headers untrained");
    for (name, bytes) in &untrained {
        assert_eq!(*bytes == by_turn[name], !name.ends_with("-role.bin"), "{name}");
    }
}

#[test]
fn a_tokenizer_json_is_used_as_transformers_uses_it() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/tokenizers/codellama");
    if !folder.is_dir() {
        assert!(std::env::var("CI").is_err(), "{} is missing", folder.display());
        return;
    }
    let workplace = Workplace::with_datasets(
        "[instructions: {name: i, path: i.jsonl, val_split: 0}]\n  extra_tokens: ['<|tool|>']",
    );
    workplace
        .write("model/tokenizer.json", fs::read(folder.join("tokenizer.json")).expect("there"));
    workplace
        .write("i.jsonl", format!("{}\n", json!({"instruction": "Hi", "output": "Ho <|tool|>"})));
    let flags =
        ["--configs", "a", "--tokenizer_type", "HuggingFaceTokenizer", "--vocab_file", "model"];
    workplace.run(&flags).ok();
    let ids: Vec<u16> = workplace
        .read("out/a-train-text.bin")
        .chunks_exact(2)
        .map(|id| u16::from_le_bytes([id[0], id[1]]))
        .collect();
    // transformers: PreTrainedTokenizerFast(tokenizer_file=...), the three tokens added as special ones, and its `encode`
    // of "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHo <|tool|><|im_end|>\n", without special tokens.
    assert_eq!(ids, EXPECTED);
    let special = workplace.manifest()["tokenizer"]["special_tokens"].clone();
    let special = special.as_array().expect("a list").iter().rev().take(3).rev().cloned();
    let expected = json!([["<|im_start|>", 32016], ["<|im_end|>", 32017], ["<|tool|>", 32018]]);
    assert_eq!(json!(special.collect::<Vec<_>>()), expected);
}

const EXPECTED: &[u16] = &[
    32016, 1404, 13, 18567, 32017, 29871, 13, 32016, 20255, 13, 29950, 29877, 29871, 32018, 32017,
    29871, 13,
];

#[test]
fn the_example_of_own_sources_is_read() {
    let configs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../configs/datamix");
    let workplace = Workplace::new();
    let configs = configs.to_str().expect("UTF-8");
    let outcome = workplace.run(&["--config-dir", configs, "--configs", "own_sources"]);
    // All keys are known; only the model is not there.
    assert_eq!(outcome.code, Some(2));
    let expected = "`vocab_file: models/base`: there is no such file";
    assert!(outcome.err.contains(expected), "{}", outcome.err);
}

#[test]
fn a_dataset_with_several_configurations_is_read_as_its_readme_says() {
    let entry = |keys: &str| format!("[text: {{name: t, path: org/name, val_split: 0{keys}}}]");
    let workplace = Workplace::with_datasets(&entry(", config: short"));
    let readme = "---\nconfigs:\n- config_name: short\n  data_files:\n  - {split: train, path: 'short/train-*'}\n  \
                  - {split: dev, path: 'short/validation-*'}\n- {config_name: long, data_files: 'long/*'}\n---\n# Texts\n";
    workplace.write("org/name/README.md", readme);
    for file in ["short/train-0", "short/train-1", "short/validation-0", "long/train-0"] {
        workplace.write(&format!("org/name/{file}.jsonl"), format!("{{\"text\": \"{file}\"}}\n"));
    }
    let texts = |keys: &str| {
        workplace.write_datasets(&entry(keys));
        workplace.run(&["--configs", "a", "--write_json"]).ok();
        String::from_utf8(workplace.read("out/a-train.jsonl")).expect("ASCII")
    };
    let expected = "{\"text\": \"short/train-0\"}\n{\"text\": \"short/train-1\"}\n";
    assert_eq!(texts(", config: short"), expected);
    assert_eq!(texts(", config: short, split: dev"), "{\"text\": \"short/validation-0\"}\n");
    assert_eq!(texts(", config: long"), "{\"text\": \"long/train-0\"}\n");
    let error = |keys: &str| {
        workplace.write_datasets(&entry(keys));
        let outcome = workplace.run(&["--configs", "a"]);
        assert_eq!(outcome.code, Some(2), "{}", outcome.err);
        outcome.err
    };
    expect![[r#"
        error: configs/a.yaml:2:14: `t`: `org/name` has several configurations and no default one
        hint: give one of them as `config`: `short`, `long`
    "#]]
    .assert_eq(&error(""));
    expect![[r#"
        error: configs/a.yaml:2:14: `t`: `config: middle`: `org/name` has no configuration of this name
        hint: there are `short`, `long`
    "#]].assert_eq(&error(", config: middle"));
    expect![[r#"
        error: configs/a.yaml:2:14: `t`: org/name: its `README.md` names no split `dev`
        hint: there are `train`
    "#]]
    .assert_eq(&error(", config: long, split: dev"));
    // A source of the reference knows which one it reads.
    workplace.write("gsm8k/README.md", "---\nconfigs:\n- config_name: main\n  data_files:\n  - {split: train, path: main/train*}\n  - {split: test, path: main/test*}\n- {config_name: socratic, data_files: socratic/*}\n---\n");
    for file in ["main/train", "main/test", "socratic/train", "socratic/test"] {
        let row = json!({"question": file, "answer": "a"});
        workplace.write(&format!("gsm8k/{file}.jsonl"), format!("{row}\n"));
    }
    workplace.write_datasets("[gsm8k]");
    workplace.run(&["--configs", "a", "--write_json"]).ok();
    for split in ["train", "val"] {
        let texts = String::from_utf8(workplace.read(&format!("out/a-{split}.jsonl")));
        let texts = texts.expect("ASCII");
        assert!(texts.contains("main/") && !texts.contains("socratic"), "{texts}");
    }
}
