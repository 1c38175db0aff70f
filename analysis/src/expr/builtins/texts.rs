//! Texts, JSON and base64 (ANA-85).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::super::eval::Run;
use super::super::kind::Kind;
use super::super::ops;
use super::super::value::{Array, Elements, Value};
use super::{Param, Signature, arg, int_arg, invalid, text_arg};

/// A text function: name, parameters, how many are needed, outcome, code.
macro_rules! text {
    ($name:literal, $params:expr, $required:literal, $kind:expr, $run:expr) => {
        Signature {
            name: $name,
            params: $params,
            required: $required,
            variadic: false,
            returns: |_| $kind,
            run: |run, args| {
                let f: fn(&mut Run<'_>, &[Value]) -> Result<Value, String> = $run;
                let size: usize = args
                    .iter()
                    .map(|v| if let Value::Text(t) = v { t.len() } else { 0 })
                    .sum();
                run.budget.bytes(size)?;
                f(run, args)
            },
        }
    };
}

const ONE: &[Param] = &[Param::Text];
const TWO: &[Param] = &[Param::Text, Param::Text];
const SPLIT: &[Param] = &[Param::Text, Param::Text, Param::Int];

pub(super) const TABLE: &[Signature] = &[
    text!("trim", TWO, 1, Kind::Text, |_, args| {
        let text = text_arg("trim", args, 0)?;
        Ok(Value::text(match args.len() {
            1 => text.trim(),
            _ => {
                let set = text_arg("trim", args, 1)?;
                text.trim_matches(|c| set.contains(c))
            }
        }))
    }),
    text!("trimPrefix", TWO, 1, Kind::Text, |_, args| {
        let text = text_arg("trimPrefix", args, 0)?;
        let prefix = if args.len() > 1 {
            text_arg("trimPrefix", args, 1)?
        } else {
            " "
        };
        Ok(Value::text(text.strip_prefix(prefix).unwrap_or(text)))
    }),
    text!("trimSuffix", TWO, 1, Kind::Text, |_, args| {
        let text = text_arg("trimSuffix", args, 0)?;
        let suffix = if args.len() > 1 {
            text_arg("trimSuffix", args, 1)?
        } else {
            " "
        };
        Ok(Value::text(text.strip_suffix(suffix).unwrap_or(text)))
    }),
    text!("upper", ONE, 1, Kind::Text, |_, args| {
        Ok(Value::text(text_arg("upper", args, 0)?.to_uppercase()))
    }),
    text!("lower", ONE, 1, Kind::Text, |_, args| {
        Ok(Value::text(text_arg("lower", args, 0)?.to_lowercase()))
    }),
    text!(
        "split",
        SPLIT,
        2,
        Kind::array_of(Kind::Text),
        |run, args| split(run, args, false)
    ),
    text!(
        "splitAfter",
        SPLIT,
        2,
        Kind::array_of(Kind::Text),
        |run, args| split(run, args, true)
    ),
    text!(
        "replace",
        &[Param::Text, Param::Text, Param::Text, Param::Int],
        3,
        Kind::Text,
        replace
    ),
    text!(
        "repeat",
        &[Param::Text, Param::Int],
        2,
        Kind::Text,
        |run, args| {
            let text = text_arg("repeat", args, 0)?;
            let Some(times) = ops::index(arg(args, 1)) else {
                return invalid("repeat", arg(args, 1));
            };
            let Ok(times) = usize::try_from(times) else {
                return Err(format!(
                    "invalid argument for repeat (expected positive integer, got {times})"
                ));
            };
            run.budget.elements(times as u64)?;
            run.budget.bytes(text.len().saturating_mul(times))?;
            Ok(Value::text(text.repeat(times)))
        }
    ),
    text!(
        "join",
        &[Param::Array, Param::Text],
        1,
        Kind::Text,
        |run, args| {
            let Value::Array(items) = arg(args, 0) else {
                return invalid("join", arg(args, 0));
            };
            let glue = if args.len() > 1 {
                text_arg("join", args, 1)?
            } else {
                ""
            };
            let mut joined = String::new();
            for (i, item) in items.items().iter().enumerate() {
                let Value::Text(text) = item else {
                    return invalid("join", item);
                };
                run.budget.bytes(text.len() + glue.len())?;
                if i > 0 {
                    joined.push_str(glue);
                }
                joined.push_str(text);
            }
            Ok(Value::text(joined))
        }
    ),
    text!("indexOf", TWO, 2, Kind::Int, |_, args| {
        Ok(found(
            text_arg("indexOf", args, 0)?.find(text_arg("indexOf", args, 1)?),
        ))
    }),
    text!("lastIndexOf", TWO, 2, Kind::Int, |_, args| {
        Ok(found(text_arg("lastIndexOf", args, 0)?.rfind(text_arg(
            "lastIndexOf",
            args,
            1,
        )?)))
    }),
    text!("hasPrefix", TWO, 2, Kind::Bool, |_, args| {
        let prefix = text_arg("hasPrefix", args, 1)?;
        Ok(Value::Bool(
            text_arg("hasPrefix", args, 0)?.starts_with(prefix),
        ))
    }),
    text!("hasSuffix", TWO, 2, Kind::Bool, |_, args| {
        let suffix = text_arg("hasSuffix", args, 1)?;
        Ok(Value::Bool(
            text_arg("hasSuffix", args, 0)?.ends_with(suffix),
        ))
    }),
    text!("string", &[Param::Any], 1, Kind::Text, |run, args| {
        run.budget.walk(arg(args, 0))?;
        let text = arg(args, 0).printed();
        run.budget.bytes(text.len())?;
        Ok(Value::text(text))
    }),
    text!("toJSON", &[Param::Any], 1, Kind::Text, |run, args| {
        run.budget.walk(arg(args, 0))?;
        let json = arg(args, 0).to_json()?;
        let text = crate::numbers::j_indented(&json);
        run.budget.bytes(text.len())?;
        Ok(Value::text(text))
    }),
    text!("fromJSON", ONE, 1, Kind::Any, |run, args| {
        let text = text_arg("fromJSON", args, 0)?;
        // Each element takes two bytes of the text or more.
        run.budget.elements(text.len() as u64 / 2)?;
        match serde_json::from_str::<serde_json::Value>(text) {
            Ok(json) => Ok(Value::from_json(&json)),
            Err(e) => Err(format!("invalid JSON: {e}")),
        }
    }),
    text!("toBase64", ONE, 1, Kind::Text, |_, args| {
        Ok(Value::text(STANDARD.encode(text_arg("toBase64", args, 0)?)))
    }),
    text!("fromBase64", ONE, 1, Kind::Text, |_, args| {
        let bytes = STANDARD
            .decode(text_arg("fromBase64", args, 0)?)
            .map_err(|e| format!("illegal base64 data: {e}"))?;
        Ok(Value::text(String::from_utf8_lossy(&bytes).into_owned()))
    }),
];

fn found(at: Option<usize>) -> Value {
    Value::Int(at.and_then(|at| i64::try_from(at).ok()).unwrap_or(-1))
}

/// Where limits are given: how many parts at most; none for a negative limit.
fn limit(name: &str, args: &[Value], at: usize) -> Result<Option<usize>, String> {
    if args.len() <= at {
        return Ok(None);
    }
    Ok(usize::try_from(int_arg(name, args, at)?).ok())
}

fn split(run: &mut Run<'_>, args: &[Value], keep: bool) -> Result<Value, String> {
    let name = if keep { "splitAfter" } else { "split" };
    let (text, by) = (text_arg(name, args, 0)?, text_arg(name, args, 1)?);
    let limit = limit(name, args, 2)?.unwrap_or(usize::MAX);
    let mut parts = Vec::new();
    let mut rest = text;
    while limit > 0 && !rest.is_empty() && parts.len() + 1 < limit {
        // Nothing to split by: between all characters.
        let cut = if by.is_empty() {
            rest.chars().next().map(|c| (c.len_utf8(), c.len_utf8()))
        } else {
            rest.find(by).map(|at| (at, at + by.len()))
        };
        let Some((end, next)) = cut else { break };
        if by.is_empty() && next >= rest.len() {
            break;
        }
        run.budget.elements(1)?;
        parts.push(Value::text(
            rest.get(..if keep { next } else { end })
                .unwrap_or_default(),
        ));
        rest = rest.get(next..).unwrap_or_default();
    }
    if limit > 0 && !(by.is_empty() && text.is_empty()) {
        parts.push(Value::text(rest));
    }
    Ok(Value::Array(Array::new(parts, Elements::Texts)))
}

fn replace(run: &mut Run<'_>, args: &[Value]) -> Result<Value, String> {
    let text = text_arg("replace", args, 0)?;
    let (old, new) = (text_arg("replace", args, 1)?, text_arg("replace", args, 2)?);
    let limit = limit("replace", args, 3)?.unwrap_or(usize::MAX);
    let hits = text.matches(old).count().min(limit);
    run.budget
        .bytes(text.len().saturating_add(new.len().saturating_mul(hits)))?;
    Ok(Value::text(text.replacen(old, new, limit)))
}
