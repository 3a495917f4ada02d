//! What Python means by white space, length and the text of a number.
//!
//! The reference is a Python program; where its bytes depend on one of these notions, the notion is written here, once.

/// Whether `str.strip()` and the `\s` of Python's `re` take the character for white space.
///
/// Unicode's white space and the four separators U+001C to U+001F, which Unicode does not count.
#[must_use]
pub fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// `\s` of Python's `re`, as a class for the inside of brackets.
pub(crate) const SPACE: &str = r"\s\x1c-\x1f";

/// `\d` of Python's `re`: the decimal digits of Unicode 14, which Python 3.11 has.
pub(crate) const DIGIT: &str = r"[\p{Nd}&&\p{Age:14.0}]";

/// `str.strip()`.
#[must_use]
pub fn strip(text: &str) -> &str {
    text.trim_matches(is_space)
}

/// `len(str)`: code points.
#[must_use]
pub fn len(text: &str) -> usize {
    text.chars().count()
}

/// `text[:n]`: the first `n` code points.
#[must_use]
pub fn prefix(text: &str, n: usize) -> &str {
    // A text of n bytes has at most n code points, which spares the walk nearly always.
    if text.len() <= n {
        return text;
    }
    text.char_indices().nth(n).map_or(text, |(at, _)| &text[..at])
}

/// `repr(float)`: the shortest digits that read back as the same number.
#[must_use]
pub fn float_repr(value: f64) -> String {
    if !value.is_finite() {
        return if value.is_nan() {
            "nan".into()
        } else if value > 0.0 {
            "inf".into()
        } else {
            "-inf".into()
        };
    }
    // Python changes to an exponent outside 1e-4 <= |x| < 1e16 and writes it with a sign and at least two digits.
    let size = value.abs();
    if size != 0.0 && !(1e-4..1e16).contains(&size) {
        let text = shortest(value);
        let (digits, exponent) = text.split_once('e').expect("`{:e}` writes an `e`");
        let (sign, exponent) = match exponent.strip_prefix('-') {
            Some(exponent) => ('-', exponent),
            None => ('+', exponent),
        };
        return format!("{digits}e{sign}{exponent:0>2}");
    }
    let text = value.to_string();
    if !text.contains('.') {
        return text + ".0";
    }
    let n_decimals = text.len() - text.find('.').unwrap_or(text.len()) - 1;
    even(format!("{value:.n_decimals$}"), text, value)
}

/// The shortest digits, with an exponent.
fn shortest(value: f64) -> String {
    let text = format!("{value:e}");
    let digits = text.bytes().take_while(|byte| *byte != b'e').filter(u8::is_ascii_digit).count();
    even(format!("{value:.*e}", digits - 1), text, value)
}

/// Where a number lies halfway between two texts of as few digits, Python takes the even one, and Rust the larger one
/// unless it is told how many digits there are to be.
fn even(told: String, text: String, value: f64) -> String {
    if told.parse() == Ok(value) { told } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strip_takes_what_python_takes() {
        // python -c "print(repr('\x1c\u3000 a\x00b \x1f\u2028\n'.strip()))"
        assert_eq!(strip("\u{1c}\u{3000} a\0b \u{1f}\u{2028}\n"), "a\0b");
    }

    #[test]
    fn length_and_prefix_count_code_points() {
        assert_eq!(len("é🙂x"), 3);
        assert_eq!(prefix("é🙂x", 2), "é🙂");
        assert_eq!(prefix("é🙂x", 9), "é🙂x");
    }

    #[test]
    fn numbers_read_as_python_writes_them() {
        // python -c "print([repr(x) for x in (47.0, 464.58945896337735, 1e16, 1.5e-7, 0.0001, 123456789012345.0)])"
        let values = [47.0, 464.589_458_963_377_35, 1e16, 1.5e-7, 0.0001, 123_456_789_012_345.0];
        let expected =
            ["47.0", "464.58945896337735", "1e+16", "1.5e-07", "0.0001", "123456789012345.0"];
        assert_eq!(values.map(float_repr), expected);
        // Halfway between two: python -c "print(2087382112716840.25, -2087382112716840.75, 5e-324)"
        let values = ["2087382112716840.25", "-2087382112716840.75", "5e-324"];
        let values = values.map(|text| float_repr(text.parse().unwrap()));
        assert_eq!(values, ["2087382112716840.2", "-2087382112716840.8", "5e-324"]);
    }
}
