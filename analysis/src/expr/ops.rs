//! Operators and access at run time (ANA-84). Errors are texts in upstream's words; the evaluator
//! adds the place.

use std::cmp::Ordering;
use std::sync::Arc;

use jiff::{SignedDuration, Zoned};

use super::ast::BinaryOp;
use super::budget::Budget;
use super::value::{Array, Elements, Key, Value};
use super::{re2, time};

type Outcome = Result<Value, String>;

fn mismatch<T>(op: BinaryOp, l: &Value, r: &Value) -> Result<T, String> {
    Err(format!(
        "invalid operation: {} (mismatched types {} and {})",
        op.text(),
        l.type_name(),
        r.type_name()
    ))
}

/// Applies an operator whose operands are both evaluated.
pub(super) fn binary(op: BinaryOp, l: &Value, r: &Value, budget: &mut Budget) -> Outcome {
    match op {
        BinaryOp::Equal => Ok(Value::Bool(equal(l, r, budget)?)),
        BinaryOp::NotEqual => Ok(Value::Bool(!equal(l, r, budget)?)),
        BinaryOp::Less | BinaryOp::LessEqual | BinaryOp::Greater | BinaryOp::GreaterEqual => {
            let Some(order) = order(l, r) else {
                return mismatch(op, l, r);
            };
            Ok(Value::Bool(match op {
                BinaryOp::Less => order == Some(Ordering::Less),
                BinaryOp::LessEqual => order.is_some_and(Ordering::is_le),
                BinaryOp::Greater => order == Some(Ordering::Greater),
                _ => order.is_some_and(Ordering::is_ge),
            }))
        }
        BinaryOp::In => Ok(Value::Bool(is_in(l, r, budget)?)),
        BinaryOp::Matches | BinaryOp::Contains | BinaryOp::StartsWith | BinaryOp::EndsWith => {
            text_test(op, l, r, budget)
        }
        BinaryOp::Range => range(l, r, budget),
        BinaryOp::Add => add(l, r, budget),
        BinaryOp::Subtract
        | BinaryOp::Multiply
        | BinaryOp::Divide
        | BinaryOp::Modulo
        | BinaryOp::Power => arithmetic(op, l, r),
        BinaryOp::Or | BinaryOp::And | BinaryOp::Coalesce => Err(format!(
            "operator {} decides before its right side is known",
            op.text()
        )),
    }
}

/// `==`: numbers by value, lists by element, maps exactly.
pub(super) fn equal(l: &Value, r: &Value, budget: &mut Budget) -> Result<bool, String> {
    budget.steps(1)?;
    Ok(match (l, r) {
        (Value::Array(a), Value::Array(b)) => {
            if a.items().len() != b.items().len() {
                return Ok(false);
            }
            for (x, y) in a.items().iter().zip(b.items()) {
                if !equal(x, y, budget)? {
                    return Ok(false);
                }
            }
            true
        }
        (Value::Object(_), Value::Object(_)) | (Value::Record(_), Value::Record(_)) => {
            identical(l, r, budget)?
        }
        _ => match order(l, r) {
            Some(order) => order == Some(Ordering::Equal),
            None => match (l, r) {
                (Value::Nil, Value::Nil) => true,
                (Value::Bool(a), Value::Bool(b)) => a == b,
                _ => false,
            },
        },
    })
}

/// Equality inside maps, where 1 and 1.0 differ.
fn identical(l: &Value, r: &Value, budget: &mut Budget) -> Result<bool, String> {
    budget.steps(1)?;
    let pairs: Vec<(&Value, &Value)> = match (l, r) {
        (Value::Int(a), Value::Int(b)) => return Ok(a == b),
        (Value::Int(_), Value::Float(_)) | (Value::Float(_), Value::Int(_)) => return Ok(false),
        (Value::Object(a), Value::Object(b)) => {
            if !a.entries().keys().eq(b.entries().keys()) {
                return Ok(false);
            }
            a.entries().values().zip(b.entries().values()).collect()
        }
        (Value::Record(a), Value::Record(b)) => a
            .iter()
            .map(|(_, v)| v)
            .zip(b.iter().map(|(_, v)| v))
            .collect(),
        (Value::Array(a), Value::Array(b)) => {
            if a.items().len() != b.items().len() {
                return Ok(false);
            }
            a.items().iter().zip(b.items()).collect()
        }
        _ => return equal(l, r, budget),
    };
    for (x, y) in pairs {
        if !identical(x, y, budget)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// None when the kinds have no common order; `Some(None)` with a NaN.
#[expect(
    clippy::cast_precision_loss,
    reason = "numbers mix as floats, as upstream"
)]
#[expect(
    clippy::option_option,
    reason = "no order and not comparable are two answers"
)]
pub(super) fn order(l: &Value, r: &Value) -> Option<Option<Ordering>> {
    Some(match (l, r) {
        (Value::Int(a), Value::Int(b)) => Some(a.cmp(b)),
        (Value::Int(a), Value::Float(b)) => (*a as f64).partial_cmp(b),
        (Value::Float(a), Value::Int(b)) => a.partial_cmp(&(*b as f64)),
        (Value::Float(a), Value::Float(b)) => a.partial_cmp(b),
        (Value::Text(a), Value::Text(b)) => Some(a.cmp(b)),
        (Value::Time(a), Value::Time(b)) => Some(a.timestamp().cmp(&b.timestamp())),
        (Value::Duration(a), Value::Duration(b)) => Some(a.cmp(b)),
        _ => return None,
    })
}

