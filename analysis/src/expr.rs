//! The condition language of AnalysisTemplates (ANA-79..86).
//!
//! A condition is compiled against what is known of the result ([`Names`]) and then run on the
//! result itself ([`Env`]). Both end within fixed limits whatever they are given: conditions come
//! from users and results from servers, and a wrong or missing verdict is an outage (D8).
//!
//! ```text
//! text -> lexer -> parser (tree, limits) -> check (kinds) -> eval (value, budget)
//! ```
//!
//! ```
//! use sluice_analysis::expr::{Env, Kind, Names, Program, Value};
//!
//! let result = Value::numbers([0.99]);
//! let program = Program::compile("result[0] >= 0.95", &Names::condition(Kind::of(&result)))?;
//! let verdict = program.eval(&Env { result, now: jiff::Timestamp::UNIX_EPOCH })?;
//! assert!(matches!(verdict, Value::Bool(true)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use jiff::Timestamp;

mod ast;
mod budget;
mod builtins;
mod check;
mod eval;
mod kind;
mod lexer;
mod ops;
mod parser;
pub mod re2;
mod time;
mod value;

#[cfg(test)]
mod tests;

pub use kind::Kind;
pub use value::{Array, Elements, FieldKind, Fields, Key, Object, Record, Value};

/// Nodes of one expression, as upstream.
const MAX_NODES: usize = 10_000;
/// How deep an expression may nest; bounds the stack of every walk.
const MAX_DEPTH: u16 = 128;

/// The names that an expression may use.
#[derive(Clone, Debug)]
pub struct Names {
    result: Option<Kind>,
}

impl Names {
    /// Those of `successCondition` and `failureCondition`, for a result of this kind (ANA-79).
    #[must_use]
    pub fn condition(result: Kind) -> Self {
        Self {
            result: Some(result),
        }
    }

    /// Those of `rangeQuery.start` and `.end` (ANA-53): no result.
    #[must_use]
    pub fn times() -> Self {
        Self { result: None }
    }

    fn scope(&self) -> Scope {
        if self.result.is_some() {
            Scope::Condition
        } else {
            Scope::Times
        }
    }
}

/// Which functions there are besides the language's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    Condition,
    Times,
}

/// What an expression sees when it runs.
#[derive(Clone, Debug)]
pub struct Env {
    /// What the provider measured; nil where there is none.
    pub result: Value,
    /// What `now()` yields.
    pub now: Timestamp,
}

/// An expression that can run.
#[derive(Debug)]
pub struct Program {
    root: ast::Node,
    kind: Kind,
    source: Box<str>,
}

impl Program {
    /// Parses and checks `source`.
    ///
    /// # Errors
    /// When it cannot be parsed, uses an unknown name, mixes kinds that do not fit (ANA-83), or
    /// exceeds a limit (ANA-84).
    pub fn compile(source: &str, names: &Names) -> Result<Self, CompileError> {
        let located = |e: CompileError| e.locate(source);
        let root = parser::parse(source, names.scope()).map_err(located)?;
        let kind = check::check(&root, names).map_err(located)?;
        Ok(Self {
            root,
            kind,
            source: source.into(),
        })
    }

    /// What is known of the outcome before running.
    #[must_use]
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// Runs it.
    ///
    /// # Errors
    /// When an operation fails on these values, or a budget is used up (ANA-84).
    pub fn eval(&self, env: &Env) -> Result<Value, EvalError> {
        eval::run(&self.root, env).map_err(|e| e.locate(&self.source))
    }
}

/// Defines an error with a place.
macro_rules! located_error {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
        #[error("{message}{place}")]
        pub struct $name {
            message: String,
            /// ` (line:column)`, once the source is known.
            place: String,
            pos: u32,
        }

        impl $name {
            fn new(message: impl Into<String>, pos: u32) -> Self {
                Self { message: message.into(), place: String::new(), pos }
            }

            /// What is wrong, without the place.
            #[must_use]
            pub fn message(&self) -> &str {
                &self.message
            }

            fn locate(mut self, source: &str) -> Self {
                let before = source.chars().take(self.pos as usize);
                let (line, column) = before.fold((1, 1), |(line, column), c| {
                    if c == '\n' { (line + 1, 1) } else { (line, column + 1) }
                });
                self.place = format!(" ({line}:{column})");
                self
            }
        }
    };
}

located_error! {
    /// An expression that cannot run.
    CompileError
}

located_error! {
    /// An expression that failed on the values it met.
    EvalError
}
