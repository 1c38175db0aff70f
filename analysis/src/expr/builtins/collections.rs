//! Lists and maps (ANA-85), without those that take a predicate.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::super::eval::Run;
use super::super::kind::Kind;
use super::super::ops;
use super::super::value::{Array, Key, Object, Value};
use super::{Param, Signature, arg, int_arg, invalid};

/// A function: name, parameters, how many are needed, more may follow, outcome, code.
macro_rules! function {
    ($name:literal, $params:expr, $required:literal, $variadic:literal, $kind:expr, $run:expr) => {
        Signature {
            name: $name,
            params: $params,
            required: $required,
            variadic: $variadic,
            returns: $kind,
            run: $run,
        }
    };
}

const LIST: &[Param] = &[Param::Array];
const MAP: &[Param] = &[Param::Map];

pub(super) const TABLE: &[Signature] = &[
    function!(
        "len",
        &[Param::Sized],
        1,
        false,
        |_| Kind::Int,
        |run, args| {
            let len = match arg(args, 0) {
                Value::Text(t) => {
                    run.budget.steps(t.len() as u64 / 64)?;
                    t.chars().count()
                }
                Value::Array(a) => a.items().len(),
                Value::Object(o) => o.entries().len(),
                other => return invalid("len", other),
            };
            Ok(Value::Int(i64::try_from(len).unwrap_or(i64::MAX)))
        }
    ),
    function!(
        "type",
        &[Param::Any],
        1,
        false,
        |_| Kind::Text,
        |_, args| {
            Ok(Value::text(match arg(args, 0) {
                Value::Nil => "nil",
                Value::Bool(_) => "bool",
                Value::Int(_) => "int",
                Value::Float(_) => "float",
                Value::Text(_) => "string",
                Value::Array(_) => "array",
                Value::Object(_) => "map",
                Value::Record(_) => "struct",
                Value::Time(_) => "time.Time",
                Value::Duration(_) => "time.Duration",
            }))
        }
    ),
    function!("first", LIST, 1, false, |_| Kind::Any, |_, args| {
        Ok(match arg(args, 0) {
            Value::Array(a) => a.items().first().cloned().unwrap_or_default(),
            _ => Value::Nil,
        })
    }),
    function!("last", LIST, 1, false, |_| Kind::Any, |_, args| {
        Ok(match arg(args, 0) {
            Value::Array(a) => a.items().last().cloned().unwrap_or_default(),
            _ => Value::Nil,
        })
    }),
    function!(
        "get",
        &[Param::Gettable, Param::Any],
        2,
        false,
        |_| Kind::Any,
        |_, args| {
            match arg(args, 0) {
                base @ (Value::Array(_) | Value::Object(_) | Value::Record(_)) => {
                    Ok(ops::fetch(base, arg(args, 1)).unwrap_or_default())
                }
                Value::Nil => Ok(Value::Nil),
                other => invalid("get", other),
            }
        }
    ),
    function!(
        "take",
        &[Param::Array, Param::Int],
        2,
        false,
        same,
        |run, args| {
            let items = list("take", args, 0)?;
            let n = int_arg("take", args, 1)?;
            let Ok(n) = usize::try_from(n) else {
                return Err(format!("cannot take {n} elements"));
            };
            let n = n.min(items.items().len());
            run.budget.elements(n as u64)?;
            let taken = items.items().get(..n).unwrap_or_default().to_vec();
            Ok(Value::Array(Array::new(taken, items.elements())))
        }
    ),
    function!(
        "keys",
        MAP,
        1,
        false,
        |_| Kind::array_of(Kind::Any),
        |run, args| {
            let map = map("keys", args, 0)?;
            run.budget.elements(map.entries().len() as u64)?;
            Ok(Value::array(map.entries().keys().map(Key::value).collect()))
        }
    ),
    function!(
        "values",
        MAP,
        1,
        false,
        |_| Kind::array_of(Kind::Any),
        |run, args| {
            let map = map("values", args, 0)?;
            run.budget.elements(map.entries().len() as u64)?;
            Ok(Value::array(map.entries().values().cloned().collect()))
        }
    ),
    function!(
        "toPairs",
        MAP,
        1,
        false,
        |_| Kind::array_of(Kind::Any),
        |run, args| {
            let map = map("toPairs", args, 0)?;
            run.budget.elements(map.entries().len() as u64 * 3)?;
            let pair = |(k, v): (&Key, &Value)| Value::array(vec![k.value(), v.clone()]);
            Ok(Value::array(map.entries().iter().map(pair).collect()))
        }
    ),
    function!("fromPairs", LIST, 1, false, |_| Kind::Any, |run, args| {
        let mut entries = BTreeMap::new();
        for item in list("fromPairs", args, 0)?.items() {
            run.budget.elements(1)?;
            let Value::Array(pair) = item else {
                return Err(format!("invalid pair {}", item.type_name()));
            };
            match (pair.items(), pair.items().first().and_then(Key::of)) {
                ([_, value], Some(key)) => {
                    entries.insert(key, value.clone());
                }
                _ => return Err("invalid pair: a key and a value are needed".to_owned()),
            }
        }
        Ok(Value::Object(Object::new(entries)))
    }),
    function!("reverse", LIST, 1, false, same, |run, args| {
        let items = list("reverse", args, 0)?;
        run.budget.elements(items.items().len() as u64)?;
        let reversed = items.items().iter().rev().cloned().collect();
        Ok(Value::Array(Array::new(reversed, items.elements())))
    }),
    function!(
        "uniq",
        LIST,
        1,
        false,
        |_| Kind::array_of(Kind::Any),
        |run, args| {
            let mut unique: Vec<Value> = Vec::new();
            'items: for item in list("uniq", args, 0)?.items() {
                for seen in &unique {
                    if ops::equal(seen, item, &mut run.budget)? {
                        continue 'items;
                    }
                }
                run.budget.elements(1)?;
                unique.push(item.clone());
            }
            Ok(Value::array(unique))
        }
    ),
    function!(
        "concat",
        LIST,
        1,
        true,
        |_| Kind::array_of(Kind::Any),
        |run, args| {
            let mut all = Vec::new();
            for at in 0..args.len() {
                let items = list("concat", args, at)?.items();
                run.budget.elements(items.len() as u64)?;
                all.extend_from_slice(items);
            }
            Ok(Value::array(all))
        }
    ),
    function!(
        "flatten",
        LIST,
        1,
        false,
        |_| Kind::array_of(Kind::Any),
        |run, args| {
            let mut flat = Vec::new();
            flatten(run, list("flatten", args, 0)?, &mut flat)?;
            Ok(Value::array(flat))
        }
    ),
    function!(
        "sort",
        &[Param::Array, Param::Text],
        1,
        false,
        |_| Kind::array_of(Kind::Any),
        |run, args| {
            let items = list("sort", args, 0)?.items();
            let descending = descending(args.get(1))?;
            run.budget.elements(items.len() as u64)?;
            sortable(&items.iter().collect::<Vec<_>>())?;
            let mut sorted = items.to_vec();
            sorted.sort_by(|a, b| {
                let order = total_order(a, b);
                if descending { order.reverse() } else { order }
            });
            Ok(Value::array(sorted))
        }
    ),
];

