//! Rows as Python takes them: what null becomes, and what is no error because nobody looks at it.

use serde_json::{Value, json};

use crate::workplace::Workplace;

fn lines(rows: impl IntoIterator<Item = Value>) -> String {
    rows.into_iter().map(|row| format!("{row}\n")).collect()
}

/// What a dataset gives, told from its markers: `user|assistant` of each document, in the order of the rows.
#[track_caller]
fn said(entry: &str, files: &[(&str, String)]) -> Vec<String> {
    let workplace = Workplace::with_datasets(&format!("[{entry}]"));
    for (file, rows) in files {
        workplace.write(file, rows);
    }
    workplace.run(&["--configs", "a", "--write_json"]).ok();
    let lines = String::from_utf8(workplace.read("out/a-train.jsonl")).expect("UTF-8");
    let turns = |line| {
        let line: Value = serde_json::from_str(line).expect("JSON");
        let text = line["text"].as_str().expect("a text").strip_prefix("<|im_start|>user\n");
        let text = text.expect("a user begins").strip_suffix("<|im_end|>\n").expect("a turn");
        let text = text.replace("<|im_end|>\n<|im_start|>assistant\n", "|");
        text.replace("<|im_end|>\n<|im_start|>user\n", "|")
    };
    lines.lines().map(turns).collect()
}

#[track_caller]
fn check(entry: &str, file: &str, rows: impl IntoIterator<Item = Value>, expected: &[&str]) {
    assert_eq!(said(entry, &[(file, lines(rows))]), expected, "{entry}");
}

/// The same rows to train and to validate on.
#[track_caller]
fn check_parts(
    entry: &str,
    folder: &str,
    val: &str,
    rows: impl IntoIterator<Item = Value>,
    expected: &[&str],
) {
    let rows = lines(rows);
    let files = ["train", val].map(|split| (format!("{folder}/{split}.jsonl"), rows.clone()));
    let files = files.each_ref().map(|(file, rows)| (file.as_str(), rows.clone()));
    assert_eq!(said(entry, &files), expected, "{entry}");
}

// Python: f"{None}" is "None", and the reference formats the turns of these datasets.
#[test]
fn null_is_written_out_where_the_reference_formats() {
    let gsm8k =
        [json!({"question": null, "answer": "a"}), json!({"question": "q", "answer": null})];
    check_parts("gsm8k", "gsm8k", "test", gsm8k, &["None|a", "q|None"]);
    let squad =
        json!({"title": "t", "context": "c", "question": "q", "answers": {"text": [null, "a"]}});
    check_parts("squad_v2", "squad_v2", "validation", [squad.clone()], &["c q|None"]);
    check_parts("adversarial_qa", "adversarial_qa", "validation", [squad], &["t. c q|None"]);
    let trivia = json!({"question": null, "answer": {"aliases": [null]}});
    check_parts("trivia_qa_nocontext", "trivia_qa", "validation", [trivia], &["None|None"]);
    let math = json!({"Problem": null, "Rationale": "r answer : a"});
    check_parts("math_qa", "math_qa", "validation", [math], &["None|r "]);
    let result = json!({"title": "t", "result": null});
    let file = "b-mc2/wikihow_lists/train.jsonl";
    check("wikihow: {val_split: 0}", file, [result], &["t, explain step by step|None"]);
    let essay = json!({"instructions": null, "titles": "t", "essays": "e"});
    let file = "ChristophSchuhmann/essays-with-instructions/train.jsonl";
    check("essay_instruction: {val_split: 0}", file, [essay], &["None|t\ne"]);
    let scene = json!({"narrative": null, "speakers": ["A", "B"], "dialogue": ["x", "y"]});
    check("soda: {val_split: 0}", "allenai/soda/train.jsonl", [scene], &["None You are B. x|y"]);
    let file = "Englishman2022/prosocial-dialog-filtered/train.json";
    let rots = json!({"context": null, "rots": [null, "r"]});
    check("prosocial_dialogue: {val_split: 0}", file, [rots], &["None|None", "None|r"]);
    let file = "yahma/alpaca-cleaned/train.jsonl";
    let row = json!({"instruction": null, "input": "x", "output": "a"});
    check("alpaca: {val_split: 0}", file, [row], &["None\nx|a"]);
}

