//! `orca-chat` and `bestofmegacode`: whichever way a conversation is published, its shards are the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::builder::{ListBuilder, StringBuilder, StructBuilder};
use arrow_array::{Array, ArrayRef, RecordBatch, StringArray, StructArray};
use arrow_schema::{DataType, Field};
use parquet::arrow::ArrowWriter;
use serde_json::{Value, json};

use crate::workplace::Workplace;

const ORCA_BEST: &str = "shahules786/orca-best/data/train-00000-of-00001.parquet";
const ORCA_BEST_JSON: &str = "shahules786/orca-best/train.jsonl";
const ORCA_CHAT: &str = "shahules786/orca-chat/orca-chat-gpt4.json";
const MEGACODE: &str = "shahules786/megacode-best/train.jsonl";

/// A conversation: its system message, its questions with their answers.
type Row = (Option<&'static str>, &'static [[&'static str; 2]]);

/// With a system message, an empty one and none; with one turn and more; with what a careless reader would trim.
const ROWS: [Row; 4] = [
    (Some("Be brief."), &[["Oslo?", "Norway."], [" And Wien? ", "Austria.\n"], ["Rome?", ""]]),
    (Some(""), &[["1 + 1", "2"], ["1 + 2", "3"]]),
    (None, &[["Ahoj, \u{1f30d}!", "\"Nazdar\""]]),
    (Some("  "), &[["a", "b"], ["c", "d"], ["e", "f"], ["g", "h"]]),
];

/// The rows with no more than so many turns.
fn first_turns(n: usize) -> Vec<Row> {
    ROWS.iter().map(|(system, turns)| (*system, &turns[..n.min(turns.len())])).collect()
}

fn jsonl(rows: impl IntoIterator<Item = Value>) -> Vec<u8> {
    rows.into_iter().map(|row| format!("{row}\n")).collect::<String>().into_bytes()
}

fn items(turns: &[[&str; 2]], [question, answer]: [&str; 2]) -> Value {
    turns.iter().map(|turn| json!({ question: turn[0], answer: turn[1] })).collect()
}

/// As orca-chat is published: an array of rows with a list of turns.
fn orca_chat(rows: &[Row]) -> Vec<u8> {
    let row = |(system, turns): &Row| json!({ "conversation": items(turns, ["input", "output"]), "instruction": system });
    Value::from_iter(rows.iter().map(row)).to_string().into_bytes()
}

/// As orca-best is or was published: lines with the turns below `samples` of this field.
fn orca_best(field: &str) -> Vec<u8> {
    jsonl(ROWS.iter().map(|(system, turns)| {
        let samples = items(turns, ["input", "output"]);
        json!({
            field: { "samples": samples }, "instruction": system, "source": "s", "num_samples": turns.len(),
        })
    }))
}

/// As orca-best is published now: parquet.
fn orca_best_parquet() -> Vec<u8> {
    let text = |name| Field::new(name, DataType::Utf8, true);
    let turn = StructBuilder::from_fields(vec![text("input"), text("output")], 0);
    let mut samples = ListBuilder::new(turn);
    for (_, turns) in ROWS {
        for turn in turns {
            for (i, text) in turn.iter().enumerate() {
                let column = samples.values().field_builder::<StringBuilder>(i);
                column.expect("both fields are texts").append_value(text);
            }
            samples.values().append(true);
        }
        samples.append(true);
    }
    let samples: ArrayRef = Arc::new(samples.finish());
    let field = Arc::new(Field::new("samples", samples.data_type().clone(), true));
    let cluster: ArrayRef = Arc::new(StructArray::from(vec![(field, samples)]));
    let systems: ArrayRef = Arc::new(StringArray::from_iter(ROWS.map(|(system, _)| system)));
    let batch = RecordBatch::try_from_iter([("cluster", cluster), ("instruction", systems)])
        .expect("columns of one length");
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), None).expect("a schema");
    writer.write(&batch).expect("memory can be written");
    writer.close().expect("memory can be written");
    bytes
}

fn megacode(field: &str, rows: &[Row]) -> Vec<u8> {
    jsonl(rows.iter().map(|(_, turns)| {
        json!({ field: { "samples": items(turns, ["USER", "ASSISTANT"]) }, "source": "s" })
    }))
}

/// All that is built of an entry and a file, but for the manifest, which names the file.
#[track_caller]
fn shards(entry: &str, file: &str, content: Vec<u8>) -> BTreeMap<String, Vec<u8>> {
    let workplace = Workplace::with_datasets(&format!("[{entry}]"));
    workplace.write(file, content);
    workplace.run(&["--configs", "a", "--write_json"]).ok();
    workplace.shards()
}

/// The files that a run of this entry says it read.
#[track_caller]
fn inputs(workplace: &Workplace, entry: &str) -> Vec<String> {
    workplace.write_datasets(&format!("[{entry}]"));
    workplace.run(&["--configs", "a"]).ok();
    let manifest = workplace.manifest();
    let inputs = manifest["inputs"].as_array().expect("a list").iter();
    inputs.map(|it| it["path"].as_str().expect("a path").to_string()).collect()
}

#[test]
fn a_conversation_becomes_the_same_document_in_every_schema() {
    let chat = shards("orca-chat: {val_split: 0.25}", ORCA_CHAT, orca_chat(&first_turns(2)));
    let entry = "orca-chat: {val_split: 0.25, rows_per_conv: 2}";
    assert_eq!(shards(entry, ORCA_BEST_JSON, orca_best("conversation")), chat);
    assert_eq!(shards(entry, ORCA_BEST_JSON, orca_best("cluster")), chat);
    assert_eq!(shards(entry, ORCA_BEST, orca_best_parquet()), chat);
    // As a table has it that holds rows of both.
    let with_null = String::from_utf8(orca_best("cluster")).expect("UTF-8");
    let with_null = with_null.replace("{\"cluster\"", "{\"conversation\":null,\"cluster\"");
    assert_eq!(shards(entry, ORCA_BEST_JSON, with_null.into_bytes()), chat);
    // A list has no `rows_per_conv`: all of its turns count.
    let all = orca_chat(&first_turns(2));
    assert_eq!(shards("orca-chat: {val_split: 0.25, rows_per_conv: 1}", ORCA_CHAT, all), chat);
}

#[test]
fn one_sample_of_a_row_is_used_unless_the_datamix_wants_more() {
    for n in 1..=4 {
        let chat = shards("orca-chat", ORCA_CHAT, orca_chat(&first_turns(n)));
        let entry = match n {
            1 => "orca-chat".to_string(),
            n => format!("orca-chat: {{rows_per_conv: {n}}}"),
        };
        assert_eq!(shards(&entry, ORCA_BEST_JSON, orca_best("cluster")), chat, "{entry}");
    }
}

#[test]
fn the_instruction_is_the_system_message_and_texts_stay_as_they_are() {
    let entry = "orca-chat: {val_split: 0, rows_per_conv: 2}";
    let shards = shards(entry, ORCA_BEST, orca_best_parquet());
    let lines = [
        "<|im_start|>system\\nBe brief.<|im_end|>\\n<|im_start|>user\\nOslo?<|im_end|>\\n<|im_start|>assistant\\nNorway.<|im_end|>\\n\
         <|im_start|>user\\n And Wien? <|im_end|>\\n<|im_start|>assistant\\nAustria.\\n<|im_end|>\\n",
        "<|im_start|>user\\n1 + 1<|im_end|>\\n<|im_start|>assistant\\n2<|im_end|>\\n\
         <|im_start|>user\\n1 + 2<|im_end|>\\n<|im_start|>assistant\\n3<|im_end|>\\n",
        "<|im_start|>user\\nAhoj, \\ud83c\\udf0d!<|im_end|>\\n<|im_start|>assistant\\n\\\"Nazdar\\\"<|im_end|>\\n",
        // A system message of blanks is one.
        "<|im_start|>system\\n  <|im_end|>\\n<|im_start|>user\\na<|im_end|>\\n<|im_start|>assistant\\nb<|im_end|>\\n\
         <|im_start|>user\\nc<|im_end|>\\n<|im_start|>assistant\\nd<|im_end|>\\n",
    ];
    let expected: String = lines.iter().map(|line| format!("{{\"text\": \"{line}\"}}\n")).collect();
    assert_eq!(String::from_utf8_lossy(&shards["a-train.jsonl"]), expected);
}

#[test]
fn bestofmegacode_is_read_in_both_schemas_one_sample_by_default() {
    for n in 1..=3 {
        let keys = match n {
            1 => "bestofmegacode".to_string(),
            n => format!("bestofmegacode: {{rows_per_conv: {n}}}"),
        };
        // What is left of a row is what counts: rows that have no more than `n` samples come out the same.
        let expected = shards(&keys, MEGACODE, megacode("conversation", &first_turns(n)));
        assert_eq!(shards(&keys, MEGACODE, megacode("conversation", &ROWS)), expected, "{keys}");
        assert_eq!(shards(&keys, MEGACODE, megacode("cluster", &ROWS)), expected, "{keys}");
    }
    let shards =
        shards("bestofmegacode: {val_split: 0}", MEGACODE, megacode("cluster", &ROWS[..1]));
    let expected = "{\"text\": \"<|im_start|>user\\nOslo?<|im_end|>\\n<|im_start|>assistant\\nNorway.<|im_end|>\\n\"}\n";
    assert_eq!(String::from_utf8_lossy(&shards["a-train.jsonl"]), expected);
}

#[test]
fn orca_best_is_preferred_and_a_name_chooses() {
    let workplace = Workplace::with_datasets("[orca-chat]");
    workplace.write(ORCA_CHAT, orca_chat(&ROWS));
    workplace.write("shahules786/orca-chat/orca-chat-gpt4-8k.json", orca_chat(&ROWS));
    assert_eq!(inputs(&workplace, "orca-chat"), [ORCA_CHAT]);
    workplace.write(ORCA_BEST, orca_best_parquet());
    assert_eq!(inputs(&workplace, "orca-chat"), [ORCA_BEST]);
    let named = "orca-chat: {hf_dataset_name: shahules786/orca-chat}";
    assert_eq!(inputs(&workplace, named), [ORCA_CHAT]);
    let longer =
        "orca-chat: {hf_dataset_name: shahules786/orca-chat, data_files: orca-chat-gpt4-8k.json}";
    assert_eq!(inputs(&workplace, longer), ["shahules786/orca-chat/orca-chat-gpt4-8k.json"]);
    // A file that only one of the two has is looked for there.
    let longer = "orca-chat: {data_files: orca-chat-gpt4-8k.json}";
    assert_eq!(inputs(&workplace, longer), ["shahules786/orca-chat/orca-chat-gpt4-8k.json"]);
    let best = "orca-chat: {data_files: data/train-00000-of-00001.parquet}";
    assert_eq!(inputs(&workplace, best), [ORCA_BEST]);
    workplace.write("me/mine/train.jsonl", orca_best("conversation"));
    let mine = "orca-chat: {hf_dataset_name: me/mine}";
    assert_eq!(inputs(&workplace, mine), ["me/mine/train.jsonl"]);
}
