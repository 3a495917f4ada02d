//! JSON as Python's `json.dumps` writes it: ASCII only, `", "` and `": "` between.

use std::fmt::Write;

/// A text as a JSON string.
///
/// Everything outside `0x20..=0x7e` is escaped: the characters that JSON has short names for by these, all others as
/// UTF-16 in lower-case hexadecimal.
pub fn string(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{c}' => out.push_str("\\f"),
            '\u{8}' => out.push_str("\\b"),
            ' '..='~' => out.push(c),
            _ => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(out, "\\u{unit:04x}").expect("writing to a text does not fail");
                }
            }
        }
    }
    out.push('"');
}

/// Names with numbers, as one object.
#[must_use]
pub fn object(pairs: &[(String, u32)]) -> String {
    let mut out = String::from("{");
    for (i, (name, value)) in pairs.iter().enumerate() {
        out.push_str(if i == 0 { "" } else { ", " });
        string(name, &mut out);
        write!(out, ": {value}").expect("writing to a text does not fail");
    }
    out + "}"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_but_printable_ascii_is_escaped() {
        let mut out = String::new();
        string("a/\"\\\n\r\t\u{c}\u{8}\u{0}\u{1f}\u{7f}é\u{2028}🙂", &mut out);
        // python -c 'import json; print(json.dumps("a/\"\\\n\r\t\f\b\0\x1f\x7fé\u2028🙂"))'
        let expected = r#""a/\"\\\n\r\t\f\b\u0000\u001f\u007f\u00e9\u2028\ud83d\ude42""#;
        assert_eq!(out, expected);
    }

    #[test]
    fn an_object_keeps_its_order() {
        let pairs = [("<CLS>".to_string(), 32000), ("</s>".to_string(), 2)];
        assert_eq!(object(&pairs), r#"{"<CLS>": 32000, "</s>": 2}"#);
        assert_eq!(object(&[]), "{}");
    }
}