fn same(kinds: &[Kind]) -> Kind {
    kinds.first().cloned().unwrap_or(Kind::Any)
}

fn list<'v>(name: &str, args: &'v [Value], at: usize) -> Result<&'v Array, String> {
    match arg(args, at) {
        Value::Array(a) => Ok(a),
        other => invalid(name, other),
    }
}

fn map<'v>(name: &str, args: &'v [Value], at: usize) -> Result<&'v Object, String> {
    match arg(args, at) {
        Value::Object(o) => Ok(o),
        other => invalid(name, other),
    }
}

/// Lists nest no deeper than values may, so this may recurse.
fn flatten(run: &mut Run<'_>, list: &Array, into: &mut Vec<Value>) -> Result<(), String> {
    for item in list.items() {
        run.budget.elements(1)?;
        match item {
            Value::Array(inner) => flatten(run, inner, into)?,
            _ => into.push(item.clone()),
        }
    }
    Ok(())
}

/// Reads a sort direction.
pub(in super::super) fn descending(direction: Option<&Value>) -> Result<bool, String> {
    match direction {
        None => Ok(false),
        Some(Value::Text(t)) if &**t == "asc" => Ok(false),
        Some(Value::Text(t)) if &**t == "desc" => Ok(true),
        Some(other) => Err(format!(
            "invalid order {}, expected asc or desc",
            if let Value::Text(t) = other {
                t
            } else {
                other.type_name()
            }
        )),
    }
}

/// All of these have one common order.
pub(in super::super) fn sortable(values: &[&Value]) -> Result<(), String> {
    let Some(first) = values.first() else {
        return Ok(());
    };
    match values
        .iter()
        .find(|v| values.len() > 1 && ops::order(first, v).is_none())
    {
        None => Ok(()),
        Some(other) => Err(format!(
            "cannot sort: invalid operation: < (mismatched types {} and {})",
            first.type_name(),
            other.type_name()
        )),
    }
}

/// An order that sorting can rely on: NaN comes first.
pub(in super::super) fn total_order(a: &Value, b: &Value) -> Ordering {
    let nan = |v: &Value| matches!(v, Value::Float(x) if x.is_nan());
    match ops::order(a, b).flatten() {
        Some(order) => order,
        None => nan(b).cmp(&nan(a)),
    }
}
