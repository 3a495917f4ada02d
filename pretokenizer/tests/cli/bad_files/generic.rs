//! Rows of the sources whose columns the datamix names.

use expect_test::expect;

use crate::bad_files::Table;

/// The row between two good ones.
fn between(good: &str, row: &str) -> String {
    format!("{good}\n{row}\n{good}\n")
}

#[test]
fn messages() {
    let good = r#"{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}"#;
    let mut table = Table::new("messages: {name: chats, path: chats, val_split: 0}", "chats");
    for (what, row) in [
        ("no column", r#"{"message": []}"#),
        ("null for the list", r#"{"messages": null}"#),
        ("a text for the list", r#"{"messages": "Hi"}"#),
        ("a text for a message", r#"{"messages": ["Hi"]}"#),
        ("no role", r#"{"messages": [{"from": "user", "content": "Hi"}]}"#),
        ("a number for the role", r#"{"messages": [{"role": 1, "content": "Hi"}]}"#),
        ("an unknown role", r#"{"messages": [{"role": "tool", "content": "Hi"}]}"#),
        ("no content", r#"{"messages": [{"role": "user", "text": "Hi"}]}"#),
        ("null for the content", r#"{"messages": [{"role": "user", "content": null}]}"#),
        (
            "a part that is no text",
            r#"{"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}"#,
        ),
        ("no messages", r#"{"messages": []}"#),
    ] {
        table.row(what, between(good, row));
    }
    expect![[r#"
        no column
          stop: chats:2: there is no column `messages` | hint: the columns there are: `message`
          skip: 2 kept, 1 bad row: missing field
                row 2: bad row: missing field: there is no column `messages` | hint: the columns there are: `message`
        null for the list
          stop: chats:2: field `messages`: found null, expected a list of messages | hint: `on_error: skip` leaves out rows that cannot be read, and counts them
          skip: 2 kept, 1 bad row: wrong type
                row 2: bad row: wrong type: field `messages`: found null, expected a list of messages
        a text for the list
          stop: chats:2: field `messages`: found a text, expected a list of messages | hint: `on_error: skip` leaves out rows that cannot be read, and counts them
          skip: 2 kept, 1 bad row: wrong type
                row 2: bad row: wrong type: field `messages`: found a text, expected a list of messages
        a text for a message
          stop: chats:2: field `messages[0]`: found a text, expected an object | hint: `on_error: skip` leaves out rows that cannot be read, and counts them
          skip: 2 kept, 1 bad row: wrong type
                row 2: bad row: wrong type: field `messages[0]`: found a text, expected an object
        no role
          stop: chats:2: `messages[0]` has no field `role` | hint: the fields there are: `from`, `content`
          skip: 2 kept, 1 bad row: missing field
                row 2: bad row: missing field: `messages[0]` has no field `role` | hint: the fields there are: `from`, `content`
        a number for the role
          stop: chats:2: field `messages[0].role`: found a number, expected a text | hint: `on_error: skip` leaves out rows that cannot be read, and counts them
          skip: 2 kept, 1 bad row: wrong type
                row 2: bad row: wrong type: field `messages[0].role`: found a number, expected a text
        an unknown role
          stop: chats:2: field `messages[0].role`: the role `tool` is none of `assistant`, `developer`, `system`, `user` | hint: say what it is, such as `roles: {tool: context}`; `drop` leaves such rows out
          skip: 2 kept, 1 bad row: not as expected
                row 2: bad row: not as expected: field `messages[0].role`: the role `tool` is none of `assistant`, `developer`, `system`, `user` | hint: say what it is, such as `roles: {tool: context}`; `drop` leaves such rows out
        no content
          stop: chats:2: `messages[0]` has no field `content` | hint: the fields there are: `role`, `text`
          skip: 2 kept, 1 bad row: missing field
                row 2: bad row: missing field: `messages[0]` has no field `content` | hint: the fields there are: `role`, `text`
        null for the content
          stop: chats:2: field `messages[0].content`: found null, expected a text | hint: `on_error: skip` leaves out rows that cannot be read, and counts them
          skip: 2 kept, 1 bad row: wrong type
                row 2: bad row: wrong type: field `messages[0].content`: found null, expected a text
        a part that is no text
          stop: chats:2: field `messages[0].content[0]`: found an object, expected a text or a part of type text | hint: `on_error: skip` leaves out rows that cannot be read, and counts them
          skip: 2 kept, 1 bad row: wrong type
                row 2: bad row: wrong type: field `messages[0].content[0]`: found an object, expected a text or a part of type text
        no messages
          stop: no error
          skip: 2 kept, 1 no messages
                row 2: no messages: 
    "#]].assert_eq(&table.text);
}

#[test]
fn sharegpt() {
    let good = r#"{"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]}"#;
    let mut table = Table::new("sharegpt: {name: chats, path: chats, val_split: 0}", "chats");
    for (what, row) in [
        ("no column", r#"{"items": []}"#),
        ("an unknown role", r#"{"conversations": [{"from": "bing", "value": "Hi"}]}"#),
        ("no value", r#"{"conversations": [{"from": "human", "text": "Hi"}]}"#),
        ("a number for the value", r#"{"conversations": [{"from": "human", "value": 7}]}"#),
    ] {
        table.row(what, between(good, row));
    }
    expect![[r#"
        no column
          stop: chats:2: there is no column `conversations` | hint: the columns there are: `items`
          skip: 2 kept, 1 bad row: missing field
                row 2: bad row: missing field: there is no column `conversations` | hint: the columns there are: `items`
        an unknown role
          stop: no error
          skip: 3 kept
        no value
          stop: chats:2: `conversations[0]` has no field `value` | hint: the fields there are: `from`, `text`
          skip: 2 kept, 1 bad row: missing field
                row 2: bad row: missing field: `conversations[0]` has no field `value` | hint: the fields there are: `from`, `text`
        a number for the value
          stop: chats:2: field `conversations[0].value`: found a number, expected a text | hint: `on_error: skip` leaves out rows that cannot be read, and counts them
          skip: 2 kept, 1 bad row: wrong type
                row 2: bad row: wrong type: field `conversations[0].value`: found a number, expected a text
    "#]].assert_eq(&table.text);
}

#[test]
fn instructions() {
    let good =
        r#"{"instruction": "Hi", "output": "Hello", "lang": "en", "about": null, "who": ""}"#;
    let entry = "instructions: {name: chats, path: chats, val_split: 0, input: about, system: who, lang_column: lang, lang: en}";
    let mut table = Table::new(entry, "chats");
    for (what, row) in [
        ("no question", r#"{"output": "Hello", "lang": "en"}"#),
        ("no answer", r#"{"instruction": "Hi", "lang": "en"}"#),
        ("an object for the answer", r#"{"instruction": "Hi", "output": {}, "lang": "en"}"#),
        (
            "a number for the input",
            r#"{"instruction": "Hi", "output": "Hello", "lang": "en", "about": 7}"#,
        ),
        (
            "a number for the system message",
            r#"{"instruction": "Hi", "output": "Hello", "lang": "en", "who": 7}"#,
        ),
        ("a number for the language", r#"{"instruction": "Hi", "output": "Hello", "lang": 7}"#),
        ("no language", r#"{"instruction": "Hi", "output": "Hello"}"#),
        ("an empty answer", r#"{"instruction": "Hi", "output": " ", "lang": "en"}"#),
    ] {
        table.row(what, between(good, row));
    }
    expect![[r#"
        no question
          stop: chats:2: there is no column `instruction` | hint: the columns there are: `output`, `lang`
          skip: 2 kept, 1 bad row: missing field
                row 2: bad row: missing field: there is no column `instruction` | hint: the columns there are: `output`, `lang`
        no answer
          stop: chats:2: there is no column `output` | hint: the columns there are: `instruction`, `lang`
          skip: 2 kept, 1 bad row: missing field
                row 2: bad row: missing field: there is no column `output` | hint: the columns there are: `instruction`, `lang`
        an object for the answer
          stop: chats:2: field `output`: found an object, expected a text | hint: `on_error: skip` leaves out rows that cannot be read, and counts them
          skip: 2 kept, 1 bad row: wrong type
                row 2: bad row: wrong type: field `output`: found an object, expected a text
        a number for the input
          stop: chats:2: field `about`: found a number, expected a text | hint: `on_error: skip` leaves out rows that cannot be read, and counts them
          skip: 2 kept, 1 bad row: wrong type
                row 2: bad row: wrong type: field `about`: found a number, expected a text
        a number for the system message
          stop: chats:2: field `who`: found a number, expected a text | hint: `on_error: skip` leaves out rows that cannot be read, and counts them
          skip: 2 kept, 1 bad row: wrong type
                row 2: bad row: wrong type: field `who`: found a number, expected a text
        a number for the language
          stop: chats:2: field `lang`: found a number, expected a text | hint: `on_error: skip` leaves out rows that cannot be read, and counts them
          skip: 2 kept, 1 bad row: wrong type
                row 2: bad row: wrong type: field `lang`: found a number, expected a text
        no language
          stop: no error
          skip: 2 kept, 1 another language
                row 2: another language: 
        an empty answer
          stop: no error
          skip: 2 kept, 1 empty
                row 2: empty: 
    "#]].assert_eq(&table.text);
}

#[test]
fn texts() {
    let mut table = Table::new("text: {name: pages, path: pages, val_split: 0}", "pages");
    for (what, row) in [
        ("no column", r#"{"content": "Hi"}"#),
        ("null", r#"{"text": null}"#),
        ("a number", r#"{"text": 1}"#),
        ("an empty text", r#"{"text": ""}"#),
    ] {
        table.row(what, between(r#"{"text": "Hi"}"#, row));
    }
    expect![[r#"
        no column
          stop: pages:2: there is no column `text` | hint: the columns there are: `content`
          skip: 2 kept, 1 bad row: missing field
                row 2: bad row: missing field: there is no column `text` | hint: the columns there are: `content`
        null
          stop: pages:2: field `text`: found null, expected a text | hint: `on_error: skip` leaves out rows that cannot be read, and counts them
          skip: 2 kept, 1 bad row: wrong type
                row 2: bad row: wrong type: field `text`: found null, expected a text
        a number
          stop: pages:2: field `text`: found a number, expected a text | hint: `on_error: skip` leaves out rows that cannot be read, and counts them
          skip: 2 kept, 1 bad row: wrong type
                row 2: bad row: wrong type: field `text`: found a number, expected a text
        an empty text
          stop: no error
          skip: 2 kept, 1 empty
                row 2: empty: 
    "#]].assert_eq(&table.text);
}
