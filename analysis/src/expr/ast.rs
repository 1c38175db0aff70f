//! The tree that a condition is parsed into. Every node knows its place in the source (for error
//! texts) and its height (so that no later walk can exhaust the stack).

use std::sync::Arc;

use regex::Regex;

use super::builtins::{Builtin, Fold};

/// A node, its place and its height.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) expr: Expr,
    /// Character offset in the source.
    pub(super) pos: u32,
    /// 1 for a leaf, else one more than the highest child.
    pub(super) height: u16,
}

/// What a node does.
#[derive(Debug)]
pub(super) enum Expr {
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Arc<str>),
    /// A variable of the environment or of a `let`.
    Name(Arc<str>),
    /// `$env`
    Env,
    /// `#`, `#acc`, `#index`
    Pointer(Pointer),
    Unary(UnaryOp, Box<Node>),
    Binary(BinaryOp, Box<Node>, Box<Node>),
    /// `matches` with a literal pattern, compiled once.
    Matches(Box<Node>, Box<Regex>),
    Conditional(Box<Node>, Box<Node>, Box<Node>),
    Let(Arc<str>, Box<Node>, Box<Node>),
    Sequence(Vec<Node>),
    Member {
        base: Box<Node>,
        key: Box<Node>,
        /// `?.`: a nil base ends the enclosing chain with nil.
        optional: bool,
    },
    Slice {
        base: Box<Node>,
        from: Option<Box<Node>>,
        to: Option<Box<Node>>,
    },
    Method {
        base: Box<Node>,
        name: Arc<str>,
        args: Vec<Node>,
        optional: bool,
    },
    /// The extent of `?.`.
    Chain(Box<Node>),
    Call(Builtin, Vec<Node>),
    /// A built-in that takes a predicate.
    Fold {
        fold: Fold,
        over: Box<Node>,
        predicate: Option<Box<Node>>,
        extra: Option<Box<Node>>,
    },
    Array(Vec<Node>),
    Map(Vec<(Node, Node)>),
}

/// What the predicate refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pointer {
    Element,
    Acc,
    Index,
}

/// Prefix operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UnaryOp {
    Not,
    Minus,
    Plus,
}

impl UnaryOp {
    pub(super) fn of(op: &str) -> Option<(Self, u16)> {
        Some(match op {
            "not" | "!" => (Self::Not, 50),
            "-" => (Self::Minus, 90),
            "+" => (Self::Plus, 90),
            _ => return None,
        })
    }

    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Not => "!",
            Self::Minus => "-",
            Self::Plus => "+",
        }
    }
}

/// Infix operators with a tree of their own; the pipe is gone after parsing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BinaryOp {
    Or,
    And,
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    In,
    Matches,
    Contains,
    StartsWith,
    EndsWith,
    Range,
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
    Power,
    Coalesce,
}

impl BinaryOp {
    /// The operator written as `op`, its precedence, and whether it associates to the right.
    pub(super) fn of(op: &str) -> Option<(Self, u16, bool)> {
        Some(match op {
            "or" | "||" => (Self::Or, 10, false),
            "and" | "&&" => (Self::And, 15, false),
            "==" => (Self::Equal, 20, false),
            "!=" => (Self::NotEqual, 20, false),
            "<" => (Self::Less, 20, false),
            "<=" => (Self::LessEqual, 20, false),
            ">" => (Self::Greater, 20, false),
            ">=" => (Self::GreaterEqual, 20, false),
            "in" => (Self::In, 20, false),
            "matches" => (Self::Matches, 20, false),
            "contains" => (Self::Contains, 20, false),
            "startsWith" => (Self::StartsWith, 20, false),
            "endsWith" => (Self::EndsWith, 20, false),
            ".." => (Self::Range, 25, false),
            "+" => (Self::Add, 30, false),
            "-" => (Self::Subtract, 30, false),
            "*" => (Self::Multiply, 60, false),
            "/" => (Self::Divide, 60, false),
            "%" => (Self::Modulo, 60, false),
            "**" | "^" => (Self::Power, 100, true),
            "??" => (Self::Coalesce, 500, false),
            _ => return None,
        })
    }

    /// May be negated by a `not` before it (`a not in b`).
    pub(super) fn negatable(self) -> bool {
        matches!(
            self,
            Self::In | Self::Matches | Self::Contains | Self::StartsWith | Self::EndsWith
        )
    }

    /// `1 < x < 10` is two comparisons.
    pub(super) fn chains(self) -> bool {
        matches!(
            self,
            Self::Less | Self::LessEqual | Self::Greater | Self::GreaterEqual
        )
    }

    /// As error texts write it.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Or => "or",
            Self::And => "and",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Less => "<",
            Self::LessEqual => "<=",
            Self::Greater => ">",
            Self::GreaterEqual => ">=",
            Self::In => "in",
            Self::Matches => "matches",
            Self::Contains => "contains",
            Self::StartsWith => "startsWith",
            Self::EndsWith => "endsWith",
            Self::Range => "..",
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Modulo => "%",
            Self::Power => "**",
            Self::Coalesce => "??",
        }
    }
}
