//! From what schemars says about a type to what the API server accepts as a structural schema.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

/// The structural schema of a type.
pub(super) fn structural<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::openapi3().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let schema = settings.into_generator().into_root_schema_for::<T>();
    let mut schema = Value::from(schema);
    clean(&mut schema);
    schema
}

/// Removes what the API server does not take, recursively.
///
/// Defaults of the Rust types are those of decoding; a schema default would be written into every
/// object. Defaults that are meant carry the name `x-default`, members that must be there
/// `x-required`.
fn clean(schema: &mut Value) {
    let Some(object) = schema.as_object_mut() else {
        return;
    };
    for key in ["$schema", "title", "default", "nullable", "required"] {
        object.remove(key);
    }
    one_of_two(object);
    if let Some(Value::Array(types)) = object.get("type") {
        let kept = types.iter().find(|t| *t != "null").cloned();
        object.insert("type".to_owned(), kept.unwrap_or_default());
    }
    if let Some(Value::String(text)) = object.get_mut("description") {
        *text = for_users(text);
    }
    if let Some(default) = object.remove("x-default") {
        object.insert("default".to_owned(), default);
    }
    let mut required = Vec::new();
    if let Some(Value::Object(properties)) = object.get_mut("properties") {
        for (name, property) in properties {
            let flag = property
                .as_object_mut()
                .and_then(|p| p.remove("x-required"));
            if flag == Some(Value::Bool(true)) {
                required.push(name.clone());
            }
            clean(property);
        }
    }
    if !required.is_empty() {
        required.sort();
        object.insert("required".to_owned(), required.into());
    }
    for key in ["items", "additionalProperties"] {
        object.entry(key).and_modify(clean);
    }
}

/// The first paragraph of a documentation comment without references to rules.
fn for_users(text: &str) -> String {
    let paragraph = text.split("\n\n").next().unwrap_or(text);
    let mut words = Vec::new();
    let mut in_reference = false;
    for word in paragraph.split_whitespace() {
        let opens = ["(API-", "(ANA-", "(EXP-", "(CTL-", "(SE-"]
            .iter()
            .any(|p| word.starts_with(p));
        in_reference |= opens;
        match (in_reference, word.split_once(')')) {
            (false, _) => words.push(word.to_owned()),
            (true, None) => {}
            (true, Some((_, rest))) => {
                in_reference = false;
                if let Some(last) = words.last_mut() {
                    last.push_str(rest);
                }
            }
        }
    }
    words.join(" ")
}

/// An optional struct is "this or null"; only "this" is left, with the description of the member.
fn one_of_two(object: &mut Map<String, Value>) {
    for key in ["anyOf", "allOf"] {
        let Some(Value::Array(choices)) = object.remove(key) else {
            continue;
        };
        let is_null = |choice: &Value| {
            choice.get("type").is_some_and(|t| t == "null")
                || choice
                    .get("enum")
                    .and_then(Value::as_array)
                    .is_some_and(|e| e == &[Value::Null])
        };
        let chosen = choices.into_iter().find(|choice| !is_null(choice));
        let Some(Value::Object(chosen)) = chosen else {
            continue;
        };
        for (key, value) in chosen {
            object.entry(key).or_insert(value);
        }
    }
}
