//! The language against recorded outcomes, and against hostile input.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

mod conformance;
mod hostile;

/// Fields of a CloudWatch answer, as far as the tests need them.
const CLOUDWATCH: Fields = &[
    ("Id", FieldKind::Text),
    ("Label", FieldKind::Text),
    ("Messages", FieldKind::Array(Elements::Texts)),
    ("StatusCode", FieldKind::Text),
    ("Timestamps", FieldKind::Array(Elements::Any)),
    ("Values", FieldKind::Array(Elements::Floats)),
];

/// A result from its short form: `N[1,2]` numbers, `F:NaN` a float, `CW:[…]` CloudWatch records,
/// `nil`, else JSON.
fn result(spec: &str) -> Value {
    if spec == "nil" {
        return Value::Nil;
    }
    if let Some(list) = spec.strip_prefix("N[").and_then(|s| s.strip_suffix(']')) {
        return Value::numbers(
            list.split(',')
                .filter(|s| !s.is_empty())
                .map(|s| s.parse::<f64>().unwrap()),
        );
    }
    if let Some(number) = spec.strip_prefix("F:") {
        return Value::Float(number.parse().unwrap());
    }
    if let Some(json) = spec.strip_prefix("CW:") {
        let rows: Vec<BTreeMap<String, serde_json::Value>> = serde_json::from_str(json).unwrap();
        let records = rows.iter().map(|row| {
            let field = |(name, kind): &(&str, FieldKind)| match (row.get(*name), kind) {
                (Some(serde_json::Value::Array(items)), FieldKind::Array(elements)) => {
                    let items = items.iter().map(Value::from_json).collect();
                    Value::Array(Array::new(items, *elements))
                }
                (Some(value), _) => Value::from_json(value),
                (None, FieldKind::Text) => Value::text(""),
                (None, FieldKind::Array(elements)) => Value::Array(Array::new(vec![], *elements)),
                (None, FieldKind::Any) => Value::Nil,
            };
            Value::Record(Record::new(
                CLOUDWATCH,
                CLOUDWATCH.iter().map(field).collect(),
            ))
        });
        return Value::Array(Array::new(records.collect(), Elements::Records(CLOUDWATCH)));
    }
    Value::from_json(&serde_json::from_str(spec).unwrap())
}

/// `C` refused, `E` failed, `T`, `F`, or `V` and the value; behind a tab the text.
fn outcome(spec: &str, source: &str) -> (char, String) {
    let result = result(spec);
    let program = match Program::compile(source, &Names::condition(Kind::of(&result))) {
        Ok(program) => program,
        Err(e) => return ('C', e.to_string()),
    };
    let now = "2026-05-01T00:00:00Z".parse().unwrap();
    match program.eval(&Env { result, now }) {
        Err(e) => ('E', e.to_string()),
        Ok(Value::Bool(b)) => (if b { 'T' } else { 'F' }, String::new()),
        Ok(value) => ('V', value.printed().replace('\n', "⏎")),
    }
}