fn is_in(needle: &Value, hay: &Value, budget: &mut Budget) -> Result<bool, String> {
    match hay {
        Value::Nil => Ok(false),
        Value::Array(a) => {
            for item in a.items() {
                if equal(item, needle, budget)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        Value::Object(o) => match Key::of(needle) {
            Some(Key::Nil) => Ok(false),
            Some(key @ Key::Text(_)) => Ok(o.entries().contains_key(&key)),
            Some(key) if !o.has_text_keys() => Ok(o.entries().contains_key(&key)),
            _ => Err(format!(
                "cannot use {} as a key of {}",
                needle.type_name(),
                hay.type_name()
            )),
        },
        Value::Record(r) => match needle {
            Value::Text(name) => Ok(r.get(name).is_some()),
            _ => field_name(needle, hay),
        },
        Value::Time(_) if matches!(needle, Value::Text(_)) => Ok(false),
        Value::Time(_) => field_name(needle, hay),
        _ => Err(format!(
            "operator \"in\" not defined on {}",
            hay.type_name()
        )),
    }
}

fn field_name(needle: &Value, of: &Value) -> Result<bool, String> {
    Err(format!(
        "cannot use {} as field name of {}",
        needle.type_name(),
        of.type_name()
    ))
}

fn text_test(op: BinaryOp, l: &Value, r: &Value, budget: &mut Budget) -> Outcome {
    let (Value::Text(text), Value::Text(part)) = (l, r) else {
        // Nil contains, begins and ends with nothing, as upstream.
        if matches!((l, r), (Value::Nil, _) | (_, Value::Nil)) {
            return Ok(Value::Bool(false));
        }
        return mismatch(op, l, r);
    };
    budget.steps(text.len() as u64 / 64)?;
    Ok(Value::Bool(match op {
        BinaryOp::Contains => text.contains(&**part),
        BinaryOp::StartsWith => text.starts_with(&**part),
        BinaryOp::EndsWith => text.ends_with(&**part),
        _ => {
            // A pattern that is not a literal is compiled each time.
            budget.steps(5_000 + part.len() as u64 * 100)?;
            re2::compile(part)?.is_match(text)
        }
    }))
}

fn range(l: &Value, r: &Value, budget: &mut Budget) -> Outcome {
    let (Some(from), Some(to)) = (index(l), index(r)) else {
        return mismatch(BinaryOp::Range, l, r);
    };
    let len = to.saturating_sub(from).saturating_add(1).max(0);
    budget.elements(len.unsigned_abs())?;
    let items = (from..=to).map(Value::Int).collect();
    Ok(Value::Array(Array::new(items, Elements::Ints)))
}

fn add(l: &Value, r: &Value, budget: &mut Budget) -> Outcome {
    match (l, r) {
        (Value::Text(a), Value::Text(b)) => {
            budget.bytes(a.len() + b.len())?;
            Ok(Value::text([&**a, &**b].concat()))
        }
        (Value::Time(t), Value::Duration(d)) | (Value::Duration(d), Value::Time(t)) => shift(t, *d),
        (Value::Duration(a), Value::Duration(b)) => Ok(Value::Duration(a.wrapping_add(*b))),
        _ => arithmetic(BinaryOp::Add, l, r),
    }
}

/// A time `nanoseconds` later.
pub(super) fn shift(t: &Zoned, nanoseconds: i64) -> Outcome {
    t.checked_add(SignedDuration::from_nanos(nanoseconds))
        .map(|t| Value::Time(Box::new(t)))
        .map_err(|_| "time out of range".to_owned())
}

#[expect(
    clippy::cast_precision_loss,
    reason = "numbers mix as floats, as upstream"
)]
fn arithmetic(op: BinaryOp, l: &Value, r: &Value) -> Outcome {
    let floats = |a: f64, b: f64| {
        Ok(Value::Float(match op {
            BinaryOp::Add => a + b,
            BinaryOp::Subtract => a - b,
            BinaryOp::Multiply => a * b,
            BinaryOp::Divide => a / b,
            BinaryOp::Power => a.powf(b),
            _ => return mismatch(op, l, r),
        }))
    };
    match (l, r) {
        (Value::Int(a), Value::Int(b)) => Ok(Value::Int(match op {
            BinaryOp::Add => a.wrapping_add(*b),
            BinaryOp::Subtract => a.wrapping_sub(*b),
            BinaryOp::Multiply => a.wrapping_mul(*b),
            BinaryOp::Modulo if *b == 0 => return Err("integer divide by zero".to_owned()),
            BinaryOp::Modulo => a.wrapping_rem(*b),
            _ => return floats(*a as f64, *b as f64),
        })),
        (Value::Int(a), Value::Float(b)) => floats(*a as f64, *b),
        (Value::Float(a), Value::Int(b)) => floats(*a, *b as f64),
        (Value::Float(a), Value::Float(b)) => floats(*a, *b),
        (Value::Time(a), Value::Time(b)) if op == BinaryOp::Subtract => {
            Ok(Value::Duration(time::nanoseconds_between(b, a)))
        }
        (Value::Time(t), Value::Duration(d)) if op == BinaryOp::Subtract => {
            shift(t, d.wrapping_neg())
        }
        (Value::Duration(a), Value::Duration(b)) => match op {
            BinaryOp::Subtract => Ok(Value::Duration(a.wrapping_sub(*b))),
            BinaryOp::Multiply => Ok(Value::Duration(a.wrapping_mul(*b))),
            _ => mismatch(op, l, r),
        },
        (Value::Duration(d), Value::Int(n)) | (Value::Int(n), Value::Duration(d))
            if op == BinaryOp::Multiply =>
        {
            Ok(Value::Duration(d.wrapping_mul(*n)))
        }
        (Value::Duration(d), Value::Float(x)) | (Value::Float(x), Value::Duration(d))
            if op == BinaryOp::Multiply =>
        {
            Ok(Value::Duration(truncate(*d as f64 * x)))
        }
        _ => mismatch(op, l, r),
    }
}

