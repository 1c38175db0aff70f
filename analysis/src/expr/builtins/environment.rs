//! The functions that conditions have besides the language's own (ANA-79).
//!
//! `default(x, d)` and `isNil(x)` honour their argument. The peer looks at the whole result
//! whatever is passed, which for any other argument is useless or an error (ASE-17); for `result`
//! itself both agree.

use super::super::kind::Kind;
use super::super::ops::truncate;
use super::super::value::Value;
use super::{Param, Signature, arg};

/// Had by conditions and by the times of range queries.
pub(super) const FLOATS: &[Signature] = &[
    Signature {
        name: "isNaN",
        params: &[Param::Number],
        required: 1,
        variadic: false,
        returns: |_| Kind::Bool,
        run: |_, args| Ok(Value::Bool(float(arg(args, 0), "isNaN")?.is_nan())),
    },
    Signature {
        name: "isInf",
        params: &[Param::Number],
        required: 1,
        variadic: false,
        returns: |_| Kind::Bool,
        run: |_, args| Ok(Value::Bool(float(arg(args, 0), "isInf")?.is_infinite())),
    },
];

/// Had by conditions only.
pub(super) const RESULT: &[Signature] = &[
    Signature {
        name: "asInt",
        params: &[Param::Any],
        required: 1,
        variadic: false,
        returns: |_| Kind::Int,
        run: |_, args| as_int(arg(args, 0)).map(Value::Int),
    },
    Signature {
        name: "asFloat",
        params: &[Param::Any],
        required: 1,
        variadic: false,
        returns: |_| Kind::Float,
        run: |_, args| as_float(arg(args, 0)).map(Value::Float),
    },
    Signature {
        name: "isNil",
        params: &[Param::Any],
        required: 1,
        variadic: false,
        returns: |_| Kind::Bool,
        run: |_, args| Ok(Value::Bool(matches!(arg(args, 0), Value::Nil))),
    },
    Signature {
        name: "default",
        params: &[Param::Any, Param::Any],
        required: 2,
        variadic: false,
        returns: |_| Kind::Any,
        run: |_, args| {
            Ok(match arg(args, 0) {
                Value::Nil => arg(args, 1).clone(),
                value => value.clone(),
            })
        },
    },
];

#[expect(
    clippy::cast_precision_loss,
    reason = "numbers mix as floats, as upstream"
)]
fn float(value: &Value, function: &str) -> Result<f64, String> {
    match value {
        Value::Float(x) => Ok(*x),
        Value::Int(n) => Ok(*n as f64),
        other => Err(format!(
            "{function}() not supported on {}",
            other.type_name()
        )),
    }
}

fn as_int(value: &Value) -> Result<i64, String> {
    match value {
        Value::Int(n) => Ok(*n),
        Value::Float(x) => Ok(truncate(*x)),
        Value::Text(t) => parse_int(t, "ParseInt"),
        other => Err(format!("asInt() not supported on {}", other.type_name())),
    }
}

fn as_float(value: &Value) -> Result<f64, String> {
    match value {
        Value::Text(t) => parse_float(t),
        other => float(other, "asFloat"),
    }
}

/// A base-10 integer; `function` is the Go function that error texts name.
pub(super) fn parse_int(text: &str, function: &str) -> Result<i64, String> {
    text.parse().map_err(|e: std::num::ParseIntError| {
        let reason = match e.kind() {
            std::num::IntErrorKind::PosOverflow | std::num::IntErrorKind::NegOverflow => {
                "value out of range"
            }
            _ => "invalid syntax",
        };
        format!("strconv.{function}: parsing {text:?}: {reason}")
    })
}

/// A float in Go's syntax: `NaN` and `Inf` in any case, no blanks.
pub(super) fn parse_float(text: &str) -> Result<f64, String> {
    let fail = |reason| Err(format!("strconv.ParseFloat: parsing {text:?}: {reason}"));
    match text.parse::<f64>() {
        // Signed NaNs are Rust's alone.
        Ok(x) if x.is_nan() && text.len() != 3 => fail("invalid syntax"),
        Ok(x) if x.is_infinite() && !text.to_ascii_lowercase().contains("inf") => {
            fail("value out of range")
        }
        Ok(x) => Ok(x),
        Err(_) => fail("invalid syntax"),
    }
}
