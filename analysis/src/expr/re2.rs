//! Regular expressions as RE2 reads them.
//!
//! Rust's engine is a relative of RE2, with the same guarantee of linear time. What differs is
//! rewritten: `\d \w \s \b` mean ASCII, `\Q…\E` quotes, and inside brackets `[`, `&&`, `--`, `~~`
//! are plain characters.

use regex::{Regex, RegexBuilder};

/// Bytes that a compiled expression may take.
const SIZE_LIMIT: usize = 1 << 20;

/// Compiles `pattern`.
///
/// # Errors
/// A text that names the pattern and what is wrong with it.
pub fn compile(pattern: &str) -> Result<Regex, String> {
    RegexBuilder::new(&translate(pattern))
        .size_limit(SIZE_LIMIT)
        .build()
        .map_err(|e| {
            let reason = e.to_string();
            let last = reason.lines().last().unwrap_or_default();
            format!(
                "error parsing regexp: {}: `{pattern}`",
                last.trim_start_matches("error: ")
            )
        })
}

fn translate(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len());
    let mut chars = pattern.chars().peekable();
    // Characters since the bracket opened; `]` as the first one is plain.
    let mut bracket: Option<usize> = None;
    while let Some(c) = chars.next() {
        let inside = bracket.is_some();
        if let Some(n) = &mut bracket {
            *n += 1;
        }
        match c {
            '\\' => match chars.next() {
                Some('d') => out.push_str(if inside { "0-9" } else { "[0-9]" }),
                Some('w') => out.push_str(if inside { "0-9A-Za-z_" } else { "[0-9A-Za-z_]" }),
                Some('s') => out.push_str(if inside { r"\t\n\f\r " } else { r"[\t\n\f\r ]" }),
                Some('D') => out.push_str("[^0-9]"),
                Some('W') => out.push_str("[^0-9A-Za-z_]"),
                Some('S') => out.push_str(r"[^\t\n\f\r ]"),
                Some('b') if !inside => out.push_str(r"(?-u:\b)"),
                Some('Q') => {
                    let mut quoted = String::new();
                    while let Some(c) = chars.next() {
                        if c == '\\' && chars.peek() == Some(&'E') {
                            chars.next();
                            break;
                        }
                        quoted.push(c);
                    }
                    out.push_str(&regex::escape(&quoted));
                }
                Some(other) => out.extend(['\\', other]),
                None => out.push('\\'),
            },
            '[' if !inside => {
                out.push('[');
                bracket = Some(0);
                if chars.peek() == Some(&'^') {
                    chars.next();
                    out.push('^');
                }
                if chars.peek() == Some(&']') {
                    chars.next();
                    out.push_str(r"\]");
                }
            }
            // `[:alpha:]` keeps its meaning, up to its own bracket.
            '[' if chars.peek() == Some(&':') => {
                out.push('[');
                while let Some(c) = chars.next() {
                    out.push(c);
                    if c == ':' && chars.peek() == Some(&']') {
                        break;
                    }
                }
                if chars.next().is_some() {
                    out.push(']');
                }
            }
            ']' if inside => {
                out.push(']');
                bracket = None;
            }
            '[' => out.push_str(r"\["),
            '&' | '~' if inside => out.extend(['\\', c]),
            // A range's dash stays, a doubled one is a plain character.
            '-' if inside && chars.peek() == Some(&'-') => out.push_str(r"\-"),
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ANA-84, ANA-9: `matches` and metric rules are RE2.
    #[test]
    fn as_re2() {
        for (pattern, text, want) in [
            ("^I", "I am OK", true),
            (r"\d+", "42", true),
            (r"^\d$", "٣", false),
            (r"^\w$", "é", false),
            (r"^[\w.]+$", "a.b", true),
            (r"\bok\b", "it is ok", true),
            (r"^\Qa.b\E$", "a.b", true),
            (r"^\Qa.b\E$", "axb", false),
            ("^[[]$", "[", true),
            ("^[]a]$", "]", true),
            ("^[a&&b]$", "&", true),
            ("^[[:digit:]x]+$", "1x", true),
            ("(?i)ok", "OK", true),
            ("^[^a-c]$", "d", true),
        ] {
            assert_eq!(
                compile(pattern).unwrap().is_match(text),
                want,
                "{pattern} on {text}"
            );
        }
        for bad in ["*", "(", "[a", "a{1001}{1001}{1001}", "(?=a)", r"\1"] {
            let error = compile(bad).unwrap_err();
            assert!(error.starts_with("error parsing regexp"), "{bad}: {error}");
        }
    }
}
