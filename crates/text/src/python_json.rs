//! A JSON value as Python's `json.dumps` writes it.

use std::fmt::Write;

use serde_json::Value;

/// The arguments of `json.dumps`.
#[derive(Debug, Clone)]
pub(crate) struct Style {
    indent: Option<usize>,
    ascii: bool,
    pub(crate) item_separator: String,
    pub(crate) key_separator: String,
}

impl Style {
    /// With the separators that Python takes where none are named.
    pub(crate) fn of_dumps(indent: Option<usize>, ascii: bool) -> Self {
        let item_separator = if indent.is_some() { "," } else { ", " };
        let [item_separator, key_separator] = [item_separator, ": "].map(String::from);
        Self { indent, ascii, item_separator, key_separator }
    }
}

/// The text of a value.
pub(crate) fn text(value: &Value, style: &Style) -> String {
    let mut text = String::new();
    write_value(value, style, 0, &mut text);
    text
}

fn write_value(value: &Value, style: &Style, depth: usize, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Number(number) => write!(out, "{number}").expect("a text can be written to"),
        Value::String(text) => write_string(text, style, out),
        Value::Array(items) => {
            write_items('[', ']', items.iter(), style, depth, out, |item, out| {
                write_value(item, style, depth + 1, out);
            });
        }
        Value::Object(fields) => {
            write_items('{', '}', fields.iter(), style, depth, out, |(key, value), out| {
                write_string(key, style, out);
                out.push_str(&style.key_separator);
                write_value(value, style, depth + 1, out);
            });
        }
    }
}

fn write_items<I>(
    open: char,
    close: char,
    items: impl ExactSizeIterator<Item = I>,
    style: &Style,
    depth: usize,
    out: &mut String,
    mut write_item: impl FnMut(I, &mut String),
) {
    let is_empty = items.len() == 0;
    let line = |depth: usize, out: &mut String| {
        if let Some(indent) = style.indent.filter(|_| !is_empty) {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', indent * depth));
        }
    };
    out.push(open);
    for (i, item) in items.enumerate() {
        if i > 0 {
            out.push_str(&style.item_separator);
        }
        line(depth + 1, out);
        write_item(item, out);
    }
    line(depth, out);
    out.push(close);
}

fn write_string(text: &str, style: &Style, out: &mut String) {
    let json = Value::from(text).to_string();
    for c in json.chars() {
        if style.ascii && c > '~' {
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(out, "\\u{unit:04x}").expect("a text can be written to");
            }
        } else {
            out.push(c);
        }
    }
}