#[test]
fn a_summary_that_is_no_text_is_written_out() {
    for (summary, expected) in
        [(Value::Null, "None"), (json!(5), "5"), (json!(1e16), "1e+16"), (json!(true), "True")]
    {
        // A column in which all is null is there all the same.
        let row = lines([json!({"document": "d", "summary": summary})]);
        let said =
            said("xsum", &[("xsum/train.jsonl", row.clone()), ("xsum/validation.jsonl", row)]);
        assert_eq!(said[0].split_once('|').expect("two turns").1, expected);
    }
}

// A column of floats to arrow, whose whole numbers are floats, too:
// python -c "import pyarrow as pa; print(pa.array([5, None, 1.5]).to_pylist())"   [5.0, None, 1.5]
#[test]
fn a_column_of_numbers_has_one_type() {
    let file = "reasoning-machines/gsm-hard/train.jsonl";
    #[track_caller]
    fn check_targets(file: &str, targets: &[&str], expected: &[&str]) {
        let row = |target: &&str| {
            format!("{{\"input\": \"i\", \"code\": \"c\", \"target\": {target}}}\n")
        };
        let rows: String = targets.iter().map(row).collect();
        let said = said("gsm8k_hard: {val_split: 0}", &[(file, rows)]);
        let target = |text: &String| text.rsplit_once(" be ").expect("a result").1.to_owned();
        assert_eq!(said.iter().map(target).collect::<Vec<_>>(), expected, "{targets:?}");
    }
    check_targets(file, &["5", "null", "1.5"], &["5.0", "None", "1.5"]);
    check_targets(file, &["5", "-0", "null"], &["5", "0", "None"]);
    check_targets(file, &["5", "-0.0"], &["5.0", "-0.0"]);
    // Read by pyarrow.json: [5.0, nan, inf], and written by format().
    check_targets(file, &["5", "NaN", "Infinity"], &["5.0", "nan", "inf"]);
    check_targets(file, &["5", "-Inf", "-NaN"], &["5.0", "-inf", "nan"]);
    check_targets(file, &["5", "123456789012345678901234"], &["5.0", "1.2345678901234569e+23"]);
    check_targets(file, &["\"5\"", "\"1.5\""], &["5", "1.5"]);
    check_targets(file, &["912068.5437784989"], &["912068.5437784989"]);
}

#[test]
fn what_is_left_out_already_may_have_null_for_the_rest() {
    let metadata = json!({"CONTEXT": ""});
    let dolly = [
        json!({"INSTRUCTION": "OpenAI", "RESPONSE": null, "METADATA": metadata}),
        json!({"INSTRUCTION": "q", "RESPONSE": "a", "METADATA": metadata}),
    ];
    check("dolly15k: {val_split: 0}", "OllieStanley/oa_dolly_15k/train.jsonl", dolly, &["q|a"]);
    let alpaca = [
        json!({"instruction": "OpenAI", "input": "", "output": null}),
        json!({"instruction": "q", "input": "", "output": "a"}),
    ];
    check("alpaca: {val_split: 0}", "yahma/alpaca-cleaned/train.jsonl", alpaca, &["q|a"]);
    let single = [json!({"prompt": "", "response": null}), json!({"prompt": "q", "response": "a"})];
    let multi = json!({"conversation": [{"User": "u", "Bot": null}, {"User": null, "Bot": "b"}]});
    let files = [
        ("Nebulous/gpt4all_pruned/data_singleround_pruned_3.jsonl", lines(single)),
        ("Nebulous/gpt4all_pruned/data_multiround_pruned_3.jsonl", lines([multi])),
    ];
    assert_eq!(said("gpt4all: {val_split: 0}", &files), ["q|a", "u|b"]);
}

#[test]
fn speakers_of_any_name_end_what_was_said_before() {
    let line = |(from, value): &(&str, &str)| json!({"from": from, "value": value});
    let talk = |lines: &[(&str, &str)]| json!({"conversations": lines.iter().map(line).collect::<Value>()});
    let file = "Aeala/ShareGPT_Vicuna_unfiltered/ShareGPT_V4.3_unfiltered_cleaned_split.json";
    let rows = [
        talk(&[("human", "a"), ("", "x"), ("gpt", "b")]),
        talk(&[("human", "a"), ("system", ""), ("gpt", "b")]),
        talk(&[("human", "a"), ("gpt", "b"), ("", "x"), ("gpt", "c")]),
        talk(&[("human", "a"), ("gpt", "b"), ("", "x"), ("human", "c"), ("gpt", "d")]),
    ];
    check("vicuna: {val_split: 0}", file, rows, &["a|b", "a|b", "a|b|c|d"]);
}