/// A float as a whole number, toward zero; what no i64 can hold becomes the smallest one.
#[expect(
    clippy::cast_possible_truncation,
    reason = "that is the purpose; the range is checked"
)]
pub(super) fn truncate(x: f64) -> i64 {
    if (-9.223_372_036_854_775e18..9.223_372_036_854_775e18).contains(&x) {
        x as i64
    } else {
        i64::MIN
    }
}

/// What may serve as an index or a bound.
pub(super) fn index(value: &Value) -> Option<i64> {
    match value {
        Value::Int(n) => Some(*n),
        Value::Float(x) if x.is_finite() => Some(truncate(*x)),
        _ => None,
    }
}

/// `base.key`, `base[key]`: a missing key is nil, a bad index an error.
pub(super) fn fetch(base: &Value, key: &Value) -> Outcome {
    let cannot = || {
        Err(format!(
            "cannot fetch {} from {}",
            key.printed(),
            base.type_name()
        ))
    };
    match base {
        Value::Array(a) => {
            let Some(at) = index(key) else {
                return cannot();
            };
            let len = a.items().len();
            let at = resolve(at, len);
            match usize::try_from(at).ok().and_then(|at| a.items().get(at)) {
                Some(item) => Ok(item.clone()),
                None => Err(format!("index out of range: {at} (array length is {len})")),
            }
        }
        Value::Object(o) => match Key::of(key) {
            Some(key) if matches!(key, Key::Text(_)) || !o.has_text_keys() => {
                Ok(o.entries().get(&key).cloned().unwrap_or_default())
            }
            _ => cannot(),
        },
        Value::Record(r) => match key {
            Value::Text(name) => match r.get(name) {
                Some(value) => Ok(value.clone()),
                None => cannot(),
            },
            _ => cannot(),
        },
        _ => cannot(),
    }
}

/// Negative indexes count from the end.
fn resolve(at: i64, len: usize) -> i64 {
    let len = i64::try_from(len).unwrap_or(i64::MAX);
    if at < 0 { at.saturating_add(len) } else { at }
}

/// `base[from:to]`; bounds clamp.
pub(super) fn slice(
    base: &Value,
    from: Option<&Value>,
    to: Option<&Value>,
    budget: &mut Budget,
) -> Outcome {
    let len = match base {
        Value::Array(a) => a.items().len(),
        Value::Text(t) => t.chars().count(),
        _ => return Err(format!("cannot slice {}", base.type_name())),
    };
    let bound = |value: Option<&Value>, default: usize| match value {
        None => Ok(default),
        Some(value) => match index(value) {
            Some(at) => Ok(usize::try_from(resolve(at, len)).unwrap_or(0).min(len)),
            None => Err(format!(
                "cannot slice {} by {}",
                base.type_name(),
                value.type_name()
            )),
        },
    };
    let to = bound(to, len)?;
    let from = bound(from, 0)?.min(to);
    match base {
        Value::Array(a) => {
            budget.elements((to - from) as u64)?;
            let items = a.items().get(from..to).unwrap_or_default().to_vec();
            Ok(Value::Array(Array::new(items, a.elements())))
        }
        Value::Text(t) => {
            budget.bytes(t.len())?;
            let text: String = t.chars().skip(from).take(to - from).collect();
            Ok(Value::Text(Arc::from(text)))
        }
        _ => Ok(Value::Nil),
    }
}
