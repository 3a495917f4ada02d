//! Numbers whose text is lost when they are read.
//!
//! Python tells `-0` from `-0.0`, keeps every digit of a whole number, takes `1e400` for infinity, and has the words `NaN` and
//! `Infinity`, as arrow has. The JSON parser hands the first two over as floats, and refuses the others. Whoever makes a text of
//! a number [notes](note) those that may have been another text, and the row is then read again with such numbers
//! [told apart](told_apart); so is a row that was refused. They are rare, and all other rows are read once.

use std::cell::Cell;

use serde::de::IgnoredAny;

/// The first whole number that is a float to the parser.
const WHOLE: f64 = 9_223_372_036_854_775_808.0;

thread_local! {
    static IS_IN_DOUBT: Cell<bool> = const { Cell::new(false) };
}

/// Notes a float that a text is made of.
pub(crate) fn note(value: f64) {
    let is_negative_zero = value == 0.0 && value.is_sign_negative();
    if value.abs() >= WHOLE || is_negative_zero || value == FINITE {
        IS_IN_DOUBT.set(true);
    }
}

/// Whether there was such a float since this was last asked on this thread.
pub(crate) fn is_in_doubt() -> bool {
    IS_IN_DOUBT.replace(false)
}

/// The row with other text for these numbers: `0` for `-0`, and JSON texts of the others, as Python's `str` writes them.
/// `None` if it has none of them.
pub(crate) fn told_apart(row: &[u8]) -> Option<Vec<u8>> {
    rewritten(row, |number| match number {
        "-0" => Some("0".into()),
        number if is_whole(number) => {
            let is_read_whole = number.parse::<u64>().is_ok() || number.parse::<i64>().is_ok();
            (!is_read_whole).then(|| format!("\"{number}\""))
        }
        number => not_finite(number).map(|text| format!("\"{text}\"")),
    })
}

/// What stands for a number that is not finite, in digits that no row is likely to have.
pub(crate) const FINITE: f64 = 0.739_085_133_215_160_7;

/// The row with [`FINITE`] for each number that the parser refuses as not finite, to see whether a number may stand there.
/// `None` if it has none of them.
pub(crate) fn with_finite_ones(row: &[u8]) -> Option<Vec<u8>> {
    rewritten(row, |number| not_finite(number).map(|_| FINITE.to_string()))
}

/// The row with other text for some of its numbers.
fn rewritten(row: &[u8], other: impl Fn(&str) -> Option<String>) -> Option<Vec<u8>> {
    let (mut told, mut copied, mut at) = (Vec::new(), 0, 0);
    while at < row.len() {
        match row[at] {
            b'"' => at = end_of_text(row, at),
            b'-' | b'0'..=b'9' | b'N' | b'I' => {
                let end = row[at..]
                    .iter()
                    .position(|it| !it.is_ascii_alphanumeric() && !b"-+.".contains(it));
                let end = end.map_or(row.len(), |length| at + length);
                let number =
                    std::str::from_utf8(&row[at..end]).expect("digits and signs are ASCII");
                if let Some(other) = other(number) {
                    told.extend(&row[copied..at]);
                    told.extend(other.as_bytes());
                    copied = end;
                }
                at = end;
            }
            _ => at += 1,
        }
    }
    if copied == 0 {
        return None;
    }
    told.extend(&row[copied..]);
    Some(told)
}

/// The position behind a text that begins here.
fn end_of_text(row: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(found) = row.get(at..).and_then(|rest| memchr::memchr2(b'"', b'\\', rest)) {
        at += found + 1;
        if row[at - 1] == b'"' {
            return at;
        }
        at += 1;
    }
    row.len()
}

fn is_whole(number: &str) -> bool {
    number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-') && is_of_json(number)
}

/// Whether JSON writes numbers so, large ones included.
fn is_of_json(number: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(number).is_ok()
}

/// The text of a number that is not finite to the parser, as Python's `str` writes it.
fn not_finite(number: &str) -> Option<&'static str> {
    match number {
        "NaN" | "-NaN" => return Some("nan"),
        "Infinity" | "Inf" => return Some("inf"),
        "-Infinity" | "-Inf" => return Some("-inf"),
        _ => {}
    }
    let value: f64 = number.parse().ok()?;
    let sign = if value > 0.0 { "inf" } else { "-inf" };
    (value.is_infinite() && is_of_json(number)).then_some(sign)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbers_that_are_lost_change() {
        #[track_caller]
        fn check(row: &str, expected: Option<&str>) {
            let told = told_apart(row.as_bytes());
            assert_eq!(told.map(|it| String::from_utf8(it).unwrap()).as_deref(), expected);
        }
        check(r#"{"a": -0, "b": [-0.0, 0, -1]}"#, Some(r#"{"a": 0, "b": [-0.0, 0, -1]}"#));
        check(r#"{"a": 18446744073709551615, "b": -9223372036854775808}"#, None);
        check(
            "[18446744073709551616,-9223372036854775809]",
            Some("[\"18446744073709551616\",\"-9223372036854775809\"]"),
        );
        check("[1e400, -1E400, 1e20]", Some("[\"inf\", \"-inf\", 1e20]"));
        let whole = "7".repeat(400);
        check(&format!("[-{whole}]"), Some(&format!("[\"-{whole}\"]")));
        check("[NaN,Infinity, -Infinity]", Some("[\"nan\",\"inf\", \"-inf\"]"));
        check(r#"{"NaN": "NaN", "a": [nan, inf, NaN1, Nan, infinity, 1e, -, 1-2, 01e400]}"#, None);
        check(r#"{"-0": "1e400 \" -0 \\", "b": "-0"}"#, None);
        check(r#"{"a": "\\", "b": -0}"#, Some(r#"{"a": "\\", "b": 0}"#));
        check(r#"{"a": "-0"#, None);
    }
}
