//! Secrets stay out of what is written (ANA-14, ASE-3).

use std::fmt::Write as _;

/// What stands for a secret.
const MASK: &str = "*****";

/// The secret values of one run, in every form in which they may come back: as they are, in JSON,
/// in a URL, in basic authentication.
#[derive(Clone, Default)]
pub struct Redactor {
    /// Longest first, so that one secret inside another does not leave half of it.
    forms: Vec<String>,
}

impl std::fmt::Debug for Redactor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Redactor({} forms)", self.forms.len())
    }
}

impl Redactor {
    /// Hides these values; blank ones are ignored.
    pub fn new<'s>(secrets: impl IntoIterator<Item = &'s str>) -> Self {
        let mut forms = Vec::new();
        for secret in secrets.into_iter().filter(|s| !s.trim().is_empty()) {
            let mut quoted = String::new();
            crate::numbers::json_string(secret, &mut quoted);
            let in_json = quoted.trim_matches('"').to_owned();
            forms.extend([secret.to_owned(), in_json]);
            forms.extend([encoded(secret, "%20"), encoded(secret, "+")]);
            // A trailing newline is usual in Secrets and rarely survives.
            forms.push(secret.trim_end().to_owned());
        }
        forms.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        forms.dedup();
        Self { forms }
    }

    /// `text` without the secrets.
    #[must_use]
    pub fn text(&self, text: &str) -> String {
        self.forms.iter().fold(text.to_owned(), |text, form| {
            if text.contains(form.as_str()) {
                text.replace(form.as_str(), MASK)
            } else {
                text
            }
        })
    }
}

/// Percent-encoding of everything that is not unreserved.
fn encoded(text: &str, blank: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(byte));
            }
            b' ' => out.push_str(blank),
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ASE-3
    #[test]
    fn hides_every_form() {
        let redactor = Redactor::new(["p\"a/b c", "", "p\"a/b c-longer", "line\n"]);
        for (text, want) in [
            ("x p\"a/b c y", "x ***** y"),
            ("p\"a/b c-longer", "*****"),
            ("{\"k\":\"p\\\"a/b c\"}", "{\"k\":\"*****\"}"),
            ("/?q=p%22a%2Fb%20c&r=p%22a%2Fb+c", "/?q=*****&r=*****"),
            ("line", "*****"),
            ("nothing here", "nothing here"),
        ] {
            assert_eq!(redactor.text(text), want);
        }
        assert!(!format!("{redactor:?}").contains("longer"));
    }
}
