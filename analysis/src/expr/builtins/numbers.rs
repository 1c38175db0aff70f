//! Arithmetic, conversions and bits (ANA-85).

use super::super::ast::BinaryOp;
use super::super::eval::Run;
use super::super::kind::Kind;
use super::super::ops;
use super::super::value::Value;
use super::environment::{parse_float, parse_int};
use super::{Param, Signature, arg, collections, int_arg, invalid};

/// A function of one number.
macro_rules! rounding {
    ($name:literal, $float:expr) => {
        Signature {
            name: $name,
            params: &[Param::Number],
            required: 1,
            variadic: false,
            returns: |_| Kind::Float,
            run: |_, args| Ok(Value::Float($float(number($name, arg(args, 0))?))),
        }
    };
}

/// A function of two whole numbers.
macro_rules! bits {
    ($name:literal, $run:expr) => {
        Signature {
            name: $name,
            params: &[Param::Int, Param::Int],
            required: 2,
            variadic: false,
            returns: |_| Kind::Int,
            run: |_, args| {
                let f: fn(i64, i64) -> Result<i64, String> = $run;
                f(int_arg($name, args, 0)?, int_arg($name, args, 1)?).map(Value::Int)
            },
        }
    };
}

/// A function of numbers and lists of numbers.
macro_rules! aggregate {
    ($name:literal, $returns:expr, $run:expr) => {
        Signature {
            name: $name,
            params: &[Param::Numbers],
            required: 1,
            variadic: true,
            returns: $returns,
            run: |run, args| {
                let f: fn(&mut Run<'_>, Vec<Value>) -> Result<Value, String> = $run;
                let mut numbers = Vec::new();
                flatten($name, run, args, &mut numbers)?;
                f(run, numbers)
            },
        }
    };
}

pub(super) const TABLE: &[Signature] = &[
    Signature {
        name: "abs",
        params: &[Param::Number],
        required: 1,
        variadic: false,
        returns: first,
        run: |_, args| match arg(args, 0) {
            Value::Int(n) => Ok(Value::Int(n.wrapping_abs())),
            Value::Float(x) => Ok(Value::Float(x.abs())),
            other => invalid("abs", other),
        },
    },
    rounding!("ceil", f64::ceil),
    rounding!("floor", f64::floor),
    rounding!("round", f64::round),
    Signature {
        name: "int",
        params: &[Param::Scalar],
        required: 1,
        variadic: false,
        returns: |_| Kind::Int,
        run: |_, args| match arg(args, 0) {
            Value::Int(n) => Ok(Value::Int(*n)),
            Value::Float(x) => Ok(Value::Int(ops::truncate(*x))),
            Value::Text(t) => match parse_int(t, "Atoi") {
                Ok(n) => Ok(Value::Int(n)),
                Err(_) => Err(format!("invalid operation: int({t})")),
            },
            other => Err(format!("invalid operation: int({})", other.type_name())),
        },
    },
    Signature {
        name: "float",
        params: &[Param::Scalar],
        required: 1,
        variadic: false,
        returns: |_| Kind::Float,
        run: |_, args| match arg(args, 0) {
            Value::Text(t) => match parse_float(t) {
                Ok(x) => Ok(Value::Float(x)),
                Err(_) => Err(format!("invalid operation: float({t})")),
            },
            other => match number("float", other) {
                Ok(x) => Ok(Value::Float(x)),
                Err(_) => Err(format!("invalid operation: float({})", other.type_name())),
            },
        },
    },
    aggregate!("max", extreme, |_, numbers| Ok(pick(
        numbers,
        std::cmp::Ordering::Greater
    ))),
    aggregate!("min", extreme, |_, numbers| Ok(pick(
        numbers,
        std::cmp::Ordering::Less
    ))),
    aggregate!("mean", extreme, |run, numbers| {
        let count = numbers.len();
        if count == 0 {
            return Ok(Value::Float(0.0));
        }
        let mut sum = Value::Int(0);
        for number in numbers {
            sum = ops::binary(BinaryOp::Add, &sum, &number, &mut run.budget)?;
        }
        divide(&sum, count)
    }),
    aggregate!("median", extreme, |_, mut numbers| {
        numbers.sort_by(collections::total_order);
        let middle = numbers.len() / 2;
        let Some(upper) = numbers.get(middle) else {
            return Ok(Value::Float(0.0));
        };
        if numbers.len() % 2 == 1 {
            return number("median", upper).map(Value::Float);
        }
        let lower = numbers.get(middle.saturating_sub(1)).unwrap_or(upper);
        Ok(Value::Float(f64::midpoint(
            number("median", lower)?,
            number("median", upper)?,
        )))
    }),
    bits!("bitand", |a, b| Ok(a & b)),
    bits!("bitor", |a, b| Ok(a | b)),
    bits!("bitxor", |a, b| Ok(a ^ b)),
    bits!("bitnand", |a, b| Ok(a & !b)),
    bits!("bitshl", |a, b| shift("bitshl", b).map(|by| if by > 63 {
        0
    } else {
        a << by
    })),
    bits!("bitshr", |a, b| shift("bitshr", b)
        .map(|by| a >> by.min(63))),
    bits!("bitushr", |a, b| {
        let by = shift("bitushr", b)?;
        Ok(if by > 63 {
            0
        } else {
            (a.cast_unsigned() >> by).cast_signed()
        })
    }),
    Signature {
        name: "bitnot",
        params: &[Param::Int],
        required: 1,
        variadic: false,
        returns: |_| Kind::Int,
        run: |_, args| Ok(Value::Int(!int_arg("bitnot", args, 0)?)),
    },
];

fn first(kinds: &[Kind]) -> Kind {
    kinds.first().cloned().unwrap_or(Kind::Any)
}

/// Known when all arguments are plain numbers; what a list yields may be nil.
fn extreme(kinds: &[Kind]) -> Kind {
    if kinds.iter().all(Kind::is_number) {
        first(kinds)
    } else {
        Kind::Any
    }
}

fn shift(name: &str, by: i64) -> Result<u32, String> {
    if by < 0 {
        return Err(format!(
            "invalid operation: negative shift count {by} (type int) in {name}"
        ));
    }
    Ok(u32::try_from(by).unwrap_or(u32::MAX))
}

#[expect(
    clippy::cast_precision_loss,
    reason = "numbers mix as floats, as upstream"
)]
fn number(name: &str, value: &Value) -> Result<f64, String> {
    match value {
        Value::Int(n) => Ok(*n as f64),
        Value::Float(x) => Ok(*x),
        other => invalid(name, other),
    }
}

#[expect(clippy::cast_precision_loss, reason = "a count of elements")]
fn divide(sum: &Value, count: usize) -> Result<Value, String> {
    Ok(Value::Float(number("mean", sum)? / count as f64))
}

/// All numbers of the arguments, those in lists included. Lists nest no deeper than values may.
fn flatten(
    name: &str,
    run: &mut Run<'_>,
    values: &[Value],
    into: &mut Vec<Value>,
) -> Result<(), String> {
    for value in values {
        run.budget.steps(1)?;
        match value {
            Value::Int(_) | Value::Float(_) => {
                run.budget.elements(1)?;
                into.push(value.clone());
            }
            Value::Array(a) => flatten(name, run, a.items(), into)?,
            other => return invalid(name, other),
        }
    }
    Ok(())
}

/// The first number that no later one surpasses; nil of none.
fn pick(numbers: Vec<Value>, wanted: std::cmp::Ordering) -> Value {
    let mut best: Option<Value> = None;
    for number in numbers {
        let better = match &best {
            None => true,
            Some(best) => ops::order(&number, best).flatten() == Some(wanted),
        };
        if better {
            best = Some(number);
        }
    }
    best.unwrap_or_default()
}