// Python 3.11: re.sub(r"\[\s?\d+\s?\]", "", text) knows the digits of Unicode 14, of which U+11F50 is none yet.
#[test]
fn digits_are_those_of_unicode_14() {
    let talk = json!({"conversations": [
        {"from": "human", "value": "q [\u{663}] [\u{11f50}]"}, {"from": "gpt", "value": "a"},
    ]});
    let file = "Aeala/ShareGPT_Vicuna_unfiltered/ShareGPT_V4.3_unfiltered_cleaned_split.json";
    check("vicuna: {val_split: 0}", file, [talk], &["q  [\u{11f50}]|a"]);
}

#[test]
fn no_article_and_the_article_none_are_two_texts() {
    let row = |article: Value, [first, second]: [&str; 2], choice: u8| {
        json!({"info": {"article": article, "post": null}, "split": "valid1", "choice": choice,
            "summaries": [{"text": first}, {"text": second}]})
    };
    // Taken as one text, `b` would win twice.
    let rows = lines([
        row(Value::Null, ["a", "b"], 0),
        row(json!("None"), ["b", "a"], 0),
        row(json!("None"), ["b", "c"], 0),
    ]);
    let files = ["train", "validation"]
        .map(|split| (format!("openai/summarize_from_feedback/{split}.jsonl"), rows.clone()));
    let files = files.each_ref().map(|(file, rows)| (file.as_str(), rows.clone()));
    let answers = said("hf_summary", &files);
    let answers: Vec<_> =
        answers.iter().map(|it| it.rsplit_once('|').expect("two turns").1).collect();
    assert_eq!(answers, ["a", "b", "b"]);
}

#[test]
fn trees_that_are_not_used_may_hold_anything_that_can_be_read() {
    let message = |id: &str, role: &str, replies: Value| json!({"message_id": id, "text": id, "role": role, "lang": "en", "review_result": true, "replies": replies});
    let tree = |id: &str, state: &str, prompt: Value| json!({"message_tree_id": id, "tree_state": state, "prompt": prompt});
    let answer = |id: &str| message(id, "assistant", Value::Null);
    let rows = [
        tree("1", "growing", Value::Null),
        json!({"message_tree_id": "2", "tree_state": "aborted"}),
        tree("3", "growing", message("3", "system", json!([answer("x")]))),
        // The last reply is no answer and not the first reply, and so ends no thread.
        tree(
            "4",
            "ready_for_export",
            message("q", "prompter", json!([answer("a"), message("b", "system", json!([]))])),
        ),
    ];
    let entry = "oasst_export: {input_file_path: t.jsonl, val_split: 0}";
    check(entry, ".cache/t.jsonl", rows, &["q|a"]);
}

#[test]
fn only_answers_without_a_rank_are_among_the_best_none() {
    let tree = |id: &str, rank: Value| {
        let answer = json!({"message_id": "a", "text": "a", "role": "assistant", "rank": rank});
        json!({"message_tree_id": id, "tree_state": "ready_for_export", "prompt": {
            "message_id": id, "text": id, "role": "prompter", "lang": "en", "review_result": true, "replies": [answer],
        }})
    };
    for (top_k, expected) in
        [("0", &["unranked|a"][..]), ("-1", &["unranked|a"]), ("1", &["unranked|a", "ranked|a"])]
    {
        let entry =
            format!("oasst_export: {{input_file_path: t.jsonl, val_split: 0, top_k: {top_k}}}");
        let mut found = said(
            &entry,
            &[(".cache/t.jsonl", lines([tree("unranked", Value::Null), tree("ranked", json!(0))]))],
        );
        found.sort_by(|a, b| b.cmp(a));
        assert_eq!(found, expected, "{top_k}");
    }
}

/// The names of the numbers that JSON has not, as `json.loads` and `pyarrow.json` read them.
const NOT_JSON: [&str; 4] = ["NaN", "Infinity", "-Infinity", "1e400"];

