//! Rows of the reference's sources: for each loader a field that is missing, and one that holds something else.

use expect_test::expect;
use serde_json::{Value, json};

use crate::bad_files::Table;

/// The dataset, its file, a good row, and rows that are bad.
struct Source {
    entry: &'static str,
    file: &'static str,
    good: Value,
    bad: Vec<(&'static str, Value)>,
}

fn sources() -> Vec<Source> {
    let qa = |file, good| Source { entry: "", file, good, bad: vec![] };
    let source = |entry, file, good, bad| Source { entry, bad, ..qa(file, good) };
    let instruction = |output: Value| json!({"instruction": "i", "input": "x", "output": output});
    vec![
        source(
            "orca-chat",
            "shahules786/orca-best/train.jsonl",
            json!({"instruction": "s", "cluster": {"samples": [{"input": "q", "output": "a"}]}}),
            vec![
                ("no conversation", json!({"instruction": "s"})),
                ("a text for it", json!({"instruction": "s", "cluster": "q"})),
                ("no samples", json!({"instruction": "s", "cluster": {"items": []}})),
                ("no output", json!({"instruction": "s", "conversation": [{"input": "q"}]})),
                (
                    "null for the output",
                    json!({"cluster": {"samples": [{"input": "q", "output": null}]}}),
                ),
            ],
        ),
        source(
            "bestofmegacode",
            "shahules786/megacode-best/train.jsonl",
            json!({"conversation": {"samples": [{"USER": "q", "ASSISTANT": "a"}]}}),
            vec![
                (
                    "no USER",
                    json!({"conversation": {"samples": [{"user": "q", "ASSISTANT": "a"}]}}),
                ),
                (
                    "a list for ASSISTANT",
                    json!({"cluster": {"samples": [{"USER": "q", "ASSISTANT": []}]}}),
                ),
            ],
        ),
        source(
            "minimath",
            "kentsui/minimath/train.jsonl",
            json!({"question": "q", "answer": "a"}),
            vec![
                ("null for the answer", json!({"question": "q", "answer": null})),
                ("a number for the answer", json!({"question": "q", "answer": 7})),
            ],
        ),
        source(
            "dolphin-mix: {val_split: 0}",
            "ehartford/dolphin/flan5m-alpaca-uncensored.jsonl",
            instruction(json!("a")),
            vec![
                ("no output", json!({"instruction": "i", "input": "x"})),
                ("null for the output", instruction(Value::Null)),
            ],
        ),
        source(
            "dolly15k",
            "OllieStanley/oa_dolly_15k/train.jsonl",
            json!({"INSTRUCTION": "q", "RESPONSE": "a", "METADATA": {"CONTEXT": ""}}),
            vec![
                ("no context", json!({"INSTRUCTION": "q", "RESPONSE": "a", "METADATA": {}})),
                (
                    "a text for METADATA",
                    json!({"INSTRUCTION": "q", "RESPONSE": "a", "METADATA": "x"}),
                ),
            ],
        ),
        source(
            "alpaca",
            "yahma/alpaca-cleaned/train.jsonl",
            instruction(json!("a")),
            vec![
                ("no input", json!({"instruction": "i", "output": "x"})),
                ("a truth value for the output", instruction(json!(true))),
            ],
        ),
        source(
            "alpaca_gpt4",
            "teknium/GPT4-LLM-Cleaned/train.jsonl",
            instruction(json!("a")),
            vec![("null for the output", instruction(Value::Null))],
        ),
        source(
            "vicuna",
            "Aeala/ShareGPT_Vicuna_unfiltered/ShareGPT_V4.3_unfiltered_cleaned_split.json",
            json!({"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]}),
            vec![
                ("no list", json!({"items": []})),
                ("no speaker", json!({"conversations": [{"value": "q"}]})),
                (
                    "a system message without text",
                    json!({"conversations": [{"from": "human", "value": "q"}, {"from": "system", "value": null}]}),
                ),
                ("a number for a text", json!({"conversations": [{"from": "human", "value": 7}]})),
            ],
        ),
        source(
            "soda",
            "allenai/soda/train.jsonl",
            json!({"narrative": "n", "dialogue": ["a", "b"], "speakers": ["A", "B"]}),
            vec![
                ("no speakers", json!({"narrative": "n", "dialogue": ["a"]})),
                (
                    "a text for the dialogue",
                    json!({"narrative": "n", "dialogue": "a", "speakers": []}),
                ),
            ],
        ),
        source(
            "soda_dialogue",
            "emozilla/soda_synthetic_dialogue/train.jsonl",
            json!({"conversation": "User: q\nAssistant: a"}),
            vec![("a list for a text", json!({"conversation": []}))],
        ),
        source(
            "joke",
            ".cache/joke_explaination.jsonl",
            json!({"joke": "q", "explaination": "a"}),
            vec![
                ("no joke", json!({"explaination": "a"})),
                ("an object for a text", json!({"joke": {}, "explaination": "a"})),
            ],
        ),
        source(
            "gpteacher_roleplay",
            ".cache/gpteacher_roleplay__json/gpteacher_roleplay.json",
            json!({"instruction": "q", "input": "c", "response": "a"}),
            vec![("no response", json!({"instruction": "q", "input": "c"}))],
        ),
        source(
            "oa_translated",
            ".cache/oa_translated/a.jsonl",
            json!({"text": "t", "translate": [{"round": 1, "human": "q", "answer": "a"}]}),
            vec![
                ("no rounds", json!({"text": "t"})),
                (
                    "a word for a round",
                    json!({"text": "t", "translate": [{"round": "one", "human": "q", "answer": "a"}]}),
                ),
            ],
        ),
        source(
            "oig_file: {source_url: x/o.jsonl}",
            ".cache/o.jsonl",
            json!({"text": "<human>: q\n<bot>: a"}),
            vec![("a number for the text", json!({"text": 7}))],
        ),
        source(
            "webgpt: {val_split: 0}",
            "openai/webgpt_comparisons/train.jsonl",
            json!({"question": {"full_text": "q"}, "answer_0": "a", "answer_1": "b", "score_0": 1.0, "score_1": 0}),
            vec![(
                "no score",
                json!({"question": {"full_text": "q"}, "answer_0": "a", "answer_1": "b", "score_0": 1.0}),
            )],
        ),
        source(
            "prosocial_dialogue",
            "Englishman2022/prosocial-dialog-filtered/train.json",
            json!({"context": "c", "rots": ["r"]}),
            vec![("a list for a rule", json!({"context": "c", "rots": [[]]}))],
        ),
        source(
            "explain_prosocial",
            "Englishman2022/prosocial-dialog-filtered/train.json",
            json!({"context": "c", "safety_annotations": ["a"], "safety_annotation_reasons": ["r"]}),
            vec![("no reasons", json!({"context": "c", "safety_annotations": ["a"]}))],
        ),
        source(
            "gsm8k_hard",
            "reasoning-machines/gsm-hard/train.jsonl",
            json!({"input": "q", "code": "c", "target": 1.5}),
            vec![("a list for the target", json!({"input": "q", "code": "c", "target": []}))],
        ),
        source(
            "wikihow",
            "b-mc2/wikihow_lists/train.jsonl",
            json!({"title": "t", "result": "r"}),
            vec![("null for the title", json!({"title": null, "result": "r"}))],
        ),
        source(
            "essay_instruction",
            "ChristophSchuhmann/essays-with-instructions/train.jsonl",
            json!({"instructions": "i", "titles": "t", "essays": "e"}),
            vec![("no essay", json!({"instructions": "i", "titles": "t"}))],
        ),
        source(
            "debate_sum",
            "Hellisotherpeople/DebateSum/train.jsonl",
            json!({"Full-Document": "d", "Extract": "e"}),
            vec![("a list for the document", json!({"Full-Document": ["d"], "Extract": "e"}))],
        ),
        source(
            "multi-chapter-summaries",
            "shahules786/Multi-chapter-summaries/train.jsonl",
            json!({"prompt": "p", "context": "c", "summary": "s"}),
            vec![("no summary", json!({"prompt": "p", "context": "c"}))],
        ),
        source(
            "red_pajama",
            "togethercomputer/RedPajama-Data-1T-Sample/train.jsonl",
            json!({"text": "t"}),
            vec![("a number for the text", json!({"text": 7}))],
        ),
    ]
}

#[test]
fn sources_of_the_reference() {
    let mut text = String::new();
    for Source { entry, file, good, bad } in sources() {
        let mut table = Table::new(entry, file);
        for (what, bad) in bad {
            let name = entry.split(':').next().unwrap_or(entry);
            let rows = [&good, &good, &bad, &good].map(|row| format!("{row}\n"));
            table.row(&format!("{name}: {what}"), rows.concat());
        }
        text += &table.text;
    }
    expect![[r#"
        orca-chat: no conversation
          stop: shahules786/orca-best/train.jsonl:3: missing field `conversation` | hint: the fields there are: `instruction`
          skip: 3 kept, 1 bad row: missing field
                row 3: bad row: missing field: missing field `conversation` | hint: the fields there are: `instruction`
        orca-chat: a text for it
          stop: shahules786/orca-best/train.jsonl:3: field `cluster`: found the text "q", expected a list of turns, or an object with `samples` | hint: `on_error: skip` leaves out rows that cannot be read, and counts them
          skip: 3 kept, 1 bad row: wrong type
                row 3: bad row: wrong type: field `cluster`: found the text "q", expected a list of turns, or an object with `samples`
        orca-chat: no samples
          stop: shahules786/orca-best/train.jsonl:3: field `cluster`: missing field `samples` | hint: the fields there are: `items`
          skip: 3 kept, 1 bad row: missing field
                row 3: bad row: missing field: field `cluster`: missing field `samples` | hint: the fields there are: `items`
        orca-chat: no output
          stop: shahules786/orca-best/train.jsonl:3: field `conversation[0]`: missing field `output` | hint: the fields there are: `input`
          skip: 3 kept, 1 bad row: missing field
                row 3: bad row: missing field: field `conversation[0]`: missing field `output` | hint: the fields there are: `input`
        orca-chat: null for the output
          stop: shahules786/orca-best/train.jsonl:3: field `cluster.samples[0].output`: found null, expected a text | hint: `on_error: skip` leaves out rows that cannot be read, and counts them
          skip: 3 kept, 1 bad row: wrong type
                row 3: bad row: wrong type: field `cluster.samples[0].output`: found null, expected a text
        bestofmegacode: no USER
          stop: shahules786/megacode-best/train.jsonl:3: field `conversation.samples[0]`: missing field `USER` | hint: the fields there are: `user`, `ASSISTANT`
          skip: 3 kept, 1 bad row: missing field
                row 3: bad row: missing field: field `conversation.samples[0]`: missing field `USER` | hint: the fields there are: `user`, `ASSISTANT`
        bestofmegacode: a list for ASSISTANT
          stop: shahules786/megacode-best/train.jsonl:3: field `cluster.samples[0].ASSISTANT`: found a list, expected a text | hint: `on_error: skip` leaves out rows that cannot be read, and counts them
          skip: 3 kept, 1 bad row: wrong type
                row 3: bad row: wrong type: field `cluster.samples[0].ASSISTANT`: found a list, expected a text
        minimath: null for the answer
          stop: no error
          skip: 3 kept, 1 empty
                row 3: empty: 
        minimath: a number for the answer
          stop: kentsui/minimath/train.jsonl:3: field `answer`: found the number `7`, expected a text | hint: `on_error: skip` leaves out rows that cannot be read, and counts them
          skip: 3 kept, 1 bad row: wrong type
                row 3: bad row: wrong type: field `answer`: found the number `7`, expected a text
        dolphin-mix: no output
          stop: ehartford/dolphin/flan5m-alpaca-uncensored.jsonl:3: missing field `output` | hint: the fields there are: `instruction`, `input`
          skip: 1 kept, 1 bad row: missing field
                row 3: bad row: missing field: missing field `output` | hint: the fields there are: `instruction`, `input`
        dolphin-mix: null for the output
          stop: ehartford/dolphin/flan5m-alpaca-uncensored.jsonl:3: field `output`: found null, expected a text | hint: `on_error: skip` leaves out rows that cannot be read, and counts them
          skip: 1 kept, 1 bad row: wrong type
                row 3: bad row: wrong type: field `output`: found null, expected a text
        dolly15k: no context
          stop: OllieStanley/oa_dolly_15k/train.jsonl:3: field `METADATA`: missing field `CONTEXT` | hint: there are no fields
          skip: 3 kept, 1 bad row: missing field
                row 3: bad row: missing field: field `METADATA`: missing field `CONTEXT` | hint: there are no fields
        dolly15k: a text for METADATA
          stop: OllieStanley/oa_dolly_15k/train.jsonl:3: field `METADATA`: found the text "x", expected an object | hint: `on_error: skip` leaves out rows that cannot be read, and counts them
          skip: 3 kept, 1 bad row: wrong type
                row 3: bad row: wrong type: field `METADATA`: found the text "x", expected an object
        alpaca: no input
          stop: yahma/alpaca-cleaned/train.jsonl:3: missing field `input` | hint: the fields there are: `instruction`, `output`
          skip: 3 kept, 1 bad row: missing field
                row 3: bad row: missing field: missing field `input` | hint: the fields there are: `instruction`, `output`
        alpaca: a truth value for the output
          stop: yahma/alpaca-cleaned/train.jsonl:3: field `output`: found the truth value `true`, expected a text | hint: `on_error: skip` leaves out rows that cannot be read, and counts them
          skip: 3 kept, 1 bad row: wrong type
                row 3: bad row: wrong type: field `output`: found the truth value `true`, expected a text
        alpaca_gpt4: null for the output
          stop: teknium/GPT4-LLM-Cleaned/train.jsonl:3: field `output`: found null, expected a text, or a list of texts | hint: `on_error: skip` leaves out rows that cannot be read, and counts them
          skip: 3 kept, 1 bad row: wrong type
                row 3: bad row: wrong type: field `output`: found null, expected a text, or a list of texts
        vicuna: no list
          stop: Aeala/ShareGPT_Vicuna_unfiltered/ShareGPT_V4.3_unfiltered_cleaned_split.json:3: missing field `conversations` | hint: the fields there are: `items`
          skip: 3 kept, 1 bad row: missing field
                row 3: bad row: missing field: missing field `conversations` | hint: the fields there are: `items`
        vicuna: no speaker
          stop: Aeala/ShareGPT_Vicuna_unfiltered/ShareGPT_V4.3_unfiltered_cleaned_split.json:3: field `conversations[0]`: missing field `from` | hint: the fields there are: `value`
          skip: 3 kept, 1 bad row: missing field
                row 3: bad row: missing field: field `conversations[0]`: missing field `from` | hint: the fields there are: `value`
        vicuna: a system message without text
          stop: Aeala/ShareGPT_Vicuna_unfiltered/ShareGPT_V4.3_unfiltered_cleaned_split.json:3: field `conversations[1].value`: found null as the text of `system`, expected a text
          skip: 3 kept, 1 bad row: wrong type
                row 3: bad row: wrong type: field `conversations[1].value`: found null as the text of `system`, expected a text
        vicuna: a number for a text
          stop: Aeala/ShareGPT_Vicuna_unfiltered/ShareGPT_V4.3_unfiltered_cleaned_split.json:3: field `conversations[0].value`: found the number `7`, expected a text | hint: `on_error: skip` leaves out rows that cannot be read, and counts them
          skip: 3 kept, 1 bad row: wrong type
                row 3: bad row: wrong type: field `conversations[0].value`: found the number `7`, expected a text
        soda: no speakers
          stop: allenai/soda/train.jsonl:3: missing field `speakers` | hint: the fields there are: `narrative`, `dialogue`
          skip: 3 kept, 1 bad row: missing field
                row 3: bad row: missing field: missing field `speakers` | hint: the fields there are: `narrative`, `dialogue`
        soda: a text for the dialogue
          stop: allenai/soda/train.jsonl:3: field `dialogue`: found the text "a", expected a list | hint: `on_error: skip` leaves out rows that cannot be read, and counts them
          skip: 3 kept, 1 bad row: wrong type
                row 3: bad row: wrong type: field `dialogue`: found the text "a", expected a list
        soda_dialogue: a list for a text
          stop: emozilla/soda_synthetic_dialogue/train.jsonl:3: field `conversation`: found a list, expected a text | hint: `on_error: skip` leaves out rows that cannot be read, and counts them
          skip: 3 kept, 1 bad row: wrong type
                row 3: bad row: wrong type: field `conversation`: found a list, expected a text
        joke: no joke
          stop: .cache/joke_explaination.jsonl:3: missing field `joke` | hint: the fields there are: `explaination`
          skip: 3 kept, 1 bad row: missing field
                row 3: bad row: missing field: missing field `joke` | hint: the fields there are: `explaination`
        joke: an object for a text
          stop: .cache/joke_explaination.jsonl:3: field `joke`: found an object, expected a text | hint: `on_error: skip` leaves out rows that cannot be read, and counts them
          skip: 3 kept, 1 bad row: wrong type
                row 3: bad row: wrong type: field `joke`: found an object, expected a text
        gpteacher_roleplay: no response
          stop: .cache/gpteacher_roleplay__json/gpteacher_roleplay.json:3: missing field `response` | hint: the fields there are: `instruction`, `input`
          skip: 3 kept, 1 bad row: missing field
                row 3: bad row: missing field: missing field `response` | hint: the fields there are: `instruction`, `input`
        oa_translated: no rounds
          stop: .cache/oa_translated/a.jsonl:3: missing field `translate` | hint: the fields there are: `text`
          skip: 3 kept, 1 bad row: missing field
                row 3: bad row: missing field: missing field `translate` | hint: the fields there are: `text`
        oa_translated: a word for a round
          stop: .cache/oa_translated/a.jsonl:3: field `translate[0].round`: found the text "one", expected a number | hint: `on_error: skip` leaves out rows that cannot be read, and counts them
          skip: 3 kept, 1 bad row: wrong type
                row 3: bad row: wrong type: field `translate[0].round`: found the text "one", expected a number
        oig_file: a number for the text
          stop: .cache/o.jsonl:3: field `text`: found the number `7`, expected a text | hint: `on_error: skip` leaves out rows that cannot be read, and counts them
          skip: 1 kept, 1 bad row: wrong type
                row 3: bad row: wrong type: field `text`: found the number `7`, expected a text
        webgpt: no score
          stop: openai/webgpt_comparisons/train.jsonl:3: missing field `score_1` | hint: the fields there are: `question`, `answer_0`, `answer_1`, `score_0`
          skip: 1 kept, 1 bad row: missing field
                row 3: bad row: missing field: missing field `score_1` | hint: the fields there are: `question`, `answer_0`, `answer_1`, `score_0`
        prosocial_dialogue: a list for a rule
          stop: Englishman2022/prosocial-dialog-filtered/train.json:3: field `rots[0]`: found a list, expected a text | hint: `on_error: skip` leaves out rows that cannot be read, and counts them
          skip: 3 kept, 1 bad row: wrong type
                row 3: bad row: wrong type: field `rots[0]`: found a list, expected a text
        explain_prosocial: no reasons
          stop: Englishman2022/prosocial-dialog-filtered/train.json:3: missing field `safety_annotation_reasons` | hint: the fields there are: `context`, `safety_annotations`
          skip: 3 kept, 1 bad row: missing field
                row 3: bad row: missing field: missing field `safety_annotation_reasons` | hint: the fields there are: `context`, `safety_annotations`
        gsm8k_hard: a list for the target
          stop: reasoning-machines/gsm-hard/train.jsonl:3: field `target`: found a list, expected a number or a text | hint: `on_error: skip` leaves out rows that cannot be read, and counts them
          skip: 3 kept, 1 bad row: wrong type
                row 3: bad row: wrong type: field `target`: found a list, expected a number or a text
        wikihow: null for the title
          stop: b-mc2/wikihow_lists/train.jsonl:3: field `title`: found null, expected a text | hint: `on_error: skip` leaves out rows that cannot be read, and counts them
          skip: 3 kept, 1 bad row: wrong type
                row 3: bad row: wrong type: field `title`: found null, expected a text
        essay_instruction: no essay
          stop: ChristophSchuhmann/essays-with-instructions/train.jsonl:3: missing field `essays` | hint: the fields there are: `instructions`, `titles`
          skip: 3 kept, 1 bad row: missing field
                row 3: bad row: missing field: missing field `essays` | hint: the fields there are: `instructions`, `titles`
        debate_sum: a list for the document
          stop: Hellisotherpeople/DebateSum/train.jsonl:3: field `Full-Document`: found a list, expected a text | hint: `on_error: skip` leaves out rows that cannot be read, and counts them
          skip: 3 kept, 1 bad row: wrong type
                row 3: bad row: wrong type: field `Full-Document`: found a list, expected a text
        multi-chapter-summaries: no summary
          stop: shahules786/Multi-chapter-summaries/train.jsonl:3: missing field `summary` | hint: the fields there are: `prompt`, `context`
          skip: 3 kept, 1 bad row: missing field
                row 3: bad row: missing field: missing field `summary` | hint: the fields there are: `prompt`, `context`
        red_pajama: a number for the text
          stop: togethercomputer/RedPajama-Data-1T-Sample/train.jsonl:3: field `text`: found the number `7`, expected a text | hint: `on_error: skip` leaves out rows that cannot be read, and counts them
          skip: 3 kept, 1 bad row: wrong type
                row 3: bad row: wrong type: field `text`: found the number `7`, expected a text
    "#]].assert_eq(&text);
}
