//! Message trees, and trees whose messages are rows of their own.

use expect_test::expect;
use serde_json::{Value, json};

use crate::bad_files::Table;

const ENTRY: &str = "oasst_export: {input_file_path: trees, val_split: 0.5}";

fn node(id: &str, role: &str, replies: &[Value]) -> Value {
    json!({"message_id": id, "text": format!("This is {id}"), "role": role, "lang": "en", "review_result": true, "replies": replies})
}

fn tree(id: &str, prompt: Value) -> Value {
    json!({"message_tree_id": id, "tree_state": "ready_for_export", "prompt": prompt})
}

fn good(id: &str) -> Value {
    tree(id, node(id, "prompter", &[node(&format!("{id}-a"), "assistant", &[])]))
}

/// A tree between two good ones.
fn between(bad: &Value) -> String {
    [&good("t1"), bad, &good("t3")].map(|tree| format!("{tree}\n")).concat()
}

#[test]
fn whole_trees() {
    let mut table = Table::new(ENTRY, ".cache/trees");
    let prompt = |replies: &[Value]| tree("t2", node("t2", "prompter", replies));
    let answer = |id: &str| node(id, "assistant", &[]);
    let changed = |field: &str, value: Value| {
        let mut answer = answer("a");
        answer[field] = value;
        prompt(&[answer])
    };
    let without = |field: &str| {
        let mut answer = answer("a");
        answer.as_object_mut().expect("an object").remove(field);
        prompt(&[answer])
    };
    for (what, bad) in [
        ("no id", json!({"tree_state": "ready_for_export", "prompt": node("t2", "prompter", &[])})),
        ("no prompt", json!({"message_tree_id": "t2", "tree_state": "ready_for_export"})),
        ("a list as the prompt", json!({"message_tree_id": "t2", "prompt": []})),
        ("a message without id", without("message_id")),
        ("a message without text", without("text")),
        ("a message without role", without("role")),
        ("null for a text", changed("text", Value::Null)),
        ("a list for a text", changed("text", json!(["a"]))),
        ("a word for a rank", changed("rank", json!("first"))),
        ("a word for a truth value", changed("deleted", json!("maybe"))),
        ("an object for the replies", changed("replies", json!({}))),
        (
            "a word for a label",
            changed("labels", json!({"quality": {"value": "good", "count": 1}})),
        ),
        ("a label out of range", changed("labels", json!({"quality": {"value": 7, "count": 1}}))),
        ("an unknown role", prompt(&[node("a", "tool", &[])])),
        ("the same role twice", prompt(&[node("a", "assistant", &[node("b", "assistant", &[])])])),
        (
            "a prompt of an assistant",
            tree("t2", node("t2", "assistant", &[node("a", "assistant", &[])])),
        ),
        (
            "an id twice",
            prompt(&[answer("a"), node("b", "assistant", &[node("a", "prompter", &[])])]),
        ),
        (
            "a message that contains itself",
            prompt(&[node("a", "assistant", &[node("t2", "prompter", &[])])]),
        ),
        ("absurdly deep", {
            let mut node = node("0", "assistant", &[]);
            for i in 1..100 {
                node = self::node(
                    &i.to_string(),
                    if i % 2 == 0 { "assistant" } else { "prompter" },
                    &[node],
                );
            }
            tree("t2", node)
        }),
    ] {
        table.row(what, between(&bad));
    }
    table.row("a blank line", format!("{}\n\n{}\n", good("t1"), good("t3")));
    table.row("a byte order mark", format!("\u{feff}{}\n", good("t1")));
    table.row("no JSON", format!("{}\n{{\"message_tree_id\": t2}}\n", good("t1")));
    table.row("no tree in the language", tree("t1", json!({"message_id": "t1", "text": "x", "role": "prompter", "lang": "de", "review_result": true})).to_string());
    expect![[r#"
        no id
          stop: .cache/trees:2: missing field `message_tree_id` (a tree) or `message_id` (a message) | hint: the fields there are: `tree_state`, `prompt`
          skip: 2 kept, 1 bad row: missing field
                row 2: bad row: missing field: missing field `message_tree_id` (a tree) or `message_id` (a message) | hint: the fields there are: `tree_state`, `prompt`
        no prompt
          stop: .cache/trees:2: missing field `prompt` of the tree `t2` | hint: the fields there are: `message_tree_id`, `tree_state`
          skip: 2 kept, 1 bad row: missing field
                row 2: bad row: missing field: missing field `prompt` of the tree `t2` | hint: the fields there are: `message_tree_id`, `tree_state`
        a list as the prompt
          stop: .cache/trees:2: field `prompt`: found a list, expected an object | hint: `on_error: skip` leaves out rows that cannot be read, and counts them
          skip: 2 kept, 1 bad row: wrong type
                row 2: bad row: wrong type: field `prompt`: found a list, expected an object
        a message without id
          stop: .cache/trees:2: field `prompt.replies[0]`: missing field `message_id` | hint: the fields there are: `replies`, `text`, `role`, `lang`, `review_result`
          skip: 2 kept, 1 bad row: missing field
                row 2: bad row: missing field: field `prompt.replies[0]`: missing field `message_id` | hint: the fields there are: `replies`, `text`, `role`, `lang`, `review_result`
        a message without text
          stop: .cache/trees:2: field `prompt.replies[0]`: missing field `text` | hint: the fields there are: `message_id`, `replies`, `role`, `lang`, `review_result`
          skip: 2 kept, 1 bad row: missing field
                row 2: bad row: missing field: field `prompt.replies[0]`: missing field `text` | hint: the fields there are: `message_id`, `replies`, `role`, `lang`, `review_result`
        a message without role
          stop: .cache/trees:2: field `prompt.replies[0]`: missing field `role` | hint: the fields there are: `message_id`, `text`, `replies`, `lang`, `review_result`
          skip: 2 kept, 1 bad row: missing field
                row 2: bad row: missing field: field `prompt.replies[0]`: missing field `role` | hint: the fields there are: `message_id`, `text`, `replies`, `lang`, `review_result`
        null for a text
          stop: .cache/trees:2: field `prompt.replies[0].text`: found null, expected a text | hint: `on_error: skip` leaves out rows that cannot be read, and counts them
          skip: 2 kept, 1 bad row: wrong type
                row 2: bad row: wrong type: field `prompt.replies[0].text`: found null, expected a text
        a list for a text
          stop: .cache/trees:2: field `prompt.replies[0].text`: found a list, expected a text | hint: `on_error: skip` leaves out rows that cannot be read, and counts them
          skip: 2 kept, 1 bad row: wrong type
                row 2: bad row: wrong type: field `prompt.replies[0].text`: found a list, expected a text
        a word for a rank
          stop: .cache/trees:2: field `prompt.replies[0].rank`: found the text "first", expected a whole number | hint: `on_error: skip` leaves out rows that cannot be read, and counts them
          skip: 2 kept, 1 bad row: wrong type
                row 2: bad row: wrong type: field `prompt.replies[0].rank`: found the text "first", expected a whole number
        a word for a truth value
          stop: .cache/trees:2: field `prompt.replies[0].deleted`: found the text "maybe", expected true or false | hint: `on_error: skip` leaves out rows that cannot be read, and counts them
          skip: 2 kept, 1 bad row: wrong type
                row 2: bad row: wrong type: field `prompt.replies[0].deleted`: found the text "maybe", expected true or false
        an object for the replies
          stop: .cache/trees:2: field `prompt.replies[0].replies`: found an object, expected a list | hint: `on_error: skip` leaves out rows that cannot be read, and counts them
          skip: 2 kept, 1 bad row: wrong type
                row 2: bad row: wrong type: field `prompt.replies[0].replies`: found an object, expected a list
        a word for a label
          stop: .cache/trees:2: field `prompt.replies[0].labels.quality.value`: found the text "good", expected a number | hint: `on_error: skip` leaves out rows that cannot be read, and counts them
          skip: 2 kept, 1 bad row: wrong type
                row 2: bad row: wrong type: field `prompt.replies[0].labels.quality.value`: found the text "good", expected a number
        a label out of range
          stop: .cache/trees:2: tree `t2`, message `a`: the label `quality` is 7, expected 0 to 1 | hint: `on_error: skip` leaves out rows that cannot be read, and counts them
          skip: 2 kept, 1 bad row: not as expected
                row 2: bad row: not as expected: tree `t2`, message `a`: the label `quality` is 7, expected 0 to 1
        an unknown role
          stop: .cache/trees:2: tree `t2`, message `a`: the role is `tool`, expected `prompter` or `assistant` | hint: `on_error: skip` leaves out rows that cannot be read, and counts them
          skip: 2 kept, 1 bad row: not as expected
                row 2: bad row: not as expected: tree `t2`, message `a`: the role is `tool`, expected `prompter` or `assistant`
        the same role twice
          stop: .cache/trees:2: tree `t2`, message `b`: expected prompter and assistant in turn, found the assistant twice | hint: `on_error: skip` leaves out rows that cannot be read, and counts them
          skip: 2 kept, 1 bad row: not as expected
                row 2: bad row: not as expected: tree `t2`, message `b`: expected prompter and assistant in turn, found the assistant twice
        a prompt of an assistant
          stop: .cache/trees:2: tree `t2`, message `t2`: the first message is the assistant's, expected the prompter's | hint: `on_error: skip` leaves out rows that cannot be read, and counts them
          skip: 2 kept, 1 bad row: not as expected
                row 2: bad row: not as expected: tree `t2`, message `t2`: the first message is the assistant's, expected the prompter's
        an id twice
          stop: .cache/trees:2: tree `t2`: two messages are called `a`, expected a name of its own for each | hint: `on_error: skip` leaves out rows that cannot be read, and counts them
          skip: 2 kept, 1 bad row: not as expected
                row 2: bad row: not as expected: tree `t2`: two messages are called `a`, expected a name of its own for each
        a message that contains itself
          stop: .cache/trees:2: tree `t2`: two messages are called `t2`, expected a name of its own for each | hint: `on_error: skip` leaves out rows that cannot be read, and counts them
          skip: 2 kept, 1 bad row: not as expected
                row 2: bad row: not as expected: tree `t2`: two messages are called `t2`, expected a name of its own for each
        absurdly deep
          stop: .cache/trees:2: nested too deeply: more than 127 lists and objects in each other, at byte 6460 of the row | hint: `on_error: skip` leaves out rows that cannot be read, and counts them
          skip: 2 kept, 1 bad row: nested too deeply
                row 2: bad row: nested too deeply: nested too deeply: more than 127 lists and objects in each other, at byte 6460 of the row
        a blank line
          stop: no error
          skip: 2 kept
        a byte order mark
          stop: .cache/trees: the file begins with a byte order mark | hint: save it as UTF-8 without one
          skip: the same
        no JSON
          stop: .cache/trees:2: not JSON: found "2}" at byte 22 of the row, expected a value | hint: `on_error: skip` leaves out rows that cannot be read, and counts them
          skip: 1 kept, 1 bad row: not JSON
                row 2: bad row: not JSON: not JSON: found "2}" at byte 22 of the row, expected a value
        no tree in the language
          stop: none of the 1 trees is ready for export, reviewed and in one of the languages ["en"]
          skip: the same
    "#]].assert_eq(&table.text);
}

#[test]
fn messages_in_rows() {
    let mut table = Table::new(ENTRY, ".cache/trees");
    let row = |id: &str, parent: Option<&str>, role: &str| json!({"message_id": id, "parent_id": parent, "text": format!("This is {id}"), "role": role, "lang": "en", "review_result": true, "tree_state": "ready_for_export"});
    let good =
        |id: &str| [row(id, None, "prompter"), row(&format!("{id}-a"), Some(id), "assistant")];
    for (what, rows) in [
        ("an orphan", vec![row("o", Some("nobody"), "assistant")]),
        (
            "a reply before its parent",
            vec![row("b", Some("c"), "assistant"), row("c", Some("t1"), "assistant")],
        ),
        ("its own parent", vec![row("b", Some("b"), "assistant")]),
        ("a cycle of two", vec![row("b", Some("c"), "prompter"), row("c", Some("b"), "assistant")]),
        ("an id twice", vec![row("t1-a", Some("t1"), "assistant")]),
        ("an unknown role", vec![row("b", Some("t1-a"), "tool")]),
        (
            "a message without text",
            vec![json!({"message_id": "b", "parent_id": "t1", "role": "assistant"})],
        ),
        (
            "a message without id",
            vec![json!({"parent_id": "t1", "text": "x", "role": "assistant"})],
        ),
        (
            "a prompt of an unknown role",
            vec![row("t2", None, "system"), row("b", Some("t2"), "assistant")],
        ),
        ("the same role twice", vec![row("b", Some("t1-a"), "assistant")]),
    ] {
        let rows = [&good("t1")[..], &rows, &good("t3")[..]].concat();
        table.row(what, rows.iter().map(|row| format!("{row}\n")).collect::<String>());
    }
    table.row(
        "an orphan as the first row",
        format!("{}\n{}\n{}\n", row("o", Some("x"), "assistant"), good("t1")[0], good("t1")[1]),
    );
    expect![[r#"
        an orphan
          stop: .cache/trees:3: the message `o` follows neither its parent `nobody` nor another reply to it | hint: messages must be in depth-first order, each after its parent
          skip: 2 kept, 1 bad row: not as expected
                row 3: bad row: not as expected: the message `o` follows neither its parent `nobody` nor another reply to it | hint: messages must be in depth-first order, each after its parent
        a reply before its parent
          stop: .cache/trees:3: the message `b` follows neither its parent `c` nor another reply to it | hint: messages must be in depth-first order, each after its parent
          skip: 3 kept, 1 bad row: not as expected
                row 3: bad row: not as expected: the message `b` follows neither its parent `c` nor another reply to it | hint: messages must be in depth-first order, each after its parent
        its own parent
          stop: .cache/trees:3: the message `b` is its own parent, expected one that stands before it
          skip: 2 kept, 1 bad row: not as expected
                row 3: bad row: not as expected: the message `b` is its own parent, expected one that stands before it
        a cycle of two
          stop: .cache/trees:3: the message `b` follows neither its parent `c` nor another reply to it | hint: messages must be in depth-first order, each after its parent
          skip: 2 kept, 2 bad row: not as expected
                row 3: bad row: not as expected: the message `b` follows neither its parent `c` nor another reply to it | hint: messages must be in depth-first order, each after its parent
                row 4: bad row: not as expected: the message `c` follows neither its parent `b` nor another reply to it | hint: messages must be in depth-first order, each after its parent
        an id twice
          stop: .cache/trees:3: tree `t1`: two messages are called `t1-a`, expected a name of its own for each
          skip: 2 kept, 1 bad row: not as expected
                row 3: bad row: not as expected: tree `t1`: two messages are called `t1-a`, expected a name of its own for each
        an unknown role
          stop: .cache/trees:1: tree `t1`, message `b`: the role is `tool`, expected `prompter` or `assistant`
          skip: 1 kept, 1 bad row: not as expected
                row 1: bad row: not as expected: tree `t1`, message `b`: the role is `tool`, expected `prompter` or `assistant`
        a message without text
          stop: .cache/trees:3: missing field `text` of message `b` | hint: the fields there are: `message_id`, `parent_id`, `role`
          skip: 2 kept, 1 bad row: missing field
                row 3: bad row: missing field: missing field `text` of message `b` | hint: the fields there are: `message_id`, `parent_id`, `role`
        a message without id
          stop: .cache/trees:3: missing field `message_tree_id` (a tree) or `message_id` (a message) | hint: the fields there are: `parent_id`, `text`, `role`
          skip: 2 kept, 1 bad row: missing field
                row 3: bad row: missing field: missing field `message_tree_id` (a tree) or `message_id` (a message) | hint: the fields there are: `parent_id`, `text`, `role`
        a prompt of an unknown role
          stop: .cache/trees:3: tree `t2`, message `t2`: the role is `system`, expected `prompter` or `assistant`
          skip: 2 kept, 1 bad row: not as expected
                row 3: bad row: not as expected: tree `t2`, message `t2`: the role is `system`, expected `prompter` or `assistant`
        the same role twice
          stop: .cache/trees:1: tree `t1`, message `b`: expected prompter and assistant in turn, found the assistant twice
          skip: 1 kept, 1 bad row: not as expected
                row 1: bad row: not as expected: tree `t1`, message `b`: expected prompter and assistant in turn, found the assistant twice
        an orphan as the first row
          stop: .cache/trees:1: the message `o` follows neither its parent `x` nor another reply to it | hint: messages must be in depth-first order, each after its parent
          skip: 1 kept, 1 bad row: not as expected
                row 1: bad row: not as expected: the message `o` follows neither its parent `x` nor another reply to it | hint: messages must be in depth-first order, each after its parent
    "#]].assert_eq(&table.text);
}