#[test]
fn a_number_that_json_does_not_have_is_no_error_where_nobody_reads_it() {
    #[track_caller]
    fn check(entry: &str, file: &str, row: &Value) {
        let expected = said(entry, &[(file, lines(vec![row.clone(); 3]))]);
        for number in NOT_JSON {
            let more =
                format!(r#", "more": {{"n": [1, {number}], "NaN": "NaN"}}, "n": {number}}}"#);
            let row = row.to_string();
            let row = format!("{}{more}\n", row.strip_suffix('}').expect("an object"));
            let found = said(entry, &[(file, row.repeat(3))]);
            assert_eq!(found, expected, "{entry}: {row}");
        }
    }
    let joke = json!({"joke": "q", "explaination": "a"});
    check("joke: {val_split: 0}", ".cache/joke_explaination.jsonl", &joke);
    let oig = json!({"text": "<human>: q <bot>: a"});
    check("oig_file: {source_url: f.jsonl, val_split: 0}", ".cache/f.jsonl", &oig);
    let leet = json!({"INSTRUCTION": "q", "RESPONSE": "a"});
    check("oa_leet10k: {val_split: 0}", "ehartford/oa_leet10k/train.jsonl", &leet);
    let own = json!({"instruction": "q", "output": "a"});
    check("instructions: {name: own, path: own.jsonl, val_split: 0}", "own.jsonl", &own);
    let chat = json!({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]});
    check("messages: {name: own, path: own.jsonl, val_split: 0}", "own.jsonl", &chat);
    let reply = json!({"message_id": "b", "role": "assistant", "text": "a", "detoxify": 1});
    let prompt = json!({"message_id": "a", "role": "prompter", "text": "q", "lang": "en", "review_result": true, "replies": [reply]});
    let tree = json!({"message_tree_id": "a", "tree_state": "ready_for_export", "prompt": prompt});
    let trees = "oasst_export: {input_file_path: trees, val_split: 0.0}";
    // A message has such numbers: `detoxify`, and labels that nobody reads.
    let expected = said(trees, &[(".cache/trees", lines([tree.clone()]))]);
    for number in NOT_JSON {
        let detoxify = format!(
            "{{\"toxicity\": {number}}}, \"labels\": {{\"spam\": {{\"value\": {number}, \"count\": 1}}}}"
        );
        let tree = tree.to_string().replace("\"detoxify\":1", &format!("\"detoxify\":{detoxify}"));
        assert_eq!(said(trees, &[(".cache/trees", tree)]), expected, "{number}");
    }
}

// python -c 'import io; print(list(io.TextIOWrapper(io.BytesIO(b"a\rb\r\n\rc"))))'   ['a\n', 'b\n', '\n', 'c']
#[test]
fn lines_end_as_python_ends_them() {
    #[track_caller]
    fn check(entry: &str, file: &str, rows: &[Value]) {
        let expected = said(entry, &[(file, lines(rows.to_vec()))]);
        for end in ["\r", "\r\n", "\n\r", "\r\r"] {
            let rows = lines(rows.to_vec()).replace('\n', end);
            assert_eq!(said(entry, &[(file, rows)]), expected, "{entry}: {end:?}");
        }
    }
    let rows = |row: &dyn Fn(i32) -> Value| (0..4).map(row).collect::<Vec<_>>();
    let joke = rows(&|i| json!({"joke": format!("q{i}"), "explaination": "a\rb"}));
    check("joke: {val_split: 0}", ".cache/joke_explaination.jsonl", &joke);
    let oig = rows(&|i| json!({"text": format!("<human>: q{i} <bot>: a")}));
    check("oig_file: {source_url: f.jsonl, val_split: 0}", ".cache/f.jsonl", &oig);
    let leet = rows(&|i| json!({"INSTRUCTION": format!("q{i}"), "RESPONSE": "a"}));
    check("oa_leet10k: {val_split: 0}", "ehartford/oa_leet10k/train.jsonl", &leet);
    let tree = rows(&|i| {
        let reply = json!({"message_id": format!("b{i}"), "role": "assistant", "text": "a"});
        let prompt = json!({"message_id": format!("a{i}"), "role": "prompter", "text": "q", "lang": "en", "review_result": true, "replies": [reply]});
        json!({"message_tree_id": format!("a{i}"), "tree_state": "ready_for_export", "prompt": prompt})
    });
    check("oasst_export: {input_file_path: trees, val_split: 0.0}", ".cache/trees", &tree);
}
