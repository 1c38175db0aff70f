//! `{{...}}` in analysis metrics and arguments (API-24, ANA-30, ANA-32).

use crate::analysis::Argument;
use crate::field_error::go_quote;

/// Why a placeholder cannot be replaced.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlaceholderError {
    /// Nothing of that name.
    #[error("failed to resolve {{{{{0}}}}}")]
    Unresolved(String),
    /// An argument without value.
    #[error("argument \"{0}\" was not supplied")]
    NotSupplied(String),
    /// `{{` without `}}` after it.
    #[error(
        "Cannot find end tag=\"}}}}\" in the template={} starting from {}",
        go_quote(.template), go_quote(.rest)
    )]
    Unclosed {
        /// The whole text.
        template: String,
        /// What comes after the opening braces.
        rest: String,
    },
}

/// Replaces each `{{tag}}` of `text` by what `resolve` gives for the tag without blanks around.
pub fn substitute(
    text: &str,
    mut resolve: impl FnMut(&str) -> Result<String, PlaceholderError>,
) -> Result<String, PlaceholderError> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        out.push_str(before);
        let (tag, after) = after
            .split_once("}}")
            .ok_or_else(|| PlaceholderError::Unclosed {
                template: text.to_owned(),
                rest: after.to_owned(),
            })?;
        let value = resolve(tag.trim()).map_err(|error| match error {
            // The tag is shown as it was written.
            PlaceholderError::Unresolved(_) => PlaceholderError::Unresolved(tag.to_owned()),
            other => other,
        })?;
        out.push_str(&value);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

/// As [`substitute`] for JSON text: values are escaped so that the text stays JSON.
pub fn substitute_json(
    text: &str,
    mut resolve: impl FnMut(&str) -> Result<String, PlaceholderError>,
) -> Result<String, PlaceholderError> {
    substitute(text, |tag| {
        let quoted = serde_json::Value::String(resolve(tag)?).to_string();
        Ok(quoted
            .get(1..quoted.len().saturating_sub(1))
            .unwrap_or_default()
            .to_owned())
    })
}

/// The value of `args.<name>` among `args`; Secrets must have been read into `value` before.
pub fn argument(args: &[Argument], tag: &str) -> Result<String, PlaceholderError> {
    let unresolved = || PlaceholderError::Unresolved(tag.to_owned());
    let name = tag.strip_prefix("args.").ok_or_else(unresolved)?;
    let argument = args
        .iter()
        .find(|arg| arg.name == name)
        .ok_or_else(unresolved)?;
    argument
        .value
        .clone()
        .ok_or_else(|| PlaceholderError::NotSupplied(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arg(name: &str, value: Option<&str>) -> Argument {
        Argument {
            name: name.into(),
            value: value.map(Into::into),
            ..Argument::default()
        }
    }

    /// ANA-30
    #[test]
    fn replaces() {
        let args = [
            arg("a", Some("x\"y")),
            arg("b.c", Some("2")),
            arg("none", None),
        ];
        for (text, want) in [
            (r#"{"q":"{{args.a}}"}"#, Ok(r#"{"q":"x\"y"}"#)),
            ("{{ args.b.c }}{{args.b.c}}", Ok("22")),
            ("no tags", Ok("no tags")),
            ("{{args.other}}", Err("failed to resolve {{args.other}}")),
            ("{{ up }}", Err("failed to resolve {{ up }}")),
            ("{{{args.a}}}", Err("failed to resolve {{{args.a}}")),
            ("{{args.none}}", Err("argument \"none\" was not supplied")),
            (
                "a {{args.a",
                Err(
                    "Cannot find end tag=\"}}\" in the template=\"a {{args.a\" starting from \"args.a\"",
                ),
            ),
        ] {
            let got = substitute_json(text, |tag| argument(&args, tag));
            let got = got.map_err(|e| e.to_string());
            assert_eq!(
                got,
                want.map(str::to_owned).map_err(str::to_owned),
                "{text}"
            );
        }
    }
}
