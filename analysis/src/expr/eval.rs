//! The walk over a checked tree. Depth is bounded by the parser, work by [`Budget`].

use std::collections::BTreeMap;
use std::sync::Arc;

use super::ast::{BinaryOp, Expr, Node, Pointer, UnaryOp};
use super::budget::Budget;
use super::value::{Array, Elements, Key, Object, Value};
use super::{Env, EvalError, ops, time};

mod folds;

/// Runs `root` in `env`.
pub(super) fn run(root: &Node, env: &Env) -> Result<Value, EvalError> {
    let mut run = Run {
        env,
        budget: Budget::new(),
        lets: Vec::new(),
        frames: Vec::new(),
    };
    match run.eval(root) {
        Ok(value) => Ok(value),
        // The parser closes every chain, so nothing ends outside of one.
        Err(Stop::Nil) => Ok(Value::Nil),
        Err(Stop::Error(error)) => Err(error),
    }
}

/// State of one evaluation; built-ins see it too.
pub(super) struct Run<'a> {
    pub(super) env: &'a Env,
    pub(super) budget: Budget,
    lets: Vec<(Arc<str>, Value)>,
    frames: Vec<Frame>,
}

/// What `#`, `#acc` and `#index` are.
struct Frame {
    element: Value,
    acc: Value,
    index: i64,
}

/// Why a walk ends early.
enum Stop {
    Error(EvalError),
    /// `?.` met nil: the chain around it is nil.
    Nil,
}

type Walk = Result<Value, Stop>;

trait At<T> {
    fn at(self, node: &Node) -> Result<T, Stop>;
}

impl<T> At<T> for Result<T, String> {
    fn at(self, node: &Node) -> Result<T, Stop> {
        self.map_err(|message| Stop::Error(EvalError::new(message, node.pos)))
    }
}

