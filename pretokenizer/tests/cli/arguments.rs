//! Arguments: what Python's argparse makes of them, the program makes of them.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::workplace::Workplace;

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Expected {
    /// The keys that the arguments change.
    Config(BTreeMap<String, Value>),
    /// The exit code.
    Code(i32),
}

const SECTIONS: &str = r#"
a:
  datasets: [joke]
  rng_seed: 42
  cache_dir: .cache
  use_system_prefix: false
  eval_size: 1
  tokenizer_type: SentencePieceTokenizer
  vocab_file: demo.model
  vocab_extra_ids_list: "<|im_start|>,<|im_end|>"
  dataset_impl: mmap
  min_assistant_tokens: 0
  output_dir: out
  output_dir_suffix: ""
  filename_prefix: a
b: {rng_seed: 5}
c: {rng_seed: 6}
"#;

/// The configuration that `check` prints, or the exit code of a refusal.
fn configuration(workplace: &Workplace, arguments: &[&str]) -> Result<Value, i32> {
    let output = workplace.subcommand("check", arguments).output().expect("it can be started");
    if !output.status.success() {
        return Err(output.status.code().expect("nobody killed it"));
    }
    let text = String::from_utf8(output.stdout).expect("the program writes UTF-8");
    let json = &text[text.find('{').expect("the configuration is printed")..];
    let config = serde_json::Deserializer::from_str(json).into_iter().next().expect("an object");
    Ok(config.expect("the configuration is JSON"))
}

#[test]
fn beginnings_and_repetitions_are_taken_as_argparse_takes_them() {
    let workplace = Workplace::with_datasets("[joke]");
    workplace.write("configs/a.yaml", SECTIONS);
    let jokes = (0..9).map(|i| format!("{{\"joke\": \"q{i}\", \"explaination\": \"a\"}}\n"));
    workplace.write(".cache/joke_explaination.jsonl", jokes.collect::<String>());
    let before = configuration(&workplace, &["--configs", "a"]).expect("all is well");
    let cases: Vec<(Vec<String>, Expected)> =
        serde_json::from_str(include_str!("../arguments/expected.json")).expect("as written");
    assert!(cases.len() > 40);
    for (arguments, expected) in cases {
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let found = configuration(&workplace, &arguments);
        let expected = match expected {
            Expected::Code(code) => Err(code),
            Expected::Config(changed) => {
                let mut config = before.clone();
                config.as_object_mut().expect("an object").extend(changed);
                Ok(config)
            }
        };
        assert_eq!(found, expected, "{arguments:?}");
    }
}
