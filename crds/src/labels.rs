//! The syntax of labels and selectors, in the words of the API server.

use crate::field_error::FieldError;
use crate::selector::LabelSelector;

const NAME_FORM: &str = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]";
const NAME_RULE: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start \
     and end with an alphanumeric character";
const SUBDOMAIN_RULE: &str = "a lowercase RFC 1123 subdomain must consist of lower case \
     alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character \
     (e.g. 'example.com', regex used for validation is \
     '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LONGEST: usize = 63;

fn name_rule(before: &str, examples: [&str; 3], form: &str) -> String {
    let [a, b, c] = examples;
    format!(
        "{before}{NAME_RULE} (e.g. '{a}',  or '{b}',  or '{c}', regex used for validation is \
         '{form}')"
    )
}

fn is_name(text: &str) -> bool {
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    ends(text.chars().next())
        && ends(text.chars().next_back())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

fn is_subdomain(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    text.split('.').all(|part| {
        part.starts_with(plain)
            && part.ends_with(plain)
            && part.chars().all(|c| plain(c) || c == '-')
    })
}

/// What is wrong with a label key.
pub fn key_errors(key: &str) -> Vec<String> {
    let rule = |before: &str| name_rule(before, ["MyName", "my.name", "123-abc"], NAME_FORM);
    let mut errors = Vec::new();
    let name = match key.split_once('/') {
        None => key,
        Some((_, name)) if name.contains('/') => {
            let optional =
                " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')";
            return vec![rule("a valid label key ") + optional];
        }
        Some((prefix, name)) => {
            if prefix.is_empty() {
                errors.push("prefix part must be non-empty".to_owned());
            } else {
                if prefix.len() > 253 {
                    errors.push("prefix part must be no more than 253 bytes".to_owned());
                }
                if !is_subdomain(prefix) {
                    errors.push(format!("prefix part {SUBDOMAIN_RULE}"));
                }
            }
            name
        }
    };
    if name.is_empty() {
        errors.push("name part must be non-empty".to_owned());
    } else if name.len() > LONGEST {
        errors.push(format!("name part must be no more than {LONGEST} bytes"));
    }
    if !is_name(name) {
        errors.push(rule("name part "));
    }
    errors
}

/// What is wrong with a label value.
pub fn value_errors(value: &str) -> Vec<String> {
    let mut errors = Vec::new();
    if value.len() > LONGEST {
        errors.push(format!("must be no more than {LONGEST} bytes"));
    }
    if !value.is_empty() && !is_name(value) {
        let before = "a valid label must be an empty string or ";
        let rule = name_rule(
            before,
            ["MyValue", "my_value", "12345"],
            &format!("({NAME_FORM})?"),
        );
        errors.push(rule.replacen(
            "must be an empty string or must consist",
            "must be an empty string or consist",
            1,
        ));
    }
    errors
}

/// What is wrong with a selector, requirement by requirement.
pub fn selector_errors(selector: &LabelSelector, path: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let labels = format!("{path}.matchLabels");
    for (key, value) in &selector.match_labels {
        let keys = key_errors(key).into_iter().map(|e| (key, e));
        let values = value_errors(value).into_iter().map(|e| (value, e));
        errors.extend(
            keys.chain(values)
                .map(|(v, e)| FieldError::invalid(&labels, v.as_str(), e)),
        );
    }
    for (i, requirement) in selector.match_expressions.iter().enumerate() {
        let path = format!("{path}.matchExpressions[{i}]");
        let some = !requirement.values.is_empty();
        match requirement.operator.as_str() {
            "In" | "NotIn" if !some => errors.push(FieldError::required(
                format!("{path}.values"),
                "must be specified when `operator` is 'In' or 'NotIn'",
            )),
            "Exists" | "DoesNotExist" if some => errors.push(FieldError::forbidden(
                format!("{path}.values"),
                "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
            )),
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => errors.push(FieldError::invalid(
                format!("{path}.operator"),
                other,
                "not a valid selector operator",
            )),
        }
        for error in key_errors(&requirement.key) {
            errors.push(FieldError::invalid(
                format!("{path}.key"),
                requirement.key.as_str(),
                error,
            ));
        }
        for (j, value) in requirement.values.iter().enumerate() {
            for error in value_errors(value) {
                errors.push(FieldError::invalid(
                    format!("{path}.values[{j}]"),
                    value.as_str(),
                    error,
                ));
            }
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    /// API-45: label syntax in the API server's words.
    #[test]
    fn label_syntax() {
        for good in ["app", "a.b_c-d", "example.com/name", "X"] {
            assert_eq!(key_errors(good), Vec::<String>::new(), "{good}");
        }
        for bad in ["", "-a", "a-", "/a", "Example.com/a", "a/b/c", "a b"] {
            assert!(!key_errors(bad).is_empty(), "{bad}");
        }
        assert!(value_errors("").is_empty() && value_errors("v1.2_x").is_empty());
        assert_eq!(
            value_errors("a b"),
            [
                "a valid label must be an empty string or consist of alphanumeric characters, \
                 '-', '_' or '.', and must start and end with an alphanumeric character (e.g. \
                 'MyValue',  or 'my_value',  or '12345', regex used for validation is \
                 '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
            ]
        );
    }
}
