//! How numbers become text (ANA-48). Measurements are read by scripts, so each format is exact.

use std::fmt::Write as _;

use serde_json::Value as Json;

/// Format F: shortest decimal without exponent; `NaN`, `+Inf`, `-Inf`.
#[must_use]
pub fn f(x: f64) -> String {
    if x.is_nan() {
        "NaN".to_owned()
    } else if x.is_infinite() {
        if x > 0.0 { "+Inf" } else { "-Inf" }.to_owned()
    } else {
        // Rust prints the shortest digits and never an exponent.
        format!("{x}")
    }
}

/// Format F of a list: `[a,b]`.
#[must_use]
pub fn f_list(numbers: impl IntoIterator<Item = f64>) -> String {
    let texts: Vec<String> = numbers.into_iter().map(f).collect();
    format!("[{}]", texts.join(","))
}

/// Format V, as Go's `%v`: shortest digits, an exponent of two digits or more when it is below -4
/// or above 5.
#[must_use]
pub fn v(x: f64) -> String {
    let scientific = format!("{x:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else {
        return f(x);
    };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if !x.is_finite() || x == 0.0 || (-4..6).contains(&exponent) {
        return f(x);
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

/// Format J: compact JSON as Go writes it. Keys are sorted, `<`, `>`, `&` and the two line
/// separators are escaped, floats are plain for 1e-6 <= |x| < 1e21.
#[must_use]
pub fn j(value: &Json) -> String {
    let mut out = String::new();
    json(value, None, &mut out);
    out
}

/// Format J, indented by two blanks: what `toJSON` of the condition language yields.
#[must_use]
pub fn j_indented(value: &Json) -> String {
    let mut out = String::new();
    json(value, Some(0), &mut out);
    out
}

fn json(value: &Json, indent: Option<usize>, out: &mut String) {
    let inner = indent.map(|n| n + 1);
    match value {
        Json::Null => out.push_str("null"),
        Json::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
        Json::Number(n) => out.push_str(&json_number(n)),
        Json::String(s) => json_string(s, out),
        Json::Array(items) => {
            out.push('[');
            for (i, item) in items.iter().enumerate() {
                separate(i, inner, out);
                json(item, inner, out);
            }
            close(items.is_empty(), indent, ']', out);
        }
        Json::Object(entries) => {
            let mut sorted: Vec<_> = entries.iter().collect();
            sorted.sort_by_key(|(key, _)| *key);
            out.push('{');
            for (i, (key, item)) in sorted.into_iter().enumerate() {
                separate(i, inner, out);
                json_string(key, out);
                out.push_str(if indent.is_some() { ": " } else { ":" });
                json(item, inner, out);
            }
            close(entries.is_empty(), indent, '}', out);
        }
    }
}

fn separate(index: usize, indent: Option<usize>, out: &mut String) {
    if index > 0 {
        out.push(',');
    }
    new_line(indent, out);
}

fn close(empty: bool, indent: Option<usize>, bracket: char, out: &mut String) {
    if !empty {
        new_line(indent, out);
    }
    out.push(bracket);
}

fn new_line(indent: Option<usize>, out: &mut String) {
    if let Some(n) = indent {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", n));
    }
}

fn json_number(n: &serde_json::Number) -> String {
    // Upstream reads every number as a float.
    let x = n.as_f64().unwrap_or(f64::NAN);
    let size = x.abs();
    if size == 0.0 || (1e-6..1e21).contains(&size) {
        return f(x);
    }
    let scientific = format!("{x:e}");
    match scientific.split_once('e') {
        Some((digits, exponent)) if exponent.starts_with('-') => format!("{digits}e{exponent}"),
        Some((digits, exponent)) => format!("{digits}e+{exponent}"),
        None => scientific,
    }
}

/// A JSON string with Go's escapes.
pub(crate) fn json_string(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\x1f' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            _ => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ANA-48
    #[test]
    fn format_f() {
        for (x, want) in [
            (0.99, "0.99"),
            (3.0, "3"),
            (1e21, "1000000000000000000000"),
            (1e-7, "0.0000001"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (-0.5, "-0.5"),
        ] {
            assert_eq!(f(x), want);
        }
        assert_eq!(f_list([0.5, f64::NAN]), "[0.5,NaN]");
        assert_eq!(f_list([]), "[]");
    }

    /// ANA-48
    #[test]
    fn format_v() {
        for (x, want) in [
            (100_000.0, "100000"),
            (1e6, "1e+06"),
            (123_456_789.0, "1.23456789e+08"),
            (1e-5, "1e-05"),
            (0.0001, "0.0001"),
            (0.0, "0"),
            (1e100, "1e+100"),
            (2.5, "2.5"),
            (-1e7, "-1e+07"),
            (f64::INFINITY, "+Inf"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(v(x), want, "{x}");
        }
    }

    /// ANA-48
    #[test]
    fn format_j() {
        let value = serde_json::json!({
            "b": [1.0, 0.5, 1e21, 1e-7, 100_000_000.0, 7],
            "a": "<a&b>\u{2028}\"\\\n\u{1}é",
            "c": {"z": null, "y": true}, "d": [], "e": {},
        });
        assert_eq!(
            j(&value),
            "{\"a\":\"\\u003ca\\u0026b\\u003e\\u2028\\\"\\\\\\n\\u0001é\",\
             \"b\":[1,0.5,1e+21,1e-7,100000000,7],\"c\":{\"y\":true,\"z\":null},\"d\":[],\"e\":{}}"
        );
        assert_eq!(
            j_indented(&serde_json::json!({"a": [1], "b": {}})),
            "{\n  \"a\": [\n    1\n  ],\n  \"b\": {}\n}"
        );
    }
}
