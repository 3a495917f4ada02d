//! Texts that a file gives as something else: the reference's models write numbers and truth values out, and refuse null.

use serde_json::{Value, json};

use crate::workplace::Workplace;

/// Values, and what Python's `str` makes of them.
const VALUES: [(&str, &str); 12] = [
    ("5", "5"),
    ("-7", "-7"),
    ("2.0", "2.0"),
    ("1e16", "1e+16"),
    ("0.00001", "1e-05"),
    ("0.1", "0.1"),
    ("912068.5437784989", "912068.5437784989"),
    ("0.09113245009683413", "0.09113245009683413"),
    ("8.122808264515302e-14", "8.122808264515302e-14"),
    ("true", "True"),
    ("false", "False"),
    ("18446744073709551615", "18446744073709551615"),
];

/// A run on a dataset of one file whose texts are all these values.
fn run(
    dataset: &str,
    file: &str,
    row: fn(&Value) -> Value,
    values: &[Value],
) -> (Workplace, Option<i32>, String) {
    let workplace = Workplace::with_datasets(&format!("[{dataset}: {{val_split: 0}}]"));
    let rows: String = values.iter().map(|value| format!("{}\n", row(value))).collect();
    workplace.write(&file.replace("SPLIT", "train"), &rows);
    if file.contains("SPLIT") {
        workplace.write(&file.replace("SPLIT", "test"), &rows);
    }
    let outcome = workplace.run(&["--configs", "a", "--write_json"]);
    (workplace, outcome.code, outcome.err)
}

#[track_caller]
fn check_values(dataset: &str, file: &str, row: fn(&Value) -> Value) {
    let values = VALUES.map(|(value, _)| serde_json::from_str(value).expect("it is JSON"));
    let (as_values, code, message) = run(dataset, file, row, &values);
    assert_eq!(code, Some(0), "{message}");
    let (as_texts, ..) = run(dataset, file, row, &VALUES.map(|(_, text)| json!(text)));
    assert_eq!(as_values.shards(), as_texts.shards(), "{dataset}");
}

/// The same, where null is refused.
#[track_caller]
fn check(dataset: &str, file: &str, row: fn(&Value) -> Value, fields: &[&str]) {
    check_values(dataset, file, row);
    let (_, code, message) = run(dataset, file, row, &[json!("text"), Value::Null]);
    assert_eq!(code, Some(2), "{message}");
    // All texts of the row are null; which of them is read first does not matter.
    let file = file.replace("SPLIT", "train");
    let expected = |field: &&str| {
        message.contains(&format!("{file}:2: field `{field}`: found null, expected a text"))
    };
    assert!(fields.iter().any(expected), "{message}");
}

/// Numbers of which the JSON parser keeps no text, and what Python's `str` makes of what `json.loads` reads.
#[test]
fn of_numbers_that_are_no_floats_and_read_as_ones() {
    // python -c "import json; print(*json.loads('[-0, -0.0, 18446744073709551616, -9223372036854775809, 1E400, -1e400, 1e20, NaN, Infinity, -Infinity]'))"
    let values = [
        ("-0", "0"),
        ("-0.0", "-0.0"),
        ("18446744073709551616", "18446744073709551616"),
        ("-9223372036854775809", "-9223372036854775809"),
        ("123456789012345678901234567890", "123456789012345678901234567890"),
        ("1E400", "inf"),
        ("-1e400", "-inf"),
        ("1e20", "1e+20"),
        ("NaN", "nan"),
        ("Infinity", "inf"),
        ("-Infinity", "-inf"),
    ];
    let workplace = Workplace::with_datasets("[joke: {val_split: 0}]");
    let row = |(number, _): &(&str, &str)| {
        format!("{{\"joke\": {number}, \"explaination\": [{number}]}}\n")
    };
    workplace.write(".cache/joke_explaination.jsonl", values.iter().map(row).collect::<String>());
    workplace.run(&["--configs", "a", "--write_json"]).ok();
    let text = |(_, text): &(&str, &str)| {
        format!(
            "{{\"text\": \"<|im_start|>user\\n{text}<|im_end|>\\n<|im_start|>assistant\\n{text}<|im_end|>\\n\"}}\n"
        )
    };
    let expected: String = values.iter().map(text).collect();
    assert_eq!(String::from_utf8_lossy(&workplace.read("out/a-train.jsonl")), expected);
}

#[test]
fn of_orca_chat() {
    let row = |text: &Value| {
        let turn = json!({ "input": text, "output": text });
        json!({ "cluster": { "samples": [turn] }, "instruction": text })
    };
    let fields = ["cluster.samples[0].input", "cluster.samples[0].output"];
    check("orca-chat", "shahules786/orca-best/train.jsonl", row, &fields);
}

#[test]
fn of_bestofmegacode() {
    let row = |text: &Value| {
        let turn = json!({ "ASSISTANT": text, "USER": text });
        json!({ "conversation": { "samples": [turn] } })
    };
    let fields = ["conversation.samples[0].ASSISTANT", "conversation.samples[0].USER"];
    check("bestofmegacode", "shahules786/megacode-best/train.jsonl", row, &fields);
}

#[test]
fn of_other_questions_and_answers() {
    let joke = |text: &Value| json!({ "joke": text, "explaination": text });
    check("joke", ".cache/joke_explaination.jsonl", joke, &["joke", "explaination"]);
    let roleplay = |text: &Value| json!({ "instruction": text, "input": text, "response": text });
    let file = ".cache/gpteacher_roleplay__json/gpteacher_roleplay.json";
    check("gpteacher_roleplay", file, roleplay, &["instruction", "input", "response"]);
    let gsm8k = |text: &Value| json!({ "answer": text, "question": text });
    check_values("gsm8k", "gsm8k/SPLIT.jsonl", gsm8k);
    let wikihow = |text: &Value| json!({ "title": "t", "result": text });
    check_values("wikihow", "b-mc2/wikihow_lists/train.jsonl", wikihow);
}