impl Run<'_> {
    fn eval(&mut self, node: &Node) -> Walk {
        self.budget.steps(1).at(node)?;
        match &node.expr {
            Expr::Nil => Ok(Value::Nil),
            Expr::Bool(b) => Ok(Value::Bool(*b)),
            Expr::Int(n) => Ok(Value::Int(*n)),
            Expr::Float(x) => Ok(Value::Float(*x)),
            Expr::Text(t) => Ok(Value::Text(t.clone())),
            Expr::Name(name) => Ok(self.name(name)),
            Expr::Env => Ok(self.environment()),
            Expr::Pointer(pointer) => Ok(self.pointer(*pointer)),
            Expr::Unary(op, operand) => self.unary(node, *op, operand),
            Expr::Binary(op, left, right) => self.binary(node, *op, left, right),
            Expr::Matches(text, regex) => self.matches(node, text, regex),
            Expr::Conditional(test, yes, no) => {
                if self.truth(test)? {
                    self.eval(yes)
                } else {
                    self.eval(no)
                }
            }
            Expr::Let(name, value, body) => self.declare(name, value, body),
            Expr::Sequence(nodes) => self.sequence(nodes),
            Expr::Member {
                base,
                key,
                optional,
            } => self.member(node, base, key, *optional),
            Expr::Slice { base, from, to } => {
                self.slice(node, base, from.as_deref(), to.as_deref())
            }
            Expr::Method {
                base,
                name,
                args,
                optional,
            } => self.method(node, base, name, args, *optional),
            Expr::Chain(inner) => match self.eval(inner) {
                Err(Stop::Nil) => Ok(Value::Nil),
                other => other,
            },
            Expr::Call(builtin, args) => {
                let args = self.all(args)?;
                (builtin.run)(self, &args).and_then(Budget::depth).at(node)
            }
            Expr::Fold {
                fold,
                over,
                predicate,
                extra,
            } => self.fold(node, *fold, over, predicate.as_deref(), extra.as_deref()),
            Expr::Array(items) => self.array(node, items),
            Expr::Map(entries) => self.map(node, entries),
        }
    }

    fn all(&mut self, nodes: &[Node]) -> Result<Vec<Value>, Stop> {
        nodes.iter().map(|node| self.eval(node)).collect()
    }

    fn name(&self, name: &str) -> Value {
        match self.lets.iter().rev().find(|(bound, _)| **bound == *name) {
            Some((_, value)) => value.clone(),
            None => self.env.result.clone(),
        }
    }

    fn environment(&self) -> Value {
        let entries = BTreeMap::from([(Key::Text("result".into()), self.env.result.clone())]);
        Value::Object(Object::new(entries))
    }

    fn pointer(&self, pointer: Pointer) -> Value {
        let Some(frame) = self.frames.last() else {
            return Value::Nil;
        };
        match pointer {
            Pointer::Element => frame.element.clone(),
            Pointer::Acc => frame.acc.clone(),
            Pointer::Index => Value::Int(frame.index),
        }
    }

    fn truth(&mut self, node: &Node) -> Result<bool, Stop> {
        match self.eval(node)? {
            Value::Bool(b) => Ok(b),
            other => Err(format!("expected bool, but got {}", other.type_name())).at(node),
        }
    }

    fn unary(&mut self, node: &Node, op: UnaryOp, operand: &Node) -> Walk {
        match (op, self.eval(operand)?) {
            (UnaryOp::Not, Value::Bool(b)) => Ok(Value::Bool(!b)),
            (UnaryOp::Minus, Value::Int(n)) => Ok(Value::Int(n.wrapping_neg())),
            (UnaryOp::Minus, Value::Float(x)) => Ok(Value::Float(-x)),
            (UnaryOp::Plus, value @ (Value::Int(_) | Value::Float(_))) => Ok(value),
            (op, value) => Err(format!(
                "invalid operation: {} (mismatched type {})",
                op.text(),
                value.type_name()
            ))
            .at(node),
        }
    }

    fn binary(&mut self, node: &Node, op: BinaryOp, left: &Node, right: &Node) -> Walk {
        match op {
            BinaryOp::And => Ok(Value::Bool(self.truth(left)? && self.truth(right)?)),
            BinaryOp::Or => Ok(Value::Bool(self.truth(left)? || self.truth(right)?)),
            BinaryOp::Coalesce => match self.eval(left)? {
                Value::Nil => self.eval(right),
                value => Ok(value),
            },
            _ => {
                let left = self.eval(left)?;
                let right = self.eval(right)?;
                ops::binary(op, &left, &right, &mut self.budget).at(node)
            }
        }
    }

    fn matches(&mut self, node: &Node, text: &Node, regex: &regex::Regex) -> Walk {
        match self.eval(text)? {
            Value::Text(text) => {
                self.budget.steps(text.len() as u64 / 64).at(node)?;
                Ok(Value::Bool(regex.is_match(&text)))
            }
            Value::Nil => Ok(Value::Bool(false)),
            other => Err(format!(
                "invalid operation: matches (mismatched types {} and string)",
                other.type_name()
            ))
            .at(node),
        }
    }

    fn declare(&mut self, name: &Arc<str>, value: &Node, body: &Node) -> Walk {
        let value = self.eval(value)?;
        self.lets.push((name.clone(), value));
        let outcome = self.eval(body);
        self.lets.pop();
        outcome
    }

    fn sequence(&mut self, nodes: &[Node]) -> Walk {
        let mut last = Value::Nil;
        for node in nodes {
            last = self.eval(node)?;
        }
        Ok(last)
    }

    fn base(&mut self, base: &Node, optional: bool) -> Walk {
        match self.eval(base)? {
            Value::Nil if optional => Err(Stop::Nil),
            value => Ok(value),
        }
    }

    fn member(&mut self, node: &Node, base: &Node, key: &Node, optional: bool) -> Walk {
        let base = self.base(base, optional)?;
        let key = self.eval(key)?;
        ops::fetch(&base, &key).at(node)
    }

    fn slice(&mut self, node: &Node, base: &Node, from: Option<&Node>, to: Option<&Node>) -> Walk {
        let base = self.eval(base)?;
        let from = from.map(|n| self.eval(n)).transpose()?;
        let to = to.map(|n| self.eval(n)).transpose()?;
        ops::slice(&base, from.as_ref(), to.as_ref(), &mut self.budget).at(node)
    }

    fn method(
        &mut self,
        node: &Node,
        base: &Node,
        name: &str,
        args: &[Node],
        optional: bool,
    ) -> Walk {
        let base = self.base(base, optional)?;
        let args = self.all(args)?;
        time::call_method(&base, name, &args).at(node)
    }

    fn array(&mut self, node: &Node, items: &[Node]) -> Walk {
        self.budget.elements(items.len() as u64).at(node)?;
        let items = self.all(items)?;
        Budget::depth(Value::Array(Array::new(items, Elements::Any))).at(node)
    }

    fn map(&mut self, node: &Node, entries: &[(Node, Node)]) -> Walk {
        self.budget.elements(entries.len() as u64).at(node)?;
        let mut map = BTreeMap::new();
        for (key, value) in entries {
            let Value::Text(key) = self.eval(key)? else {
                return Err("a map key must be a string".to_owned()).at(key);
            };
            let value = self.eval(value)?;
            map.insert(Key::Text(key), value);
        }
        Budget::depth(Value::Object(Object::new(map))).at(node)
    }
}
