//! Functions of the language (ANA-79, ANA-85), as tables: name, parameters, what is known of the
//! outcome, and the code.

use super::Scope;
use super::eval::Run;
use super::kind::Kind;
use super::value::Value;

pub(super) mod collections;
mod environment;
mod numbers;
mod texts;
pub(super) mod times;

/// A function and what the kind pass knows of it.
pub(super) struct Signature {
    pub(super) name: &'static str,
    pub(super) params: &'static [Param],
    pub(super) required: usize,
    /// The last parameter repeats.
    pub(super) variadic: bool,
    pub(super) returns: fn(&[Kind]) -> Kind,
    pub(super) run: fn(&mut Run<'_>, &[Value]) -> Result<Value, String>,
}

impl std::fmt::Debug for Signature {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// A function of the table.
pub(super) type Builtin = &'static Signature;

/// What a parameter takes; what is not known passes and is checked when running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Param {
    Any,
    Number,
    Int,
    Text,
    Array,
    Map,
    /// What has a length: text, list, map.
    Sized,
    /// A number or a list of numbers.
    Numbers,
    /// What a list or map is asked for.
    Gettable,
    /// What `date` and `int` start from.
    Scalar,
}

impl Param {
    pub(super) fn accepts(self, kind: &Kind) -> bool {
        kind.may_be(|k| match self {
            Self::Any => true,
            Self::Number => k.is_number(),
            Self::Int => *k == Kind::Int,
            Self::Text => *k == Kind::Text,
            Self::Array => matches!(k, Kind::Array(_)),
            Self::Map => *k == Kind::Object,
            Self::Sized => matches!(k, Kind::Text | Kind::Array(_) | Kind::Object),
            Self::Numbers => k.is_number() || matches!(k, Kind::Array(_)),
            Self::Gettable => matches!(k, Kind::Array(_) | Kind::Object | Kind::Record(_)),
            Self::Scalar => k.is_number() || *k == Kind::Text,
        })
    }
}

/// The function `name` as far as `scope` has it.
pub(super) fn find(name: &str, scope: Scope) -> Option<Builtin> {
    let own: &[&'static [Signature]] = match scope {
        Scope::Condition => &[environment::FLOATS, environment::RESULT],
        Scope::Times => &[environment::FLOATS],
    };
    let common: [&'static [Signature]; 4] = [
        collections::TABLE,
        numbers::TABLE,
        texts::TABLE,
        times::TABLE,
    ];
    own.iter()
        .copied()
        .chain(common)
        .flatten()
        .find(|s| s.name == name)
}

/// Built-ins that take a predicate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fold {
    All,
    None,
    Any,
    One,
    Filter,
    Map,
    Find,
    FindIndex,
    FindLast,
    FindLastIndex,
    Count,
    Sum,
    GroupBy,
    SortBy,
    Reduce,
}

const FOLDS: [(&str, Fold); 15] = [
    ("all", Fold::All),
    ("none", Fold::None),
    ("any", Fold::Any),
    ("one", Fold::One),
    ("filter", Fold::Filter),
    ("map", Fold::Map),
    ("find", Fold::Find),
    ("findIndex", Fold::FindIndex),
    ("findLast", Fold::FindLast),
    ("findLastIndex", Fold::FindLastIndex),
    ("count", Fold::Count),
    ("sum", Fold::Sum),
    ("groupBy", Fold::GroupBy),
    ("sortBy", Fold::SortBy),
    ("reduce", Fold::Reduce),
];

impl Fold {
    pub(super) fn of(name: &str) -> Option<Self> {
        FOLDS
            .iter()
            .find(|(n, _)| *n == name)
            .map(|(_, fold)| *fold)
    }

    pub(super) fn name(self) -> &'static str {
        FOLDS
            .iter()
            .find(|(_, fold)| *fold == self)
            .map_or("", |(name, _)| *name)
    }

    pub(super) fn predicate_optional(self) -> bool {
        matches!(self, Self::Count | Self::Sum)
    }

    /// Takes a third argument: the direction of sorting, the first accumulator.
    pub(super) fn takes_extra(self) -> bool {
        matches!(self, Self::SortBy | Self::Reduce)
    }

    pub(super) fn wants_bool(self) -> bool {
        !matches!(
            self,
            Self::Map | Self::Sum | Self::GroupBy | Self::SortBy | Self::Reduce
        )
    }
}

/// The argument at `at`; the kind pass has counted them.
fn arg(args: &[Value], at: usize) -> &Value {
    const NIL: &Value = &Value::Nil;
    args.get(at).unwrap_or(NIL)
}

fn invalid<T>(name: &str, value: &Value) -> Result<T, String> {
    Err(format!(
        "invalid argument for {name} (type {})",
        value.type_name()
    ))
}

fn text_arg<'v>(name: &str, args: &'v [Value], at: usize) -> Result<&'v str, String> {
    match arg(args, at) {
        Value::Text(t) => Ok(t),
        other => invalid(name, other),
    }
}

fn int_arg(name: &str, args: &[Value], at: usize) -> Result<i64, String> {
    match arg(args, at) {
        Value::Int(n) => Ok(*n),
        other => invalid(name, other),
    }
}
